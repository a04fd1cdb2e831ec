//! Handshake answers that wait to be sent.

use std::{collections::VecDeque, net::SocketAddr};

/// How many wait at the most. While none more fits, INITs are dropped before any work is done for
/// them: their senders repeat them.
const MAX_ANSWERS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Answers(VecDeque<(SocketAddr, Vec<u8>)>);

impl Answers {
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < MAX_ANSWERS
    }

    /// Queues an answer; without room it is lost, as it may be on its way.
    pub(crate) fn push(&mut self, to: SocketAddr, answer: &[u8]) {
        if self.has_room() {
            self.0.push_back((to, answer.to_vec()));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_nobody_takes_are_bounded() {
        let mut answers = Answers::default();
        for _ in 0..1000 {
            answers.push(SocketAddr::from(([192, 0, 2, 1], 1)), &[0; 8]);
        }
        assert!(!answers.has_room());
        assert_eq!(std::iter::from_fn(|| answers.pop()).count(), MAX_ANSWERS);
    }
}
