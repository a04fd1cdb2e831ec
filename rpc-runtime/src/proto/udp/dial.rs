//! A client's way into a UDP session: INIT, RETRY, RESP, FIN, until the first packet opens.
//!
//! Whatever fails to convince is dropped, as though it had never come: anybody can send to us, and
//! the one honest answer among many forged ones must still count.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    Alert, CryptoRng, DatagramKind, DatagramSession, HandshakeError, Params, datagram_kind,
    initiator::{self, AwaitingResp},
};

use super::{
    link::{Link, Transmit},
    reassembly::ReassemblyPool,
};
use crate::{config::Limits, error::Disconnected, proto::joined::Joined};

/// The pause after a message was sent once, twice; then it stays the same.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Without an answer this long after the first FIN or the last RETRY that may be followed, the
/// handshake begins anew (protocol, handshake points 6 and 7).
const AFRESH_AFTER: Duration = Duration::from_secs(5);

/// RETRYs that are followed for one share.
const MAX_RETRIES: u32 = 4;

/// Why a server could not be reached over UDP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody answered in time, or nobody whose answer holds.
    #[error("no answer that holds")]
    GaveUp {
        /// What was wrong with the last answer that did not hold, whoever sent it.
        last: Option<HandshakeError>,
    },
    /// Datagrams of 1,200 bytes do not fit the path.
    #[error("the path carries no datagrams of 1,200 bytes")]
    PathTooSmall,
    /// The server has proven its key and turned us away.
    #[error("the server turned us away: {0:?}")]
    Refused(Alert),
    /// The server itself, or our own configuration, is at fault.
    #[error(transparent)]
    Failed(HandshakeError),
}

/// How far a datagram brought us.
pub(crate) enum Dialled {
    Waiting,
    Connected(Box<Connected>),
}

/// A session that both sides know to stand.
pub(crate) struct Connected {
    pub(crate) link: Link,
    /// When this side ended the handshake: the server has said nothing in this session before.
    pub(crate) since: Instant,
    /// What the server accepts.
    pub(crate) params: Params,
    /// Frames that came in the packet that showed it, without their length fields.
    pub(crate) frames: Vec<Vec<u8>>,
}

pub(crate) struct Dial {
    config: initiator::Config,
    server: SocketAddr,
    limits: Limits,
    pool: Arc<ReassemblyPool>,
    state: State,
    timer: Resend,
    /// When another handshake begins in place of this one.
    afresh_at: Option<Instant>,
    give_up_at: Instant,
    last: Option<HandshakeError>,
}

enum State {
    AwaitingResp { handshake: Box<AwaitingResp>, retries: u32 },
    AwaitingPacket { fin: Vec<u8>, connected: Box<Connected> },
    Over,
}

impl Dial {
    /// Begins to call `server`. `config` is of UDP; the link takes `limits` and `pool`.
    pub(crate) fn start(
        config: initiator::Config,
        server: SocketAddr,
        limits: Limits,
        pool: Arc<ReassemblyPool>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let handshake = Box::new(initiator::start(config.clone(), rng));
        Self {
            config,
            server,
            give_up_at: now + limits.handshake_timeout_udp,
            limits,
            pool,
            state: State::AwaitingResp { handshake, retries: 0 },
            timer: Resend::begin(rng),
            afresh_at: None,
            last: None,
        }
    }

