//! What is done about refusals besides enforcing them: a principal may be forgiven for a while, and
//! a second policy may be judged beside the one in force.
//!
//! **Permissive**, per principal, until a time at most [`MAX_PERMISSIVE`] ahead: what no row speaks
//! of is allowed, and on record as the refusal it would have been. Rows that deny, names that are not
//! canonical and keys that nobody has are refused as ever. It ends by itself, and also if the clock
//! is set back to before it began.
//!
//! **Shadow**: where the second policy would have answered otherwise, that is on record; the answer
//! stays. Of each kind of difference the first
//! [`FULL_PER_SECOND`](super::FULL_PER_SECOND) of a second are recorded in full, and the others as
//! one `summary` with their count.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use thiserror::Error;

use super::events::locked;
use super::flood::{Admitted, Flood, Kind, Summary};
use super::{Caller, Monitor, Request, judge_as};
use crate::audit::{AuditError, Event, Record};
use crate::policy::{Decision, Effect, Policy, Reason};

/// The longest that a principal can be permissive, from when that is asked for: 7 days.
pub const MAX_PERMISSIVE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What is done about a refusal; the words of the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The request is refused.
    #[default]
    Enforce,
    /// The request runs nevertheless.
    Permissive,
    /// Nothing: the policy that refuses, or allows, is not the one in force.
    Shadow,
}

/// Why a principal cannot be permissive.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModeError {
    /// It would last too long.
    #[error(
        "`{principal}` cannot be permissive for more than 7 days: name an earlier time, and another \
         one when that has come"
    )]
    TooLong {
        /// Who.
        principal: String,
    },
    /// The policy does not know the name.
    #[error("the policy knows no principal `{principal}` to be permissive: mend the name")]
    UnknownPrincipal {
        /// The name.
        principal: String,
    },
    /// The change could not be put on record.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// The modes that are in use beside enforcing.
#[derive(Default)]
pub(super) struct Modes {
    permissive: Vec<Permissive>,
    shadow: ArcSwapOption<Policy>,
    /// Whether there is one, for less than a look at it costs.
    is_shadowed: AtomicBool,
    differences: Mutex<Flood>,
}

struct Permissive {
    principal: Box<str>,
    from: SystemTime,
    until: SystemTime,
    /// Has ended, which is on record.
    over: AtomicBool,
}

impl Permissive {
    fn is_on(&self, now: SystemTime) -> bool {
        self.from <= now && now < self.until && !self.over.load(Ordering::Acquire)
    }
}

impl Monitor {
    /// The same monitor, forgiving `principal` until that time what no row speaks of.
    ///
    /// A time that has passed changes nothing. Of two times for one principal the later counts. Where the log's disk is
    /// busy this blocks for up to [`START_DEADLINE`](crate::audit::START_DEADLINE).
    ///
    /// # Errors
    ///
    /// [`ModeError`].
    pub fn permissive(mut self, principal: &str, until: SystemTime) -> Result<Self, ModeError> {
        let (from, name) = ((self.clock)(), principal.to_owned());
        if self.policy.load().subjects(principal).is_none() {
            return Err(ModeError::UnknownPrincipal { principal: name });
        }
        let Ok(lasts) = until.duration_since(from) else { return Ok(self) };
        if lasts > MAX_PERMISSIVE {
            return Err(ModeError::TooLong { principal: name });
        }
        if !lasts.is_zero() {
            let detail = format!("until {}", calendar(until));
            let record = mode_change(principal, Mode::Permissive, &detail);
            self.audit.append_at_start(&record, from)?;
            let over = AtomicBool::new(false);
            self.modes.permissive.push(Permissive {
                principal: principal.into(),
                from,
                until,
                over,
            });
        }
        Ok(self)
    }

    /// Judges every request by `policy` too, in place of a shadow before it. The first is put on record as a start
    /// is: where the log's disk is busy this blocks for up to [`START_DEADLINE`](crate::audit::START_DEADLINE).
    ///
    /// # Errors
    ///
    /// [`AuditError`] if that cannot be put on record.
    pub fn shadow(&self, policy: Policy) -> Result<(), AuditError> {
        let record = Record {
            policy: Some(policy.digest()),
            serial: policy.serial(),
            mode: Some(Mode::Shadow.as_str()),
            detail: Some(policy.name()),
            ..Record::of(Event::ModeChange)
        };
        let now = (self.clock)();
        if self.modes.is_shadowed.load(Ordering::Acquire) {
            self.audit.append(&record, now)?;
        } else {
            self.audit.append_at_start(&record, now)?;
        }
        self.modes.shadow.store(Some(Arc::new(policy)));
        self.modes.is_shadowed.store(true, Ordering::Release);
        Ok(())
    }

    /// The policy that is judged beside the one in force.
    #[must_use]
    pub fn shadow_policy(&self) -> Option<Arc<Policy>> {
        self.modes.shadow.load_full()
    }

