use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>
    where
        Self: Sized;
}

fn main() {}
