//! What only datagrams have, straight from the formulas: INIT's padding and token, RETRY, packets.

use super::{Bytes32, Peer, Traffic, h, hmac, mac1, open, seal};

impl Peer {
    /// INIT in a datagram of 1,200 bytes to the owner of `server`.
    pub(crate) fn datagram_init(&self, server: &Bytes32, token: &[u8]) -> Vec<u8> {
        let padding = vec![0; 1_200 - 64 - token.len()];
        let lengths = [token, &padding].map(|part| u16::try_from(part.len()).unwrap());
        let [token_len, pad_len] = lengths.map(u16::to_be_bytes);
        let head = [&[1, 1, 0, 1][..], &token_len, &pad_len, &self.scid, &self.share].concat();
        let mut init = [&head, token, &padding].concat();
        self.spoil(&mut init);
        mac1(server, &init)
    }
}

/// RETRY, from the owner of `server`, to this INIT.
pub(crate) fn retry(server: &Bytes32, init: &[u8], token: &[u8; 24]) -> Vec<u8> {
    let covered = [&[4, 1, 0, 0, 0, 0, 0, 0], &init[8..16], token].concat();
    let key = h(&[b"bailiwick/1 retry", server]);
    let mac = hmac(&key, &[&covered[..], &h(&[init])].concat());
    [&covered, &mac[..16]].concat()
}

/// The token under `key`, whose number has the parity in `t`.
pub(crate) fn token(key: &Bytes32, t: u64, ip16: &[u8; 16], port: u16, init: &[u8]) -> [u8; 24] {
    let (t, port) = (t.to_be_bytes(), port.to_be_bytes());
    let (scid, share) = (&init[8..16], h(&[&init[16..48]]));
    let mac = hmac(key, &[b"bailiwick/1 token", &t[..], ip16, &port, scid, &share].concat());
    [&t, &mac[..16]].concat().try_into().unwrap()
}

impl Traffic {
    /// A packet around `inner`: content, type and padding, whatever they are.
    pub(crate) fn packet(&self, epoch: u8, dcid: &[u8; 8], number: u64, inner: &[u8]) -> Vec<u8> {
        let header = [&[0x40 | (epoch % 4) << 4], &dcid[..], &number.to_be_bytes()].concat();
        let sealed = seal(&self.key, &self.nonce_of(number), &header, inner);
        [header, sealed].concat()
    }

    /// The number and the inner bytes of a packet.
    pub(crate) fn open_packet(&self, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
        let number = u64::from_be_bytes(packet[9..17].try_into().unwrap());
        let inner = open(&self.key, &self.nonce_of(number), &packet[..17], &packet[17..])?;
        Some((number, inner))
    }
}
