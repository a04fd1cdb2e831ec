//! Metrics, by the facade [`metrics`](https://docs.rs/metrics): whichever recorder is installed gets
//! them.
//!
//! Install the recorder before servers and channels are made: they find most of their counters then,
//! and of those that were made before most is not counted. With the feature `prometheus` `Prometheus` is one.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | `bailiwick_calls_total` | counter | service, method, outcome | calls that a server has answered or given up |
//! | `bailiwick_call_duration_seconds` | histogram | service, method | from a request's arrival to its handler's answer; refused calls are not in it |
//! | `bailiwick_calls_in_flight` | gauge | service, method | handlers at work that were not ready at once |
//! | `bailiwick_calls_waiting` | gauge | service | calls that wait because as many as the limits allow are at work |
//! | `bailiwick_call_queue_seconds` | histogram | service | how long those waited that then ran |
//! | `bailiwick_duplicate_requests_total` | counter | service, method | requests that had come before: answered from memory, or told that they are at work or too late |
//! | `bailiwick_client_calls_total` | counter | service, method, outcome | calls of this process's channels that are over |
//! | `bailiwick_client_call_duration_seconds` | histogram | service, method | from the call to its answer, the wait for a place and a connection included |
//! | `bailiwick_client_channels` | gauge | | channels in use |
//! | `bailiwick_sessions` | gauge | transport | sessions whose client has proven its key |
//! | `bailiwick_handshakes_refused_total` | counter | reason | connections and handshakes that were turned away |
//! | `bailiwick_policy_revision` | gauge | | grows with each policy that comes into force; the digest is in the audit |
//! | `bailiwick_policy_serial` | gauge | | the `serial` of the policy in force, 0 without one |
//! | `bailiwick_policy_loads_total` | counter | result | policies put in force (`ok`), and such as were not (`refused`), once for the same error of the same content; no shadow is in it |
//! | `bailiwick_audit_healthy` | gauge | | 1 while the audit log can be written, else 0 |
//! | `bailiwick_audit_records_total` | counter | | records of the audit log, those of earlier processes included |
//! | `bailiwick_audit_backlog_records` | gauge | | records that are not on the disk yet |
//!
//! A server's outcomes are `ok`, `app_error`, `denied`, `overloaded`, `deadline_exceeded`,
//! `unimplemented`, `malformed`, `internal`, `unavailable` and `cancelled`; a client has `not_sent`,
//! `outcome_unknown`, `answer_lost` and `protocol` beside them. `service` and `method` are those
//! that services declare; a request for any other is counted under `unknown`, so that no peer can
//! add to the number of series.

use ::metrics::{
    Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
};
use bailiwick_acl::Policy;

#[cfg(feature = "prometheus")]
pub use crate::prometheus::{MetricsPage, Prometheus, PrometheusError};

pub(crate) const CALLS: &str = "bailiwick_calls_total";
pub(crate) const CALL_SECONDS: &str = "bailiwick_call_duration_seconds";
pub(crate) const CALLS_IN_FLIGHT: &str = "bailiwick_calls_in_flight";
pub(crate) const CALLS_WAITING: &str = "bailiwick_calls_waiting";
pub(crate) const QUEUE_SECONDS: &str = "bailiwick_call_queue_seconds";
pub(crate) const REPEATED: &str = "bailiwick_duplicate_requests_total";
pub(crate) const CLIENT_CALLS: &str = "bailiwick_client_calls_total";
pub(crate) const CLIENT_CALL_SECONDS: &str = "bailiwick_client_call_duration_seconds";
pub(crate) const CHANNELS: &str = "bailiwick_client_channels";
pub(crate) const SESSIONS: &str = "bailiwick_sessions";
const HANDSHAKES_REFUSED: &str = "bailiwick_handshakes_refused_total";
const POLICY_REVISION: &str = "bailiwick_policy_revision";
const POLICY_SERIAL: &str = "bailiwick_policy_serial";
const POLICY_LOADS: &str = "bailiwick_policy_loads_total";
const AUDIT_HEALTHY: &str = "bailiwick_audit_healthy";
const AUDIT_RECORDS: &str = "bailiwick_audit_records_total";
const AUDIT_BACKLOG: &str = "bailiwick_audit_backlog_records";

/// Bounds of the histograms' buckets, in seconds, for recorders that need some.
pub const DURATION_BUCKETS: [f64; 17] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 10.0,
];

/// What becomes of a server's policies. They are read on other threads than the one that made the
/// server, where its recorder need not be found.
#[derive(Clone)]
pub(crate) struct PolicyLoads {
    ok: Counter,
    refused: Counter,
    revision: Gauge,
    serial: Gauge,
}

