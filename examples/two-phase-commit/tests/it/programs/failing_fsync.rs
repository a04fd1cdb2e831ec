//! The system refuses to sync: strace fails the Kth `fsync` or `fdatasync` of each thread of a real node, for
//! each K in turn. Run it by itself with `cargo test -p two-phase-commit --test it failing_fsync`.

use crate::programs::{
    support::{Running, World},
    tools::{Failed, each_sync_in_turn, failing_sync, passes_without_tools},
};

#[test]
fn a_coordinator_whose_sync_fails_ends_and_what_it_told_is_true() {
    each_in_turn("coordinator");
}

#[test]
fn a_participant_whose_sync_fails_ends_and_what_it_promised_is_kept() {
    each_in_turn("p1");
}

#[test]
fn without_strace_these_are_skipped_unless_tools_are_required() {
    let test =
        "programs::failing_fsync::a_coordinator_whose_sync_fails_ends_and_what_it_told_is_true";
    assert!(passes_without_tools(test, "0"));
    assert!(!passes_without_tools(test, "1"));
}

fn each_in_turn(victim: &str) {
    let counted = each_sync_in_turn(|nth| fail(victim, nth));
    let Some((at_the_start, in_service)) = counted else { return };
    assert!(at_the_start >= 2 && in_service >= 5, "{at_the_start} {in_service}");
}

/// Fails the `nth` sync of each thread of a node, and looks at what is left.
fn fail(victim: &str, nth: u32) -> Failed {
    let world = World::new();
    let all = ["p1", "p2", "p3", "coordinator"];
    let _others: Vec<_> =
        all.into_iter().filter(|it| *it != victim).map(|it| world.start(it)).collect();
    let tracer = failing_sync(nth);
    let tracer: Vec<_> = tracer.iter().map(String::as_str).collect();
    let (mut told, mut place) = (Told::default(), Failed::AtTheStart);
    let ended = match world.try_start_by(&tracer, victim) {
        Err(ended) => ended,
        Ok(running) => {
            place = Failed::InService;
            told.transfer_until_it_ends(&world, running)
        }
    };
    let log = world.read(&format!("{victim}.log"));
    assert_eq!(ended.code(), Some(1), "{victim} {nth}: {log}");
    assert!(log.contains("Input/output error"), "{victim} {nth}: {log}");
    let words = "nothing was acknowledged that is not in the log";
    assert_eq!(log.contains(words), place == Failed::InService, "{victim} {nth}: {log}");
    let trace = world.read("trace");
    assert_eq!(trace.matches("INJECTED").count(), 1, "nothing is tried again:\n{trace}");

    let _again = world.start(victim);
    told.compare_with_the_books(&world);
    place
}

/// What a client was told.
#[derive(Default)]
struct Told {
    committed: i64,
    unknown: Vec<String>,
}

impl Told {
    /// Moves one from alice to bob again and again; how the node ends meanwhile.
    fn transfer_until_it_ends(
        &mut self,
        world: &World,
        mut node: Running,
    ) -> std::process::ExitStatus {
        while !node.has_ended() {
            assert!(self.committed < 50, "no sync fails");
            let ran = world.call("alice", "transfer --timeout 2s p1/alice p2/bob 1");
            match ran.code {
                Some(0) => self.committed += 1,
                // Aborted, or never begun: nothing has changed.
                Some(1 | 5) => {}
                Some(4) => self.unknown.push(ran.transaction()),
                other => panic!("{other:?}: {}", ran.stderr),
            }
        }
        node.wait()
    }

    /// All that was told to have committed stands in both books, and nothing else but what was told to
    /// be unknown and has committed.
    fn compare_with_the_books(mut self, world: &World) {
        for txid in &self.unknown {
            let asked = format!("outcome {txid}");
            let settled = world.until("alice", &asked, |ran| {
                ran.stdout == "committed\n" || ran.stdout == "aborted\n"
            });
            self.committed += i64::from(settled.stdout == "committed\n");
        }
        let alice = format!("p1/alice {}\n", 100 - self.committed);
        world.until("alice", "balance p1/alice", |ran| ran.stdout == alice);
        let bob = format!("p2/bob {}\n", 50 + self.committed);
        world.until("bob", "balance p2/bob", |ran| ran.stdout == bob);
    }
}
