//! A server that breaks the protocol: the client ends with the right error, and no call is said
//! not to have run that may have.

use std::time::Duration;

use bailiwick::{
    CallError, Channel, ChannelConfig, ConnectError, Disconnected, Endpoint, Executed, NotSent,
    ProtocolError, Reconnect, testing::test_identity,
};
use bailiwick_crypto::{Alert, Params, Transport, handshake::MessageKind, responder};
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle, time};

use crate::{
    probe::{Probe, ProbeClient},
    raw::{Raw, Seen, frame, read_message, reply, request},
    world::cx,
};

type Outcome = Result<u64, CallError<String>>;

/// A server in the test's hand, and a client of it.
struct Scene {
    server: Raw,
    client: ProbeClient,
}

impl Scene {
    async fn set() -> Self {
        let (listener, connecting) = dialled().await;
        let server = Raw::server(&listener, test_identity("server")).await;
        let client = ProbeClient::new(connecting.await.unwrap().unwrap());
        Self { server, client }
    }

    /// A call that has reached the server.
    async fn call(&mut self) -> JoinHandle<Outcome> {
        let client = self.client.clone();
        let call = tokio::spawn(async move { client.increment(&cx(), "k".into()).await });
        let request = self.server.frame().await;
        assert_eq!(request[0], 1, "a request");
        call
    }

    /// What becomes of calls after this one, once the client has noticed how the connection ended.
    async fn afterwards(&self) -> CallError<String> {
        time::timeout(Duration::from_secs(5), async {
            loop {
                match self.client.increment(&cx(), "k".into()).await.unwrap_err() {
                    CallError::OutcomeUnknown { .. } => {}
                    error => return error,
                }
            }
        })
        .await
        .unwrap()
    }
}

async fn dialled() -> (TcpListener, JoinHandle<Result<Channel, ConnectError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
    let key = test_identity("server").public_key();
    // Its calls end with the connection, so that each test sees how.
    let config = ChannelConfig { reconnect: Reconnect::Never, ..ChannelConfig::default() };
    let connecting =
        tokio::spawn(Channel::connect_with(endpoint, key, test_identity("alice"), config));
    (listener, connecting)
}

fn disconnected(why: Disconnected) -> CallError<String> {
    CallError::NotSent(NotSent::Disconnected(why))
}

async fn outcome(call: JoinHandle<Outcome>) -> CallError<String> {
    time::timeout(Duration::from_secs(5), call).await.unwrap().unwrap().unwrap_err()
}

