use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table", timeout = "0s")]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
