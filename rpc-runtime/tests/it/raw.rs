//! A peer that builds its frames and records by hand, so that it can build wrong ones.

use std::time::{Duration, Instant};

use bailiwick::{Identity, MethodId, PublicKey};
use bailiwick_crypto::{
    Alert, Params, RecordLimits, Transport,
    handshake::{MessageKind, message_len},
    initiator,
    record::{MAX_CONTENT, Opened, Records},
    responder,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::world::World;

pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    pub(crate) records: Records,
    /// Names what the server remembers of this client.
    pub(crate) memory: [u8; 8],
    /// Where the server says that it listens over TCP.
    pub(crate) tcp_port: u16,
    pub(crate) store: [u8; 8],
    input: Vec<u8>,
    /// What records brought behind the last whole frame.
    plain: Vec<u8>,
}

/// What a peer meets next on its connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Data(Vec<u8>),
    Ping,
    KeyUpdate,
    Close,
    Alert(Alert),
    /// The end of the stream, or a reset.
    End,
}

impl Raw {
    /// A client that has done the handshake and read the server's first frame.
    pub(crate) async fn client(world: &World, identity: Identity) -> Self {
        Self::client_with(world, identity, RecordLimits::default()).await
    }

    pub(crate) async fn client_with(
        world: &World,
        identity: Identity,
        records: RecordLimits,
    ) -> Self {
        // Each is a life of its own: what another called is of no concern to it.
        let params = Params { max_frame: 1 << 20, ..Params::new(rand::random()) };
        Self::open(world, identity, records, params).await
    }

    /// A further connection of the client whose life has this number.
    pub(crate) async fn life(world: &World, identity: Identity, life: u8) -> Self {
        let params = Params { max_frame: 1 << 20, ..Params::new([life; 16]) };
        Self::open(world, identity, RecordLimits::default(), params).await
    }

    pub(crate) async fn open(
        world: &World,
        identity: Identity,
        records: RecordLimits,
        params: Params,
    ) -> Self {
        let mut raw = Self::greet(world, identity, records, params).await;
        let confirmed = raw.frame().await;
        let (kind, rest) = confirmed.split_at(2);
        assert_eq!(kind, [11, 1], "the frame that confirms the handshake");
        raw.memory = *rest.first_chunk().unwrap();
        raw.tcp_port = u16::from_be_bytes(rest[8..10].try_into().unwrap());
        raw.store = rest[10..18].try_into().unwrap();
        raw
    }

    /// A client that has sent all of its handshake.
    pub(crate) async fn greet(
        world: &World,
        identity: Identity,
        records: RecordLimits,
        params: Params,
    ) -> Self {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let awaiting = begin_with(identity, world.server, records, params);
        socket.write_all(awaiting.init()).await.unwrap();
        let resp = read_message(&mut socket, MessageKind::Resp).await;
        let (fin, session) = awaiting.read_resp(&resp, Instant::now()).unwrap();
        socket.write_all(&fin).await.unwrap();
        Self::over(socket, session.records)
    }

    fn over(socket: TcpStream, records: Records) -> Self {
        let (input, plain) = (Vec::new(), Vec::new());
        Self { socket, records, memory: [0; 8], tcp_port: 0, store: [0; 8], input, plain }
    }

