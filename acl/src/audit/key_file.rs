//! The private keys of a log's checkpoints, on the disk: the present one and its successor.
//!
//! The file has two slots of [`SLOT`] bytes. A new pair of seeds goes into the empty one and is
//! synced; then the other is overwritten with blanks and synced. So a crash leaves one whole pair at
//! least, and the seed that fits the log's last checkpoint is in it. A successor is on the disk
//! before a checkpoint announces it. (Blanks written in place erase the bytes of a plain file
//! system; one that copies on write, or a worn flash chip, may keep them.)

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use zeroize::{Zeroize as _, Zeroizing};

use super::checkpoint::CheckpointKey;
use super::error::AuditError;
use super::hex::{hex, unhex};

/// Bytes of a slot.
pub(super) const SLOT: usize = 512;

/// Bytes of both.
const SLOTS: u64 = 2 * SLOT as u64;

const TITLE: &str = "bailiwick audit key v1";

/// An open and locked key file.
pub(super) struct KeyFile {
    file: File,
    path: PathBuf,
    /// The slot that holds the keys.
    live: u64,
}

/// Fills with random bytes.
pub(super) type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// The keys of a log as it stands.
pub(super) struct Keys {
    pub(super) stream: [u8; 16],
    pub(super) anchor: CheckpointKey,
    /// Signs the next checkpoint.
    pub(super) current: SigningKey,
    /// Is announced by it.
    pub(super) next: SigningKey,
    /// Whether a checkpoint after the first may have been signed.
    pub(super) used: bool,
}

/// Where a log ends, as far as its key is concerned.
pub(super) struct Ends {
    pub(super) stream: [u8; 16],
    /// The key that its last checkpoint announced.
    pub(super) announced: CheckpointKey,
}

impl KeyFile {
    /// Opens or makes the key file of a log that ends so; `None` is an empty one. `random` fills
    /// with random bytes.
    pub(super) fn open(
        path: &Path,
        log: Option<&Ends>,
        stream: [u8; 16],
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(Self, Keys), AuditError> {
        let malformed = || AuditError::KeyMalformed { path: path.to_owned() };
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(malformed());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io(path, "open the key of"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io(path, "lock the key of")(source)),
        }
        let metadata = file.metadata().map_err(io(path, "examine the key of"))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(AuditError::KeyExposed { path: path.to_owned() });
        }
        let mut key_file = Self { file, path: path.to_owned(), live: 1 };
        let slots = key_file.read().map_err(io(path, "read the key of"))?;
        let found: Vec<(u64, Keys)> = (0..)
            .zip(&slots)
            .filter_map(|(nth, slot)| parse(&slot[..]).map(|keys| (nth, keys)))
            .collect();
        let keys = match (log, found.is_empty(), metadata.len()) {
            // Nothing was signed yet by what a crash at the first start left unfinished.
            (None, true, ..=SLOTS) if slots.iter().all(|slot| is_unfinished(&slot[..])) => {
                Keys::generate(stream, random)
            }
            (Some(_), true, 0) => return Err(AuditError::KeyMissing { path: path.to_owned() }),
            (_, true, _) => return Err(malformed()),
            (log, false, _) => {
                let (slot, keys) = choose(found, log, random)
                    .ok_or_else(|| AuditError::KeyForeign { path: path.to_owned() })?;
                key_file.live = slot;
                keys
            }
        };
        key_file.write(&keys)?;
        super::files::sync_folder(path).map_err(io(path, "sync the key of"))?;
        Ok((key_file, keys))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts these keys in place of those before, which are erased.
    pub(super) fn write(&mut self, keys: &Keys) -> Result<(), AuditError> {
        let slot = keys.slot();
        let write = |bytes: &[u8], slot: u64| {
            self.file.write_all_at(bytes, slot * SLOT as u64)?;
            self.file.sync_data()
        };
        let other = 1 - self.live;
        // In this order: at no time is there no whole pair.
        write(&slot[..], other)
            .and_then(|()| write(&blank(), self.live))
            .map_err(io(&self.path, "write the key of"))?;
        self.live = other;
        Ok(())
    }

