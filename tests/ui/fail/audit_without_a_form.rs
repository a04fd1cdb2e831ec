use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context, #[audit(shown)] key: String) -> Result<u8, CallError>;
}

fn main() {}
