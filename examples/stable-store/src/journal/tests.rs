//! The promises of a journal, over a disk that forgets, one that fails, and one that waits.

mod gate;
mod ledger;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Options,
    disk::{ForgetfulDisk, Operation, Survivors},
    faults::{Fault, Faulty},
};
use gate::Gated;
use ledger::{Ledger, SET, recovered, set, start, start_with};

/// Far longer than anything here takes; a broken promise fails the test rather than hangs it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future on this thread.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(start.elapsed() < PATIENCE, "it is not ready");
        thread::park_timeout(PATIENCE);
    }
}

fn is_ready(future: &mut (impl Future + Unpin)) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Submits one update.
fn submit(journal: &Journal<Ledger>, key: u8, value: u64) -> Committed {
    let (lsn, committed) =
        journal.submit(|_, appender| appender.append(SET, &set(key, value)).unwrap()).unwrap();
    assert_eq!(committed.lsn(), lsn);
    committed
}

fn value(journal: &Journal<Ledger>, key: u8) -> Option<u64> {
    journal.read(|ledger| ledger.values.get(&key).copied())
}

#[test]
fn reads_see_an_update_when_it_is_durable_and_not_before() {
    let (disk, gate) = Gated::new(1);
    let journal = start(disk);
    gate.close();
    let mut committed = submit(&journal, 1, 5);
    gate.wait_for_sync();
    assert_eq!(value(&journal, 1), None);
    assert!(!is_ready(&mut committed));
    gate.open();
    wait(committed);
    assert_eq!(value(&journal, 1), Some(5));
}

