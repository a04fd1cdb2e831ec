use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table/{key}")]
    async fn get(&self, cx: &mut Context, key: String) -> Result<u8, CallError>;
}

fn main() {}
