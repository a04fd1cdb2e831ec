use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "read", object = "table")]
trait Table {
    #[rpc(rename = "take")]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;

    #[rpc(rename = "take")]
    async fn put(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