impl PolicyLoads {
    pub(crate) fn new() -> Self {
        Self {
            ok: counter!(POLICY_LOADS, "result" => "ok"),
            refused: counter!(POLICY_LOADS, "result" => "refused"),
            revision: gauge!(POLICY_REVISION),
            serial: gauge!(POLICY_SERIAL),
        }
    }

    /// A policy has come into force.
    pub(crate) fn loaded(&self, policy: &Policy) {
        self.ok.increment(1);
        self.revision.set(as_f64(policy.revision()));
        self.serial.set(as_f64(policy.serial().unwrap_or(0)));
    }

    /// A policy has not come into force: the one before stays.
    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }
}

/// So many connections or handshakes were turned away for this reason.
#[cfg(feature = "net")]
pub(crate) fn handshakes_refused(reason: &'static str, count: u64) {
    counter!(HANDSHAKES_REFUSED, "reason" => reason).increment(count);
}

/// How an audit log stands.
#[cfg(feature = "net")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditFigures {
    pub(crate) health: AuditHealth,
    /// Since the log was begun.
    pub(crate) records: u64,
    /// Records that are not on the disk yet.
    pub(crate) backlog: u64,
}

/// Whether an audit log can be written.
#[cfg(feature = "net")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditHealth {
    Healthy,
    Unhealthy,
}

#[cfg(feature = "net")]
impl AuditFigures {
    pub(crate) fn of(log: &bailiwick_acl::audit::AuditLog) -> Self {
        let health = if log.is_healthy() { AuditHealth::Healthy } else { AuditHealth::Unhealthy };
        let records = log.last().map_or(0, |last| last.0);
        Self { health, records, backlog: log.backlog() }
    }
}

/// How the audit log stands; to be told about once a second.
#[cfg(feature = "net")]
pub(crate) fn audit(figures: AuditFigures) {
    let healthy = figures.health == AuditHealth::Healthy;
    gauge!(AUDIT_HEALTHY).set(f64::from(u8::from(healthy)));
    counter!(AUDIT_RECORDS).absolute(figures.records);
    gauge!(AUDIT_BACKLOG).set(as_f64(figures.backlog));
}

/// Tells a recorder what the metrics are.
pub(crate) fn describe() {
    describe_counter!(CALLS, "Calls that a server has answered or given up.");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "From a request's arrival to its answer.");
    describe_gauge!(CALLS_IN_FLIGHT, "Handlers at work that were not ready at once.");
    describe_gauge!(CALLS_WAITING, "Calls that wait for one at work to end.");
    describe_histogram!(QUEUE_SECONDS, Unit::Seconds, "How long calls waited that then ran.");
    describe_counter!(REPEATED, "Requests that had come before.");
    describe_counter!(CLIENT_CALLS, "Calls of this process's channels that are over.");
    describe_histogram!(CLIENT_CALL_SECONDS, Unit::Seconds, "From a call to its answer.");
    describe_gauge!(CHANNELS, "Channels in use.");
    describe_gauge!(SESSIONS, "Sessions whose client has proven its key.");
    describe_counter!(HANDSHAKES_REFUSED, "Connections and handshakes that were turned away.");
    describe_gauge!(POLICY_REVISION, "Grows with each policy that comes into force.");
    describe_gauge!(POLICY_SERIAL, "The serial of the policy in force, 0 without one.");
    describe_counter!(POLICY_LOADS, "Policies put in force, and such as were refused.");
    describe_gauge!(AUDIT_HEALTHY, "1 while the audit log can be written, else 0.");
    describe_counter!(AUDIT_RECORDS, "Records of the audit log.");
    describe_gauge!(AUDIT_BACKLOG, "Records that are not on the disk yet.");
}

/// A number as a gauge has it: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(all(test, feature = "net"))]
mod tests {
    use std::time::UNIX_EPOCH;

    use bailiwick_acl::audit::{AuditLog, Event, Record};

    use super::*;

    #[test]
    fn records_are_counted_and_those_that_no_disk_has_yet() {
        let folder = tempfile::tempdir().unwrap();
        let random = |bytes: &mut [u8]| bytes.fill(7);
        let log = AuditLog::open(folder.path().join("audit.jsonl"), "n", random).unwrap();
        let figures = || {
            let AuditFigures { records, backlog, .. } = AuditFigures::of(&log);
            (records, backlog)
        };
        assert_eq!(figures(), (0, 0));
        log.append(&Record::of(Event::PolicyLoad), UNIX_EPOCH).unwrap();
        // The checkpoint that a log begins with is synced at once.
        log.sync().unwrap();
        assert_eq!(figures(), (2, 0));
        log.append(&Record::of(Event::PolicyLoad), UNIX_EPOCH).unwrap();
        assert_eq!(figures(), (3, 1));
    }
}
