//! Keys that were proven and decoded before, so that a peer that comes again costs neither.
//!
//! That a point has prime order takes as long to prove as a signature takes to check, and is true of the
//! key's bytes for ever.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use ed25519_dalek::VerifyingKey;

use super::{KeyError, PublicKey, load};

/// Keys that are remembered. One more, and all others are forgotten: it costs each a proof.
const MAX: usize = 4_096;

/// Servers that were dialled: their keys come from who dials, and were proven when they were read.
static DIALLED: LazyLock<ProvenKeys> = LazyLock::new(ProvenKeys::default);

/// Keys of peers that were let in, decoded. It never holds more than 4,096.
#[derive(Default)]
pub struct ProvenKeys(Mutex<HashMap<PublicKey, VerifyingKey>>);

impl ProvenKeys {
    /// Loads a key as [`PublicKey::from_bytes`] does, without the proof if it is one of these.
    pub(crate) fn load(&self, bytes: &[u8; 32]) -> Result<(PublicKey, VerifyingKey), KeyError> {
        let key = PublicKey { bytes: *bytes };
        let proven = self.keys().get(&key).copied();
        proven.map_or_else(|| load(bytes), |point| Ok((key, point)))
    }

    /// To be called for a peer that is let in or dialled only: whoever else comes must not fill the set.
    pub(crate) fn remember(&self, key: PublicKey, point: VerifyingKey) {
        let mut keys = self.keys();
        if keys.len() >= MAX && !keys.contains_key(&key) {
            keys.clear();
        }
        keys.insert(key, point);
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<PublicKey, VerifyingKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a server that is dialled, decoded once in the life of the process.
pub(crate) fn dialled(server: PublicKey) -> Result<VerifyingKey, KeyError> {
    if let Some(point) = DIALLED.keys().get(&server).copied() {
        return Ok(point);
    }
    let point = VerifyingKey::from_bytes(&server.bytes).map_err(|_| KeyError::NotOnCurve)?;
    DIALLED.remember(server, point);
    Ok(point)
}

impl fmt::Debug for ProvenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvenKeys({})", self.keys().len())
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::{constants::ED25519_BASEPOINT_POINT, constants::EIGHT_TORSION};

    use super::*;

    #[test]
    fn a_key_is_proven_once() {
        let point = ED25519_BASEPOINT_POINT + EIGHT_TORSION[1];
        let mixed = point.compress().to_bytes();
        let proven = ProvenKeys::default();
        assert_eq!(proven.load(&mixed).unwrap_err(), KeyError::Torsion);
        // No such key is ever remembered; that this one passes shows that nothing is proven again.
        proven.remember(PublicKey { bytes: mixed }, point.into());
        assert_eq!(*proven.load(&mixed).unwrap().0.as_bytes(), mixed);
    }

    #[test]
    fn no_more_keys_are_remembered_than_there_is_room_for() {
        let proven = ProvenKeys::default();
        let key = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            PublicKey { bytes }
        };
        let remember = |n| proven.remember(key(n), VerifyingKey::default());
        (0..MAX).for_each(remember);
        remember(0);
        assert_eq!(proven.keys().len(), MAX);
        remember(MAX);
        assert_eq!(proven.keys().keys().collect::<Vec<_>>(), [&key(MAX)]);
    }
}
