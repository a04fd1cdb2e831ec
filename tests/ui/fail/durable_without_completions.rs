use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "write", object = "table")]
trait Table {
    #[rpc(durable)]
    async fn put(&self, cx: &Context) -> Result<u8, CallError>;
}

struct Memory;

impl Table for Memory {
    async fn put(&self, _: &Context) -> Result<u8, CallError> {
        Ok(7)
    }
}

fn main() {
    let _ = TableServer::new(Memory);
}
