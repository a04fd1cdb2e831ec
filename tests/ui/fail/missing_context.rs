use bailiwick::{CallError, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table/{key}")]
    async fn get(&self, key: String) -> Result<u8, CallError>;
}

fn main() {}
