//! Questions about a policy as a whole: what is odd in it, who can do what, what a change changes.
//!
//! A [`Ruleset`] is a policy that loads, with its rows kept as their author wrote them. All else
//! here are pure functions of it:
//!
//! * [`lints`]: rows that never matter, say the same twice, or pull in two directions;
//! * [`near_misses`]: the rows that nearly allowed what was denied;
//! * [`suggest`]: the fewest rows that would have let refused requests through;
//! * [`who_can`] and [`what_can`]: who may do something, and what someone may do;
//! * [`diff`]: every request that another policy answers otherwise;
//! * [`expectations`]: a file of `expect` lines, to be put to any policy;
//! * [`format()`]: the same file with its columns lined up.
//!
//! Answers are exact, since wildcards are whole segments: what two patterns have in common is one
//! pattern again, and whether some patterns together cover another is decided by trying, for each
//! length, a name whose free segments nobody has written down. Which names are short enough for
//! [`MAX_BYTES`](crate::object::MAX_BYTES) is not asked.

mod difference;
mod expectations;
mod holders;
mod index;
mod layout;
mod lint;
mod near;
mod overlap;
mod refusals;
mod region;
mod ruleset;
mod sides;
mod suggestions;
mod verb_set;

pub use difference::{Change, Difference, KeyChange, diff};
pub use expectations::{Expectation, expectations};
pub use holders::{Holder, Holding, what_can, who_can};
pub use layout::format;
pub use lint::{MAX_LINTS, lints};
pub use near::{MAX_NEAR_MISSES, Miss, NearMiss, near_misses};
pub use refusals::{MAX_REQUESTS, Refusal, Refusals};
pub use region::Region;
pub use ruleset::Ruleset;
pub use suggestions::{
    Alternative, MAX_ALTERNATIVES, MAX_TRIALS, NotSuggested, Suggestion, Suggestions, Why, suggest,
};
pub use verb_set::VerbSet;
