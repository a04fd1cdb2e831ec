use bailiwick::{Context, rpc_service};

struct TableError;

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> Result<u8, TableError>;
}

fn main() {}
