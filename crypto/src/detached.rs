//! A signature in a file of its own, beside what it is over.
//!
//! ```text
//! bailiwick signature 1
//! signer: ed25519:<64 hexadecimal digits>
//! signature: <128 hexadecimal digits>
//! ```
//!
//! Each line ends with LF, and the digits are in lower case: for each signature there is one file,
//! and any other byte is refused. The signature is Ed25519 (RFC 8032), verified strictly, over
//!
//! ```text
//! purpose ‖ 0 ‖ the number of parts, one byte ‖ SHA-256(part) for each part
//! ```
//!
//! `purpose` is text without a zero byte that no other use of these keys begins with. (A handshake
//! signs what begins with 64 spaces.) That a part is missing, or that bytes have moved from one to the
//! next, changes what is signed.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::identity::{Identity, KeyError, PublicKey, decode_hex};

/// What a policy is signed for: its parts are the text of the policy file and, if there is one, that
/// of the file of principals.
pub const POLICY: &str = "bailiwick policy signature v1";

/// The longest file that is read, in bytes: longer than any that is accepted.
pub const MAX_FILE: usize = 1_024;

const VERSION: &str = "bailiwick signature 1";

/// A signature and who made it.
///
/// ```
/// use bailiwick_crypto::{Identity, detached::{self, Detached}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = Identity::generate(&mut rand::rng());
/// let file = Detached::sign(&signer, detached::POLICY, &[b"serial 1"]).to_string();
/// let read = Detached::parse(file.as_bytes())?;
/// read.verify(&signer.public_key(), detached::POLICY, &[b"serial 1"])?;
/// assert!(read.verify(&signer.public_key(), detached::POLICY, &[b"serial 2"]).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    signer: PublicKey,
    signature: [u8; 64],
}

/// Why a signature is refused; each says what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureError {
    /// The file is not one of ours.
    #[error("line {line} of the signature: {problem}; sign again")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What should be there.
        problem: &'static str,
    },
    /// Somebody else signed.
    #[error("signed by {found}, not by the signer that is required: ask that one to sign")]
    OtherSigner {
        /// Who signed, or says so.
        found: PublicKey,
    },
    /// The signature does not hold.
    #[error(
        "the signature does not fit: a file was changed since it was signed, or is another one; if \
         the change is wanted, sign again"
    )]
    DoesNotFit,
}

impl Detached {
    /// Signs `parts` for `purpose`.
    ///
    /// # Panics
    ///
    /// If there are more than 255 parts.
    #[must_use]
    pub fn sign(signer: &Identity, purpose: &str, parts: &[&[u8]]) -> Self {
        let signature = signer.sign(&message(purpose, parts));
        Self { signer: signer.public_key(), signature }
    }

    /// Reads the text of a signature file.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Syntax`].
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        let syntax = |line, problem| SignatureError::Syntax { line, problem };
        if text.len() > MAX_FILE {
            return Err(syntax(1, "the file is longer than any signature"));
        }
        let text = std::str::from_utf8(text).map_err(|_| syntax(1, "this is not text"))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(VERSION) {
            return Err(syntax(1, "`bailiwick signature 1` belongs here"));
        }
        let signer = lines.next().and_then(|line| line.strip_prefix("signer: "));
        let signer: Option<PublicKey> = signer.and_then(|key| key.parse().ok());
        let signer = signer.ok_or(syntax(2, "`signer: ed25519:<64 hex digits>` belongs here"))?;
        let signature = lines.next().and_then(|line| line.strip_prefix("signature: "));
        let signature = signature
            .and_then(decode_hex)
            .ok_or(syntax(3, "`signature: <128 hex digits>` belongs here"))?;
        let read = Self { signer, signature };
        if read.to_string() != text {
            return Err(syntax(
                4,
                "three lines, each ended by LF, with digits in lower case, are all",
            ));
        }
        Ok(read)
    }

    /// Who signed, or says so.
    #[must_use]
    pub fn signer(&self) -> PublicKey {
        self.signer
    }

    /// Checks that `signer` signed these very parts for this purpose.
    ///
    /// # Errors
    ///
    /// [`SignatureError::OtherSigner`] or [`SignatureError::DoesNotFit`].
    pub fn verify(
        &self,
        signer: &PublicKey,
        purpose: &str,
        parts: &[&[u8]],
    ) -> Result<(), SignatureError> {
        if self.signer != *signer {
            return Err(SignatureError::OtherSigner { found: self.signer });
        }
        let verified = signer.verify(&message(purpose, parts), &self.signature);
        verified.map_err(|_: KeyError| SignatureError::DoesNotFit)
    }

    /// Writes the file at `path` in one step: whoever reads it sees all of the old one or all of this.
    ///
    /// # Errors
    ///
    /// The system's; the file before stays.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let written = self.write_to(&aside).and_then(|()| std::fs::rename(&aside, path));
        if written.is_err() {
            // Ours, if it is there.
            let _ = std::fs::remove_file(&aside);
        }
        written
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(self.to_string().as_bytes())?;
        file.sync_all()
    }
}

