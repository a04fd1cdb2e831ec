//! The reference monitor: judges every request, puts refusals on record, and alone makes a [`Grant`].
//!
//! Of the refusals of one kind (principal, method, verb, reason) the first [`FULL_PER_SECOND`] of a
//! second are recorded in full, and the others within a second as one `summary`; a caller whose
//! refusal is only counted is told the number of the last one in full. All methods that nobody has are
//! one kind.
//!
//! It fails closed. Where a record cannot be written that must be written, the request is refused;
//! while the log is unhealthy every request is, and each one tries to heal it.

mod answer;
mod caller;
mod events;
mod flood;
mod modes;
mod remembered;
mod revisions;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::audit::{AuditError, AuditId, AuditLog, Event, Record};
use crate::policy::{Decision, Effect, Policy, Reason, Subjects};
use flood::{Admitted, Asked, Flood, Kind};
use modes::{Forgiven, Modes};

pub use answer::{Denial, Grant, Refused, ReplaceError};
pub use caller::Caller;
pub use flood::{FULL_PER_SECOND, MAX_DISTINCT, MAX_KINDS};
pub use modes::{MAX_PERMISSIVE, Mode, ModeError};
pub use revisions::Rejected;

/// Judges requests by the policy in force.
pub struct Monitor {
    policy: ArcSwap<Policy>,
    /// Under which revision what callers remember holds: that of the policy in force, or of one that is
    /// about to be. It is never behind.
    remembered_under: AtomicU64,
    audit: AuditLog,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    allows: Allows,
    handshakes: Mutex<Flood>,
    sessions: Mutex<Flood>,
    packets: Mutex<Flood>,
    denials: Mutex<Flood>,
    /// Held while one policy gives way to another, so that serials are compared in turn.
    replacing: Mutex<()>,
    modes: Modes,
}

/// Which allowed requests go on record; refused ones always do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allows {
    /// None: an allowed call costs no lock.
    #[default]
    None,
    /// Those that change something.
    Mutating,
    /// All.
    All,
}

/// One request, as its method declares it and its arguments fill it in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The service asked for.
    pub service: &'a str,
    /// The method asked for.
    pub method: &'a str,
    /// The verb that the method declares.
    pub verb: &'a str,
    /// The literal names of the objects it touches; all must be allowed. None at all is denied,
    /// except before the arguments are decoded, in [`Monitor::gate`] and [`Monitor::refuse`].
    pub objects: &'a [&'a str],
    /// Whether the call may change something.
    pub mutating: bool,
    /// Which calls of the method go on record.
    pub recorded: Recorded,
    /// What may be seen of its arguments, by their names.
    pub arguments: &'a [(&'a str, &'a str)],
    /// The call's number.
    pub call: u64,
}

/// Which calls of a method go on record, beside those that are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recorded {
    /// Those that [`Allows`] says.
    #[default]
    AsTheServerSays,
    /// All.
    Always,
}

