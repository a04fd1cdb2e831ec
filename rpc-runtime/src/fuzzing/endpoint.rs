//! A server's UDP endpoint and whoever sends to it: callers who hold their keys and keep no rule,
//! and others who have seen every datagram.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    Alert, DatagramKind, Identity, PacketType, Packets, Params, RecordLimits, Transport,
    datagram_kind,
    initiator::{self, AwaitingResp},
    responder,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{bytes_of, steps::Steps};
use crate::{
    config::Limits,
    proto::udp::{
        endpoint::{Applicant, Arrived, Endpoint, Time},
        sessions::SessionId,
    },
};

const CALLERS: usize = 4;
const UNIX: u64 = 1_800_000_000;
const MAX_CONNECTIONS: usize = 6;
const MAX_FRAME: usize = 4096;

/// Datagrams that can be sent again.
const REMEMBERED: usize = 128;

/// A sequence of operations on an endpoint.
///
/// # Panics
///
/// If there are more connections than [`Limits`] allow, an address that has shown nothing is sent
/// more than three times what came from it, or frames come from nobody who was admitted, or twice.
pub fn endpoint(input: &[u8]) {
    let mut steps = Steps::new(input);
    let mut world = World::new();
    while let Some(operation) = steps.next() {
        world.step(operation, &mut steps);
        world.settle(1 + usize::from(operation) % 8);
    }
}

struct World {
    endpoint: Endpoint,
    callers: [Caller; CALLERS],
    began: Instant,
    now: Instant,
    rng: StdRng,
    /// Every datagram that has come or gone, up to a number.
    seen: Vec<Vec<u8>>,
    bytes: HashMap<SocketAddr, Bytes>,
    /// Addresses that a FIN came from, or where a session's peer has shown to be.
    proven: HashSet<SocketAddr>,
    applicants: Vec<Applicant>,
    sessions: Vec<SessionId>,
    ended: HashSet<SessionId>,
    /// Frames that callers have sent in data packets, and those that have arrived.
    sent: HashSet<[u8; 16]>,
    arrived: HashSet<[u8; 16]>,
}

/// What came from an address and what went there.
#[derive(Default)]
struct Bytes {
    received: usize,
    sent: usize,
}

#[derive(Default)]
struct Caller {
    handshake: Option<AwaitingResp>,
    fin: Vec<u8>,
    packets: Option<Packets>,
}

fn limits() -> Limits {
    Limits {
        max_frame: 4096,
        max_message_udp: 4096,
        max_reassembly_total: 16 * 1024,
        max_connections: MAX_CONNECTIONS,
        max_connections_per_source: 4,
        max_half_open: 4,
        max_half_open_per_source: 2,
        ..Limits::default()
    }
}

/// Hosts of two networks, some with several ports.
fn address(which: u8) -> SocketAddr {
    let port = 4000 + u16::from(which / 4 % 3);
    match which % 4 {
        0 => ([192, 0, 2, 1], port).into(),
        1 => ([192, 0, 2, 2], port).into(),
        2 => ([198, 51, 100, 1], port).into(),
        _ => ([0x2001, 0xdb8, 0, u16::from(which / 16), 0, 0, 0, 1], port).into(),
    }
}

