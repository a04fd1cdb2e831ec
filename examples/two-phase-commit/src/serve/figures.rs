//! A node's figures, as metrics beside those of its server.
//!
//! | name | kind | what |
//! |---|---|---|
//! | `bailiwick_in_doubt_transactions` | gauge | voted yes here and not decided, as far as this participant knows |
//! | `bailiwick_in_doubt_oldest_seconds` | gauge | the age of the oldest of them |
//! | `bailiwick_undecided_transactions` | gauge | under way at this coordinator and not decided |
//! | `bailiwick_unfinished_transactions` | gauge | committed by it and not acknowledged by all |
//! | `bailiwick_unfinished_oldest_seconds` | gauge | the age of the oldest of both |
//! | `bailiwick_forced_writes_total` | counter | how often the log has been forced to the disk since the start |

use std::{convert::Infallible, time::Duration};

use metrics::gauge;
use tokio::time;
use two_phase_commit::{
    coordinator::Coordinator,
    machine::{Machine, Time},
    participant::Participant,
};

use super::engine::Engine;

/// Sets the gauges of a machine.
pub(crate) type Figures<M> = fn(&M, Time);

/// How often they are set.
const EVERY: Duration = Duration::from_secs(1);

/// How often a node's log was forced.
pub(super) const FORCED_WRITES: &str = "bailiwick_forced_writes_total";

/// Looks at the machine for as long as this is polled.
pub(super) async fn watch<M>(engine: Engine<M>, figures: Figures<M>) -> Infallible
where
    M: Machine + Send + 'static,
    M::Request: Send,
    M::Answer: Send,
    M::Record: Send,
{
    let mut ticks = time::interval(EVERY);
    loop {
        ticks.tick().await;
        // A node with too much to do is looked at a second later.
        let _ = engine.look(figures).await;
    }
}

/// A coordinator's.
pub(crate) fn of_coordinator(machine: &Coordinator, now: Time) {
    let gauges = machine.gauges(now);
    gauge!("bailiwick_undecided_transactions").set(count(gauges.undecided));
    gauge!("bailiwick_unfinished_transactions").set(count(gauges.unfinished));
    gauge!("bailiwick_unfinished_oldest_seconds").set(gauges.oldest.as_secs_f64());
}

/// A participant's.
pub(crate) fn of_participant(machine: &Participant, now: Time) {
    let gauges = machine.gauges(now);
    gauge!("bailiwick_in_doubt_transactions").set(count(gauges.in_doubt));
    gauge!("bailiwick_in_doubt_oldest_seconds").set(gauges.oldest.as_secs_f64());
}

fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
