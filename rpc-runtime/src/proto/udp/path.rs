//! Where the peer is: a new address counts once it has answered a challenge there.
//!
//! A packet that anybody has copied and sent on from elsewhere must not move the connection: until
//! the new address has shown that the peer receives there, everything goes to the old one, and at
//! most three times what came from the new one goes there (protocol, roaming; RFC 9000, 9).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bailiwick_crypto::packet::OVERHEAD;

/// A challenge fills a packet of this size where it may.
const CHALLENGE: usize = 1200;

/// No packet with a challenge is shorter.
const LEAST: usize = OVERHEAD + 8;

/// How much more than it has sent goes to an address that is not validated.
const AMPLIFICATION: usize = 3;

/// So many challenges go unanswered before an address is forgotten.
const MAX_CHALLENGES: u32 = 4;

#[derive(Debug)]
pub(super) struct Path {
    peer: SocketAddr,
    candidate: Option<Box<Candidate>>,
}

#[derive(Debug)]
struct Candidate {
    address: SocketAddr,
    token: [u8; 8],
    /// Bytes of datagrams from there that were authentic, and of datagrams to there.
    received: usize,
    sent: usize,
    challenges: u32,
    next_challenge: Instant,
}

/// How the peer has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Only its port is another: a translator on the way forgot it.
    Port,
    Address,
}

/// What to send to an address that is to be validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) to: SocketAddr,
    pub(super) token: [u8; 8],
    /// The packet's size: 1,200, or less if that much may not be sent there.
    pub(super) size: usize,
}

impl Path {
    /// `peer` is validated: the handshake came from there.
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self { peer, candidate: None }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// An authentic packet of `size` bytes has come. `token` is drawn when a new address needs one.
    pub(super) fn received(
        &mut self,
        from: SocketAddr,
        size: usize,
        is_highest: bool,
        now: Instant,
        token: impl FnOnce() -> [u8; 8],
    ) {
        match &mut self.candidate {
            Some(candidate) if candidate.address == from => candidate.received += size,
            // The newest packet shows where the peer is now: where we think, or elsewhere again.
            _ if is_highest && from == self.peer => self.candidate = None,
            _ if is_highest => {
                self.candidate = Some(Box::new(Candidate {
                    address: from,
                    token: token(),
                    received: size,
                    sent: 0,
                    challenges: 0,
                    next_challenge: now,
                }));
            }
            _ => {}
        }
    }

    /// A response has come, from wherever: the token was sent to one address only.
    pub(super) fn answered(&mut self, token: [u8; 8]) -> Option<Moved> {
        let candidate = self.candidate.take_if(|candidate| candidate.token == token)?;
        let moved = match candidate.address.ip() == self.peer.ip() {
            true => Moved::Port,
            false => Moved::Address,
        };
        self.peer = candidate.address;
        Some(moved)
    }

    /// The next challenge, if one is due and may be sent there. It counts as sent.
    pub(super) fn challenge(&mut self, rto: Duration, now: Instant) -> Option<Challenge> {
        let candidate = self.candidate.as_mut()?;
        if candidate.next_challenge > now || candidate.challenges == MAX_CHALLENGES {
            return None;
        }
        let size = candidate.room().min(CHALLENGE);
        if size < LEAST {
            // Asked again when more has come from there.
            return None;
        }
        candidate.sent += size;
        candidate.next_challenge = now + rto.saturating_mul(1 << candidate.challenges);
        candidate.challenges += 1;
        Some(Challenge { to: candidate.address, token: candidate.token, size })
    }

    /// Whether `size` bytes may go to `to` as an answer to as many; they count as sent.
    pub(super) fn may_answer(&mut self, to: SocketAddr, size: usize) -> bool {
        match &mut self.candidate {
            Some(candidate) if candidate.address == to => {
                let may = size <= candidate.room();
                candidate.sent += if may { size } else { 0 };
                may
            }
            // What was asked from there was as long.
            _ => true,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let candidate = self.candidate.as_ref()?;
        let may_send = candidate.room() >= LEAST || candidate.challenges == MAX_CHALLENGES;
        may_send.then_some(candidate.next_challenge)
    }

    /// Forgets an address that has answered none of its challenges.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.candidate.take_if(|candidate| {
            candidate.challenges == MAX_CHALLENGES && candidate.next_challenge <= now
        });
    }
}

impl Candidate {
    fn room(&self) -> usize {
        self.received.saturating_mul(AMPLIFICATION).saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTO: Duration = Duration::from_millis(100);

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn moving(size: usize, now: Instant) -> Path {
        let mut path = Path::new(at(1));
        path.received(at(2), size, true, now, || [7; 8]);
        path
    }

    #[test]
    fn an_address_counts_once_its_challenge_is_answered() {
        let now = Instant::now();
        let mut path = moving(500, now);
        let challenge = path.challenge(RTO, now).unwrap();
        assert_eq!(challenge, Challenge { to: at(2), token: [7; 8], size: 1200 });
        assert_eq!(path.peer(), at(1));
        assert_eq!(path.answered([8; 8]), None);
        assert_eq!(path.answered([7; 8]), Some(Moved::Port));
        assert_eq!(path.peer(), at(2));
        assert_eq!(path.answered([7; 8]), None);
    }

    #[test]
    fn another_host_is_told_from_another_port() {
        let now = Instant::now();
        let mut path = Path::new(at(1));
        let elsewhere = SocketAddr::from(([192, 0, 2, 2], 1));
        path.received(elsewhere, 500, true, now, || [7; 8]);
        assert_eq!(path.answered([7; 8]), Some(Moved::Address));
    }

    #[test]
    fn only_the_newest_packet_tells_an_address() {
        let now = Instant::now();
        let mut path = Path::new(at(1));
        path.received(at(2), 500, false, now, || unreachable!());
        assert_eq!(path.challenge(RTO, now), None);
        let mut path = moving(500, now);
        path.received(at(1), 500, true, now, || unreachable!());
        assert_eq!(path.challenge(RTO, now), None, "it is where it was");
    }

    #[test]
    fn at_most_three_times_what_came_goes_there() {
        let mut now = Instant::now();
        let mut path = moving(100, now);
        assert_eq!(path.challenge(RTO, now).unwrap().size, 300);
        now += RTO;
        assert_eq!(path.challenge(RTO, now), None);
        assert_eq!(path.next_timeout(), None, "there is nothing to wait for but packets");
        path.received(at(2), 14, false, now, || unreachable!());
        assert_eq!(path.challenge(RTO, now).unwrap().size, 42);
        assert!(!path.may_answer(at(2), 1));
        path.received(at(2), 100, false, now, || unreachable!());
        assert!(path.may_answer(at(2), 100));
        now += 10 * RTO;
        assert_eq!(path.challenge(RTO, now).unwrap().size, 200);
    }

    #[test]
    fn an_address_that_never_answers_is_forgotten() {
        let mut now = Instant::now();
        let mut path = moving(100_000, now);
        let mut challenges = 0;
        while let Some(next) = path.next_timeout() {
            now = next;
            path.handle_timeout(now);
            challenges += u32::from(path.challenge(RTO, now).is_some());
        }
        assert_eq!(challenges, MAX_CHALLENGES);
        assert_eq!(path.answered([7; 8]), None);
        assert_eq!(path.peer(), at(1));
    }
}