impl Monitor {
    /// Puts `policy` in force and its load on record. `clock` gives the time of each record. Where the
    /// log's disk is busy this blocks for up to [`START_DEADLINE`](crate::audit::START_DEADLINE).
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the log cannot be written: a server must not start.
    pub fn new(
        policy: Policy,
        audit: AuditLog,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<Self, AuditError> {
        let monitor = Self {
            remembered_under: AtomicU64::new(policy.revision()),
            policy: ArcSwap::from_pointee(policy),
            audit,
            clock: Box::new(clock),
            allows: Allows::default(),
            handshakes: Mutex::default(),
            sessions: Mutex::default(),
            packets: Mutex::default(),
            denials: Mutex::default(),
            replacing: Mutex::default(),
            modes: Modes::default(),
        };
        monitor.record_start()?;
        Ok(monitor)
    }

    /// The same monitor, recording these allowed requests as well. Default: none.
    #[must_use]
    pub fn recording(mut self, allows: Allows) -> Self {
        self.allows = allows;
        self
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Looks up the principal of a key that a peer has proven.
    ///
    /// `fingerprint`, `session` and `peer` (its address) go into the records of its calls.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the key is bound to nobody; that is on record then.
    pub fn admit(
        &self,
        key: &[u8; 32],
        fingerprint: &str,
        session: [u8; 8],
        peer: &str,
    ) -> Result<Caller, Refused> {
        let policy = self.policy.load();
        let subjects = policy.principal_of(key).and_then(|name| policy.subjects(name.as_str()));
        match subjects {
            Some(subjects) => Ok(Caller::new(subjects, Some((*key, fingerprint)), session, peer)),
            None => {
                let reason = Reason::UnknownPrincipal.as_str();
                Err(Refused { audit: self.handshake_refused(peer, reason, Some(fingerprint)) })
            }
        }
    }

    /// The caller named `principal`, without a key: for in-process channels and tests.
    #[must_use]
    pub fn caller(&self, principal: &str, session: [u8; 8], peer: &str) -> Option<Caller> {
        let subjects = self.policy.load().subjects(principal)?;
        Some(Caller::new(subjects, None, session, peer))
    }

    /// Judges a request and puts what must be on record there, before it may run.
    ///
    /// # Errors
    ///
    /// [`Denial`]: no handler may run.
    pub fn authorize(&self, caller: &mut Caller, request: &Request<'_>) -> Result<Grant, Denial> {
        self.heal()?;
        let is_recorded = match (request.recorded, self.allows) {
            (Recorded::Always, _) | (_, Allows::All) => true,
            (_, Allows::Mutating) => request.mutating,
            (_, Allows::None) => false,
        };
        if !is_recorded && let Some(grant) = self.as_before(caller, request) {
            return Ok(grant);
        }
        let policy = self.policy.load();
        let (decision, object) = judge(&policy, caller, request);
        self.compare(caller, request, decision);
        let row = match (decision.effect, decision.row) {
            (Effect::Allow, Some(row)) => row,
            _ => return self.deny_or_forgive(&policy, caller, request, (decision, object)),
        };
        if is_recorded {
            self.record(Mode::Enforce, &policy, caller, request, object, decision)
                .ok_or(Denial::Unrecorded)?;
        }
        let revision = policy.revision();
        if let [object] = *request.objects {
            caller.remembered.keep((revision, request.verb, object), row);
        }
        Ok(Grant { row: Some(row), revision })
    }

    /// What was granted last, if this caller asks the same again under the same policy.
    #[inline]
    fn as_before(&self, caller: &Caller, request: &Request<'_>) -> Option<Grant> {
        let [object] = *request.objects else { return None };
        let revision = self.remembered_under.load(Ordering::Acquire);
        let row = caller.remembered.row((revision, request.verb, object))?;
        (!self.is_shadowed()).then_some(Grant { row: Some(row), revision })
    }

    #[cold]
    fn deny_or_forgive<'r>(
        &self,
        policy: &Policy,
        caller: &Caller,
        request: &Request<'r>,
        refused: (Decision, Option<&'r str>),
    ) -> Result<Grant, Denial> {
        match self.forgive(policy, caller, request, refused) {
            Forgiven::Yes => Ok(Grant { row: None, revision: policy.revision() }),
            Forgiven::No((decision, object)) => {
                Err(self.deny(policy, caller, request, object, decision))
            }
            Forgiven::Unrecorded => Err(Denial::Unrecorded),
        }
    }

    /// Judges a verb before the arguments are decoded; allowed if some object might be.
    ///
    /// # Errors
    ///
    /// [`Denial`] if the caller may not use the verb on any object: do not decode.
    pub fn gate(&self, caller: &Caller, request: &Request<'_>) -> Result<(), Denial> {
        let policy = self.policy.load();
        let decision = match caller.subjects(&policy) {
            Some(subjects) => policy.gate(&subjects, request.verb),
            None => Decision::denied(Reason::UnknownPrincipal),
        };
        let forgiven = || decision.reason == Reason::Default && self.is_permissive(caller);
        if decision.is_allowed() || forgiven() {
            return Ok(());
        }
        Err(self.deny(&policy, caller, request, None, decision))
    }

    /// Whether the caller may ever use this verb, on whatever object; nothing goes on record.
    #[must_use]
    pub fn may_ever(&self, caller: &Caller, verb: &str) -> bool {
        let policy = self.policy.load();
        caller.subjects(&policy).is_some_and(|subjects| policy.may_ever(&subjects, verb))
    }

    /// Puts on record that a request was refused for a `reason` that is not the policy's, such as
    /// [`Reason::UnknownMethod`] or [`Reason::FalseRetry`].
    pub fn refuse(&self, caller: &Caller, request: &Request<'_>, reason: Reason) -> Denial {
        let policy = self.policy.load();
        let object = request.objects.first().copied();
        self.deny(&policy, caller, request, object, Decision::denied(reason))
    }

    /// Gives an unhealthy log a chance to heal; until it does, nothing may run.
    fn heal(&self) -> Result<(), Denial> {
        if self.audit.is_healthy() {
            return Ok(());
        }
        self.audit.recover((self.clock)()).map_err(|_| {
            self.audit.missed();
            Denial::Unrecorded
        })
    }

    /// Puts a refusal on record: in full, or among those of its kind that are only counted, which
    /// [`Denial::Recorded`] then names by the last one in full.
    #[cold]
    fn deny(
        &self,
        policy: &Policy,
        caller: &Caller,
        request: &Request<'_>,
        object: Option<&str>,
        decision: Decision,
    ) -> Denial {
        let reason = decision.reason;
        if let Err(unrecorded) = self.heal() {
            return unrecorded;
        }
        let kind = kind(caller, request, reason);
        let now = (self.clock)();
        let (admitted, due) = events::locked(&self.denials).admit(&kind, 1, object, now);
        self.summarize(&self.denials, Event::Decision, due, now);
        let audit = match admitted {
            Admitted::Counted(like) => like,
            Admitted::InFull => {
                self.record(Mode::Enforce, policy, caller, request, object, decision)
            }
        };
        let Some(audit) = audit else { return Denial::Unrecorded };
        if matches!(admitted, Admitted::InFull) {
            events::locked(&self.denials).recorded(&kind, audit);
        }
        Denial::Recorded { audit, reason }
    }

    fn record(
        &self,
        mode: Mode,
        policy: &Policy,
        caller: &Caller,
        request: &Request<'_>,
        object: Option<&str>,
        decision: Decision,
    ) -> Option<AuditId> {
        let call = request.call.to_string();
        let record = Record {
            principal: Some(caller.principal().as_str()),
            key: caller.key(),
            session: Some(caller.session()),
            peer: Some(caller.peer()),
            service: named(request.service),
            method: named(request.method),
            verb: named(request.verb),
            object,
            row: decision.row.map(|row| (policy.name(), row.line)),
            policy: Some(policy.digest()),
            serial: policy.serial(),
            mode: Some(mode.as_str()),
            call: Some(&call),
            arguments: request.arguments,
            ..Record::of(Event::Decision).judged(decision.effect, decision.reason)
        };
        self.audit.append(&record, (self.clock)()).ok()
    }
}

/// What a refusal is counted by in a flood. An unknown method is whatever the peer says, who could make
/// as many kinds as there may be and so have the refusals of others counted as `other`.
fn kind<'a>(caller: &'a Caller, request: &Request<'a>, reason: Reason) -> Kind<'a> {
    let asked = Asked {
        principal: caller.principal().as_str(),
        service: request.service,
        method: if reason == Reason::UnknownMethod { "" } else { request.method },
        verb: request.verb,
    };
    Kind { reason: reason.as_str(), asked: Some(asked) }
}

/// A request for an unknown method has no service and no verb to name.
fn named(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn judge<'r>(
    policy: &Policy,
    caller: &Caller,
    request: &Request<'r>,
) -> (Decision, Option<&'r str>) {
    judge_as(caller.subjects(policy).as_deref(), policy, request)
}

/// All objects must be allowed; the first that is not decides, and otherwise the first.
fn judge_as<'r>(
    subjects: Option<&Subjects>,
    policy: &Policy,
    request: &Request<'r>,
) -> (Decision, Option<&'r str>) {
    let Some(subjects) = subjects else {
        let object = request.objects.first().copied();
        return (Decision::denied(Reason::UnknownPrincipal), object);
    };
    // A call that names no object at all is not vacuously allowed.
    let mut answer = (Decision::denied(Reason::BadObject), None);
    for &object in request.objects {
        let decision = policy.decide(subjects, request.verb, object);
        if !decision.is_allowed() {
            return (decision, Some(object));
        }
        if answer.1.is_none() {
            answer = (decision, Some(object));
        }
    }
    answer
}

impl Drop for Monitor {
    /// What is only counted goes on record before the log is closed.
    fn drop(&mut self) {
        self.settle();
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.policy.load();
        f.debug_struct("Monitor").field("policy", &policy.name()).finish_non_exhaustive()
    }
}
