//! Frames read back as they are written, and what breaks their form is refused.

use super::*;
use crate::{
    marshal::{BORROW_FROM, Message},
    proto::frames::Frames,
};
use bytes::Bytes;

fn parse(frame: &[u8]) -> Result<Frame<'_>, ProtocolError> {
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
    assert_eq!(length as usize, frame.len() - 4);
    Frame::parse(&frame[4..], 64)
}

fn request(metadata: &Metadata) -> Vec<u8> {
    let mut rest = Vec::new();
    put_metadata(metadata, &mut rest);
    rest.extend_from_slice(b"arguments");
    let (method, remaining) = (MethodId::new(9), Duration::from_millis(5));
    let header = RequestHeader { call: 300, floor: 7, attempt: 2, method, remaining };
    let mut out = Vec::new();
    put_request(&header, &Message::Short(rest), &mut out);
    out
}

#[test]
fn a_request_survives_the_round_trip() {
    let mut metadata = Metadata::default();
    metadata.insert("traceparent".into(), "00-1".into());
    let frame = request(&metadata);
    let Ok(Frame::Request(read)) = parse(&frame) else {
        panic!("not a request");
    };
    assert_eq!((read.call, read.floor, read.attempt), (300, 7, 2));
    assert_eq!((read.method, read.flags), (MethodId::new(9), NO_FLAGS));
    assert_eq!(read.remaining, Duration::from_millis(5));
    assert_eq!((read.metadata, read.arguments), (metadata, &b"arguments"[..]));
}

#[test]
fn the_longest_numbers_have_room_in_a_header() {
    let header = RequestHeader {
        call: u64::MAX,
        floor: u64::MAX,
        attempt: u64::MAX,
        method: MethodId::new(u64::MAX),
        remaining: Duration::MAX,
    };
    let (mut out, mut rest) = (Vec::new(), Vec::new());
    put_metadata(&Metadata::default(), &mut rest);
    put_request(&header, &Message::Short(rest), &mut out);
    let Ok(Frame::Request(request)) = parse(&out) else { panic!("{out:?}") };
    assert_eq!((request.call, request.floor, request.attempt), (u64::MAX, u64::MAX, u64::MAX));
    assert_eq!((request.method, request.flags), (header.method, NO_FLAGS));
    assert_eq!(request.remaining, Duration::from_micros(u64::MAX));
}

#[test]
fn a_request_in_parts_has_the_bytes_of_a_whole_one() {
    let (method, remaining) = (MethodId::new(9), Duration::from_millis(5));
    let header = RequestHeader { call: 300, floor: 7, attempt: 2, method, remaining };
    let long = Bytes::from(vec![7; BORROW_FROM]);
    let parts =
        vec![Bytes::from_static(b"\0begin"), long.clone(), Bytes::from_static(b"end"), long];
    let whole = Message::Short(parts.concat());
    let (mut out, mut frames) = (Vec::new(), Frames::default());
    put_request(&header, &whole, &mut out);
    push_request(&header, &Message::Parts(parts), &mut frames);
    assert_eq!(frames.take_all(), out);
    let Ok(Frame::Request(read)) = parse(&out) else { panic!("not a request") };
    assert_eq!(read.arguments.len(), 8 + 2 * BORROW_FROM);
}

#[test]
fn a_request_cut_anywhere_before_its_body_is_refused() {
    let mut metadata = Metadata::default();
    metadata.insert("k".into(), "v".into());
    let whole = request(&metadata);
    for end in 4..whole.len() - b"arguments".len() {
        let cut = Frame::parse(&whole[4..end], 64);
        assert!(
            matches!(cut, Err(ProtocolError::FrameFields | ProtocolError::FrameLength)),
            "cut at {end}: {cut:?}"
        );
    }
}

#[test]
fn metadata_above_their_bound_are_refused_before_they_are_copied() {
    let mut metadata = Metadata::default();
    metadata.insert("k".into(), "v".repeat(64));
    assert_eq!(parse(&request(&metadata)), Err(ProtocolError::FrameFields));
}

