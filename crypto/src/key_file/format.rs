//! The text of a key file: written in one way, and read only if it could have been written so.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::lock::{Cost, Lock, Locked};
use super::{KeyFileError, MAX_COMMENT};
use crate::identity::decode_hex;

const VERSION: &str = "bailiwick secret key 1";
const PLAIN: &str = "none";
const LOCKED: &str = "argon2id-xchacha20poly1305";

/// What a file holds.
pub(super) enum Protected<'t> {
    Plain(Zeroizing<[u8; 32]>),
    Locked(Locked<'t>),
}

/// A [`KeyFileError`] that does not know its file yet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Syntax { line: usize, problem: &'static str },
    Checksum { line: usize },
    WrongPassphrase,
    Memory,
    Comment,
    EmptyPassphrase,
    Cost,
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> KeyFileError {
        let path = path.to_owned();
        match self {
            Self::Syntax { line, problem } => KeyFileError::Syntax { path, line, problem },
            Self::Checksum { line } => KeyFileError::Checksum { path, line },
            Self::WrongPassphrase => KeyFileError::WrongPassphrase { path },
            Self::Memory => KeyFileError::Memory { path },
            Self::Comment => KeyFileError::Comment { path },
            Self::EmptyPassphrase => KeyFileError::EmptyPassphrase { path },
            Self::Cost => KeyFileError::Cost { path },
        }
    }
}

/// The whole text of a file for this seed.
pub(super) fn write(
    seed: &[u8; 32],
    comment: &str,
    lock: Option<&Lock<'_>>,
) -> Result<Zeroizing<String>, Fault> {
    if comment.len() > MAX_COMMENT || comment.chars().any(char::is_control) {
        return Err(Fault::Comment);
    }
    // Room for all of it, so that no secret stays behind in an outgrown buffer.
    let mut text = Zeroizing::new(String::with_capacity(1_024));
    text.push_str(VERSION);
    text.push('\n');
    put(&mut text, "comment", comment);
    match lock {
        None => {
            put(&mut text, "protection", PLAIN);
            put(&mut text, "seed", &hex(seed));
        }
        Some(lock) => {
            put(&mut text, "protection", LOCKED);
            put(&mut text, "memory", &lock.cost.memory.to_string());
            put(&mut text, "passes", &lock.cost.passes.to_string());
            put(&mut text, "lanes", &lock.cost.lanes.to_string());
            put(&mut text, "salt", &hex(&lock.salt));
            put(&mut text, "nonce", &hex(&lock.nonce));
            let sealed = lock.seal(seed, &text)?;
            put(&mut text, "box", &hex(&sealed));
        }
    }
    let checksum = hex(&checksum(&text));
    put(&mut text, "checksum", &checksum);
    Ok(text)
}

/// Reads a file's text; the checksum is looked at before what it covers is used.
pub(super) fn parse(text: &str) -> Result<Protected<'_>, Fault> {
    let mut lines = Lines { text, at: 0, line: 0 };
    if lines.next("an empty file: restore it from a copy")? != VERSION {
        return Err(lines.fault("not a key file: the first line is `bailiwick secret key 1`"));
    }
    lines.field("comment: ", "expected `comment: ` and the comment")?;
    let protection = lines.field("protection: ", "expected `protection: ` and its kind")?;
    let protected = match protection {
        PLAIN => {
            let seed = lines.field("seed: ", "expected `seed: ` and 64 hexadecimal digits")?;
            let seed = decode_hex(seed).map(Zeroizing::new);
            Protected::Plain(
                seed.ok_or(lines.fault("expected `seed: ` and 64 hexadecimal digits"))?,
            )
        }
        LOCKED => Protected::Locked(lines.locked()?),
        _ => return Err(lines.fault("unknown protection: made by a newer version? Update")),
    };
    lines.checksum()?;
    Ok(protected)
}

struct Lines<'t> {
    text: &'t str,
    /// Where the next line begins.
    at: usize,
    /// Lines read so far.
    line: usize,
}

impl<'t> Lines<'t> {
    fn fault(&self, problem: &'static str) -> Fault {
        Fault::Syntax { line: self.line.max(1), problem }
    }

    /// The next line, which must end with a line feed.
    fn next(&mut self, problem: &'static str) -> Result<&'t str, Fault> {
        self.line += 1;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (line, _) = rest.split_once('\n').ok_or(self.fault(problem))?;
        self.at += line.len() + 1;
        Ok(line)
    }

    fn field(&mut self, name: &str, problem: &'static str) -> Result<&'t str, Fault> {
        self.next(problem)?.strip_prefix(name).ok_or(self.fault(problem))
    }

    fn bytes<const N: usize>(
        &mut self,
        name: &str,
        problem: &'static str,
    ) -> Result<[u8; N], Fault> {
        decode_hex(self.field(name, problem)?).ok_or(self.fault(problem))
    }

    fn number(&mut self, name: &str, problem: &'static str) -> Result<u32, Fault> {
        let digits = self.field(name, problem)?;
        let number = digits.parse::<u32>().ok().filter(|number| number.to_string() == digits);
        number.ok_or(self.fault(problem))
    }

    fn locked(&mut self) -> Result<Locked<'t>, Fault> {
        let cost = Cost {
            memory: self.number("memory: ", "expected `memory: ` and a number of KiB")?,
            passes: self.number("passes: ", "expected `passes: ` and a number")?,
            lanes: self.number("lanes: ", "expected `lanes: ` and a number")?,
        };
        if !cost.is_bounded() {
            return Err(self.fault(
                "Argon2id's cost is out of bounds: memory 8 a lane to 262144 KiB, passes 1 to 16, \
                 lanes 1 to 4",
            ));
        }
        let salt = self.bytes("salt: ", "expected `salt: ` and 32 hexadecimal digits")?;
        let nonce = self.bytes("nonce: ", "expected `nonce: ` and 48 hexadecimal digits")?;
        let aad = self.text.get(..self.at).unwrap_or_default();
        let sealed = self.bytes("box: ", "expected `box: ` and 96 hexadecimal digits")?;
        Ok(Locked { cost, salt, nonce, sealed, aad })
    }

    fn checksum(&mut self) -> Result<(), Fault> {
        let covered = self.text.get(..self.at).unwrap_or_default();
        let found: [u8; 8] =
            self.bytes("checksum: ", "expected `checksum: ` and 16 hexadecimal digits")?;
        if found != checksum(covered) {
            return Err(Fault::Checksum { line: self.line });
        }
        if self.at != self.text.len() {
            self.line += 1;
            return Err(self.fault("nothing may follow the checksum: remove it"));
        }
        Ok(())
    }
}

fn put(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(": ");
    text.push_str(value);
    text.push('\n');
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

fn checksum(text: &str) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}
