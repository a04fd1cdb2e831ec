use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table", read_only, cached)]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
