use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use bailiwick_crypto::{Identity, Params, Transport, responder};
use serde::{Deserialize, Deserializer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::JoinSet,
};

use super::*;
use crate::{
    client::{Channel, ChannelConfig},
    config::Limits,
    context::Context as CallContext,
    endpoint::Endpoint,
    error::{CallError, Never},
    id::MethodId,
    marshal::ByteVec,
    proto::{
        frame::{Frame, MemoryId},
        server::{Handshake, Server},
    },
    reply::{self, ReplyHeader},
    service::{Delivery, MethodDescription, ObjectDescription, Recorded},
};

static TOUCH: MethodDescription = MethodDescription {
    service: "Table",
    name: "touch",
    id: MethodId::new(1),
    verb: "use",
    object: ObjectDescription::Template("table"),
    delivery: Delivery::AtMostOnce,
    recorded: Recorded::AsTheServerSays,
    timeout: None,
    reserve: false,
    arguments: &[],
    result: "()",
    error: "Never",
};

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

/// A pipe whose reads, also in vain, and writes are counted.
struct Counted {
    pipe: DuplexStream,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.pipe).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl Socket for Counted {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_readable(cx)
    }
}

/// Comes back behind all tasks that are ready. (tokio's own yield lets the client's gathering end first.)
async fn let_others_run() {
    let mut again = true;
    poll_fn(|cx| {
        if !std::mem::take(&mut again) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Answers all calls that come together in so many writes, with a turn for everybody else behind each.
async fn serve(mut pipe: DuplexStream, parts: usize) {
    let params = Params { max_frame: 1 << 20, ..Params::new([2; 16]) };
    let config = responder::Config::new(Transport::Tcp, identity(2), params);
    let mut core = Server::new(Limits::default());
    while let Ok(1..) = pipe.read_buf(&mut core.input.room()).await {
        let now = clock::now();
        let mut stands = Handshake::Answering;
        while stands == Handshake::Answering {
            stands = core.handle_handshake(&config, &mut rand::rng(), now);
        }
        if let Handshake::Authenticated(_) = stands {
            core.admit(now).unwrap();
            let id = [1; 8];
            core.confirm(MemoryId { id, tcp_port: 0, store: [0; 8], lease: Duration::MAX }, now);
        }
        let mut asked = Vec::new();
        let _ = core.handle_input(now, |frame, _| {
            if let Frame::Request(request) = Frame::parse(frame.bytes(), 0)? {
                asked.push(request.call);
            }
            Ok(())
        });
        let each = asked.len().div_ceil(parts);
        for _ in 0..parts {
            for call in asked.drain(..each.min(asked.len())) {
                let header = ReplyHeader { call, attempt: 0, max_frame: 1_024, max_here: 1_024 };
                reply::write_result(header, &Ok::<_, CallError>(()), core.frames(), false, |_| {});
            }
            while core.handle_transmit(now) {
                pipe.write_all(core.output.unsent()).await.unwrap();
                let written = core.output.len();
                core.output.sent(written);
            }
            let_others_run().await;
        }
    }
}

/// A channel to whoever [`serve`]s at the other end.
async fn over(socket: impl Socket) -> Channel {
    let (key, endpoint) = (identity(2).public_key(), Endpoint::tcp("a pipe"));
    let config = ChannelConfig::default();
    Channel::over(socket, endpoint, key, identity(1), config).await.unwrap()
}

const CALLS: usize = 200;

/// How often the client reads and writes for [`CALLS`] calls of each of four callers.
async fn counted(parts: usize) -> (usize, usize) {
    let (near, far) = duplex(64 * 1_024);
    let server = tokio::spawn(serve(far, parts));
    let (reads, writes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let socket = Counted { pipe: near, reads: Arc::clone(&reads), writes: Arc::clone(&writes) };
    let channel = over(socket).await;
    let count = || (reads.load(Ordering::Relaxed), writes.load(Ordering::Relaxed));
    let before = count();
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let channel = channel.clone();
        callers.spawn(async move {
            for _ in 0..CALLS {
                let cx = CallContext::within(Duration::from_secs(10));
                let called: Result<(), CallError> = channel.call(&TOUCH, &cx, &()).await;
                called.unwrap();
            }
        });
    }
    callers.join_all().await;
    let after = count();
    channel.close().await;
    server.await.unwrap();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn calls_whose_answers_come_in_halves_go_together_again() {
    let (_, written) = counted(2).await;
    assert!(written < CALLS + CALLS / 4, "{written} writes for {CALLS} calls of each of four");
}

#[tokio::test]
async fn a_request_that_is_longer_than_what_is_sealed_ahead_leaves_whole() {
    // It takes all that is written at once.
    let (near, far) = duplex(4 * 1_024 * 1_024);
    let server = tokio::spawn(serve(far, 1));
    let channel = over(near).await;
    // Less than a second: then quiet would wake the connection, and what was left would go.
    let cx = CallContext::within(Duration::from_millis(800));
    let arguments = ByteVec(vec![7; 1_000_000]);
    let called: Result<(), CallError> = channel.call(&TOUCH, &cx, &arguments).await;
    called.unwrap();
    channel.close().await;
    server.await.unwrap();
}

#[tokio::test]
async fn a_socket_is_read_for_the_answers_and_once_more_before_the_client_sleeps() {
    let (read, written) = counted(1).await;
    assert!(written < CALLS + CALLS / 4, "{written} writes for {CALLS} calls of each of four");
    assert!(read < 2 * CALLS + CALLS / 4, "{read} reads");
}

#[tokio::test]
async fn a_call_that_has_ended_does_not_begin_again_when_it_is_polled_once_more() {
    let (near, far) = duplex(64 * 1_024);
    let server = tokio::spawn(serve(far, 1));
    let channel = over(near).await;
    let cx = CallContext::within(Duration::from_secs(10)).with_metadata("k", "v".repeat(1 << 20));
    let mut refused = Box::pin(channel.call::<_, (), Never>(&TOUCH, &cx, &()));
    let ended = poll_fn(|cx| Poll::Ready([refused.as_mut().poll(cx), refused.as_mut().poll(cx)]));
    let [first, again] = ended.await;
    assert!(matches!(first, Poll::Ready(Err(CallError::NotSent(_)))), "{first:?}");
    assert!(again.is_pending(), "{again:?}");
    drop(refused);
    channel.close().await;
    server.await.unwrap();
}

/// A result that panics when it is decoded.
#[derive(Debug)]
struct Fragile;

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("the user's decoder");
    }
}

#[tokio::test]
async fn a_decoder_that_panics_fails_its_own_call_alone() {
    let (near, far) = duplex(64 * 1_024);
    let server = tokio::spawn(serve(far, 1));
    let channel = over(near).await;
    let called = channel.clone();
    let fragile = tokio::spawn(async move {
        let cx = CallContext::within(Duration::from_secs(10));
        called.call::<_, Fragile, Never>(&TOUCH, &cx, &()).await
    });
    assert!(fragile.await.unwrap_err().is_panic());
    let cx = CallContext::within(Duration::from_secs(10));
    let after: Result<(), CallError> = channel.call(&TOUCH, &cx, &()).await;
    after.unwrap();
    channel.close().await;
    server.await.unwrap();
}
