//! What the engine is to reach, and whether it did.

use super::{MANY, Measured, ROWS, contender::Contender};
use crate::{
    goals::{Bound, Verdict, verdict},
    stats::Spread,
    workload::Workload,
};

/// Bytes of a megabyte as the goal counts them.
pub(super) const MB: f64 = 1e6;

/// Judges what was measured.
pub(crate) fn judge(measured: &Measured) -> Vec<Verdict> {
    let ours = |rows, of: fn(&super::Figures) -> f64| {
        Spread::of(measured.each(Contender::Bailiwick, rows, of))
    };
    let p50 = |rows| ours(rows, |it| it.p50_nanos);
    let calls = |workload| {
        let many = measured.calls(MANY, workload);
        let few = measured.calls(ROWS[0], workload);
        Spread::of(many.zip(few).map(|(many, few)| many / few))
    };
    let bound = Bound::AtLeast(0.95);
    vec![
        verdict("decision p50, 10 rows, ns", Bound::AtMost(100.0), p50(ROWS[0])),
        verdict("decision p50, 10,000 rows, ns", Bound::AtMost(250.0), p50(ROWS[1])),
        verdict("decision p50, 1,000,000 rows, ns", Bound::AtMost(2_000.0), p50(MANY)),
        verdict("loading 1,000,000 rows, s", Bound::AtMost(2.0), ours(MANY, |it| it.load_seconds)),
        verdict(
            "most memory while loading 1,000,000 rows, MB",
            Bound::AtMost(400.0),
            ours(MANY, |it| it.peak_bytes as f64 / MB),
        ),
        verdict("calls/s at 64, 1,000,000 rows, × 10 rows", bound, calls(Workload::Outstanding64)),
        verdict(
            "calls/s at 256, 1,000,000 rows, × 10 rows",
            bound,
            calls(Workload::Outstanding256),
        ),
    ]
}
