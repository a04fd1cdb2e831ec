use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context, (left, right): (u8, u8)) -> Result<u8, CallError>;
}

fn main() {}