#[test]
fn small_frames_survive_the_round_trip() {
    let mut out = Vec::new();
    put_cancel(u64::MAX, &mut out);
    assert_eq!(parse(&out), Ok(Frame::Cancel { call: u64::MAX }));
    out.clear();
    put_ping(3, &mut out);
    assert_eq!(parse(&out), Ok(Frame::Ping { token: 3 }));
    out.clear();
    put_pong(3, &mut out);
    assert_eq!(parse(&out), Ok(Frame::Pong { token: 3 }));
    out.clear();
    put_go_away(&mut out);
    assert_eq!(parse(&out), Ok(Frame::GoAway));
    out.clear();
    let estimate = Duration::from_millis(40);
    put_working(3, 1, estimate, &mut out);
    assert_eq!(parse(&out), Ok(Frame::Working { call: 3, attempt: 1, estimate }));
    out.clear();
    put_which_memory(&mut out);
    assert_eq!(parse(&out), Ok(Frame::WhichMemory));
    out.clear();
    let lease = Duration::from_secs(60);
    let memory = MemoryId { id: *b"remember", tcp_port: 7400, store: *b"on disk.", lease };
    put_memory(memory, &mut out);
    assert_eq!(parse(&out), Ok(Frame::Memory(memory)));
    out.clear();
    put_inquire(9, &mut out);
    assert_eq!(parse(&out), Ok(Frame::Inquire { call: 9 }));
    for outcome in
        [WireOutcome::Fenced, WireOutcome::Ran, WireOutcome::AtWork, WireOutcome::NotKnown]
    {
        out.clear();
        put_outcome(9, outcome, &mut out);
        assert_eq!(parse(&out), Ok(Frame::Outcome { call: 9, outcome }));
    }
}

#[test]
fn acknowledged_ranges_are_read_as_they_were_written() {
    let mut out = Vec::new();
    put_acknowledge(5, &[(7, 9), (12, 13)], &mut out);
    let Ok(Frame::Acknowledge { floor: 5, ranges }) = parse(&out) else {
        panic!("not an acknowledgement")
    };
    assert_eq!(ranges.collect::<Vec<_>>(), [(7, 9), (12, 13)]);
}

#[test]
fn an_acknowledgement_of_more_ranges_than_allowed_or_beyond_all_numbers_is_refused() {
    let mut many = vec![ACKNOWLEDGE, 0, 65];
    many.extend([0; 130]);
    assert_eq!(Frame::parse(&many, 0), Err(ProtocolError::FrameFields));
    let mut beyond = vec![ACKNOWLEDGE, 1, 1];
    varint::put(u64::MAX, &mut beyond);
    varint::put(1, &mut beyond);
    assert_eq!(Frame::parse(&beyond, 0), Err(ProtocolError::FrameFields));
}

#[test]
fn an_outcome_or_a_question_of_unknown_kind_is_refused() {
    assert_eq!(Frame::parse(&[OUTCOME, 9, 4], 0), Err(ProtocolError::FrameFields));
    assert_eq!(Frame::parse(&[MEMORY, 2], 0), Err(ProtocolError::FrameFields));
}

#[test]
fn frames_of_streams_are_known_before_streams_are() {
    assert_eq!(Frame::parse(&[STREAM_ITEM, 5, 1, 2, 3], 0), Ok(Frame::Stream { call: 5 }));
    assert_eq!(Frame::parse(&[STREAM_CREDIT, 5, 9], 0), Ok(Frame::Stream { call: 5 }));
    assert_eq!(Frame::parse(&[END, 5], 0), Ok(Frame::Stream { call: 5 }));
}

#[test]
fn an_unknown_type_and_bytes_left_over_are_refused() {
    assert_eq!(Frame::parse(&[14, 0], 0), Err(ProtocolError::FrameType(14)));
    assert_eq!(Frame::parse(&[CANCEL, 5, 0], 0), Err(ProtocolError::FrameFields));
    assert_eq!(Frame::parse(&[GO_AWAY, 0], 0), Err(ProtocolError::FrameFields));
    assert_eq!(Frame::parse(&[], 0), Err(ProtocolError::FrameLength));
}

#[test]
fn a_frame_above_the_peers_limit_is_taken_back() {
    let mut out = b"before".to_vec();
    let mut writer = FrameWriter::reply(&mut out, 1, 0, 0);
    writer.body().extend_from_slice(&[0; 2000]);
    assert_eq!(writer.finish(1024), Err(FrameTooLong { size: 2004, limit: 1024 }));
    assert_eq!(out, b"before");
}
