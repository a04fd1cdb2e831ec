//! What the hammer prints in the end, and whether it agrees with the value.

use std::{collections::BTreeMap, fmt};

use miette::miette;
use serde::Serialize;

use super::tally::Tally;
use crate::exit::{Exit, Failure};

/// The summary; its fields are those of the JSON.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Calls made; each ended in one of the next three ways.
    calls: u64,
    /// Calls that were answered with a sum.
    acknowledged: u64,
    /// Calls that did not run, by the reason.
    did_not_run: BTreeMap<&'static str, u64>,
    /// Calls that ended without an answer; the server was asked about them.
    unknown: u64,
    found_executed: u64,
    found_not_executed: u64,
    still_unknown: u64,
    /// Different sums among the answers, those of each of the table's lives by themselves.
    distinct_replies: u64,
    initial_value: i64,
    /// `null` if it could not be read.
    final_value: Option<i64>,
    /// What the final value is by the answers, at the least and at the most.
    expected: (i128, i128),
    /// How often the table began anew, as its server was restarted.
    restarts: usize,
    /// `null` if the final value could not be read.
    verdict: Option<Verdict>,
    /// From the first call to the last answer.
    seconds: f64,
}

/// Whether value and answers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The value is the only one that it can be.
    Exact,
    /// The value is one of several that it can be, as the outcome of some calls is not known.
    Within,
    /// A call was lost or ran twice, or ran although its caller was told that it did not.
    Contradiction,
}

impl Summary {
    pub(super) fn of(tally: &Tally, initial: i64, final_value: Option<i64>, seconds: f64) -> Self {
        let expected = expected(tally, initial);
        let distinct: u64 = tally.lives().iter().map(super::tally::Life::distinct).sum();
        let alike = distinct + tally.straddling < tally.total_acknowledged();
        Self {
            calls: tally.total_begun(),
            acknowledged: tally.total_acknowledged(),
            did_not_run: tally.did_not_run.clone(),
            unknown: tally.unknown,
            found_executed: tally.found_executed,
            found_not_executed: tally.found_not_executed,
            still_unknown: tally.still_unknown,
            distinct_replies: distinct + tally.straddling,
            initial_value: initial,
            final_value,
            expected,
            restarts: tally.lives().len() - 1,
            verdict: final_value.map(|value| judge(value.into(), expected, alike)),
            seconds,
        }
    }

    /// # Errors
    ///
    /// What contradicts the answers.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.verdict != Some(Verdict::Contradiction) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Service,
            miette!(
                help = "did somebody else change the key meanwhile? If not, calls were lost, or \
                        ran twice, or ran although that was denied",
                "the value should be {}, and {} of {} answers differ",
                Range(self.expected),
                self.distinct_replies,
                self.acknowledged,
            ),
        ))
    }
}

/// The least and the greatest final value that agree with what the callers were told.
fn expected(tally: &Tally, initial: i64) -> (i128, i128) {
    let found = i128::from(tally.found_executed);
    let unknown = i128::from(tally.still_unknown);
    match tally.lives() {
        [only] => {
            let least = i128::from(initial) + only.sums.len() as i128 + found;
            (least, least + unknown)
        }
        // Only the last of its lives shows in the value. What is not known of a call may have been
        // in any of them, unless it was lost with an earlier one.
        [earlier @ .., last] => {
            let least = last.sums.len() as i128;
            let gone: u64 = earlier.iter().map(|life| life.lost).sum();
            (least, least + i128::from(tally.straddling) + found + unknown - i128::from(gone))
        }
        [] => (0, 0),
    }
}

fn judge(value: i128, (least, most): (i128, i128), alike: bool) -> Verdict {
    if alike || !(least..=most).contains(&value) {
        Verdict::Contradiction
    } else if least == most {
        Verdict::Exact
    } else {
        Verdict::Within
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, acknowledged, unknown, seconds, .. } = self;
        let rate = *acknowledged as f64 / seconds.max(0.001);
        writeln!(f, "calls          {calls} in {seconds:.1} s")?;
        writeln!(f, "acknowledged   {acknowledged}, {rate:.0} a second")?;
        write!(f, "did not run    {}", self.did_not_run.values().sum::<u64>())?;
        for (reason, count) in &self.did_not_run {
            write!(f, ", {count} {reason}")?;
        }
        write!(f, "\nno answer      {unknown}")?;
        let found = [
            (self.found_executed, "found executed"),
            (self.found_not_executed, "found not executed"),
            (self.still_unknown, "still unknown"),
        ];
        for (count, what) in found.iter().filter(|_| *unknown > 0) {
            write!(f, ", {count} {what}")?;
        }
        if self.restarts > 0 {
            let times = self.restarts;
            write!(f, "\nbegan anew     {times}: the server was restarted, its table was empty")?;
        }
        let (Some(value), Some(verdict)) = (self.final_value, self.verdict) else {
            return write!(f, "\nvalue          {} before, not known now", self.initial_value);
        };
        write!(f, "\nvalue          {value}, and {} before", self.initial_value)?;
        let expected = Range(self.expected);
        match verdict {
            Verdict::Exact => write!(f, "\nexact          by the answers it is {expected}"),
            Verdict::Within => write!(f, "\nwithin         by the answers it is {expected}"),
            Verdict::Contradiction => write!(f, "\nCONTRADICTION  it should be {expected}"),
        }
    }
}

