//! A server's side of one UDP socket: handshakes within their limits, then packets to their links.
//!
//! Nothing is kept, and no key is computed, for an INIT that does not know our key, comes too fast
//! without a token, or finds no place. What happens inside a session is its link's.

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    Alert, ConnectionId, CryptoRng, DatagramKind, Packets, Params, PublicKey, RetryKeys,
    datagram_kind, destination, responder,
    retry::{self, InitSummary},
};

use super::{
    answers::Answers,
    completed::Completed,
    half_open::{Applying, Awaiting, HalfOpen, HalfOpenId, HalfOpens, Origin, State},
    link::{Link, Transmit},
    pace::Pace,
    rate::Rates,
    reassembly::ReassemblyPool,
    refusals::{Refusals, reason},
    seeded::Seeded,
    sessions::{Established, SessionId, Sessions},
    sources::{Address, Counts, Place, source},
};
use crate::{
    config::Limits,
    error::ProtocolError,
    proto::{joined::Joined, session::Failure},
};

/// With more handshakes half open than this, whoever begins one must show its address. A quarter
/// of the places by default, so that most are left to those who did.
const RETRY_ABOVE: usize = 256;

/// How long a peer that was turned away is told so again.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// A link that has received nothing for so long, and whose time comes, gives its buffers back.
const RESTS_AFTER: Duration = Duration::from_secs(1);

/// The time, as the monotonic clock and the calendar have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) now: Instant,
    /// When the datagram was read; others that were read with it may have been handled since.
    pub(crate) arrived: Instant,
    /// Since 1970, for the age of tokens.
    pub(crate) unix_seconds: u64,
}

/// What a datagram brought.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// Nothing that anybody needs to know.
    Nothing,
    /// A peer has proven its key: look it up, then [`Endpoint::admit`] or [`Endpoint::refuse`] it.
    Authenticated(Applicant),
    /// A session's link was given a packet.
    Session(SessionId),
    /// A session has ended; its id names nothing any more.
    Ended(SessionId, Failure),
}

/// A peer that has proven its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applicant {
    pub(crate) id: HalfOpenId,
    pub(crate) key: PublicKey,
    /// The same 32 bytes at both ends and in no other connection.
    pub(crate) channel_id: [u8; 32],
    pub(crate) from: SocketAddr,
}

/// Why an applicant that the look-up knows has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// Its time ran out, or it was decided on before.
    Gone,
    /// Its parameters are malformed or out of range; it was told `protocol_error`.
    BadParameters,
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    HalfOpen(HalfOpenId),
    Session(SessionId),
}

pub(crate) struct Endpoint {
    config: responder::Config,
    limits: Limits,
    retry_keys: RetryKeys,
    hasher: Seeded,
    /// By the id that we drew for each.
    owners: HashMap<ConnectionId, Owner, Seeded>,
    counts: Counts<Seeded>,
    rates: Rates,
    half_open: HalfOpens,
    completed: Completed,
    answers: Answers,
    sessions: Sessions,
    pool: Arc<ReassemblyPool>,
    refusals: Refusals,
    /// Whose datagrams were given out last.
    sent_last: Option<SessionId>,
}

impl Endpoint {
    /// An endpoint that answers for the identities in `config`. What is drawn from `rng` must stay
    /// secret: the keys of tokens and tables.
    pub(crate) fn new(
        config: responder::Config,
        limits: Limits,
        unix_seconds: u64,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let hasher = Seeded::draw(rng);
        Self {
            config,
            retry_keys: RetryKeys::new(unix_seconds, rng),
            owners: HashMap::with_hasher(hasher.clone()),
            counts: Counts::new(hasher.clone()),
            rates: Rates::new(hasher.clone()),
            half_open: HalfOpens::new(hasher.clone()),
            completed: Completed::new(hasher.clone()),
            hasher,
            answers: Answers::default(),
            sessions: Sessions::default(),
            pool: ReassemblyPool::new(limits.max_reassembly_total),
            limits,
            refusals: Refusals::default(),
            sent_last: None,
        }
    }

