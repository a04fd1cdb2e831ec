//! A server that forgives a principal for a while, and one that tries its next policy on real calls.

use std::time::{Duration, SystemTime};

use bailiwick::{
    AuditLog, CallError, Endpoint, MAX_PERMISSIVE, ModeError, PolicyFile, ServeError, Server,
    ServerBuilder, testing::test_identity,
};

use crate::{
    policies::{Folder, next, with_keys},
    probe::{Counting, Probe as _, ProbeServer, State},
    world::{World, cx, eventually},
};

fn tcp() -> [Endpoint; 1] {
    [Endpoint::tcp("127.0.0.1:0")]
}

async fn world(rows: &str, builder: ServerBuilder) -> World {
    World::under_file(PolicyFile::from_text("policy.acl", with_keys(rows)), &tcp(), builder).await
}

fn builder() -> ServerBuilder {
    Server::builder(test_identity("server"))
}

#[tokio::test]
async fn what_a_permissive_principal_needs_is_allowed_and_on_record_until_its_time() {
    let until = SystemTime::now() + Duration::from_secs(2);
    let rows = "bob | table/secret | write | deny\n";
    let world = world(rows, builder().permissive("bob", until)).await;
    let (bob, mallory) = (world.client("bob").await, world.client("mallory").await);
    assert_eq!(bob.increment(&cx(), "k".into()).await, Ok(1));
    let records = world.records("mode", "permissive");
    assert_eq!(records.len(), 2, "that it began, and the call: {records:#?}");
    assert!(records[1].contains(r#""decision":"deny","reason":"default","principal":"bob""#));
    assert!(records[1].contains(r#""object":"table/k""#));
    for denied in [
        bob.increment(&cx(), "secret".into()).await,
        bob.increment(&cx(), "a/b".into()).await,
        mallory.increment(&cx(), "k".into()).await,
    ] {
        assert!(matches!(denied, Err(CallError::Denied(_))), "{denied:?}");
    }
    let changes = || world.records("event", "mode.change");
    eventually("it ends by itself", || changes().len() == 2).await;
    assert!(SystemTime::now() >= until);
    assert!(changes()[1].contains(r#""principal":"bob""#) && changes()[1].contains("enforce"));
    let denied = bob.increment(&cx(), "k".into()).await;
    assert!(matches!(denied, Err(CallError::Denied(_))), "{denied:?}");
}

#[tokio::test]
async fn a_server_does_not_start_on_a_mode_that_cannot_be() {
    let start = |builder: ServerBuilder| {
        builder
            .policy(PolicyFile::from_text("policy.acl", with_keys("")))
            .audit(AuditLog::memory())
            .service(ProbeServer::new(Counting(State::new())))
            .listen(tcp()[0].clone())
            .bind()
    };
    let far = SystemTime::now() + MAX_PERMISSIVE + Duration::from_secs(60);
    let error = start(builder().permissive("bob", far)).await.unwrap_err();
    assert!(matches!(error, ServeError::Mode(ModeError::TooLong { .. })), "{error:?}");
    let soon = SystemTime::now() + Duration::from_secs(60);
    let error = start(builder().permissive("bbo", soon)).await.unwrap_err();
    assert!(matches!(error, ServeError::Mode(ModeError::UnknownPrincipal { .. })), "{error:?}");
    let shadow = PolicyFile::from_text("next.acl", "bob | table/bob | write | alow\n");
    let error = start(builder().shadow_policy(shadow)).await.unwrap_err();
    assert!(
        matches!(&error, ServeError::Policy(errors) if errors.to_string().contains("next.acl:1:"))
    );
}

#[tokio::test]
async fn the_next_policy_is_tried_on_real_calls_and_changes_no_answer() {
    let folder =
        Folder::with("serial 2\nbob | table/k | write | deny\nbob | table/new | write | allow\n");
    let live = "serial 1\nbob | table/k | write | allow\n";
    let world = world(live, builder().shadow_policy(folder.watched())).await;
    let bob = world.client("bob").await;
    assert_eq!(bob.increment(&cx(), "k".into()).await, Ok(1));
    assert!(matches!(bob.increment(&cx(), "new".into()).await, Err(CallError::Denied(_))));
    let shadows = || -> Vec<_> {
        let records = world.records("mode", "shadow").into_iter();
        records.filter(|line| line.contains(r#""event":"decision""#)).collect()
    };
    assert_eq!(shadows().len(), 2);
    for (record, decision, line) in [(&shadows()[0], "deny", 5), (&shadows()[1], "allow", 6)] {
        assert!(record.contains(&format!(r#""decision":"{decision}""#)), "{record}");
        assert!(record.contains(&format!("policy.acl:{line}\"")), "{record}");
        assert!(record.contains(r#""serial":2"#), "{record}");
    }
    // It is followed as the other is, and what is in force is never its.
    let before = world.policy.in_force();
    folder.save(live);
    eventually("the shadow changes", || world.records("event", "mode.change").len() == 2).await;
    assert_eq!(bob.increment(&cx(), "k".into()).await, Ok(2));
    assert_eq!(shadows().len(), 2, "both agree now");
    folder.save("wrong");
    world.recorded("event", "policy.reject").await;
    assert!(world.records("event", "policy.reject")[0].contains(r#""mode":"shadow""#));
    assert_eq!(world.policy.in_force(), before);
    let mut outcomes = world.policy.outcomes();
    assert!(tokio::time::timeout(Duration::from_millis(100), next(&mut outcomes)).await.is_err());
}
