//! What the policy refuses never reaches a handler, and is on record once.

use bailiwick::{Allows, Bytes, CallError, Executed, Unavailable, testing::test_identity};
use bailiwick_acl::audit::Memory;

use crate::{
    probe::{Probe, method},
    raw::{Raw, request},
    world::{World, cx},
};

#[tokio::test]
async fn a_denied_call_does_not_run_and_is_on_record_once_with_all_its_fields() {
    let world = World::start().await;
    let bob = world.client("bob").await;
    let error = bob.increment(&cx(), "alice".into()).await.unwrap_err();
    assert_eq!(error.executed(), Executed::No);
    let CallError::Denied(audit) = error else { panic!("{error:?}") };

    assert_eq!((world.state.begun(), world.state.counter()), (0, 0));
    let records = world.records("event", "decision");
    assert_eq!(records.len(), 1);
    let fingerprint = test_identity("bob").public_key().fingerprint().to_string();
    for field in [
        format!("\"seq\":{}", audit.0),
        r#""decision":"deny""#.into(),
        r#""reason":"default""#.into(),
        r#""principal":"bob""#.into(),
        format!("\"key\":\"{fingerprint}\""),
        r#""service":"Probe""#.into(),
        r#""method":"increment""#.into(),
        r#""verb":"write""#.into(),
        r#""object":"table/alice""#.into(),
        r#""call":"0""#.into(),
        r#""peer":"127.0.0.1:"#.into(),
    ] {
        assert!(records[0].contains(&field), "{field} in {}", records[0]);
    }
    assert_eq!(bob.increment(&cx(), "bob".into()).await, Ok(1));
    assert_eq!(world.records("event", "decision").len(), 1, "an allowed call is not recorded");
}

#[tokio::test]
async fn allowed_calls_are_on_record_where_the_server_asks_for_it() {
    for (allowed, recorded) in [(Allows::None, 0), (Allows::Mutating, 1), (Allows::All, 2)] {
        let world = World::recording(allowed).await;
        let alice = world.client("alice").await;
        alice.echo(&cx(), Bytes::new()).await.unwrap();
        alice.increment(&cx(), "k".into()).await.unwrap();
        assert_eq!(world.records("decision", "allow").len(), recorded, "{allowed:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_canonical_is_refused_though_a_wildcard_would_match() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let bad =
        ["a/b", "", ".", "..", "a\\b", "a\0b", "a\nb", "a\u{202e}b", "a\u{200b}b", "e\u{301}", "/"];
    for (refused, key) in bad.into_iter().enumerate() {
        let error = alice.increment(&cx(), key.into()).await.unwrap_err();
        assert!(matches!(error, CallError::Denied(_)), "{key:?}: {error:?}");
        // Of a second, the eleventh is the first one that is only counted.
        let on_record = world.records("reason", "bad_object").len();
        assert!(on_record >= (refused + 1).min(10), "{key:?}: {on_record}");
    }
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn what_is_special_in_a_row_is_a_plain_name_in_a_call() {
    let world = World::start().await;
    let bob = world.client("bob").await;
    for key in ["*", "**", "{self}", "BOB", "bob ", " bob", "b%6fb", "ｂｏｂ", "bob%2f..", "bob|"]
    {
        let error = bob.increment(&cx(), key.into()).await.unwrap_err();
        assert!(matches!(error, CallError::Denied(_)), "{key:?}: {error:?}");
    }
    assert_eq!(world.state.begun(), 0);
    let alice = world.client("alice").await;
    assert_eq!(alice.increment(&cx(), "*".into()).await, Ok(1), "it is one segment");
}

#[tokio::test]
async fn a_principals_name_in_the_metadata_is_worth_nothing() {
    let world = World::start().await;
    let mallory = world.client("mallory").await;
    let cx = cx().with_metadata("principal", "alice").with_metadata("x-user", "alice");
    let error = mallory.increment(&cx, "k".into()).await.unwrap_err();
    assert!(matches!(error, CallError::Denied(_)), "{error:?}");
    assert_eq!(world.records("principal", "mallory").len(), 1);
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn only_who_might_use_a_verb_learns_that_the_arguments_are_malformed() {
    let world = World::start().await;
    for (name, status, records) in [("bob", 6, 0), ("mallory", 2, 1)] {
        let mut caller = Raw::client(&world, test_identity(name)).await;
        caller.send(&request(0, method("increment"), &[200])).await;
        assert_eq!(caller.frame().await[..4], [2, 0, 0, status], "{name}");
        assert_eq!(world.records("event", "decision").len(), records, "{name}");
    }
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn a_method_id_that_nobody_has_is_on_record() {
    let world = World::start().await;
    let mut mallory = Raw::client(&world, test_identity("mallory")).await;
    mallory.send(&request(0, bailiwick::MethodId::new(0xdead_beef), &[])).await;
    assert_eq!(mallory.frame().await, [2, 0, 0, 5], "unimplemented");
    let records = world.records("reason", "unknown_method");
    assert_eq!(records.len(), 1);
    assert!(records[0].contains(r#""method":"00000000deadbeef""#), "{}", records[0]);
}

#[tokio::test]
async fn nothing_runs_and_nothing_is_called_denied_while_the_audit_log_is_full() {
    let world = World::start().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    assert_eq!(alice.echo(&cx(), Bytes::new()).await, Ok(Bytes::new()));
    let begun = world.state.begun();
    let log = world.audit.clone().into_inner();
    log.set_memory(Memory::Full);
    let denied = bob.increment(&cx(), "alice".into()).await.unwrap_err();
    assert_eq!(denied, CallError::Unavailable(Unavailable::Audit));
    assert_eq!(denied.executed(), Executed::No);
    let allowed = alice.echo(&cx(), Bytes::new()).await;
    assert_eq!(allowed, Err(CallError::Unavailable(Unavailable::Audit)));
    assert_eq!(world.state.begun(), begun);

    log.set_memory(Memory::Free);
    assert_eq!(alice.echo(&cx(), Bytes::new()).await, Ok(Bytes::new()));
    assert_eq!(world.records("event", "gap").len(), 1);
}
