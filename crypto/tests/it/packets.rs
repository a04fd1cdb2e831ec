//! Packets on datagrams: each opens at most once, and what does not open changes nothing.

mod epochs;
mod lossy;
mod rules;

use std::time::{Duration, Instant};

use bailiwick_crypto::packet::{HEADER, MAX_PACKET, OVERHEAD};
use bailiwick_crypto::{ConnectionId, PacketError, PacketType, Packets, RecordLimits, responder};

use crate::raw::{Peer, Traffic};
use crate::support::{SIDE_I, SIDE_R, connect_datagrams, datagram_responder, entropy, server};

#[test]
fn packets_of_both_sides_open_in_any_order_and_once() {
    let (mut alice, mut server, now) = pair();
    let sent: Vec<_> = (0..10).map(|n| data(&mut alice, &[n], now)).collect();
    for at in [3, 0, 9, 1, 2, 8, 7, 4, 6, 5] {
        let heard = opened(&mut server, &sent[at], now).unwrap();
        assert_eq!(
            heard,
            Heard { kind: PacketType::Data, content: vec![u8::try_from(at).unwrap()] }
        );
    }
    for packet in &sent {
        assert_eq!(opened(&mut server, packet, now), Err(PacketError::Replayed));
    }
    let back = data(&mut server, b"back", now);
    assert_eq!(opened(&mut alice, &back, now).unwrap().content, b"back");
}

#[test]
fn only_the_highest_number_so_far_may_tell_a_new_address() {
    let (mut alice, mut server, now) = pair();
    let mut sent: Vec<_> = (0..4).map(|n| data(&mut alice, &[n], now)).collect();
    for (at, highest) in [(0, true), (2, true), (1, false), (3, true)] {
        let opened = server.open(&mut sent[at], now).unwrap();
        assert_eq!((opened.number, opened.is_highest), (u64::try_from(at).unwrap(), highest));
    }
}

#[test]
fn every_byte_of_a_packet_counts_and_the_honest_one_still_opens() {
    let (mut alice, mut server, now) = pair();
    let first = data(&mut alice, b"first", now);
    opened(&mut server, &first, now).unwrap();
    let packet = data(&mut alice, b"content", now);
    for at in 0..packet.len() {
        for flip in [0x01, 0x10, 0x20, 0x80, 0xff] {
            let mut forged = packet.clone();
            forged[at] ^= flip;
            let error = opened(&mut server, &forged, now).unwrap_err();
            match (at, flip) {
                // The epoch's bits: another key, or none.
                (0, 0x10 | 0x20) => assert_eq!(error, PacketError::NotAuthentic),
                (0, _) => assert_eq!(error, PacketError::Malformed),
                (1..9, _) => assert_eq!(error, PacketError::NotOurs),
                // The top bits of the number are beyond 2^60; its last bit makes it the first's.
                (9, 0x10 | 0x20 | 0x80 | 0xff) => assert_eq!(error, PacketError::Malformed),
                (16, 0x01) => assert_eq!(error, PacketError::Replayed),
                _ => assert_eq!(error, PacketError::NotAuthentic, "byte {at}, {flip:#x}"),
            }
            assert!(!error.ends_connection());
        }
    }
    let mut packet = packet;
    let opened = server.open(&mut packet, now).unwrap();
    assert!(opened.is_highest, "a forged number was taken for one that came");
    assert_eq!(opened.content, b"content");
}

#[test]
fn packets_cut_short_or_extended_are_refused_and_the_honest_one_still_opens() {
    let (mut alice, mut server, now) = pair();
    let packet = data(&mut alice, b"content", now);
    for end in 0..packet.len() {
        let expected =
            if end < OVERHEAD { PacketError::Malformed } else { PacketError::NotAuthentic };
        assert_eq!(opened(&mut server, &packet[..end], now), Err(expected), "cut to {end}");
    }
    for more in [1, 16, 4_096] {
        let extended = [&packet[..], &vec![0; more]].concat();
        assert_eq!(opened(&mut server, &extended, now), Err(PacketError::NotAuthentic));
    }
    assert_eq!(opened(&mut server, &packet, now).unwrap().content, b"content");
}

#[test]
fn a_packet_sent_back_to_its_sender_does_not_open() {
    let (mut alice, _, now) = pair();
    let mut packet = data(&mut alice, b"reflected", now);
    assert_eq!(opened(&mut alice, &packet, now), Err(PacketError::NotOurs));
    packet[1..9].copy_from_slice(&alice.local_id());
    assert_eq!(opened(&mut alice, &packet, now), Err(PacketError::NotAuthentic));
}

#[test]
fn the_ids_are_each_others_own() {
    let (alice, server, _) = pair();
    assert_eq!((alice.local_id(), alice.remote_id()), ([SIDE_I; 8], [SIDE_R; 8]));
    assert_eq!((server.local_id(), server.remote_id()), ([SIDE_R; 8], [SIDE_I; 8]));
}

#[test]
fn padding_fills_a_packet_up_and_is_not_content() {
    let (mut alice, mut server, now) = pair();
    for (pad_to, len) in [(0, OVERHEAD + 3), (OVERHEAD + 3, OVERHEAD + 3), (1_200, 1_200)] {
        let mut packet = Vec::new();
        alice.seal(PacketType::Data, b"\0x\0", pad_to, now, &mut packet).unwrap();
        assert_eq!(packet.len(), len);
        assert_eq!(opened(&mut server, &packet, now).unwrap().content, b"\0x\0");
    }
}

