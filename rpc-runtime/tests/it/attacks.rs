//! What somebody with a key of their own tries: every attack here ends without a handler that ran,
//! and with a record that tells of it.

use std::collections::HashSet;

use bailiwick::{CallError, Executed, testing::test_identity};
use bailiwick_acl::audit::verify_chain;

use crate::{
    probe::{Probe, method},
    raw::{Raw, Seen, request},
    world::{World, cx},
};

/// `table/bob`, the one thing that Bob may write, as the arguments of `increment`.
const BOB: &[u8] = b"\x03bob";

/// Behind the length, which records carry and do not trust: a wrong one is tested with the wire.
const FRAME: usize = 4;

#[tokio::test]
async fn a_request_with_any_byte_changed_runs_nothing_that_is_not_allowed() {
    let world = World::start().await;
    let asked = request(0, method("increment"), BOB);
    let mut changed = HashSet::new();
    for at in FRAME..asked.len() {
        for byte in [0, 0xff, asked[at] ^ 1, asked[at] ^ 0x20, asked[at] ^ 0x80] {
            let mut request = asked.clone();
            request[at] = byte;
            changed.insert(request);
        }
    }
    changed.remove(&asked);
    assert!(changed.len() > 100, "{}", changed.len());
    for request in &changed {
        let mut bob = Raw::client(&world, test_identity("bob")).await;
        bob.send(request).await;
        bob.send_close().await;
        let seen = bob.rest().await;
        assert!(matches!(seen.last(), Some(Seen::End)), "{request:02x?}: {seen:?}");
    }
    // Some changes, of the call's number or of the time left, leave Bob's own request.
    let ran = world.state.begun();
    assert_eq!(u64::try_from(ran).unwrap(), world.state.increments("bob"));
    assert!(ran < changed.len() / 2, "{ran} of {} ran", changed.len());
    assert!(!world.records("reason", "default").is_empty(), "no other key was asked for");
    assert!(!world.records("reason", "unknown_method").is_empty());
}

#[tokio::test]
async fn what_is_absent_and_what_is_forbidden_are_answered_alike() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    alice.increment(&cx(), "there".into()).await.unwrap();
    let mut answers = Vec::new();
    for key in ["there", "gone!", "bob", "full"] {
        let mut mallory = Raw::client(&world, test_identity("mallory")).await;
        let key = [&[u8::try_from(key.len()).unwrap()], key.as_bytes()].concat();
        mallory.send(&request(0, method("increment"), &key)).await;
        let mut answer = mallory.frame().await;
        let number = answer.pop();
        assert!(number.is_some_and(|number| number < 0x80), "the record's number is one byte");
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers, [[2, 0, 0, 2]], "denied, and nothing else said");
    assert_eq!(world.state.begun(), 1, "nobody looked whether it is there");
}

#[tokio::test]
async fn a_strong_server_lends_its_rights_to_nobody() {
    let (front, back) = (World::start().await, World::start().await);
    // The front may do everything at the back.
    assert!(front.state.behind.set(back.client("alice").await).is_ok());
    let mallory = front.client("mallory").await;
    let refused = mallory.relay(&cx()).await.unwrap_err();
    assert!(matches!(refused, CallError::Denied(_)), "{refused:?}");
    assert_eq!((front.state.begun(), back.state.begun()), (0, 0));
    assert_eq!(front.records("principal", "mallory").len(), 1);
    assert!(front.client("alice").await.relay(&cx()).await.is_ok());
    assert_eq!(back.state.begun(), 1);
}

#[tokio::test]
async fn a_refusal_further_down_is_not_taken_for_ones_own() {
    let (front, back) = (World::start().await, World::start().await);
    assert!(front.state.behind.set(back.client("mallory").await).is_ok());
    let alice = front.client("alice").await;
    let error = alice.relay(&cx()).await.unwrap_err();
    assert_eq!((error.executed(), error), (Executed::Yes, CallError::Internal));
    assert_eq!(front.records("decision", "deny").len(), 0);
    assert_eq!(back.records("principal", "mallory").len(), 1);
    assert_eq!(back.state.begun(), 0);
}

#[tokio::test]
async fn a_name_that_imitates_a_record_stays_within_its_own() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let forged = "x\"}\n{\"v\":1,\"seq\":7,\"decision\":\"allow\"";
    for name in [forged, "\x1b[2J\x1b]0;title\x07", "\u{202e}gpj.exe", "a\u{2028}b", "\u{9b}31m"] {
        let refused = alice.increment(&cx(), name.into()).await.unwrap_err();
        assert!(matches!(refused, CallError::Denied(_)), "{name:?}: {refused:?}");
    }
    let lines = world.audit.lines();
    let raw = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!lines.iter().any(|line| line.contains(raw)), "{lines:?}");
    assert_eq!(world.records("reason", "bad_object").len(), 5);
    assert!(world.records("decision", "allow").is_empty());
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(verify_chain(text.as_bytes()).unwrap().records, lines.len() as u64);
    assert_eq!(world.state.begun(), 0);
}
