//! What the disk holds, as its users see it, and what of that is not synced yet.

use std::collections::BTreeMap;
use std::io;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Operation, Step, Stop};

pub(super) type Inode = u64;

/// Removed files whose bytes may show up again in sectors that nobody wrote.
const RECYCLED: usize = 32;

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) files: BTreeMap<Inode, Contents>,
    /// As a reader sees them.
    pub(super) names: BTreeMap<String, Inode>,
    /// As they were synced.
    pub(super) synced_names: BTreeMap<String, Inode>,
    /// What happened to names since.
    pub(super) renamed: Vec<(String, Option<Inode>)>,
    /// What removed files held.
    pub(super) recycled: Vec<Vec<u8>>,
    /// The number of the process that may use it.
    process: u64,
    next_inode: Inode,
    pub(super) stop_at: Option<(u64, Stop)>,
    /// The file sync that fails, counted from the next one, which is 1.
    pub(super) fail_sync: Option<u64>,
    pub(super) stopped: Option<Stop>,
    pub(super) trace: Vec<Step>,
    pub(super) fingerprint: u32,
}

/// A file's bytes, as a reader sees them and as they are safe. After a failed sync these differ by
/// more than the changes since.
#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    pub(super) seen: Vec<u8>,
    pub(super) synced: Vec<u8>,
    /// What happened since the last sync, in order.
    pub(super) changes: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Append { offset: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

/// Whether the machine stops in the middle of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    On,
    Stopping,
}

impl Going {
    /// What the caller learns: from a machine that stopped, nothing good.
    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::On => Ok(()),
            Self::Stopping => Err(io::Error::other("the machine stopped in the middle of it")),
        }
    }
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            renamed: Vec::new(),
            recycled: Vec::new(),
            process: 0,
            next_inode: 0,
            stop_at: None,
            fail_sync: None,
            stopped: None,
            trace: Vec::new(),
            fingerprint: 0,
        }
    }

    /// Fails for a process of before, and while the machine is off.
    pub(super) fn check(&self, process: u64) -> io::Result<()> {
        if self.stopped.is_some() {
            return Err(io::Error::other("the machine is off"));
        }
        if process != self.process {
            return Err(io::Error::other("this process was ended"));
        }
        Ok(())
    }

    /// Notes an operation, and stops the machine if it is the one at which to stop.
    pub(super) fn step(
        &mut self,
        process: u64,
        operation: Operation,
        file: &str,
        bytes: &[u8],
    ) -> io::Result<Going> {
        self.check(process)?;
        self.fingerprint = [&[operation as u8], file.as_bytes(), &[0], bytes]
            .iter()
            .fold(self.fingerprint, |hash, part| crc32c::crc32c_append(hash, part));
        let bytes = match (operation, <[u8; 8]>::try_from(bytes)) {
            (Operation::Append, _) => bytes.len() as u64,
            (Operation::Truncate, Ok(size)) => u64::from_le_bytes(size),
            _ => 0,
        };
        self.trace.push(Step { operation, file: file.to_owned(), bytes });
        match self.stop_at {
            Some((number, how)) if number <= self.trace.len() as u64 => {
                self.stop_at = None;
                self.stopped = Some(how);
                Ok(Going::Stopping)
            }
            _ => Ok(Going::On),
        }
    }

    pub(super) fn reseed(&mut self, seed: u64) {
        self.rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    }

    /// Begins the next process, and gives its number.
    pub(super) fn restart(&mut self) -> u64 {
        self.stopped = None;
        self.stop_at = None;
        self.process += 1;
        self.process
    }

    pub(super) fn new_inode(&mut self) -> Inode {
        self.next_inode += 1;
        self.files.insert(self.next_inode, Contents::default());
        self.next_inode
    }

    pub(super) fn file(&mut self, inode: Inode) -> &mut Contents {
        // Contents go at a power cut alone, with all handles to them.
        self.files.entry(inode).or_default()
    }

    /// Makes a file's bytes safe, unless this is the sync that fails.
    pub(super) fn sync_file(&mut self, inode: Inode) -> io::Result<()> {
        self.fail_sync = self.fail_sync.map(|nth| nth.saturating_sub(1));
        let Self { files, rng, recycled, fail_sync, .. } = self;
        let contents = files.entry(inode).or_default();
        if *fail_sync != Some(0) {
            contents.sync();
            return Ok(());
        }
        *fail_sync = None;
        contents.synced = contents.survivors(rng, recycled);
        contents.changes.clear();
        Err(rustix::io::Errno::IO.into())
    }

    /// Makes a name stand for a file or for none.
    pub(super) fn name(&mut self, name: &str, inode: Option<Inode>) {
        match inode {
            Some(inode) => self.names.insert(name.to_owned(), inode),
            None => self.names.remove(name),
        };
        self.renamed.push((name.to_owned(), inode));
    }

    pub(super) fn sync_names(&mut self) {
        self.synced_names = self.names.clone();
        self.renamed.clear();
    }

    /// Leaves the bytes of a removed file for sectors that nobody writes.
    pub(super) fn recycle(&mut self, inode: Inode) {
        if self.recycled.len() == RECYCLED {
            self.recycled.remove(0);
        }
        let bytes = self.file(inode).seen.clone();
        self.recycled.push(bytes);
    }

    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) {
        let inode = match self.names.get(name) {
            Some(inode) => *inode,
            None => self.new_inode(),
        };
        *self.file(inode) = Contents::of(bytes.to_vec());
        self.renamed.retain(|(changed, _)| changed != name);
        self.names.insert(name.to_owned(), inode);
        self.synced_names.insert(name.to_owned(), inode);
    }

    pub(super) fn shuffled_names(&mut self) -> Vec<String> {
        let mut names: Vec<String> = self.names.keys().cloned().collect();
        names.shuffle(&mut self.rng);
        names
    }

    pub(super) fn coin(&mut self) -> bool {
        self.rng.random()
    }

    /// A number below `bound`; 0 below 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound.max(1))
    }
}

impl Contents {
    /// Bytes that are safe.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), synced: bytes, changes: Vec::new() }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.changes.push(Change::Append { offset: self.seen.len(), bytes: bytes.to_vec() });
        self.seen.extend_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, size: usize) {
        self.seen.truncate(size);
        self.changes.push(Change::Truncate { size: self.seen.len() });
    }

    pub(super) fn sync(&mut self) {
        // Mostly there is more behind what was synced before; copying all of it each time is slow.
        for change in self.changes.drain(..) {
            match change {
                Change::Append { offset, bytes } => {
                    // Another size only if a sync failed.
                    self.synced.resize(offset, 0);
                    self.synced.extend_from_slice(&bytes);
                }
                Change::Truncate { size } => self.synced.resize(size, 0),
            }
        }
    }

    /// Shows what is safe, in as many bytes as before. There must be no changes.
    pub(super) fn reread(&mut self) {
        let size = self.seen.len();
        self.seen.clone_from(&self.synced);
        self.seen.resize(size, 0);
    }
}
