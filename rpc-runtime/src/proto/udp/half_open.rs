//! Handshakes that began and have not ended, at the responder.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::Instant,
};

use bailiwick_crypto::{
    ConnectionId, Packets,
    responder::{AuthenticatedDatagram, AwaitingFin},
};

use super::{
    completed::InitHash,
    pace::Pace,
    seeded::Seeded,
    sources::{Address, Place, Source, source},
    table::{Key, Table},
};

/// Names a handshake from its INIT to its look-up.
pub(crate) type HalfOpenId = Key<HalfOpen>;

pub(crate) struct HalfOpen {
    pub(crate) origin: Origin,
    pub(crate) state: State,
    /// When it is forgotten.
    pub(crate) ends: Instant,
}

/// How a handshake began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Where INIT came from; nothing counts that comes from elsewhere.
    pub(crate) from: SocketAddr,
    pub(crate) address: Address,
    pub(crate) init: InitHash,
    /// The id that the peer's FIN carries.
    pub(crate) local_id: ConnectionId,
}

pub(crate) enum State {
    /// RESP is answered to the same INIT again, as it was built.
    AwaitingFin(Box<AwaitingFin>),
    /// The look-up comes next.
    Authenticated(Applying),
    /// The peer was turned away, and is told so again when its FIN comes again.
    Refused { packets: Box<Packets>, fin: u64, pace: Pace },
}

pub(crate) struct Applying {
    pub(crate) peer: Box<AuthenticatedDatagram>,
    /// The FIN's keyed hash.
    pub(crate) fin: u64,
}

impl Origin {
    pub(crate) fn source(&self) -> Source {
        source(self.from.ip())
    }

    /// What it counts as.
    pub(crate) fn place(&self) -> Place {
        Place::HalfOpen(self.address)
    }
}

/// All of them, by key, by INIT and by the time at which they end.
pub(crate) struct HalfOpens {
    table: Table<HalfOpen>,
    /// Those that await FIN.
    inits: HashMap<(SocketAddr, InitHash), HalfOpenId, Seeded>,
    ends: BTreeSet<(Instant, HalfOpenId)>,
}

impl HalfOpens {
    pub(crate) fn new(hasher: Seeded) -> Self {
        Self { table: Table::default(), inits: HashMap::with_hasher(hasher), ends: BTreeSet::new() }
    }

    pub(crate) fn insert(&mut self, origin: Origin, state: State, ends: Instant) -> HalfOpenId {
        let awaits_fin = matches!(state, State::AwaitingFin(_));
        let id = self.table.insert(HalfOpen { origin, state, ends });
        self.ends.insert((ends, id));
        if awaits_fin {
            self.inits.insert((origin.from, origin.init), id);
        }
        id
    }

    pub(crate) fn get_mut(&mut self, id: HalfOpenId) -> Option<&mut HalfOpen> {
        self.table.get_mut(id)
    }

    /// RESP, if this INIT has come before, from the same address and port.
    pub(crate) fn resp(&self, from: SocketAddr, init: InitHash) -> Option<&[u8]> {
        match &self.table.get(*self.inits.get(&(from, init))?)?.state {
            State::AwaitingFin(awaiting) => Some(awaiting.resp()),
            _ => None,
        }
    }

    /// FIN has come: its sender waits for the look-up.
    pub(crate) fn authenticated(&mut self, id: HalfOpenId, applying: Applying) {
        if let Some(half_open) = self.table.get_mut(id) {
            half_open.state = State::Authenticated(applying);
            self.inits.remove(&(half_open.origin.from, half_open.origin.init));
        }
    }

    /// Takes out one that waits for the look-up.
    pub(crate) fn take_applying(&mut self, id: HalfOpenId) -> Option<(Origin, Applying)> {
        if !matches!(self.table.get(id)?.state, State::Authenticated(_)) {
            return None;
        }
        let HalfOpen { origin, state, .. } = self.remove(id)?;
        match state {
            State::Authenticated(applying) => Some((origin, applying)),
            _ => None,
        }
    }

    /// Takes out one that has ended.
    pub(crate) fn pop_ended(&mut self, now: Instant) -> Option<HalfOpen> {
        let &(_, id) = self.ends.first().filter(|(ends, _)| *ends <= now)?;
        self.remove(id)
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(ends, _)| *ends)
    }

    fn remove(&mut self, id: HalfOpenId) -> Option<HalfOpen> {
        let half_open = self.table.remove(id)?;
        self.inits.remove(&(half_open.origin.from, half_open.origin.init));
        self.ends.remove(&(half_open.ends, id));
        Some(half_open)
    }
}
