use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "read", object = "table")]
trait Table {
    #[rpc(id = 7)]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;

    #[rpc(id = 7)]
    async fn put(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
