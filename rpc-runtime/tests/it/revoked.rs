//! A key that is taken away: its sessions are over at once, on both transports, whatever they do;
//! nobody else notices.

use std::time::{Duration, Instant};

use bailiwick::{
    CallError, Channel, ChannelConfig, ConnectError, Endpoint, Executed, PolicyFile, Server,
    testing::test_identity,
};
use bailiwick_crypto::Alert;
use tokio::time;

use crate::{
    policies::{Folder, with_keys, with_keys_of},
    probe::{Probe as _, ProbeClient},
    raw::{Raw, Seen},
    world::{World, cx, eventually},
};

const ROWS: &str = "\
alice | probe | read | allow
alice | table/* | write | allow
bob | probe | read | allow
bob | table/* | write | allow
";

/// A revoked session is out within this time.
const OUT: Duration = Duration::from_secs(1);

fn endpoints() -> [Endpoint; 2] {
    [Endpoint::tcp("127.0.0.1:0"), Endpoint::udp("127.0.0.1:0")]
}

async fn serve(folder: &Folder, endpoint: &Endpoint) -> World {
    let policy = PolicyFile::read(folder.policy()).unwrap();
    let builder = Server::builder(test_identity("server"));
    World::under_file(policy, std::slice::from_ref(endpoint), builder).await
}

/// Takes Bob's key away: it is nobody's, or somebody else's.
fn take_away(folder: &Folder, owner: Option<&str>) {
    let bob = test_identity("bob").public_key();
    let other = test_identity("another key of bob's").public_key();
    let mut text = with_keys_of(&["alice"], ROWS);
    text += &format!("principal bob = {other}\n");
    if let Some(owner) = owner {
        text += &format!("principal {owner} = {bob}\n");
    }
    std::fs::write(folder.policy(), text).unwrap();
}

#[tokio::test]
async fn an_idle_session_is_ended_on_record_and_the_key_does_not_come_in_again() {
    for endpoint in endpoints() {
        for owner in [None, Some("mallory")] {
            let folder = Folder::with(ROWS);
            let world = serve(&folder, &endpoint).await;
            let (alice, bob) = (world.client("alice").await, world.client("bob").await);
            // Neither has said anything, so that only the change itself wakes the server.
            take_away(&folder, owner);
            let begun = Instant::now();
            world.policy.reload().await.unwrap();
            world.recorded("event", "session.revoked").await;
            assert!(begun.elapsed() < OUT, "{:?}", begun.elapsed());
            let records = world.records("event", "session.revoked");
            assert_eq!(records.len(), 1, "{endpoint}: {records:?}");
            for field in [r#""principal":"bob""#, r#""reason":"unknown_principal""#] {
                assert!(records[0].contains(field), "{field} in {}", records[0]);
            }
            // No handler runs for it, and it is not told that one did.
            let error = bob.increment(&cx(), "k".into()).await.unwrap_err();
            match owner {
                None => {
                    // It may have been sent before the alert came.
                    assert_ne!(error.executed(), Executed::Yes, "{endpoint}: {error:?}");
                    let again = world.channel("bob", Default::default()).await;
                    assert!(matches!(again, Err(ConnectError::AccessDenied { .. })), "{again:?}");
                }
                // It connects again by itself, as somebody else who may do nothing.
                Some(_) => assert!(matches!(error, CallError::Denied(_)), "{error:?}"),
            }
            assert_eq!(world.state.increments("k"), 0);
            // Alice has the session that she had.
            assert_eq!(alice.increment(&cx(), "a".into()).await, Ok(1));
            assert_eq!(world.records("event", "session.revoked").len(), 1);
        }
    }
}

#[tokio::test]
async fn calls_at_work_end_in_what_is_true_and_those_of_others_are_answered() {
    for endpoint in endpoints() {
        let folder = Folder::with(ROWS);
        let world = serve(&folder, &endpoint).await;
        let (alice, bob) = (world.client("alice").await, world.client("bob").await);
        let at_work: Vec<_> = [&alice, &bob]
            .map(|client| {
                let client = client.clone();
                tokio::spawn(async move { client.hang(&cx()).await })
            })
            .into();
        eventually("both hang", || world.state.hanging() == 2).await;
        take_away(&folder, None);
        world.policy.reload().await.unwrap();
        world.recorded("event", "session.revoked").await;
        // What has begun is neither undone nor called not run.
        assert_eq!(world.state.hanging(), 2, "{endpoint}");
        let mut at_work = at_work.into_iter();
        let (of_alice, of_bob) = (at_work.next().unwrap(), at_work.next().unwrap());
        let told = time::timeout(Duration::from_secs(10), of_bob).await.unwrap().unwrap();
        assert!(matches!(told, Err(CallError::OutcomeUnknown { .. })), "{endpoint}: {told:?}");
        world.state.go.add_permits(2);
        assert_eq!(of_alice.await.unwrap(), Ok(()), "{endpoint}");
        eventually("both have ended", || world.state.hanging() == 0).await;
    }
}

#[tokio::test]
async fn a_session_that_talks_without_pause_is_ended_too() {
    for endpoint in endpoints() {
        let folder = Folder::with(ROWS);
        let world = serve(&folder, &endpoint).await;
        let bob = world.client_for_one_connection("bob").await;
        let talk = tokio::spawn(async move {
            loop {
                if let Err(error) = bob.increment(&cx(), "k".into()).await {
                    return (error, Instant::now());
                }
            }
        });
        eventually("it talks", || world.state.increments("k") > 100).await;
        take_away(&folder, None);
        world.policy.reload().await.unwrap();
        let begun = Instant::now();
        let (_, over) = time::timeout(Duration::from_secs(10), talk).await.unwrap().unwrap();
        assert!(over.saturating_duration_since(begun) < OUT);
        world.recorded("event", "session.revoked").await;
        let ran = world.state.increments("k");
        // Nothing runs for it any more.
        let alice = world.client("alice").await;
        alice.increment(&cx(), "a".into()).await.unwrap();
        assert_eq!(world.state.increments("k"), ran);
    }
}

#[tokio::test]
async fn a_right_that_is_taken_away_leaves_the_session_as_it_is() {
    for endpoint in endpoints() {
        let folder = Folder::with(ROWS);
        let world = serve(&folder, &endpoint).await;
        let config = ChannelConfig { reconnect: bailiwick::Reconnect::Never, ..Default::default() };
        let channel =
            Channel::connect_with(world.endpoint(), world.server, test_identity("bob"), config);
        let bob = ProbeClient::new(channel.await.unwrap());
        for round in 0..10 {
            std::fs::write(folder.policy(), with_keys(&format!("serial {round}\n"))).unwrap();
            world.policy.reload().await.unwrap();
            let denied = bob.increment(&cx(), "k".into()).await.unwrap_err();
            assert!(matches!(denied, CallError::Denied(_)), "{denied:?}");
            std::fs::write(folder.policy(), with_keys(&format!("serial {round}\n{ROWS}"))).unwrap();
            world.policy.reload().await.unwrap();
            assert_eq!(bob.increment(&cx(), "k".into()).await, Ok(round + 1));
        }
        assert_eq!(world.records("event", "session.revoked").len(), 0);
    }
}

#[tokio::test]
async fn the_peer_is_told_that_access_is_denied() {
    let folder = Folder::with(ROWS);
    let world = serve(&folder, &Endpoint::tcp("127.0.0.1:0")).await;
    let mut bob = Raw::client(&world, test_identity("bob")).await;
    take_away(&folder, None);
    world.policy.reload().await.unwrap();
    let seen = bob.rest().await;
    assert!(seen.contains(&Seen::Alert(Alert::AccessDenied)), "{seen:?}");
}