impl World {
    fn new() -> Self {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(7));
        let server = Identity::from_seed(&[9; 32]);
        let mut config = responder::Config::new(Transport::Udp, server, Params::new([9; 16]));
        config.records.records = 16;
        Self {
            endpoint: Endpoint::new(config, limits(), UNIX, &mut rng),
            callers: Default::default(),
            began: now,
            now,
            rng,
            seen: Vec::new(),
            bytes: HashMap::new(),
            proven: HashSet::new(),
            applicants: Vec::new(),
            sessions: Vec::new(),
            ended: HashSet::new(),
            sent: HashSet::new(),
            arrived: HashSet::new(),
        }
    }

    fn step(&mut self, operation: u8, steps: &mut Steps<'_>) {
        match operation % 16 {
            0 | 1 => self.begin(steps),
            2 | 3 => {
                let caller = &self.callers[steps.among(CALLERS)];
                let fin = caller.fin.clone();
                self.arrive(&fin, address(steps.byte()));
            }
            4 => {
                let from = address(steps.byte());
                self.arrive(steps.bytes(), from);
            }
            5 | 6 => self.again(steps),
            7 | 8 => self.packet(steps),
            9 | 10 => self.frames(steps),
            11 => {
                self.now += Duration::from_millis(u64::from(steps.short()) % 35_000);
                self.time_passes();
            }
            12 | 13 => self.decide(steps),
            14 => self.answer(steps),
            _ => self.close(steps),
        }
    }

    /// A caller begins anew, or sends the INIT that it has.
    fn begin(&mut self, steps: &mut Steps<'_>) {
        let (which, is_new) = (steps.among(CALLERS), !steps.byte().is_multiple_of(4));
        let caller = &mut self.callers[which];
        if is_new || caller.handshake.is_none() {
            let seed = 1 + u8::try_from(which).unwrap_or(0);
            let mut params = Params::new([seed; 16]);
            // Some say what nobody accepts.
            params.max_frame = if steps.byte() == 255 { 1 } else { 65_536 };
            let config = initiator::Config {
                transport: Transport::Udp,
                identity: Identity::from_seed(&[seed; 32]),
                server: Identity::from_seed(&[9; 32]).public_key(),
                params,
                psk: None,
                records: RecordLimits { records: 16, ..RecordLimits::default() },
            };
            *caller = Caller {
                handshake: Some(initiator::start(config, &mut self.rng)),
                ..Caller::default()
            };
        }
        let init = caller.handshake.as_ref().map(|it| it.init().to_vec()).unwrap_or_default();
        self.arrive(&init, address(steps.byte()));
    }

    /// A datagram that was seen comes again, perhaps from elsewhere and perhaps altered.
    fn again(&mut self, steps: &mut Steps<'_>) {
        if self.seen.is_empty() {
            return;
        }
        let mut datagram = self.seen[steps.among(self.seen.len())].clone();
        let from = address(steps.byte());
        let (at, change) = (usize::from(steps.short()), steps.byte());
        if let Some(byte) = datagram.get_mut(at) {
            *byte ^= change;
        }
        self.arrive(&datagram, from);
    }

    /// A packet of any type with any content.
    fn packet(&mut self, steps: &mut Steps<'_>) {
        const KINDS: [PacketType; 8] = [
            PacketType::Data,
            PacketType::Fragment,
            PacketType::FragmentAck,
            PacketType::Ping,
            PacketType::PathChallenge,
            PacketType::PathResponse,
            PacketType::Close,
            PacketType::Alert,
        ];
        let which = steps.among(CALLERS);
        let (kind, from) = (KINDS[steps.among(KINDS.len())], address(steps.byte()));
        let content = steps.bytes();
        self.seal(which, kind, content, from);
    }

    /// A packet of one frame, or one fragment of it, that no other packet carries.
    fn frames(&mut self, steps: &mut Steps<'_>) {
        let which = steps.among(CALLERS);
        let (from, size) = (address(steps.byte()), usize::from(steps.byte()));
        let name: [u8; 16] = self.rng.random();
        self.sent.insert(name);
        let mut frame = u32::try_from(16 + size).unwrap_or(0).to_be_bytes().to_vec();
        frame.extend_from_slice(&name);
        frame.resize(4 + 16 + size, 7);
        self.seal(which, PacketType::Data, &frame, from);
    }

    fn seal(&mut self, which: usize, kind: PacketType, content: &[u8], from: SocketAddr) {
        let Some(packets) = &mut self.callers[which].packets else { return };
        let mut packet = Vec::new();
        if packets.seal(kind, content, 0, self.now, &mut packet).is_ok() {
            self.arrive(&packet, from);
        }
    }

    fn remember(&mut self, datagram: &[u8]) {
        if self.seen.len() == REMEMBERED {
            self.seen.remove(0);
        }
        self.seen.push(datagram.to_vec());
    }

    /// A datagram comes to the server.
    fn arrive(&mut self, datagram: &[u8], from: SocketAddr) {
        self.remember(datagram);
        self.bytes.entry(from).or_default().received += datagram.len();
        let unix_seconds = UNIX + self.now.duration_since(self.began).as_secs();
        let time = Time { now: self.now, arrived: self.now, unix_seconds };
        let mut frames = Vec::new();
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
        for (id, frame) in frames {
            assert!(self.sessions.contains(&id), "a frame of nobody who was admitted");
            assert!(!self.ended.contains(&id), "a frame of a session that has ended");
            assert!((1..=MAX_FRAME).contains(&frame.len()));
            if let Some(name) = frame.first_chunk()
                && self.sent.contains(name)
            {
                assert!(self.arrived.insert(*name), "a frame comes twice");
            }
        }
        match arrived {
            Arrived::Nothing => {}
            Arrived::Session(id) => {
                if let Some(link) = self.endpoint.link(id) {
                    self.proven.insert(link.peer());
                }
            }
            Arrived::Authenticated(applicant) => {
                self.proven.insert(from);
                self.applicants.push(applicant);
            }
            Arrived::Ended(id, _) => assert!(self.ended.insert(id), "a session ends twice"),
        }
    }

    fn decide(&mut self, steps: &mut Steps<'_>) {
        if self.applicants.is_empty() {
            return;
        }
        let at = steps.among(self.applicants.len());
        let applicant = self.applicants.swap_remove(at);
        if steps.byte() < 200 {
            if let Ok((id, params)) = self.endpoint.admit(applicant.id, self.now) {
                assert_eq!(params.check(), Ok(()));
                self.sessions.push(id);
            }
        } else {
            self.endpoint.refuse(applicant.id, Alert::AccessDenied, self.now);
        }
    }

    /// The server sends frames over a session.
    fn answer(&mut self, steps: &mut Steps<'_>) {
        if self.sessions.is_empty() {
            return;
        }
        let id = self.sessions[steps.among(self.sessions.len())];
        let (size, tag) = (usize::from(steps.short()) % 8192, steps.byte());
        if let Some(link) = self.endpoint.link(id) {
            assert!(!self.ended.contains(&id));
            let mut frame = u32::try_from(1 + size).unwrap_or(0).to_be_bytes().to_vec();
            frame.resize(4 + 1 + size, 9);
            // Longer than the peer takes: nothing is queued.
            let _ = link.send(&frame, tag.is_multiple_of(4).then_some(tag.into()));
        }
    }

    fn close(&mut self, steps: &mut Steps<'_>) {
        if self.sessions.is_empty() {
            return;
        }
        let id = self.sessions[steps.among(self.sessions.len())];
        match steps.byte() {
            0..=63 => self.endpoint.close(id, self.now),
            64..=127 => self.endpoint.abort(id, Alert::LimitExceeded, self.now),
            _ => return,
        }
        self.ended.insert(id);
    }

    fn time_passes(&mut self) {
        let ended = &mut self.ended;
        self.endpoint.handle_timeout(self.now, &mut |id, _| {
            assert!(ended.insert(id), "a session ends twice");
        });
    }

    /// Takes what the endpoint sends, and looks whether the promises hold.
    fn settle(&mut self, segments: usize) {
        let mut out = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out, segments) {
            assert!(!out.is_empty() && transmit.segment > 0);
            assert!(out.len().div_ceil(transmit.segment) <= segments);
            let sent = std::mem::take(&mut out);
            for datagram in sent.chunks(transmit.segment) {
                self.leave(datagram, transmit.to);
            }
        }
        assert!(out.is_empty());
        assert!(self.endpoint.connections() <= MAX_CONNECTIONS);
        let mut rounds = 0;
        while self.endpoint.next_timeout().is_some_and(|at| at <= self.now) {
            self.time_passes();
            while self.endpoint.poll_transmit(self.now, &mut out, 8).is_some() {
                out.clear();
            }
            rounds += 1;
            assert!(rounds < 100, "time that has come stays");
        }
    }

    /// A datagram of the server goes to `to`, where any caller may be.
    fn leave(&mut self, datagram: &[u8], to: SocketAddr) {
        let bytes = self.bytes.entry(to).or_default();
        bytes.sent += datagram.len();
        let is_within = bytes.sent <= 3 * bytes.received || self.proven.contains(&to);
        assert!(is_within, "{} bytes to {to} for {}", bytes.sent, bytes.received);
        self.remember(datagram);
        for caller in &mut self.callers {
            caller.take(datagram, self.now);
        }
    }
}

impl Caller {
    /// Takes what is meant for it.
    fn take(&mut self, datagram: &[u8], now: Instant) {
        match (datagram_kind(datagram), &mut self.handshake) {
            // One for another caller, or an old one.
            (Some(DatagramKind::Retry), Some(handshake)) => _ = handshake.handle_retry(datagram),
            (Some(DatagramKind::Resp), Some(handshake)) => {
                if let Ok((fin, session)) = handshake.handle_resp(datagram, now) {
                    self.fin = fin;
                    self.packets = Some(session.packets);
                }
            }
            (Some(DatagramKind::Packet), _) => {
                if let Some(packets) = &mut self.packets {
                    // So that its keys go on with the server's.
                    let _ = packets.open(&mut datagram.to_vec(), now);
                }
            }
            _ => {}
        }
    }
}