    /// Puts on record where the shadow would have answered otherwise.
    #[inline]
    pub(super) fn compare(&self, caller: &Caller, request: &Request<'_>, decision: Decision) {
        if self.is_shadowed() {
            self.compare_with_shadow(caller, request, decision);
        }
    }

    #[inline]
    pub(super) fn is_shadowed(&self) -> bool {
        self.modes.is_shadowed.load(Ordering::Acquire)
    }

    #[inline(never)] // so that `authorize` stays small
    fn compare_with_shadow(&self, caller: &Caller, request: &Request<'_>, decision: Decision) {
        let Some(shadow) = &*self.modes.shadow.load() else { return };
        let (other, object) = judge_as(caller.subjects_in(shadow).as_ref(), shadow, request);
        if other.effect == decision.effect {
            return;
        }
        let now = (self.clock)();
        let kind = format!("{} {}", other.effect, other.reason);
        let kind = Kind { reason: &kind, asked: None };
        let (admitted, due) = locked(&self.modes.differences).admit(&kind, 1, None, now);
        self.differed(due, now);
        if matches!(admitted, Admitted::InFull) {
            self.record(Mode::Shadow, shadow, caller, request, object, other);
        }
    }

    /// What cannot be written now is owed to the next summary.
    fn differed(&self, due: impl IntoIterator<Item = Summary>, now: SystemTime) {
        for summary in due {
            let record = Record {
                reason: Some(summary.kind().reason),
                count: Some(summary.count()),
                mode: Some(Mode::Shadow.as_str()),
                detail: Some(Event::Decision.as_str()),
                ..Record::of(Event::Summary)
            };
            if self.audit.append(&record, now).is_err() {
                locked(&self.modes.differences).owe(summary);
            }
        }
    }

    /// What is left of a refusal for a caller that may be permissive: nothing, once its record is
    /// written, or the refusal to give.
    #[cold]
    pub(super) fn forgive<'r>(
        &self,
        policy: &Policy,
        caller: &Caller,
        request: &Request<'r>,
        refused: (Decision, Option<&'r str>),
    ) -> Forgiven<'r> {
        if refused.0.reason != Reason::Default || !self.is_permissive(caller) {
            return Forgiven::No(refused);
        }
        // The first object that no row speaks of has hidden those behind it.
        let subjects = caller.subjects(policy);
        for &object in request.objects {
            let one = Request { objects: &[object], ..*request };
            let (decision, _) = judge_as(subjects.as_deref(), policy, &one);
            if decision.effect == Effect::Deny && decision.reason != Reason::Default {
                return Forgiven::No((decision, Some(object)));
            }
        }
        let (decision, object) = refused;
        match self.record(Mode::Permissive, policy, caller, request, object, decision) {
            Some(_) => Forgiven::Yes,
            None => Forgiven::Unrecorded,
        }
    }

    /// Whether the caller is forgiven at this time what no row speaks of.
    pub(super) fn is_permissive(&self, caller: &Caller) -> bool {
        let principal = caller.principal().as_str();
        let mut of_caller =
            self.modes.permissive.iter().filter(|it| *it.principal == *principal).peekable();
        // Most callers are not, and a clock is not free.
        of_caller.peek().is_some() && {
            let now = (self.clock)();
            of_caller.any(|it| it.is_on(now))
        }
    }

    /// Records what has ended, and what was only counted.
    pub(super) fn tick_modes(&self, now: SystemTime) {
        let due = locked(&self.modes.differences).due(now);
        self.differed(due, now);
        for it in &self.modes.permissive {
            let is_over = !it.is_on(now);
            if is_over && !it.over.swap(true, Ordering::AcqRel) {
                let ended = format!("permissive until {}", calendar(it.until));
                // It is over, recorded or not: a log that cannot be written confesses the gap.
                let record = mode_change(&it.principal, Mode::Enforce, &ended);
                let _ = self.audit.append(&record, now);
            }
        }
    }

    /// Records all that was only counted, as at the end.
    pub(super) fn settle_modes(&self, now: SystemTime) {
        let all = locked(&self.modes.differences).all();
        self.differed(all, now);
    }
}

fn mode_change<'r>(principal: &'r str, mode: Mode, detail: &'r str) -> Record<'r> {
    let (principal, mode, detail) = (Some(principal), Some(mode.as_str()), Some(detail));
    Record { principal, mode, detail, ..Record::of(Event::ModeChange) }
}

/// What has become of a refusal.
pub(super) enum Forgiven<'r> {
    /// The request may run.
    Yes,
    /// This is the refusal.
    No((Decision, Option<&'r str>)),
    /// The request must not run, since that it does cannot be put on record.
    Unrecorded,
}

impl Mode {
    /// The word of the `mode` field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Permissive => "permissive",
            Self::Shadow => "shadow",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn calendar(time: SystemTime) -> Timestamp {
    // Within seven days of a clock outside jiff's years -9999 to 9999.
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}
