use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table/{key}")]
    async fn get(&mut self, cx: &Context, key: &str) -> Result<u8, CallError>;

    #[rpc(verb = "write", timeout = "soon")]
    async fn put(&self, cx: &Context, key: String) -> Result<(), CallError>;
}

fn main() {}
