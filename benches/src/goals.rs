//! A goal, what was measured for it, and whether it is met.

use serde::Serialize;

use crate::stats::Spread;

/// One goal and what was measured for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// What is measured, with its unit.
    pub(crate) what: &'static str,
    /// Where it must lie.
    pub(crate) bound: Bound,
    /// What was measured; `None` if nothing was.
    pub(crate) measured: Option<Spread>,
    /// Whether the median lies there. What was not measured is not met.
    pub(crate) met: bool,
}

/// Where a measured median must lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Bound {
    fn holds(self, median: f64) -> bool {
        match self {
            Self::AtLeast(least) => median >= least,
            Self::AtMost(most) => median <= most,
        }
    }
}

/// Judges the median of what was measured by `bound`.
pub(crate) fn verdict(what: &'static str, bound: Bound, measured: Option<Spread>) -> Verdict {
    let met = measured.is_some_and(|spread| bound.holds(spread.median));
    Verdict { what, bound, measured, met }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_by_its_median_at_the_bound_and_not_beyond() {
        let judged = |bound, median| verdict("", bound, Spread::of([0.0, median, 9.0])).met;
        assert!(judged(Bound::AtLeast(2.0), 2.0) && !judged(Bound::AtLeast(2.0), 1.99));
        assert!(judged(Bound::AtMost(2.0), 2.0) && !judged(Bound::AtMost(2.0), 2.01));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        assert!(!verdict("", Bound::AtMost(2.0), None).met);
        assert!(!verdict("", Bound::AtMost(2.0), Spread::of([f64::NAN])).met);
    }
}
