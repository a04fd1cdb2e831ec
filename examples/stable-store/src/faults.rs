//! A directory whose operations fail when a test says so.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Operation;
use crate::storage::{File, Storage};

/// How an operation fails. Nothing of it happens, unless stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is broken (EIO).
    Io,
    /// The disk is full (ENOSPC).
    Full,
    /// The disk became full half-way through an append (ENOSPC); everything else fails whole.
    Short,
}

impl Fault {
    fn error(self) -> io::Error {
        let errno = match self {
            Self::Io => rustix::io::Errno::IO,
            Self::Full | Self::Short => rustix::io::Errno::NOSPC,
        };
        errno.into()
    }
}

/// Another directory, with failures.
///
/// What fails does so once. As on Linux, a file whose sync has failed *says* that it can be synced
/// from then on and nothing stays: who tries again believes a lie. The same holds for the directory.
///
/// Clones share the failures.
#[derive(Debug)]
pub struct Faulty<S> {
    storage: Arc<S>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Planned>,
    /// Asked for since the first failure.
    after: Vec<Operation>,
    failed: u64,
    directory_lies: bool,
}

#[derive(Debug)]
struct Planned {
    operation: Operation,
    /// Of that kind, still to come before the one that fails.
    before: u64,
    fault: Fault,
}

impl<S: Storage> Faulty<S> {
    /// A directory that does not fail yet.
    pub fn new(storage: S) -> Self {
        Self { storage: Arc::new(storage), plan: Arc::default() }
    }

    /// Lets the `nth` operation of a kind from now on fail; the next one is 1.
    pub fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        let before = nth.saturating_sub(1);
        self.lock().faults.push(Planned { operation, before, fault });
    }

    /// How many operations have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.lock().failed
    }

    /// What was asked for since the first failure: of a store that knows that it is poisoned,
    /// nothing.
    #[must_use]
    pub fn after_failure(&self) -> Vec<Operation> {
        self.lock().after.clone()
    }

    /// The directory underneath. To cut the power of a [`ForgetfulDisk`](crate::disk::ForgetfulDisk),
    /// keep a clone of it and use that: this one goes on with whatever it is called on.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.storage
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self, file: S::File) -> FaultyFile<S::File> {
        FaultyFile { file, plan: Arc::clone(&self.plan), lies: false }
    }
}

impl<S> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Self { storage: Arc::clone(&self.storage), plan: Arc::clone(&self.plan) }
    }
}

impl Plan {
    /// The failure of this operation, if it is its turn.
    fn next(&mut self, operation: Operation) -> Option<Fault> {
        if self.failed > 0 {
            self.after.push(operation);
        }
        let mut due = None;
        self.faults.retain_mut(|planned| {
            let mine = planned.operation == operation;
            if mine && planned.before == 0 && due.is_none() {
                due = Some(planned.fault);
                return false;
            }
            planned.before = planned.before.saturating_sub(u64::from(mine));
            true
        });
        self.failed += u64::from(due.is_some());
        due
    }

    fn check(&mut self, operation: Operation) -> io::Result<()> {
        self.next(operation).map_or(Ok(()), |fault| Err(fault.error()))
    }
}

impl<S: Storage> Storage for Faulty<S> {
    type File = FaultyFile<S::File>;

    fn create(&self, name: &str) -> io::Result<Self::File> {
        self.lock().check(Operation::Create)?;
        Ok(self.wrap(self.storage.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        Ok(self.wrap(self.storage.open(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().check(Operation::Rename)?;
        self.storage.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().check(Operation::Remove)?;
        self.storage.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut plan = self.lock();
        if let Some(fault) = plan.next(Operation::SyncDir) {
            plan.directory_lies = true;
            return Err(fault.error());
        }
        if plan.directory_lies {
            return Ok(());
        }
        drop(plan);
        self.storage.sync_dir()
    }
}

/// A file of it.
#[derive(Debug)]
pub struct FaultyFile<F> {
    file: F,
    plan: Arc<Mutex<Plan>>,
    /// A sync of it has failed: what was written is marked as clean.
    lies: bool,
}

impl<F> FaultyFile<F> {
    fn next(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.next(operation)
    }
}

impl<F: File> File for FaultyFile<F> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.next(Operation::Append) {
            Some(Fault::Short) => {
                self.file.append(&bytes[..bytes.len() / 2])?;
                Err(Fault::Short.error())
            }
            Some(fault) => Err(fault.error()),
            None => self.file.append(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(fault) = self.next(Operation::Sync) {
            self.lies = true;
            return Err(fault.error());
        }
        if self.lies { Ok(()) } else { self.file.sync() }
    }

    fn reread(&mut self) -> io::Result<()> {
        if let Some(fault) = self.next(Operation::Sync) {
            self.lies = true;
            return Err(fault.error());
        }
        self.file.reread()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        if let Some(fault) = self.next(Operation::Truncate) {
            return Err(fault.error());
        }
        self.file.truncate(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{ForgetfulDisk, Survivors};

    fn faulty() -> (ForgetfulDisk, Faulty<ForgetfulDisk>) {
        let disk = ForgetfulDisk::new(1);
        (disk.clone(), Faulty::new(disk))
    }

    #[test]
    fn the_nth_of_a_kind_fails_and_no_other() {
        let (_, storage) = faulty();
        let mut file = storage.create("log").expect("creates");
        storage.fail(Operation::Append, 2, Fault::Io);
        file.append(b"one").expect("the first");
        file.sync().expect("another kind");
        let error = file.append(b"two").expect_err("the second");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        assert_eq!(storage.inner().bytes("log"), Some(b"one".to_vec()));
        assert_eq!((storage.failed(), storage.after_failure()), (1, vec![]));
        file.append(b"three").expect("the third");
        assert_eq!(storage.after_failure(), [Operation::Append]);
    }

    #[test]
    fn a_short_append_leaves_half() {
        let (disk, storage) = faulty();
        let mut file = storage.create("log").expect("creates");
        storage.fail(Operation::Append, 1, Fault::Short);
        let error = file.append(b"full").expect_err("no room");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NOSPC.raw_os_error()));
        assert_eq!(disk.bytes("log"), Some(b"fu".to_vec()));
    }

    #[test]
    fn a_second_sync_after_one_that_failed_is_a_lie() {
        let (disk, storage) = faulty();
        let mut file = storage.create("log").expect("creates");
        storage.sync_dir().expect("syncs");
        file.append(b"lost").expect("appends");
        storage.fail(Operation::Sync, 1, Fault::Io);
        file.sync().expect_err("fails");
        file.sync().expect("says so");
        disk.power_cut_to(Survivors::Synced);
        assert_eq!(disk.bytes("log"), Some(vec![]));
    }

    #[test]
    fn each_kind_can_fail() {
        for operation in Operation::ALL {
            let (_, storage) = faulty();
            let mut file = storage.create("log").expect("creates");
            storage.fail(operation, 1, Fault::Full);
            let result = match operation {
                Operation::Create => storage.create("other").map(|_| ()),
                Operation::Rename => storage.rename("log", "other"),
                Operation::Remove => storage.remove("log"),
                Operation::SyncDir => storage.sync_dir(),
                Operation::Append => file.append(b"bytes"),
                Operation::Sync => file.sync(),
                Operation::Truncate => file.truncate(0),
            };
            let error = result.expect_err("fails");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{operation:?}");
        }
    }
}
