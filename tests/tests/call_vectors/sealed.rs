//! Records and packets with every value on the way, under the keys of known handshakes.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{hex, unhex};
use super::{Side, root};

/// Content of one fragment in a packet of 1,200 bytes.
const PIECE: usize = 1200 - 34 - 8;

/// The keys of one connection, and where they come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) handshake: String,
    pub(crate) case: String,
    pub(crate) client: Direction,
    pub(crate) server: Direction,
}

/// What one side seals with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Direction {
    pub(crate) key: String,
    pub(crate) iv: String,
    /// The peer's id, on UDP.
    pub(crate) dcid: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) nonce: String,
    /// The length field.
    pub(crate) aad: String,
    /// content ‖ type
    pub(crate) inner: String,
    pub(crate) bytes: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packet {
    pub(crate) number: u64,
    pub(crate) nonce: String,
    /// flags ‖ dcid ‖ pn
    pub(crate) aad: String,
    /// content ‖ type
    pub(crate) inner: String,
    pub(crate) bytes: String,
}

impl Keys {
    /// Those of epoch 0 of a case of `crypto/vectors`.
    pub(crate) fn read(file: &str, case: &str, ids: Option<[&str; 2]>) -> Self {
        let handshake = format!("crypto/vectors/{file}");
        let text = std::fs::read_to_string(root().join(&handshake)).unwrap();
        let cases: Value = serde_json::from_str(&text).unwrap();
        let cases = cases["cases"].as_array().unwrap();
        let found = cases.iter().find(|found| found["name"] == case).unwrap();
        let value = |part: &str, name: &str| found[part][name].as_str().unwrap().to_owned();
        let direction = |side: &str, peer: usize| Direction {
            key: value("answers", &format!("key_{side}_0")),
            iv: value("answers", &format!("iv_{side}_0")),
            dcid: ids.map(|ids| value("given", ids[peer])),
        };
        Self {
            handshake,
            case: case.to_owned(),
            client: direction("i", 1),
            server: direction("r", 0),
        }
    }

    fn of(&self, side: Side) -> &Direction {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }
}

/// Seals for both sides of both connections, counting as they count.
pub(crate) struct Sealer {
    pub(crate) tcp: Keys,
    pub(crate) udp: Keys,
    records: [u64; 2],
    packets: [u64; 2],
    /// The number of the client's next message in fragments.
    message: u32,
}

impl Sealer {
    pub(crate) fn new(tcp: Keys, udp: Keys) -> Self {
        Self { tcp, udp, records: [0; 2], packets: [0; 2], message: 0 }
    }

    pub(crate) fn record(&mut self, from: Side, content: &[u8]) -> Record {
        let sequence = next(&mut self.records[from as usize]);
        let keys = self.tcp.of(from);
        let inner = [content, &[1]].concat();
        let aad = u32::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let nonce = nonce(&keys.iv, sequence);
        let sealed = seal(&keys.key, &nonce, &aad, &inner);
        Record {
            sequence,
            nonce: hex(&nonce),
            aad: hex(&aad),
            inner: hex(&inner),
            bytes: hex(&[&aad[..], &sealed].concat()),
        }
    }

    /// A frame in one data packet, or in fragments if it does not fit 1,200 bytes.
    pub(crate) fn frame(&mut self, from: Side, frame: &[u8]) -> Vec<Packet> {
        if 17 + frame.len() + 1 + 16 <= 1200 {
            return vec![self.packet(from, 1, frame)];
        }
        let message = self.message.to_be_bytes();
        self.message += 1;
        let count = u16::try_from(frame.len().div_ceil(PIECE)).unwrap();
        let fragment = |(index, piece): (u16, &[u8])| {
            [&message, &index.to_be_bytes()[..], &count.to_be_bytes(), piece].concat()
        };
        let fragments: Vec<_> = (0..).zip(frame.chunks(PIECE)).map(fragment).collect();
        fragments.iter().map(|content| self.packet(from, 6, content)).collect()
    }

    pub(crate) fn packet(&mut self, from: Side, kind: u8, content: &[u8]) -> Packet {
        let number = next(&mut self.packets[from as usize]);
        let keys = self.udp.of(from);
        let dcid = unhex(keys.dcid.as_ref().unwrap());
        let aad = [&[0x40], &dcid[..], &number.to_be_bytes()].concat();
        let inner = [content, &[kind]].concat();
        let nonce = nonce(&keys.iv, number);
        let sealed = seal(&keys.key, &nonce, &aad, &inner);
        Packet {
            number,
            nonce: hex(&nonce),
            aad: hex(&aad),
            inner: hex(&inner),
            bytes: hex(&[aad, sealed].concat()),
        }
    }
}

fn next(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter - 1
}

/// iv XOR (0^4 ‖ be64(number))
fn nonce(iv: &str, number: u64) -> Vec<u8> {
    let mut nonce = unhex(iv);
    for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

fn seal(key: &str, nonce: &[u8], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let key: [u8; 32] = unhex(key).try_into().unwrap();
    let nonce: [u8; 12] = nonce.try_into().unwrap();
    let cipher = ChaCha20Poly1305::new(&key.into());
    cipher.encrypt(&nonce.into(), Payload { msg, aad }).unwrap()
}
