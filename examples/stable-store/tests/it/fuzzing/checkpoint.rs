//! A checkpoint, and the log behind it.

use stable_store::disk::ForgetfulDisk;
use stable_store::{Lsn, OpenError};

use super::{Reader, STORE, check, header, seal};

/// The number of the segment that goes on behind the checkpoint.
const SEGMENT: u64 = 4;
const LSN: u64 = 9;
const EPOCH: u64 = 3;

/// Any checkpoint. The first byte says whether its header has the right numbers and whether there is
/// one in `checkpoint.tmp` too; then operations: 0 an item; 1 a footer with the right count; 2 one
/// with any; 3 a length that is not so; 4 bytes without a checksum; 5 a byte altered or all behind
/// it cut off.
pub(crate) fn checkpoint(input: &[u8]) {
    let mut reader = Reader(input);
    let flags = reader.byte();
    let any_numbers = flags & 1 == 1;
    let numbers = if any_numbers {
        [reader.number(SEGMENT), reader.number(LSN), reader.number(EPOCH)]
    } else {
        [SEGMENT, LSN, EPOCH]
    };
    let mut bytes = header(b"bwlksckp", 1, STORE, numbers);
    let mut crc = u32::from_le_bytes(bytes[50..54].try_into().expect("four bytes"));
    let mut items = Vec::new();
    let (mut complete, mut honest) = (false, !any_numbers);
    while !reader.is_empty() {
        // Whatever comes behind its end is wrong.
        honest &= !complete;
        let start = bytes.len();
        let operation = reader.byte() % 6;
        let (length, body) = match operation {
            0 => {
                let item = reader.bytes();
                items.push(item.to_vec());
                (u32::try_from(item.len()).expect("a short"), item.to_vec())
            }
            1 => (u32::MAX, (items.len() as u64).to_le_bytes().to_vec()),
            2 => (u32::MAX, reader.number(items.len() as u64).to_le_bytes().to_vec()),
            3 => {
                let length = u32::try_from(reader.number(1 << 24)).unwrap_or(u32::MAX);
                (length, reader.bytes().to_vec())
            }
            4 => {
                bytes.extend_from_slice(reader.bytes());
                honest = false;
                continue;
            }
            _ => {
                reader.spoil(&mut bytes);
                honest = false;
                continue;
            }
        };
        honest &= matches!(operation, 0 | 1);
        complete = operation == 1;
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&body);
        crc = seal(&mut bytes, start, crc);
    }

    let disk = ForgetfulDisk::new(1);
    disk.put("checkpoint", &bytes);
    let segment = header(b"bwlkslog", 1, STORE, [SEGMENT, LSN + 1, EPOCH]);
    disk.put(&format!("log-{SEGMENT:016x}"), &segment);
    if flags & 2 == 2 {
        // Valid or not, it counts for nothing.
        let newer = header(b"bwlksckp", 1, STORE, [SEGMENT + 1, LSN + 1, EPOCH]);
        disk.put("checkpoint.tmp", &newer);
    }
    match check(&disk) {
        Ok((fed, recovery)) if honest => {
            assert!(complete, "taken without its end");
            assert_eq!((fed.items, recovery.last), (items, Lsn(LSN)));
        }
        Ok(_) => {}
        Err(error) if honest && complete => panic!("nothing is wrong with it: {error}"),
        Err(OpenError::Rejected { .. }) => panic!("nobody has rejected anything"),
        Err(_) => {}
    }
}
