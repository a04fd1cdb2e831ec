use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "read", object = "table/{key}")]
trait Table {
    async fn get(&self, cx: &Context, key: String) -> Result<u8, CallError>;
    async fn size(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
