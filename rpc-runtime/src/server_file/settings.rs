//! The tables of the file: `[policy]`, `[audit]` and `[limits]`.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use bailiwick_acl::monitor::Allows;
use bailiwick_crypto::PublicKey;

use super::{AuditError, AuditLog, Endpoint, Limits, Section, Setting, Unfit, Value};
use crate::witness::WitnessSink;

/// `[policy]`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PolicySettings {
    /// `file`: the policy.
    pub file: PathBuf,
    /// `principals`: a file of further `principal` lines.
    pub principals: Option<PathBuf>,
    /// `signer`: who must have signed both.
    pub signer: Option<PublicKey>,
    /// `at_least`: the lowest serial that is taken.
    pub at_least: Option<u64>,
    /// `shadow`: a policy that is judged beside the one in force.
    pub shadow: Option<PathBuf>,
    /// `[policy.permissive]`: who may do what no row speaks of, and until when.
    pub permissive: Vec<(String, SystemTime)>,
}

/// `[audit]`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditSettings {
    /// `file`: the log.
    pub file: PathBuf,
    /// `second`: another file for the same records.
    pub second: Option<PathBuf>,
    /// `checkpoints`: a file elsewhere for the checkpoints alone.
    pub checkpoints: Option<PathBuf>,
    /// `key_file`: the private keys of the checkpoints; beside `file` if it is not there.
    pub key_file: Option<PathBuf>,
    /// `redaction_key`: what marks arguments; beside `file` if it is not there.
    pub redaction_key: Option<PathBuf>,
    /// `rotate_at`: bytes at which a file gives way to the next.
    pub rotate_at: Option<u64>,
    /// `reserve`: bytes of the disk that are held ready for refusals.
    pub reserve: Option<u64>,
    /// `allowed`: which allowed calls are recorded too: `none`, `mutating` or `all`.
    pub allowed: Allows,
    /// `[audit.witness]`: a server that keeps the checkpoints.
    pub witness: Option<WitnessSettings>,
}

/// `[audit.witness]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WitnessSettings {
    /// `endpoint`: where it listens.
    pub endpoint: Endpoint,
    /// `server`: the key that it must prove.
    pub server: PublicKey,
    /// `identity`: the key file of who calls it; the server's own if it is not there.
    pub identity: Option<PathBuf>,
}

impl PolicySettings {
    pub(super) fn of(mut section: Section<'_>) -> Option<Self> {
        let file = section.require("file");
        let principals = section.get("principals");
        let signer = section.get("signer");
        let at_least = section.get("at_least");
        let shadow = section.get("shadow");
        let permissive = section.section("permissive").entries();
        section.finish();
        Some(Self { file: file?, principals, signer, at_least, shadow, permissive })
    }
}

impl AuditSettings {
    pub(super) fn of(mut section: Section<'_>) -> Option<Self> {
        let file = section.require::<PathBuf>("file");
        let second = section.get("second");
        let checkpoints = section.get("checkpoints");
        for (key, other) in [("second", &second), ("checkpoints", &checkpoints)] {
            if other.is_some() && *other == file {
                let help = "name a file on another disk, or leave it out".to_owned();
                section.refuse(key, format!("`{key}` is the log itself"), help);
            }
        }
        let key_file = section.get("key_file");
        let redaction_key = section.get("redaction_key");
        let rotate_at = section.get("rotate_at");
        let reserve = section.get("reserve");
        let allowed = section.get("allowed").unwrap_or_default();
        let witness = section.section("witness");
        let witness = witness.is_given().then(|| WitnessSettings::of(witness)).flatten();
        section.finish();
        Some(Self {
            file: file?,
            second,
            checkpoints,
            key_file,
            redaction_key,
            rotate_at,
            reserve,
            allowed,
            witness,
        })
    }

    pub(super) fn open(&self, witness: Option<WitnessSink>) -> Result<AuditLog, AuditError> {
        let mut log = AuditLog::builder().file(&self.file);
        if let Some(second) = &self.second {
            log = log.file(second);
        }
        if let Some(checkpoints) = &self.checkpoints {
            log = log.checkpoints(checkpoints);
        }
        if let Some(key_file) = &self.key_file {
            log = log.key_file(key_file);
        }
        if let Some(redaction_key) = &self.redaction_key {
            log = log.redaction_key(redaction_key);
        }
        if let Some(rotate_at) = self.rotate_at {
            log = log.rotate_at(rotate_at);
        }
        if let Some(reserve) = self.reserve {
            log = log.reserve(reserve);
        }
        if let Some(witness) = witness {
            log = log.witness(Box::new(witness));
        }
        log.open()
    }
}

impl WitnessSettings {
    fn of(mut section: Section<'_>) -> Option<Self> {
        let endpoint = section.require("endpoint");
        let server = section.require("server");
        let identity = section.get("identity");
        section.finish();
        Some(Self { endpoint: endpoint?, server: server?, identity })
    }
}

impl Setting for Allows {
    const EXPECTED: &'static str = "\"none\", \"mutating\" or \"all\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        match value.text()? {
            "none" => Ok(Self::None),
            "mutating" => Ok(Self::Mutating),
            "all" => Ok(Self::All),
            other => Err(Unfit::Value(format!("`{other}` is none of them"))),
        }
    }
}

/// `[limits]`
pub(super) fn limits(mut section: Section<'_>) -> Limits {
    let mut limits = Limits::default();
    section.set("max_frame", &mut limits.max_frame);
    section.set("max_calls_in_flight", &mut limits.max_calls_in_flight);
    section.set("max_calls_in_flight_udp", &mut limits.max_calls_in_flight_udp);
    section.set("max_concurrent_calls", &mut limits.max_concurrent_calls);
    section.set("max_queued_calls", &mut limits.max_queued_calls);
    section.set("max_message_udp", &mut limits.max_message_udp);
    section.set("max_reassembly_total", &mut limits.max_reassembly_total);
    section.set("max_clients", &mut limits.max_clients);
    section.set("lease", &mut limits.lease);
    section.set("max_kept_answers", &mut limits.max_kept_answers);
    section.set("max_unsent", &mut limits.max_unsent);
    section.set("max_metadata", &mut limits.max_metadata);
    section.set("max_deadline", &mut limits.max_deadline);
    section.set("max_connections", &mut limits.max_connections);
    section.set("max_connections_per_source", &mut limits.max_connections_per_source);
    section.set("max_half_open", &mut limits.max_half_open);
    section.set("max_half_open_per_source", &mut limits.max_half_open_per_source);
    section.set("handshake_timeout", &mut limits.handshake_timeout);
    section.set("initial_rto", &mut limits.initial_rto);
    section.set("min_rto", &mut limits.min_rto);
    section.set("idle_timeout", &mut limits.idle_timeout);
    section.set("keepalive", &mut limits.keepalive);
    section.set("drain_timeout", &mut limits.drain_timeout);
    section.set("busy_poll", &mut limits.busy_poll);
    if let Err(error) = limits.check() {
        let message = format!("`{}` is out of range", error.field);
        section.refuse(error.field, message, format!("it must be {}", error.range));
    }
    section.finish();
    limits
}
