//! A connection cut anywhere: a client never says of a call that ran that it did not.

use std::{net::SocketAddr, time::Duration};

use bailiwick::{
    CallError, Channel, ChannelConfig, ConnectError, Endpoint, Executed, Limits, NotSent,
    Reconnect, testing::test_identity,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    time,
};

use crate::{
    probe::{Probe, ProbeClient},
    world::{World, cx, eventually},
};

/// Carries bytes to a server until it has carried `upward` of the client's, or is told to stop.
struct Link {
    endpoint: Endpoint,
    cut: watch::Sender<bool>,
}

impl Link {
    async fn to(server: SocketAddr, upward: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
        let (cut, mut is_cut) = watch::channel(false);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = async {
                let mut left = upward;
                let mut bytes = vec![0; 4096];
                while left > 0 {
                    let most = left.min(bytes.len());
                    match from_client.read(&mut bytes[..most]).await {
                        Ok(count @ 1..) => {
                            left -= count;
                            to_server.write_all(&bytes[..count]).await.unwrap();
                        }
                        _ => break,
                    }
                }
            };
            tokio::select! {
                () = up => {}
                _ = copy(&mut from_server, &mut to_client) => {}
                _ = is_cut.wait_for(|cut| *cut) => {}
            }
        });
        Self { endpoint, cut }
    }

    async fn client(&self, world: &World) -> Result<ProbeClient, ConnectError> {
        let (endpoint, alice) = (self.endpoint.clone(), test_identity("alice"));
        let config = ChannelConfig { reconnect: Reconnect::Never, ..ChannelConfig::default() };
        Channel::connect_with(endpoint, world.server, alice, config).await.map(ProbeClient::new)
    }
}

#[tokio::test]
async fn a_call_that_was_cut_off_while_it_ran_may_have_run() {
    let world = World::start().await;
    let link = Link::to(world.address, usize::MAX).await;
    let alice = link.client(&world).await.unwrap();
    let other = alice.clone();
    let running = tokio::spawn(async move { other.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    link.cut.send(true).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.executed(), Executed::Unknown);
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(world.state.hanging(), 1, "its handler goes on");
    world.state.go.add_permits(1);
    eventually("its handler ends", || world.state.hanging() == 0).await;

    let after = alice.increment(&cx(), "k".into()).await.unwrap_err();
    assert_eq!(after.executed(), Executed::No);
    assert!(matches!(after, CallError::NotSent(NotSent::Disconnected(_))), "{after:?}");
    assert_eq!(world.state.counter(), 0);
}

#[tokio::test]
async fn a_handshake_cut_at_any_byte_makes_no_channel() {
    let world = World::start().await;
    // INIT has 64 bytes; FIN as many more as the parameters need.
    for upward in [0, 1, 63, 64, 65, 100, 225, 226] {
        let link = Link::to(world.address, upward).await;
        let connected = time::timeout(Duration::from_secs(5), link.client(&world)).await;
        let error = connected.unwrap().map(drop).unwrap_err();
        let silent = matches!(error, ConnectError::NotThisServer { .. });
        // Once RESP has come the server has proven itself.
        let ended = matches!(error, ConnectError::Ended { .. }) && upward >= 64;
        assert!(silent || ended, "cut after {upward}: {error:?}");
    }
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn wherever_a_connection_is_cut_no_call_that_ran_is_said_not_to_have_run() {
    let world = World::start().await;
    for upward in (300..1500).step_by(37) {
        let before = world.state.counter();
        let link = Link::to(world.address, upward).await;
        let Ok(alice) = link.client(&world).await else { continue };
        let (mut answered, mut unknown) = (0, 0);
        loop {
            match alice.increment(&cx(), "k".into()).await {
                Ok(_) => answered += 1,
                Err(error) => match error.executed() {
                    Executed::Unknown => unknown += 1,
                    Executed::No => break,
                    Executed::Yes => panic!("cut after {upward}: {error:?}"),
                },
            }
        }
        time::sleep(Duration::from_millis(2)).await;
        let ran = world.state.counter() - before;
        assert!(
            (answered..=answered + unknown).contains(&ran),
            "cut after {upward}: {ran} ran, {answered} answered, {unknown} unknown"
        );
        assert!(unknown <= 1, "cut after {upward}: {unknown} unknown of one at a time");
    }
}

#[tokio::test]
async fn many_calls_cut_off_together_are_all_accounted_for() {
    let world = World::start().await;
    for upward in [2_000, 5_000, 9_000, 20_000] {
        let before = world.state.counter();
        let link = Link::to(world.address, upward).await;
        let alice = link.client(&world).await.unwrap();
        let calls = (0..1000).map(|_| {
            let alice = alice.clone();
            async move { alice.increment(&cx(), "k".into()).await }
        });
        let outcomes = futures_util::future::join_all(calls).await;
        let count = |executed| {
            let failed = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
            failed.filter(|error| error.executed() == executed).count() as u64
        };
        let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        time::sleep(Duration::from_millis(50)).await;
        let ran = world.state.counter() - before;
        assert!(
            answered <= ran && ran <= answered + count(Executed::Unknown),
            "{upward}: {ran} ran"
        );
        assert!(count(Executed::Unknown) > 0, "{upward}: some were on their way");
    }
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_given_up_and_unsealed_calls_did_not_run() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
    // Carries the handshake and what confirms it, and then nothing, in either direction.
    let server = world.address;
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let carried = tokio::io::copy_bidirectional(&mut client, &mut server);
        let _ = time::timeout(Duration::from_millis(400), carried).await;
        time::sleep(Duration::from_secs(60)).await;
    });
    let limits = Limits {
        idle_timeout: Duration::from_secs(1),
        keepalive: Duration::from_millis(500),
        // All of them begin: none waits for room, where it could not have been sent anyhow.
        max_unsent: 64 << 20,
        ..Limits::default()
    };
    let config = ChannelConfig { limits, reconnect: Reconnect::Never, ..ChannelConfig::default() };
    let identity = test_identity("alice");
    let channel = Channel::connect_with(endpoint, world.server, identity, config).await.unwrap();
    let alice = ProbeClient::new(channel);
    time::sleep(Duration::from_millis(450)).await;
    let value = bailiwick::Bytes::from(vec![1; 1_000_000]);
    let calls = (0..40).map(|_| {
        let (alice, value) = (alice.clone(), value.clone());
        async move { alice.echo(&cx(), value).await.unwrap_err().executed() }
    });
    let outcomes = time::timeout(Duration::from_secs(10), futures_util::future::join_all(calls));
    let outcomes = outcomes.await.unwrap();
    assert!(outcomes.contains(&Executed::Unknown), "the first may have left");
    assert!(outcomes.contains(&Executed::No), "the last cannot have");
    assert!(!outcomes.contains(&Executed::Yes));
}
