//! Requests that wait for the machine's word. A machine knows messages and no calls; here an answer
//! that it sends finds the calls that asked for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use two_phase_commit::{
    message::{Address, Body, Message},
    txid::TxId,
};

/// Which answer a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    Executed,
    Vote,
    Ack,
    Decision,
    PeerState,
}

impl Awaited {
    /// What a message is the answer to; `None` if it asks itself.
    pub(crate) fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Executed { .. } => Some(Self::Executed),
            Body::Vote { .. } => Some(Self::Vote),
            Body::Ack { .. } => Some(Self::Ack),
            Body::Decision(_) => Some(Self::Decision),
            Body::PeerState(_) => Some(Self::PeerState),
            Body::Execute { .. }
            | Body::Prepare { .. }
            | Body::Commit
            | Body::Abort
            | Body::Inquire
            | Body::AskPeer => None,
        }
    }
}

type Key = (Address, TxId, Awaited);

/// Calls by what they wait for. There are never more than calls under way, which the runtime
/// bounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters(Arc<Mutex<BTreeMap<Key, Vec<oneshot::Sender<Body>>>>>);

/// A call that waits; forgotten when it is dropped.
pub(crate) struct Waiting {
    key: Key,
    answer: Option<oneshot::Receiver<Body>>,
    waiters: Waiters,
}

impl Waiters {
    /// Begins to wait: before the question is handed in, so that no answer is missed.
    pub(crate) fn wait(&self, asking: Address, txid: TxId, awaited: Awaited) -> Waiting {
        let (answered, answer) = oneshot::channel();
        let key = (asking, txid, awaited);
        self.lock().entry(key).or_default().push(answered);
        Waiting { key, answer: Some(answer), waiters: self.clone() }
    }

    /// Gives an answer to all that wait for it. If nobody does the asking node asks again.
    pub(crate) fn answer(&self, to: Address, message: &Message, awaited: Awaited) {
        let waiting = self.lock().remove(&(to, message.txid, awaited));
        for answered in waiting.into_iter().flatten() {
            let _ = answered.send(message.body.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<oneshot::Sender<Body>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The answer; `None` if the node ends first.
    pub(crate) async fn answer(mut self) -> Option<Body> {
        match self.answer.as_mut() {
            Some(answer) => answer.await.ok(),
            None => None,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // From here on its sender counts as closed.
        self.answer = None;
        let mut waiters = self.waiters.lock();
        if let Some(waiting) = waiters.get_mut(&self.key) {
            waiting.retain(|answered| !answered.is_closed());
            if waiting.is_empty() {
                waiters.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use two_phase_commit::{message::Decision, txid::LogId};

    use super::*;

    const TXID: TxId = TxId { log: LogId([7; 16]), epoch: 1, counter: 1 };

    fn message(body: Body) -> Message {
        Message { txid: TXID, body }
    }

    #[tokio::test]
    async fn an_answer_finds_all_that_wait_for_it_and_nobody_else() {
        let waiters = Waiters::default();
        let wait = |awaited| waiters.wait(Address::Coordinator, TXID, awaited);
        let (first, second) = (wait(Awaited::Ack), wait(Awaited::Ack));
        let other = wait(Awaited::Vote);
        let ack = Body::Ack { log: LogId([1; 16]) };
        waiters.answer(Address::Coordinator, &message(ack.clone()), Awaited::Ack);
        assert_eq!((first.answer().await, second.answer().await), (Some(ack.clone()), Some(ack)));
        assert_eq!(waiters.lock().len(), 1, "the other waits still");
        drop(other);
        assert!(waiters.lock().is_empty());
    }

    #[test]
    fn who_waits_no_more_is_forgotten() {
        let waiters = Waiters::default();
        let wait = || waiters.wait(Address::Coordinator, TXID, Awaited::Decision);
        let (first, second) = (wait(), wait());
        drop(first);
        assert_eq!(waiters.lock().values().map(Vec::len).sum::<usize>(), 1);
        drop(second);
        assert!(waiters.lock().is_empty());
        let decision = message(Body::Decision(Decision::Pending));
        waiters.answer(Address::Coordinator, &decision, Awaited::Decision);
    }
}
