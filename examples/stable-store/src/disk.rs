//! A disk in memory that forgets, when the power fails, whatever was not synced.
//!
//! It is as unkind as a real one may be. After a power cut each 512-byte sector that was written
//! and not synced holds what it held at any moment since the last sync, on its own; a file is as
//! long as it was at any such moment; a sector that the file grew over and nobody wrote holds zeros,
//! or what a removed file left there; each name that was changed and not synced stands for what it
//! stood for at any moment, on its own. Reads may be short and lists have no order.
//!
//! A sync that [fails](ForgetfulDisk::fail_sync) is unkind as on Linux: readers go on seeing the bytes,
//! later syncs take them for written and succeed, and the disk has what it has of them.
//!
//! What survives is drawn from the seed: the same operations and seed give the same disk.

mod crash;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{File, Storage};

use state::{Going, Inode, State};

/// The unit that a disk writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;

/// What changes a disk, or makes a change stay. Each is a point at which a crash makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// [`Storage::create`].
    Create,
    /// [`Storage::rename`].
    Rename,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::sync_dir`].
    SyncDir,
    /// [`File::append`].
    Append,
    /// [`File::sync`].
    Sync,
    /// [`File::truncate`].
    Truncate,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncDir,
        Self::Append,
        Self::Sync,
        Self::Truncate,
    ];
}

/// An operation that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// What was asked for.
    pub operation: Operation,
    /// The name that the file had when it was opened; of a rename the new one; of a directory's
    /// sync nothing.
    pub file: String,
    /// The bytes to append; the size to cut off at; 0 for everything else.
    pub bytes: u64,
}

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing: the disk is as it was synced.
    Synced,
    /// All of it, as if the disk had been quick.
    All,
    /// Any of it, drawn from the seed.
    Any,
}

/// How the machine stops by itself; see [`ForgetfulDisk::stop_at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The power fails: [`ForgetfulDisk::power_cut`] says what is left.
    PowerCut,
    /// The process is killed: [`ForgetfulDisk::kill`] starts the next one.
    Kill,
}

/// The disk. Clones share it.
///
/// [`power_cut`](Self::power_cut) and [`kill`](Self::kill) end the process that uses it: files and
/// clones from before fail from then on. The clone on which they were called goes on, and so does
/// what is cloned from it.
///
/// ```
/// use stable_store::disk::{ForgetfulDisk, Survivors};
/// use stable_store::storage::{File as _, Storage as _};
///
/// # fn main() -> std::io::Result<()> {
/// let disk = ForgetfulDisk::new(7);
/// let mut file = disk.create("log")?;
/// file.append(b"synced")?;
/// file.sync()?;
/// disk.sync_dir()?;
/// file.append(b", and not")?;
/// disk.power_cut_to(Survivors::Synced);
/// assert_eq!(disk.bytes("log").as_deref(), Some(&b"synced"[..]));
/// assert!(file.append(b"!").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ForgetfulDisk {
    state: Arc<Mutex<State>>,
    /// The process that this clone belongs to.
    process: AtomicU64,
}