    /// Takes one datagram, which is changed.
    ///
    /// # Errors
    ///
    /// [`DialError`] if it ends the attempt: it came from the server itself.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Dialled, DialError> {
        if from != self.server {
            return Ok(Dialled::Waiting);
        }
        match (&mut self.state, datagram_kind(datagram)) {
            (State::AwaitingResp { handshake, retries }, Some(DatagramKind::Retry)) => {
                match handshake.handle_retry(datagram) {
                    Ok(()) => {
                        *retries += 1;
                        self.afresh_at = (*retries == MAX_RETRIES).then_some(now + AFRESH_AFTER);
                        self.timer = Resend::begin(rng);
                    }
                    Err(error) => self.last = Some(error),
                }
                Ok(Dialled::Waiting)
            }
            (State::AwaitingResp { handshake, .. }, Some(DatagramKind::Resp)) => {
                match handshake.handle_resp(datagram, now) {
                    Ok((fin, session)) => self.await_packet(fin, session, now, rng),
                    Err(error) if error.ends_attempt() => {
                        return Err(self.over(DialError::Failed(error)));
                    }
                    Err(error) => self.last = Some(error),
                }
                Ok(Dialled::Waiting)
            }
            (State::AwaitingPacket { .. }, Some(DatagramKind::Packet)) => {
                self.handle_packet(datagram, now, rng)
            }
            _ => Ok(Dialled::Waiting),
        }
    }

    fn await_packet(
        &mut self,
        fin: Vec<u8>,
        session: DatagramSession,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let params = session.peer_params;
        let mut link = Link::new(session, &self.limits, &self.pool, self.server, None, now);
        if let Some(rtt) = self.timer.round_trip(now) {
            link.sample_rtt(rtt);
        }
        let connected = Box::new(Connected { link, since: now, params, frames: Vec::new() });
        self.state = State::AwaitingPacket { fin, connected };
        self.timer = Resend::begin(rng);
        self.afresh_at = Some(now + AFRESH_AFTER);
    }

    fn handle_packet(
        &mut self,
        packet: &mut [u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Dialled, DialError> {
        let State::AwaitingPacket { connected, .. } = &mut self.state else {
            return Ok(Dialled::Waiting);
        };
        let Connected { link, frames, .. } = &mut **connected;
        let opened = link.counters().opened;
        let handled = link.handle_datagram(packet, self.server, rng, now, &mut |frame| {
            frames.push(match frame {
                Joined::Lent(bytes) => bytes.to_vec(),
                Joined::Owned(bytes) => bytes.to_vec(),
            });
            Ok(())
        });
        if let Err(failure) = handled {
            if let Disconnected::Alert(alert) = failure.why {
                return Err(self.over(DialError::Refused(alert)));
            }
            // It ended before it began; the next handshake, when its time comes, may fare better.
            self.state = State::Over;
            return Ok(Dialled::Waiting);
        }
        if link.counters().opened == opened {
            return Ok(Dialled::Waiting);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::AwaitingPacket { connected, .. } => Ok(Dialled::Connected(connected)),
            _ => Ok(Dialled::Waiting),
        }
    }

    /// Appends the message to `out` that is to be sent now, if there is one.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let message = match &self.state {
            State::AwaitingResp { handshake, .. } => handshake.init(),
            State::AwaitingPacket { fin, .. } => fin,
            State::Over => return None,
        };
        self.timer.send(now).then(|| {
            out.extend_from_slice(message);
            Transmit { to: self.server, segment: message.len() }
        })
    }

    /// The socket said that a message is longer than the path carries: the attempt is over.
    pub(crate) fn too_big(&mut self) -> DialError {
        self.over(DialError::PathTooSmall)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let times = [Some(self.give_up_at), self.afresh_at, self.timer.at()];
        times.into_iter().flatten().min()
    }

    /// Sends again, begins anew or gives up, as time asks for.
    ///
    /// # Errors
    ///
    /// [`DialError::GaveUp`] once [`Limits::handshake_timeout_udp`] has passed.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), DialError> {
        if self.give_up_at <= now {
            let last = self.last;
            return Err(self.over(DialError::GaveUp { last }));
        }
        if self.afresh_at.is_some_and(|at| at <= now) {
            let handshake = Box::new(initiator::start(self.config.clone(), rng));
            self.state = State::AwaitingResp { handshake, retries: 0 };
            self.timer = Resend::begin(rng);
            self.afresh_at = None;
        }
        self.timer.handle_timeout(now, rng);
        Ok(())
    }

    fn over(&mut self, error: DialError) -> DialError {
        self.state = State::Over;
        self.afresh_at = None;
        error
    }
}

/// When one message is sent, and sent again.
struct Resend {
    /// How often it was sent.
    sent: usize,
    first_sent: Option<Instant>,
    /// The pause after it is sent next.
    pause: Duration,
    next: Next,
}

enum Next {
    Now,
    At(Instant),
}

impl Resend {
    fn begin(rng: &mut impl CryptoRng) -> Self {
        Self { sent: 0, first_sent: None, pause: jittered(PAUSES[0], rng), next: Next::Now }
    }

    /// Whether the message is due; then it counts as sent.
    fn send(&mut self, now: Instant) -> bool {
        let due = matches!(self.next, Next::Now);
        if due {
            self.sent += 1;
            self.first_sent.get_or_insert(now);
            self.next = Next::At(now + self.pause);
        }
        due
    }

    fn handle_timeout(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        if self.at().is_some_and(|at| at <= now) {
            let pause = PAUSES.get(self.sent).or(PAUSES.last());
            self.pause = jittered(pause.copied().unwrap_or_default(), rng);
            self.next = Next::Now;
        }
    }

    /// How long the answer took that has come now, if it is clear to which message (Karn).
    fn round_trip(&self, now: Instant) -> Option<Duration> {
        let sent = self.first_sent.filter(|_| self.sent == 1)?;
        Some(now.saturating_duration_since(sent))
    }

    fn at(&self) -> Option<Instant> {
        match self.next {
            Next::Now => None,
            Next::At(at) => Some(at),
        }
    }
}

/// A fifth less to a fifth more, so that clients that lost together do not come again together.
fn jittered(pause: Duration, rng: &mut impl CryptoRng) -> Duration {
    let drawn = rng.next_u32() >> 16;
    pause * 4 / 5 + pause * 2 / 5 * drawn / 65_535
}
