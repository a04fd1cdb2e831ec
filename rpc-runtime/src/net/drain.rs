//! How the tasks of a server learn that it shuts down.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::{FutureExt as _, future::Shared};
use tokio::sync::oneshot;

/// Begins the shutdown when it is dropped.
pub(crate) struct BeginDrain {
    begun: Arc<AtomicBool>,
    /// Dropped once the flag is set: whoever that wakes finds it so.
    _tell: oneshot::Sender<()>,
}

/// Resolves once the shutdown has begun, and may be asked again then.
pub(crate) struct Drain {
    begun: Arc<AtomicBool>,
    told: Shared<oneshot::Receiver<()>>,
    /// Whom it will wake: who is asked for again needs a look at the flag and no more.
    registered: Option<Waker>,
}

/// A signal and what gives it.
pub(crate) fn drain() -> (BeginDrain, Drain) {
    let (tell, told) = oneshot::channel();
    let begun = Arc::new(AtomicBool::new(false));
    let drain = Drain { begun: Arc::clone(&begun), told: told.shared(), registered: None };
    (BeginDrain { begun, _tell: tell }, drain)
}

impl Drop for BeginDrain {
    fn drop(&mut self) {
        self.begun.store(true, Ordering::Release);
    }
}

impl Clone for Drain {
    fn clone(&self) -> Self {
        let (begun, told) = (Arc::clone(&self.begun), self.told.clone());
        Self { begun, told, registered: None }
    }
}

impl Future for Drain {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.begun.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.registered = Some(cx.waker().clone());
        self.told.poll_unpin(cx).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_task_is_woken_once_and_finds_the_shutdown_begun_however_often_it_looks() {
        let (begin, drain) = drain();
        let mut tasks = [(); 3].map(|()| (drain.clone(), Arc::new(Count::default())));
        for (drain, count) in &mut tasks {
            let waker = Waker::from(Arc::clone(count));
            for _ in 0..2 {
                assert!(drain.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        // One that is polled by another task wakes that one.
        let moved = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&moved));
        assert!(tasks[0].0.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(begin);
        let woken = |count: &Count| count.0.load(Ordering::Relaxed);
        let counts: Vec<_> = tasks.iter().map(|(_, count)| woken(count)).collect();
        assert_eq!((counts, woken(&moved)), (vec![0, 1, 1], 1));
        for (drain, _) in &mut tasks {
            for _ in 0..2 {
                assert!(drain.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
            }
        }
    }
}
