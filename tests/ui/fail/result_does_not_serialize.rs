use bailiwick::{CallError, Context, rpc_service};

struct Value;

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> Result<Value, CallError>;
}

fn main() {}
