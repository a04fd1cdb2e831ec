//! What the lab's server offers that survives it: a counter with a log.

use bailiwick::durable::{Completions, Durable};
use bailiwick::{CallError, Context, rpc_service};

use super::disk::Disk;
use super::ledger::Ledger;

/// A durable counter.
#[rpc_service(verb = "use", object = "probe")]
pub trait Recorder {
    /// One more; its new value.
    #[rpc(durable)]
    async fn record(&self, cx: &Context) -> Result<u64, CallError>;

    /// One more, decided after a while; its new value.
    #[rpc(durable)]
    async fn record_late(&self, cx: &Context, millis: u64) -> Result<u64, CallError>;
}

/// A life of the service.
pub(super) struct Recording {
    pub(super) disk: Disk,
    pub(super) ledger: Ledger,
    pub(super) completions: Completions,
}

impl Recorder for Recording {
    async fn record(&self, cx: &Context) -> Result<u64, CallError> {
        let (value, place) = self.disk.append(cx);
        self.disk.synced(place).await;
        Ok(value)
    }

    async fn record_late(&self, cx: &Context, millis: u64) -> Result<u64, CallError> {
        self.ledger.sleep(millis).await;
        self.record(cx).await
    }
}

impl Durable for Recording {
    fn completions(&self) -> Option<&Completions> {
        Some(&self.completions)
    }
}
