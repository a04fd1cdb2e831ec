use bailiwick::{CallError, Context, rpc_service};

#[rpc_service]
trait Table {
    #[rpc(verb = "read")]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;
}

// The trait is there in spite of its mistake, so nothing is said here.
struct Memory;

impl Table for Memory {
    async fn get(&self, _: &Context) -> Result<u8, CallError> {
        Ok(7)
    }
}

async fn sum(table: &impl Table, cx: &Context) -> Result<u8, CallError> {
    Ok(table.get(cx).await? + Memory.get(cx).await?)
}

fn main() {}
