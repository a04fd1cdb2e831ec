//! Handshakes that began and have not ended, at the responder.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::Instant,
};

use bailiwick_crypto::{
    ConnectionId, HandshakeError, Packets,
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
    /// The id that the peer's FIN carries, if it has one to send.
    pub(crate) local_id: Option<ConnectionId>,
}

pub(crate) enum State {
    /// RESP is answered to the same INIT again, as it was built.
    AwaitingFin(Awaiting),
    /// Keys were computed for nothing. It keeps its place, so that such work is bounded as well.
    Failed,
    /// The look-up comes next.
    Authenticated(Applying),
    /// The peer was turned away, and is told so again when its FIN comes again.
    Refused { packets: Box<Packets>, fin: u64, pace: Pace },
}

/// The RESP that was sent, and what its FIN is checked by.
pub(crate) struct Awaiting {
    fin: Box<AwaitingFin>,
    /// FINs that opened and did not hold.
    spoiled: u8,
}

/// Only who began a handshake can seal a FIN that opens, and it builds one. So many that do not
/// hold cost a signature each; whoever goes on is not listened to.
const MAX_SPOILED: u8 = 2;

impl Awaiting {
    pub(crate) fn new(fin: AwaitingFin) -> Self {
        Self { fin: Box::new(fin), spoiled: 0 }
    }

    pub(crate) fn resp(&self) -> &[u8] {
        self.fin.resp()
    }

    /// Checks FIN; `None` if that is no longer worth it.
    pub(crate) fn handle_fin(
        &mut self,
        fin: &[u8],
        now: Instant,
    ) -> Option<Result<AuthenticatedDatagram, HandshakeError>> {
        if self.spoiled >= MAX_SPOILED {
            return None;
        }
        let checked = self.fin.handle_fin(fin, now);
        if let Err(error) = &checked {
            self.failed(error);
        }
        Some(checked)
    }

    fn failed(&mut self, error: &HandshakeError) {
        use HandshakeError::{Finished, Key, ParamsLength, Signature};
        if matches!(error, Key(_) | Signature | Finished | ParamsLength) {
            self.spoiled += 1;
        }
    }
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
    /// Those that await FIN or have failed.
    inits: HashMap<(SocketAddr, InitHash), HalfOpenId, Seeded>,
    ends: BTreeSet<(Instant, HalfOpenId)>,
}

impl HalfOpens {
    pub(crate) fn new(hasher: Seeded) -> Self {
        Self { table: Table::default(), inits: HashMap::with_hasher(hasher), ends: BTreeSet::new() }
    }

    pub(crate) fn insert(&mut self, origin: Origin, state: State, ends: Instant) -> HalfOpenId {
        let is_new = matches!(state, State::AwaitingFin(_) | State::Failed);
        let id = self.table.insert(HalfOpen { origin, state, ends });
        self.ends.insert((ends, id));
        if is_new {
            self.inits.insert((origin.from, origin.init), id);
        }
        id
    }

    pub(crate) fn get_mut(&mut self, id: HalfOpenId) -> Option<&mut HalfOpen> {
        self.table.get_mut(id)
    }

    /// What this INIT has begun when it came before, from the same address and port.
    pub(crate) fn find(&self, from: SocketAddr, init: InitHash) -> Option<&State> {
        let id = *self.inits.get(&(from, init))?;
        self.table.get(id).map(|half_open| &half_open.state)
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

#[cfg(test)]
mod tests {
    use bailiwick_crypto::{KeyError, initiator, responder};

    use super::*;
    use crate::proto::udp::testing::{caller, responder, rng, start};

    #[test]
    fn who_signs_wrongly_twice_is_not_listened_to_again() {
        let mut rng = rng(1);
        let mut initiator = initiator::start(caller(2), &mut rng);
        let awaiting = responder::accept(&responder(), initiator.init(), &mut rng).unwrap();
        let (fin, _) = initiator.handle_resp(awaiting.resp(), start()).unwrap();
        let mut awaiting = Awaiting::new(awaiting);
        let mut forged = fin.clone();
        forged[20] ^= 1;
        for _ in 0..1000 {
            let refused = awaiting.handle_fin(&forged, start()).expect("anybody can forge");
            assert_eq!(refused.unwrap_err(), HandshakeError::Box);
        }
        awaiting.failed(&HandshakeError::Signature);
        awaiting.failed(&HandshakeError::Key(KeyError::Weak));
        assert!(awaiting.handle_fin(&fin, start()).is_none());
    }
}
