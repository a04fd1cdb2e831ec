//! Channels that connect with their first call.

use std::time::Duration;

use bailiwick::{
    CallError, Channel, ChannelConfig, Context, Disconnected, Endpoint, Limits, NotSent, PublicKey,
    Reconnect, testing::test_identity,
};
use bailiwick_crypto::{Alert, Params, Transport, handshake::MessageKind, responder};
use tokio::{io::AsyncWriteExt, net::TcpListener, time};

use crate::{
    probe::{Probe, ProbeClient},
    raw::read_message,
    world::{Beside, World, cx},
};

fn lazy(endpoint: Endpoint, server: PublicKey, name: &str) -> ProbeClient {
    ProbeClient::new(Channel::connect_lazy(endpoint, server, test_identity(name)))
}

/// A call that does not wait for long.
fn soon() -> Context {
    Context::within(Duration::from_millis(200))
}

#[tokio::test]
async fn the_first_call_connects() {
    let world = World::start().await;
    let alice = lazy(world.endpoint(), world.server, "alice");
    let (one, other) = tokio::join!(async { alice.increment(&cx(), "k".into()).await }, async {
        alice.increment(&cx(), "k".into()).await
    },);
    assert_eq!([one.unwrap(), other.unwrap()].into_iter().max(), Some(2));
    assert_eq!(world.state.begun(), 2);
}

#[tokio::test]
async fn a_first_call_that_turns_out_too_long_for_udp_goes_by_tcp() {
    let limits = Limits { max_message_udp: 8_192, ..Limits::default() };
    let world = World::over_udp(limits.clone(), Beside::Tcp).await;
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    let (endpoint, identity) = (world.endpoint(), test_identity("alice"));
    let channel = Channel::connect_lazy_with(endpoint, world.server, identity, config).unwrap();
    let alice = ProbeClient::new(channel);
    let long = bailiwick::Bytes::from(vec![5; 20_000]);
    let (echoed, counted) = tokio::join!(async { alice.echo(&cx(), long.clone()).await }, async {
        alice.increment(&cx(), "k".into()).await
    },);
    assert_eq!(echoed.unwrap(), long);
    assert_eq!(counted, Ok(1));
}

#[tokio::test]
async fn a_stranger_is_told_at_its_first_call_that_it_is_not_let_in() {
    let world = World::start().await;
    let eve = lazy(world.endpoint(), world.server, "eve");
    let denied = Disconnected::Alert(Alert::AccessDenied);
    let refused = eve.increment(&cx(), "k".into()).await;
    assert_eq!(refused, Err(CallError::NotSent(NotSent::Disconnected(denied))));
    assert_eq!(world.state.begun(), 0);
    world.recorded("reason", "unknown_principal").await;
    time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.records("event", "handshake.refused").len(), 1, "it does not come again");
}