    fn read(&self) -> io::Result<[Zeroizing<[u8; SLOT]>; 2]> {
        let mut slots = [Zeroizing::new([0; SLOT]), Zeroizing::new([0; SLOT])];
        for (nth, slot) in (0..).zip(&mut slots) {
            let mut filled = 0;
            while filled < SLOT {
                let at = nth * SLOT as u64 + filled as u64;
                match self.file.read_at(&mut slot[filled..], at)? {
                    0 => break,
                    read => filled += read,
                }
            }
        }
        Ok(slots)
    }
}

/// The seed that fits the log, its successor, and the slot it is in.
fn choose(
    found: Vec<(u64, Keys)>,
    log: Option<&Ends>,
    random: &mut dyn FnMut(&mut [u8]),
) -> Option<(u64, Keys)> {
    found.into_iter().find_map(|(slot, keys)| {
        let Some(log) = log else {
            // An empty log is one whose first checkpoint was not written yet.
            return (!keys.used).then_some((slot, keys));
        };
        if keys.stream != log.stream {
            return None;
        }
        if CheckpointKey::of(&keys.current) == log.announced {
            return Some((slot, keys));
        }
        (CheckpointKey::of(&keys.next) == log.announced).then(|| (slot, keys.evolved(random)))
    })
}

impl Keys {
    fn generate(stream: [u8; 16], random: &mut dyn FnMut(&mut [u8])) -> Self {
        let current = fresh(random);
        let anchor = CheckpointKey::of(&current);
        Self { stream, anchor, current, next: fresh(random), used: false }
    }

    /// The keys after the next checkpoint.
    pub(super) fn evolved(self, random: &mut dyn FnMut(&mut [u8])) -> Self {
        Self { current: self.next, next: fresh(random), used: true, ..self }
    }

    /// The keys of a log that has `current`, with another successor.
    pub(super) fn with(
        stream: [u8; 16],
        anchor: CheckpointKey,
        current: SigningKey,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Self {
        Self { stream, anchor, current, next: fresh(random), used: true }
    }

    fn slot(&self) -> Zeroizing<[u8; SLOT]> {
        let text = Zeroizing::new(format!(
            "{TITLE}\nstream {}\nanchor {}\nused {}\nseed {}\nnext {}\n",
            hex(&self.stream),
            self.anchor,
            u8::from(self.used),
            *Zeroizing::new(hex(self.current.as_bytes())),
            *Zeroizing::new(hex(self.next.as_bytes())),
        ));
        let mut slot = Zeroizing::new(blank());
        slot[..text.len()].copy_from_slice(text.as_bytes());
        slot
    }
}

fn parse(slot: &[u8]) -> Option<Keys> {
    let mut lines = slot.split(|byte| *byte == b'\n');
    let mut line = |key: &str| lines.next()?.strip_prefix(key.as_bytes());
    if !line(TITLE)?.is_empty() {
        return None;
    }
    let stream = unhex(line("stream ")?)?;
    let anchor = CheckpointKey(unhex(line("anchor ed25519:")?)?);
    let used = match line("used ")? {
        b"0" => false,
        b"1" => true,
        _ => return None,
    };
    let mut key = |name| {
        let seed = Zeroizing::new(unhex::<32>(line(name)?)?);
        Some(SigningKey::from_bytes(&seed))
    };
    let (current, next) = (key("seed ")?, key("next ")?);
    Some(Keys { stream, anchor, current, next, used })
}

/// Whether a slot holds nothing, or the beginning of its title and nothing else.
fn is_unfinished(slot: &[u8]) -> bool {
    let is_empty = |byte: u8| matches!(byte, 0 | b' ' | b'\n');
    let written = slot.iter().rposition(|byte| !is_empty(*byte)).map_or(0, |last| last + 1);
    written < TITLE.len() && TITLE.as_bytes().starts_with(&slot[..written])
}

fn fresh(random: &mut dyn FnMut(&mut [u8])) -> SigningKey {
    let mut seed = [0; 32];
    random(&mut seed);
    let key = SigningKey::from_bytes(&seed);
    seed.zeroize();
    key
}

/// A slot without keys.
fn blank() -> [u8; SLOT] {
    let mut slot = [b' '; SLOT];
    slot[SLOT - 1] = b'\n';
    slot
}

fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { doing, path, advice: "check its folder and disk", source }
}
