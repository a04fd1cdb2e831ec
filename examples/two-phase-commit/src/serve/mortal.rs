//! Files of a process that can be told to die at a certain write, for demonstrations: nothing that
//! it does afterwards can help it, as nothing can after `kill -9`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};
use stable_store::{FileStorage, Storage, storage::File};

use crate::args::Die;

// 0 is to live.
const BEFORE_WRITE: u8 = 1;
const AFTER_SYNC: u8 = 2;

/// A directory, and when to die.
pub(crate) struct Mortal {
    files: FileStorage,
    fate: Fate,
}

/// A file of it.
pub(crate) struct MortalFile {
    file: <FileStorage as Storage>::File,
    fate: Fate,
}

/// Decides when the process dies. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// The next record that is written is the last, or is not written any more.
    pub(crate) fn seal(&self, die: Die) {
        let at = match die {
            Die::BeforeCommit => BEFORE_WRITE,
            Die::AfterCommit => AFTER_SYNC,
        };
        self.0.store(at, Ordering::Release);
    }

    fn meet(&self, point: u8) {
        if self.0.load(Ordering::Acquire) == point {
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal is on its way; nothing happens until it is here.
            thread::sleep(Duration::from_secs(60));
        }
    }
}

impl Mortal {
    pub(crate) fn new(files: FileStorage, fate: Fate) -> Self {
        Self { files, fate }
    }

    fn file(&self, file: <FileStorage as Storage>::File) -> MortalFile {
        MortalFile { file, fate: self.fate.clone() }
    }
}

impl Storage for Mortal {
    type File = MortalFile;

    fn create(&self, name: &str) -> io::Result<MortalFile> {
        self.files.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<MortalFile> {
        self.files.open(name).map(|file| self.file(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.files.sync_dir()
    }
}

impl File for MortalFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fate.meet(BEFORE_WRITE);
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.fate.meet(AFTER_SYNC);
        Ok(())
    }

    fn reread(&mut self) -> io::Result<()> {
        self.file.reread()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.file.truncate(size)
    }
}
