//! Two links and the path between them, which loses, repeats, reorders and spoils what the input
//! says.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    DatagramSession, Identity, Params, RecordLimits, Transport, initiator, responder,
};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{bytes_of, steps::Steps};
use crate::{
    config::Limits,
    error::Disconnected,
    proto::{
        session::Failure,
        udp::{
            link::{Link, Report},
            reassembly::ReassemblyPool,
        },
    },
};

/// Frames of this length always fit a packet.
const UNFRAGMENTED: usize = 1100;

/// Datagrams on their way at the most, and frames that are sent.
const MAX_ON_THE_WAY: usize = 256;
const MAX_FRAMES: u32 = 256;

/// A sequence of operations on the links of one session.
///
/// # Panics
///
/// If a link breaks the protocol, or a frame arrives that was not sent, or a packet's frame twice,
/// or a message counts as delivered that has not
/// arrived.
pub fn link(input: &[u8]) {
    let mut steps = Steps::new(input);
    let mut world = World::new();
    while let Some(operation) = steps.next() {
        world.step(operation, &mut steps);
    }
    world.end();
}

/// Neither end breaks the protocol, whatever the path does.
fn is_orderly(handled: Result<(), Failure>) {
    if let Err(Failure { why, .. }) = handled {
        assert!(matches!(why, Disconnected::Closed | Disconnected::Idle(_)), "{why:?}");
    }
}

struct World {
    ends: [End; 2],
    /// Datagrams, and at which end they arrive.
    path: Vec<(usize, Vec<u8>)>,
    now: Instant,
    rng: StdRng,
    frames: u32,
}

struct End {
    link: Link,
    address: SocketAddr,
    /// Frames that this end sent, by their number.
    sent: HashMap<u32, Vec<u8>>,
    /// Numbers of frames that the other end was given.
    arrived: HashSet<u32>,
    /// Packets that carried frames with tags.
    packets: Vec<u64>,
    /// Tags of messages that have been reported.
    reported: HashSet<u64>,
}

fn sessions(now: Instant, rng: &mut StdRng) -> [DatagramSession; 2] {
    // Keys change after few packets, so that a short input sees it.
    let records = RecordLimits { records: 16, ..RecordLimits::default() };
    let server = Identity::from_seed(&[9; 32]);
    let config = initiator::Config {
        transport: Transport::Udp,
        identity: Identity::from_seed(&[1; 32]),
        server: server.public_key(),
        params: Params::new([1; 16]),
        psk: None,
        records,
    };
    let answer = responder::Config {
        records,
        ..responder::Config::new(Transport::Udp, server, Params::new([9; 16]))
    };
    let mut calling = initiator::start(config, rng);
    let mut answering = responder::accept(&answer, calling.init(), rng).expect("INIT is sound");
    let (fin, near) = calling.handle_resp(answering.resp(), now).expect("RESP is sound");
    let far = answering.handle_fin(&fin, now).expect("FIN is sound").admit();
    [near, far.expect("the parameters are sound")]
}

