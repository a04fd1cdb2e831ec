//! What the lab's server offers: a counter, and whatever else a link can spoil.

use bailiwick::{CallError, Context, rpc_service};

use super::Ledger;

/// One method for each way to deliver, and for each kind of answer.
#[rpc_service(verb = "use", object = "probe")]
pub trait Probe {
    /// One more; its new value.
    async fn increment(&self, cx: &Context) -> Result<u64, CallError>;

    /// The counter.
    #[rpc(readonly)]
    async fn read(&self, cx: &Context) -> Result<u64, CallError>;

    /// What it was given.
    #[rpc(idempotent)]
    async fn set(&self, cx: &Context, value: u64) -> Result<u64, CallError>;

    /// What it was given, once.
    async fn echo(&self, cx: &Context, payload: Vec<u8>) -> Result<Vec<u8>, CallError>;

    /// So many bytes, once.
    async fn fill(&self, cx: &Context, length: u32) -> Result<Vec<u8>, CallError>;

    /// One more, after a while; its new value.
    async fn slow(&self, cx: &Context, millis: u64) -> Result<u64, CallError>;

    /// Nobody may.
    #[rpc(verb = "forbid")]
    async fn forbidden(&self, cx: &Context) -> Result<u64, CallError>;
}

impl Probe for Ledger {
    async fn increment(&self, cx: &Context) -> Result<u64, CallError> {
        self.ran(cx);
        Ok(self.count())
    }

    async fn read(&self, cx: &Context) -> Result<u64, CallError> {
        self.ran(cx);
        Ok(self.counter())
    }

    async fn set(&self, cx: &Context, value: u64) -> Result<u64, CallError> {
        self.ran(cx);
        Ok(value)
    }

    async fn echo(&self, cx: &Context, payload: Vec<u8>) -> Result<Vec<u8>, CallError> {
        self.ran(cx);
        Ok(payload)
    }

    async fn fill(&self, cx: &Context, length: u32) -> Result<Vec<u8>, CallError> {
        self.ran(cx);
        Ok(vec![7; length as usize])
    }

    async fn slow(&self, cx: &Context, millis: u64) -> Result<u64, CallError> {
        self.ran(cx);
        self.sleep(millis).await;
        Ok(self.count())
    }

    async fn forbidden(&self, cx: &Context) -> Result<u64, CallError> {
        self.ran(cx);
        Ok(0)
    }
}
