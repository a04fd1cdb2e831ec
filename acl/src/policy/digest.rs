//! The digest by which a record names the revision of the policy that judged.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// The digest of one file, as `sha256sum` prints it.
///
/// # Errors
///
/// The reader's.
pub fn file_digest(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digest of a policy from those of its file and, if it has one, of its file of principals;
/// see [`Policy::digest`](super::Policy::digest).
#[must_use]
pub fn revision_digest(policy: [u8; 32], principals: Option<[u8; 32]>) -> [u8; 32] {
    match principals {
        None => policy,
        Some(principals) => {
            let mut both = Sha256::new();
            both.update(policy);
            both.update(principals);
            both.finalize().into()
        }
    }
}
