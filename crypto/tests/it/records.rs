//! Records: what opens, what does not, and when keys change.
//!
//! [`crate::raw`] plays the peer who holds the keys but not to the rules.

mod key_update;
mod rules;

use std::time::{Duration, Instant};

use bailiwick_crypto::record::{MAX_CONTENT, MAX_RECORD, OVERHEAD};
use bailiwick_crypto::{Alert, Opened, RecordError, RecordLimits, Records, initiator, responder};
use proptest::prelude::*;

use crate::raw::{Peer, Traffic};
use crate::support::{
    SIDE_I, SIDE_R, connect, entropy, initiator_config, responder_config, server,
};

#[test]
fn what_one_end_seals_the_other_opens_in_both_directions() {
    let (mut alice, mut server, now) = pair();
    for len in [0, 1, 15, 16, 17, 64, 1_200, MAX_CONTENT] {
        let mut content = vec![0x2a; len];
        let mut asked = data(&mut alice, &content, now);
        assert_eq!(asked.len(), len + OVERHEAD);
        assert_eq!(Records::record_len(&asked), Ok(Some(asked.len())));
        assert_eq!(server.open(&mut asked, now), Ok(Opened::Data(&mut content)));
        let mut answered = data(&mut server, &content, now);
        assert_eq!(alice.open(&mut answered, now), Ok(Opened::Data(&mut content)));
    }
}

#[test]
fn records_are_appended_and_what_stood_before_stays() {
    let (mut alice, mut server, now) = pair();
    let mut wire = b"before".to_vec();
    alice.seal_data(b"one", now, &mut wire).unwrap();
    let end = wire.len();
    alice.seal_data(b"two", now, &mut wire).unwrap();
    assert_eq!(&wire[..6], b"before");
    assert_eq!(server.open(&mut wire[6..end], now), Ok(Opened::Data(&mut b"one".to_owned())));
    assert_eq!(server.open(&mut wire[end..], now), Ok(Opened::Data(&mut b"two".to_owned())));
}

#[test]
fn content_above_16_kib_is_not_sealed_and_wastes_nothing() {
    let (mut alice, mut server, now) = pair();
    let mut wire = Vec::new();
    let refused = alice.seal_data(&vec![0; MAX_CONTENT + 1], now, &mut wire);
    assert_eq!(refused, Err(RecordError::ContentTooLong));
    assert!(wire.is_empty());
    let mut next = data(&mut alice, b"next", now);
    assert!(server.open(&mut next, now).is_ok());
}

#[test]
fn lengths_from_17_to_65552_are_records_and_others_are_not() {
    let judged = |len: u32| Records::record_len(&len.to_be_bytes());
    assert_eq!(judged(17), Ok(Some(21)));
    assert_eq!(judged(65_552), Ok(Some(65_556)));
    for len in [0, 1, 16, 65_553, 1 << 24, u32::MAX] {
        assert_eq!(judged(len), Err(RecordError::BadLength));
    }
    for short in [&[][..], &[0xff], &[0xff; 3]] {
        assert_eq!(Records::record_len(short), Ok(None));
    }
}

#[test]
fn the_longest_record_of_a_peer_opens_and_padding_goes() {
    let mut peer = Raw::server_side();
    let longest = [vec![0x2a; MAX_RECORD - 17], vec![1]].concat();
    assert_eq!(peer.says(&longest), Ok(Heard::Data(vec![0x2a; MAX_RECORD - 17])));
    assert_eq!(peer.says(b"padded\x01\0\0\0"), Ok(Heard::Data(b"padded".to_vec())));
    assert_eq!(
        peer.says(b"ends in zeros\0\0\x01\0"),
        Ok(Heard::Data(b"ends in zeros\0\0".to_vec()))
    );
    assert_eq!(peer.says(b"\x05\0\0\0"), Ok(Heard::Ping));
    let padding = [&b"\x01"[..], &[0; MAX_RECORD - 17]].concat();
    assert_eq!(peer.says(&padding), Ok(Heard::Data(Vec::new())));
}

#[test]
fn every_byte_of_a_record_counts_and_a_flipped_one_ends_both_directions_silently() {
    let (mut alice, _, now) = pair();
    let record = data(&mut alice, b"content", now);
    for at in 0..record.len() {
        for flip in [0x01, 0x80, 0xff] {
            let (_, mut server, now) = pair();
            let mut bad = record.clone();
            bad[at] ^= flip;
            let error = server.open(&mut bad, now).unwrap_err();
            let expected = if at < 4 { RecordError::BadLength } else { RecordError::BadTag };
            assert_eq!(error, expected, "byte {at}");
            ended_silently(&mut server, error, now);
            // Not even the true record is opened any more.
            assert_eq!(server.open(&mut record.clone(), now), Err(RecordError::Closed));
        }
    }
}

