//! The systems compared: their names, what their bytes travel by, and which rows they have.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// The systems compared, in the order in which the tables print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Plain coalesced echo; a batch is written after one yield.
    FloorAfterYield,
    /// Plain coalesced echo; a batch is written as soon as its writer runs.
    FloorAtOnce,
    /// As `FloorAfterYield`, each batch in one ChaCha20-Poly1305 record.
    FloorSealed,
    /// tarpc over plain TCP with bincode.
    Tarpc,
    /// tarpc over rustls with mutual authentication and ChaCha20-Poly1305.
    TarpcTls,
    /// tonic over plain TCP (h2c).
    Tonic,
    /// tonic with mutual TLS, in ring's own order of ciphers: AES-256-GCM.
    TonicTls,
    /// tonic with mutual TLS and ChaCha20-Poly1305.
    TonicTlsChacha,
    /// Cap'n Proto RPC over plain TCP.
    Capnp,
    /// Bailiwick over TCP with mutual authentication, encryption, policy and audit.
    Bailiwick,
    /// The same, clients calling once they are let in (`Channel::connect`).
    BailiwickConnect,
    /// The same, both sides looking for more before they sleep (`Limits::busy_poll`).
    BailiwickBusy,
    /// Plain echo with a datagram a call.
    UdpFloor,
    /// Two blocking sockets.
    UdpPingPong,
    /// quinn with a stream a call.
    Quinn,
    /// Bailiwick over UDP, else as over TCP.
    BailiwickUdp,
    /// Bailiwick over TCP with the policy of `policy`; not one of those compared.
    BailiwickDocuments,
    /// Bailiwick over TCP among the services of `growth`; not one of those compared.
    BailiwickCrowded,
}

impl System {
    /// Every system that is compared.
    pub(crate) const ALL: [Self; 16] = [
        Self::FloorAfterYield,
        Self::FloorAtOnce,
        Self::FloorSealed,
        Self::Tarpc,
        Self::TarpcTls,
        Self::Tonic,
        Self::TonicTls,
        Self::TonicTlsChacha,
        Self::Capnp,
        Self::Bailiwick,
        Self::BailiwickConnect,
        Self::BailiwickBusy,
        Self::UdpFloor,
        Self::UdpPingPong,
        Self::Quinn,
        Self::BailiwickUdp,
    ];

    /// The two floors over TCP, of which the faster one counts.
    pub(crate) const FLOORS: [Self; 2] = [Self::FloorAfterYield, Self::FloorAtOnce];

    /// tonic with its two ciphers, of which the faster one counts: *mTLS* in the goals.
    pub(crate) const MTLS: [Self; 2] = [Self::TonicTls, Self::TonicTlsChacha];

    /// The name on the command line, in tables and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FloorAfterYield => "floor-after-yield",
            Self::FloorAtOnce => "floor-at-once",
            Self::FloorSealed => "floor-sealed",
            Self::Tarpc => "tarpc",
            Self::TarpcTls => "tarpc-tls",
            Self::Tonic => "tonic",
            Self::TonicTls => "tonic-tls",
            Self::TonicTlsChacha => "tonic-tls-chacha",
            Self::Capnp => "capnp",
            Self::Bailiwick => "bailiwick",
            Self::BailiwickConnect => "bailiwick-connect",
            Self::BailiwickBusy => "bailiwick-busy",
            Self::UdpFloor => "udp-floor",
            Self::UdpPingPong => "udp-ping-pong",
            Self::Quinn => "quinn",
            Self::BailiwickUdp => "bailiwick-udp",
            Self::BailiwickDocuments => "bailiwick-documents",
            Self::BailiwickCrowded => "bailiwick-crowded",
        }
    }

    /// Whether it is Bailiwick.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Bailiwick
                | Self::BailiwickConnect
                | Self::BailiwickBusy
                | Self::BailiwickUdp
                | Self::BailiwickDocuments
                | Self::BailiwickCrowded
        )
    }

    /// Whether it has this row. Only what sends lost datagrams again is given loss.
    pub(crate) fn has(self, workload: Workload) -> bool {
        match self {
            Self::UdpPingPong => matches!(workload, Workload::Lone | Workload::Outstanding64),
            // A datagram a call, and no connection.
            Self::UdpFloor => {
                workload.loss() == 0.0 && !workload.is_handshake() && workload.payload() <= 1024
            }
            // What waits for a processor to wake, and what keeps both busy.
            Self::BailiwickBusy => matches!(
                workload,
                Workload::Lone
                    | Workload::Outstanding64
                    | Workload::Outstanding256
                    | Workload::Kib1x8
            ),
            // What encryption costs where batches are small and large.
            Self::FloorSealed => matches!(
                workload,
                Workload::Lone
                    | Workload::Outstanding64
                    | Workload::Outstanding256
                    | Workload::Connections64x4
            ),
            // Only how connections begin is another.
            Self::BailiwickConnect => workload == Workload::Lone || workload.is_handshake(),
            Self::Quinn => true,
            // A message over UDP has at most 1 MiB with its header; longer ones go by TCP.
            Self::BailiwickUdp => workload != Workload::Mib1x8,
            _ => workload.loss() == 0.0,
        }
    }

    /// Whether what its server keeps of a client that does not call is measured: some keep nothing, and
    /// one keeps what another does.
    pub(crate) fn has_connections(self) -> bool {
        !matches!(
            self,
            Self::FloorSealed
                | Self::UdpFloor
                | Self::UdpPingPong
                | Self::BailiwickConnect
                | Self::BailiwickBusy
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_called_on_the_command_line_as_in_the_tables() {
        for &system in System::value_variants() {
            assert_eq!(System::from_str(system.name(), false), Ok(system));
            assert_eq!(serde_json::to_value(system).unwrap(), system.name());
        }
    }

    #[test]
    fn every_system_has_the_lone_call_and_only_those_that_retry_have_loss() {
        assert!(System::ALL.iter().all(|system| system.has(Workload::Lone)));
        let lossy: Vec<_> =
            System::ALL.into_iter().filter(|system| system.has(Workload::Lossy64)).collect();
        assert_eq!(lossy, [System::Quinn, System::BailiwickUdp]);
    }
}
