//! What concerns security and is no request: refused handshakes, and sessions that broke the rules.
//!
//! Anybody on the network can cause these, as fast as they like; so for each reason the first
//! [`FULL_PER_SECOND`](super::FULL_PER_SECOND) of a second are recorded in full, and the others as
//! one `summary` with their count.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::flood::Flood;
use super::{Caller, Monitor};
use crate::audit::{AuditId, Event, Record};

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

    /// Writes the summaries of the seconds that are over; call it about once a second.
    pub fn tick(&self) {
        let now = (self.clock)();
        for (flood, event) in [
            (&self.handshakes, Event::HandshakeRefused),
            (&self.sessions, Event::SessionBroken),
            (&self.packets, Event::PacketsRefused),
        ] {
            let mut flood = flood.lock().unwrap_or_else(PoisonError::into_inner);
            flood.flush(now, |reason, count| self.summarize(event, reason, count, now));
        }
        self.tick_modes(now);
    }

    fn throttled(
        &self,
        flood: &Mutex<Flood>,
        reason: &str,
        count: u64,
        record: &Record<'_>,
    ) -> Option<AuditId> {
        let now = (self.clock)();
        let summarize = |reason: &str, count| self.summarize(record.event, reason, count, now);
        let mut flood = flood.lock().unwrap_or_else(PoisonError::into_inner);
        if !flood.admits(reason, count, now, summarize) {
            return None;
        }
        self.audit.append(&Record { reason: Some(reason), ..*record }, now).ok()
    }

    fn summarize(&self, event: Event, reason: &str, count: u64, now: SystemTime) -> bool {
        let record = Record {
            reason: Some(reason),
            count: Some(count),
            detail: Some(event.as_str()),
            ..Record::of(Event::Summary)
        };
        self.audit.append(&record, now).is_ok()
    }
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
