use bailiwick::{Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, cx: &Context) -> u8;
}

fn main() {}
