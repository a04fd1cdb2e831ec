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
        _ => take_long(bytes),
    }
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
    fn a_form_longer_than_need_be_is_refused() {
        assert_eq!(taken(&[0x80, 0x00]), None);
        assert_eq!(taken(&[0xff, 0x80, 0x00]), None);
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
