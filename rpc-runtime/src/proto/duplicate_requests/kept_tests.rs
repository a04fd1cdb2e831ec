use super::*;

impl KeptAnswers {
    /// Bytes of buffers that wait.
    pub(in super::super) fn footprint(&self) -> usize {
        let spare: usize = self.spare.iter().map(Vec::capacity).sum();
        spare + self.spare.capacity() * size_of::<Vec<u8>>()
    }
}

#[test]
fn calls_at_work_set_aside_what_their_method_took_lately() {
    let mut answers = KeptAnswers::new(4 << 20);
    assert_eq!(answers.set_aside(0), Some(MIN_RESERVE));
    answers.learn(0, 100_000);
    assert_eq!(answers.set_aside(0), Some(RECORD + 100_000));
    assert_eq!(answers.set_aside(1), Some(MIN_RESERVE), "of another method");
    for _ in 0..60 {
        answers.learn(0, 1);
    }
    assert_eq!(answers.set_aside(0), Some(MIN_RESERVE), "one long answer is forgotten");
    answers.learn(0, 3 << 20);
    assert_eq!(answers.set_aside(0), Some(1 << 20), "however long, some can always run");
}

#[test]
fn no_more_is_set_aside_than_the_quota_holds() {
    let mut answers = KeptAnswers::new(1 << 16);
    let set_aside = std::iter::from_fn(|| answers.set_aside(0)).count();
    assert_eq!(set_aside, (1 << 16) / MIN_RESERVE);
    answers.give_back(MIN_RESERVE);
    assert_eq!(answers.set_aside(0), Some(MIN_RESERVE));
    assert_eq!(answers.set_aside(0), None);
}

#[test]
fn small_answers_take_no_new_buffers() {
    let mut answers = KeptAnswers::new(1 << 16);
    let first = answers.keep(b"about so much").unwrap();
    let at = first.as_ptr();
    answers.free(first);
    for _ in 0..1000 {
        let kept = answers.keep(b"about as much").unwrap();
        assert_eq!(kept.as_ptr(), at);
        answers.free(kept);
    }
}

#[test]
fn a_buffer_that_is_used_again_is_charged_whole() {
    let mut answers = KeptAnswers::new(1 << 16);
    let long = answers.keep(&[0; 1024]).unwrap();
    answers.free(long);
    let short = answers.keep(b"a").unwrap();
    assert_eq!(answers.used, RECORD + 1024);
    answers.free(short);

    // Where there is no room for all of it, a smaller one is made.
    let most = answers.keep(&vec![0; (1 << 16) - 2 * RECORD - 100]).unwrap();
    let short = answers.keep(b"a").unwrap();
    assert_eq!(short.capacity(), 1);
    assert!(answers.used <= answers.quota);
    assert_eq!(answers.keep(&[0; 100]), None);
    drop((most, short));
}

#[test]
fn buffers_that_wait_are_bounded_and_given_back_at_rest() {
    let mut answers = KeptAnswers::new(4 << 20);
    let kept: Vec<_> = (0..2000)
        .map(|index| answers.keep(if index % 2 == 0 { &[0; 1024] } else { &[0; 1025] }).unwrap())
        .collect();
    kept.into_iter().for_each(|buffer| answers.free(buffer));
    assert_eq!((answers.used, answers.spare.len()), (0, SPARE.0));
    assert!(answers.spare.iter().all(|buffer| buffer.capacity() <= SPARE.1));
    answers.rest();
    assert_eq!(answers.footprint(), 0);
}
