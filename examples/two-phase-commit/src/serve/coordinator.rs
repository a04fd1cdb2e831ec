//! The coordinator as a service.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bailiwick::{CallError, Context, PublicKey};
use two_phase_commit::{
    coordinator::{self, Answer, Outcome, Request},
    message::{Body, Decision, Transaction},
    txid::TxId,
};

use super::{engine::Engine, waiters::Awaited};
use crate::services::{
    Accounts, Coordinator, Fate, MAX_LISTED, Refusal, Transfer, UnderWay, Unfinished,
};

/// Most names whose clients are known; the oldest go, and run no more.
const MAX_BEGUN: usize = 100_000;

/// What the service's methods need.
pub(crate) struct Service {
    engine: Engine<coordinator::Coordinator>,
    epoch: u64,
    /// Whom each name of this boot was given to. Without it one client could run something under
    /// the name that another was given, and that one would take it for its own.
    begun: Mutex<BTreeMap<TxId, PublicKey>>,
}

impl Service {
    /// `epoch` is that of this boot.
    pub(crate) fn new(engine: Engine<coordinator::Coordinator>, epoch: u64) -> Self {
        Self { engine, epoch, begun: Mutex::default() }
    }

    async fn ask(&self, request: Request) -> Result<Answer, CallError<Refusal>> {
        match self.engine.request(request).await? {
            Answer::Refused(refused) => Err(Refusal::Coordinator(refused))?,
            answer => Ok(answer),
        }
    }

    async fn run(
        &self,
        cx: &Context,
        txid: TxId,
        transaction: Transaction,
    ) -> Result<Outcome, CallError<Refusal>> {
        let may_begin = txid.epoch == self.epoch;
        if may_begin && self.begun().get(&txid).copied() != client(cx) {
            Err(Refusal::NotYours(txid))?;
        }
        self.outcome_of(Request::Run { txid, transaction }).await
    }

