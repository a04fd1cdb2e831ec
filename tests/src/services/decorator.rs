//! One trait for client, server, mock and decorator.

use bailiwick::{CallError, Context, rpc_service};

/// A counter.
#[rpc_service(verb = "count", object = "counter")]
pub trait Counter {
    /// One more.
    async fn next(&self, cx: &Context) -> Result<u64, CallError>;
}

/// Counts in steps of two, over any other counter.
#[derive(Debug)]
pub struct Even<C>(C);

impl<C: Counter> Counter for Even<C> {
    async fn next(&self, cx: &Context) -> Result<u64, CallError> {
        self.0.next(cx).await?;
        self.0.next(cx).await
    }
}

/// A server may stand in front of another.
#[must_use]
pub fn proxy(client: CounterClient) -> CounterServer<Even<CounterClient>> {
    CounterServer::new(Even(client))
}

fn assert_send<F: Future + Send>(future: F) -> F {
    future
}

/// A call may be spawned, whatever implements the trait.
///
/// # Errors
///
/// Those of the call.
pub async fn spawn<C: Counter>(counter: C, cx: &Context) -> Result<u64, CallError> {
    assert_send(counter.next(cx)).await
}
