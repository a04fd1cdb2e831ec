//! Unsigned LEB128 of at most ten bytes; every form but the shortest is refused.

/// The longest that a number is, in bytes.
pub(crate) const MAX: usize = 10;

/// Appends `value`, seven bits a byte, the lowest first.
pub(crate) fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(lowest_seven_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(lowest_seven_bits(value));
}

/// Writes what [`put`] appends to the front of `room`; its length.
#[inline]
pub(crate) fn write(mut value: u64, room: &mut [u8; MAX]) -> usize {
    let mut length = 0;
    while value >= 0x80 && length < MAX - 1 {
        room[length] = lowest_seven_bits(value) | 0x80;
        value >>= 7;
        length += 1;
    }
    room[length] = lowest_seven_bits(value);
    length + 1
}

fn lowest_seven_bits(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}

/// Takes a value off the front of `bytes`; `None` if it is cut short, longer than it need be, or
/// above `u64::MAX`.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    match **bytes {
        [only, ref behind @ ..] if only < 0x80 => {
            *bytes = behind;
            Some(only.into())
        }
        _ => match in_one_word(bytes) {
            Some((value, length)) => {
                *bytes = bytes.get(length..)?;
                let shortest = value >> (7 * (length - 1)) != 0;
                shortest.then_some(value)
            }
            None => take_long(bytes),
        },
    }
}

/// The value and its length, where eight bytes lie there and it ends among them.
#[inline]
fn in_one_word(bytes: &[u8]) -> Option<(u64, usize)> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    // The lowest bit that says that a byte is the last one.
    let end = !word & 0x8080_8080_8080_8080;
    if end == 0 {
        return None;
    }
    let length = end.trailing_zeros() / 8 + 1;
    let up_to_there = end ^ (end - 1);
    Some((without_every_eighth_bit(word & up_to_there), length as usize))
}

/// The eight groups of seven bits, side by side.
fn without_every_eighth_bit(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4)
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = byte != 0 || index == 0;
            *bytes = &bytes[index + 1..];
            return shortest.then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mut bytes: &[u8]) -> Option<(u64, usize)> {
        take(&mut bytes).map(|value| (value, bytes.len()))
    }

    #[test]
    fn values_survive_the_round_trip_at_every_width() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put(value, &mut bytes);
                assert_eq!(taken(&bytes), Some((value, 0)), "{value}");
            }
        }
    }

    #[test]
    fn what_is_written_in_place_is_what_is_appended() {
        for shift in 0..64 {
            for value in [
                1_u64 << shift,
                (1 << shift) - 1,
                u64::MAX >> shift,
                0x5555_5555_5555_5555 >> shift,
            ] {
                let (mut appended, mut room) = (Vec::new(), [0xaa; MAX]);
                put(value, &mut appended);
                let length = write(value, &mut room);
                assert_eq!(room[..length], appended, "{value}");
            }
        }
    }

    #[test]
    fn what_lies_behind_a_value_is_not_looked_at() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                for behind in [[0x00; 9], [0x80; 9], [0xff; 9]] {
                    let mut bytes = Vec::new();
                    put(value, &mut bytes);
                    bytes.extend(behind);
                    assert_eq!(taken(&bytes), Some((value, 9)), "{value} {behind:?}");
                }
            }
        }
    }

    #[test]
    fn a_word_at_once_reads_what_byte_by_byte_reads() {
        let mut read = 0;
        for number in 0..4_u32.pow(10) {
            let bytes: [u8; 10] = std::array::from_fn(|at| {
                [0x00, 0x80, 0x01, 0xff][(number >> (2 * at)) as usize % 4]
            });
            let mut rest = &bytes[..];
            let by_byte = take_long(&mut rest).map(|value| (value, rest.len()));
            assert_eq!(taken(&bytes), by_byte, "{bytes:?}");
            read += u32::from(by_byte.is_some());
        }
        assert!(read > 100_000, "{read}");
    }

    #[test]
    fn a_form_longer_than_need_be_is_refused() {
        for length in 1..9 {
            let mut bytes = vec![0x80; length];
            bytes.push(0);
            assert_eq!(taken(&bytes), None, "{bytes:?}");
            bytes[0] = 0xff;
            bytes.extend([1; 9]);
            assert_eq!(taken(&bytes), None, "{bytes:?}");
        }
        assert_eq!(taken(&[0x00]), Some((0, 0)));
    }

    #[test]
    fn a_value_above_64_bits_is_refused() {
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(taken(&most), Some((u64::MAX, 0)));
        assert_eq!(taken(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(taken(&[0x80; 11]), None);
    }

    #[test]
    fn a_value_cut_short_is_refused() {
        assert_eq!(taken(&[]), None);
        assert_eq!(taken(&[0x80]), None);
    }
}
