//! The numbers and names that travel on the wire, each with a type of its own.

use std::fmt;

use bailiwick_crypto::PublicKey;
use serde::{Serialize, Serializer};

/// Which method a request calls: 32 bits for the service, 32 bits for the method.
///
/// Both halves are FNV-1a hashes of names unless the trait gives a number
/// (`#[rpc(id = 7)]`), so that reordering a trait changes nothing on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId(u64);

impl MethodId {
    /// The id with this value on the wire.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The value on the wire.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The half that names the service.
    #[must_use]
    pub const fn service(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for MethodId {
    /// As 16 hexadecimal digits: JSON's numbers do not hold 64 bits everywhere.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodId({self})")
    }
}

/// A call's number within its client's incarnation; from 0, one more for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallNumber(u64);

impl CallNumber {
    /// The number that stands as `number` on the wire.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a process: 16 random bytes, made at its start.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation([u8; 16]);

impl Incarnation {
    /// The incarnation with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as the handshake carries them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// What names one call for good: the client's key, its incarnation, the call's number.
///
/// It stays the same however often and over whatever connection the call is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The key that the client proved in the handshake.
    pub client: PublicKey,
    /// The client process's life.
    pub incarnation: Incarnation,
    /// The call within that life.
    pub number: CallNumber,
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.client, self.incarnation, self.number)
    }
}
