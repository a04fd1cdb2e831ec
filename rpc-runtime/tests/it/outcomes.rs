//! Each way in which a connection or a call fails, and whether the call ran.

use std::time::Duration;

use bailiwick::{
    CallError, Channel, ChannelConfig, ConnectError, Endpoint, Executed, Limits, Psk,
    testing::test_identity,
};
use tokio::{net::TcpListener, time};

use crate::{
    probe::{Probe, ProbeClient, method},
    raw::{Raw, frame, request, varint},
    world::{World, cx},
};

#[tokio::test]
async fn a_key_that_the_policy_does_not_know_is_turned_away_and_recorded() {
    let world = World::start().await;
    let error = world.channel("stranger", Limits::default()).await.unwrap_err();
    let stranger = test_identity("stranger").public_key();
    assert!(
        matches!(error, ConnectError::AccessDenied { identity, .. } if identity == stranger),
        "{error:?}"
    );
    let records = world.records("event", "handshake.refused");
    assert_eq!(records.len(), 1);
    assert!(records[0].contains(r#""reason":"unknown_principal""#));
    assert!(records[0].contains(&stranger.fingerprint().to_string()));
}

#[tokio::test]
async fn another_server_at_the_address_is_not_spoken_to() {
    let world = World::start().await;
    let other = test_identity("elsewhere").public_key();
    let dialled = Channel::connect(world.endpoint(), other, test_identity("alice")).await;
    assert!(
        matches!(dialled, Err(ConnectError::NotThisServer { server, .. }) if server == other),
        "{dialled:?}"
    );
    world.recorded("reason", "wrong_server_key").await;
}

#[tokio::test]
async fn nobody_at_the_address_is_told_from_a_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
    let (server, alice) = (test_identity("server").public_key(), test_identity("alice"));
    let limits = Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() };
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    let silent =
        Channel::connect_with(endpoint.clone(), server, alice.clone(), config).await.unwrap_err();
    assert!(matches!(silent, ConnectError::TimedOut { .. }), "{silent:?}");
    drop(listener);
    let gone = Channel::connect(endpoint, server, alice).await.unwrap_err();
    assert!(matches!(gone, ConnectError::Unreachable { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_pre_shared_key_must_be_the_same_at_both_ends() {
    let psk = |byte| Psk::from_bytes(&[byte; 32]).unwrap();
    let world = World::with_psk(psk(1)).await;
    let connect = async |psk| {
        let config = ChannelConfig { psk, ..ChannelConfig::default() };
        Channel::connect_with(world.endpoint(), world.server, test_identity("alice"), config).await
    };
    for wrong in [None, Some(psk(2))] {
        let error = connect(wrong).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error:?}");
    }
    let alice = ProbeClient::new(connect(Some(psk(1))).await.unwrap());
    assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()));
}

#[tokio::test]
async fn what_a_server_refuses_has_not_run() {
    let world = World::start().await;
    let mut alice = Raw::client(&world, test_identity("alice")).await;

    alice.send(&request(0, method("increment"), &[200, 1])).await;
    assert_eq!(alice.frame().await, [2, 0, 0, 6], "malformed: a length beyond the end");
    alice.send(&request(1, method("increment"), &[1, b'k', 0])).await;
    assert_eq!(alice.frame().await, [2, 1, 0, 6], "malformed: bytes behind the arguments");
    alice.send(&request(2, method("increment"), &[1, 0xff])).await;
    assert_eq!(alice.frame().await, [2, 2, 0, 6], "malformed: not UTF-8");

    let mut late = vec![1];
    varint(3, &mut late);
    late.extend_from_slice(&[0, 0]);
    late.extend_from_slice(&method("increment").get().to_be_bytes());
    late.extend_from_slice(&[0, 0, 0, 1, b'k']);
    alice.send(&frame(&late)).await;
    assert_eq!(alice.frame().await, [2, 3, 0, 4, 0], "its deadline had passed: not executed");

    assert_eq!(world.state.begun(), 0);
    alice.send(&request(4, method("increment"), &[1, b'k'])).await;
    assert_eq!(alice.frame().await, [2, 4, 0, 0, 1], "and the connection lives on");
}

#[tokio::test]
async fn a_method_that_the_server_does_not_have_is_named() {
    let world = World::start().await;
    let channel = world.channel("alice", Limits::default()).await.unwrap();
    let newer = missing::MissingClient::new(channel);
    let error = missing::Missing::absent(&newer, &cx()).await.unwrap_err();
    assert_eq!((error.executed(), &error), (Executed::No, &CallError::Unimplemented("absent")));
    time::timeout(Duration::from_secs(5), world.recorded("reason", "unknown_method"))
        .await
        .unwrap();
}

mod missing {
    use bailiwick::{CallError, Context, rpc_service};

    #[rpc_service(verb = "read", object = "probe")]
    pub(crate) trait Missing {
        async fn absent(&self, cx: &Context) -> Result<(), CallError>;
    }
}
