use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    const SIZE: usize;

    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