    /// Takes one datagram, which is changed. Frames of a session's packet go to `handle`.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        time: Time,
        rng: &mut impl CryptoRng,
        handle: &mut dyn FnMut(SessionId, Joined<'_>) -> Result<(), ProtocolError>,
    ) -> Arrived {
        let owner = destination(datagram).and_then(|id| self.owners.get(&id)).copied();
        match (datagram_kind(datagram), owner) {
            (Some(DatagramKind::Init), _) => self.handle_init(datagram, from, time, rng),
            (Some(DatagramKind::Fin), Some(Owner::HalfOpen(id))) => {
                return self.handle_fin(id, datagram, from, time.now);
            }
            (Some(DatagramKind::Fin), Some(Owner::Session(id))) => {
                self.handle_late_fin(id, datagram, from, time.now);
            }
            (Some(DatagramKind::Packet), Some(Owner::Session(id))) => {
                return self.handle_packet(id, datagram, from, time.now, rng, handle);
            }
            // Packets that overtake FIN, what follows a refusal, and what is nobody's.
            _ => {}
        }
        Arrived::Nothing
    }

    fn handle_packet(
        &mut self,
        id: SessionId,
        datagram: &mut [u8],
        from: SocketAddr,
        now: Instant,
        rng: &mut impl CryptoRng,
        handle: &mut dyn FnMut(SessionId, Joined<'_>) -> Result<(), ProtocolError>,
    ) -> Arrived {
        let Some(session) = self.sessions.touch(id) else { return Arrived::Nothing };
        let had_ended = session.has_ended;
        let handled = session.link.handle_datagram(datagram, from, rng, now, &mut |frame| {
            if had_ended { Ok(()) } else { handle(id, frame) }
        });
        match handled {
            _ if had_ended => Arrived::Nothing,
            Ok(()) => Arrived::Session(id),
            Err(failure) => {
                session.has_ended = true;
                Arrived::Ended(id, failure)
            }
        }
    }

    fn handle_init(&mut self, init: &[u8], from: SocketAddr, time: Time, rng: &mut impl CryptoRng) {
        if !self.answers.has_room() {
            return;
        }
        // INITs below 1,200 bytes do not pass, so that no answer is longer than what asked for it.
        let summary = match retry::check_init(&self.config, init) {
            Ok(summary) => summary,
            Err(error) => return self.refusals.add(from, reason(&error)),
        };
        self.expire(time.now);
        match self.half_open.find(from, summary.hash) {
            Some(State::AwaitingFin(awaiting)) => self.answers.push(from, awaiting.resp()),
            Some(_) => {}
            None if self.completed.contains(&summary.hash, time.now) => {}
            None => self.begin(init, &summary, from, time, rng),
        }
    }

    /// Answers an INIT that has not come before, by RETRY, RESP or nothing.
    fn begin(
        &mut self,
        init: &[u8],
        summary: &InitSummary,
        from: SocketAddr,
        Time { now, unix_seconds, .. }: Time,
        rng: &mut impl CryptoRng,
    ) {
        self.retry_keys.rotate(unix_seconds, rng);
        let has_token = summary.has_token && self.retry_keys.is_valid(init, from, unix_seconds);
        let address = if has_token { Address::Proven } else { Address::Unproven };
        if address == Address::Unproven && self.must_retry(from, now) {
            let retry = self.retry_keys.answer(summary, from, unix_seconds);
            return self.answers.push(from, &retry);
        }
        let source = source(from.ip());
        if let Err(too_many) = self.counts.check(source, &self.limits) {
            return self.refusals.add(from, too_many.reason());
        }
        let mut origin = Origin { from, address, init: summary.hash, local_id: None };
        let state = match responder::accept(&self.config, init, rng) {
            // Once in 2^64 ids it is one that is used; the next INIT draws another.
            Ok(awaiting) if self.owners.contains_key(&awaiting.scid()) => State::Failed,
            Ok(awaiting) => {
                self.answers.push(from, awaiting.resp());
                origin.local_id = Some(awaiting.scid());
                State::AwaitingFin(Awaiting::new(awaiting))
            }
            Err(error) => {
                self.refusals.add(from, reason(&error));
                State::Failed
            }
        };
        self.insert_half_open(origin, state, now + self.limits.handshake_timeout);
        self.counts.take(source, origin.place());
    }

    fn insert_half_open(&mut self, origin: Origin, state: State, ends: Instant) {
        let id = self.half_open.insert(origin, state, ends);
        if let Some(local_id) = origin.local_id {
            self.owners.insert(local_id, Owner::HalfOpen(id));
        }
    }

    /// Whether an INIT without a good token gets a RETRY. If not it counts towards the rate.
    fn must_retry(&mut self, from: SocketAddr, now: Instant) -> bool {
        let source = source(from.ip());
        // Whoever writes another's address into its INITs must not take all of its places.
        let others = self.counts.of(source).unproven >= self.limits.max_half_open_per_source / 2;
        self.counts.all().half_open > RETRY_ABOVE.min(self.limits.max_half_open / 4)
            || others
            || !self.rates.take(source, now)
    }

    fn handle_fin(
        &mut self,
        id: HalfOpenId,
        fin: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Arrived {
        self.expire(now);
        let hash = self.hasher.hash_one(fin);
        let Some(half_open) = self.half_open.get_mut(id) else { return Arrived::Nothing };
        if half_open.origin.from != from {
            self.refusals.add(from, "fin_from_another_address");
            return Arrived::Nothing;
        }
        match &mut half_open.state {
            State::AwaitingFin(awaiting) => match awaiting.handle_fin(fin, now) {
                Some(Ok(peer)) => {
                    let (key, channel_id) = (peer.peer(), peer.channel_id());
                    let init = half_open.origin.init;
                    self.completed.insert(init, now);
                    let applying = Applying { peer: Box::new(peer), fin: hash };
                    self.half_open.authenticated(id, applying);
                    return Arrived::Authenticated(Applicant { id, key, channel_id, from });
                }
                Some(Err(error)) => self.refusals.add(from, reason(&error)),
                None => {}
            },
            State::Refused { packets, fin, pace } => {
                if *fin == hash && pace.take(now) {
                    send_refusal(packets, from, &mut self.answers, now);
                }
            }
            State::Authenticated(_) | State::Failed => {}
        }
        Arrived::Nothing
    }

    /// Answers the FIN of an established session that comes again: our packet may have been lost.
    fn handle_late_fin(&mut self, id: SessionId, fin: &[u8], from: SocketAddr, now: Instant) {
        let same = self.sessions.get(id).is_some_and(|session| {
            !session.has_ended
                && session.link.peer() == from
                && session.fin == self.hasher.hash_one(fin)
        });
        if same
            && let Some(session) = self.sessions.touch(id)
            && session.fin_answered.take(now)
        {
            session.link.ping();
        }
    }

    /// The look-up knows the applicant's key. Returns its session and its parameters.
    ///
    /// # Errors
    ///
    /// [`NotAdmitted`]; there is no session then.
    pub(crate) fn admit(
        &mut self,
        id: HalfOpenId,
        now: Instant,
    ) -> Result<(SessionId, Params), NotAdmitted> {
        let (origin, Applying { peer, fin }) =
            self.half_open.take_applying(id).ok_or(NotAdmitted::Gone)?;
        let session = match peer.admit() {
            Ok(session) => session,
            Err(refusal) => {
                self.turn_away(origin, refusal.packets, fin, now);
                return Err(NotAdmitted::BadParameters);
            }
        };
        let (params, source) = (session.peer_params, origin.source());
        let mut link = Link::new(session, &self.limits, &self.pool, origin.from, None, now);
        // The first packet confirms the handshake to the peer.
        link.ping();
        let id = self.sessions.insert(link, origin, fin, now);
        if let Some(local_id) = origin.local_id {
            self.owners.insert(local_id, Owner::Session(id));
        }
        self.counts.give_back(source, origin.place());
        self.counts.take(source, Place::Established);
        Ok((id, params))
    }

    /// The look-up does not let the applicant in: it is told `alert`, and again for each repeat of
    /// its FIN within five seconds. Until then it keeps its place among the half open, so that
    /// strangers cost no more than those do.
    pub(crate) fn refuse(&mut self, id: HalfOpenId, alert: Alert, now: Instant) {
        if let Some((origin, Applying { peer, fin })) = self.half_open.take_applying(id) {
            self.turn_away(origin, Box::new(peer.refuse(alert)), fin, now);
        }
    }

    fn turn_away(&mut self, origin: Origin, mut packets: Box<Packets>, fin: u64, now: Instant) {
        send_refusal(&mut packets, origin.from, &mut self.answers, now);
        let state = State::Refused { packets, fin, pace: Pace::begin(now) };
        self.insert_half_open(origin, state, now + REFUSED_FOR);
    }

    /// The link of a session that has not ended, about to be used: what it has to send goes with the
    /// next [`poll_transmit`](Self::poll_transmit).
    pub(crate) fn link(&mut self, id: SessionId) -> Option<&mut Link> {
        let session = self.sessions.touch(id).filter(|session| !session.has_ended)?;
        Some(&mut session.link)
    }

    /// Ends a session in good order. Nothing more is heard of it.
    pub(crate) fn close(&mut self, id: SessionId, now: Instant) {
        if let Some(session) = self.end(id) {
            session.link.close(now);
        }
    }

    /// Ends a session and tells the peer why. Nothing more is heard of it.
    pub(crate) fn abort(&mut self, id: SessionId, alert: Alert, now: Instant) {
        if let Some(session) = self.end(id) {
            session.link.abort(alert, now);
        }
    }

    fn end(&mut self, id: SessionId) -> Option<&mut Established> {
        let session = self.sessions.touch(id).filter(|session| !session.has_ended)?;
        session.has_ended = true;
        Some(session)
    }

    /// Appends to `out` datagrams for one address, all of one length but the last: an answer of a
    /// handshake if one waits, else up to `max_segments` packets of the next link in turn.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Option<Transmit> {
        if let Some((to, answer)) = self.answers.pop() {
            self.sent_last = None;
            out.extend_from_slice(&answer);
            return Some(Transmit { to, segment: answer.len() });
        }
        let (id, transmit) = self.sessions.poll_transmit(now, out, max_segments)?;
        self.sent_last = Some(id);
        Some(transmit)
    }

    /// The socket refused what [`poll_transmit`](Self::poll_transmit) gave out last, since its
    /// datagrams of this length are too long.
    pub(crate) fn too_big(&mut self, size: usize, now: Instant) {
        if let Some(link) = self.sent_last.and_then(|id| self.link(id)) {
            link.too_big(size, now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. To be asked once
    /// [`poll_transmit`](Self::poll_transmit) has nothing more.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        [self.half_open.next_end(), self.sessions.next_timeout()].into_iter().flatten().min()
    }

    /// Does what time asks for; sessions that end by it are handed to `ended`.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        ended: &mut dyn FnMut(SessionId, Failure),
    ) {
        self.expire(now);
        while let Some(id) = self.sessions.pop_due(now) {
            let Some(session) = self.sessions.touch(id) else { continue };
            let handled = session.link.handle_timeout(now);
            if let Err(failure) = handled
                && !std::mem::replace(&mut session.has_ended, true)
            {
                ended(id, failure);
            }
            if session.is_over(now) {
                self.remove(id);
            } else if now.saturating_duration_since(session.link.last_received()) >= RESTS_AFTER {
                session.link.rest();
            }
        }
    }

    /// What was refused since this was asked last.
    pub(crate) fn take_refusals(&mut self) -> Refusals {
        std::mem::take(&mut self.refusals)
    }

    /// Connections, half open and established.
    #[cfg(any(test, feature = "fuzzing", feature = "simulation"))]
    pub(crate) fn connections(&self) -> usize {
        self.counts.all().connections
    }

    /// Bytes of messages that are being put together.
    #[cfg(feature = "simulation")]
    pub(crate) fn reassembly(&self) -> usize {
        self.pool.used()
    }

    fn expire(&mut self, now: Instant) {
        while let Some(HalfOpen { origin, state, .. }) = self.half_open.pop_ended(now) {
            self.forget(origin);
            if matches!(state, State::AwaitingFin(_) | State::Authenticated(_)) {
                self.refusals.add(origin.from, "handshake_timeout");
            }
        }
    }

    fn forget(&mut self, origin: Origin) {
        if let Some(local_id) = origin.local_id {
            self.owners.remove(&local_id);
        }
        self.counts.give_back(origin.source(), origin.place());
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(id) {
            if let Some(local_id) = session.local_id {
                self.owners.remove(&local_id);
            }
            self.counts.give_back(session.source, Place::Established);
        }
    }
}

fn send_refusal(packets: &mut Packets, to: SocketAddr, answers: &mut Answers, now: Instant) {
    let mut packet = Vec::new();
    // A fresh key seals a few packets; should it not, the peer goes on asking until it gives up.
    if packets.seal_refusal(now, &mut packet).is_ok() {
        answers.push(to, &packet);
    }
}
