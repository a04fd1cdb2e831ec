//! The conversation once more, with our server and with our client: each says what the file says.

use std::time::Duration;

use bailiwick::{AuditLog, Channel, Context, Endpoint, Identity, PolicyFile, Server};
use tokio::net::TcpListener;

use super::connection::Connection;
use super::fields::{Field, hex, unhex};
use super::service::{Store, Table as _, TableClient, TableServer};
use super::{Side, Step, story};

const CLIENT: [u8; 32] = [0xc1; 32];
const SERVER: [u8; 32] = [0x5e; 32];

#[tokio::test]
async fn a_server_answers_the_calls_of_the_file_as_it_says() {
    let client = Identity::from_seed(&CLIENT);
    let policy = format!(
        "principal client = {}\nclient | table/* | read,write | allow\n\
         client | table/payroll | * | deny\n",
        client.public_key()
    );
    let server = Server::builder(Identity::from_seed(&SERVER))
        .policy(PolicyFile::from_text("policy.acl", policy))
        .audit(AuditLog::memory())
        .service(TableServer::new(Store::default()))
        .listen(Endpoint::tcp("127.0.0.1:0"))
        .bind()
        .await
        .unwrap();
    let (address, identity) = (server.addresses()[0].to_string(), server.identity());
    let serving = tokio::spawn(server.serve_until(std::future::pending()));

    let mut connection = Connection::dial(&address, client, identity).await;
    for step in story::file().steps {
        match (step.from, step.record) {
            (Side::Client, _) => connection.send(&unhex(&step.bytes)).await,
            (Side::Server, Some(_)) => {
                let mut frame = connection.frame().await;
                if step.name == story::FIRST {
                    // The id is drawn, and the port too.
                    frame[6..14].copy_from_slice(&story::MEMORY);
                    frame[14..16].copy_from_slice(&story::TCP_PORT.to_be_bytes());
                }
                assert_eq!(hex(&frame), step.bytes, "{}", step.name);
            }
            (Side::Server, None) => {}
        }
    }
    serving.abort();
}

#[tokio::test]
async fn a_client_asks_as_the_file_says_and_understands_the_answers() {
    let server = Identity::from_seed(&SERVER);
    let key = server.public_key();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
    let calls = tokio::spawn(async move {
        let channel = Channel::connect(endpoint, key, Identity::from_seed(&CLIENT)).await.unwrap();
        let (table, cx) = (TableClient::new(channel), Context::within(Duration::from_secs(10)));
        assert_eq!(table.get(&cx, "hits".into()).await, Ok(None));
        assert_eq!(table.put(&cx, "hits".into(), "42".into()).await, Ok(()));
        let cx = cx.with_metadata("trace", "00-1");
        assert_eq!(table.increment(&cx, "hits".into(), -2).await, Ok(40));
    });

    let mut connection = Connection::accept(&listener, server).await;
    // The server's first frame, and three calls with their answers.
    for step in &story::file().steps[..7] {
        match step.from {
            Side::Server => connection.send(&unhex(&step.bytes)).await,
            Side::Client => assert_is_request(&connection.request().await, step),
        }
    }
    calls.await.unwrap();
}

/// All but the length and the time that remains is as it must be.
fn assert_is_request(frame: &[u8], step: &Step) {
    let joined = |fields: &[Field]| fields.iter().map(|field| &*field.bytes).collect::<String>();
    let remaining = step.fields.iter().position(|field| field.name == "remaining").unwrap();
    let (before, behind) = (&step.fields[1..remaining], &step.fields[remaining + 1..]);
    let frame = hex(&frame[4..]);
    assert!(frame.starts_with(&joined(before)), "{}: {frame}", step.name);
    assert!(frame.ends_with(&joined(behind)), "{}: {frame}", step.name);
    let time = frame.len() - joined(before).len() - joined(behind).len();
    assert!((2..=8).contains(&time), "at most ten seconds, in microseconds: {frame}");
}