    /// A server that has done the handshake with whoever dials `listener`.
    pub(crate) async fn server(listener: &TcpListener, identity: Identity) -> Self {
        let (mut socket, _) = listener.accept().await.unwrap();
        let config = responder::Config::new(Transport::Tcp, identity, Params::new([9; 16]));
        let init = read_message(&mut socket, MessageKind::Init).await;
        let awaiting = responder::accept(&config, &init, &mut rand::rng()).unwrap();
        socket.write_all(awaiting.resp()).await.unwrap();
        let fin = read_message(&mut socket, MessageKind::Fin).await;
        let authenticated = awaiting.read_fin(&fin, Instant::now()).unwrap();
        let session = authenticated.admit().unwrap();
        let mut raw = Self::over(socket, session.records);
        // What confirms the handshake: which memory it has of the client, no TCP port, no
        // store, no lease.
        raw.send(&frame(&[11, 1, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).await;
        raw
    }

    /// `frames` in as few records as they fit into.
    pub(crate) fn seal(&mut self, frames: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        for content in frames.chunks(MAX_CONTENT) {
            self.records.seal_data(content, Instant::now(), &mut sealed).unwrap();
        }
        sealed
    }

    pub(crate) async fn send(&mut self, frames: &[u8]) {
        let sealed = self.seal(frames);
        self.write(&sealed).await;
    }

    pub(crate) async fn send_close(&mut self) {
        let mut close = Vec::new();
        self.records.seal_close(Instant::now(), &mut close).unwrap();
        self.write(&close).await;
    }

    pub(crate) async fn send_alert(&mut self, alert: Alert) {
        let mut sealed = Vec::new();
        self.records.seal_alert(alert, Instant::now(), &mut sealed).unwrap();
        self.write(&sealed).await;
    }

    /// Bytes as they are. A peer that has hung up already is met when reading.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            let size = Records::record_len(&self.input).unwrap();
            if let Some(size) = size.filter(|size| *size <= self.input.len()) {
                let mut record: Vec<u8> = self.input.drain(..size).collect();
                return match self.records.open(&mut record, Instant::now()).unwrap() {
                    Opened::Data(content) => Seen::Data(content.to_vec()),
                    Opened::Close => Seen::Close,
                    Opened::Alert(alert) => Seen::Alert(alert),
                    Opened::Ping => Seen::Ping,
                    Opened::KeyUpdate => Seen::KeyUpdate,
                };
            }
            match self.socket.read_buf(&mut self.input).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Seen::End,
            }
        }
    }

    /// The next whole frame, without its length. Other records are passed over.
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) = self.plain.first_chunk::<4>() {
                let end = 4 + u32::from_be_bytes(*length) as usize;
                if self.plain.len() >= end {
                    return self.plain.drain(..end).skip(4).collect();
                }
            }
            match self.next().await {
                Seen::Data(more) => self.plain.extend_from_slice(&more),
                Seen::Ping | Seen::KeyUpdate => {}
                end => panic!("{end:?} in place of a frame"),
            }
        }
    }

    /// All that comes until the stream ends, the end included.
    pub(crate) async fn rest(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        loop {
            all.push(self.next().await);
            if all.last() == Some(&Seen::End) {
                return all;
            }
        }
    }
}

pub(crate) fn begin(
    identity: Identity,
    server: PublicKey,
    records: RecordLimits,
) -> initiator::AwaitingResp {
    begin_with(identity, server, records, Params::new([5; 16]))
}

fn begin_with(
    identity: Identity,
    server: PublicKey,
    records: RecordLimits,
    params: Params,
) -> initiator::AwaitingResp {
    let config = initiator::Config {
        transport: Transport::Tcp,
        identity,
        server,
        params,
        psk: None,
        records,
    };
    initiator::start(config, &mut rand::rng())
}

/// A whole message of the handshake. The peer sends nothing behind it before it has an answer.
pub(crate) async fn read_message(socket: &mut TcpStream, kind: MessageKind) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let whole = message_len(kind, &message).unwrap();
        if whole == Some(message.len()) {
            return message;
        }
        // FIN may be followed by records, so no byte more is read than the header calls for.
        let next = match (whole, kind) {
            (Some(whole), _) => whole - message.len(),
            (None, MessageKind::Fin) => 16 - message.len(),
            (None, MessageKind::Resp) => 56 - message.len(),
            (None, MessageKind::Init) => 64 - message.len(),
        };
        let mut more = vec![0; next];
        socket.read_exact(&mut more).await.unwrap();
        message.extend_from_slice(&more);
    }
}

/// A frame: its length, type and fields.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// A request with twenty seconds to go, and no metadata.
pub(crate) fn request(call: u64, method: MethodId, arguments: &[u8]) -> Vec<u8> {
    request_of(call, 0, 0, method, arguments)
}

/// The same, with what a client that sends it again says.
pub(crate) fn request_of(
    call: u64,
    floor: u64,
    attempt: u64,
    method: MethodId,
    arguments: &[u8],
) -> Vec<u8> {
    request_with(Duration::from_secs(20), call, [floor, attempt], method, arguments)
}

fn request_with(
    remaining: Duration,
    call: u64,
    [floor, attempt]: [u64; 2],
    method: MethodId,
    arguments: &[u8],
) -> Vec<u8> {
    let mut body = vec![1];
    for number in [call, floor, attempt] {
        varint(number, &mut body);
    }
    body.extend_from_slice(&method.get().to_be_bytes());
    varint(u64::try_from(remaining.as_micros()).unwrap(), &mut body);
    body.extend_from_slice(&[0, 0]); // flags, entries of metadata
    body.extend_from_slice(arguments);
    frame(&body)
}

/// A request of a caller who waits no longer than `remaining`.
pub(crate) fn request_within(
    remaining: Duration,
    call: u64,
    method: MethodId,
    arguments: &[u8],
) -> Vec<u8> {
    request_with(remaining, call, [0, 0], method, arguments)
}

/// A reply to the first attempt.
pub(crate) fn reply(call: u64, status: u8, result: &[u8]) -> Vec<u8> {
    let mut body = vec![2];
    varint(call, &mut body);
    body.extend_from_slice(&[0, status]);
    body.extend_from_slice(result);
    frame(&body)
}

pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}
