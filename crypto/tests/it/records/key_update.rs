//! Key updates: when they come, who answers, and how many are too many.

use std::time::{Duration, Instant};

use bailiwick_crypto::record::Flood;
use bailiwick_crypto::{Alert, Opened, RecordError, RecordLimits, Records};

use super::{Heard, Raw, all, data};
use crate::support::connect;

const FOUR: u64 = 4;

#[test]
fn the_key_changes_after_the_configured_records_and_the_answer_comes_at_once() {
    let (mut alice, mut server, now) = with(|limits| limits.records = FOUR);
    for _ in 0..FOUR {
        let mut record = data(&mut alice, b"old key", now);
        assert!(matches!(server.open(&mut record, now), Ok(Opened::Data(_))));
    }
    let wire = data(&mut alice, b"new key", now);
    let kinds = kinds(&mut server, &wire, now);
    assert_eq!(kinds, ["key_update", "data"]);

    let mut answer = Vec::new();
    server.poll_transmit(now, &mut answer).unwrap();
    assert_eq!(alice.open(&mut answer, now), Ok(Opened::KeyUpdate));
    // An answer is not answered.
    let mut none = Vec::new();
    alice.poll_transmit(now, &mut none).unwrap();
    server.poll_transmit(now, &mut none).unwrap();
    assert!(none.is_empty());
    assert_eq!(all(&mut alice, &mut data(&mut server, b"also new", now), now), b"also new");
}

#[test]
fn an_owed_answer_precedes_whatever_is_sealed_next() {
    let (mut alice, mut server, now) = with(|limits| limits.records = FOUR);
    for _ in 0..=FOUR {
        all(&mut server, &mut data(&mut alice, b"x", now), now);
    }
    let wire = data(&mut server, b"reply", now);
    assert_eq!(kinds(&mut alice, &wire, now), ["key_update", "data"]);
}

#[test]
fn the_key_changes_after_the_configured_bytes() {
    // Two records of 40 bytes without their headers.
    let (mut alice, mut server, now) = with(|limits| limits.bytes = 80);
    let content = [7; 40 - 17];
    for expected in [&["data"][..], &["data"], &["key_update", "data"], &["data"]] {
        let wire = data(&mut alice, &content, now);
        assert_eq!(kinds(&mut server, &wire, now), expected);
    }
}

#[test]
fn the_key_changes_after_15_minutes() {
    let (mut alice, mut server, now) = with(|_| ());
    let later = now + Duration::from_secs(15 * 60);
    let wire = data(&mut alice, b"young", later - Duration::from_millis(1));
    assert_eq!(kinds(&mut server, &wire, now), ["data"]);
    let wire = data(&mut alice, b"old", later);
    assert_eq!(kinds(&mut server, &wire, later), ["key_update", "data"]);
    // The clock may repeat or go back: nothing is due then.
    let wire = data(&mut alice, b"young again", now);
    assert_eq!(kinds(&mut server, &wire, later), ["data"]);
}

#[test]
fn a_side_that_is_ahead_waits_for_the_answer_up_to_the_hard_stop() {
    let (mut alice, mut server, now) = with(|limits| {
        limits.records = FOUR;
        limits.hard_stop = 10;
    });
    let mut unheard = Vec::new();
    // 4 data and the update, then 10 under the second key, for which no answer has come.
    for _ in 0..FOUR + 10 {
        alice.seal_data(b"x", now, &mut unheard).unwrap();
    }
    let kinds = kinds(&mut server, &unheard, now);
    assert_eq!(kinds.iter().filter(|kind| **kind == "key_update").count(), 1);
    assert_eq!(kinds.len(), 15);
    let refused = alice.seal_data(b"x", now, &mut Vec::new());
    assert_eq!(refused, Err(RecordError::Exhausted));
}

#[test]
fn the_answer_lets_a_side_change_its_key_again() {
    let (mut alice, mut server, now) = with(|limits| limits.records = FOUR);
    let mut updates = 0;
    for _ in 0..40 {
        let wire = data(&mut alice, b"x", now);
        let heard = kinds(&mut server, &wire, now);
        updates += heard.iter().filter(|kind| **kind == "key_update").count();
        let mut answer = Vec::new();
        server.poll_transmit(now, &mut answer).unwrap();
        all(&mut alice, &mut answer, now);
    }
    assert_eq!(updates, 9);
}