/// Where the signature of the file at `path` is: beside it, with `.sig` behind its name.
#[must_use]
pub fn path_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}\nsigner: {}\nsignature: ", self.signer)?;
        self.signature.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("\n")
    }
}

fn message(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let count = u8::try_from(parts.len()).expect("a caller signs at most 255 parts");
    let mut message = purpose.as_bytes().to_vec();
    message.extend([0, count]);
    for part in parts {
        message.extend(Sha256::digest(part));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [&[u8]; 2] = [b"serial 7\na | x | read | allow\n", b"principal a = ..."];

    fn signer() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    fn check(file: &[u8], parts: &[&[u8]]) -> Result<(), SignatureError> {
        Detached::parse(file)?.verify(&signer().public_key(), POLICY, parts)
    }

    #[test]
    fn every_change_of_a_byte_of_what_is_signed_or_of_the_signature_is_refused() {
        let file = Detached::sign(&signer(), POLICY, &PARTS).to_string().into_bytes();
        assert_eq!(check(&file, &PARTS), Ok(()));
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                assert!(check(&changed, &PARTS).is_err(), "bit {bit} of byte {at}");
            }
            let shorter = [&file[..at], &file[at + 1..]].concat();
            assert!(check(&shorter, &PARTS).is_err(), "without byte {at}");
        }
        for more in [&b"\n"[..], b" ", b"signer: x\n"] {
            assert!(check(&[&file, more].concat(), &PARTS).is_err());
        }
        for part in 0..PARTS.len() {
            for at in 0..PARTS[part].len() {
                let mut changed = PARTS.map(<[u8]>::to_vec);
                changed[part][at] ^= 1;
                let changed = [&changed[0][..], &changed[1]];
                assert_eq!(check(&file, &changed), Err(SignatureError::DoesNotFit));
            }
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other_and_none_can_be_left_out() {
        let file = Detached::sign(&signer(), POLICY, &[b"ab", b"c"]).to_string().into_bytes();
        for other in [&[&b"a"[..], b"bc"][..], &[b"abc"], &[b"ab"], &[b"c", b"ab"], &[]] {
            assert_eq!(check(&file, other), Err(SignatureError::DoesNotFit), "{other:?}");
        }
    }

    #[test]
    fn a_signature_counts_for_its_purpose_and_its_signer_only() {
        let other = Identity::from_seed(&[8; 32]);
        let by_other = Detached::sign(&other, POLICY, &PARTS);
        let refused = by_other.verify(&signer().public_key(), POLICY, &PARTS);
        assert_eq!(refused, Err(SignatureError::OtherSigner { found: other.public_key() }));
        // Whoever writes our name above another's signature gains nothing.
        let forged = Detached { signer: signer().public_key(), ..by_other };
        let refused = forged.verify(&signer().public_key(), POLICY, &PARTS);
        assert_eq!(refused, Err(SignatureError::DoesNotFit));
        let elsewhere = Detached::sign(&signer(), "another purpose", &PARTS);
        let refused = elsewhere.verify(&signer().public_key(), POLICY, &PARTS);
        assert_eq!(refused, Err(SignatureError::DoesNotFit));
    }

    #[test]
    fn what_is_no_signature_is_refused_at_its_line() {
        let file = Detached::sign(&signer(), POLICY, &PARTS).to_string();
        for (text, line) in [
            (String::new(), 1),
            ("x".repeat(MAX_FILE + 1), 1),
            (file.replace("signature 1", "signature 2"), 1),
            (file.replace("signer: ", "signer:"), 2),
            (file.replace("ed25519:", "ed448:"), 2),
            (file.replace("signature: ", "signature: 00"), 3),
            (file.replace('\n', "\r\n"), 1),
            (format!("{file}\n"), 4),
            (file.trim_end().to_owned(), 4),
        ] {
            let error = Detached::parse(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, SignatureError::Syntax { line: at, .. } if at == line),
                "{text}"
            );
        }
    }
}
