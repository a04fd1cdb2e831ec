//! What the tests share: fixed randomness, two principals, and a finished handshake.

use std::convert::Infallible;
use std::time::Instant;

use bailiwick_crypto::{
    DatagramSession, Identity, Params, Psk, RecordLimits, Session, Transport, initiator, responder,
};
use rand_core::{TryCryptoRng, TryRng};

/// Gives out the bytes it was made with, and fails the test when they are used up.
pub(crate) struct FixedRng {
    bytes: Vec<u8>,
    at: usize,
}

impl FixedRng {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }
}

impl TryRng for FixedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word).map(|()| u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word).map(|()| u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let end = self.at + out.len();
        out.copy_from_slice(self.bytes.get(self.at..end).expect("no more randomness was fixed"));
        self.at = end;
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}

pub(crate) fn alice() -> Identity {
    Identity::from_seed(&[0xa1; 32])
}

pub(crate) fn server() -> Identity {
    Identity::from_seed(&[0x5e; 32])
}

pub(crate) fn mallory() -> Identity {
    Identity::from_seed(&[0x3a; 32])
}

/// The fixed secret share and connection id of one side.
pub(crate) fn entropy(side: u8) -> FixedRng {
    FixedRng::new(&[side; 40])
}

pub(crate) const SIDE_I: u8 = 0x11;
pub(crate) const SIDE_R: u8 = 0x22;

pub(crate) fn initiator_config() -> initiator::Config {
    initiator::Config {
        transport: Transport::Tcp,
        identity: alice(),
        server: server().public_key(),
        params: Params::new([0xaa; 16]),
        psk: None,
        records: RecordLimits::default(),
    }
}

pub(crate) fn responder_config() -> responder::Config {
    responder::Config::new(Transport::Tcp, server(), Params::new([0xbb; 16]))
}

pub(crate) fn psk(byte: u8) -> Psk {
    Psk::from_bytes(&[byte; 32]).unwrap()
}

/// A whole handshake between Alice and the server: her session, then the server's.
pub(crate) fn connect(limits: RecordLimits, now: Instant) -> (Session, Session) {
    let initiator = initiator::Config { records: limits, ..initiator_config() };
    let responder = responder::Config { records: limits, ..responder_config() };
    let alice = initiator::start(initiator, &mut entropy(SIDE_I));
    let server = responder::accept(&responder, alice.init(), &mut entropy(SIDE_R)).unwrap();
    let (fin, alice) = alice.read_resp(server.resp(), now).unwrap();
    let server = server.read_fin(&fin, now).unwrap().admit().unwrap();
    (alice, server)
}

/// The same over datagrams.
pub(crate) fn connect_datagrams(
    limits: RecordLimits,
    now: Instant,
) -> (DatagramSession, DatagramSession) {
    let initiator = initiator::Config { records: limits, ..datagram_initiator() };
    let responder = responder::Config { records: limits, ..datagram_responder() };
    let mut alice = initiator::start(initiator, &mut entropy(SIDE_I));
    let mut server = responder::accept(&responder, alice.init(), &mut entropy(SIDE_R)).unwrap();
    let (fin, alice) = alice.handle_resp(server.resp(), now).unwrap();
    let server = server.handle_fin(&fin, now).unwrap().admit().unwrap();
    (alice, server)
}

pub(crate) fn datagram_initiator() -> initiator::Config {
    initiator::Config { transport: Transport::Udp, ..initiator_config() }
}

pub(crate) fn datagram_responder() -> responder::Config {
    responder::Config { transport: Transport::Udp, ..responder_config() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}
