//! What a server does with more calls than it can run at once: a bound on those at work, a bounded
//! queue of those that wait, and an honest refusal beyond it.
//!
//! ```text
//! request -> gate open? -> handler
//!                 |no
//!                 v
//!               queue -> a place is free, in time -> handler
//!                 |        a place is free, too late -> DeadlineExceeded, did not run
//!                 |full
//!                 v
//!             Overloaded, did not run
//! ```
//!
//! `queue` decides who waits, who is next and who is crowded out, `standing` in which order, `rate` when
//! it is worth coming back; they are told the time. `gate` counts the calls of a service that are at
//! work, and `parked` is what a connection knows of its calls that wait. `lateness` is the clock of a
//! batch of requests.

mod gate;
#[cfg(feature = "net")]
mod lateness;
mod parked;
mod queue;
mod rate;
mod standing;

pub(crate) use gate::{Class, Gate, Now, Slot};
#[cfg(feature = "net")]
pub(crate) use lateness::Lateness;
pub(crate) use parked::{Parked, Summons, Verdict, Waiting};
