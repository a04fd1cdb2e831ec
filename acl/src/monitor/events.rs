//! What may come as fast as a peer likes: refused handshakes, sessions that broke the rules, and the
//! summaries of these and of refused requests.
//!
//! Of what is no request, the first [`FULL_PER_SECOND`](super::FULL_PER_SECOND) of a second are recorded
//! in full for each reason, and the others as one `summary` with their count. What is counted apart
//! among refused requests the monitor says.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::flood::{Admitted, Flood, Kind, More, Summary};
use super::{Caller, Monitor};
use crate::audit::{AuditId, Event, Record};
use crate::policy::Effect;

impl Monitor {
    /// Puts on record that a handshake was refused.
    ///
    /// `None`: counted, or the log could not be written. The peer is refused either way.
    pub fn handshake_refused(
        &self,
        peer: &str,
        reason: &str,
        key: Option<&str>,
    ) -> Option<AuditId> {
        let record = Record { peer: Some(peer), key, ..Record::of(Event::HandshakeRefused) };
        self.throttled(&self.handshakes, reason, 1, &record)
    }

    /// As [`handshake_refused`](Self::handshake_refused), for so many that failed alike.
    pub fn handshakes_refused(&self, peer: &str, reason: &str, count: u64) -> Option<AuditId> {
        let many = (count > 1).then_some(count);
        let record =
            Record { peer: Some(peer), count: many, ..Record::of(Event::HandshakeRefused) };
        self.throttled(&self.handshakes, reason, count, &record)
    }

    /// Puts on record that so many packets of a session were refused: not authentic, or repeated,
    /// by an attacker or by the network itself. The session goes on.
    pub fn packets_refused(&self, caller: &Caller, reason: &str, count: u64) -> Option<AuditId> {
        let record = Record { count: Some(count), ..of_session(Event::PacketsRefused, caller) };
        self.throttled(&self.packets, reason, count, &record)
    }

    /// Puts on record that a session was ended because its peer, or somebody on the way, broke the
    /// protocol: a record that is not authentic, a call number used twice, a flood.
    ///
    /// `None`: counted, or the log could not be written. The session is over either way.
    pub fn session_broken(&self, caller: &Caller, reason: &str) -> Option<AuditId> {
        self.throttled(&self.sessions, reason, 1, &of_session(Event::SessionBroken, caller))
    }

    /// Writes the summaries of the seconds that are over, and the log's checkpoint if it is due;
    /// call it about once a second.
    pub fn tick(&self) {
        let now = (self.clock)();
        for (flood, event) in self.floods() {
            let due = locked(flood).due(now);
            self.summarize(flood, event, due, now);
        }
        self.tick_modes(now);
        self.audit.tick(now);
    }

    /// Writes all summaries, as at the end.
    pub(super) fn settle(&self) {
        let now = (self.clock)();
        for (flood, event) in self.floods() {
            let all = locked(flood).all();
            self.summarize(flood, event, all, now);
        }
        self.settle_modes(now);
    }

    fn floods(&self) -> [(&Mutex<Flood>, Event); 4] {
        [
            (&self.handshakes, Event::HandshakeRefused),
            (&self.sessions, Event::SessionBroken),
            (&self.packets, Event::PacketsRefused),
            (&self.denials, Event::Decision),
        ]
    }

    fn throttled(
        &self,
        flood: &Mutex<Flood>,
        reason: &str,
        count: u64,
        record: &Record<'_>,
    ) -> Option<AuditId> {
        let now = (self.clock)();
        let kind = Kind { reason, asked: None };
        let (admitted, due) = locked(flood).admit(&kind, count, None, now);
        self.summarize(flood, record.event, due, now);
        match admitted {
            Admitted::InFull => {
                self.audit.append(&Record { reason: Some(reason), ..*record }, now).ok()
            }
            Admitted::Counted(_) => None,
        }
    }

    /// What cannot be written now is owed to the next summary.
    pub(super) fn summarize(
        &self,
        flood: &Mutex<Flood>,
        event: Event,
        due: impl IntoIterator<Item = Summary>,
        now: SystemTime,
    ) {
        for summary in due {
            let record = sum(event, &summary);
            if self.audit.append(&record, now).is_err() {
                locked(flood).owe(summary);
            }
        }
    }
}

fn sum(event: Event, summary: &Summary) -> Record<'_> {
    let Kind { reason, asked } = summary.kind();
    let record =
        Record { reason: Some(reason), count: Some(summary.count()), ..Record::of(Event::Summary) };
    if event != Event::Decision {
        return Record { detail: Some(event.as_str()), ..record };
    }
    let (distinct, more) = summary.distinct();
    Record {
        decision: Some(Effect::Deny),
        principal: asked.map(|asked| asked.principal),
        service: asked.and_then(|asked| super::named(asked.service)),
        method: asked.and_then(|asked| super::named(asked.method)),
        verb: asked.and_then(|asked| super::named(asked.verb)),
        distinct: Some(distinct),
        like: summary.like.map(|like| like.0),
        detail: (more == More::Perhaps).then_some("at least so many distinct objects"),
        ..record
    }
}

/// No code that holds the lock leaves the counts half changed.
pub(super) fn locked(flood: &Mutex<Flood>) -> MutexGuard<'_, Flood> {
    flood.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_session(event: Event, caller: &Caller) -> Record<'_> {
    Record {
        principal: Some(caller.principal().as_str()),
        key: caller.key(),
        session: Some(caller.session()),
        peer: Some(caller.peer()),
        ..Record::of(event)
    }
}
