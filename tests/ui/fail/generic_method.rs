use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get<K: Send>(&self, cx: &Context, key: K) -> Result<u8, CallError>;
}

fn main() {}