#[test]
fn a_record_cut_short_or_extended_does_not_open() {
    let (mut alice, _, now) = pair();
    let record = data(&mut alice, b"content", now);
    for end in 0..record.len() {
        let (_, mut server, now) = pair();
        let error = server.open(&mut record[..end].to_vec(), now).unwrap_err();
        assert_eq!(error, RecordError::BadLength);
        ended_silently(&mut server, error, now);
    }
    let (_, mut server, now) = pair();
    let mut long = [&record[..], &[0]].concat();
    assert_eq!(server.open(&mut long, now), Err(RecordError::BadLength));
}

#[test]
fn replayed_lost_and_reordered_records_all_fail_alike() {
    let (mut alice, _, now) = pair();
    let [one, two, three] = [b"1", b"2", b"3"].map(|content| data(&mut alice, content, now));
    for order in [[&one, &one], [&two, &one], [&one, &three]] {
        let (_, mut server, now) = pair();
        let results = order.map(|record| server.open(&mut record.clone(), now).err());
        assert_eq!(results.into_iter().flatten().next(), Some(RecordError::BadTag));
    }
}

#[test]
fn records_of_the_other_direction_or_another_session_do_not_open() {
    let (mut alice, mut server, now) = pair();
    let mut own = data(&mut alice, b"content", now);
    assert_eq!(alice.open(&mut own.clone(), now), Err(RecordError::BadTag));

    let awaiting = initiator::start(initiator_config(), &mut entropy(0x33));
    let config = responder_config();
    let answering = responder::accept(&config, awaiting.init(), &mut entropy(0x44)).unwrap();
    let (_, mut other) = awaiting.read_resp(answering.resp(), now).unwrap();
    let mut spliced = data(&mut other.records, b"content", now);
    assert_eq!(server.open(&mut spliced, now), Err(RecordError::BadTag));
    assert_eq!(server.open(&mut own, now), Err(RecordError::Closed));
}

#[test]
fn a_stream_that_ends_without_close_is_truncated() {
    let (mut alice, mut server, now) = pair();
    assert_eq!(server.end_of_stream(), Err(RecordError::Truncated));
    server.open(&mut data(&mut alice, b"content", now), now).unwrap();
    assert_eq!(server.end_of_stream(), Err(RecordError::Truncated));
    let mut close = Vec::new();
    alice.seal_close(now, &mut close).unwrap();
    assert_eq!(server.open(&mut close, now), Ok(Opened::Close));
    assert_eq!(server.end_of_stream(), Ok(()));
    assert_eq!(RecordError::Truncated.alert(), None);
}

#[test]
fn nothing_is_sealed_or_opened_beyond_the_hard_stop() {
    let limits = RecordLimits { hard_stop: 4, ..RecordLimits::default() };
    let now = Instant::now();
    let (mut alice, mut server) = connect(limits, now);
    for _ in 0..4 {
        let mut record = data(&mut alice.records, b"content", now);
        assert!(server.records.open(&mut record, now).is_ok());
    }
    let mut wire = Vec::new();
    assert_eq!(alice.records.seal_data(b"5th", now, &mut wire), Err(RecordError::Exhausted));
    assert_eq!(alice.records.seal_close(now, &mut wire), Err(RecordError::Exhausted));
    assert!(wire.is_empty());

    let mut peer = Raw::with(limits);
    for _ in 0..4 {
        assert!(peer.says(b"content\x01").is_ok());
    }
    assert_eq!(peer.says(b"content\x01"), Err(RecordError::Exhausted));
    ended_silently(&mut peer.records, RecordError::Exhausted, now);
}

#[test]
fn the_default_thresholds_are_those_of_the_protocol() {
    assert_eq!(RecordLimits::default().hard_stop, 1 << 60);
    assert_eq!(RecordLimits::default().records, 1 << 24);
    assert_eq!(RecordLimits::default().bytes, 1 << 36);
    assert_eq!(RecordLimits::default().age, Duration::from_secs(900));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_under_the_right_key_reach_a_panic(inner in prop::collection::vec(0..8_u8, 1..40)) {
        let mut peer = Raw::server_side();
        let _ = peer.says(&inner);
        let _ = peer.says(&inner);
        peer.records.poll_transmit(peer.now, &mut Vec::new()).unwrap();
    }

    #[test]
    fn no_bytes_from_the_network_open(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let (_, mut server, now) = pair();
        prop_assert!(server.open(&mut bytes, now).is_err());
    }

    #[test]
    fn a_stream_comes_out_as_it_went_in_however_it_is_cut(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..40),
        threshold in 1..6_u64,
    ) {
        let limits = RecordLimits { records: threshold, ..RecordLimits::default() };
        let now = Instant::now();
        let (mut alice, mut server) = connect(limits, now);
        let (mut received, mut answers) = (Vec::new(), Vec::new());
        for piece in &pieces {
            let mut wire = Vec::new();
            alice.records.seal_data(piece, now, &mut wire).unwrap();
            received.extend(all(&mut server.records, &mut wire, now));
            server.records.poll_transmit(now, &mut answers).unwrap();
            all(&mut alice.records, &mut std::mem::take(&mut answers), now);
        }
        prop_assert_eq!(received, pieces.concat());
    }
}

