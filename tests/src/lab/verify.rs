//! Holding what callers were told against what the handlers did.

use std::collections::HashSet;

use bailiwick::Executed;
use bailiwick::service::Delivery;

use super::{Ended, Kind, Lab};

/// How many calls ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They were answered with a result.
    pub answered: usize,
    /// They did not run, and their callers know.
    pub not_run: usize,
    /// They ran without an answer that came, and their callers know.
    pub found_executed: usize,
    /// Nobody can say.
    pub unknown: usize,
    /// Of those that nobody can say about, how many did run.
    pub unknown_ran: usize,
}

impl Lab {
    /// Counts how the calls ended.
    ///
    /// # Panics
    ///
    /// If one ran more than once that must not, or a caller was told what is not so.
    #[must_use]
    pub fn verify(&self) -> Tally {
        let mut tally = Tally::default();
        let (mut numbers, mut recorded) = (HashSet::new(), HashSet::new());
        for index in 0..self.callers.len() {
            let caller = self.caller(index);
            for ended in caller.ended() {
                let runs = self.runs(ended);
                if let Delivery::AtMostOnce | Delivery::Durable = ended.kind.delivery() {
                    assert!(runs <= 1, "ran {runs} times: {ended:?}");
                }
                match ended.executed() {
                    Executed::Yes => assert!(runs > 0, "did not run: {ended:?}"),
                    Executed::No => assert_eq!(runs, 0, "ran: {ended:?}"),
                    Executed::Unknown => {}
                }
                let unique = match (&ended.result, ended.kind) {
                    (Ok(number), Kind::Increment | Kind::Slow(_)) => numbers.insert(*number),
                    (Ok(number), Kind::Record | Kind::RecordLate(_)) => recorded.insert(*number),
                    _ => true,
                };
                assert!(unique, "another call was answered so too: {ended:?}");
                let forbidden = ended.kind == Kind::Forbidden;
                assert!(!forbidden || ended.result.is_err(), "allowed: {ended:?}");
                match (&ended.result, ended.executed()) {
                    (Ok(_), _) => tally.answered += 1,
                    (Err(_), Executed::Yes) => tally.found_executed += 1,
                    (Err(_), Executed::No) => tally.not_run += 1,
                    (Err(_), Executed::Unknown) => {
                        tally.unknown += 1;
                        tally.unknown_ran += usize::from(runs > 0);
                    }
                }
            }
            for key in caller.abandoned() {
                assert!(self.ledger.runs(*key) <= 1, "ran twice: {key}");
                assert!(self.disk.effects(*key) <= 1, "took effect twice: {key}");
            }
        }
        tally
    }

    /// How often a call ran in truth. What a power cut undid has not run.
    fn runs(&self, ended: &Ended) -> u64 {
        let Some(key) = ended.key else { return 0 };
        match ended.kind.delivery() {
            Delivery::Durable => self.disk.effects(key),
            _ => self.ledger.runs(key),
        }
    }
}
