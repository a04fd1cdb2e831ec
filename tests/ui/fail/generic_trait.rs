use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table<K: Send> {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context, key: K) -> Result<u8, CallError>;
}

fn main() {}
