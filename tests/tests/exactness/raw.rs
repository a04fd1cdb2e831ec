//! A peer that holds an admitted key and keeps to no rule but the packets' own.

use std::net::SocketAddr;
use std::time::Duration;

use bailiwick::testing::test_identity;
use bailiwick_crypto::{
    DatagramSession, PacketType, Params, RecordLimits, Transport,
    initiator::{self, AwaitingResp},
};
use bailiwick_tests::lab::{Lab, probe::PROBE, server_address};
use bailiwick_tests::sim::NodeId;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const MS: Duration = Duration::from_millis(1);

pub(super) const INCREMENT: usize = 0;
pub(super) const FILL: usize = 4;

/// One session of such a peer, which calls itself `c0`.
pub(super) struct Raw {
    pub(super) at: SocketAddr,
    mailbox: NodeId,
    pub(super) session: DatagramSession,
}

/// A handshake that knows the server's key.
pub(super) fn handshake(seed: u64) -> AwaitingResp {
    let config = initiator::Config {
        transport: Transport::Udp,
        identity: test_identity("c0"),
        server: test_identity("server").public_key(),
        params: Params::new([0xaa; 16]),
        psk: None,
        records: RecordLimits::default(),
    };
    initiator::start(config, &mut StdRng::seed_from_u64(seed))
}

impl Raw {
    /// Connects over links without faults.
    pub(super) fn connect(lab: &mut Lab, at: SocketAddr) -> Self {
        let mailbox = lab.add_mailbox(at);
        let mut handshake = handshake(99);
        let init = handshake.init().to_vec();
        lab.world.inject(at, server_address(), init);
        lab.run_for(MS);
        let resp = lab.take_mail(mailbox).remove(0);
        let (fin, session) = handshake.handle_resp(&resp, lab.now()).unwrap();
        lab.world.inject(at, server_address(), fin);
        lab.run_for(MS);
        let mut raw = Self { at, mailbox, session };
        let memory = raw.receive(lab);
        assert_eq!(memory[0].1[4], 11, "the first frame says which memory there is");
        raw
    }

    pub(super) fn seal(&mut self, lab: &Lab, kind: PacketType, content: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        self.session.packets.seal(kind, content, 0, lab.now(), &mut packet).unwrap();
        packet
    }

    /// Sends a packet, and lets the server answer.
    pub(super) fn send(&mut self, lab: &mut Lab, kind: PacketType, content: &[u8]) {
        let packet = self.seal(lab, kind, content);
        self.inject(lab, packet);
    }

    pub(super) fn inject(&self, lab: &mut Lab, datagram: Vec<u8>) {
        lab.world.inject(self.at, server_address(), datagram);
        lab.run_for(MS);
    }

    /// The packets that have come and open, as type and content.
    pub(super) fn receive(&mut self, lab: &mut Lab) -> Vec<(PacketType, Vec<u8>)> {
        let now = lab.now();
        let mail = lab.take_mail(self.mailbox);
        let opened = mail.into_iter().filter_map(|mut packet| {
            let opened = self.session.packets.open(&mut packet, now).ok()?;
            Some((opened.kind, opened.content.to_vec()))
        });
        opened.collect()
    }

    /// The bodies of the replies that have come, fragments left out: (call, status).
    pub(super) fn replies(&mut self, lab: &mut Lab) -> Vec<(u64, u8)> {
        let mut replies = Vec::new();
        for (kind, content) in self.receive(lab) {
            let mut frames = &content[..];
            while kind == PacketType::Data && frames.len() > 4 {
                let (length, rest) = frames.split_at(4);
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                let (frame, behind) = rest.split_at(length);
                if let [2, call, _, status, ..] = frame {
                    replies.push((u64::from(*call), *status));
                }
                frames = behind;
            }
        }
        replies
    }
}

/// A request's frame, with its length; twenty seconds are left.
pub(super) fn request(call: u64, floor: u64, method: usize, arguments: &[u8]) -> Vec<u8> {
    let mut body = vec![1];
    for number in [call, floor, 0] {
        varint(number, &mut body);
    }
    body.extend_from_slice(&PROBE.methods[method].id.get().to_be_bytes());
    varint(20_000_000, &mut body);
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(arguments);
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// A fragment's content.
pub(super) fn fragment(message: u32, index: u16, count: u16, bytes: &[u8]) -> Vec<u8> {
    let (message, index, count) = (message.to_be_bytes(), index.to_be_bytes(), count.to_be_bytes());
    [&message[..], &index, &count, bytes].concat()
}
