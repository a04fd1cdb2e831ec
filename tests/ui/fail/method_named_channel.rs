use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn channel(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
