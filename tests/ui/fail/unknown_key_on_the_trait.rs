use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verbs = "read", object = "table")]
trait Table {
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
