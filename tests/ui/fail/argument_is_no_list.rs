use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", objects = keys)]
    async fn get(&self, cx: &Context, keys: u64) -> Result<u8, CallError>;
}

fn main() {}