/// Opens every record of `wire`; the result is their content, joined.
fn all(records: &mut Records, mut wire: &mut [u8], now: Instant) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(len) = Records::record_len(wire).unwrap() {
        let (record, rest) = wire.split_at_mut(len);
        if let Opened::Data(piece) = records.open(record, now).unwrap() {
            content.extend_from_slice(piece);
        }
        wire = rest;
    }
    assert!(wire.is_empty());
    content
}

fn pair() -> (Records, Records, Instant) {
    let now = Instant::now();
    let (alice, server) = connect(RecordLimits::default(), now);
    (alice.records, server.records, now)
}

fn data(records: &mut Records, content: &[u8], now: Instant) -> Vec<u8> {
    let mut wire = Vec::new();
    records.seal_data(content, now, &mut wire).unwrap();
    wire
}

/// After this error, nothing can be sent, not even an alert.
fn ended_silently(records: &mut Records, error: RecordError, now: Instant) {
    assert_eq!(error.alert(), None);
    let mut wire = Vec::new();
    records.poll_transmit(now, &mut wire).unwrap();
    assert_eq!(records.seal_data(b"more", now, &mut wire), Err(RecordError::Closed));
    let alert = records.seal_alert(Alert::ProtocolError, now, &mut wire);
    assert_eq!(alert, Err(RecordError::Closed));
    assert!(wire.is_empty() && records.sending_ended());
}

/// [`Opened`], owned.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Data(Vec<u8>),
    Close,
    Alert(Alert),
    Ping,
    KeyUpdate,
}

/// The server's records, and a client that says what it likes under the right keys.
struct Raw {
    records: Records,
    to_server: Traffic,
    from_server: Traffic,
    now: Instant,
}

impl Raw {
    fn server_side() -> Self {
        Self::with(RecordLimits::default())
    }

    fn with(limits: RecordLimits) -> Self {
        let now = Instant::now();
        let params = [&[0, 5, 0, 16][..], &[0xcc; 16]].concat();
        let client = Peer::honest([0xa1; 32], SIDE_I, params);
        let init = client.init(server().public_key().as_bytes());
        let config = responder::Config { records: limits, ..responder_config() };
        let answering = responder::accept(&config, &init, &mut entropy(SIDE_R)).unwrap();
        let keys = client.fin(client.read_resp(&init, answering.resp()));
        let session = answering.read_fin(&keys.fin, now).unwrap().admit().unwrap();
        Self {
            records: session.records,
            to_server: Traffic::new(keys.ts_i),
            from_server: Traffic::new(keys.ts_r),
            now,
        }
    }

    /// Seals content, type and padding for the server, and has it open the record.
    fn says(&mut self, inner: &[u8]) -> Result<Heard, RecordError> {
        let mut record = self.to_server.seal(inner);
        self.records.open(&mut record, self.now).map(|opened| match opened {
            Opened::Data(content) => Heard::Data(content.to_vec()),
            Opened::Close => Heard::Close,
            Opened::Alert(alert) => Heard::Alert(alert),
            Opened::Ping => Heard::Ping,
            Opened::KeyUpdate => Heard::KeyUpdate,
        })
    }

    /// Says `key_update` and goes on to the next key.
    fn updates_key(&mut self) -> Result<Heard, RecordError> {
        let heard = self.says(&[2]);
        self.to_server = self.to_server.next_epoch();
        heard
    }

    /// All that the server owes, as inner bytes; follows its key updates.
    fn hears(&mut self) -> Vec<Vec<u8>> {
        let mut wire = Vec::new();
        self.records.poll_transmit(self.now, &mut wire).unwrap();
        self.reads(&wire)
    }

    fn reads(&mut self, mut wire: &[u8]) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        while let Some(len) = Records::record_len(wire).unwrap() {
            let (record, rest) = wire.split_at(len);
            let inner = self.from_server.open(record).expect("the server seals in order");
            if inner == [2] {
                self.from_server = self.from_server.next_epoch();
            }
            heard.push(inner);
            wire = rest;
        }
        heard
    }

    /// After this error the server's last word is the alert, once, and nothing else.
    fn ends_with(&mut self, error: RecordError, alert: Alert) {
        assert_eq!(error.alert(), Some(alert));
        let mut wire = Vec::new();
        let sealed = self.records.seal_data(b"more", self.now, &mut wire);
        assert_eq!((sealed, wire.len()), (Err(RecordError::Closed), 0));
        assert_eq!(self.hears(), [[alert.code(), 4]]);
        assert!(self.hears().is_empty() && self.records.sending_ended());
        assert_eq!(self.says(b"more\x01"), Err(RecordError::Closed));
    }
}
