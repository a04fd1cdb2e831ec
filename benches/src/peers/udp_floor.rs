//! The floor over UDP: a plain echo with a datagram a call, without security and without retries.
//!
//! A datagram is a little-endian `u64` call number and the payload. On loopback a datagram is lost
//! only if a receive buffer overflows, so one that is lost ends the run.

use std::{
    future::poll_fn,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use socket2::SockRef;
use tokio::{net::UdpSocket, task::AbortHandle, time};

use crate::{
    peer::{Caller, Peer, PeerError},
    peers::slots::Slots,
};

/// Bytes before the payload.
const CALL_NUMBER: usize = 8;

/// The longest datagram, in bytes; the rest of a longer one would be cut off.
const DATAGRAM_MAX: usize = 2048;

/// Bytes asked for of each receive buffer, for all calls outstanding; the kernel may give less.
const RECEIVE_BUFFER: usize = 1 << 20;

/// How long calls may be outstanding without one reply before a datagram counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// The plain echo over UDP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UdpFloor;

impl Peer for UdpFloor {
    type Caller = UdpCaller;

    async fn serve(&self, _site: &Path) -> Result<SocketAddr, PeerError> {
        let socket = bind().await?;
        let address = socket.local_addr()?;
        tokio::spawn(async move {
            if let Err(error) = answer(&socket).await {
                eprintln!("udp-floor: no more datagrams: {error}");
            }
        });
        Ok(address)
    }

    async fn connect(&self, _site: &Path, address: SocketAddr) -> Result<UdpCaller, PeerError> {
        let socket = bind().await?;
        socket.connect(address).await?;
        Ok(UdpCaller::start(socket))
    }
}

async fn bind() -> Result<UdpSocket, PeerError> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

/// Sends every datagram back to whoever sent it.
async fn answer(socket: &UdpSocket) -> Result<(), PeerError> {
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        let (length, from) = socket.recv_from(&mut datagram).await?;
        socket.send_to(&datagram[..length], from).await?;
    }
}

/// A socket that any number of callers share.
#[derive(Clone)]
pub(crate) struct UdpCaller {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

impl UdpCaller {
    fn start(socket: UdpSocket) -> Self {
        let shared = Arc::new(Shared { socket, state: Mutex::default() });
        let reader = tokio::spawn(read(Arc::clone(&shared))).abort_handle();
        let watcher = tokio::spawn(watch(Arc::clone(&shared))).abort_handle();
        Self { shared, _tasks: Arc::new(Tasks([reader, watcher])) }
    }
}

impl Caller for UdpCaller {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        let slot = self.shared.lock().slots.take();
        let mut datagram = BytesMut::with_capacity(CALL_NUMBER + payload.len());
        datagram.put_u64_le(slot as u64);
        datagram.put_slice(payload);
        self.shared.socket.send(&datagram).await?;
        poll_fn(|cx| self.shared.poll_reply(slot, cx)).await
    }
}

struct Shared {
    socket: UdpSocket,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: Slots,
    replies: u64,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_reply(&self, slot: usize, cx: &mut Context<'_>) -> Poll<Result<Bytes, PeerError>> {
        let mut state = self.lock();
        match state.slots.poll(slot, cx) {
            Poll::Ready(reply) => Poll::Ready(Ok(reply)),
            Poll::Pending if state.closed => Poll::Ready(Err(PeerError::Closed)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn complete(&self, datagram: &[u8]) -> Result<(), PeerError> {
        let Some((id, payload)) = datagram.split_first_chunk::<CALL_NUMBER>() else {
            return Err(PeerError::FrameLength { length: datagram.len() });
        };
        let mut state = self.lock();
        let waker = state.slots.answer(u64::from_le_bytes(*id), payload)?;
        state.replies += 1;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let wakers = state.slots.take_wakers();
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

/// They end with the last caller.
struct Tasks([AbortHandle; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn read(shared: Arc<Shared>) {
    if let Err(error) = read_replies(&shared).await {
        eprintln!("udp-floor: the socket failed: {error}");
    }
    shared.close();
}

async fn read_replies(shared: &Shared) -> Result<(), PeerError> {
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        let length = shared.socket.recv(&mut datagram).await?;
        shared.complete(&datagram[..length])?;
    }
}

/// Fails the callers of a datagram that was lost: nobody sends it again, and they would wait for ever.
async fn watch(shared: Arc<Shared>) {
    let mut before = 0;
    loop {
        time::sleep(PATIENCE).await;
        let state = shared.lock();
        if state.slots.in_use() && state.replies == before {
            drop(state);
            eprintln!("udp-floor: a datagram was lost");
            return shared.close();
        }
        before = state.replies;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_caller_gets_its_own_payload_back() {
        let address = UdpFloor.serve(Path::new("")).await.unwrap();
        let caller = UdpFloor.connect(Path::new(""), address).await.unwrap();
        let callers: Vec<_> = (0..64u8)
            .map(|number| {
                let caller = caller.clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let payload = Bytes::from(vec![number; 64]);
                        assert_eq!(caller.echo(&payload).await.unwrap(), payload);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_datagram_ends_the_run() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let caller = UdpFloor.connect(Path::new(""), address).await.unwrap();
        let ended = caller.echo(&Bytes::from_static(b"lost")).await;
        assert!(matches!(ended, Err(PeerError::Closed)), "{ended:?}");
    }

    #[tokio::test]
    async fn a_reply_to_nobody_ends_the_run() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let caller = UdpFloor.connect(Path::new(""), address).await.unwrap();
        let call = tokio::spawn(async move { caller.echo(&Bytes::from_static(b"x")).await });
        let (_, from) = server.recv_from(&mut [0; DATAGRAM_MAX]).await.unwrap();
        server.send_to(&99u64.to_le_bytes(), from).await.unwrap();
        assert!(matches!(call.await.unwrap(), Err(PeerError::Closed)));
    }
}