#[tokio::test]
async fn a_call_waits_for_a_server_that_starts_later() {
    let world = World::start().await;
    let (endpoint, server) = (world.endpoint(), world.server);
    let dead = world.end().await;
    let alice = lazy(endpoint, server, "alice");
    let waiting = tokio::spawn(async move { alice.increment(&cx(), "k".into()).await });
    time::sleep(Duration::from_millis(50)).await;
    let world = dead.restart().await;
    assert_eq!(waiting.await.unwrap(), Ok(1));
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn a_call_whose_server_is_not_there_says_so_at_its_deadline() {
    let world = World::start().await;
    let (endpoint, server) = (world.endpoint(), world.server);
    let _dead = world.end().await;
    let alice = lazy(endpoint, server, "alice");
    let refused = Disconnected::Io(std::io::ErrorKind::ConnectionRefused);
    let error = alice.increment(&soon(), "k".into()).await.unwrap_err();
    assert_eq!(error, CallError::NotSent(NotSent::Disconnected(refused)));
}

#[tokio::test]
async fn a_call_to_another_server_names_the_key_that_nobody_answers_for() {
    let world = World::start().await;
    let wanted = test_identity("another").public_key();
    let alice = lazy(world.endpoint(), wanted, "alice");
    let error = alice.increment(&soon(), "k".into()).await.unwrap_err();
    let why = Disconnected::NoHandshake(wanted);
    assert_eq!(error, CallError::NotSent(NotSent::Disconnected(why)));
    let said = error.to_string();
    assert!(said.contains(&wanted.to_string()) && said.ends_with("is this the server's key?"));
}

#[tokio::test]
async fn a_call_to_a_server_that_never_answers_the_handshake_ends() {
    // It is reached, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tcp(silent.local_addr().unwrap().to_string());
    let handshake_timeout = Duration::from_millis(100);
    let limits = Limits { handshake_timeout, ..Limits::default() };
    let config = ChannelConfig { limits, reconnect: Reconnect::Never, ..ChannelConfig::default() };
    let server = test_identity("server").public_key();
    let channel = Channel::connect_lazy_with(endpoint, server, test_identity("alice"), config);
    let alice = ProbeClient::new(channel.unwrap());
    let idle = NotSent::Disconnected(Disconnected::Idle(handshake_timeout));
    let patient = cx();
    let call = time::timeout(Duration::from_secs(5), alice.increment(&patient, "k".into()));
    assert_eq!(call.await.unwrap(), Err(CallError::NotSent(idle)));
}

#[tokio::test]
async fn a_call_that_left_with_the_handshake_may_have_run_though_nothing_came_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    let key = test_identity("server").public_key();
    let channel = Channel::connect_lazy_with(endpoint, key, test_identity("alice"), config);
    let alice = ProbeClient::new(channel.unwrap());
    let call = tokio::spawn(async move { alice.increment(&cx(), "k".into()).await });
    // It has the call, and does not say that the client is let in.
    let (mut socket, _) = listener.accept().await.unwrap();
    let config =
        responder::Config::new(Transport::Tcp, test_identity("server"), Params::new([3; 16]));
    let init = read_message(&mut socket, MessageKind::Init).await;
    let answering = responder::accept(&config, &init, &mut rand::rng()).unwrap();
    socket.write_all(answering.resp()).await.unwrap();
    read_message(&mut socket, MessageKind::Fin).await;
    let error = time::timeout(Duration::from_secs(5), call).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error:?}");
}

#[tokio::test]
async fn a_channel_for_one_connection_makes_one() {
    let world = World::start().await;
    let config = ChannelConfig { reconnect: Reconnect::Never, ..ChannelConfig::default() };
    let channel =
        Channel::connect_lazy_with(world.endpoint(), world.server, test_identity("alice"), config);
    let alice = ProbeClient::new(channel.unwrap());
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1));
    let world = world.kill().await.restart().await;
    // The first may still find the connection that has ended.
    let _ = alice.increment(&cx(), "k".into()).await;
    let error = alice.increment(&cx(), "k".into()).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(NotSent::Disconnected(_))), "{error:?}");
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn a_channel_for_one_connection_does_not_wait_for_a_server_that_is_not_there() {
    let world = World::start().await;
    let (endpoint, server) = (world.endpoint(), world.server);
    let _dead = world.end().await;
    let config = ChannelConfig { reconnect: Reconnect::Never, ..ChannelConfig::default() };
    let channel = Channel::connect_lazy_with(endpoint, server, test_identity("alice"), config);
    let alice = ProbeClient::new(channel.unwrap());
    let refused = Disconnected::Io(std::io::ErrorKind::ConnectionRefused);
    let patient = cx();
    let call = time::timeout(Duration::from_secs(5), alice.increment(&patient, "k".into()));
    let error = CallError::NotSent(NotSent::Disconnected(refused));
    assert_eq!(call.await.unwrap(), Err(error));
}

#[tokio::test]
async fn a_channel_that_never_called_closes() {
    let world = World::start().await;
    let channel = Channel::connect_lazy(world.endpoint(), world.server, test_identity("alice"));
    time::timeout(Duration::from_millis(500), channel.close()).await.unwrap();
}