#[test]
fn once_the_peer_has_closed_a_side_changes_its_key_without_waiting() {
    let (mut alice, mut server, now) = with(|limits| limits.records = FOUR);
    let mut close = Vec::new();
    server.seal_close(now, &mut close).unwrap();
    alice.open(&mut close, now).unwrap();
    let mut wire = Vec::new();
    for _ in 0..40 {
        alice.seal_data(b"x", now, &mut wire).unwrap();
    }
    let heard = kinds(&mut server, &wire, now);
    assert_eq!(heard.iter().filter(|kind| **kind == "key_update").count(), 9);
    // After its own close the server does not answer.
    let mut none = Vec::new();
    server.poll_transmit(now, &mut none).unwrap();
    assert!(none.is_empty());
}

#[test]
fn the_32nd_update_that_answers_none_is_refused_although_each_was_answered() {
    let mut peer = Raw::server_side();
    for _ in 0..31 {
        assert_eq!(peer.updates_key(), Ok(Heard::KeyUpdate));
        assert_eq!(peer.hears(), [[2]]);
        // Neither a ping nor an empty record is data.
        assert!(peer.says(&[5]).is_ok());
        assert!(peer.says(&[1]).is_ok());
    }
    let error = peer.updates_key().unwrap_err();
    assert_eq!(error, RecordError::LimitExceeded(Flood::KeyUpdates));
    peer.ends_with(error, Alert::LimitExceeded);
}

#[test]
fn updates_in_a_row_are_answered_by_as_many_and_the_32nd_is_refused() {
    let mut peer = Raw::server_side();
    for _ in 0..31 {
        assert_eq!(peer.updates_key(), Ok(Heard::KeyUpdate));
    }
    assert_eq!(peer.hears(), vec![vec![2]; 31]);
    assert!(peer.updates_key().is_err());
}

#[test]
fn data_between_updates_starts_their_count_anew() {
    let mut peer = Raw::server_side();
    for _ in 0..100 {
        assert_eq!(peer.updates_key(), Ok(Heard::KeyUpdate));
        peer.hears();
        assert!(peer.says(b"x\x01").is_ok());
    }
}

#[test]
fn updates_that_answer_ours_are_not_counted() {
    let mut peer = Raw::with(RecordLimits { records: 1, ..RecordLimits::default() });
    for _ in 0..100 {
        let mut wire = Vec::new();
        peer.records.seal_ping(peer.now, &mut wire).unwrap();
        let updated = peer.reads(&wire).contains(&vec![2]);
        if updated {
            assert_eq!(peer.updates_key(), Ok(Heard::KeyUpdate));
        }
    }
}

#[test]
fn a_record_under_the_old_key_behind_its_update_does_not_open() {
    let mut peer = Raw::server_side();
    assert_eq!(peer.says(&[2]), Ok(Heard::KeyUpdate));
    assert_eq!(peer.says(b"old key\x01"), Err(RecordError::BadTag));
}

#[test]
fn records_under_the_next_key_without_its_update_do_not_open() {
    let mut peer = Raw::server_side();
    peer.to_server = peer.to_server.next_epoch();
    assert_eq!(peer.says(b"next key\x01"), Err(RecordError::BadTag));
}

fn with(change: impl FnOnce(&mut RecordLimits)) -> (Records, Records, Instant) {
    let mut limits = RecordLimits::default();
    change(&mut limits);
    let now = Instant::now();
    let (alice, server) = connect(limits, now);
    (alice.records, server.records, now)
}

fn kinds(records: &mut Records, wire: &[u8], now: Instant) -> Vec<&'static str> {
    let mut wire = wire.to_vec();
    let (mut rest, mut kinds) = (&mut wire[..], Vec::new());
    while let Some(len) = Records::record_len(rest).unwrap() {
        let (record, behind) = rest.split_at_mut(len);
        kinds.push(match records.open(record, now).unwrap() {
            Opened::Data(_) => "data",
            Opened::KeyUpdate => "key_update",
            Opened::Ping => "ping",
            Opened::Close => "close",
            Opened::Alert(_) => "alert",
        });
        rest = behind;
    }
    kinds
}
