//! A torn tail or damage? What stands behind a bad record tells whether it had been synced.

use std::io;

use crate::{
    Lsn,
    format::{MAX_PAYLOAD, RECORD_HEADER, RESERVED_KINDS, RecordHeader},
    segment::{CHUNK, Reader, is_whole},
    storage::File,
};

/// Looks through all that follows a bad record for whole ones, and returns the last record that,
/// by what they say, had been synced, if that is `bad` or a later one: then `bad` is damaged. With
/// `None` it was never synced, and a hole there is legal, because sectors land in any order.
pub(crate) fn synced_since<F: File>(
    reader: &mut Reader<F>,
    seed: u32,
    bad: Lsn,
) -> io::Result<Option<Lsn>> {
    let mut synced = None;
    loop {
        let remaining = reader.remaining();
        let window = reader.peek(CHUNK)?;
        let candidate = window.windows(RECORD_HEADER).enumerate().find_map(|(at, bytes)| {
            let header = RecordHeader::decode(bytes.first_chunk()?);
            is_witness(&header, bad, remaining - at as u64).then_some((at, header))
        });
        let Some((at, header)) = candidate else {
            let looked_at = window.len().saturating_sub(RECORD_HEADER - 1);
            if looked_at == 0 {
                return Ok(synced);
            }
            reader.consume(looked_at);
            continue;
        };
        reader.consume(at);
        let size = RECORD_HEADER + header.len as usize;
        if is_whole(&header, reader.peek(size)?, seed) {
            synced = synced.max(Some(header.durable));
            reader.consume(size);
        } else {
            reader.consume(1);
        }
    }
}

/// Whether these bytes, if their checksum is right, say that `bad` had been synced. A place costs
/// a checksum only if its numbers fit, which random bytes do not.
fn is_witness(header: &RecordHeader, bad: Lsn, remaining: u64) -> bool {
    header.durable >= bad
        && header.lsn > header.durable
        && header.kind < RESERVED_KINDS
        && header.len <= MAX_PAYLOAD
        && header.size() <= remaining
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Storage, disk::ForgetfulDisk, format::put_record};

    #[test]
    fn a_witness_is_found_wherever_it_lies_between_two_reads() {
        const SEED: u32 = 7;
        for at in [0, 1, CHUNK - 26, CHUNK - 25, CHUNK - 24, CHUNK - 1, CHUNK, CHUNK + 1] {
            let mut bytes = vec![0xee; at];
            put_record(&mut bytes, SEED, Lsn(9), Lsn(8), 0, b"witness");
            bytes.extend([0xee; 30]);
            let disk = ForgetfulDisk::new(1);
            disk.put("log", &bytes);
            let from = |bad| {
                let mut reader = Reader::new(disk.open("log")?, Vec::new(), 0)?;
                synced_since(&mut reader, SEED, Lsn(bad))
            };
            assert_eq!(from(8).unwrap(), Some(Lsn(8)), "at {at}");
            assert_eq!(from(9).unwrap(), None, "at {at}");
        }
    }
}
