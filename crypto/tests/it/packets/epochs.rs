//! Key epochs: who starts one, who follows, and which key opens which numbers.

use std::time::Duration;

use bailiwick_crypto::{PacketError, PacketType, Packets};

use super::{Raw, data, epoch, opened, pair_with};

const FOUR: u64 = 4;

#[test]
fn the_initiator_starts_an_epoch_after_the_configured_packets_and_the_responder_follows() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.records = FOUR);
    heard_once(&mut alice, &mut server, now);
    for round in 0..9 {
        for _ in 0..FOUR {
            let packet = data(&mut alice, b"x", now);
            assert_eq!(epoch(&packet), round % 4);
            opened(&mut server, &packet, now).unwrap();
        }
        let answer = data(&mut server, b"followed", now);
        assert_eq!(epoch(&answer), round % 4);
        opened(&mut alice, &answer, now).unwrap();
    }
}

#[test]
fn what_was_received_counts_as_what_was_sent() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.records = FOUR);
    for _ in 1..FOUR {
        let packet = data(&mut server, b"x", now);
        opened(&mut alice, &packet, now).unwrap();
    }
    assert_eq!(epoch(&data(&mut alice, b"x", now)), 0);
    let packet = data(&mut server, b"x", now);
    opened(&mut alice, &packet, now).unwrap();
    let packet = data(&mut alice, b"x", now);
    assert_eq!(epoch(&packet), 1);
    // Each key is counted by itself.
    return_to(&mut alice, &mut server, &packet, now);
    assert_eq!(epoch(&data(&mut alice, b"x", now)), 1);
}

#[test]
fn the_bytes_of_whole_packets_count_in_either_direction() {
    // Two packets of 50 bytes.
    let content = [7; 50 - 34];
    for bytes in [100, 101] {
        let (mut alice, mut server, now) = pair_with(|limits| limits.bytes = bytes);
        heard_once(&mut alice, &mut server, now);
        data(&mut alice, &content, now);
        assert_eq!(epoch(&data(&mut alice, &content, now)), 0);
        assert_eq!(epoch(&data(&mut alice, b"", now)), u8::from(bytes == 100));
    }
    let (mut alice, mut server, now) = pair_with(|limits| limits.bytes = 100);
    for expected in [0, 1] {
        let packet = data(&mut server, &content, now);
        opened(&mut alice, &packet, now).unwrap();
        assert_eq!(epoch(&data(&mut alice, b"", now)), expected);
    }
}

#[test]
fn an_epoch_lasts_15_minutes_at_most() {
    let (mut alice, mut server, now) = pair_with(|_| ());
    heard_once(&mut alice, &mut server, now);
    let later = now + Duration::from_secs(15 * 60);
    assert_eq!(epoch(&data(&mut alice, b"x", later - Duration::from_millis(1))), 0);
    let packet = data(&mut alice, b"x", later);
    assert_eq!(epoch(&packet), 1);
    return_to(&mut alice, &mut server, &packet, later);
    // The clock may go back: nothing is due then.
    assert_eq!(epoch(&data(&mut alice, b"x", now)), 1);
    assert_eq!(epoch(&data(&mut alice, b"x", later + Duration::from_secs(15 * 60))), 2);
}

#[test]
fn only_the_initiator_starts_an_epoch() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.records = FOUR);
    let packet = data(&mut alice, b"x", now);
    opened(&mut server, &packet, now).unwrap();
    for _ in 0..10 * FOUR {
        let packet = data(&mut server, b"x", now + Duration::from_secs(3_600));
        assert_eq!(epoch(&packet), 0);
    }
}

#[test]
fn an_initiator_starts_none_before_it_has_heard_the_responder_in_this_one() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.records = FOUR);
    for _ in 0..10 * FOUR {
        assert_eq!(epoch(&data(&mut alice, b"lost", now)), 0);
    }
    heard_once(&mut alice, &mut server, now);
    for _ in 0..10 * FOUR {
        assert_eq!(epoch(&data(&mut alice, b"lost", now)), 1);
    }
    // The responder speaks on under the old key: that is not this epoch.
    heard_once(&mut alice, &mut server, now);
    let packet = data(&mut alice, b"arrives", now);
    assert_eq!(epoch(&packet), 1);
    return_to(&mut alice, &mut server, &packet, now);
    assert_eq!(epoch(&data(&mut alice, b"x", now)), 2);
}

#[test]
fn a_responder_that_goes_ahead_is_not_heard() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.records = FOUR);
    // The server is led on by a client with the same keys, of which Alice knows nothing.
    let (mut other, ..) = pair_with(|limits| limits.records = 1);
    heard_once(&mut other, &mut server, now);
    for _ in 0..2 {
        let packet = data(&mut other, b"x", now);
        opened(&mut server, &packet, now).unwrap();
    }
    let ahead = data(&mut server, b"ahead", now);
    assert_eq!(epoch(&ahead), 1);
    assert_eq!(opened(&mut alice, &ahead, now), Err(PacketError::NotAuthentic));
    assert_eq!(epoch(&data(&mut alice, b"x", now)), 0);
}

