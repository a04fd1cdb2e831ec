//! Handshakes that began and have not ended, at the responder.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::Instant,
};

use bailiwick_crypto::{
    packet::Packets,
    record::Alert,
    responder::{AuthenticatedDatagram, AwaitingFin},
};

use super::{
    completed::InitId,
    pace::Pace,
    seeded::Seeded,
    sources::{Address, Place, Source, source},
    table::{Key, Table},
};

/// Names a handshake from its INIT to its look-up.
pub(crate) type HalfOpenId = Key<HalfOpen>;

pub(crate) struct HalfOpen {
    /// Where INIT came from; nothing counts that comes from elsewhere.
    pub(crate) from: SocketAddr,
    pub(crate) address: Address,
    pub(crate) state: State,
    init: InitId,
    ends: Instant,
}

pub(crate) enum State {
    /// RESP is answered to the same INIT again, as it was built.
    AwaitingFin(Box<AwaitingFin>),
    /// The look-up comes next. `fin` is the FIN's keyed hash.
    Authenticated { peer: Box<AuthenticatedDatagram>, fin: u64 },
    /// The peer was turned away, and is told so again whenever its FIN comes again.
    Refused { packets: Box<Packets>, alert: Alert, fin: u64, pace: Pace },
    /// In between.
    Moved,
}

impl HalfOpen {
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
    inits: HashMap<(SocketAddr, InitId), HalfOpenId, Seeded>,
    ends: BTreeSet<(Instant, HalfOpenId)>,
}

impl HalfOpens {
    pub(crate) fn new(hasher: Seeded) -> Self {
        Self {
            table: Table::default(),
            inits: HashMap::with_hasher(hasher),
            ends: BTreeSet::new(),
        }
    }

    pub(crate) fn insert(
        &mut self,
        awaiting: AwaitingFin,
        init: InitId,
        (from, address): (SocketAddr, Address),
        ends: Instant,
    ) -> HalfOpenId {
        let state = State::AwaitingFin(Box::new(awaiting));
        let id = self.table.insert(HalfOpen { from, address, state, init, ends });
        self.inits.insert((from, init), id);
        self.ends.insert((ends, id));
        id
    }

    pub(crate) fn get_mut(&mut self, id: HalfOpenId) -> Option<&mut HalfOpen> {
        self.table.get_mut(id)
    }

    /// RESP, if this INIT has come before, from the same address and port.
    pub(crate) fn resp(&self, from: SocketAddr, init: InitId) -> Option<&[u8]> {
        match &self.table.get(*self.inits.get(&(from, init))?)?.state {
            State::AwaitingFin(awaiting) => Some(awaiting.resp()),
            _ => None,
        }
    }

    /// The handshake is complete; which INIT began it.
    pub(crate) fn complete(&mut self, id: HalfOpenId) -> Option<InitId> {
        let half_open = self.table.get(id)?;
        self.inits.remove(&(half_open.from, half_open.init));
        Some(half_open.init)
    }

    /// Keeps this one until `ends`.
    pub(crate) fn keep_until(&mut self, id: HalfOpenId, ends: Instant) {
        if let Some(half_open) = self.table.get_mut(id) {
            self.ends.remove(&(half_open.ends, id));
            half_open.ends = ends;
            self.ends.insert((ends, id));
        }
    }

    pub(crate) fn remove(&mut self, id: HalfOpenId) -> Option<HalfOpen> {
        let half_open = self.table.remove(id)?;
        self.inits.remove(&(half_open.from, half_open.init));
        self.ends.remove(&(half_open.ends, id));
        Some(half_open)
    }

    /// Takes out one that has ended.
    pub(crate) fn pop_ended(&mut self, now: Instant) -> Option<HalfOpen> {
        let &(_, id) = self.ends.first().filter(|(ends, _)| *ends <= now)?;
        self.remove(id)
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(ends, _)| *ends)
    }
}