#[tokio::test]
async fn frames_that_no_server_sends_end_the_connection_and_leave_calls_unknown() {
    let cases = [
        ("a reply to a call never made", reply(5, 0, &[1]), ProtocolError::CallNumber),
        ("a request", request(0, bailiwick::MethodId::new(1), &[]), ProtocolError::Direction),
        ("a cancel", frame(&[7, 0]), ProtocolError::Direction),
        ("an acknowledge", frame(&[8, 0, 0]), ProtocolError::Direction),
        ("an unknown type", frame(&[200]), ProtocolError::FrameType(200)),
        ("a frame of no length", vec![0; 4], ProtocolError::FrameLength),
        ("a frame of 1 GiB", (1_u32 << 30).to_be_bytes().to_vec(), ProtocolError::FrameLength),
        ("a reply cut short", frame(&[2, 0]), ProtocolError::FrameFields),
    ];
    for (what, bytes, why) in cases {
        let mut scene = Scene::set().await;
        let call = scene.call().await;
        scene.server.send(&bytes).await;
        let error = outcome(call).await;
        assert_eq!(error.executed(), Executed::Unknown, "{what}");
        assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{what}: {error:?}");
        let afterwards = scene.afterwards().await;
        assert_eq!(afterwards, disconnected(Disconnected::Protocol(why)), "{what}");
        assert_eq!(afterwards.executed(), Executed::No);
        let seen = scene.server.rest().await;
        assert_eq!(seen, [Seen::Alert(Alert::ProtocolError), Seen::End], "{what}");
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_understood_fails_its_own_call_alone() {
    let mut scene = Scene::set().await;
    let cases = [
        (reply(0, 200, &[]), ProtocolError::ReplyStatus(200)),
        (reply(1, 0, &[]), ProtocolError::ReplyBody),
        (reply(2, 0, &[1, 2]), ProtocolError::ReplyBody),
        (reply(3, 1, &[9, b'x']), ProtocolError::ReplyBody),
        (reply(4, 2, &[]), ProtocolError::ReplyBody),
        (reply(5, 5, &[0]), ProtocolError::ReplyBody),
    ];
    for (bytes, why) in cases {
        let call = scene.call().await;
        scene.server.send(&bytes).await;
        let error = outcome(call).await;
        assert_eq!(error.executed(), Executed::Unknown);
        assert_eq!(error, CallError::Protocol(why));
    }
    let call = scene.call().await;
    scene.server.send(&reply(6, 0, &[42])).await;
    assert_eq!(call.await.unwrap(), Ok(42));
}

#[tokio::test]
async fn a_second_reply_to_a_call_is_dropped() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    scene.server.send(&[reply(0, 0, &[1]), reply(0, 0, &[2])].concat()).await;
    assert_eq!(call.await.unwrap(), Ok(1));
    let call = scene.call().await;
    scene.server.send(&reply(1, 0, &[3])).await;
    assert_eq!(call.await.unwrap(), Ok(3));
}

#[tokio::test]
async fn bytes_that_are_not_authentic_leave_calls_unknown_and_are_not_answered() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    let mut forged = scene.server.seal(&reply(0, 0, &[1]));
    forged[8] ^= 1;
    scene.server.write(&forged).await;
    assert!(matches!(outcome(call).await, CallError::OutcomeUnknown { .. }));
    let why = Disconnected::Protocol(ProtocolError::Record);
    assert_eq!(scene.afterwards().await, disconnected(why));
    assert_eq!(scene.server.rest().await, [Seen::End], "no alert");
}

#[tokio::test]
async fn a_server_that_vanishes_leaves_calls_unknown() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    scene.server.socket.shutdown().await.unwrap();
    let error = outcome(call).await;
    assert_eq!(error.executed(), Executed::Unknown);
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(scene.afterwards().await, disconnected(Disconnected::Truncated));
}

#[tokio::test]
async fn a_server_that_closes_in_good_order_ran_nothing_that_it_did_not_answer() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    scene.server.send_close().await;
    let error = outcome(call).await;
    assert_eq!(error.executed(), Executed::No);
    assert_eq!(error, disconnected(Disconnected::Closed));
    assert_eq!(scene.afterwards().await, disconnected(Disconnected::Closed));
    assert_eq!(scene.server.rest().await, [Seen::Close, Seen::End]);
}

#[tokio::test]
async fn a_servers_alert_leaves_calls_unknown_and_is_named() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    scene.server.send_alert(Alert::InternalError).await;
    assert!(matches!(outcome(call).await, CallError::OutcomeUnknown { .. }));
    let why = Disconnected::Alert(Alert::InternalError);
    assert_eq!(scene.afterwards().await, disconnected(why));
}

#[tokio::test]
async fn go_away_stops_new_calls_and_lets_running_ones_end() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    scene.server.send(&[frame(&[10]), frame(&[9, 0, 3])].concat()).await;
    assert_eq!(scene.server.frame().await, [9, 1, 3], "the client has read the go-away");
    let refused = scene.afterwards().await;
    assert_eq!(refused, CallError::NotSent(NotSent::Draining));
    scene.server.send(&reply(0, 0, &[9])).await;
    assert_eq!(call.await.unwrap(), Ok(9));
}

