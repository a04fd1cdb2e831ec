//! Segments: their headers, records and ends.

use stable_store::disk::ForgetfulDisk;
use stable_store::{Lsn, OpenError};

use super::{Reader, STORE, check, header, seal};

/// The most segments in one input; more tell nothing new.
const SEGMENTS: usize = 6;

/// The most bytes of an older file that come back: without a bound they double each time.
const STALE: usize = 1 << 10;

/// The files of a log as the operations have built them so far.
#[derive(Default)]
struct Log {
    files: Vec<(u64, Vec<u8>)>,
    /// The next record that would be right.
    lsn: u64,
    synced: u64,
    seed: u32,
    /// Each record in order, as long as nothing is wrong.
    honest: Option<Vec<(Lsn, u8, Vec<u8>)>>,
}

/// Any files of a log. Operations: 0 the next segment as it should be; 1 one with any numbers; 2 the
/// next record as it should be, of bytes; 3 one with any numbers; 4 a length that is not so; 5 bytes
/// without a checksum; 6 a byte altered or all behind it cut off; 7 a sync; 8 an older file's bytes.
pub(crate) fn log(input: &[u8]) {
    let mut reader = Reader(input);
    let mut log = Log { lsn: 1, honest: Some(Vec::new()), ..Log::default() };
    log.segment([1, 1, 1], STORE, 1);
    while !reader.is_empty() {
        log.step(&mut reader);
    }
    let disk = ForgetfulDisk::new(1);
    for (number, bytes) in &log.files {
        disk.put(&format!("log-{number:016x}"), bytes);
    }
    match (check(&disk), log.honest) {
        (Ok((fed, recovery)), Some(honest)) => {
            assert_eq!((fed.records, recovery.torn), (honest, None));
        }
        (Err(error), Some(_)) => panic!("nothing is wrong with it: {error}"),
        (Err(OpenError::Rejected { .. }), None) => panic!("nobody has rejected anything"),
        (_, None) => {}
    }
}

impl Log {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let next = self.files.last().map_or(1, |(number, _)| number.wrapping_add(1));
        let operation = reader.byte() % 9;
        // All but these leave a log as the store would have written it.
        if !matches!(operation, 0 | 2 | 7) {
            self.honest = None;
        }
        match operation {
            0 => {
                self.synced = self.lsn.wrapping_sub(1);
                self.segment([next, self.lsn, next], STORE, 1);
            }
            1 => {
                let numbers = [reader.number(next), reader.number(self.lsn), reader.number(next)];
                let store = if reader.byte() == 255 { [8; 16] } else { STORE };
                let version = if reader.byte() == 255 { reader.short() } else { 1 };
                self.segment(numbers, store, version);
            }
            2 => {
                let (lsn, payload) = (self.lsn, reader.bytes());
                self.record(payload.len(), [lsn, self.synced], 5, payload);
                self.lsn = lsn.wrapping_add(1);
                if let Some(honest) = &mut self.honest {
                    honest.push((Lsn(lsn), 5, payload.to_vec()));
                }
            }
            3 => {
                let numbers = [reader.number(self.lsn), reader.number(self.synced)];
                let kind = reader.byte();
                let payload = reader.bytes();
                self.record(payload.len(), numbers, kind, payload);
                self.lsn = numbers[0].wrapping_add(1);
            }
            4 => {
                let length = usize::try_from(reader.number(1 << 24)).unwrap_or(usize::MAX);
                let payload = reader.bytes();
                self.record(length, [self.lsn, self.synced], 5, payload);
            }
            5 => self.last().extend_from_slice(reader.bytes()),
            6 => reader.spoil(self.last()),
            7 => self.synced = self.lsn.wrapping_sub(1),
            _ => {
                let first = &self.files[0].1;
                let part = first[..first.len().min(STALE)].to_vec();
                self.last().extend_from_slice(&part);
            }
        }
    }

    fn last(&mut self) -> &mut Vec<u8> {
        &mut self.files.last_mut().expect("it begins with one").1
    }

    fn segment(&mut self, numbers: [u64; 3], store: [u8; 16], version: u16) {
        if self.files.len() == SEGMENTS {
            self.honest = None;
            return;
        }
        self.seed = crc32c::crc32c_append(crc32c::crc32c(&store), &numbers[0].to_le_bytes());
        self.lsn = numbers[1];
        self.files.push((numbers[0], header(b"bwlkslog", version, store, numbers)));
    }

    /// A record that says it has so many bytes; numbers: its own, the last that is synced.
    fn record(&mut self, length: usize, numbers: [u64; 2], kind: u8, payload: &[u8]) {
        let seed = self.seed;
        let bytes = self.last();
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.push(kind);
        bytes.extend_from_slice(payload);
        seal(bytes, start, seed);
    }
}
