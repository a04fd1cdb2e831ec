//! Keeping a channel connected: when there is something to send and no connection, one is made,
//! after a pause drawn at random below a bound that doubles with each attempt (full jitter).

use std::{future::poll_fn, mem, pin::pin, sync::Arc, task::Poll, time::Duration};

use rand::{Rng, RngExt};
use tokio::{task::JoinHandle, time};

use super::{
    dialer::{Connection, Dialer},
    timer::Timer,
};
use crate::{
    clock,
    config::Limits,
    error::{ConnectError, Disconnected, ProtocolError},
    proto::{
        calls::{Calls, LaneId, Read, Reconnect},
        client::lock,
    },
};

/// The bound of the first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// A connection that lasted this long was a good one: the next pause is short again.
pub(crate) const GOOD: Duration = Duration::from_secs(1);

/// Drives the channel's connections until the channel is dropped. Without a first `connection` it is
/// made once there is something to send, without a pause.
pub(crate) fn spawn(dialer: Dialer, connection: Option<Connection>) -> Vec<JoinHandle<()>> {
    let dialer = Arc::new(dialer);
    let redial = |lane, pauses| Redial { dialer: Arc::clone(&dialer), lane, pauses, attempts: 0 };
    let mut tasks = vec![tokio::spawn(redial(LaneId::Main, connection.is_some()).run(connection))];
    if dialer.has_bulk_lane() && dialer.reconnect() == Reconnect::Always {
        tasks.push(tokio::spawn(redial(LaneId::Bulk, true).run(None)));
    }
    tasks
}

struct Redial {
    dialer: Arc<Dialer>,
    lane: LaneId,
    /// Whether the next attempt comes after a pause.
    pauses: bool,
    /// Since the last good connection.
    attempts: u32,
}

impl Redial {
    async fn run(mut self, mut connection: Option<Connection>) {
        loop {
            if let Some(connection) = connection.take() {
                let begun = clock::now();
                connection.await;
                if clock::now().saturating_duration_since(begun) >= GOOD {
                    self.attempts = 0;
                }
            }
            if !self.is_wanted().await {
                return;
            }
            if mem::replace(&mut self.pauses, true) {
                let pause = pause(self.attempts, self.dialer.limits(), &mut rand::rng());
                self.expiring(time::sleep(pause)).await;
            }
            self.attempts = self.attempts.saturating_add(1);
            // In a box of its own: it is large, and this task is moved when it begins and ends.
            match self.expiring(Box::pin(self.dialer.dial(self.lane))).await {
                Ok(connected) => connection = Some(connected),
                Err(error) if self.dialer.reconnect() == Reconnect::Never => {
                    let mut calls = lock(&self.dialer.calls);
                    return calls.lost(self.lane, &disconnected(&error), Read::None);
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Waits until there is something to send; `false` if there never will be.
    async fn is_wanted(&self) -> bool {
        let wanted = poll_fn(|cx| {
            let mut calls = lock(&self.dialer.calls);
            // What is too late already needs no connection.
            calls.expire(clock::now());
            if calls.is_abandoned() {
                // Though somebody may still ask what became of a call: there is nobody to tell.
                return Poll::Ready(false);
            } else if calls.wants_connection(self.lane) {
                return Poll::Ready(true);
            }
            calls.sleep(self.lane, cx.waker().clone());
            Poll::Pending
        });
        self.expiring(wanted).await
    }

    /// Does something while calls whose deadline passes are ended.
    async fn expiring<T>(&self, doing: impl Future<Output = T>) -> T {
        let (mut doing, mut timer) = (pin!(doing), Timer::default());
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(done) = doing.as_mut().poll(cx) {
                    return Poll::Ready(done);
                }
                let now = clock::now();
                timer.is_due(now);
                let next = {
                    let mut calls = lock(&self.dialer.calls);
                    calls.expire(now);
                    calls.sleep(self.lane, cx.waker().clone());
                    calls.next_deadline()
                };
                if !timer.arm(next, cx) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn failed(&self, error: &ConnectError) {
        tracing::debug!(%error, "cannot connect again");
        failed(&mut lock(&self.dialer.calls), error);
    }
}

/// How long to wait before the next attempt, after so many that failed.
pub(crate) fn pause(attempts: u32, limits: &Limits, rng: &mut impl Rng) -> Duration {
    let bound = FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(limits.max_reconnect_pause);
    bound.mul_f64(rng.random())
}

/// Tells the calls that wait why there is no connection.
pub(crate) fn failed(calls: &mut Calls, error: &ConnectError) {
    let why = disconnected(error);
    match error {
        // Trying again would not help any call that waits.
        ConnectError::AccessDenied { .. } | ConnectError::NotTrusted { .. } => {
            calls.give_up(&why);
        }
        _ => calls.set_disconnected(&why),
    }
}

/// Why there is no connection, as calls are told.
fn disconnected(error: &ConnectError) -> Disconnected {
    match error {
        ConnectError::Unreachable { source, .. } => Disconnected::Io(source.kind()),
        ConnectError::NotTrusted { .. } => Disconnected::Protocol(ProtocolError::Record),
        ConnectError::AccessDenied { .. } => {
            Disconnected::Alert(bailiwick_crypto::Alert::AccessDenied)
        }
        ConnectError::NotThisServer { server, .. } | ConnectError::NoAnswer { server, .. } => {
            Disconnected::NoHandshake(*server)
        }
        ConnectError::Ended { source, .. } => source.clone(),
        ConnectError::TimedOut { timeout, .. } => Disconnected::Idle(*timeout),
        _ => Disconnected::Truncated,
    }
}
