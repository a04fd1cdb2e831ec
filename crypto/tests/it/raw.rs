//! The handshake and records a second time, straight from the formulas of `docs/protocol.md`.
//!
//! It shares no code with the crate but the primitives' crates, so that the known answers are
//! checked by an independent computation; and it has knobs, so that an adversary who holds keys can
//! say things that our own code never says.

pub(crate) mod datagram;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

pub(crate) type Bytes32 = [u8; 32];

/// One end: its keys, and what it says against the rules.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) transport: &'static str,
    pub(crate) signer: SigningKey,
    /// What it gives as its identity; the signer's key if it is honest.
    pub(crate) id: Bytes32,
    pub(crate) secret: Bytes32,
    /// What it sends as its share; that of `secret` if it is honest.
    pub(crate) share: Bytes32,
    pub(crate) scid: [u8; 8],
    pub(crate) psk: Bytes32,
    pub(crate) params: Vec<u8>,
    /// Written over the honest plen.
    pub(crate) plen: Option<u16>,
    /// The other role's label, to sign under.
    pub(crate) label: Option<&'static [u8]>,
    /// XORed into the signature, before it is hashed.
    pub(crate) signature_error: u8,
    /// XORed into the Finished MAC, before it is hashed.
    pub(crate) finished_error: u8,
    /// Clear bytes to change before anything is hashed: (offset, value).
    pub(crate) clear: Vec<(usize, u8)>,
}

impl Peer {
    pub(crate) fn honest(seed: Bytes32, side: u8, params: Vec<u8>) -> Self {
        let signer = SigningKey::from_bytes(&seed);
        let secret = [side; 32];
        Self {
            transport: "tcp",
            id: signer.verifying_key().to_bytes(),
            signer,
            secret,
            share: x25519(secret, X25519_BASEPOINT_BYTES),
            scid: [side; 8],
            psk: [0; 32],
            params,
            plen: None,
            label: None,
            signature_error: 0,
            finished_error: 0,
            clear: Vec::new(),
        }
    }

    /// INIT on a stream to the owner of `server`.
    pub(crate) fn init(&self, server: &Bytes32) -> Vec<u8> {
        let mut init = [&[1, 1, 0, 1, 0, 0, 0, 0][..], &self.scid, &self.share].concat();
        self.spoil(&mut init);
        mac1(server, &init)
    }

    /// RESP to an INIT, and what follows from it.
    pub(crate) fn resp(&self, init: &[u8]) -> Exchange {
        let plen = u16::try_from(self.params.len()).unwrap();
        let box_len = (130 + plen).to_be_bytes();
        let mut clear =
            [&[2, 1, 0, 1], &box_len[..], &[0, 0], &init[8..16], &self.scid, &self.share].concat();
        self.spoil(&mut clear);
        let theirs: Bytes32 = init[16..48].try_into().unwrap();
        let mut keys = Exchange::new(self, x25519(self.secret, theirs), init, &clear);

        keys.th2 = h(&[&keys.th1, &lp(&self.id), &lp(&self.params)]);
        keys.sig_r = self.sign(b"bailiwick/1 responder signature", &keys.th2);
        keys.th3 = h(&[&keys.th2, &keys.sig_r]);
        keys.fin_r = self.finish(&keys.fk_r, &keys.th3);
        keys.th4 = h(&[&keys.th3, &keys.fin_r]);
        let plain = self.body(&keys.sig_r, &keys.fin_r);
        keys.resp = [clear, seal(&keys.hk_r, &[0; 12], &keys.th1, &plain)].concat();
        keys
    }

