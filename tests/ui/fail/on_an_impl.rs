use bailiwick::{CallError, Context, rpc_service};

struct Table;

#[rpc_service]
impl Table {
    #[rpc(verb = "read", object = "table")]
    async fn get(&self, _: &Context) -> Result<u8, CallError> {
        Ok(7)
    }
}

fn main() {}