impl World {
    fn new() -> Self {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(7));
        let addresses: [SocketAddr; 2] =
            [([192, 0, 2, 1], 4000).into(), ([192, 0, 2, 200], 4711).into()];
        let [near, far] = sessions(now, &mut rng);
        let limits = Limits { max_message_udp: 32 * 1024, ..Limits::default() };
        let end = |session, address, peer| End {
            link: Link::new(session, &limits, &ReassemblyPool::new(1 << 20), peer, None, now),
            address,
            sent: HashMap::new(),
            arrived: HashSet::new(),
            packets: Vec::new(),
            reported: HashSet::new(),
        };
        let ends = [end(near, addresses[0], addresses[1]), end(far, addresses[1], addresses[0])];
        Self { ends, path: Vec::new(), now, rng, frames: 0 }
    }

    fn step(&mut self, operation: u8, steps: &mut Steps<'_>) {
        match operation % 16 {
            0..=2 => self.send(steps),
            3..=5 => self.transmit(steps.among(2), 1 + steps.among(8)),
            6..=8 => {
                let which = usize::from(steps.byte());
                self.deliver(which, false);
            }
            9 => {
                let which = usize::from(steps.byte());
                self.deliver(which, true);
            }
            10 => {
                if !self.path.is_empty() {
                    let at = steps.among(self.path.len());
                    self.path.swap_remove(at);
                }
            }
            11 => self.spoil(steps),
            12 => {
                self.now += Duration::from_millis(u64::from(steps.short()) % 12_000);
                self.time_passes();
            }
            13 => self.judge(steps),
            14 => {
                let (at, to) = (steps.among(2), steps.byte());
                self.ends[at].address = ([192, 0, 2, to / 16], 4000 + u16::from(to % 16)).into();
            }
            _ => self.control(steps),
        }
    }

    /// Queues a frame; what it holds names it.
    fn send(&mut self, steps: &mut Steps<'_>) {
        let (at, kind, size) = (steps.among(2), steps.byte(), usize::from(steps.short()));
        if self.frames == MAX_FRAMES {
            return;
        }
        let number = self.frames;
        self.frames += 1;
        let mut frame = number.to_be_bytes().to_vec();
        // No two pieces are alike, so that their order shows.
        let mut fill = number.to_le_bytes()[0];
        frame.extend((0..size).map(|_| {
            fill = fill.wrapping_mul(5).wrapping_add(1);
            fill
        }));
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
        let end = &mut self.ends[at];
        let tag = (kind % 2 == 1).then_some(u64::from(number));
        let longest = end.link.max_message();
        let queued = end.link.send(&[&length[..], &frame].concat(), tag);
        assert_eq!(queued.is_ok(), frame.len() <= longest);
        if queued.is_ok() {
            end.sent.insert(number, frame);
        }
    }

    fn transmit(&mut self, at: usize, segments: usize) {
        if self.path.len() >= MAX_ON_THE_WAY {
            return;
        }
        let end = &mut self.ends[at];
        let mut out = Vec::new();
        if let Some(transmit) = end.link.poll_transmit(self.now, &mut out, segments) {
            assert!(!out.is_empty() && transmit.segment <= out.len());
            assert!(out.len().div_ceil(transmit.segment) <= segments);
            let other = 1 - at;
            // Whoever is there no more gets nothing.
            if transmit.to == self.ends[other].address {
                let datagrams = out.chunks(transmit.segment);
                self.path.extend(datagrams.map(|datagram| (other, datagram.to_vec())));
            }
        } else {
            assert!(out.is_empty());
        }
        self.reports(at);
    }

    fn reports(&mut self, at: usize) {
        let end = &mut self.ends[at];
        while let Some(report) = end.link.poll_report() {
            match report {
                Report::Sent { tag, packet } => {
                    assert!(end.sent.contains_key(&u32::try_from(tag).expect("a tag of ours")));
                    end.packets.push(packet);
                }
                Report::Delivered { tag } => {
                    let number = u32::try_from(tag).expect("a tag of ours");
                    assert!(end.arrived.contains(&number), "{number} has not arrived");
                    assert!(end.reported.insert(tag), "{number} is reported twice");
                }
                Report::Undelivered { tag } => {
                    assert!(end.reported.insert(tag), "{tag} is reported twice");
                }
                Report::Lost { .. } => {}
            }
        }
    }

    /// The datagram at this place arrives; one that is repeated stays on the path.
    fn deliver(&mut self, which: usize, is_repeated: bool) {
        if self.path.is_empty() {
            return;
        }
        let which = which % self.path.len();
        let (at, mut datagram) =
            if is_repeated { self.path[which].clone() } else { self.path.remove(which) };
        let from = self.ends[1 - at].address;
        let mut frames = Vec::new();
        let handled = self.ends[at].link.handle_datagram(
            &mut datagram,
            from,
            &mut self.rng,
            self.now,
            &mut |frame| {
                frames.push(bytes_of(&frame));
                Ok(())
            },
        );
        is_orderly(handled);
        let sender = &mut self.ends[1 - at];
        for frame in frames {
            let name = frame.first_chunk().copied().expect("a frame has its number");
            let number = u32::from_be_bytes(name);
            assert_eq!(sender.sent.get(&number), Some(&frame), "frame {number}");
            // A message that travels in fragments is cut anew when datagrams become shorter, and
            // may by then have arrived.
            let is_first = sender.arrived.insert(number);
            assert!(is_first || frame.len() > UNFRAGMENTED, "frame {number} arrives twice");
        }
        self.reports(at);
    }

    /// Bytes of a datagram change on the way.
    fn spoil(&mut self, steps: &mut Steps<'_>) {
        if self.path.is_empty() {
            return;
        }
        let which = steps.among(self.path.len());
        let (at, change) = (usize::from(steps.short()), steps.byte());
        let datagram = &mut self.path[which].1;
        let at = at % datagram.len();
        datagram[at] ^= change;
    }

    /// A packet counts as answered or as lost, whatever became of it.
    fn judge(&mut self, steps: &mut Steps<'_>) {
        let end = &mut self.ends[steps.among(2)];
        let (which, how) = (usize::from(steps.byte()), steps.byte());
        if end.packets.is_empty() {
            return;
        }
        let packet = end.packets[which % end.packets.len()];
        match how % 3 {
            0 => end.link.timed_out(packet, self.now),
            1 => end.link.answered(packet, self.now),
            _ => end.link.sample_rtt(Duration::from_millis(how.into())),
        }
    }

    fn control(&mut self, steps: &mut Steps<'_>) {
        let end = &mut self.ends[steps.among(2)];
        match steps.byte() % 8 {
            0 | 1 => end.link.too_big(steps.short().into(), self.now),
            2 => end.link.ping(),
            3 => end.link.rest(),
            4 => {
                // Ended by a coin, so that most inputs go on.
                if steps.byte() == 255 {
                    end.link.close(self.now);
                }
            }
            _ => _ = end.link.is_sending(u64::from(steps.byte())),
        }
    }

    fn time_passes(&mut self) {
        for at in 0..2 {
            let end = &mut self.ends[at];
            is_orderly(end.link.handle_timeout(self.now));
            self.reports(at);
        }
    }

    /// Lets all arrive that is left, and then what is sent again.
    fn end(mut self) {
        for _ in 0..64 {
            for at in 0..2 {
                for _ in 0..64 {
                    let before = self.path.len();
                    self.transmit(at, 8);
                    if self.path.len() == before {
                        break;
                    }
                }
            }
            while !self.path.is_empty() {
                self.deliver(0, false);
            }
            self.now += Duration::from_millis(500);
            self.time_passes();
        }
    }
}
