//! Secret keys on disk: a small text file that only its owner can read.
//!
//! ```text
//! bailiwick secret key 1
//! comment: alice at her laptop
//! protection: none
//! seed: <64 hexadecimal digits>
//! checksum: <16 hexadecimal digits: SHA-256 over all bytes before this line, the first 8 bytes>
//! ```
//!
//! With a passphrase, `protection` is `argon2id-xchacha20poly1305` and in place of `seed` stand
//! `memory` (KiB), `passes`, `lanes`, `salt` (16 bytes), `nonce` (24 bytes) and `box` (seed and
//! tag; all bytes before the `box` line are its associated data). The checksum finds damage, not
//! attackers: whoever can write the file can replace the key.

mod format;
mod lock;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::identity::Identity;

pub use lock::{Cost, Lock, Passphrase};

/// The longest file that is read, in bytes.
pub const MAX_FILE: usize = 4_096;

/// The longest comment, in bytes.
pub const MAX_COMMENT: usize = 200;

impl Identity {
    /// Reads an identity from a key file without a passphrase.
    ///
    /// # Errors
    ///
    /// As [`read`]; [`KeyFileError::NeedsPassphrase`] if the file has one.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        read(path, None)
    }
}

/// Reads an identity. A passphrase that the file does not need is not used.
///
/// # Errors
///
/// [`KeyFileError`] if the file cannot be read, others can read it too, or it is not a key file.
pub fn read(
    path: impl AsRef<Path>,
    passphrase: Option<&Passphrase>,
) -> Result<Identity, KeyFileError> {
    let path = path.as_ref();
    let text = read_private(path)?;
    let file = format::parse(&text).map_err(|fault| fault.at(path))?;
    let seed = match file {
        format::Protected::Plain(seed) => seed,
        format::Protected::Locked(locked) => {
            let passphrase = passphrase
                .ok_or_else(|| KeyFileError::NeedsPassphrase { path: path.to_owned() })?;
            locked.open(passphrase).map_err(|fault| fault.at(path))?
        }
    };
    Ok(Identity::from_seed(&seed))
}

/// Writes an identity to a new file with mode 0600, and waits until it is on the disk.
///
/// # Errors
///
/// [`KeyFileError::Exists`] if the name is taken: nothing is ever overwritten.
/// [`KeyFileError::Comment`] or [`KeyFileError::EmptyPassphrase`] if these do not do,
/// [`KeyFileError::Write`] if the file cannot be written; no file is left behind then.
pub fn create(
    path: impl AsRef<Path>,
    identity: &Identity,
    comment: &str,
    lock: Option<&Lock<'_>>,
) -> Result<(), KeyFileError> {
    let path = path.as_ref();
    let text = format::write(identity.seed(), comment, lock).map_err(|fault| fault.at(path))?;
    // O_EXCL: also a dangling symbolic link counts as taken.
    let opened = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Write { path: path.to_owned(), source },
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| sync_folder(path)).map_err(|source| {
        // Half a key is worse than none; the file is ours, we have just created it.
        let _ = std::fs::remove_file(path);
        KeyFileError::Write { path: path.to_owned(), source }
    })
}

/// Why a key file cannot be used; each message says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: check the path, or make a key with `bailiwick keygen -o FILE`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The name stands for a folder, a device or a pipe.
    #[error("{}: not a regular file: give the path of a key file", path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
    },
    /// Others than the owner have permissions on the file.
    #[error(
        "{}: others may use this secret key (mode {mode:04o}): run `chmod 600 {}`, \
         and make a new key if somebody may have read it", path.display(), path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is longer than any key file.
    #[error("{}: longer than 4,096 bytes: this is not a key file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what should be there.
        problem: &'static str,
    },
    /// The contents were damaged.
    #[error("{}:{line}: the checksum does not match: restore the file from a copy", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The line of the checksum, from 1.
        line: usize,
    },
    /// The key is protected by a passphrase, and none was given.
    #[error("{}: this key needs a passphrase: give it", path.display())]
    NeedsPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is another one.
    #[error("{}: wrong passphrase: try again", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// There is not enough memory to derive the key from the passphrase.
    #[error("{}: not enough memory for the passphrase's key derivation: free some", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
    },
    /// A file of this name exists.
    #[error("{}: already exists; choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The comment cannot be written as one line.
    #[error("{}: a comment has at most 200 bytes and no control characters: shorten it", path.display())]
    Comment {
        /// The file.
        path: PathBuf,
    },
    /// An empty passphrase protects nothing.
    #[error("{}: the passphrase is empty: choose one, or do without", path.display())]
    EmptyPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The cost of the key derivation is outside the bounds that are accepted on reading.
    #[error("{}: Argon2id's cost is out of bounds: use `Cost::default()`", path.display())]
    Cost {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be created or written.
    #[error("{}: cannot be written: check the folder and the space that is left", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Reads a file of bounded size, after asking the open file, not its name, who may read it.
fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    use rustix::fs::{Mode, OFlags};
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };

    // NONBLOCK: opening a pipe that nobody writes to must not wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(opened.map_err(|error| failed(error.into()))?);
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode });
    }

    // Room for all that is read, so that no secret stays behind in an outgrown buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE {
        return Err(KeyFileError::TooLong { path: path.to_owned() });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileError::Syntax {
        path: path.to_owned(),
        line: 1,
        problem: "not text: this is not a key file",
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Makes the file's name as durable as its contents.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
