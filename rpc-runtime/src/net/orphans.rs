//! Handlers whose connection has ended: they go on to their end or deadline, and what they answer
//! is kept for the client to ask for again.

use std::{
    mem,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::task::JoinSet;

use super::{handlers::Handlers, timer::Timer};
use crate::{clock, proto::session::Flow};

/// All orphans of a server. Their number is bounded for each client, by its memory.
#[derive(Default)]
pub(crate) struct Orphans {
    tasks: Mutex<JoinSet<()>>,
}

impl Orphans {
    /// Takes over what is at work on a connection that has ended.
    pub(crate) fn adopt(&self, handlers: &mut Handlers) {
        let mut handlers = mem::take(handlers);
        handlers.orphan();
        if handlers.is_empty() {
            return;
        }
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Orphan { handlers, timer: Timer::default() });
    }

    /// Waits for all to end. To be called once there are no connections any more.
    pub(crate) async fn all_ended(&self) {
        let mut tasks = mem::take(&mut *self.lock());
        while tasks.join_next().await.is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Orphan {
    handlers: Handlers,
    timer: Timer,
}

impl Future for Orphan {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { handlers, timer } = &mut *self;
        loop {
            let now = clock::now();
            if timer.is_due(now) {
                handlers.expire(now, |_, _| {});
            }
            handlers.poll(cx, |_, _| Flow::Continue);
            if handlers.is_empty() {
                return Poll::Ready(());
            }
            if !timer.arm(handlers.next_deadline(), cx) {
                return Poll::Pending;
            }
        }
    }
}
