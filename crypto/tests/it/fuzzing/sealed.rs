//! Records and packets from a peer who holds the traffic keys and keeps no rule, among bytes of
//! somebody who holds none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_crypto::record::MAX_CONTENT;
use bailiwick_crypto::{Opened, Packets, RecordLimits, Records, responder};

use super::super::raw::{Exchange, Peer, Traffic};
use super::super::support::{self, SIDE_I, SIDE_R, entropy};
use super::Reader;

/// Keys change after so many records or packets, so that a short input sees it.
const LIMITS: u64 = 8;

const PARAMS: [u8; 20] = *b"\x00\x05\x00\x10incarnation 1234";

fn alice(transport: &'static str) -> Peer {
    Peer { transport, ..Peer::honest([0xa1; 32], SIDE_I, PARAMS.to_vec()) }
}

fn server_key() -> [u8; 32] {
    *support::server().public_key().as_bytes()
}

fn limits() -> RecordLimits {
    RecordLimits { records: LIMITS, ..RecordLimits::default() }
}

/// A server's session on a stream, and its client's keys.
fn stream(now: Instant) -> (Records, Exchange) {
    let alice = alice("tcp");
    let init = alice.init(&server_key());
    let config = responder::Config { records: limits(), ..support::responder_config() };
    let server = responder::accept(&config, &init, &mut entropy(SIDE_R)).expect("INIT is honest");
    let keys = alice.fin(alice.read_resp(&init, server.resp()));
    let server = server.read_fin(&keys.fin, now).expect("FIN is honest");
    (server.admit().expect("the parameters are sound").records, keys)
}

/// The same over datagrams.
fn datagrams(now: Instant) -> (Packets, Exchange) {
    let alice = alice("udp");
    let init = alice.datagram_init(&server_key(), &[]);
    let config = responder::Config { records: limits(), ..support::datagram_responder() };
    let mut server =
        responder::accept(&config, &init, &mut entropy(SIDE_R)).expect("INIT is honest");
    let keys = alice.fin(alice.read_resp(&init, server.resp()));
    let server = server.handle_fin(&keys.fin, now).expect("FIN is honest");
    (server.admit().expect("the parameters are sound").packets, keys)
}

/// Content and type of an inner plaintext: what stands before its zeros.
fn split(inner: &[u8]) -> Option<(&[u8], u8)> {
    let at = inner.iter().rposition(|byte| *byte != 0)?;
    Some((&inner[..at], inner[at]))
}

/// Records at a server, in order, some of them not its client's.
pub(crate) fn record(input: &[u8]) {
    let mut reader = Reader(input);
    let mut now = Instant::now();
    let (mut server, keys) = stream(now);
    let mut client = Traffic::new(keys.ts_i);
    let mut answers = Traffic::new(keys.ts_r);
    let (mut before, mut wire) = (Vec::new(), Vec::new());
    let mut is_broken = false;
    while !reader.is_empty() {
        match reader.byte() % 8 {
            0..=2 => {
                let inner = reader.bytes();
                let mut record = client.seal(inner);
                before.clone_from(&record);
                is_broken |= is_refused(&mut server, &mut record, inner, is_broken, now);
                if split(inner) == Some((b"", 2)) {
                    client = client.next_epoch();
                }
            }
            3 => {
                let mut record = reader.bytes().to_vec();
                let _ = Records::record_len(&record);
                let opened = server.open(&mut record, now);
                assert!(opened.is_err(), "bytes that nobody sealed open");
                is_broken = true;
            }
            4 => {
                assert!(server.open(&mut before, now).is_err(), "a record opens twice");
                is_broken = true;
            }
            5 => {
                let content = reader.bytes();
                let sealed = server.seal_data(content, now, &mut wire);
                assert!(content.len() <= MAX_CONTENT || sealed.is_err());
            }
            6 => now += Duration::from_secs(reader.byte().into()),
            _ => {
                let _ = match reader.byte() % 3 {
                    0 => server.seal_close(now, &mut wire),
                    1 => server.seal_ping(now, &mut wire),
                    _ => server.poll_transmit(now, &mut wire),
                };
            }
        }
        read_all(&mut wire, &mut answers);
    }
}

