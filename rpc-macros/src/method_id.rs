//! The number that a method has on the wire: from names, so that order means nothing.

/// The id of the method `method` of the service that travels as `service`.
///
/// The upper half names the service, the lower half the method, by `explicit` or else by a hash of
/// its name on the wire.
pub(crate) fn method_id(service: &str, method: &str, explicit: Option<u32>) -> u64 {
    let method = explicit.unwrap_or_else(|| fnv1a(method));
    u64::from(fnv1a(service)) << 32 | u64::from(method)
}

/// FNV-1a, 32 bits (draft-eastlake-fnv). It separates the names of a trait, and claims no more: a
/// collision is a compile error, not an attack.
fn fnv1a(text: &str) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    text.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // The test vectors of draft-eastlake-fnv, appendix C.
        assert_eq!(fnv1a(""), 0x811c_9dc5);
        assert_eq!(fnv1a("a"), 0xe40c_292c);
        assert_eq!(fnv1a("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn ids_are_stable_for_ever() {
        assert_eq!(method_id("Table", "get", Some(7)) & 0xffff_ffff, 7);
        assert_eq!(method_id("", "", None), 0x811c_9dc5_811c_9dc5);
        assert_eq!(method_id("a", "foobar", None), 0xe40c_292c_bf9c_f968);
    }
}
