//! What the store is to reach, and whether it did.

use super::{
    Measured, System,
    checkpoint::{Checkpointed, Pauses},
    recovery::Recovered,
};
use crate::{
    goals::{Bound, Verdict, verdict},
    stats::Spread,
};

/// Judges what was measured.
pub(crate) fn judge(measured: &Measured) -> Vec<Verdict> {
    let to_redb = |writers| Spread::of(measured.ratio(writers, (System::Redb, writers)));
    let to_disk = Spread::of(measured.ratio(64, (System::Fdatasync, 1)));
    let recovery = |payload| {
        let of = measured.recoveries.iter().filter(move |it| it.payload == payload);
        Spread::of(of.map(recovery_share))
    };
    let checkpoints =
        |of: fn(&Checkpointed) -> f64| Spread::of(measured.checkpoints.iter().map(of));
    vec![
        verdict("updates/s, 1 writer, × redb", Bound::AtLeast(0.8), to_redb(1)),
        verdict("updates/s, 8 writers, × redb", Bound::AtLeast(0.8), to_redb(8)),
        verdict("updates/s, 64 writers, × redb", Bound::AtLeast(0.8), to_redb(64)),
        verdict("updates/s, 64 writers, × serial fdatasync", Bound::AtLeast(20.0), to_disk),
        verdict("recovery, 64 B, × (500 MB/s or 1 M records/s)", Bound::AtLeast(1.0), recovery(64)),
        verdict(
            "recovery, 4 KiB, × (500 MB/s or 1 M records/s)",
            Bound::AtLeast(1.0),
            recovery(4096),
        ),
        verdict(
            "checkpoint of 1 M keys: peak memory, × live",
            Bound::AtMost(2.0),
            checkpoints(Checkpointed::growth),
        ),
        verdict(
            "checkpoint of 1 M keys: longest read or write, ms",
            Bound::AtMost(50.0),
            checkpoints(|it| it.during.longest() * 1e3),
        ),
        verdict(
            "two-phase commit, 3 participants: forced writes before the answer",
            Bound::AtMost(3.0),
            Spread::of(measured.transactions.iter().map(|it| it.before_the_answer as f64)),
        ),
    ]
}

/// The better of both ways to be fast enough: by bytes, or by records.
fn recovery_share(recovered: &Recovered) -> f64 {
    (recovered.megabytes_per_second() / 500.0).max(recovered.records_per_second() / 1e6)
}

impl Checkpointed {
    /// The most memory as a multiple of what there was before.
    pub(super) fn growth(&self) -> f64 {
        self.peak_bytes as f64 / self.live_bytes as f64
    }
}

impl Pauses {
    /// The longest that anyone had to wait, in seconds.
    pub(super) fn longest(&self) -> f64 {
        self.read_seconds.max(self.write_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_is_fast_by_bytes_or_by_records() {
        let recovered = |bytes, records| Recovered { payload: 64, records, bytes, seconds: 1.0 };
        assert_eq!(recovery_share(&recovered(500_000_000, 1)), 1.0);
        assert_eq!(recovery_share(&recovered(1, 2_000_000)), 2.0);
        assert!(recovery_share(&recovered(499_000_000, 999_000)) < 1.0);
    }

    #[test]
    fn whoever_waits_longest_counts() {
        let pauses = |read, write| Pauses {
            seconds: 1.0,
            updates: 1,
            read_seconds: read,
            write_seconds: write,
        };
        assert_eq!(pauses(0.1, 0.2).longest(), 0.2);
        assert_eq!(pauses(0.3, 0.2).longest(), 0.3);
    }
}
