use std::{sync::Mutex, task::Waker, time::Duration};

use bailiwick_crypto::Identity;

use super::*;
use crate::{
    config::Limits,
    id::{Incarnation, MethodId},
    proto::{
        claim::Turn,
        completions::Past,
        duplicate_requests::{Digest, Given, Keep},
        frame::WireOutcome,
        memories::{Attached, Memories},
    },
};

/// Handlers that end when a test says so, of one client's calls.
struct Scene {
    handlers: Handlers,
    memory: Attached,
    /// Calls whose handlers are done.
    done: Arc<Mutex<Vec<u64>>>,
    now: Instant,
}

impl Scene {
    fn set() -> Self {
        let client = Identity::from_seed(&[1; 32]).public_key();
        let incarnation = Incarnation::from_bytes([1; 16]);
        let memories = Memories::new(&Limits::default());
        let memory = memories.attach(client, incarnation, [0; 8]).unwrap();
        Self { handlers: Handlers::default(), memory, done: Arc::default(), now: Instant::now() }
    }

    /// A handler of `call`, which has a second.
    fn begin(&self, call: u64, awaits: Awaits) -> Pending {
        let digest = Digest::of(MethodId::new(1), b"");
        let keep = match awaits {
            Awaits::Handler => Keep::Answer { digest, method: 0 },
            Awaits::Readonly | Awaits::Another => Keep::Nothing,
        };
        let turn = self.memory.arrive(call, 0, keep, Past::none(), self.now).unwrap();
        let done = Arc::clone(&self.done);
        let frame = Box::pin(async move {
            std::future::poll_fn(|cx| {
                // Nobody else wakes it: it looks each time that it may run.
                cx.waker().wake_by_ref();
                let is_done = done.lock().unwrap().contains(&call);
                if is_done { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if let Turn::Mine(claim) = turn {
                claim.finish(Given::Lent(b"\0"));
            }
            let mut frame = Frames::default();
            frame.tail().push(u8::try_from(call).unwrap());
            frame
        });
        let header = ReplyHeader { call, attempt: 0, max_frame: 1024, max_here: 1024 };
        let (deadline, memory) = (self.now + Duration::from_secs(1), self.memory.memory());
        Pending { header, deadline, awaits, memory: Arc::clone(memory), slot: None, frame }
    }

    /// The replies of the handlers that are done.
    fn run(&mut self) -> Vec<u8> {
        let mut replies = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        self.handlers.poll(&mut cx, |_, frame| {
            replies.extend_from_slice(frame.front());
            Flow::Continue
        });
        replies
    }

    fn outcome(&self, call: u64) -> WireOutcome {
        self.memory.lock().inquire(call).unwrap()
    }
}

#[test]
fn a_call_that_is_driven_twice_is_counted_and_answered_once() {
    let mut scene = Scene::set();
    let (first, second) = (scene.begin(1, Awaits::Readonly), scene.begin(1, Awaits::Readonly));
    assert!(scene.handlers.insert(1, first));
    assert!(!scene.handlers.insert(1, second));
    assert_eq!(scene.handlers.len(), 1);
    assert!(scene.run().is_empty());
    assert_eq!(Arc::strong_count(&scene.done), 2, "the first handler is dropped");
    scene.done.lock().unwrap().push(1);
    assert_eq!(scene.run(), [1]);
    assert!(scene.handlers.is_empty());
}

#[test]
fn at_its_deadline_a_call_is_dropped_and_the_memory_knows() {
    let mut scene = Scene::set();
    let handler = scene.begin(1, Awaits::Handler);
    assert!(scene.handlers.insert(1, handler));
    assert_eq!(scene.outcome(1), WireOutcome::AtWork);
    let mut told = Vec::new();
    let just_before = scene.now + Duration::from_millis(999);
    scene.handlers.expire(just_before, |call, _| told.push(call));
    assert_eq!((told.len(), scene.outcome(1)), (0, WireOutcome::AtWork));
    scene.handlers.expire(scene.now + Duration::from_secs(1), |call, _| told.push(call));
    assert_eq!((told, scene.outcome(1)), (vec![1], WireOutcome::NotKnown));
    assert!(scene.run().is_empty());
    assert!(scene.memory.lock().is_idle(), "its handler is dropped");
}

#[test]
fn without_its_connection_only_what_is_kept_goes_on() {
    let mut scene = Scene::set();
    for (call, awaits) in [(1, Awaits::Handler), (2, Awaits::Readonly), (3, Awaits::Another)] {
        let pending = scene.begin(call, awaits);
        assert!(scene.handlers.insert(call, pending));
    }
    scene.handlers.orphan();
    assert_eq!(scene.handlers.len(), 1);
    scene.done.lock().unwrap().extend([1, 2, 3]);
    assert_eq!(scene.run(), [1]);
    assert_eq!(scene.outcome(1), WireOutcome::Ran);
}

#[test]
fn a_cancelled_call_is_not_at_work_any_more() {
    let mut scene = Scene::set();
    let handler = scene.begin(1, Awaits::Handler);
    assert!(scene.handlers.insert(1, handler));
    assert!(scene.handlers.cancel(1));
    assert!(!scene.handlers.cancel(1));
    assert!(scene.handlers.is_empty() && scene.run().is_empty());
    assert!(scene.memory.lock().is_idle());
}
