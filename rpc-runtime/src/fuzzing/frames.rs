//! Frames: what is read can be written again, byte for byte, and where records cut the stream
//! makes no difference.

use super::steps::Steps;
use crate::{
    error::ProtocolError,
    marshal::Message,
    proto::{
        frame::{self, Frame, FrameWriter, MAX_METADATA_ENTRIES, RequestHeader},
        input::Input,
    },
};

/// One frame without its length field.
///
/// # Panics
///
/// If it is read and, written again, is another.
pub fn frame(input: &[u8]) {
    let max_metadata = 4096;
    let Ok(frame) = Frame::parse(input, max_metadata) else { return };
    let mut out = Vec::new();
    match frame {
        Frame::Request(read) => {
            assert!(read.metadata.iter().len() <= MAX_METADATA_ENTRIES);
            assert!(read.metadata.size() <= max_metadata);
            // A key that is there twice, or flags that nobody sends, cannot be written.
            if read.flags != frame::NO_FLAGS {
                return;
            }
            let mut rest = Vec::new();
            frame::put_metadata(&read.metadata, &mut rest);
            rest.extend_from_slice(read.arguments);
            let frame::Request { call, floor, attempt, method, remaining, .. } = read;
            let header = RequestHeader { call, floor, attempt, method, remaining };
            frame::put_request(&header, &Message::Short(rest), &mut out);
            if out.len() - 4 < input.len() {
                return;
            }
        }
        Frame::Reply(read) => {
            let mut writer = FrameWriter::reply(&mut out, read.call, read.attempt, read.status);
            writer.body().extend_from_slice(read.body);
            writer.finish(u32::MAX).expect("no frame is as long");
        }
        Frame::Working { call, attempt, estimate } => {
            frame::put_working(call, attempt, estimate, &mut out);
        }
        // Only the call is read.
        Frame::Stream { .. } => return,
        Frame::Cancel { call } => frame::put_cancel(call, &mut out),
        Frame::Acknowledge { floor, ranges } => {
            let ranges: Vec<_> = ranges.collect();
            let mut end = floor;
            for &(first, behind) in &ranges {
                assert!(end <= first && first <= behind);
                end = behind;
            }
            frame::put_acknowledge(floor, &ranges, &mut out);
        }
        Frame::Ping { token } => frame::put_ping(token, &mut out),
        Frame::Pong { token } => frame::put_pong(token, &mut out),
        Frame::GoAway => frame::put_go_away(&mut out),
        Frame::WhichMemory => frame::put_which_memory(&mut out),
        Frame::Memory(memory) => frame::put_memory(memory, &mut out),
        Frame::Inquire { call } => frame::put_inquire(call, &mut out),
        Frame::Outcome { call, outcome } => frame::put_outcome(call, outcome, &mut out),
    }
    assert_eq!(&out[4..], input, "written again");
}

/// A request's frame without its type: two bytes that bound the metadata, then the fields.
///
/// # Panics
///
/// As `frame`, or if metadata beyond the bound are accepted.
pub fn request(input: &[u8]) {
    const REQUEST: u8 = 1;
    let Some((bound, fields)) = input.split_first_chunk() else { return };
    let bound = usize::from(u16::from_be_bytes(*bound));
    let whole = [&[REQUEST], fields].concat();
    if let Ok(Frame::Request(request)) = Frame::parse(&whole, bound) {
        assert!(request.metadata.size() <= bound);
        assert!(request.metadata.iter().len() <= MAX_METADATA_ENTRIES);
        frame(&whole);
    }
}

/// A stream of frames: a byte that says how records cut it, then the stream.
///
/// # Panics
///
/// If the same stream in one piece gives other frames, or a frame is longer than allowed.
pub fn stream(input: &[u8]) {
    let mut steps = Steps::new(input);
    let cut = 1 + usize::from(steps.byte());
    let stream = input.get(1..).unwrap_or_default();
    let whole = frames_of(&[stream]);
    let pieces = frames_of(&stream.chunks(cut).collect::<Vec<_>>());
    assert_eq!(whole, pieces, "in pieces of {cut}");
}

/// The frames before the first one that is refused, and whether one was.
fn frames_of(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    const MAX_FRAME: usize = 20_000;
    let mut input = Input::default();
    let mut frames = Vec::new();
    let refused = pieces.iter().any(|piece| {
        each_frame(&mut input, piece, MAX_FRAME, |frame| frames.push(frame.to_vec())).is_err()
    });
    assert!(frames.iter().all(|frame| (1..=MAX_FRAME).contains(&frame.len())));
    (frames, refused)
}

/// Hands over the frames that end in `plain`, which a record has brought.
pub(super) fn each_frame(
    input: &mut Input,
    plain: &[u8],
    max_frame: usize,
    mut handle: impl FnMut(&[u8]),
) -> Result<(), ProtocolError> {
    // As a driver does, which makes room for what it reads.
    let _ = input.room();
    input.append(plain);
    input.opened(0..plain.len(), plain.len());
    while let Some(frame) = input.next_frame(max_frame)? {
        handle(frame.bytes());
    }
    Ok(())
}