#[test]
fn a_responder_follows_from_its_next_packet_and_never_two_steps() {
    let mut raw = Raw::new();
    assert_eq!(raw.hears(), (0, 0));
    assert_eq!(raw.data(0, 0), Ok(()));
    assert_eq!(raw.data(2, 5), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(3, 5), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(1, 5), Ok(()));
    // The next but one, before the server has said a word in this epoch: no honest client does.
    assert_eq!(raw.data(2, 6), Err(PacketError::NotAuthentic));
    assert_eq!(raw.hears(), (1, 1));
    assert_eq!(raw.data(3, 6), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(2, 6), Ok(()));
    assert_eq!(raw.hears(), (2, 2));
}

#[test]
fn a_forged_packet_of_the_next_epoch_starts_nothing() {
    let mut raw = Raw::new();
    assert_eq!(raw.data(0, 0), Ok(()));
    let mut forged = raw.to_server[1].packet(1, &raw.id, 1, b"x\x01");
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(opened(&mut raw.packets, &forged, raw.now), Err(PacketError::NotAuthentic));
    // The old key under the new epoch's name.
    let named = raw.to_server[0].packet(1, &raw.id, 1, b"x\x01");
    assert_eq!(opened(&mut raw.packets, &named, raw.now), Err(PacketError::NotAuthentic));
    assert_eq!(raw.hears(), (0, 0));
    assert_eq!(raw.data(0, 1), Ok(()));
    assert_eq!(raw.data(1, 2), Ok(()));
}

#[test]
fn a_new_epoch_begins_above_every_number_opened_under_the_old() {
    let mut raw = Raw::new();
    assert_eq!(raw.data(0, 5), Ok(()));
    assert_eq!(raw.data(1, 4), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(1, 3), Err(PacketError::NotAuthentic));
    assert_eq!(raw.hears(), (0, 0));
    assert_eq!(raw.data(0, 4), Ok(()));
    assert_eq!(raw.data(1, 6), Ok(()));
    assert_eq!(raw.hears(), (1, 1));
    // Nor does it go below them later, be they opened before or after it began.
    assert_eq!(raw.data(1, 2), Err(PacketError::NotAuthentic));
}

#[test]
fn the_old_key_opens_only_numbers_below_the_lowest_of_the_new() {
    let mut raw = Raw::new();
    assert_eq!(raw.data(0, 0), Ok(()));
    assert_eq!(raw.data(1, 10), Ok(()));
    assert_eq!(raw.data(0, 11), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(0, 5), Ok(()));
    // The old key has opened 5: the new one opens none below it.
    assert_eq!(raw.data(1, 4), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(1, 8), Ok(()));
    // The new key has opened 8: the old one opens none above it.
    assert_eq!(raw.data(0, 9), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(0, 7), Ok(()));
    assert_eq!(raw.data(1, 6), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(1, 9), Ok(()));
    assert_eq!(raw.data(0, 6), Ok(()));
}

#[test]
fn the_old_key_lives_three_timeouts() {
    let moment = Duration::from_nanos(1);
    for pto in [None, Some(Duration::from_millis(40))] {
        let mut raw = Raw::new();
        if let Some(pto) = pto {
            raw.packets.set_pto(pto);
        }
        let life = 3 * pto.unwrap_or(Duration::from_secs(1));
        raw.passes(Duration::from_secs(60));
        assert_eq!(raw.data(0, 0), Ok(()));
        assert_eq!(raw.data(1, 9), Ok(()));
        raw.passes(life - moment);
        assert_eq!(raw.data(0, 1), Ok(()));
        raw.passes(moment);
        assert_eq!(raw.data(0, 2), Err(PacketError::NotAuthentic));
        // It is gone for good, whatever the clock says.
        raw.now -= life;
        assert_eq!(raw.data(0, 2), Err(PacketError::NotAuthentic));
        assert_eq!(raw.data(1, 10), Ok(()));
    }
}

#[test]
fn the_key_before_the_old_one_is_gone_at_once() {
    let mut raw = Raw::new();
    assert_eq!(raw.data(0, 0), Ok(()));
    assert_eq!(raw.data(1, 10), Ok(()));
    raw.hears();
    assert_eq!(raw.data(2, 20), Ok(()));
    assert_eq!(raw.data(0, 5), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(1, 15), Ok(()));
}

#[test]
fn numbers_go_on_through_a_key_update() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.records = 1);
    heard_once(&mut alice, &mut server, now);
    for expected in 0..20 {
        let mut packet = Vec::new();
        assert_eq!(alice.seal(PacketType::Data, b"x", 0, now, &mut packet), Ok(expected));
        return_to(&mut alice, &mut server, &packet, now);
    }
    let mut packet = Vec::new();
    assert_eq!(server.seal(PacketType::Data, b"x", 0, now, &mut packet), Ok(21));
    assert_eq!(epoch(&packet), 20 % 4, "each packet began an epoch");
}

/// The responder says something, and the initiator hears it.
fn heard_once(alice: &mut Packets, server: &mut Packets, now: std::time::Instant) {
    let packet = data(server, b"heard", now);
    opened(alice, &packet, now).unwrap();
}

/// The packet arrives, and the responder's answer too.
fn return_to(alice: &mut Packets, server: &mut Packets, packet: &[u8], now: std::time::Instant) {
    opened(server, packet, now).unwrap();
    heard_once(alice, server, now);
}
