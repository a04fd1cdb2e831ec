//! Two links joined by a network in memory that loses, delays and cuts: for tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    DatagramSession, Identity, Params, RecordLimits, Transport, initiator, responder,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    link::{Link, Report},
    reassembly::ReassemblyPool,
};
use crate::{config::Limits, proto::session::Failure};

/// More happens in no test.
const MAX_STEPS: u64 = 300_000;

pub(super) const MS: Duration = Duration::from_millis(1);

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Initiator,
    Responder,
}

pub(super) use Side::{Initiator, Responder};

pub(super) struct End {
    pub(super) link: Link,
    pub(super) address: SocketAddr,
    /// The frames that came, without their length fields.
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) reports: Vec<Report>,
    pub(super) failure: Option<Failure>,
    /// The operating system refuses longer datagrams.
    pub(super) local_mtu: usize,
}

/// A datagram that was sent.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) at: Instant,
    pub(super) by: Side,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct World {
    pub(super) initiator: End,
    pub(super) responder: End,
    pub(super) now: Instant,
    pub(super) rng: StdRng,
    pub(super) pool: Arc<ReassemblyPool>,
    /// The share of datagrams that vanish.
    pub(super) loss: f64,
    /// Longer datagrams vanish.
    pub(super) mtu: usize,
    pub(super) delay: Duration,
    /// How much longer than that some take: they are overtaken.
    pub(super) jitter: Duration,
    /// Every datagram ever sent.
    pub(super) sent: Vec<Datagram>,
    flying: BTreeMap<(Instant, usize), Datagram>,
}

pub(super) fn initiator_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1000))
}

pub(super) fn responder_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 2000))
}

/// What both ends are made with.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) records: RecordLimits,
    pub(super) seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { limits: Limits::default(), records: RecordLimits::default(), seed: 7 }
    }
}

