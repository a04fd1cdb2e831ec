use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "write", object = "table")]
trait Table {
    #[rpc(readonly, durable)]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;

    #[rpc(durable, idempotent)]
    async fn put(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