    /// Opens a RESP to the INIT that this peer sent. It trusts what it reads.
    pub(crate) fn read_resp(&self, init: &[u8], resp: &[u8]) -> Exchange {
        let theirs: Bytes32 = resp[24..56].try_into().unwrap();
        let mut keys = Exchange::new(self, x25519(self.secret, theirs), init, &resp[..56]);
        let plain = open(&keys.hk_r, &[0; 12], &keys.th1, &resp[56..]).expect("RESP opens");
        let (id, rest) = plain.split_at(32);
        let (params, rest) = rest[2..].split_at(rest.len() - 98);
        keys.th2 = h(&[&keys.th1, &lp(id), &lp(params)]);
        keys.sig_r = rest[..64].to_vec();
        keys.th3 = h(&[&keys.th2, &keys.sig_r]);
        keys.fin_r = rest[64..].try_into().unwrap();
        keys.th4 = h(&[&keys.th3, &keys.fin_r]);
        keys.resp = resp.to_vec();
        keys
    }

    /// FIN, and with it all traffic keys.
    pub(crate) fn fin(&self, mut keys: Exchange) -> Exchange {
        let plen = u16::try_from(self.params.len()).unwrap();
        let box_len = (130 + plen).to_be_bytes();
        let mut clear = [&[3, 1, 0, 0], &box_len[..], &[0, 0], &keys.resp[16..24]].concat();
        self.spoil(&mut clear);
        keys.th5 = h(&[&keys.th4, &lp(&clear), &lp(&self.id), &lp(&self.params)]);
        keys.sig_i = self.sign(b"bailiwick/1 initiator signature", &keys.th5);
        keys.th6 = h(&[&keys.th5, &keys.sig_i]);
        keys.fin_i = self.finish(&keys.fk_i, &keys.th6);
        let plain = self.body(&keys.sig_i, &keys.fin_i);
        keys.fin = [clear, seal(&keys.hk_i, &[0; 12], &keys.th4, &plain)].concat();
        keys.finish();
        keys
    }

    fn body(&self, signature: &[u8], finished: &[u8]) -> Vec<u8> {
        let plen = self.plen.unwrap_or(u16::try_from(self.params.len()).unwrap()).to_be_bytes();
        [&self.id, &plen[..], &self.params, signature, finished].concat()
    }

    fn sign(&self, label: &[u8], transcript: &Bytes32) -> Vec<u8> {
        let label = self.label.unwrap_or(label);
        let message = [&[0x20; 64], label, &[0], transcript].concat();
        let mut signature = self.signer.sign(&message).to_bytes().to_vec();
        signature[0] ^= self.signature_error;
        signature
    }

    fn finish(&self, key: &Bytes32, transcript: &Bytes32) -> Bytes32 {
        let mut mac = hmac(key, transcript);
        mac[0] ^= self.finished_error;
        mac
    }

    fn spoil(&self, clear: &mut [u8]) {
        for (at, value) in &self.clear {
            clear[*at] = *value;
        }
    }
}

/// Every hash, key and byte of one handshake.
#[derive(Default, Clone)]
pub(crate) struct Exchange {
    pub(crate) shared: Bytes32,
    pub(crate) th0: Bytes32,
    pub(crate) th1: Bytes32,
    pub(crate) prk: Bytes32,
    pub(crate) hk_r: Bytes32,
    pub(crate) hk_i: Bytes32,
    pub(crate) fk_r: Bytes32,
    pub(crate) fk_i: Bytes32,
    pub(crate) th2: Bytes32,
    pub(crate) sig_r: Vec<u8>,
    pub(crate) th3: Bytes32,
    pub(crate) fin_r: Bytes32,
    pub(crate) th4: Bytes32,
    pub(crate) th5: Bytes32,
    pub(crate) sig_i: Vec<u8>,
    pub(crate) th6: Bytes32,
    pub(crate) fin_i: Bytes32,
    pub(crate) th7: Bytes32,
    pub(crate) ms: Bytes32,
    pub(crate) ts_i: Bytes32,
    pub(crate) ts_r: Bytes32,
    pub(crate) es: Bytes32,
    pub(crate) resp: Vec<u8>,
    pub(crate) fin: Vec<u8>,
}

