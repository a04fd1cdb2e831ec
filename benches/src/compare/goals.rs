//! What ours is to reach beside its peers in the same run, and whether it did.

use serde::Serialize;

use super::{Comparison, lone_p50};
use crate::{
    goals::{
        Bound::{AtLeast, AtMost},
        Verdict, verdict,
    },
    load::Sample,
    stats::Spread,
    system::System,
    workload::Workload,
};

const KIB: f64 = 1024.0;

/// Every goal that a comparison can judge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goals {
    /// Less than this is a defect.
    pub(crate) must: Vec<Verdict>,
    /// What the design can reach.
    pub(crate) aim: Vec<Verdict>,
}

/// Judges ours by what `comparison` measured.
pub(crate) fn judge(comparison: &Comparison) -> Goals {
    let ours = Ours { comparison, tcp: System::Bailiwick, udp: System::BailiwickUdp };
    let busy = Ours { tcp: System::BailiwickBusy, comparison, udp: System::BailiwickUdp };
    Goals { must: ours.must(), aim: [busy.busy_aim(), ours.aim()].concat() }
}

/// Ours and what it is held against.
struct Ours<'a> {
    comparison: &'a Comparison,
    tcp: System,
    udp: System,
}

impl Ours<'_> {
    fn must(&self) -> Vec<Verdict> {
        use System::{Quinn, TarpcTls, TonicTlsChacha};
        use Workload::{
            Connections64x4, Handshakes8, Kib1x8, Kib64x8, Lone, LoneHandshake, Mib1x8,
            Outstanding64, Outstanding256,
        };
        vec![
            verdict("lone call: p50, × floor", AtMost(1.10), self.p50_to_floor(Lone)),
            verdict("lone call: p50, × mTLS", AtMost(0.75), self.p50_to_mtls(Lone)),
            verdict("64 outstanding: calls/s, × mTLS", AtLeast(5.0), self.to_mtls(Outstanding64)),
            verdict(
                "64 outstanding: calls/s, × tarpc over TLS",
                AtLeast(3.0),
                self.rate(TarpcTls, Outstanding64),
            ),
            verdict(
                "64 outstanding: calls/s, × floor",
                AtLeast(0.85),
                self.to_floor(Outstanding64),
            ),
            verdict(
                "256 outstanding: calls/s, × mTLS",
                AtLeast(10.0),
                self.to_mtls(Outstanding256),
            ),
            verdict(
                "256 outstanding: calls/s, × floor",
                AtLeast(0.8),
                self.to_floor(Outstanding256),
            ),
            verdict("256 outstanding: CPU s per million calls", AtMost(1.5), self.cpu_at_256()),
            verdict(
                "64 connections × 4: calls/s, × mTLS",
                AtLeast(8.0),
                self.to_mtls(Connections64x4),
            ),
            verdict(
                "64 connections × 4: calls/s, × tarpc over TLS",
                AtLeast(2.3),
                self.rate(TarpcTls, Connections64x4),
            ),
            verdict(
                "64 connections × 4: calls/s, × floor",
                AtLeast(0.85),
                self.to_floor(Connections64x4),
            ),
            verdict(
                "1 KiB, 8 outstanding: calls/s, × quinn",
                AtLeast(1.0),
                self.rate(Quinn, Kib1x8),
            ),
            verdict("1 KiB, 8 outstanding: calls/s, × mTLS", AtLeast(2.0), self.to_mtls(Kib1x8)),
            verdict(
                "64 KiB, 8 outstanding: calls/s, × mTLS with ChaCha20-Poly1305",
                AtLeast(1.25),
                self.rate(TonicTlsChacha, Kib64x8),
            ),
            verdict(
                "64 KiB, 8 outstanding: calls/s, × tarpc over TLS",
                AtLeast(1.05),
                self.rate(TarpcTls, Kib64x8),
            ),
            verdict("1 MiB, 8 outstanding: calls/s, × mTLS", AtLeast(1.2), self.to_mtls(Mib1x8)),
            verdict(
                "handshakes, 8 at a time: a second, × mTLS",
                AtLeast(2.3),
                self.to_mtls(Handshakes8),
            ),
            verdict("handshake alone: p50, × mTLS", AtMost(0.4), self.p50_to_mtls(LoneHandshake)),
            verdict("idle connection, KiB", AtMost(10.0), self.idle_kib(self.tcp)),
            verdict("UDP: idle session, KiB", AtMost(10.0), self.idle_kib(self.udp)),
            verdict(
                "UDP, 64 outstanding: calls/s, × our TCP",
                AtLeast(0.7),
                self.udp_rate(self.tcp),
            ),
            verdict("UDP, 64 outstanding: calls/s, × quinn", AtLeast(1.0), self.udp_rate(Quinn)),
            verdict(
                "UDP, 64 outstanding, 1 % loss: calls/s, × without",
                AtLeast(0.5),
                self.under_loss(),
            ),
        ]
    }

    /// What is asked of both sides that look for more before they sleep.
    fn busy_aim(&self) -> Vec<Verdict> {
        use Workload::{Kib1x8, Lone, Outstanding64};
        let p50 = self.comparison.spread(self.tcp, Lone, lone_p50);
        vec![
            verdict("busy-polling, lone call: p50, µs", AtMost(10.0), p50),
            verdict("busy-polling, lone call: p50, × mTLS", AtMost(0.09), self.p50_to_mtls(Lone)),
            verdict(
                "busy-polling, 64 outstanding: calls/s, × mTLS",
                AtLeast(15.0),
                self.to_mtls(Outstanding64),
            ),
            verdict(
                "busy-polling, 64 outstanding: calls/s, × floor",
                AtLeast(2.0),
                self.to_floor(Outstanding64),
            ),
            verdict(
                "busy-polling, 1 KiB, 8 outstanding: calls/s, × mTLS",
                AtLeast(4.5),
                self.to_mtls(Kib1x8),
            ),
        ]
    }

    fn aim(&self) -> Vec<Verdict> {
        use Workload::{Connections64x4, Handshakes8, Kib64x8, Mib1x8, Outstanding256};
        vec![
            verdict(
                "256 outstanding: calls/s, × mTLS",
                AtLeast(18.0),
                self.to_mtls(Outstanding256),
            ),
            verdict("256 outstanding: CPU s per million calls", AtMost(0.8), self.cpu_at_256()),
            verdict(
                "64 connections × 4: calls/s, × mTLS",
                AtLeast(11.0),
                self.to_mtls(Connections64x4),
            ),
            verdict(
                "64 KiB, 8 outstanding: calls/s, × mTLS with ChaCha20-Poly1305",
                AtLeast(1.6),
                self.rate(System::TonicTlsChacha, Kib64x8),
            ),
            verdict("1 MiB, 8 outstanding: calls/s, × mTLS", AtLeast(1.8), self.to_mtls(Mib1x8)),
            verdict(
                "handshakes, 8 at a time: a second, × mTLS",
                AtLeast(3.3),
                self.to_mtls(Handshakes8),
            ),
            verdict("idle connection, KiB", AtMost(3.0), self.idle_kib(self.tcp)),
            verdict("UDP: idle session, KiB", AtMost(3.0), self.idle_kib(self.udp)),
            verdict(
                "UDP, 64 outstanding: calls/s, × ping-pong with as many",
                AtLeast(1.0),
                self.udp_rate(System::UdpPingPong),
            ),
            verdict(
                "UDP, 64 outstanding, 1 % loss: calls/s, × without",
                AtLeast(0.8),
                self.under_loss(),
            ),
        ]
    }

    fn rate(&self, base: System, workload: Workload) -> Option<Spread> {
        self.comparison.rate_ratio(self.tcp, base, workload)
    }

    fn to_mtls(&self, workload: Workload) -> Option<Spread> {
        self.rate(self.comparison.faster(System::MTLS, workload), workload)
    }

    fn to_floor(&self, workload: Workload) -> Option<Spread> {
        self.rate(self.comparison.faster(System::FLOORS, workload), workload)
    }

    fn p50_to(&self, bases: [System; 2], workload: Workload) -> Option<Spread> {
        let base = self.comparison.faster(bases, workload);
        self.comparison.ratio(self.tcp, base, workload, lone_p50)
    }

    fn p50_to_mtls(&self, workload: Workload) -> Option<Spread> {
        self.p50_to(System::MTLS, workload)
    }

    fn p50_to_floor(&self, workload: Workload) -> Option<Spread> {
        self.p50_to(System::FLOORS, workload)
    }

    fn cpu_at_256(&self) -> Option<Spread> {
        let workload = Workload::Outstanding256;
        self.comparison.spread(self.tcp, workload, Sample::cpu_seconds_per_million)
    }

    fn udp_rate(&self, base: System) -> Option<Spread> {
        self.comparison.rate_ratio(self.udp, base, Workload::Outstanding64)
    }

    fn under_loss(&self) -> Option<Spread> {
        self.comparison.under_loss(self.udp)
    }

    fn idle_kib(&self, system: System) -> Option<Spread> {
        self.comparison.idle_bytes(system).map(|bytes| Spread {
            median: bytes.median / KIB,
            min: bytes.min / KIB,
            max: bytes.max / KIB,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{Extent, IdleRecord, Record},
        load::Latency,
        machine::Machine,
    };

    /// What every system showed on every workload it has: `rate` says how many calls a second; a
    /// lone call takes the time of one.
    fn comparison(rate: impl Fn(System, Workload) -> f64) -> Comparison {
        let workloads = Workload::WITHOUT_LOSS.into_iter().chain(Workload::WITH_LOSS);
        let mut records = Vec::new();
        for workload in workloads {
            for system in System::ALL.into_iter().filter(|system| system.has(workload)) {
                let rate = rate(system, workload);
                let sample = Sample {
                    calls: 1_000_000,
                    calls_in_all: 1_000_000,
                    seconds: 1e6 / rate,
                    client_cpu_seconds: 0.3,
                    server_cpu_seconds: 0.4,
                    latency: Some(Latency { p50: 1e6 / rate, p99: 1e6 / rate }),
                };
                records.push(Record { system, workload, repetition: 0, sample });
            }
        }
        let idle = System::ALL.map(|system| IdleRecord { system, bytes_per_connection: 3072.0 });
        let (machine, extent) = (Machine::here(), Extent::QUICK);
        Comparison { machine, extent, records, idle: idle.into() }
    }

    fn missed(verdicts: &[Verdict]) -> Vec<&'static str> {
        verdicts.iter().filter(|verdict| !verdict.met).map(|verdict| verdict.what).collect()
    }

    #[test]
    fn a_system_twenty_times_as_fast_as_its_peers_and_as_fast_as_the_floor_meets_all() {
        let goals = judge(&comparison(|system, _| match system {
            System::BailiwickBusy => 200_000.0,
            System::Bailiwick | System::BailiwickUdp => 2000.0,
            System::FloorAtOnce | System::FloorAfterYield | System::UdpPingPong => 2000.0,
            _ => 100.0,
        }));
        assert_eq!(missed(&goals.must), Vec::<&str>::new());
        assert_eq!(missed(&goals.aim), Vec::<&str>::new());
    }

    #[test]
    fn a_system_as_fast_as_every_other_meets_only_what_asks_no_more() {
        let goals = judge(&comparison(|_, _| 100.0));
        let met: Vec<_> = goals.must.iter().filter(|goal| goal.met).map(|goal| goal.what).collect();
        let expected = [
            "lone call: p50, × floor",
            "64 outstanding: calls/s, × floor",
            "256 outstanding: calls/s, × floor",
            "256 outstanding: CPU s per million calls",
            "64 connections × 4: calls/s, × floor",
            "1 KiB, 8 outstanding: calls/s, × quinn",
            "idle connection, KiB",
            "UDP: idle session, KiB",
            "UDP, 64 outstanding: calls/s, × our TCP",
            "UDP, 64 outstanding: calls/s, × quinn",
            "UDP, 64 outstanding, 1 % loss: calls/s, × without",
        ];
        assert_eq!(met, expected);
    }

    #[test]
    fn the_faster_floor_and_the_faster_cipher_are_the_ones_that_count() {
        for fast in System::FLOORS {
            let goals = judge(&comparison(|system, _| if system == fast { 118.0 } else { 100.0 }));
            assert!(missed(&goals.must).contains(&"64 outstanding: calls/s, × floor"), "{fast:?}");
            assert!(missed(&goals.must).contains(&"lone call: p50, × floor"), "{fast:?}");
        }
        for fast in System::MTLS {
            let goals = judge(&comparison(|system, _| match system {
                System::Bailiwick => 300.0,
                _ if system == fast => 200.0,
                _ => 100.0,
            }));
            // Against the slower one it would be 3.
            assert!(
                missed(&goals.must).contains(&"1 KiB, 8 outstanding: calls/s, × mTLS"),
                "{fast:?}"
            );
        }
    }

    #[test]
    fn loss_is_judged_by_the_same_system_without_loss() {
        let goals = judge(&comparison(|_, workload| match workload {
            Workload::Lossy64 => 49.0,
            _ => 100.0,
        }));
        let what = "UDP, 64 outstanding, 1 % loss: calls/s, × without";
        assert!(missed(&goals.must).contains(&what) && missed(&goals.aim).contains(&what));
    }

    #[test]
    fn nothing_is_met_by_what_was_not_measured() {
        let mut empty = comparison(|_, _| 100.0);
        empty.records.clear();
        empty.idle.clear();
        let goals = judge(&empty);
        assert_eq!(missed(&goals.must).len(), goals.must.len());
        assert_eq!(missed(&goals.aim).len(), goals.aim.len());
    }
}
