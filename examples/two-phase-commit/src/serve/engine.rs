//! The thread that owns a machine and its log. Calls hand in what happens; what the machine lets
//! out goes to those who wait, or on its way to other nodes.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bailiwick::{CallError, Context};
use stable_store::{Storage, StoreError};
use tokio::sync::oneshot;
use two_phase_commit::{
    machine::{Effect, Input, Machine, RequestId, Time},
    message::{Address, Body, Message},
    node::{MAX_BATCH, Node},
    txid::TxId,
};

use super::{
    figures::FORCED_WRITES,
    links::Links,
    waiters::{Awaited, Waiters},
};
use crate::{nodes, services::Refusal};

/// Inputs that wait for the thread; further ones are refused, or lost like any message.
const QUEUE: usize = 1024;

/// The longest sleep of the thread.
const IDLE: Duration = Duration::from_secs(3600);

type Look<M> = Box<dyn FnOnce(&M, Time) + Send>;

/// What the thread is handed.
enum Job<M: Machine> {
    Input(Input<M::Request>),
    /// A look at the machine between two steps.
    Look(Look<M>),
    /// Put everything on the disk and end.
    Stop,
}

/// A machine at work. Clones share it.
pub(crate) struct Engine<M: Machine> {
    jobs: SyncSender<Job<M>>,
    shared: Arc<Shared<M>>,
}

struct Shared<M: Machine> {
    waiters: Waiters,
    requests: Mutex<BTreeMap<RequestId, oneshot::Sender<M::Answer>>>,
    next: AtomicU64,
}

/// A machine and a log that have been recovered, and what they want at once.
pub(crate) struct Start<M: Machine, S: Storage> {
    pub(crate) node: Node<M, S>,
    pub(crate) effects: Vec<Effect<M::Answer>>,
    /// When the machine's time began.
    pub(crate) origin: Instant,
}

/// How an engine ends: with its log flushed, or with why it cannot be written.
pub(crate) type End = oneshot::Receiver<Result<(), StoreError>>;

/// An engine whose thread has not begun: it can be handed jobs, and does nothing.
pub(crate) struct Prepared<M: Machine> {
    pub(crate) engine: Engine<M>,
    jobs: Receiver<Job<M>>,
}

impl<M> Engine<M>
where
    M: Machine + Send + 'static,
    M::Request: Send,
    M::Answer: Send,
    M::Record: Send,
{
    /// Makes the queue, so that whoever hears of answers can hand them in.
    pub(crate) fn prepare() -> Prepared<M> {
        let (sender, jobs) = sync_channel(QUEUE);
        let shared = Shared {
            waiters: Waiters::default(),
            requests: Mutex::default(),
            next: AtomicU64::new(0),
        };
        Prepared { engine: Self { jobs: sender, shared: Arc::new(shared) }, jobs }
    }

    /// Hands in what a caller says, and waits for what the machine answers.
    ///
    /// # Errors
    ///
    /// [`Refusal`], and [`CallError::Internal`] if the node ends.
    pub(crate) async fn exchange(
        &self,
        cx: &Context,
        txid: TxId,
        body: Body,
        awaited: Awaited,
    ) -> Result<Body, CallError<Refusal>> {
        let from = caller(cx)?;
        let waiting = self.shared.waiters.wait(from, txid, awaited);
        self.hand_in(Job::Input(Input::Message { from, message: Message { txid, body } }))?;
        waiting.answer().await.ok_or(CallError::Internal)
    }

    /// Hands in what a caller says, and waits for nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub(crate) fn tell(
        &self,
        cx: &Context,
        txid: TxId,
        body: Body,
    ) -> Result<(), CallError<Refusal>> {
        let from = caller(cx)?;
        self.hand_in(Job::Input(Input::Message { from, message: Message { txid, body } }))
    }

    /// Hands in what another node has answered; lost if there is no room.
    pub(crate) fn heard(&self, from: Address, message: Message) {
        let _ = self.hand_in(Job::Input(Input::Message { from, message }));
    }

    /// Asks the machine for something.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`], and [`CallError::Internal`] if the node ends.
    pub(crate) async fn request(
        &self,
        request: M::Request,
    ) -> Result<M::Answer, CallError<Refusal>> {
        let (answered, answer) = oneshot::channel();
        let id = RequestId(self.shared.next.fetch_add(1, Ordering::Relaxed));
        self.shared.requests().insert(id, answered);
        let _forgotten = Forget { id, shared: &self.shared };
        self.hand_in(Job::Input(Input::Request { id, request }))?;
        answer.await.map_err(|_| CallError::Internal)
    }

    /// Looks at the machine.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub(crate) async fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&M, Time) -> R + Send + 'static,
    ) -> Result<R, CallError<Refusal>> {
        let (seen, sight) = oneshot::channel();
        let look = move |machine: &M, now: Time| drop(seen.send(look(machine, now)));
        self.hand_in(Job::Look(Box::new(look)))?;
        sight.await.map_err(|_| CallError::Internal)
    }

    /// Has the thread end, once it has done what was handed in before.
    pub(crate) fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
    }

    fn hand_in(&self, job: Job<M>) -> Result<(), CallError<Refusal>> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Refusal::Busy)?,
            Err(TrySendError::Disconnected(_)) => Err(CallError::Internal),
        }
    }
}

