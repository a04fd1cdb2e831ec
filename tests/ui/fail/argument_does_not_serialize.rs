use bailiwick::{CallError, Context, rpc_service};

struct Key;

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context, key: Key) -> Result<u8, CallError>;
}

fn main() {}
