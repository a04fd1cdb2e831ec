//! One end of a connection over TCP that sends and takes frames as they are.

use std::time::Instant;

use bailiwick::{Identity, PublicKey};
use bailiwick_crypto::{
    Params, RecordLimits, Transport,
    handshake::{MessageKind, message_len},
    initiator,
    record::{Opened, Records},
    responder,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Connection {
    socket: TcpStream,
    records: Records,
    input: Vec<u8>,
    stream: Vec<u8>,
}

impl Connection {
    pub(crate) async fn dial(address: &str, identity: Identity, server: PublicKey) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let config = initiator::Config {
            transport: Transport::Tcp,
            identity,
            server,
            params: Params::new([5; 16]),
            psk: None,
            records: RecordLimits::default(),
        };
        let awaiting = initiator::start(config, &mut rand::rng());
        socket.write_all(awaiting.init()).await.unwrap();
        let resp = message(&mut socket, MessageKind::Resp, 56).await;
        let (fin, session) = awaiting.read_resp(&resp, Instant::now()).unwrap();
        socket.write_all(&fin).await.unwrap();
        Self { socket, records: session.records, input: Vec::new(), stream: Vec::new() }
    }

    pub(crate) async fn send(&mut self, frame: &[u8]) {
        let mut sealed = Vec::new();
        self.records.seal_data(frame, Instant::now(), &mut sealed).unwrap();
        self.socket.write_all(&sealed).await.unwrap();
    }

    /// The next frame, with its length.
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) = self.stream.first_chunk::<4>() {
                let size = 4 + u32::from_be_bytes(*length) as usize;
                if self.stream.len() >= size {
                    return self.stream.drain(..size).collect();
                }
            }
            let size = Records::record_len(&self.input).unwrap();
            if let Some(size) = size.filter(|size| *size <= self.input.len()) {
                let mut record: Vec<u8> = self.input.drain(..size).collect();
                match self.records.open(&mut record, Instant::now()).unwrap() {
                    Opened::Data(content) => self.stream.extend_from_slice(content),
                    Opened::Ping | Opened::KeyUpdate => {}
                    end => panic!("{end:?} in place of a frame"),
                }
                continue;
            }
            assert_ne!(self.socket.read_buf(&mut self.input).await.unwrap(), 0, "the end");
        }
    }

    /// The next request; what else a client says is passed over.
    pub(crate) async fn request(&mut self) -> Vec<u8> {
        loop {
            let frame = self.frame().await;
            if frame[4] == 1 {
                return frame;
            }
        }
    }

    pub(crate) async fn accept(listener: &TcpListener, identity: Identity) -> Self {
        let (mut socket, _) = listener.accept().await.unwrap();
        let config = responder::Config::new(Transport::Tcp, identity, Params::new([9; 16]));
        let init = message(&mut socket, MessageKind::Init, 64).await;
        let awaiting = responder::accept(&config, &init, &mut rand::rng()).unwrap();
        socket.write_all(awaiting.resp()).await.unwrap();
        let fin = message(&mut socket, MessageKind::Fin, 16).await;
        let session = awaiting.read_fin(&fin, Instant::now()).unwrap().admit().unwrap();
        Self { socket, records: session.records, input: Vec::new(), stream: Vec::new() }
    }
}

/// A message of the handshake, whose first `head` bytes tell its length.
async fn message(socket: &mut TcpStream, kind: MessageKind, head: usize) -> Vec<u8> {
    let mut message = vec![0; head];
    socket.read_exact(&mut message).await.unwrap();
    message.resize(message_len(kind, &message).unwrap().unwrap(), 0);
    socket.read_exact(&mut message[head..]).await.unwrap();
    message
}
