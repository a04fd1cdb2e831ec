use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", objects = kesy)]
    async fn get(&self, cx: &Context, keys: Vec<String>) -> Result<u8, CallError>;
}

fn main() {}