    async fn outcome_of(&self, request: Request) -> Result<Outcome, CallError<Refusal>> {
        match self.ask(request).await? {
            Answer::Outcome(outcome) => Ok(outcome),
            _ => Err(CallError::Internal),
        }
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, BTreeMap<TxId, PublicKey>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coordinator for Service {
    async fn begin(&self, cx: &Context) -> Result<TxId, CallError<Refusal>> {
        let Answer::Begun(txid) = self.ask(Request::Begin).await? else {
            return Err(CallError::Internal);
        };
        let mut begun = self.begun();
        if let Some(client) = client(cx) {
            begun.insert(txid, client);
        }
        if begun.len() > MAX_BEGUN {
            begun.pop_first();
        }
        Ok(txid)
    }

    async fn transfer(
        &self,
        cx: &Context,
        txid: TxId,
        Transfer { from, to, amount }: Transfer,
    ) -> Result<Outcome, CallError<Refusal>> {
        let transaction = Transaction::transfer(from, to, amount)
            .map_err(|bad| Refusal::Coordinator(coordinator::Refused::Bad(bad)))?;
        self.run(cx, txid, transaction).await
    }

    async fn read(
        &self,
        cx: &Context,
        txid: TxId,
        Accounts(accounts): Accounts,
    ) -> Result<Outcome, CallError<Refusal>> {
        let transaction = Transaction::audit(accounts)
            .map_err(|bad| Refusal::Coordinator(coordinator::Refused::Bad(bad)))?;
        self.run(cx, txid, transaction).await
    }

    async fn outcome(&self, _: &Context, txid: TxId) -> Result<Fate, CallError<Refusal>> {
        self.outcome_of(Request::Outcome { txid }).await.map(|outcome| Fate::from(&outcome))
    }

    async fn inquire(&self, cx: &Context, txid: TxId) -> Result<Decision, CallError<Refusal>> {
        match self.engine.exchange(cx, txid, Body::Inquire, Awaited::Decision).await? {
            Body::Decision(decision) => Ok(decision),
            _ => Err(CallError::Internal),
        }
    }

    async fn unfinished(&self, _: &Context) -> Result<UnderWay, CallError<Refusal>> {
        let look = |coordinator: &coordinator::Coordinator, now| {
            let listed = coordinator.unfinished().into_iter().take(MAX_LISTED);
            let listed = listed.map(|(txid, missing)| Unfinished { txid, missing }).collect();
            UnderWay { gauges: coordinator.gauges(now), listed }
        };
        self.engine.look(look).await
    }
}

fn client(cx: &Context) -> Option<PublicKey> {
    cx.call_key().map(|call| call.client)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bailiwick::testing::InMemory;
    use stable_store::{FileStorage, Opening, Options, Record, Rejected, Replay};
    use tempfile::TempDir;
    use two_phase_commit::{
        coordinator::{Gauges, Refused, Why},
        machine::Machine as _,
        message::{BadTransaction, No},
        node::{Node, Opened},
        record::CoordinatorRecord,
        txid::{LogId, NodeId},
    };

    use super::{
        super::{engine::Start, links::Links, mortal::Mortal},
        *,
    };
    use crate::services::CoordinatorClient;

    const POLICY: &str = "\
alice | transaction | begin,outcome,inquire | allow
alice | transaction | observe               | allow
bob   | transaction | begin,outcome         | allow
alice | from/p1/a   | transfer              | allow
alice | to/**       | transfer              | allow
bob   | from/**     | transfer              | allow
bob   | to/**       | transfer              | allow
";

    /// A coordinator whose one participant is never there.
    fn alone(folder: &TempDir) -> InMemory<CoordinatorClient> {
        let opening = opening(folder);
        let options = coordinator::Options {
            vote_timeout: Duration::from_millis(20),
            ..coordinator::Options::default()
        };
        let machine = coordinator::Coordinator::new(opening.id().into(), [NodeId(1)], options);
        let opened = Node::open(opening, machine, Duration::ZERO, &mut |_| ());
        let Opened { node, effects, recovery, .. } = opened.expect("a new log");
        let prepared = Engine::prepare();
        let engine = prepared.engine.clone();
        let _end = prepared.start(Start { node, effects, origin: Instant::now() }, Links::none());
        CoordinatorClient::in_memory(Service::new(engine, recovery.epoch.0)).policy(POLICY)
    }

    fn opening(folder: &TempDir) -> Opening<Mortal> {
        let files = FileStorage::open(&folder.path().join("data")).expect("a directory");
        let storage = Mortal::new(files, Default::default());
        Opening::new(storage, Options::default()).expect("a log")
    }

    fn transfer(from: &str, to: &str, amount: i64) -> Transfer {
        let account = |name: &str| name.parse().expect("an account");
        Transfer { from: account(from), to: account(to), amount }
    }

    fn soon() -> Context {
        Context::within(Duration::from_secs(10))
    }

    #[tokio::test]
    async fn what_is_no_transfer_is_refused_though_the_client_did_not_look() {
        let folder = tempfile::tempdir().expect("a folder");
        let bank = alone(&folder);
        let alice = bank.as_principal("alice").await;
        let txid = alice.begin(&soon()).await.expect("anybody may begin");
        let same = transfer("p1/a", "p1/a", 5);
        let wrong = [
            (transfer("p1/a", "p1/b", -5), BadTransaction::Amount(-5)),
            (transfer("p1/a", "p1/b", 0), BadTransaction::Amount(0)),
            (transfer("p1/a", "p1/b", i64::MIN), BadTransaction::Amount(i64::MIN)),
            (same.clone(), BadTransaction::Twice(same.from)),
            (transfer("p1/a", "p9/b", 5), BadTransaction::UnknownParticipant(NodeId(9))),
        ];
        for (transfer, why) in wrong {
            let refused = alice.transfer(&soon(), txid, transfer).await;
            let expected = Refusal::Coordinator(Refused::Bad(why));
            assert_eq!(refused, Err(CallError::App(expected)));
        }
        // The name is still good.
        let ended = alice.transfer(&soon(), txid, transfer("p1/a", "p1/b", 5)).await;
        assert_eq!(ended, Ok(Outcome::Aborted(Why::Silent(vec![NodeId(1)]))));
    }

    #[tokio::test]
    async fn a_name_is_good_for_whom_it_was_given_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let bank = alone(&folder);
        let (alice, bob) = (bank.as_principal("alice").await, bank.as_principal("bob").await);
        let txid = alice.begin(&soon()).await.expect("anybody may begin");
        let stolen = bob.transfer(&soon(), txid, transfer("p1/b", "p1/c", 5)).await;
        assert_eq!(stolen, Err(CallError::App(Refusal::NotYours(txid))));
        assert_eq!(bob.outcome(&soon(), txid).await, Ok(Fate::Pending));
        let made_up = TxId { counter: txid.counter + 1, ..txid };
        let guessed = bob.transfer(&soon(), made_up, transfer("p1/b", "p1/c", 5)).await;
        assert_eq!(guessed, Err(CallError::App(Refusal::NotYours(made_up))));
    }

    #[tokio::test]
    async fn both_accounts_of_a_transfer_must_be_allowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let bank = alone(&folder);
        let alice = bank.as_principal("alice").await;
        let txid = alice.begin(&soon()).await.expect("anybody may begin");
        let denied = alice.transfer(&soon(), txid, transfer("p1/b", "p1/a", 5)).await;
        assert!(matches!(denied, Err(CallError::Denied(_))), "{denied:?}");
    }

    #[tokio::test]
    async fn who_is_no_node_cannot_inquire_though_a_policy_lets_him() {
        let folder = tempfile::tempdir().expect("a folder");
        let bank = alone(&folder);
        let alice = bank.as_principal("alice").await;
        let txid = alice.begin(&soon()).await.expect("anybody may begin");
        let refused = alice.inquire(&soon(), txid).await;
        assert_eq!(refused, Err(CallError::App(Refusal::NoNode("alice".to_owned()))));
    }

    #[tokio::test]
    async fn a_listing_that_is_cut_says_how_many_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let opening = opening(&folder);
        let log = opening.id().into();
        let (mut store, _) = opening.recover(&mut Empty, &mut |_| ()).expect("a new log");
        for counter in 1..=300 {
            let txid = TxId { log, epoch: 1, counter };
            let participants = [(NodeId(1), LogId([7; 16]))].into();
            let record = CoordinatorRecord::Commit { txid, participants };
            let record = postcard::to_allocvec(&record).expect("a record");
            store.append(coordinator::Coordinator::KIND, &record).expect("a disk");
        }
        store.sync().expect("a disk");
        drop(store);
        let bank = alone(&folder);
        let alice = bank.as_principal("alice").await;
        let under_way = alice.unfinished(&soon()).await.expect("alice may observe");
        let Gauges { undecided, unfinished, oldest } = under_way.gauges;
        assert_eq!((undecided, unfinished, under_way.listed.len()), (0, 300, MAX_LISTED));
        assert!(oldest > Duration::ZERO, "they wait for a participant that is never there");
    }

    /// What a new log holds.
    struct Empty;

    impl Replay for Empty {
        fn restore(&mut self, _: &[u8]) -> Result<(), Rejected> {
            Ok(())
        }

        fn apply(&mut self, _: Record<'_>) -> Result<(), Rejected> {
            Ok(())
        }
    }

    #[test]
    fn an_outcome_tells_no_balances() {
        let account = "p1/a".parse().expect("an account");
        let outcome = Outcome::Committed { values: Some(vec![(account, 5)]) };
        assert_eq!(Fate::from(&outcome), Fate::Committed);
        let no = Why::No { participant: NodeId(1), no: No::UnknownAccount("a".to_owned()) };
        assert_eq!(Fate::from(&Outcome::Aborted(no)), Fate::Aborted);
    }
}
