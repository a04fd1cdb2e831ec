use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table: Sized {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> Result<Option<Self>, CallError>;
}

fn main() {}
