//! The links of an endpoint: which has something to send, and which wants to be woken when.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use bailiwick_crypto::ConnectionId;

use super::{
    half_open::Origin,
    link::{Link, Transmit},
    pace::Pace,
    sources::Source,
    table::{Key, Table},
};

/// Names an established session.
pub(crate) type SessionId = Key<Established>;

pub(crate) struct Established {
    pub(crate) link: Link,
    /// Where its place was counted: it stays there though the peer may move.
    pub(crate) source: Source,
    /// The id that its packets to us carry.
    pub(crate) local_id: Option<ConnectionId>,
    /// The keyed hash of the FIN that began it.
    pub(crate) fin: u64,
    /// Answers to repeats of that FIN.
    pub(crate) fin_answered: Pace,
    /// Its owner has heard that it has ended, or ended it: what is left is to tell the peer.
    pub(crate) has_ended: bool,
    /// It is in `ready`.
    is_ready: bool,
    /// When it is in `timers`.
    timer: Option<Instant>,
}

impl Established {
    /// Whether nothing is left to be told to the peer.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.has_ended && (self.link.is_drained(now) || self.link.next_timeout().is_none())
    }
}

#[derive(Default)]
pub(crate) struct Sessions {
    table: Table<Established>,
    /// Those that may have something to send, each once, in turn.
    ready: VecDeque<SessionId>,
    /// No link's time is later here than it is in truth; it may be earlier, since most times move
    /// on with each packet, and then the link is asked in vain.
    timers: BTreeSet<(Instant, SessionId)>,
}

impl Sessions {
    pub(crate) fn insert(
        &mut self,
        link: Link,
        origin: Origin,
        fin: u64,
        now: Instant,
    ) -> SessionId {
        let id = self.table.insert(Established {
            link,
            source: origin.source(),
            local_id: origin.local_id,
            fin,
            fin_answered: Pace::begin(now),
            has_ended: false,
            is_ready: false,
            timer: None,
        });
        self.touch(id);
        id
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Established> {
        self.table.get(id)
    }

    /// The session, about to be changed: it counts as ready and is looked at again by
    /// [`poll_transmit`](Self::poll_transmit).
    pub(crate) fn touch(&mut self, id: SessionId) -> Option<&mut Established> {
        let session = self.table.get_mut(id)?;
        if !std::mem::replace(&mut session.is_ready, true) {
            self.ready.push_back(id);
        }
        Some(session)
    }

    /// Fills `out` with packets of the first link in turn that has any.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Option<(SessionId, Transmit)> {
        while let Some(id) = self.ready.pop_front() {
            let Some(session) = self.table.get_mut(id) else { continue };
            if let Some(transmit) = session.link.poll_transmit(now, out, max_segments) {
                self.ready.push_back(id);
                return Some((id, transmit));
            }
            session.is_ready = false;
            self.schedule(id, now);
        }
        None
    }

    /// A session whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<SessionId> {
        let &(at, id) = self.timers.first().filter(|(at, _)| *at <= now)?;
        self.timers.remove(&(at, id));
        if let Some(session) = self.table.get_mut(id) {
            session.timer = None;
        }
        Some(id)
    }

    /// When the first link has something to do, if none is ready.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Established> {
        let session = self.table.remove(id)?;
        if let Some(at) = session.timer {
            self.timers.remove(&(at, id));
        }
        Some(session)
    }

    fn schedule(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.table.get_mut(id) else { return };
        let at = match session.link.next_timeout() {
            // Nothing keeps what has ended: it is to be taken out.
            None if session.has_ended => now,
            None => return,
            Some(at) => at,
        };
        match session.timer {
            Some(earlier) if earlier <= at => return,
            Some(later) => _ = self.timers.remove(&(later, id)),
            None => {}
        }
        session.timer = Some(at);
        self.timers.insert((at, id));
    }
}
