use bailiwick::{CallError, Context, rpc_service};

type Result<T> = std::result::Result<T, CallError>;

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> Result<u8>;
}

fn main() {}
