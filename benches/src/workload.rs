//! How a system is called: so many calls outstanding on one connection, with or without loss.

use serde::Serialize;

/// Outstanding calls on the one connection, and whether datagrams are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// One: the next call waits for the last reply.
    Lone,
    /// Sixty-four.
    Outstanding64,
    /// Two hundred and fifty-six.
    Outstanding256,
    /// Sixty-four, while one datagram in a hundred is lost each way.
    Lossy64,
}

impl Workload {
    /// Every workload, in the order in which they are run.
    pub(crate) const ALL: [Self; 4] =
        [Self::Lone, Self::Outstanding64, Self::Outstanding256, Self::Lossy64];

    /// Those that lose nothing: all that a connection over TCP is given.
    pub(crate) const WITHOUT_LOSS: [Self; 3] =
        [Self::Lone, Self::Outstanding64, Self::Outstanding256];

    /// Those that lose datagrams.
    pub(crate) const WITH_LOSS: [Self; 1] = [Self::Lossy64];

    /// Calls in flight.
    pub(crate) fn outstanding(self) -> u32 {
        match self {
            Self::Lone => 1,
            Self::Outstanding64 | Self::Lossy64 => 64,
            Self::Outstanding256 => 256,
        }
    }

    /// The share of datagrams lost each way.
    pub(crate) fn loss(self) -> f64 {
        match self {
            Self::Lone | Self::Outstanding64 | Self::Outstanding256 => 0.0,
            Self::Lossy64 => 0.01,
        }
    }
}