impl Exchange {
    fn new(peer: &Peer, shared: Bytes32, init: &[u8], resp_clear: &[u8]) -> Self {
        let th0 = h(&[&lp(b"bailiwick/1/sigma-i"), &lp(peer.transport.as_bytes())]);
        let th1 = h(&[&th0, &lp(init), &lp(resp_clear)]);
        let prk = hmac(&peer.psk, &shared);
        Self {
            shared,
            th0,
            th1,
            prk,
            hk_r: xl32(&prk, "hs key r", &th1),
            hk_i: xl32(&prk, "hs key i", &th1),
            fk_r: xl32(&prk, "fin r", &th1),
            fk_i: xl32(&prk, "fin i", &th1),
            ..Self::default()
        }
    }

    fn finish(&mut self) {
        self.th7 = h(&[&self.th6, &self.fin_i]);
        self.ms = xl32(&self.prk, "master", &self.th7);
        self.ts_i = xl32(&self.ms, "traffic i", b"");
        self.ts_r = xl32(&self.ms, "traffic r", b"");
        self.es = xl32(&self.ms, "exporter", b"");
    }

    pub(crate) fn export(&self, label: &[u8]) -> Bytes32 {
        xl32(&self.es, "export", label)
    }
}

/// One direction's keys, with the sequence number in the caller's hand.
#[derive(Clone)]
pub(crate) struct Traffic {
    secret: Bytes32,
    pub(crate) key: Bytes32,
    pub(crate) iv: [u8; 12],
    pub(crate) sequence: u64,
}

impl Traffic {
    pub(crate) fn new(secret: Bytes32) -> Self {
        let iv = xl(&secret, "iv", b"", 12).try_into().unwrap();
        Self { secret, key: xl32(&secret, "key", b""), iv, sequence: 0 }
    }

    pub(crate) fn next_epoch(&self) -> Self {
        Self::new(xl32(&self.secret, "update", b""))
    }

    pub(crate) fn secret(&self) -> Bytes32 {
        self.secret
    }

    /// A record around `inner`: content, type and padding, whatever they are.
    pub(crate) fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let header = u32::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let sealed = seal(&self.key, &self.nonce(), &header, inner);
        self.sequence += 1;
        [&header[..], &sealed].concat()
    }

    /// The inner bytes of the next record.
    pub(crate) fn open(&mut self, record: &[u8]) -> Option<Vec<u8>> {
        let inner = open(&self.key, &self.nonce(), &record[..4], &record[4..])?;
        self.sequence += 1;
        Some(inner)
    }

    fn nonce(&self) -> [u8; 12] {
        self.nonce_of(self.sequence)
    }

    fn nonce_of(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }
}

/// Appends mac1 for the owner of `server`.
pub(crate) fn mac1(server: &Bytes32, init: &[u8]) -> Vec<u8> {
    let mac = hmac(&h(&[b"bailiwick/1 mac1", server]), init);
    [init, &mac[..16]].concat()
}

/// XL(k, l, ctx, n) for n up to one block: HMAC(k, info ‖ 1).
pub(crate) fn xl(key: &Bytes32, label: &str, context: &[u8], len: u16) -> Vec<u8> {
    let label = [b"bailiwick/1 ", label.as_bytes()].concat();
    let label_len = [u8::try_from(label.len()).unwrap()];
    let context_len = [u8::try_from(context.len()).unwrap()];
    let info = [&len.to_be_bytes()[..], &label_len, &label, &context_len, context, &[1]].concat();
    hmac(key, &info)[..usize::from(len)].to_vec()
}

fn xl32(key: &Bytes32, label: &str, context: &[u8]) -> Bytes32 {
    xl(key, label, context, 32).try_into().unwrap()
}

fn lp(part: &[u8]) -> Vec<u8> {
    [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat()
}

fn h(parts: &[&[u8]]) -> Bytes32 {
    Sha256::digest(parts.concat()).into()
}

fn hmac(key: &[u8], message: &[u8]) -> Bytes32 {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message);
    mac.finalize().into_bytes().into()
}

fn seal(key: &Bytes32, nonce: &[u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    ChaCha20Poly1305::new(key.into()).encrypt(nonce.into(), Payload { msg, aad }).unwrap()
}

fn open(key: &Bytes32, nonce: &[u8; 12], aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
    ChaCha20Poly1305::new(key.into()).decrypt(nonce.into(), Payload { msg, aad }).ok()
}
