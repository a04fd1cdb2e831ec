//! The conversation once more, with a real server: it answers as the file says.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use bailiwick::{
    AuditLog, Bytes, CallError, Context, Endpoint, Identity, PolicyFile, PublicKey, Server,
    rpc_service,
};
use bailiwick_crypto::{
    Params, RecordLimits, Transport,
    handshake::{MessageKind, message_len},
    initiator,
    record::{Opened, Records},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fields::{hex, unhex};
use super::{Side, story};

const CLIENT: [u8; 32] = [0xc1; 32];

/// The calls of the hashtable that the conversation has; ids on the wire come from the names.
#[rpc_service(object = "table/{key}")]
trait Table {
    #[rpc(verb = "read", readonly)]
    async fn get(&self, cx: &Context, key: String) -> Result<Option<Bytes>, CallError>;

    #[rpc(verb = "write", idempotent)]
    async fn put(&self, cx: &Context, key: String, value: Bytes) -> Result<(), CallError>;

    #[rpc(verb = "write")]
    async fn increment(&self, cx: &Context, key: String, by: i64) -> Result<i64, CallError>;
}

#[derive(Default)]
struct Store(Mutex<BTreeMap<String, Bytes>>);

impl Table for Store {
    async fn get(&self, _: &Context, key: String) -> Result<Option<Bytes>, CallError> {
        Ok(self.0.lock().unwrap().get(&key).cloned())
    }

    async fn put(&self, _: &Context, key: String, value: Bytes) -> Result<(), CallError> {
        self.0.lock().unwrap().insert(key, value);
        Ok(())
    }

    async fn increment(&self, _: &Context, key: String, by: i64) -> Result<i64, CallError> {
        let mut values = self.0.lock().unwrap();
        let before = values.get(&key).map_or("0", |value| str::from_utf8(value).unwrap());
        let sum = before.parse::<i64>().unwrap() + by;
        values.insert(key, sum.to_string().into_bytes().into());
        Ok(sum)
    }
}

#[tokio::test]
async fn a_server_answers_the_calls_of_the_file_as_it_says() {
    let client = Identity::from_seed(&CLIENT);
    let policy = format!(
        "principal client = {}\nclient | table/* | read,write | allow\n\
         client | table/payroll | * | deny\n",
        client.public_key()
    );
    let server = Server::builder(Identity::from_seed(&[0x5e; 32]))
        .policy(PolicyFile::from_text("policy.acl", policy))
        .audit(AuditLog::memory())
        .service(TableServer::new(Store::default()))
        .listen(Endpoint::tcp("127.0.0.1:0"))
        .bind()
        .await
        .unwrap();
    let (address, identity) = (server.addresses()[0].to_string(), server.identity());
    let serving = tokio::spawn(server.serve_until(std::future::pending()));

    let mut connection = Connection::open(&address, client, identity).await;
    for step in story::file().steps {
        match (step.from, step.record) {
            (Side::Client, _) => connection.send(&unhex(&step.bytes)).await,
            (Side::Server, Some(_)) => {
                let mut frame = connection.frame().await;
                if step.name == story::FIRST {
                    // The id is drawn, and the port too.
                    frame[6..14].copy_from_slice(&story::MEMORY);
                    frame[14..].copy_from_slice(&story::TCP_PORT.to_be_bytes());
                }
                assert_eq!(hex(&frame), step.bytes, "{}", step.name);
            }
            (Side::Server, None) => {}
        }
    }
    serving.abort();
}

/// A connection over TCP that sends frames as they are.
struct Connection {
    socket: TcpStream,
    records: Records,
    input: Vec<u8>,
    stream: Vec<u8>,
}

impl Connection {
    async fn open(address: &str, identity: Identity, server: PublicKey) -> Self {
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
        let mut resp = vec![0; 56];
        socket.read_exact(&mut resp).await.unwrap();
        resp.resize(message_len(MessageKind::Resp, &resp).unwrap().unwrap(), 0);
        socket.read_exact(&mut resp[56..]).await.unwrap();
        let (fin, session) = awaiting.read_resp(&resp, Instant::now()).unwrap();
        socket.write_all(&fin).await.unwrap();
        Self { socket, records: session.records, input: Vec::new(), stream: Vec::new() }
    }

    async fn send(&mut self, frame: &[u8]) {
        let mut sealed = Vec::new();
        self.records.seal_data(frame, Instant::now(), &mut sealed).unwrap();
        self.socket.write_all(&sealed).await.unwrap();
    }

    /// The next frame, with its length.
    async fn frame(&mut self) -> Vec<u8> {
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
}