struct Range((i128, i128));

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (least, most) if least == most => least.fmt(f),
            (least, most) => write!(f, "{least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bailiwick::Outcome;

    use super::*;

    /// Calls that were answered with `sums`, one after the other.
    fn answered(initial: i64, sums: impl IntoIterator<Item = i64>) -> Tally {
        let mut tally = Tally::new(initial);
        for sum in sums {
            let mark = tally.begin();
            tally.acknowledged(mark, sum);
        }
        tally
    }

    fn unknown(tally: &mut Tally, outcome: Outcome) {
        tally.begin();
        tally.ended_unknown();
        tally.found(outcome);
    }

    fn verdict(tally: &Tally, initial: i64, last: i64) -> Verdict {
        Summary::of(tally, initial, Some(last), 1.0).verdict.unwrap()
    }

    #[test]
    fn the_value_is_exact_where_the_fate_of_each_call_is_known() {
        let mut tally = answered(100, 101..=110);
        assert_eq!(verdict(&tally, 100, 110), Verdict::Exact);
        assert_eq!(verdict(&tally, 100, 111), Verdict::Contradiction, "one ran twice");
        unknown(&mut tally, Outcome::Ran);
        unknown(&mut tally, Outcome::DidNotRun);
        assert_eq!(verdict(&tally, 100, 111), Verdict::Exact);
        assert_eq!(verdict(&tally, 100, 110), Verdict::Contradiction, "an increment was lost");
        assert_eq!(verdict(&tally, 100, 112), Verdict::Contradiction, "a wrong no");
    }

    #[test]
    fn what_is_not_known_widens_what_the_value_can_be() {
        let mut tally = answered(0, 1..=10);
        unknown(&mut tally, Outcome::Unknown);
        unknown(&mut tally, Outcome::Running);
        for (last, expected) in [
            (9, Verdict::Contradiction),
            (10, Verdict::Within),
            (12, Verdict::Within),
            (13, Verdict::Contradiction),
        ] {
            assert_eq!(verdict(&tally, 0, last), expected, "{last}");
        }
    }

    #[test]
    fn two_callers_with_the_same_answer_are_a_contradiction() {
        let mut tally = Tally::new(0);
        let (one, other) = (tally.begin(), tally.begin());
        tally.acknowledged(one, 1);
        tally.acknowledged(other, 1);
        assert_eq!(verdict(&tally, 0, 2), Verdict::Contradiction);
    }

    #[test]
    fn after_a_restart_the_last_life_must_come_out() {
        let mut tally = answered(0, (1..=50).chain(1..=20));
        assert_eq!(verdict(&tally, 0, 20), Verdict::Exact);
        assert_eq!(verdict(&tally, 0, 21), Verdict::Contradiction, "a wrong no");
        unknown(&mut tally, Outcome::Unknown);
        assert_eq!(verdict(&tally, 0, 21), Verdict::Within);
        assert_eq!(verdict(&tally, 0, 22), Verdict::Contradiction);
        assert_eq!(verdict(&tally, 0, 70), Verdict::Contradiction);
    }

    #[test]
    fn what_was_lost_with_the_first_server_did_not_run_at_the_second() {
        let mut tally = answered(0, 1..=50);
        let mark = tally.begin();
        let next = tally.begin();
        tally.acknowledged(next, 1);
        tally.ended_unknown();
        tally.lost(mark);
        assert_eq!(verdict(&tally, 0, 1), Verdict::Exact);
        assert_eq!(verdict(&tally, 0, 2), Verdict::Contradiction);
        // One that was lost with the last server may show.
        let mark = tally.begin();
        tally.ended_unknown();
        tally.lost(mark);
        assert_eq!(verdict(&tally, 0, 2), Verdict::Within);
    }

    #[test]
    fn an_answer_of_either_life_may_show_in_the_value() {
        let mut tally = answered(0, 1..=50);
        let early = tally.begin();
        let late = tally.begin();
        tally.acknowledged(late, 1);
        tally.acknowledged(early, 51);
        assert_eq!(verdict(&tally, 0, 1), Verdict::Within);
        assert_eq!(verdict(&tally, 0, 2), Verdict::Within);
        assert_eq!(verdict(&tally, 0, 3), Verdict::Contradiction);
    }

    #[test]
    fn an_old_answer_to_a_new_call_is_not_taken_for_a_restart() {
        // The server ran 60 calls, and gave the 51st the answer of the 3rd.
        let tally = answered(0, (1..=50).chain([3]).chain(52..=60));
        assert_eq!(verdict(&tally, 0, 60), Verdict::Contradiction);
    }

    #[test]
    fn the_summary_is_the_line_that_scripts_read() {
        let mut tally = answered(-3, [-2, -1]);
        tally.begin();
        tally.did_not_run("overloaded");
        unknown(&mut tally, Outcome::Ran);
        let line = serde_json::to_string(&Summary::of(&tally, -3, Some(0), 0.5)).unwrap();
        let expected = concat!(
            r#"{"calls":4,"acknowledged":2,"did_not_run":{"overloaded":1},"unknown":1,"#,
            r#""found_executed":1,"found_not_executed":0,"still_unknown":0,"#,
            r#""distinct_replies":2,"initial_value":-3,"final_value":0,"expected":[0,0],"#,
            r#""restarts":0,"verdict":"exact","seconds":0.5}"#
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn people_read_the_same_in_words() {
        let mut tally = answered(0, (1..=5).chain([1]));
        unknown(&mut tally, Outcome::Unknown);
        let text = Summary::of(&tally, 0, Some(2), 2.0).to_string();
        let expected = "\
calls          7 in 2.0 s
acknowledged   6, 3 a second
did not run    0
no answer      1, 0 found executed, 0 found not executed, 1 still unknown
began anew     1: the server was restarted, its table was empty
value          2, and 0 before
within         by the answers it is 1 to 2";
        assert_eq!(text, expected);
    }
}
