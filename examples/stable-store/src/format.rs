//! The bytes on disk.
//!
//! All numbers are little endian; checksums are CRC-32C (Castagnoli).
//!
//! ```text
//! log-<number, 16 hex digits>          checkpoint
//!   header                               header
//!     0  magic            8  "bwlkslog"    0  magic            8  "bwlksckp"
//!     8  version          2                8  version          2
//!    10  store id        16               10  store id        16
//!    26  segment number   8               26  first segment    8   behind it
//!    34  base LSN         8               34  LSN              8   of the last record in it
//!    42  epoch            8               42  epoch            8
//!    50  crc of 0..50     4               50  crc of 0..50     4
//!   record, any number                   item, any number
//!     0  crc of the rest  4                0  crc of the rest  4
//!     4  payload length   4                4  length           4
//!     8  LSN              8                8  bytes
//!    16  durable LSN      8              footer
//!    24  kind             1                0  crc of the rest  4
//!    25  payload                           4  2^32 - 1         4
//!                                          8  items            8
//! ```
//!
//! A record's checksum begins with that of (store id, segment number), so that bytes of another
//! store or segment are never valid. In a checkpoint each checksum begins with the one before, the
//! first with the header's, so that none can be left out or change places.
//!
//! The first 54 bytes stay as they are in all versions.

use std::ops::Range;

use crate::{
    Epoch, Lsn, StoreId,
    planted::{Bug, planted},
};

/// The version that is written, and the only one there is.
pub const VERSION: u16 = 1;
/// The longest payload of a record and item of a checkpoint that is ever read or written, in bytes.
pub const MAX_PAYLOAD: u32 = 16 << 20;
/// The bytes of the header of either kind of file.
pub const HEADER: usize = 54;
/// The bytes of a record in front of its payload.
pub const RECORD_HEADER: usize = 25;
/// The first kind of record that is the store's own.
pub const RESERVED_KINDS: u8 = 128;

pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const CHECKPOINT_TMP: &str = "checkpoint.tmp";
pub(crate) const SEGMENT_TMP: &str = "log.tmp";

/// The bytes of a checkpoint's item in front of it.
pub(crate) const ITEM_HEADER: usize = 8;
/// The bytes of a checkpoint's footer.
pub(crate) const FOOTER: usize = 16;
/// Where an item has its length, the footer has this.
pub(crate) const FOOTER_MARK: u32 = u32::MAX;

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("log-{number:016x}")
}

/// The number of the segment that has this name, if it is the name of one.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix("log-")?, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Which of the two kinds of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment,
    Checkpoint,
}

impl Kind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"bwlkslog",
            Self::Checkpoint => *b"bwlksckp",
        }
    }
}

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store: StoreId,
    /// A segment's own number; at a checkpoint the first one behind it.
    pub(crate) segment: u64,
    /// The first record of a segment; the last one in a checkpoint.
    pub(crate) lsn: Lsn,
    pub(crate) epoch: Epoch,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Damaged,
    Version(u16),
}

impl Header {
    pub(crate) fn encode(&self, kind: Kind) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&kind.magic());
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..26].copy_from_slice(&self.store.0);
        bytes[26..34].copy_from_slice(&self.segment.to_le_bytes());
        bytes[34..42].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[42..50].copy_from_slice(&self.epoch.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..50]);
        bytes[50..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER], kind: Kind) -> Result<Self, HeaderError> {
        // The checksum before the version: damage must not be taken for a newer program's file.
        if bytes[..8] != kind.magic() || crc32c::crc32c(&bytes[..50]) != u32_at(bytes, 50) {
            return Err(HeaderError::Damaged);
        }
        let version = u16::from_le_bytes(array(bytes, 8));
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        Ok(Self {
            store: StoreId(array(bytes, 10)),
            segment: u64_at(bytes, 26),
            lsn: Lsn(u64_at(bytes, 34)),
            epoch: Epoch(u64_at(bytes, 42)),
        })
    }
}

/// What the checksums of a segment's records begin with.
pub(crate) fn seed(store: StoreId, segment: u64) -> u32 {
    if planted(Bug::ChecksumNotSeeded) {
        return 0;
    }
    crc32c::crc32c_append(crc32c::crc32c(&store.0), &segment.to_le_bytes())
}

/// A record without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) crc: u32,
    pub(crate) len: u32,
    pub(crate) lsn: Lsn,
    /// The last record that was known to be synced when this one was written.
    pub(crate) durable: Lsn,
    pub(crate) kind: u8,
}

impl RecordHeader {
    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER]) -> Self {
        Self {
            crc: u32_at(bytes, 0),
            len: u32_at(bytes, 4),
            lsn: Lsn(u64_at(bytes, 8)),
            durable: Lsn(u64_at(bytes, 16)),
            kind: bytes[24],
        }
    }

    /// The bytes of the whole record.
    pub(crate) fn size(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.len)
    }
}

/// Adds a record to the bytes that will be written. The payload is at most [`MAX_PAYLOAD`] long.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    seed: u32,
    lsn: Lsn,
    durable: Lsn,
    kind: u8,
    payload: &[u8],
) {
    let start = out.len();
    let len = u32::try_from(payload.len()).expect("its caller has bounded the payload");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&lsn.0.to_le_bytes());
    out.extend_from_slice(&durable.0.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
    put_crc(out, start, seed);
}

/// Fills in the checksum of what begins at `start`, and returns it.
pub(crate) fn put_crc(out: &mut [u8], start: usize, seed: u32) -> u32 {
    let crc = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// The `N` bytes at `at`, which its caller knows to be there.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let range: Range<usize> = at..at + N;
    bytes[range].try_into().expect("a range of N bytes")
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