/// Opens a record around `inner`; whether the connection has ended by it.
fn is_refused(
    server: &mut Records,
    record: &mut [u8],
    inner: &[u8],
    was_broken: bool,
    now: Instant,
) -> bool {
    let had_ended = server.peer_ended();
    let split = split(inner);
    match server.open(record, now) {
        Ok(opened) => {
            assert!(!was_broken && !had_ended, "a record opens after the end");
            let (content, kind) = split.expect("padding only has no type");
            match opened {
                Opened::Data(opened) => assert_eq!((&*opened, kind), (content, 1)),
                Opened::KeyUpdate => assert_eq!((content, kind), (&b""[..], 2)),
                Opened::Close => assert_eq!((content, kind), (&b""[..], 3)),
                Opened::Alert(_) => assert_eq!((content.len(), kind), (1, 4)),
                Opened::Ping => assert_eq!((content, kind), (&b""[..], 5)),
            }
            false
        }
        Err(_) => true,
    }
}

/// What the server sealed opens, record for record.
fn read_all(wire: &mut Vec<u8>, answers: &mut Traffic) {
    let mut rest = &wire[..];
    while let Some(length) = rest.first_chunk::<4>() {
        let (record, behind) = rest.split_at(4 + u32::from_be_bytes(*length) as usize);
        let inner = answers.open(record).expect("a record opens under its key");
        if split(&inner) == Some((b"", 2)) {
            *answers = answers.next_epoch();
        }
        rest = behind;
    }
    wire.clear();
}

/// Packets at a server, in any order, some of them not its client's.
pub(crate) fn packet(input: &[u8]) {
    const EPOCHS: usize = 4;
    let mut reader = Reader(input);
    let mut now = Instant::now();
    let (mut server, keys) = datagrams(now);
    let mut epochs = vec![Traffic::new(keys.ts_i)];
    while epochs.len() < EPOCHS {
        epochs.push(epochs[epochs.len() - 1].next_epoch());
    }
    let (mut opened, mut sent) = (BTreeMap::new(), Vec::new());
    while !reader.is_empty() {
        match reader.byte() % 8 {
            operation @ 0..=3 => {
                let epoch = usize::from(reader.byte()) % EPOCHS;
                let number = number(&mut reader);
                let inner = reader.bytes();
                let bits = u8::try_from(epoch).expect("few") ^ if operation == 3 { 1 } else { 0 };
                let packet = epochs[epoch].packet(bits, &server.local_id(), number, inner);
                let packet = Sent { packet, epoch, inner };
                if ends(&mut server, &packet, &mut opened, now) {
                    return;
                }
                sent.push(packet);
            }
            4 => {
                let mut packet = reader.bytes().to_vec();
                assert!(server.open(&mut packet, now).is_err(), "bytes that nobody sealed open");
            }
            5 if !sent.is_empty() => {
                let packet = &sent[usize::from(reader.byte()) % sent.len()];
                if ends(&mut server, packet, &mut opened, now) {
                    return;
                }
            }
            6 => now += Duration::from_millis(reader.short().into()),
            _ => {
                let mut out = Vec::new();
                let content = reader.bytes();
                let kind = bailiwick_crypto::PacketType::Data;
                let _ = server.seal(kind, content, reader.short().into(), now, &mut out);
            }
        }
    }
}

/// A packet, the epoch of its key, and what it is sealed around.
struct Sent<'a> {
    packet: Vec<u8>,
    epoch: usize,
    inner: &'a [u8],
}

/// Hands a packet to the server: it must not open twice, opens as it was sealed, and has a higher
/// number than all of older epochs. `opened` has the epochs by number. Whether the connection has
/// ended by it.
fn ends(
    server: &mut Packets,
    sent: &Sent<'_>,
    opened: &mut BTreeMap<u64, usize>,
    now: Instant,
) -> bool {
    let mut datagram = sent.packet.clone();
    let packet = match server.open(&mut datagram, now) {
        Ok(packet) => packet,
        Err(error) => return error.ends_connection(),
    };
    let number = packet.number;
    assert_eq!(opened.insert(number, sent.epoch), None, "packet {number} opens twice");
    assert_eq!(packet.is_highest, opened.range(number..).nth(1).is_none());
    assert!(opened.values().is_sorted(), "packet {number} opens under epoch {}", sent.epoch);
    let split = split(sent.inner).expect("padding only has no type");
    assert_eq!((&*packet.content, packet.kind as u8), split);
    false
}

/// A packet number: one of few, or at an edge of what is accepted.
fn number(reader: &mut Reader<'_>) -> u64 {
    match reader.byte() {
        few @ 0..=191 => few.into(),
        // Around the window, and beyond it.
        far @ 192..=239 => (u64::from(far) - 192) * 128 + u64::from(reader.byte()),
        high => (1 << (60 - (u64::from(high) - 240))) + u64::from(reader.byte()) - 128,
    }
}
