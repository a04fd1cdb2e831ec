//! The relay does to real datagrams what its configuration says, and the command says what is wrong.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bailiwick_tests::relay::{self, RelayConfig, RelayError};
use bailiwick_tests::sim::{LinkConfig, LinkConfigError};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
const SENT: u32 = 10_000;
/// Fewer than any socket buffer holds.
const BURST: u32 = 50;

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Whether `hits` of `of` are within four standard deviations of what `rate` lets expect.
fn is_near(hits: u64, of: u64, rate: f64) -> bool {
    let (hits, of) = (hits as f64, of as f64);
    (hits - of * rate).abs() <= 4.0 * (of * rate * (1.0 - rate)).sqrt()
}

/// A number, so that a flipped bit shows.
fn twice(number: u32) -> [u8; 8] {
    (u64::from(number) << 32 | u64::from(number)).to_be_bytes()
}

/// The number, unless a bit has flipped.
fn once(datagram: &[u8]) -> Option<u32> {
    let number = u32::from_be_bytes(*datagram.first_chunk()?);
    (datagram == twice(number)).then_some(number)
}

/// Reads `count` datagrams, and who sent the last one.
async fn read(socket: &UdpSocket, count: u64) -> (Vec<Vec<u8>>, Option<SocketAddr>) {
    let (mut datagrams, mut last) = (Vec::new(), None);
    let mut buffer = [0; 2_048];
    for _ in 0..count {
        let received = timeout(LIMIT, socket.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("what the relay sent on arrives").unwrap();
        datagrams.push(buffer[..length].to_vec());
        last = Some(from);
    }
    (datagrams, last)
}

#[tokio::test]
async fn rates_are_met_over_ten_thousand_datagrams_in_both_directions() {
    let link = LinkConfig {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.01,
        hold: Duration::from_millis(2),
        ..LinkConfig::default()
    };
    let seed = 7;
    let (client, server) = (socket().await, socket().await);
    let config = RelayConfig::new(server.local_addr().unwrap(), link, seed);
    let mut relay = relay::start(config).await.unwrap();

    // There: numbered datagrams, in bursts that no socket buffer loses.
    let mut there = Vec::new();
    let mut flow = None;
    for first in (0..SENT).step_by(BURST as usize) {
        for number in first..first + BURST {
            client.send_to(&twice(number), relay.address()).await.unwrap();
        }
        let sent = u64::from(first + BURST);
        let counts = relay.wait_until(|counts| counts.to_server.sent == sent).await;
        let (datagrams, last) = read(&server, counts.to_server.arriving - there.len() as u64).await;
        there.extend(datagrams);
        flow = last.or(flow);
    }
    // And back, to where they came from.
    let mut back = Vec::new();
    for first in (0..SENT).step_by(BURST as usize) {
        for number in first..first + BURST {
            server.send_to(&twice(number), flow.unwrap()).await.unwrap();
        }
        let sent = u64::from(first + BURST);
        let counts = relay.wait_until(|counts| counts.to_clients.sent == sent).await;
        back.extend(read(&client, counts.to_clients.arriving - back.len() as u64).await.0);
    }

    let counts = relay.counts();
    assert_eq!((counts.clients, counts.turned_away, counts.unsent), (1, 0, 0));
    for (counts, received) in [(counts.to_server, &there), (counts.to_clients, &back)] {
        let arrived = counts.sent - counts.lost;
        assert!(is_near(counts.lost, counts.sent, 0.3), "seed {seed}: {counts:?}");
        assert!(is_near(counts.duplicated, arrived, 0.1), "seed {seed}: {counts:?}");
        assert!(is_near(counts.reordered, counts.arriving, 0.1), "seed {seed}: {counts:?}");
        assert!(is_near(counts.corrupted, counts.arriving, 0.01), "seed {seed}: {counts:?}");

        // The counts are what was seen at the other end.
        assert_eq!(received.len() as u64, counts.arriving);
        let numbers: Vec<u32> = received.iter().filter_map(|datagram| once(datagram)).collect();
        assert_eq!(numbers.len() as u64, counts.arriving - counts.corrupted, "seed {seed}");
        let distinct = numbers.iter().collect::<HashSet<_>>().len() as u64;
        assert!((arrived - counts.corrupted..=arrived).contains(&distinct), "seed {seed}");
        assert!(!numbers.is_sorted(), "some overtook others");
    }
    there.sort();
    back.sort();
    assert_ne!(there, back, "each direction has chances of its own");
}

#[tokio::test]
async fn each_client_has_an_address_of_its_own_and_gets_its_own_answers() {
    let server = socket().await;
    let config = RelayConfig::new(server.local_addr().unwrap(), LinkConfig::default(), 1);
    let relay = relay::start(config).await.unwrap();
    let clients = [socket().await, socket().await];
    let mut flows = Vec::new();
    for (number, client) in (0_u8..).zip(&clients) {
        client.send_to(&[number], relay.address()).await.unwrap();
        let (datagrams, from) = read(&server, 1).await;
        assert_eq!(datagrams, [[number]]);
        flows.push(from.unwrap());
    }
    assert_ne!(flows[0], flows[1]);
    for (number, flow) in (10_u8..).zip(&flows) {
        server.send_to(&[number], flow).await.unwrap();
    }
    for (number, client) in (10_u8..).zip(&clients) {
        assert_eq!(read(client, 1).await, (vec![vec![number]], Some(relay.address())));
    }

    // Whoever else finds a client's socket is not its server.
    socket().await.send_to(b"forged", flows[0]).await.unwrap();
    server.send_to(b"real", flows[0]).await.unwrap();
    assert_eq!(read(&clients[0], 1).await.0, [b"real"]);
}

#[tokio::test]
async fn a_delay_is_kept() {
    let server = socket().await;
    let delay = Duration::from_millis(50);
    let link = LinkConfig { delay: delay..delay, ..LinkConfig::default() };
    let config = RelayConfig::new(server.local_addr().unwrap(), link, 1);
    let relay = relay::start(config).await.unwrap();
    let client = socket().await;
    let began = std::time::Instant::now();
    for number in 0..3_u8 {
        client.send_to(&[number], relay.address()).await.unwrap();
    }
    assert_eq!(read(&server, 3).await.0, [[0], [1], [2]]);
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn clients_beyond_the_bound_are_turned_away_until_others_idle() {
    let server = socket().await;
    let config = RelayConfig {
        max_clients: 2,
        idle: Duration::from_secs(1),
        ..RelayConfig::new(server.local_addr().unwrap(), LinkConfig::default(), 1)
    };
    let mut relay = relay::start(config).await.unwrap();
    let clients = [socket().await, socket().await, socket().await];
    for client in &clients {
        client.send_to(b"hello", relay.address()).await.unwrap();
    }
    let counts = relay.wait_until(|counts| counts.turned_away == 1).await;
    assert_eq!((counts.clients, counts.to_server.sent), (2, 2));

    let comes_in = async {
        while relay.counts().clients == 2 {
            clients[2].send_to(b"again", relay.address()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, comes_in).await.expect("idle clients make room");
}

#[tokio::test]
async fn a_relay_that_cannot_be_says_why() {
    let server = "127.0.0.1:9".parse().unwrap();
    let bad = LinkConfig { loss: 1.5, ..LinkConfig::default() };
    let refused = relay::start(RelayConfig::new(server, bad, 1)).await.unwrap_err();
    let rate = LinkConfigError::Rate { name: "loss", rate: 1.5 };
    assert!(matches!(refused, RelayError::Link(error) if error == rate));

    let holder = socket().await;
    let listen = holder.local_addr().unwrap();
    let config = RelayConfig { listen, ..RelayConfig::new(server, LinkConfig::default(), 1) };
    let refused = relay::start(config).await.unwrap_err();
    assert!(matches!(refused, RelayError::Listen { address, .. } if address == listen));

    for nowhere in ["0.0.0.0:9", "127.0.0.1:0"] {
        let nowhere = nowhere.parse().unwrap();
        let config = RelayConfig::new(nowhere, LinkConfig::default(), 1);
        let refused = relay::start(config).await.unwrap_err();
        assert!(matches!(refused, RelayError::To(address) if address == nowhere));
    }
}

#[test]
fn the_command_says_where_it_listens_and_what_it_did() {
    let mut relay = Running::start(&["--to", "127.0.0.1:9", "--loss", "1", "--seed", "42"]);
    let address: SocketAddr = relay.line().strip_prefix("listening on ").unwrap().parse().unwrap();
    assert_eq!(relay.line(), "relaying to 127.0.0.1:9 with the seed 42");
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"lost", address).unwrap();

    relay.interrupt();
    let mut rest = String::new();
    relay.output.read_to_string(&mut rest).unwrap();
    assert!(relay.child.wait().unwrap().success());
    let lines: Vec<&str> = rest.lines().collect();
    // Whether it read the datagram before the signal is not known.
    assert!(lines[0].starts_with("to the server: "), "{rest}");
    assert!(lines[0].ends_with(" 0 corrupted, 0 sent on"), "{rest}");
    assert!(lines[1].starts_with("to clients: 0 came, 0 lost"), "{rest}");
    assert!(lines[2].ends_with("0 datagrams without room, 0 not sent"), "{rest}");
}

#[test]
fn the_command_refuses_bad_rates_and_taken_ports_in_plain_words() {
    for (option, value) in
        [("--loss", "30"), ("--dup", "-1"), ("--reorder", "NaN"), ("--corrupt", "x")]
    {
        let value = format!("{option}={value}");
        let refused = run(&["--listen", "127.0.0.1:0", "--to", "127.0.0.1:9", &value]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(option), "{said}");
        assert!(said.contains("a rate is a number from 0 to 1 (30 % is 0.3)"), "{said}");
    }

    let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let refused = run(&["--listen", &taken, "--to", "127.0.0.1:9"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.starts_with(&format!("error: cannot listen on {taken}: Address already in use")));
}

/// The command at work; it ends with the test.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn interrupt(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.unwrap(), rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossy-link"));
    command.args(arguments);
    command
}
