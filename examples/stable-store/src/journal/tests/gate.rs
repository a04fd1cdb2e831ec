//! A disk whose syncs wait until a test lets them through.

use std::{
    io,
    sync::{Arc, Condvar, Mutex},
};

use super::PATIENCE;
use crate::{
    disk::{ForgetfulDisk, ForgetfulFile},
    storage::{File, Storage},
};

/// A disk with a gate before each sync of a file.
pub(super) struct Gated {
    pub(super) disk: ForgetfulDisk,
    gate: Arc<Gate>,
}

/// The gate; it is open at first.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// Syncs that stand before the gate.
    waiting: u64,
    /// Syncs that are through.
    syncs: u64,
}

impl Gated {
    pub(super) fn new(seed: u64) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        (Self { disk: ForgetfulDisk::new(seed), gate: Arc::clone(&gate) }, gate)
    }

    fn wrap(&self, file: ForgetfulFile) -> GatedFile {
        GatedFile { file, gate: Arc::clone(&self.gate) }
    }
}

impl Gate {
    pub(super) fn close(&self) {
        self.state.lock().unwrap().is_closed = true;
    }

    pub(super) fn open(&self) {
        self.state.lock().unwrap().is_closed = false;
        self.changed.notify_all();
    }

    /// How many syncs have gone through.
    pub(super) fn syncs(&self) -> u64 {
        self.state.lock().unwrap().syncs
    }

    /// Waits until a sync stands before the gate.
    pub(super) fn wait_for_sync(&self) {
        let state = self.state.lock().unwrap();
        let (_state, timeout) =
            self.changed.wait_timeout_while(state, PATIENCE, |state| state.waiting == 0).unwrap();
        assert!(!timeout.timed_out(), "nobody syncs");
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        // A test that failed opens no gate, and is to end.
        let opened = self.changed.wait_timeout_while(state, PATIENCE, |state| state.is_closed);
        (state, _) = opened.unwrap();
        state.waiting -= 1;
        state.syncs += 1;
    }
}

impl Storage for Gated {
    type File = GatedFile;

    fn create(&self, name: &str) -> io::Result<GatedFile> {
        Ok(self.wrap(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<GatedFile> {
        Ok(self.wrap(self.disk.open(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

/// A file behind the gate.
pub(super) struct GatedFile {
    file: ForgetfulFile,
    gate: Arc<Gate>,
}

impl File for GatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }

    fn reread(&mut self) -> io::Result<()> {
        self.gate.pass();
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
