use super::*;

const PIECE: usize = 100;

fn fragments(sizes: &[usize]) -> Fragments {
    let mut fragments = Fragments::default();
    for (tag, &size) in (0..).zip(sizes) {
        fragments.push(vec![0xa5; size], Some(tag));
    }
    fragments
}

/// Sends what may leave, in packets numbered from `packet`.
fn send(fragments: &mut Fragments, packet: u64, now: Instant) -> Vec<(u32, u16)> {
    let mut sent = Vec::new();
    while let Some(fragment) = fragments.next(PIECE, now) {
        let mut content = Vec::new();
        fragments.write(fragment, &mut content);
        assert_eq!(content.len(), fragment.size);
        fragments.sent(fragment, packet + sent.len() as u64);
        sent.push((fragment.message, fragment.index));
    }
    sent
}

fn ack(message: u32, count: u16, arrived: &[u16]) -> Vec<u8> {
    let mut ack = [&message.to_be_bytes()[..], &count.to_be_bytes()].concat();
    let bitmap = ack.len();
    ack.resize(bitmap + usize::from(count).div_ceil(8), 0);
    for index in arrived {
        ack[bitmap + usize::from(index / 8)] |= 0x80 >> (index % 8);
    }
    ack
}

/// How the message ended, if it did, and which packets arrived.
type Acknowledged = Result<(Option<Ended>, Vec<(u64, Sent)>), ProtocolError>;

fn acknowledge(fragments: &mut Fragments, ack: &[u8], now: Instant) -> Acknowledged {
    let mut arrived = Vec::new();
    let ended = fragments.acknowledged(ack, now, |packet, sent| arrived.push((packet, sent)))?;
    Ok((ended, arrived))
}

#[test]
fn a_message_leaves_in_pieces_of_one_length_and_a_shorter_one() {
    let now = Instant::now();
    let mut fragments = Fragments::default();
    let message: Vec<u8> = (0..=250).collect();
    fragments.push(message.clone(), None);
    let mut joined = Vec::new();
    for index in 0..3_u16 {
        let fragment = fragments.next(PIECE, now).unwrap();
        let mut content = Vec::new();
        fragments.write(fragment, &mut content);
        let header = [&[0; 4][..], &index.to_be_bytes(), &[0, 3]].concat();
        assert_eq!(content[..HEADER], header);
        joined.extend_from_slice(&content[HEADER..]);
        fragments.sent(fragment, u64::from(index));
    }
    assert_eq!(joined, message);
    assert_eq!(fragments.next(PIECE, now), None);
}

#[test]
fn only_what_was_lost_leaves_again() {
    let now = Instant::now();
    let mut fragments = fragments(&[1000]);
    assert_eq!(send(&mut fragments, 0, now).len(), 10);
    for index in [7, 2] {
        fragments.lost(0, index);
    }
    assert_eq!(send(&mut fragments, 10, now), [(0, 2), (0, 7)]);
    let all: Vec<u16> = (0..10).collect();
    let (ended, arrived) = acknowledge(&mut fragments, &ack(0, 10, &all), now).unwrap();
    assert_eq!(ended, Some(Ended::Delivered(Some(0))));
    assert!(arrived.contains(&(0, Sent::Once)) && arrived.contains(&(10, Sent::Again)));
    assert!(fragments.is_empty());
    assert_eq!(fragments.len(), 0);
}

