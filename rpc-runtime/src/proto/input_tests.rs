use super::*;

const MAX_FRAME: usize = 1 << 20;

/// What a record adds around its content.
const AROUND: (usize, usize) = (4, 17);

/// `content` in a record, in the clear.
fn record(content: &[u8]) -> Vec<u8> {
    [&[0xaa; AROUND.0], content, &[0xbb; AROUND.1]].concat()
}

/// The stream of these frames' bytes.
fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        stream.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(frame);
    }
    stream
}

fn frames(sizes: &[usize]) -> Vec<Vec<u8>> {
    // Two frames, and two parts of one, differ.
    let starts = (0..=u8::MAX).cycle().step_by(31).zip(sizes);
    starts.map(|(start, &size)| (start..=u8::MAX).cycle().take(size).collect()).collect()
}

/// Opens records of so many bytes of content each, of those that are there.
fn open_all(input: &mut Input, content: &mut &[u8], cut: usize, take: impl FnMut(Joined<'_>)) {
    open_and(input, content, cut, take, |_| {});
}

/// The same, and does something else behind each frame.
fn open_and(
    input: &mut Input,
    content: &mut &[u8],
    cut: usize,
    mut take: impl FnMut(Joined<'_>),
    mut pause: impl FnMut(&mut Input),
) {
    loop {
        while let Some(frame) = input.next_frame(MAX_FRAME).unwrap() {
            take(frame);
            pause(input);
        }
        let next = content.len().min(cut);
        let size = AROUND.0 + next + AROUND.1;
        if next == 0 || input.len() < size {
            return;
        }
        assert_eq!(input.unread()[AROUND.0..size - AROUND.1], content[..next]);
        *content = &content[next..];
        input.opened(AROUND.0..AROUND.0 + next, size);
    }
}

/// What comes of the stream in records of `cut` bytes, of which `at_once` bytes are read at once.
fn read(stream: &[u8], cut: usize, at_once: usize) -> (Input, Vec<Vec<u8>>) {
    let records: Vec<u8> = stream.chunks(cut).flat_map(record).collect();
    let (mut input, mut content, mut got) = (Input::default(), stream, Vec::new());
    read_all(&mut input, &records, at_once, |input| {
        open_all(input, &mut content, cut, |frame| got.push(frame.bytes().to_vec()));
    });
    (input, got)
}

/// Reads as a socket does, no more than there is room for; `open` looks at what is there after each read.
fn read_all(
    input: &mut Input,
    mut records: &[u8],
    at_once: usize,
    mut open: impl FnMut(&mut Input),
) {
    while !records.is_empty() {
        let mut room = input.room();
        let count = room.chunk_mut().len().min(at_once).min(records.len());
        assert!(count > 0, "a read of nothing is the end of a stream");
        room.put_slice(&records[..count]);
        records = &records[count..];
        input.arrived(count);
        open(input);
    }
}

#[test]
fn frames_come_out_whole_wherever_records_and_reads_cut_them() {
    let all = frames(&[1, 5, 300, 2, BORROW_FROM + 3, 4, 200_000, 70, 3 * BORROW_FROM, 1]);
    let stream = stream(&all);
    for cut in [1, 3, 4, 7, 100, 5_000, 16_384] {
        for at_once in [1, 30, 4_000, usize::MAX] {
            if cut < 100 && at_once < 30 {
                continue; // slow, and tells nothing more
            }
            let (input, got) = read(&stream, cut, at_once);
            assert!(got == all, "records of {cut}, reads of {at_once}");
            assert!(!input.is_midway());
        }
    }
}

#[test]
fn a_connection_may_pause_and_rest_behind_each_frame() {
    let all = frames(&[3, 70_000, 5, 17_000, 200_000, 9, 1]);
    let stream = stream(&all);
    for cut in [5_000, 16_384, 60_000] {
        let records: Vec<u8> = stream.chunks(cut).flat_map(record).collect();
        let (mut input, mut content, mut got) = (Input::default(), &stream[..], Vec::new());
        for piece in records.chunks(cut + 1_000) {
            input.append(piece);
            let take = |frame: Joined<'_>| got.push(frame.bytes().to_vec());
            open_and(&mut input, &mut content, cut, take, |input| {
                input.rest();
                let _ = input.room();
            });
        }
        assert!(got == all, "records of {cut}");
    }
}

#[test]
fn a_length_out_of_range_is_refused_before_its_bytes_come() {
    for length in [0, 1025, u32::MAX] {
        let mut input = Input::default();
        input.append(&length.to_be_bytes());
        input.opened(0..4, 4);
        assert_eq!(input.next_frame(1024).unwrap_err(), ProtocolError::FrameLength, "{length}");
    }
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_the_length_claimed() {
    let claimed = [&(1_u32 << 20).to_be_bytes()[..], &[7; 96]].concat();
    let (mut input, got) = read(&claimed, 16_384, usize::MAX);
    assert!(got.is_empty() && input.is_midway());
    let _ = input.room();
    assert!(input.bytes.capacity() <= READ_SIZE.0 + 2 * claimed.len());

    let begun = [&(1_u32 << 20).to_be_bytes()[..], &[7; 60_000]].concat();
    let (mut input, _) = read(&begun, 16_384, usize::MAX);
    let _ = input.room();
    assert!(input.bytes.capacity() <= (GROWTH + 1) * begun.len());
}

#[test]
fn a_long_message_is_lent_with_the_buffer_that_it_came_in_and_that_comes_back() {
    let all = frames(&[1 << 20]);
    let records: Vec<u8> = stream(&all).chunks(16_384).flat_map(record).collect();
    let stream = stream(&all);
    let mut input = Input::default();
    let mut buffers = Vec::new();
    for _ in 0..20 {
        let mut content = &stream[..];
        read_all(&mut input, &records, usize::MAX, |input| {
            let buffer = input.bytes.as_ptr_range().start as usize;
            open_all(input, &mut content, 16_384, |frame| {
                let message = frame.shared().expect("it is long");
                assert_eq!(message[..], all[0]);
                assert_eq!(message.as_ptr() as usize, buffer + LENGTH, "not copied");
                buffers.push(buffer);
            });
        });
    }
    buffers.sort_unstable();
    buffers.dedup();
    assert!(buffers.len() <= 2, "{} buffers for 20 messages", buffers.len());
}

#[test]
fn a_long_frame_changes_its_buffer_seldom() {
    let stream = stream(&frames(&[1 << 20]));
    let records: Vec<u8> = stream.chunks(16_384).flat_map(record).collect();
    let (mut input, mut content) = (Input::default(), &stream[..]);
    let (mut sizes, mut whole) = (Vec::new(), false);
    read_all(&mut input, &records, usize::MAX, |input| {
        sizes.push(input.bytes.capacity());
        open_all(input, &mut content, 16_384, |_| whole = true);
    });
    sizes.dedup();
    // 4, 12, 28 KiB for the first record; then eight times what came, and all of it.
    assert!(whole && sizes.len() <= 5, "{sizes:?}");
}

#[test]
fn a_short_frame_that_a_record_cuts_does_not_make_reads_shorter() {
    let all = frames(&[100; 400]);
    let stream = stream(&all);
    let records: Vec<u8> = stream.chunks(16_384).flat_map(record).collect();
    let (mut input, mut content) = (Input::default(), &stream[..]);
    // A buffer that is full, of a peer that sends fast: up to the end of a record in the middle of a frame.
    input.bytes = records[..16_384 + AROUND.0 + AROUND.1].to_vec();
    input.arrived(40_000);
    open_all(&mut input, &mut content, 16_384, |_| {});
    assert!(input.is_midway());
    assert!(input.room().chunk_mut().len() >= 48 * 1024 - 100);
}

#[test]
fn who_holds_a_message_holds_little_more() {
    let mut input = Input::default();
    input.bytes.reserve(250_000);
    let frame = stream(&frames(&[70_000]));
    for part in frame.chunks(15_000) {
        input.append(part);
        input.opened(0..part.len(), part.len());
        while input.next_frame(MAX_FRAME).unwrap().is_some() {}
    }
    let size = input.spare.take().capacity();
    assert!((70_000..76_000).contains(&size), "{size}");
}

#[test]
fn a_message_that_is_not_long_or_short_for_its_buffer_is_copied() {
    for (size, room) in [(BORROW_FROM, 0), (LEND_FROM - 5, 0), (LEND_FROM, 1 << 20)] {
        let mut input = Input::default();
        input.bytes.reserve(room);
        let frame = stream(&frames(&[size]));
        let mut message = None;
        for part in frame.chunks(10_000) {
            input.append(part);
            input.opened(0..part.len(), part.len());
            if let Some(frame) = input.next_frame(MAX_FRAME).unwrap() {
                message = frame.shared().cloned();
            }
        }
        let message = message.expect("long enough to be shared");
        assert!(message.is_unique(), "in an allocation of its length");
        assert!(input.bytes.capacity() >= room.max(size), "the buffer stays");
    }
}

#[test]
fn records_that_hold_nothing_do_not_make_a_half_frame_grow() {
    let mut input = Input::default();
    input.append(&[0, 0, 1, 0, 9]);
    input.opened(0..5, 5);
    assert!(input.next_frame(MAX_FRAME).unwrap().is_none());
    for _ in 0..10_000 {
        let _ = input.room();
        input.append(&record(&[]));
        input.opened(AROUND.0..AROUND.0, AROUND.0 + AROUND.1);
        assert!(input.next_frame(MAX_FRAME).unwrap().is_none());
        assert!(input.bytes.len() <= 2 * PASSED);
    }
}

#[test]
fn a_long_frame_gets_a_buffer_of_its_length_and_no_more_is_read_than_that_holds() {
    let begun = [&(1_u32 << 20).to_be_bytes()[..], &[7; 180_000]].concat();
    let (mut input, _) = read(&begun, 16_384, usize::MAX);
    let room = input.room().chunk_mut().len();
    assert_eq!(room, LONG_READ);
    assert!(input.bytes.capacity() < (1 << 20) + 16 * 1024, "{}", input.bytes.capacity());

    let nearly = [&200_000_u32.to_be_bytes()[..], &[7; 199_000]].concat();
    let (mut input, _) = read(&nearly, 16_384, usize::MAX);
    let room = input.room().chunk_mut().len();
    assert!(room <= READ_SIZE.1, "{room}");
}

#[test]
fn an_idle_connection_gives_its_buffers_back() {
    let (mut input, got) = read(&stream(&frames(&[1 << 20, 1 << 20, 3])), 16_384, usize::MAX);
    assert_eq!(got.len(), 3);
    input.rest();
    assert!(input.bytes.capacity() <= 2 * 1024);
    assert_eq!(input.spare.take().capacity(), 0);
}

#[test]
fn what_is_cut_short_stays_for_the_next_read() {
    let mut input = Input::default();
    input.append(b"abcdef");
    input.take(4);
    let _ = input.room();
    input.append(b"gh");
    assert_eq!(input.unread(), b"efgh");
}
