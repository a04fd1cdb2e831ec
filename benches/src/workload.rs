//! How a system is called: so many connections, so many calls outstanding on each, so many bytes.

use clap::ValueEnum;
use serde::Serialize;

use crate::peer::PAYLOAD;

const KIB: usize = 1024;

/// One row of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// One call at a time: the next one waits for the last reply.
    Lone,
    /// Sixty-four on one connection.
    #[value(name = "outstanding-64")]
    Outstanding64,
    /// Two hundred and fifty-six on one connection.
    #[value(name = "outstanding-256")]
    Outstanding256,
    /// Four on each of sixty-four connections.
    #[value(name = "connections-64x4")]
    Connections64x4,
    /// Eight calls of 1 KiB on one connection.
    #[value(name = "kib-1x8")]
    Kib1x8,
    /// Eight calls of 64 KiB on one connection.
    #[value(name = "kib-64x8")]
    Kib64x8,
    /// Eight calls of 1 MiB on one connection.
    #[value(name = "mib-1x8")]
    Mib1x8,
    /// A connection for each call, one at a time.
    LoneHandshake,
    /// A connection for each call, eight at a time.
    #[value(name = "handshakes-8")]
    Handshakes8,
    /// Sixty-four on one connection, while one datagram in a hundred is lost each way.
    #[value(name = "lossy-64")]
    Lossy64,
}

impl Workload {
    /// Those that lose nothing, in the order in which they are run.
    pub(crate) const WITHOUT_LOSS: [Self; 9] = [
        Self::Lone,
        Self::Outstanding64,
        Self::Outstanding256,
        Self::Connections64x4,
        Self::Kib1x8,
        Self::Kib64x8,
        Self::Mib1x8,
        Self::LoneHandshake,
        Self::Handshakes8,
    ];

    /// Those that lose datagrams.
    pub(crate) const WITH_LOSS: [Self; 1] = [Self::Lossy64];

    /// Connections open at the same time.
    pub(crate) fn connections(self) -> u32 {
        match self {
            Self::Connections64x4 => 64,
            Self::Handshakes8 => 8,
            _ => 1,
        }
    }

    /// Calls in flight on each of them.
    pub(crate) fn outstanding(self) -> u32 {
        match self {
            Self::Lone | Self::LoneHandshake | Self::Handshakes8 => 1,
            Self::Connections64x4 => 4,
            Self::Kib1x8 | Self::Kib64x8 | Self::Mib1x8 => 8,
            Self::Outstanding64 | Self::Lossy64 => 64,
            Self::Outstanding256 => 256,
        }
    }

    /// Bytes of each call and of its reply.
    pub(crate) fn payload(self) -> usize {
        match self {
            Self::Kib1x8 => KIB,
            Self::Kib64x8 => 64 * KIB,
            Self::Mib1x8 => 1024 * KIB,
            _ => PAYLOAD,
        }
    }

    /// Whether each call opens a connection and closes it again.
    pub(crate) fn is_handshake(self) -> bool {
        matches!(self, Self::LoneHandshake | Self::Handshakes8)
    }

    /// Whether there is one call at a time, whose latency is what counts.
    pub(crate) fn is_lone(self) -> bool {
        matches!(self, Self::Lone | Self::LoneHandshake)
    }

    /// The shortest window in seconds: large calls are answered eight after eight, and a window that
    /// sees a few such rounds only would count by luck.
    pub(crate) fn least_window_seconds(self) -> f64 {
        if self == Self::Mib1x8 { 0.5 } else { 0.0 }
    }

    /// The share of datagrams lost each way.
    pub(crate) fn loss(self) -> f64 {
        if self == Self::Lossy64 { 0.01 } else { 0.0 }
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_run_with_loss_or_without() {
        let run = Workload::WITHOUT_LOSS.into_iter().chain(Workload::WITH_LOSS);
        assert_eq!(run.collect::<Vec<_>>(), Workload::value_variants());
        for workload in Workload::WITHOUT_LOSS {
            assert_eq!(workload.loss(), 0.0, "{workload:?}");
            assert_eq!(Workload::from_str(&workload.name(), false), Ok(workload));
        }
        assert!(Workload::WITH_LOSS.iter().all(|workload| workload.loss() > 0.0));
    }
}
