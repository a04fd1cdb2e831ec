use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "read", object = "table")]
trait Table {
    // These names have the same hash.
    #[rpc(rename = "costarring")]
    async fn get(&self, cx: &Context) -> Result<u8, CallError>;

    #[rpc(rename = "liquid")]
    async fn put(&self, cx: &Context) -> Result<u8, CallError>;
}

fn main() {}