impl<M: Machine> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<M> Prepared<M>
where
    M: Machine + Send + 'static,
    M::Request: Send,
    M::Answer: Send,
    M::Record: Send,
{
    /// Begins the thread.
    pub(crate) fn start<S: Storage>(self, start: Start<M, S>, links: Links) -> End
    where
        Node<M, S>: Send,
    {
        let (ended, end) = oneshot::channel();
        let Self { engine, jobs } = self;
        let shared = Arc::clone(&engine.shared);
        drop(engine);
        let forced = metrics::counter!(FORCED_WRITES);
        let mut running = Running { node: start.node, links, shared, origin: start.origin, forced };
        let first = start.effects;
        let work = move || {
            running.let_out(first);
            let _ = ended.send(running.run(&jobs));
            // Whoever waits for an answer is dropped with this, and told nothing.
        };
        let _detached = thread::spawn(work);
        end
    }
}

/// What the thread has.
struct Running<M: Machine, S: Storage> {
    node: Node<M, S>,
    links: Links,
    shared: Arc<Shared<M>>,
    origin: Instant,
    forced: metrics::Counter,
}

impl<M: Machine, S: Storage> Running<M, S> {
    fn run(&mut self, jobs: &Receiver<Job<M>>) -> Result<(), StoreError> {
        loop {
            let batch = self.wait(jobs);
            let flow = self.work(batch)?;
            self.node.checkpoint_if_due()?;
            if flow.is_break() {
                return self.node.flush();
            }
        }
    }

    /// What has been handed in by the time that something is, or is due: all of it shares a sync.
    fn wait(&self, jobs: &Receiver<Job<M>>) -> Vec<Job<M>> {
        let now = self.now();
        let pause = self.node.next_timeout().map_or(IDLE, |at| at.saturating_sub(now).min(IDLE));
        match jobs.recv_timeout(pause) {
            Ok(job) => [job].into_iter().chain(jobs.try_iter().take(MAX_BATCH - 1)).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            // Nobody can hand in anything any more.
            Err(RecvTimeoutError::Disconnected) => vec![Job::Stop],
        }
    }

    fn work(&mut self, batch: Vec<Job<M>>) -> Result<ControlFlow<()>, StoreError> {
        let (mut inputs, mut looks, mut flow) = (Vec::new(), Vec::new(), ControlFlow::Continue(()));
        for job in batch {
            match job {
                Job::Input(input) => inputs.push(input),
                Job::Look(look) => looks.push(look),
                Job::Stop => flow = ControlFlow::Break(()),
            }
        }
        let now = self.now();
        let effects = self.node.step(inputs, now)?;
        self.forced.absolute(self.node.forced());
        self.let_out(effects);
        looks.into_iter().for_each(|look| look(self.node.machine(), now));
        Ok(flow)
    }

    fn let_out(&self, effects: Vec<Effect<M::Answer>>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => match Awaited::of(&message.body) {
                    Some(awaited) => self.shared.waiters.answer(to, &message, awaited),
                    None => self.links.send(to, message),
                },
                Effect::Reply { request, answer } => {
                    if let Some(waiting) = self.shared.requests().remove(&request) {
                        let _ = waiting.send(answer);
                    }
                }
                Effect::Report(report) => tracing::warn!("{report}"),
            }
        }
    }

    fn now(&self) -> Time {
        self.origin.elapsed()
    }
}

impl<M: Machine> Shared<M> {
    fn requests(&self) -> MutexGuard<'_, BTreeMap<RequestId, oneshot::Sender<M::Answer>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is forgotten when nobody waits for its answer.
struct Forget<'a, M: Machine> {
    id: RequestId,
    shared: &'a Shared<M>,
}

impl<M: Machine> Drop for Forget<'_, M> {
    fn drop(&mut self) {
        self.shared.requests().remove(&self.id);
    }
}

/// The node that calls, by its principal.
fn caller(cx: &Context) -> Result<Address, CallError<Refusal>> {
    let principal = cx.principal().unwrap_or_default();
    Ok(nodes::node(principal).ok_or_else(|| Refusal::NoNode(principal.to_owned()))?)
}