#[test]
fn what_arrived_after_it_counted_as_lost_does_not_leave_again() {
    let now = Instant::now();
    let mut fragments = fragments(&[300]);
    send(&mut fragments, 0, now);
    fragments.lost(0, 1);
    let (ended, arrived) = acknowledge(&mut fragments, &ack(0, 3, &[0, 1]), now).unwrap();
    assert_eq!((ended, arrived), (None, vec![(0, Sent::Once)]));
    assert_eq!(send(&mut fragments, 3, now), []);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_breaks_the_protocol() {
    let now = Instant::now();
    let refused = Err(ProtocolError::RecordRule);
    let mut two = fragments(&[300, 300]);
    let fragment = two.next(PIECE, now).unwrap();
    two.sent(fragment, 0);
    assert_eq!(acknowledge(&mut two, &ack(0, 3, &[1]), now), refused, "a fragment");
    assert_eq!(acknowledge(&mut two, &ack(2, 3, &[]), now), refused, "a message");
    assert_eq!(acknowledge(&mut two, &ack(0, 2, &[]), now), refused, "another count");
    assert_eq!(acknowledge(&mut two, &ack(0, 3, &[3]), now), refused, "a spare bit");
    assert_eq!(acknowledge(&mut two, &ack(0, 3, &[])[..6], now), refused, "no bitmap");
    assert_eq!(acknowledge(&mut two, &ack(0, 1025, &[]), now), refused, "a count too high");
    assert_eq!(acknowledge(&mut two, &[], now), refused, "nothing");
    assert_eq!(acknowledge(&mut two, &ack(0, 3, &[0]), now), Ok((None, vec![(0, Sent::Once)])));
}

#[test]
fn a_message_that_its_receiver_has_killed_is_not_sent_on() {
    let now = Instant::now();
    let mut fragments = fragments(&[300]);
    send(&mut fragments, 0, now);
    fragments.lost(0, 1);
    let (ended, arrived) = acknowledge(&mut fragments, &ack(0, 0, &[]), now).unwrap();
    assert_eq!(ended, Some(Ended::Undelivered(Some(0))));
    assert_eq!(arrived.len(), 2, "what was under way is so no more");
    assert!(fragments.is_empty());
    // Acknowledgements that were under way too.
    assert_eq!(acknowledge(&mut fragments, &ack(0, 3, &[0]), now), Ok((None, vec![])));
}

#[test]
fn no_more_is_open_than_the_receiver_holds_and_remembers() {
    let now = Instant::now();
    let mut many = fragments(&[PIECE; 100]);
    let sent = send(&mut many, 0, now);
    assert_eq!(sent.len(), 64);
    // The oldest is not finished: its number must stay among the 64 latest.
    for message in 1..64 {
        acknowledge(&mut many, &ack(message, 1, &[0]), now).unwrap();
    }
    assert_eq!(send(&mut many, 64, now), []);
    acknowledge(&mut many, &ack(0, 1, &[0]), now).unwrap();
    assert_eq!(send(&mut many, 64, now).len(), 36);

    let mut large = fragments(&[400_000, 600_000, 100_000]);
    while let Some(fragment) = large.next(1158, now) {
        large.sent(fragment, 0);
    }
    assert_eq!(large.next_number, 2);
    let mut largest = fragments(&[MAX_HELD, 1]);
    assert!(largest.next(1158, now).is_some());
    assert_eq!(largest.open[0].pieces.len(), 906);
    assert_eq!(largest.next_number, 1);
}

#[test]
fn pieces_that_became_too_long_are_cut_anew_under_another_number() {
    let now = Instant::now();
    let mut fragments = fragments(&[300, 90]);
    send(&mut fragments, 5, now);
    let mut forgotten = Vec::new();
    fragments.cut_anew(50, |packet| forgotten.push(packet));
    assert_eq!(forgotten, [5, 6, 7, 8]);
    let first = fragments.next(50, now).unwrap();
    assert_eq!((first.message, first.size), (2, HEADER + 50));
    assert_eq!(acknowledge(&mut fragments, &ack(0, 3, &[0, 1, 2]), now), Ok((None, vec![])));
    assert!(fragments.has_tag(0) && fragments.has_tag(1));
}

#[test]
fn a_message_of_which_nothing_is_heard_is_given_up() {
    let start = Instant::now();
    let mut fragments = fragments(&[300, 100]);
    send(&mut fragments, 0, start);
    let later = start + Duration::from_secs(1);
    acknowledge(&mut fragments, &ack(0, 3, &[1]), later).unwrap();
    let mut forgotten = Vec::new();
    let mut give_up = |now| fragments.give_up(now, |packet| forgotten.push(packet));
    assert_eq!(give_up(later), None);
    assert_eq!(give_up(start + GIVE_UP), Some(Ended::Undelivered(Some(1))));
    assert_eq!(give_up(start + GIVE_UP), None);
    assert_eq!(give_up(later + GIVE_UP), Some(Ended::Undelivered(Some(0))));
    assert_eq!(forgotten, [3, 0, 2]);
}
