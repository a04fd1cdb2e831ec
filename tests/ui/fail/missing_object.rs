use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read")]
    async fn get(&self, cx: &Context, key: String) -> Result<u8, CallError>;
}

fn main() {}