#[test]
fn packets_follow_each_other_in_one_buffer() {
    let (mut alice, mut server, now) = pair();
    let mut out = data(&mut alice, b"one", now);
    let first = out.len();
    assert_eq!(alice.seal(PacketType::Ping, b"", 0, now, &mut out), Ok(1));
    assert_eq!(opened(&mut server, &out[..first], now).unwrap().content, b"one");
    assert_eq!(opened(&mut server, &out[first..], now).unwrap().kind, PacketType::Ping);
}

#[test]
fn a_packet_takes_what_a_datagram_takes_and_no_byte_more() {
    let (mut alice, mut server, now) = pair();
    let mut packet = Vec::new();
    let most = vec![7; MAX_PACKET - OVERHEAD];
    assert_eq!(alice.seal(PacketType::Data, &most, 0, now, &mut packet), Ok(0));
    assert_eq!(packet.len(), MAX_PACKET);
    assert_eq!(opened(&mut server, &packet, now).unwrap().content, most);

    let mut none = Vec::new();
    let over = [&most[..], &[7]].concat();
    let refused = alice.seal(PacketType::Data, &over, 0, now, &mut none);
    assert_eq!(refused, Err(PacketError::ContentTooLong));
    let refused = alice.seal(PacketType::Ping, b"", MAX_PACKET + 1, now, &mut none);
    assert_eq!(refused, Err(PacketError::ContentTooLong));
    assert!(none.is_empty());
    assert_eq!(alice.seal(PacketType::Ping, b"", 0, now, &mut none), Ok(1));
}

#[test]
fn nothing_that_is_printed_of_packets_holds_a_key() {
    let now = Instant::now();
    let (alice, _) = connect_datagrams(RecordLimits::default(), now);
    let printed = format!("{alice:?}");
    assert!(printed.contains("Packets { local_id") && !printed.contains("secret"), "{printed}");
    assert!(printed.matches("..").count() >= 2, "{printed}");
}

#[test]
fn an_idle_connection_keeps_little_more_than_its_keys_and_window() {
    let window = 8 * (1_024 / 64 + 1);
    let size = size_of::<Packets>() + window;
    assert!(size <= 1_024, "{size} bytes");
}

fn pair() -> (Packets, Packets, Instant) {
    pair_with(|_| ())
}

fn pair_with(change: impl FnOnce(&mut RecordLimits)) -> (Packets, Packets, Instant) {
    let now = Instant::now();
    let mut limits = RecordLimits::default();
    change(&mut limits);
    let (alice, server) = connect_datagrams(limits, now);
    (alice.packets, server.packets, now)
}

fn data(packets: &mut Packets, content: &[u8], now: Instant) -> Vec<u8> {
    let mut out = Vec::new();
    packets.seal(PacketType::Data, content, 0, now, &mut out).unwrap();
    out
}

/// What a packet held, owned.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    kind: PacketType,
    content: Vec<u8>,
}

fn opened(packets: &mut Packets, packet: &[u8], now: Instant) -> Result<Heard, PacketError> {
    let mut packet = packet.to_vec();
    let opened = packets.open(&mut packet, now)?;
    Ok(Heard { kind: opened.kind, content: opened.content.to_vec() })
}

/// The epoch that a packet names, modulo 4.
fn epoch(packet: &[u8]) -> u8 {
    packet[0] >> 4 & 3
}

/// The server's packets, and a client that says what it likes under the right keys.
struct Raw {
    packets: Packets,
    /// The client's sending keys of epochs 0 to 3.
    to_server: [Traffic; 4],
    from_server: [Traffic; 4],
    id: ConnectionId,
    now: Instant,
}

impl Raw {
    fn new() -> Self {
        Self::with(RecordLimits::default())
    }

    fn with(limits: RecordLimits) -> Self {
        let now = Instant::now();
        let params = [&[0, 5, 0, 16][..], &[0xcc; 16]].concat();
        let client = Peer { transport: "udp", ..Peer::honest([0xa1; 32], SIDE_I, params) };
        let init = client.datagram_init(server().public_key().as_bytes(), &[]);
        let config = responder::Config { records: limits, ..datagram_responder() };
        let mut answering = responder::accept(&config, &init, &mut entropy(SIDE_R)).unwrap();
        let keys = client.fin(client.read_resp(&init, answering.resp()));
        let session = answering.handle_fin(&keys.fin, now).unwrap().admit().unwrap();
        Self {
            id: session.packets.local_id(),
            packets: session.packets,
            to_server: epochs_of(Traffic::new(keys.ts_i)),
            from_server: epochs_of(Traffic::new(keys.ts_r)),
            now,
        }
    }

    /// Seals content, type and padding under an epoch and a number, and has the server open it.
    fn says(&mut self, epoch: u8, number: u64, inner: &[u8]) -> Result<Heard, PacketError> {
        let traffic = &self.to_server[usize::from(epoch)];
        let packet = traffic.packet(epoch, &self.id, number, inner);
        opened(&mut self.packets, &packet, self.now)
    }

    /// A data packet of this epoch and number, and what becomes of it.
    fn data(&mut self, epoch: u8, number: u64) -> Result<(), PacketError> {
        self.says(epoch, number, b"x\x01").map(|_| ())
    }

    /// The epoch and number of the server's next packet; it opens under that epoch's key.
    fn hears(&mut self) -> (u8, u64) {
        let packet = data(&mut self.packets, b"y", self.now);
        let epoch = epoch(&packet);
        let (number, inner) = self.from_server[usize::from(epoch)].open_packet(&packet).unwrap();
        assert_eq!(inner, b"y\x01");
        assert_eq!(packet.len(), HEADER + inner.len() + 16);
        (epoch, number)
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
    }
}

fn epochs_of(first: Traffic) -> [Traffic; 4] {
    let second = first.next_epoch();
    let third = second.next_epoch();
    let fourth = third.next_epoch();
    [first, second, third, fourth]
}
