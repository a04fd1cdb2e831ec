//! Wakes the tasks of open sessions once another policy is in force, so that they look whether their
//! callers are still welcome.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use slab::Slab;

/// The tasks that have open sessions: as many as there are connections.
#[derive(Default)]
pub(crate) struct Revisions {
    tasks: Mutex<Slab<Waker>>,
}

impl Revisions {
    /// Another policy is in force.
    pub(crate) fn changed(&self) {
        for (_, waker) in &*self.lock() {
            waker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task's place among them, until this is dropped.
pub(crate) struct Listening {
    revisions: Arc<Revisions>,
    place: Option<(usize, Waker)>,
}

impl Listening {
    pub(crate) fn new(revisions: &Arc<Revisions>) -> Self {
        Self { revisions: Arc::clone(revisions), place: None }
    }

    /// Has the task woken by the next change. To be called before the revision is looked at, or a
    /// change between the two is missed.
    pub(crate) fn listen(&mut self, cx: &Context<'_>) {
        match &mut self.place {
            Some((_, waker)) if waker.will_wake(cx.waker()) => {}
            Some((place, waker)) => {
                cx.waker().clone_into(waker);
                if let Some(kept) = self.revisions.lock().get_mut(*place) {
                    kept.clone_from(waker);
                }
            }
            None => {
                let waker = cx.waker().clone();
                let place = self.revisions.lock().insert(waker.clone());
                self.place = Some((place, waker));
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some((place, _)) = self.place {
            self.revisions.lock().try_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_by_its_last_waker_until_it_ends() {
        let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let wakers = [&first, &second].map(|counter| Waker::from(Arc::clone(counter)));
        let revisions = Arc::default();
        let mut listening = Listening::new(&revisions);
        revisions.changed();
        listening.listen(&Context::from_waker(&wakers[0]));
        listening.listen(&Context::from_waker(&wakers[0]));
        revisions.changed();
        listening.listen(&Context::from_waker(&wakers[1]));
        revisions.changed();
        drop(listening);
        revisions.changed();
        let woken = [first, second].map(|counter| counter.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1]);
        assert!(revisions.lock().is_empty());
    }
}
