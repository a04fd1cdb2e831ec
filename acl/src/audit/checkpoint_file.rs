//! Checkpoints in a second place: a file elsewhere, which `verify` compares the log with.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::sink::{Sink, SinkError, Space};

/// A witness that is a file: on another disk, or better on another machine.
#[derive(Debug)]
pub struct CheckpointFile {
    file: File,
    path: PathBuf,
}

impl CheckpointFile {
    /// Opens the file at `path`, made with mode 0600 if it is not there. Checkpoints are added to
    /// what is in it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened for writing.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }
}

impl Sink for CheckpointFile {
    fn name(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, lines: &[u8]) -> Result<Space, SinkError> {
        let before = self.file.metadata().map_err(failed("examine"))?.len();
        if let Err(error) = self.file.write_all(lines) {
            // They come again, all of them.
            let _ = self.file.set_len(before);
            return Err(failed("write")(error));
        }
        Ok(Space::Free)
    }

    fn sync(&mut self) -> Result<(), SinkError> {
        self.file.sync_data().map_err(failed("sync"))
    }
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> SinkError {
    SinkError::io(doing, "check the disk or the connection to it")
}