#[test]
fn whatever_a_read_has_seen_a_power_cut_leaves() {
    let disk = ForgetfulDisk::new(2);
    let journal = start(disk.clone());
    let writers: Vec<_> = (0..4_u8)
        .map(|writer| {
            let journal = journal.clone();
            thread::spawn(move || (1..=300).for_each(|n| wait(submit(&journal, writer, n))))
        })
        .collect();
    for seed in 0..100 {
        let seen = journal.read(|ledger| ledger.values.clone());
        let copy = disk.fork(seed);
        copy.power_cut_to(Survivors::Synced);
        let left = recovered(copy).values;
        for (key, value) in seen {
            assert!(left.get(&key) >= Some(&value), "{key}: {value} was read, {left:?} is left");
        }
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(journal.read(|ledger| ledger.values.clone()), (0..4).map(|w| (w, 300)).collect());
}

#[test]
fn answers_come_in_the_order_of_the_log() {
    struct Note(u64, Arc<Mutex<Vec<u64>>>);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let (disk, gate) = Gated::new(3);
    let journal = start(disk);
    gate.close();
    let first = submit(&journal, 0, 0);
    gate.wait_for_sync();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut waiting: Vec<_> = (1..=20).map(|n| (n, submit(&journal, 1, n))).collect();
    for (n, committed) in waiting.iter_mut().rev() {
        let waker = Waker::from(Arc::new(Note(*n, Arc::clone(&woken))));
        assert!(pin!(committed).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let last = submit(&journal, 2, 0);
    gate.open();
    wait(first);
    wait(last);
    assert_eq!(*woken.lock().unwrap(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_lone_writer_waits_for_one_sync_each() {
    let (disk, gate) = Gated::new(4);
    let journal = start(disk);
    let before = gate.syncs();
    for n in 1..=50 {
        wait(submit(&journal, 1, n));
        assert_eq!(gate.syncs() - before, n);
    }
}

#[test]
fn what_gathers_while_a_sync_runs_shares_the_next() {
    let (disk, gate) = Gated::new(5);
    let journal = start(disk);
    let before = gate.syncs();
    gate.close();
    let first = submit(&journal, 0, 1);
    gate.wait_for_sync();
    // None of these waits for the disk, which stands still.
    let others: Vec<_> = (1..=64).map(|writer| submit(&journal, writer, 1)).collect();
    gate.open();
    wait(first);
    others.into_iter().for_each(wait);
    assert_eq!(gate.syncs() - before, 2);
    let stats = journal.stats();
    assert_eq!((stats.records, stats.batches, stats.buffered), (65, 2, 0));
}

#[test]
fn an_answer_that_may_rest_on_anothers_update_waits_for_it() {
    let (disk, gate) = Gated::new(6);
    let journal = start(disk);
    let (_, mut nothing) = journal.submit(|_, _| ()).unwrap();
    assert!(is_ready(&mut nothing), "nobody writes");
    gate.close();
    let others = submit(&journal, 1, 1);
    let (_, mut looked) = journal.submit(|_, _| ()).unwrap();
    gate.wait_for_sync();
    assert!(!is_ready(&mut looked));
    gate.open();
    wait(others);
    assert!(is_ready(&mut looked));
}

/// Updates, one after the other, until the journal fails. Returns the last that was acknowledged.
fn update_until_failure(journal: &Journal<Ledger>) -> (u64, JournalError) {
    for n in 1..=10_000 {
        let submitted = journal.submit(|_, appender| appender.append(SET, &set(1, n)).unwrap());
        let Ok((_, mut committed)) = submitted else {
            assert_eq!(submitted.unwrap_err(), Refused::Failed);
            return (n - 1, wait(journal.poisoned()));
        };
        let mut poisoned = pin!(journal.poisoned());
        let failure = wait(std::future::poll_fn(|cx| {
            if pin!(&mut committed).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            poisoned.as_mut().poll(cx).map(Some)
        }));
        if let Some(failure) = failure {
            // It may have become both, one after the other.
            let acknowledged = if is_ready(&mut committed) { n } else { n - 1 };
            return (acknowledged, failure);
        }
    }
    panic!("nothing failed");
}

#[test]
fn a_failed_write_or_sync_acknowledges_nothing_ever_after() {
    let faults = [
        (Operation::Sync, Fault::Io),
        (Operation::Append, Fault::Io),
        (Operation::Append, Fault::Short),
    ];
    for (operation, fault) in faults {
        for nth in 1..=5 {
            let disk = ForgetfulDisk::new(nth);
            let faulty = Faulty::new(disk.clone());
            let journal = start(faulty.clone());
            faulty.fail(operation, nth, fault);
            let (acknowledged, failure) = update_until_failure(&journal);
            assert_eq!(acknowledged, nth - 1);
            assert!(matches!(failure, JournalError::Store(StoreError::Io { .. })), "{failure}");

            assert_eq!(journal.submit(|_, _| ()).unwrap_err(), Refused::Failed);
            assert_eq!(value(&journal, 1), (nth > 1).then_some(nth - 1), "what is not durable");
            journal.stop();
            assert_eq!(faulty.after_failure(), []);
            disk.power_cut();
            let left = recovered(disk).values.get(&1).copied().unwrap_or_default();
            assert!([nth - 1, nth].contains(&left), "{left} is left of {acknowledged}");
        }
    }
}

#[test]
fn who_waits_when_the_disk_fails_waits_for_ever() {
    let (gated, gate) = Gated::new(7);
    let disk = gated.disk.clone();
    let journal = start(gated);
    // It fails behind the gate: in front of it, it could fail before all have submitted.
    disk.fail_sync(1);
    gate.close();
    let mut committed: Vec<_> = (1..=10).map(|n| submit(&journal, 1, n)).collect();
    gate.open();
    wait(journal.poisoned());
    // The threads end, so that nobody is left who could wake them.
    journal.stop();
    assert!(!committed.iter_mut().any(is_ready));
}

#[test]
fn a_failure_in_a_checkpoint_fails_the_journal_and_loses_nothing() {
    let mut failed = Vec::new();
    for operation in Operation::ALL {
        for nth in 1..=4 {
            let disk = ForgetfulDisk::new(nth);
            let faulty = Faulty::new(disk.clone());
            let journal = start_with(faulty.clone(), 2_000);
            wait(submit(&journal, 1, 0));
            // A log file is begun, written and synced in each checkpoint, and so is its own file;
            // the log's own writes are met as well, which is tested above.
            faulty.fail(operation, nth, Fault::Io);
            if operation == Operation::Truncate {
                continue; // nothing is cut off while a store serves
            }
            let (acknowledged, failure) = update_until_failure(&journal);
            if let JournalError::Store(StoreError::Io { action, name, .. }) = &failure {
                failed.push(format!("{action} {name}"));
            }
            assert!(matches!(failure, JournalError::Store(_)), "{operation:?} {nth}: {failure}");
            journal.stop();
            disk.power_cut();
            let left = recovered(disk).values.get(&1).copied().unwrap_or_default();
            assert!(left >= acknowledged, "{operation:?} {nth}: {left} of {acknowledged} is left");
        }
    }
    for what in ["rename to checkpoint", "remove log-"] {
        assert!(failed.iter().any(|it| it.starts_with(what)), "{what} is not in {failed:?}");
    }
}

#[test]
fn a_checkpoint_beside_updates_is_the_state_at_its_record() {
    const WRITERS: u8 = 4;
    const UPDATES: u64 = 25_000;
    let disk = ForgetfulDisk::new(8);
    let journal = start_with(disk.clone(), 20_000);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let journal = journal.clone();
            thread::spawn(move || {
                for n in 1..=UPDATES {
                    let committed = submit(&journal, writer, n);
                    if n % 50 == 0 {
                        wait(committed);
                    }
                }
            })
        })
        .collect();
    // The state of a ledger names all that was ever applied and in which order, so it is right if
    // it is the one that the running journal had at the same record.
    let mut copies = Vec::new();
    while !writers.iter().all(thread::JoinHandle::is_finished) {
        let copy = disk.fork(copies.len() as u64);
        copy.power_cut();
        let left = recovered(copy);
        copies.push((left.applied, left.restored, left.history));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let (last, checkpoints) = (submit(&journal, 0, 0), journal.stats().checkpoints);
    wait(last);
    let mut histories = journal.read(|ledger| ledger.histories.clone());
    histories.insert(Lsn::ZERO, 0);
    for (applied, _, history) in &copies {
        assert_eq!(histories.get(applied), Some(history), "at record {applied}");
    }
    let from_checkpoints = copies.iter().filter(|(_, restored, _)| *restored).count();
    eprintln!("{} copies, {from_checkpoints} with one of {checkpoints} checkpoints", copies.len());
    assert!(checkpoints > 10 && from_checkpoints > 0, "{checkpoints}, {from_checkpoints}");
    journal.stop();
    assert_eq!(recovered(disk).applied, Lsn(u64::from(WRITERS) * UPDATES + 1));
}

#[test]
fn too_much_that_waits_is_refused_until_it_is_written() {
    let (disk, gate) = Gated::new(9);
    let options = JournalOptions { max_buffered: 1_000 };
    let journal = ledger::start_as(disk, Options::default(), options);
    gate.close();
    let mut accepted = Vec::new();
    let refused = (0..1_000).find_map(|_| {
        let submitted = journal.submit(|_, appender| appender.append(SET, &set(1, 1)).unwrap());
        submitted.map(|(_, committed)| accepted.push(committed)).err()
    });
    assert_eq!(refused, Some(Refused::Overloaded));
    assert!(journal.stats().buffered >= 1_000);
    assert!(accepted.len() <= 1_000 / set(1, 1).len());
    assert_eq!(journal.submit(|_, _| panic!("it is asked")).unwrap_err(), Refused::Overloaded);
    gate.open();
    accepted.into_iter().for_each(wait);
    wait(submit(&journal, 1, 2));
}

#[test]
fn a_record_that_is_too_long_takes_no_number() {
    let options = Options { max_record: 100, ..Options::default() };
    let journal = ledger::start_as(ForgetfulDisk::new(10), options, JournalOptions::default());
    let (appended, committed) =
        journal.submit(|_, appender| appender.append(SET, &[0; 101])).unwrap();
    assert_eq!(appended, Err(RecordTooLong { bytes: 101, max: 100 }));
    wait(committed);
    let committed = submit(&journal, 1, 1);
    assert_eq!(committed.lsn(), Lsn(1));
    wait(committed);
}

#[test]
fn more_than_a_batch_of_the_store_is_written_in_several() {
    let (disk, gate) = Gated::new(11);
    let options = Options { max_batch: 200, ..Options::default() };
    let journal = ledger::start_as(disk, options, JournalOptions::default());
    gate.close();
    let committed: Vec<_> = (1..=100).map(|n| submit(&journal, 1, n)).collect();
    gate.open();
    committed.into_iter().for_each(wait);
    assert_eq!(value(&journal, 1), Some(100));
}

#[test]
fn a_panic_over_the_state_fails_the_journal() {
    let (disk, gate) = Gated::new(12);
    let journal = start(disk);
    gate.close();
    let mut before = submit(&journal, 1, 1);
    gate.wait_for_sync();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        journal.submit(|ledger, appender| {
            appender.append(SET, &set(2, 2)).unwrap();
            ledger.values.clear();
            panic!("half-way");
        })
    }));
    assert!(panicked.is_err());
    // At once, though the disk stands still.
    let told = pin!(journal.poisoned()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(told, Poll::Ready(JournalError::Panicked)), "{told:?}");
    gate.open();
    let shared = Arc::clone(&journal.handle.shared);
    journal.stop();
    assert!(!is_ready(&mut before));
    assert!(shared.state.is_poisoned(), "who reads now panics as well");
}

#[test]
fn a_machine_that_refuses_its_own_record_fails_the_journal() {
    let journal = start(ForgetfulDisk::new(13));
    let (_, mut committed) =
        journal.submit(|_, appender| appender.append(SET, b"no update at all").unwrap()).unwrap();
    let failure = wait(journal.poisoned());
    assert!(matches!(failure, JournalError::Rejected { lsn: Lsn(1), .. }), "{failure}");
    journal.stop();
    assert!(!is_ready(&mut committed));
}

#[test]
fn a_journal_that_stops_keeps_what_was_submitted() {
    let disk = ForgetfulDisk::new(14);
    let journal = start(disk.clone());
    let clone = journal.clone();
    let mut committed = submit(&journal, 1, 7);
    journal.stop();
    assert!(is_ready(&mut committed));
    assert_eq!(clone.submit(|_, _| ()).unwrap_err(), Refused::Stopped);
    disk.power_cut_to(Survivors::Synced);
    assert_eq!(recovered(disk).values[&1], 7);
}

#[test]
fn a_journal_that_is_dropped_keeps_what_was_submitted() {
    let disk = ForgetfulDisk::new(15);
    let journal = start(disk.clone());
    let mut committed = submit(&journal, 1, 7);
    drop(journal);
    assert!(is_ready(&mut committed));
    disk.power_cut_to(Survivors::Synced);
    assert_eq!(recovered(disk).values[&1], 7);
}

#[test]
fn a_task_that_is_woken_may_drop_the_last_clone() {
    struct Last(Mutex<Option<Journal<Ledger>>>, mpsc::Sender<()>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
            self.1.send(()).unwrap();
        }
    }
    let (disk, gate) = Gated::new(16);
    let journal = start(disk);
    gate.close();
    let mut committed = submit(&journal, 1, 1);
    let (sender, dropped) = mpsc::channel();
    let waker = Waker::from(Arc::new(Last(Mutex::new(Some(journal)), sender)));
    assert!(pin!(&mut committed).poll(&mut Context::from_waker(&waker)).is_pending());
    gate.open();
    dropped.recv_timeout(PATIENCE).expect("the journal's thread waits for itself");
}

#[test]
fn who_gives_up_waiting_leaves_nothing_behind() {
    struct Idle;
    impl Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }
    let (disk, gate) = Gated::new(17);
    let journal = start(disk);
    gate.close();
    let idle = Arc::new(Idle);
    let waker = Waker::from(Arc::clone(&idle));
    for _ in 0..3 {
        let mut committed = submit(&journal, 1, 1);
        let mut poisoned = pin!(journal.poisoned());
        for _ in 0..2 {
            let cx = &mut Context::from_waker(&waker);
            assert!(pin!(&mut committed).poll(cx).is_pending());
            assert!(poisoned.as_mut().poll(cx).is_pending());
        }
    }
    assert_eq!(Arc::strong_count(&idle), 2, "ours, and the waker of this test");
    gate.open();
}
