//! Batches in records, or as they are: what encryption alone leaves of the floor.
//!
//! A record is a little-endian `u32` length and the ChaCha20-Poly1305 of at most 16 KiB of frames under its
//! number. Both sides have the key from the start: nobody shakes hands or proves anything.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use bytes::{Buf, BufMut, BytesMut};

use super::{LENGTH_BYTES, make_room};
use crate::peer::PeerError;

/// The most that a record holds, in bytes: as much as ours.
const CONTENT_MAX: usize = 16 * 1024;

const TAG_BYTES: usize = 16;

/// Who seals: no number is used twice under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client = 1,
    Server = 2,
}

/// One direction.
struct Direction {
    key: LessSafeKey,
    side: Side,
    next: u64,
}

impl Direction {
    fn sealed_by(side: Side) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("a key has 32 bytes");
        Self { key: LessSafeKey::new(key), side, next: 0 }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [self.side as u8; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.next.to_le_bytes());
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Frames that leave together.
pub(super) struct Outgoing {
    pub(super) frames: BytesMut,
    sealing: Option<(Direction, BytesMut)>,
}

impl Outgoing {
    /// What `side` sends.
    pub(super) fn of(side: Side, is_sealed: bool) -> Self {
        let sealing = is_sealed.then(|| (Direction::sealed_by(side), BytesMut::new()));
        Self { frames: BytesMut::new(), sealing }
    }

    /// The bytes for the socket.
    pub(super) fn bytes(&mut self) -> &[u8] {
        let Some((direction, records)) = &mut self.sealing else { return &self.frames };
        for content in self.frames.chunks(CONTENT_MAX) {
            let sealed = content.len() + TAG_BYTES;
            records.reserve(LENGTH_BYTES + sealed);
            records.put_u32_le(u32::try_from(sealed).expect("a record is short"));
            let start = records.len();
            records.put_slice(content);
            let (nonce, aad) = (direction.nonce(), Aad::empty());
            let tag = direction.key.seal_in_place_separate_tag(nonce, aad, &mut records[start..]);
            records.put_slice(tag.expect("a record is short").as_ref());
        }
        records
    }

    /// All has been written.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        if let Some((_, records)) = &mut self.sealing {
            records.clear();
        }
    }
}

/// Frames that have come.
pub(super) struct Incoming {
    pub(super) frames: BytesMut,
    opening: Option<(Direction, BytesMut)>,
}

impl Incoming {
    /// What `side` has sent.
    pub(super) fn from(side: Side, is_sealed: bool) -> Self {
        let opening = is_sealed.then(|| (Direction::sealed_by(side), BytesMut::new()));
        Self { frames: BytesMut::new(), opening }
    }

    /// Where the socket's bytes are appended.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let bytes = match &mut self.opening {
            None => &mut self.frames,
            Some((_, records)) => records,
        };
        make_room(bytes);
        bytes
    }

    /// Opens the records that are whole.
    pub(super) fn open(&mut self) -> Result<(), PeerError> {
        let Some((direction, records)) = &mut self.opening else { return Ok(()) };
        while let Some(length) = records.first_chunk::<LENGTH_BYTES>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            if length > CONTENT_MAX + TAG_BYTES {
                return Err(PeerError::FrameLength { length });
            }
            let Some(sealed) = records[LENGTH_BYTES..].get_mut(..length) else { break };
            let nonce = direction.nonce();
            let opened = direction.key.open_in_place(nonce, Aad::empty(), sealed);
            self.frames.extend_from_slice(opened.map_err(|_| PeerError::NotAuthentic)?);
            records.advance(LENGTH_BYTES + length);
        }
        Ok(())
    }
}
