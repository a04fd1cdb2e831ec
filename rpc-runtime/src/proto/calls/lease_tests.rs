use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(12)
}

fn memory(id: u8, store: u8) -> MemoryId {
    let lease = 60 * SECOND;
    MemoryId { id: [id; 8], store: [store; 8], lease, ..MemoryId::default() }
}

/// What the records of the second memory are good for, `after` the first was met.
fn records(first: MemoryId, second: MemoryId, began: Instant, after: Duration) -> Option<Records> {
    let mut lease = Lease::new(noon);
    lease.meet(None, first, None, began);
    lease.meet(Some(first), second, None, began + after)
}

#[test]
fn records_of_the_same_store_cover_what_was_sent_within_half_the_lease() {
    let began = Instant::now();
    for (seconds, covered) in [(0, true), (30, true), (31, false)] {
        let records = records(memory(1, 7), memory(2, 7), began, seconds * SECOND).unwrap();
        assert_eq!(records.cover(began), covered, "after {seconds} s");
    }
}

#[test]
fn a_server_without_a_store_and_one_with_another_have_no_records() {
    let began = Instant::now();
    for (first, second) in [(0, 0), (7, 8), (7, 0), (0, 7)] {
        let records = records(memory(1, first), memory(2, second), began, SECOND);
        assert!(records.is_none(), "{first} {second}");
    }
}

#[test]
fn of_two_leases_the_shorter_counts() {
    let (began, brief) = (Instant::now(), MemoryId { lease: 4 * SECOND, ..memory(3, 7) });
    for (first, second) in [(memory(1, 7), brief), (brief, memory(2, 7))] {
        let records = records(first, second, began, 3 * SECOND).unwrap();
        assert!(records.cover(began + SECOND) && !records.cover(began));
    }
}

#[test]
fn a_server_that_has_answered_since_has_kept_what_was_sent_before() {
    let began = Instant::now();
    let mut lease = Lease::new(noon);
    lease.meet(None, memory(1, 7), None, began);
    lease.answered(began + 50 * SECOND);
    lease.answered(began + 20 * SECOND);
    let after = |seconds| began + seconds * SECOND;
    let records = lease.meet(Some(memory(1, 7)), memory(2, 7), None, after(80)).unwrap();
    assert!(records.cover(began));
    let records = lease.meet(Some(memory(2, 7)), memory(3, 7), None, after(81)).unwrap();
    assert!(!records.cover(began));
}

#[test]
fn a_connection_says_that_the_server_is_there_and_nothing_about_before() {
    let began = Instant::now();
    let after = |seconds| began + seconds * SECOND;
    let mut lease = Lease::new(noon);
    lease.meet(None, memory(1, 7), Some(began), after(1));
    let records = lease.meet(Some(memory(1, 7)), memory(2, 7), Some(after(31)), after(31)).unwrap();
    assert!(!records.cover(began), "the connection that is judged does not count");
    let records = lease.meet(Some(memory(2, 7)), memory(3, 7), Some(after(61)), after(61)).unwrap();
    assert!(records.cover(began), "the server was there at 31 s");
}

#[test]
fn only_the_answer_to_the_last_question_says_when_the_server_was_there() {
    let began = Instant::now();
    let mut lease = Lease::new(noon);
    let first = lease.ask(began);
    let last = lease.ask(began + SECOND);
    lease.heed(first);
    lease.heed(0);
    assert_eq!(lease.answered, None);
    lease.heed(last);
    assert_eq!(lease.answered, Some(began + SECOND));
}

#[test]
fn what_the_machine_has_slept_counts_as_silence() {
    // The second look at this calendar is an hour after the first.
    fn calendar() -> SystemTime {
        thread_local!(static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        SystemTime::UNIX_EPOCH + Duration::from_hours(LOOKS.replace(LOOKS.get() + 1))
    }
    let began = Instant::now();
    let mut lease = Lease::new(calendar);
    lease.meet(None, memory(1, 7), None, began);
    let records = lease.meet(Some(memory(1, 7)), memory(2, 7), None, began + SECOND).unwrap();
    assert!(!records.cover(began + SECOND), "it was sent before the hour, or after: who knows");
}
