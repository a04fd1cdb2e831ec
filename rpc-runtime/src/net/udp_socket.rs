//! A UDP socket that sends and receives many datagrams with one system call, and never fragments
//! them on the way.

use std::{
    collections::HashMap,
    io::{self, IoSliceMut},
    net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use smallvec::SmallVec;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::lookup_host,
    time::{self, Sleep},
};

/// The longest datagram, and so as much as the kernel hands out in one piece.
const LARGEST: usize = 64 * 1024;

/// Pieces that are received together at the most.
const MAX_PIECES: usize = 8;

/// What the kernel is asked to hold for us; it may allow less.
const KERNEL_BUFFER: usize = 4 << 20;

/// Peers whose way to us is remembered; then all are forgotten, and learned again.
const MAX_WAYS: usize = 16_384;

/// Before a datagram is offered again that the kernel had no room for.
const RETRY: Duration = Duration::from_millis(1);

pub(crate) struct UdpSocket {
    /// Asked for readability only. A UDP socket becomes writable with each datagram that leaves the
    /// kernel, and waking for that would cost as much again as sending.
    io: AsyncFd<net::UdpSocket>,
    state: UdpSocketState,
    /// Runs while the kernel has no room.
    full: Option<Pin<Box<Sleep>>>,
    /// Where a socket has all addresses of this machine: to which of them each peer sends, as it
    /// expects answers from there.
    ways: Option<Mutex<HashMap<SocketAddr, IpAddr>>>,
}

impl UdpSocket {
    /// To be called within a tokio runtime.
    pub(crate) fn new(io: net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        // More than it allows, the kernel does not give; what it gives is enough to begin with.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&io), KERNEL_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&io), KERNEL_BUFFER);
        let has_all = io.local_addr()?.ip().is_unspecified() && io.peer_addr().is_err();
        // Deprecated for types that may close their descriptor or name another; a socket of std's
        // keeps its own, and what replaces this needs `unsafe`, which is forbidden here.
        #[expect(deprecated, reason = "the socket owns its descriptor for as long as it lives")]
        let io = AsyncFd::with_interest(io, Interest::READABLE)?;
        Ok(Self { io, state, full: None, ways: has_all.then(Mutex::default) })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// How many datagrams can go to one address with one call.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives what has come, as far as it fits into `into`.
    pub(crate) fn poll_receive(
        &self,
        into: &mut Datagrams,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut readable = ready!(self.io.poll_read_ready(cx))?;
            let received = readable.try_io(|io| {
                let (metas, mut slices) = into.room();
                self.state.recv(UdpSockRef::from(io.get_ref()), &mut slices, metas)
            });
            let Ok(received) = received else { continue };
            into.count = received?;
            // There was room for more: the socket is empty, and says so when it is not any more.
            if into.count < into.metas.len() {
                readable.clear_ready();
            }
            self.learn_ways(&into.metas[..into.count]);
            return Poll::Ready(Ok(()));
        }
    }

    /// Sends datagrams of `segment` bytes, the last perhaps shorter, to one address.
    pub(crate) fn poll_send(
        &mut self,
        to: SocketAddr,
        segment: usize,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: (segment < bytes.len()).then_some(segment),
            src_ip: self.way(to),
        };
        loop {
            if let Some(full) = &mut self.full {
                ready!(full.as_mut().poll(cx));
                self.full = None;
            }
            match self.state.try_send(UdpSockRef::from(self.io.get_ref()), &transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full = Some(Box::pin(time::sleep(RETRY)));
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl UdpSocket {
    fn learn_ways(&self, metas: &[RecvMeta]) {
        let Some(ways) = &self.ways else { return };
        let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
        for meta in metas {
            if ways.len() >= MAX_WAYS {
                ways.clear();
            }
            if let Some(local) = meta.dst_ip {
                ways.insert(meta.addr, local);
            }
        }
    }

    fn way(&self, to: SocketAddr) -> Option<IpAddr> {
        let ways = self.ways.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        ways.get(&to).copied()
    }
}

/// Datagrams that came with one system call.
pub(crate) struct Datagrams {
    bytes: Vec<u8>,
    metas: Vec<RecvMeta>,
    count: usize,
}

impl Datagrams {
    /// Room for so many pieces from the kernel, each of which holds the datagrams of one sender
    /// that came together.
    pub(crate) fn new(pieces: usize) -> Self {
        Self {
            bytes: Vec::new(),
            metas: vec![RecvMeta::default(); pieces.min(MAX_PIECES)],
            count: 0,
        }
    }

    fn room(&mut self) -> (&mut [RecvMeta], SmallVec<[IoSliceMut<'_>; MAX_PIECES]>) {
        self.count = 0;
        self.bytes.resize(self.metas.len() * LARGEST, 0);
        let slices = self.bytes.chunks_mut(LARGEST).map(IoSliceMut::new).collect();
        (&mut self.metas, slices)
    }

    /// Each datagram with its sender.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let pieces = self.bytes.chunks_mut(LARGEST).zip(&self.metas).take(self.count);
        pieces.flat_map(|(piece, meta)| {
            let stride = meta.stride.max(1);
            let len = meta.len.min(piece.len());
            piece[..len].chunks_mut(stride).map(move |datagram| (meta.addr, datagram))
        })
    }
}

/// A socket for one server, and the address that `address` stands for: the first that can be had.
pub(crate) async fn connect(address: &str) -> io::Result<(UdpSocket, SocketAddr)> {
    let mut failed = io::ErrorKind::NotFound.into();
    for server in lookup_host(address).await? {
        match connect_to(server) {
            Ok(socket) => return Ok((socket, server)),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A socket at this address.
pub(crate) async fn bind(address: &str) -> io::Result<UdpSocket> {
    let mut failed = io::ErrorKind::NotFound.into();
    for address in lookup_host(address).await? {
        match net::UdpSocket::bind(address) {
            Ok(socket) => return UdpSocket::new(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn connect_to(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = net::UdpSocket::bind((any, 0))?;
    // So that the kernel hands us nobody else's datagrams, and says so if nobody listens there.
    socket.connect(server)?;
    UdpSocket::new(socket)
}

/// Whether the kernel refused a datagram as longer than the path or the interface carries.
pub(crate) fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}