impl ForgetfulDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), process: AtomicU64::new(0) }
    }

    /// Cuts the power and turns it on again. Of what was not synced, anything may be left.
    pub fn power_cut(&self) {
        self.power_cut_to(Survivors::Any);
    }

    /// Cuts the power and turns it on again, and says what is left.
    pub fn power_cut_to(&self, survivors: Survivors) {
        let mut state = self.lock();
        state.crash(survivors);
        self.process.store(state.restart(), Ordering::Relaxed);
    }

    /// Kills the process (`kill -9`): nothing is lost, and nothing is synced by it either.
    pub fn kill(&self) {
        let process = self.lock().restart();
        self.process.store(process, Ordering::Relaxed);
    }

    /// A copy that shares nothing with this disk, as it is now with all that is not synced, and with
    /// luck of its own. No process of before can use it.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let mut state = self.lock().clone();
        state.reseed(seed);
        let process = state.restart();
        Self { state: Arc::new(Mutex::new(state)), process: AtomicU64::new(process) }
    }

    /// Stops the machine in the middle of operation number `operation`, counted as
    /// [`operations`](Self::operations) does. That operation and all behind it fail. Whether it had
    /// an effect is drawn from the seed; a sync had none.
    pub fn stop_at(&self, operation: u64, how: Stop) {
        self.lock().stop_at = Some((operation, how));
    }

    /// Lets the `nth` sync of a file from now on fail (EIO); the next one is 1. A
    /// [`reread`](File::reread) is a sync too.
    ///
    /// Each sector that it was to write has reached the disk or never will, drawn from the seed. Only
    /// a `reread` shows which.
    pub fn fail_sync(&self, nth: u64) {
        self.lock().fail_sync = Some(nth);
    }

    /// How the machine stopped by itself, until the next process begins.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        self.lock().stopped
    }

    /// The operations so far; reads are none.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().trace.len() as u64
    }

    /// Each operation so far, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Step> {
        self.lock().trace.clone()
    }

    /// A hash of all operations so far and the bytes in them.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        self.lock().fingerprint
    }

    /// The names of all files now, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// What a reader of the file sees now; `None` without one of that name.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let inode = state.names.get(name)?;
        Some(state.files[inode].seen.clone())
    }

    /// Puts a file there, or other bytes into it, as if they had long been synced: damage, say.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.lock().put(name, bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> u64 {
        self.process.load(Ordering::Relaxed)
    }

    fn file(&self, inode: Inode, name: &str) -> ForgetfulFile {
        ForgetfulFile { disk: self.clone(), inode, name: name.to_owned() }
    }
}

impl Clone for ForgetfulDisk {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), process: AtomicU64::new(self.process()) }
    }
}

impl Storage for ForgetfulDisk {
    type File = ForgetfulFile;

    fn create(&self, name: &str) -> io::Result<Self::File> {
        let mut state = self.lock();
        let going = state.step(self.process(), Operation::Create, name, &[])?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.new_inode();
        if going == Going::On || state.coin() {
            state.name(name, Some(inode));
        }
        going.end()?;
        Ok(self.file(inode, name))
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        let state = self.lock();
        state.check(self.process())?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode, name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.check(self.process())?;
        Ok(state.shuffled_names())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let going = state.step(self.process(), Operation::Rename, to, from.as_bytes())?;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        if going == Going::On || state.coin() {
            state.name(to, Some(inode));
            state.name(from, None);
        }
        going.end()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let going = state.step(self.process(), Operation::Remove, name, &[])?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        if going == Going::On || state.coin() {
            state.recycle(inode);
            state.name(name, None);
        }
        going.end()
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        let going = state.step(self.process(), Operation::SyncDir, "", &[])?;
        if going == Going::On {
            state.sync_names();
        }
        going.end()
    }
}

/// A file of it.
#[derive(Debug)]
pub struct ForgetfulFile {
    disk: ForgetfulDisk,
    inode: Inode,
    name: String,
}

impl File for ForgetfulFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let going = state.step(self.disk.process(), Operation::Append, &self.name, bytes)?;
        let written = match going {
            Going::On => bytes.len(),
            Going::Stopping => state.below(bytes.len() + 1),
        };
        state.file(self.inode).append(&bytes[..written]);
        going.end()
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let going = state.step(self.disk.process(), Operation::Sync, &self.name, &[])?;
        if going == Going::On {
            state.sync_file(self.inode)?;
        }
        going.end()
    }

    fn reread(&mut self) -> io::Result<()> {
        self.sync()?;
        self.disk.lock().file(self.inode).reread();
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.check(self.disk.process())?;
        // One in four is short, though never empty before the end.
        let wanted = match buffer.len() {
            length if length > 1 && state.below(4) == 0 => 1 + state.below(length - 1),
            length => length,
        };
        let seen = &state.file(self.inode).seen;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
        let count = wanted.min(seen.len() - start);
        buffer[..count].copy_from_slice(&seen[start..start + count]);
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.lock();
        state.check(self.disk.process())?;
        Ok(state.file(self.inode).seen.len() as u64)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let process = self.disk.process();
        let going = state.step(process, Operation::Truncate, &self.name, &size.to_le_bytes())?;
        if going == Going::On || state.coin() {
            state.file(self.inode).truncate(usize::try_from(size).unwrap_or(usize::MAX));
        }
        going.end()
    }
}
