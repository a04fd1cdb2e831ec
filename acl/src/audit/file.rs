//! The audit file: appended to by one process, a whole record at a time or not at all.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::log::AuditError;
use super::verify::{Chain, Next};

/// An open and locked audit file.
pub(super) struct FileSink {
    file: File,
    path: PathBuf,
    /// Where the last whole record ends.
    good: u64,
    /// Whether bytes of a broken write may stand behind `good`.
    dirty: bool,
}

/// What an existing file already holds.
pub(super) struct Found {
    pub(super) stream: Option<[u8; 16]>,
    pub(super) last: u64,
    pub(super) head: [u8; 32],
    /// Bytes of a torn last record, now cut off.
    pub(super) torn: u64,
}

impl FileSink {
    pub(super) fn open(path: &Path) -> Result<(Self, Found), AuditError> {
        let io = |doing, advice| {
            move |source| AuditError::Io { doing, path: path.to_owned(), advice, source }
        };
        // Opening a pipe or a device may block or do things; look first.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(AuditError::NotAFile { path: path.to_owned() });
        }
        let advice = "make its directory, and let this user write there";
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io("open", advice))?;
        let metadata = file.metadata().map_err(io("examine", "check the disk"))?;
        if !metadata.is_file() {
            return Err(AuditError::NotAFile { path: path.to_owned() });
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(AuditError::OthersMayWrite { path: path.to_owned() });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => {
                return Err(io("lock", "use a file system that has locks")(source));
            }
        }
        let mut sink = Self { file, path: path.to_owned(), good: 0, dirty: true };
        let found = sink.read_back()?;
        Ok((sink, found))
    }

    /// Appends one record, its line end included, in one write.
    pub(super) fn write_record(&mut self, record: &[u8]) -> Result<(), AuditError> {
        self.cut_back()?;
        self.dirty = true;
        let error = match self.file.write(record) {
            Ok(written) if written == record.len() => {
                self.good += record.len() as u64;
                self.dirty = false;
                return Ok(());
            }
            Ok(_) => io::ErrorKind::WriteZero.into(),
            Err(error) => error,
        };
        // Where this fails too, the next write begins with it.
        let _ = self.cut_back();
        Err(self.io("write", "free space on its disk")(error))
    }

    pub(super) fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(self.io("sync", "check the disk"))
    }

    /// Removes what a broken write left behind the last whole record.
    fn cut_back(&mut self) -> Result<(), AuditError> {
        if self.dirty {
            self.file.set_len(self.good).map_err(self.io("cut back", "check the disk"))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Verifies the whole file and finds its end.
    fn read_back(&mut self) -> Result<Found, AuditError> {
        self.file.seek(SeekFrom::Start(0)).map_err(self.io("read", "check the disk"))?;
        let mut reader = BufReader::new(&self.file);
        let mut chain = Chain::default();
        let mut good = 0;
        let mut torn = 0;
        loop {
            match chain.next(&mut reader).map_err(self.io("read", "check the disk"))? {
                Next::Record { bytes, .. } => good += bytes,
                Next::End => break,
                Next::Torn { bytes } => {
                    torn = bytes;
                    break;
                }
                Next::Tampered(tampered) => {
                    return Err(AuditError::Broken { path: self.path.clone(), tampered });
                }
            }
        }
        let found = Found { stream: chain.stream(), last: chain.last(), head: chain.head(), torn };
        self.good = good;
        self.dirty = torn > 0;
        self.cut_back()?;
        Ok(found)
    }

    fn io(
        &self,
        doing: &'static str,
        advice: &'static str,
    ) -> impl FnOnce(io::Error) -> AuditError {
        let path = self.path.clone();
        move |source| AuditError::Io { doing, path, advice, source }
    }
}