/// A session as both ends see it, the initiator's first.
pub(super) fn sessions(setup: &Setup, now: Instant) -> (DatagramSession, DatagramSession) {
    let mut rng = StdRng::seed_from_u64(setup.seed);
    let (alice, server) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let params = |incarnation| Params {
        max_frame: setup.limits.max_frame,
        max_reassembly: setup.limits.max_message_udp,
        idle_timeout: setup.limits.idle_timeout,
        ..Params::new(incarnation)
    };
    let dial = initiator::Config {
        transport: Transport::Udp,
        identity: alice,
        server: server.public_key(),
        params: params([1; 16]),
        psk: None,
        records: setup.records,
    };
    let mut answer = responder::Config::new(Transport::Udp, server, params([2; 16]));
    answer.records = setup.records;
    let mut awaiting_resp = initiator::start(dial, &mut rng);
    let mut awaiting_fin = responder::accept(&answer, awaiting_resp.init(), &mut rng).unwrap();
    let (fin, at_initiator) = awaiting_resp.handle_resp(awaiting_fin.resp(), now).unwrap();
    let at_responder = awaiting_fin.handle_fin(&fin, now).unwrap().admit().unwrap();
    (at_initiator, at_responder)
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(&Setup::default())
    }

    pub(super) fn with(setup: &Setup) -> Self {
        let now = Instant::now();
        let (at_initiator, at_responder) = sessions(setup, now);
        let pool = ReassemblyPool::new(setup.limits.max_reassembly_total);
        let end = |session, address, peer| End {
            link: Link::new(session, &setup.limits, &pool, peer, None, now),
            address,
            frames: Vec::new(),
            reports: Vec::new(),
            failure: None,
            local_mtu: 65_507,
        };
        println!("seed {}", setup.seed);
        Self {
            initiator: end(at_initiator, initiator_address(), responder_address()),
            responder: end(at_responder, responder_address(), initiator_address()),
            now,
            rng: StdRng::seed_from_u64(setup.seed),
            pool,
            loss: 0.0,
            mtu: 65_507,
            delay: MS,
            jitter: Duration::ZERO,
            sent: Vec::new(),
            flying: BTreeMap::new(),
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Initiator => &mut self.initiator,
            Responder => &mut self.responder,
        }
    }

    pub(super) fn send(&mut self, by: Side, frame: &[u8], tag: Option<u64>) {
        self.end(by).link.send(&framed(frame), tag).unwrap();
    }

    /// Lets both ends send what they have.
    pub(super) fn transmit(&mut self) {
        for side in [Initiator, Responder] {
            let (now, mut out) = (self.now, Vec::new());
            while let Some(transmit) = self.end(side).link.poll_transmit(now, &mut out, 64) {
                assert!(out.len() <= 65_507);
                for bytes in out.chunks(transmit.segment) {
                    self.leave(side, transmit.to, bytes);
                }
                out.clear();
            }
            assert!(out.is_empty());
            self.collect(side);
        }
    }

    fn leave(&mut self, by: Side, to: SocketAddr, bytes: &[u8]) {
        let (now, mtu) = (self.now, self.mtu);
        let end = self.end(by);
        if bytes.len() > end.local_mtu {
            end.link.too_big(bytes.len(), now);
            return;
        }
        let from = end.address;
        let datagram = Datagram { at: now, by, from, to, bytes: bytes.to_vec() };
        self.sent.push(datagram.clone());
        if bytes.len() <= mtu && !self.rng.random_bool(self.loss) {
            let late = self.jitter.mul_f64(self.rng.random::<f64>());
            self.flying.insert((now + self.delay + late, self.sent.len()), datagram);
        }
    }

    /// Brings a datagram to the end that has its address, if one does.
    pub(super) fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        for side in [Initiator, Responder] {
            if self.end(side).address != to {
                continue;
            }
            let (mut bytes, mut frames) = (bytes.to_vec(), Vec::new());
            let mut rng = StdRng::seed_from_u64(self.rng.random());
            let end = self.end(side);
            let taken = end.link.handle_datagram(&mut bytes, from, &mut rng, now, &mut |frame| {
                frames.push(match frame {
                    crate::proto::joined::Joined::Lent(frame) => frame.to_vec(),
                    crate::proto::joined::Joined::Owned(frame) => frame.to_vec(),
                });
                Ok(())
            });
            end.frames.append(&mut frames);
            if let Err(failure) = taken {
                assert_eq!(end.failure.replace(failure), None, "a session ends once");
            }
            self.collect(side);
        }
    }

    fn collect(&mut self, side: Side) {
        let end = self.end(side);
        while let Some(report) = end.link.poll_report() {
            end.reports.push(report);
        }
    }

    /// Goes to the next thing that happens before `until`; whether there was one.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        self.transmit();
        let timeouts = [Initiator, Responder].map(|side| self.end(side).link.next_timeout());
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let next = timeouts.into_iter().flatten().chain(arrival).min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for side in [Initiator, Responder] {
            let now = self.now;
            let end = self.end(side);
            if end.link.next_timeout().is_some_and(|at| at <= now)
                && let Err(failure) = end.link.handle_timeout(now)
            {
                assert_eq!(end.failure.replace(failure), None, "a session ends once");
            }
            self.collect(side);
        }
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let datagram = entry.remove();
            self.arrive(datagram.from, datagram.to, &datagram.bytes);
        }
        true
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0_u64;
        while self.step(until) {
            steps += 1;
            assert!(steps < MAX_STEPS, "the links keep each other busy");
        }
    }

    /// Runs until `done`; panics if it takes longer than `at_most`.
    pub(super) fn run_until(&mut self, at_most: Duration, done: impl Fn(&Self) -> bool) {
        let until = self.now + at_most;
        let mut steps = 0_u64;
        while !done(self) {
            assert!(self.step(until), "not done within {at_most:?}");
            steps += 1;
            assert!(steps < MAX_STEPS, "the links keep each other busy: {:?}", self.initiator.link);
        }
    }

    /// Datagrams sent since the first `since`.
    pub(super) fn sent_by(&self, by: Side, since: usize) -> Vec<&Datagram> {
        self.sent[since..].iter().filter(|datagram| datagram.by == by).collect()
    }
}

pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    [&u32::try_from(frame.len()).unwrap().to_be_bytes(), frame].concat()
}
