use bailiwick::{CallError, Context, rpc_service};

struct Table;

#[rpc_service]
impl Table {
    async fn get(&self, _: &Context) -> Result<u8, CallError> {
        Ok(7)
    }
}

fn main() {}
