//! The token that opens the console, and the cookie that it is exchanged for.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// Fewest characters of a token from a file: 128 bits in hex.
pub const MIN_TOKEN: usize = 32;

/// Longest file of a token, in bytes.
const MAX_TOKEN: u64 = 1_024;

/// A secret text that is compared in constant time and never shown by accident.
pub struct Token(Zeroizing<String>);

/// Why a file gives no token; each says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {source}; make one: `(umask 077; openssl rand -hex 32 > FILE)`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("others may read the token file {}; run `chmod 600` on it and put a new token there", path.display())]
    OthersMayRead {
        /// The file.
        path: PathBuf,
    },
    /// What is in it could be guessed, or does not fit a URL.
    #[error("the token file {} must hold one line of at least {MIN_TOKEN} letters and digits; make one: `openssl rand -hex 32`", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// 256 random bits, in hex.
    #[must_use]
    pub fn random() -> Self {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        Self(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The token in a file that only its owner may read.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Io { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(TokenError::OthersMayRead { path: path.to_owned() });
        }
        let mut text = Zeroizing::new(String::new());
        let file = fs::File::open(path).map_err(failed)?;
        file.take(MAX_TOKEN).read_to_string(&mut text).map_err(failed)?;
        let token = text.trim();
        let fits = token.len() >= MIN_TOKEN && token.bytes().all(|b| b.is_ascii_alphanumeric());
        if !fits {
            return Err(TokenError::Unfit { path: path.to_owned() });
        }
        Ok(Self(Zeroizing::new(token.to_owned())))
    }

    /// The secret itself, for the one who starts the console.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this, in a time that tells nothing of either.
    pub(crate) fn is(&self, presented: &str) -> bool {
        // Digests have one length, so that the length of the token does not show.
        let digest = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
        digest(&self.0).ct_eq(&digest(presented)).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