#[tokio::test]
async fn dropping_the_last_channel_closes_in_good_order() {
    let Scene { mut server, client } = Scene::set().await;
    let other = client.clone();
    drop(client);
    let call = tokio::spawn(async move { other.increment(&cx(), "k".into()).await });
    assert_eq!(server.frame().await[0], 1, "a clone still calls");
    server.send(&reply(0, 0, &[1])).await;
    assert_eq!(call.await.unwrap(), Ok(1));
    assert_eq!(server.rest().await, [Seen::Close, Seen::End]);
}

#[tokio::test]
async fn closing_a_channel_waits_until_the_close_has_been_sent() {
    let (listener, connecting) = dialled().await;
    let mut server = Raw::server(&listener, test_identity("server")).await;
    let channel = connecting.await.unwrap().unwrap();
    time::timeout(Duration::from_secs(5), channel.close()).await.unwrap();
    assert_eq!(server.rest().await, [Seen::Close, Seen::End]);
}

#[tokio::test]
async fn dropping_a_call_cancels_it_at_the_server() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    call.abort();
    assert_eq!(scene.server.frame().await, [7, 0]);
}

#[tokio::test]
async fn a_servers_pings_are_answered_and_unsettle_nothing() {
    let mut scene = Scene::set().await;
    // Before any call: questions, and behind them what ends the connection.
    let questions = frame(&[9, 0, 3]).repeat(100);
    scene.server.send(&[questions.clone(), vec![0; 4]].concat()).await;
    let why = Disconnected::Protocol(ProtocolError::FrameLength);
    assert_eq!(scene.afterwards().await, disconnected(why.clone()));

    // Behind a request that was sealed: the answers that wait are not taken for it.
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    scene.server.send(&frame(&[9, 0, 3])).await;
    assert_eq!(scene.server.frame().await, [9, 1, 3]);
    scene.server.send(&[questions, vec![0; 4]].concat()).await;
    let error = outcome(call).await;
    assert_eq!(error.executed(), Executed::Unknown, "{error:?}");
    assert_eq!(scene.afterwards().await, disconnected(why));
}

#[tokio::test]
async fn a_server_that_asks_and_never_listens_does_not_stop_the_client() {
    let mut scene = Scene::set().await;
    let call = scene.call().await;
    let questions = frame(&[9, 0, 3]).repeat(200_000);
    scene.server.send(&questions).await;
    scene.server.send(&reply(0, 0, &[9])).await;
    assert_eq!(call.await.unwrap(), Ok(9));
}

#[tokio::test]
async fn a_server_that_proves_another_key_is_not_trusted() {
    let (listener, connecting) = dialled().await;
    let (mut socket, _) = listener.accept().await.unwrap();
    // It knows whom the client dials, so that it gets past mac1, and has not the key.
    let _init = read_message(&mut socket, MessageKind::Init).await;
    let own =
        responder::Config::new(Transport::Tcp, test_identity("impostor"), Params::new([1; 16]));
    let dialled = test_identity("impostor").public_key();
    let to_impostor = crate::raw::begin(test_identity("alice"), dialled, Default::default());
    let awaiting = responder::accept(&own, to_impostor.init(), &mut rand::rng()).unwrap();
    socket.write_all(awaiting.resp()).await.unwrap();
    let error = connecting.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_process_that_speaks_something_else_is_not_this_server() {
    for (answer, trusted) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], true), (&[0; 300], false)]
    {
        let (listener, connecting) = dialled().await;
        let (mut socket, _) = listener.accept().await.unwrap();
        let _init = read_message(&mut socket, MessageKind::Init).await;
        socket.write_all(answer).await.unwrap();
        drop(socket);
        let error = connecting.await.unwrap().unwrap_err();
        let expected = match error {
            ConnectError::NotThisServer { .. } => trusted,
            ConnectError::NotTrusted { .. } => !trusted,
            _ => false,
        };
        assert!(expected, "{error:?}");
    }
}
