//! What each type of record may hold, and what it ends.

use bailiwick_crypto::record::{Flood, Violation};
use bailiwick_crypto::{Alert, Opened, RecordError};

use super::{Heard, Raw, data, pair};

#[test]
fn records_without_a_type_or_of_an_unknown_type_are_protocol_errors() {
    for inner in [&[0][..], &[0; 100]] {
        let mut peer = Raw::server_side();
        let error = peer.says(inner).unwrap_err();
        assert_eq!(error, RecordError::Protocol(Violation::NoType));
        peer.ends_with(error, Alert::ProtocolError);
    }
    for kind in 6..=255 {
        let mut peer = Raw::server_side();
        let error = peer.says(&[b'x', kind]).unwrap_err();
        assert_eq!(error, RecordError::Protocol(Violation::UnknownType(kind)));
        peer.ends_with(error, Alert::ProtocolError);
    }
}

#[test]
fn content_that_does_not_fit_its_type_is_a_protocol_error() {
    for inner in [&b"x\x02"[..], b"x\x03", b"x\x05", b"\0\x02", b"\0\x05", b"\x04", b"\x01\x01\x04"]
    {
        let mut peer = Raw::server_side();
        let error = peer.says(inner).unwrap_err();
        assert_eq!(error, RecordError::Protocol(Violation::Content), "{inner:02x?}");
        peer.ends_with(error, Alert::ProtocolError);
    }
}

#[test]
fn the_32nd_empty_data_record_in_a_row_is_refused() {
    let mut peer = Raw::server_side();
    for _ in 0..31 {
        assert_eq!(peer.says(&[1]), Ok(Heard::Data(Vec::new())));
    }
    let error = peer.says(&[1]).unwrap_err();
    assert_eq!(error, RecordError::LimitExceeded(Flood::EmptyRecords));
    peer.ends_with(error, Alert::LimitExceeded);
}

#[test]
fn any_other_record_between_starts_the_count_of_empty_ones_anew() {
    for between in [&b"x\x01"[..], &[5], &[2]] {
        let mut peer = Raw::server_side();
        for _ in 0..3 {
            for _ in 0..31 {
                assert!(peer.says(&[1, 0]).is_ok());
            }
            if between == [2] {
                assert_eq!(peer.updates_key(), Ok(Heard::KeyUpdate));
            } else {
                assert!(peer.says(between).is_ok());
            }
        }
    }
}

#[test]
fn close_ends_its_direction_and_the_other_goes_on() {
    let (mut alice, mut server, now) = pair();
    let mut close = Vec::new();
    alice.seal_close(now, &mut close).unwrap();
    assert!(alice.sending_ended() && !alice.peer_ended());
    let mut more = Vec::new();
    assert_eq!(alice.seal_data(b"more", now, &mut more), Err(RecordError::Closed));
    assert_eq!(alice.seal_ping(now, &mut more), Err(RecordError::Closed));
    assert_eq!(alice.seal_close(now, &mut more), Err(RecordError::Closed));
    let alert = alice.seal_alert(Alert::InternalError, now, &mut more);
    assert_eq!((alert, more.len()), (Err(RecordError::Closed), 0));

    assert_eq!(server.open(&mut close, now), Ok(Opened::Close));
    assert!(server.peer_ended() && !server.sending_ended());
    let mut reply = data(&mut server, b"reply", now);
    assert_eq!(alice.open(&mut reply, now), Ok(Opened::Data(&mut b"reply".to_owned())));
    let mut close = Vec::new();
    server.seal_close(now, &mut close).unwrap();
    assert_eq!(alice.open(&mut close, now), Ok(Opened::Close));
    assert_eq!((alice.end_of_stream(), server.end_of_stream()), (Ok(()), Ok(())));
}

#[test]
fn anything_behind_close_is_an_error() {
    for behind in [&b"x\x01"[..], &[2], &[3], &[1, 4], &[5]] {
        let mut peer = Raw::server_side();
        assert_eq!(peer.says(&[3]), Ok(Heard::Close));
        let error = peer.says(behind).unwrap_err();
        assert_eq!(error, RecordError::AfterClose);
        peer.ends_with(error, Alert::ProtocolError);
    }
}

#[test]
fn behind_our_own_close_not_even_a_violation_is_answered() {
    let mut peer = Raw::server_side();
    let mut close = Vec::new();
    peer.records.seal_close(peer.now, &mut close).unwrap();
    assert_eq!(peer.reads(&close), [[3]]);
    let error = peer.says(&[6]).unwrap_err();
    assert_eq!(error, RecordError::Protocol(Violation::UnknownType(6)));
    assert!(peer.hears().is_empty());
    let alert = peer.records.seal_alert(Alert::ProtocolError, peer.now, &mut close);
    assert_eq!(alert, Err(RecordError::Closed));
}

#[test]
fn an_alert_ends_both_directions() {
    for (code, alert) in [
        (1, Alert::AccessDenied),
        (2, Alert::ProtocolError),
        (3, Alert::LimitExceeded),
        (4, Alert::InternalError),
        (0, Alert::InternalError),
        (5, Alert::InternalError),
        (255, Alert::InternalError),
    ] {
        let mut peer = Raw::server_side();
        assert_eq!(peer.says(&[code, 4]), Ok(Heard::Alert(alert)), "{code}");
        assert_eq!(peer.records.end_of_stream(), Ok(()));
        assert_eq!(peer.says(b"more\x01"), Err(RecordError::Closed));
        let mut wire = Vec::new();
        let sealed = peer.records.seal_data(b"more", peer.now, &mut wire);
        assert_eq!(sealed, Err(RecordError::Closed));
        peer.records.poll_transmit(peer.now, &mut wire).unwrap();
        assert!(wire.is_empty());
    }
}

#[test]
fn our_own_alert_is_our_last_word_and_we_listen_no_more() {
    for alert in
        [Alert::AccessDenied, Alert::ProtocolError, Alert::LimitExceeded, Alert::InternalError]
    {
        let (mut alice, mut server, now) = pair();
        let mut wire = Vec::new();
        server.seal_alert(alert, now, &mut wire).unwrap();
        assert_eq!(alice.open(&mut wire, now), Ok(Opened::Alert(alert)));
        let again = server.seal_alert(alert, now, &mut Vec::new());
        assert_eq!(again, Err(RecordError::Closed));
        let (mut other, _, _) = pair();
        let mut record = data(&mut other, b"more", now);
        assert_eq!(server.open(&mut record, now), Err(RecordError::Closed));
    }
}

#[test]
fn pings_are_heard_and_not_answered() {
    let (mut alice, mut server, now) = pair();
    let mut ping = Vec::new();
    alice.seal_ping(now, &mut ping).unwrap();
    assert_eq!(server.open(&mut ping, now), Ok(Opened::Ping));
    let mut answer = Vec::new();
    server.poll_transmit(now, &mut answer).unwrap();
    assert!(answer.is_empty());
}
