//! What tests of this folder share: seeded randomness, and a server in virtual time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    Alert, DatagramKind, Identity, Packets, Params, RecordLimits, Transport, datagram_kind,
    initiator::{self, AwaitingResp},
    responder,
};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    endpoint::{Applicant, Arrived, Endpoint, Time},
    sessions::SessionId,
};
use crate::{
    config::Limits,
    proto::{joined::Joined, session::Failure},
};

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Where virtual time begins: only differences matter.
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Host `last` of a documentation network, one of many ports.
pub(crate) fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], port))
}

/// One address of each of 65,536 sources.
pub(crate) fn source_number(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([198, 18, high, low], 4000))
}

pub(crate) fn server_identity() -> Identity {
    Identity::from_seed(&[1; 32])
}

pub(crate) fn responder() -> responder::Config {
    responder::Config::new(Transport::Udp, server_identity(), Params::new([9; 16]))
}

pub(crate) fn server_address() -> SocketAddr {
    at(200, 4711)
}

/// Somebody who calls the server.
pub(crate) fn caller(seed: u8) -> initiator::Config {
    initiator::Config {
        transport: Transport::Udp,
        identity: Identity::from_seed(&[seed; 32]),
        server: server_identity().public_key(),
        params: Params::new([seed; 16]),
        psk: None,
        records: RecordLimits::default(),
    }
}

/// What the look-up says to all who come.
#[derive(Clone, Copy)]
pub(crate) enum LookUp {
    Admits,
    Refuses(Alert),
    /// Nothing yet: [`Server::applicants`] has them.
    Waits,
}

/// An endpoint with its shell's part done at once: look-ups, and datagrams out.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Instant,
    pub(crate) rng: StdRng,
    pub(crate) look_up: LookUp,
    pub(crate) applicants: Vec<Applicant>,
    pub(crate) admitted: Vec<SessionId>,
    pub(crate) ended: Vec<(SessionId, Failure)>,
    pub(crate) frames: Vec<(SessionId, Vec<u8>)>,
    began: Instant,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut rng = rng(7);
        let now = start();
        Self {
            endpoint: Endpoint::new(responder(), limits, UNIX, &mut rng),
            now,
            rng,
            look_up: LookUp::Admits,
            applicants: Vec::new(),
            admitted: Vec::new(),
            ended: Vec::new(),
            frames: Vec::new(),
            began: now,
        }
    }

    /// Time since the test began becomes `ms`, and what it asks for is done.
    pub(crate) fn set_time(&mut self, ms: u64) {
        self.now = self.began + millis(ms);
        let ended = &mut self.ended;
        self.endpoint.handle_timeout(self.now, &mut |id, failure| ended.push((id, failure)));
    }

    /// Hands over a datagram without asking for answers.
    pub(crate) fn handle(&mut self, datagram: &[u8], from: SocketAddr) {
        let frames = &mut self.frames;
        let time = Time {
            now: self.now,
            arrived: self.now,
            unix_seconds: UNIX + self.now.duration_since(self.began).as_secs(),
        };
        let arrived = self.endpoint.handle_datagram(
            &mut datagram.to_vec(),
            from,
            time,
            &mut self.rng,
            &mut |id, frame| {
                frames.push((id, bytes_of(&frame)));
                Ok(())
            },
        );
        match arrived {
            Arrived::Nothing | Arrived::Session(_) => {}
            Arrived::Authenticated(applicant) => self.decide(applicant),
            Arrived::Ended(id, failure) => self.ended.push((id, failure)),
        }
    }

    fn decide(&mut self, applicant: Applicant) {
        self.applicants.push(applicant);
        match self.look_up {
            LookUp::Admits => {
                let (session, _) = self.endpoint.admit(applicant.id, self.now).unwrap();
                self.admitted.push(session);
            }
            LookUp::Refuses(alert) => self.endpoint.refuse(applicant.id, alert, self.now),
            LookUp::Waits => {}
        }
    }

    /// All that waits to be sent.
    pub(crate) fn sends(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        let mut out = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out, 1) {
            assert_eq!(transmit.segment, out.len(), "one datagram was asked for");
            sent.push((transmit.to, std::mem::take(&mut out)));
        }
        sent
    }

    /// What the server answers to one datagram; all of it goes where that came from.
    pub(crate) fn answers(&mut self, datagram: &[u8], from: SocketAddr) -> Vec<Vec<u8>> {
        self.handle(datagram, from);
        let sent = self.sends();
        assert!(sent.iter().all(|(to, _)| *to == from), "an answer goes elsewhere");
        sent.into_iter().map(|(_, answer)| answer).collect()
    }

    /// A handshake from `from` as far as RESP, with the token that is asked for; `None` if the
    /// server is silent.
    pub(crate) fn begin(&mut self, config: &initiator::Config, from: SocketAddr) -> Option<Begun> {
        let mut handshake = initiator::start(config.clone(), &mut self.rng);
        loop {
            let mut answers = self.answers(handshake.init(), from);
            let answer = answers.pop()?;
            assert!(answers.is_empty(), "one answer to an INIT");
            match datagram_kind(&answer) {
                Some(DatagramKind::Retry) => handshake.handle_retry(&answer).unwrap(),
                Some(DatagramKind::Resp) => return Some(Begun { handshake, resp: answer }),
                other => panic!("INIT was answered by {other:?}"),
            }
        }
    }

    /// A whole handshake from `from`; what opens the server's packets.
    pub(crate) fn connect(&mut self, from: SocketAddr) -> Packets {
        let (fin, packets) = self.begin(&caller(2), from).unwrap().finish(self.now);
        assert_eq!(kinds(&self.answers(&fin, from)), [DatagramKind::Packet]);
        packets
    }

    /// Begins handshakes until `from` is asked for a token.
    pub(crate) fn exhaust_rate(&mut self, from: SocketAddr) {
        loop {
            let init = initiator::start(caller(4), &mut self.rng).init().to_vec();
            if kinds(&self.answers(&init, from)) == [DatagramKind::Retry] {
                return;
            }
        }
    }

    /// How many handshakes of `reason` were refused since this was asked last.
    pub(crate) fn refused(&mut self, reason: &str) -> u64 {
        let refusals = self.endpoint.take_refusals();
        assert_eq!(refusals.unlisted, 0);
        refusals.listed.iter().filter(|refusal| refusal.reason == reason).map(|r| r.count).sum()
    }
}

/// A handshake at its initiator, with the RESP that came.
pub(crate) struct Begun {
    pub(crate) handshake: AwaitingResp,
    pub(crate) resp: Vec<u8>,
}

impl Begun {
    pub(crate) fn init(&self) -> &[u8] {
        self.handshake.init()
    }

    /// FIN, and what opens the server's packets.
    pub(crate) fn finish(&mut self, now: Instant) -> (Vec<u8>, Packets) {
        let (fin, session) = self.handshake.handle_resp(&self.resp, now).unwrap();
        (fin, session.packets)
    }
}

pub(crate) fn kinds(datagrams: &[Vec<u8>]) -> Vec<DatagramKind> {
    datagrams.iter().map(|datagram| datagram_kind(datagram).unwrap()).collect()
}

pub(crate) fn bytes_of(frame: &Joined<'_>) -> Vec<u8> {
    match frame {
        Joined::Lent(bytes) => bytes.to_vec(),
        Joined::Owned(bytes) => bytes.to_vec(),
    }
}

/// Virtual time begins then, in Unix seconds.
const UNIX: u64 = 1_800_000_000;
