//! The time that the shell lives by: tokio's, so that a paused or simulated clock moves deadlines
//! too.

use std::time::Instant;

#[cfg(feature = "net")]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Without the shell there are only contexts to tell the time.
#[cfg(not(feature = "net"))]
pub(crate) fn now() -> Instant {
    Instant::now()
}
