//! The audit file: appended to by one process, whole records at a time or not at all.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::chain::{Chain, Next, Start};
use super::error::AuditError;
use super::files::{last_rotated, numbered, sync_folder};
use super::sink::{Sink, SinkError, Space, Syncer};
use super::tampered::Tampered;

/// An open and locked audit file.
pub(super) struct FileSink {
    file: File,
    path: PathBuf,
    /// Where the last whole record ends.
    good: u64,
    /// Whether bytes of a broken write may stand behind `good`.
    dirty: bool,
    /// Bytes that are to stand ready behind `good`.
    reserve: u64,
    /// Up to where the disk is promised to us.
    reserved: u64,
    /// Set between the two steps of a rotation, if the second one failed.
    renamed: bool,
    /// Whether the next sync has to put the file's name on the disk too.
    new_name: Cell<bool>,
}

/// What an existing log already holds.
pub(super) struct Found {
    /// Where its chain ends.
    pub(super) chain: Chain,
    /// Bytes of a torn last record, now cut off.
    pub(super) torn: u64,
    /// Bytes in the active file.
    pub(super) bytes: u64,
    /// The number of the last rotated file; 0 if there is none.
    pub(super) rotated: u32,
}

impl FileSink {
    /// Opens the log's active file, and makes it if it is not there.
    pub(super) fn open(path: &Path, reserve: u64) -> Result<(Self, Found), AuditError> {
        // Opening a pipe or a device may block or do things; look first.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(AuditError::NotAFile { path: path.to_owned() });
        }
        let file = open(path, OpenOptions::new().create(true)).map_err(io(
            path,
            "open",
            "make its directory, and let this user write there",
        ))?;
        let metadata = file.metadata().map_err(io(path, "examine", "check the disk"))?;
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
                return Err(io(path, "lock", "use a file system that has locks")(source));
            }
        }
        let mut sink = Self {
            file,
            path: path.to_owned(),
            good: 0,
            dirty: true,
            reserve,
            reserved: 0,
            renamed: false,
            new_name: Cell::new(true),
        };
        let found = sink.read_back()?;
        if sink.keep_reserve()? == Space::Reserve {
            let full = io::ErrorKind::StorageFull.into();
            return Err(sink.io("reserve room for", "free space on its disk")(full));
        }
        Ok((sink, found))
    }

    /// Verifies the active file and finds its end; where it is empty, that of the one before.
    fn read_back(&mut self) -> Result<Found, AuditError> {
        let rotated = last_rotated(&self.path).map_err(io(
            &self.path,
            "list",
            "let this user read its directory",
        ))?;
        let mut chain = Chain::new(Start::AnyFile);
        self.file.seek(SeekFrom::Start(0)).map_err(self.io("read", "check the disk"))?;
        let (good, torn) = walk(&self.path, &self.file, &mut chain)?;
        if good == 0 && rotated > 0 {
            // A crash came between a rotation and the first record after it.
            let before = numbered(&self.path, rotated);
            let file = File::open(&before).map_err(io(&before, "read", "let this user read it"))?;
            walk(&before, &file, &mut chain)?;
            chain.begin_file().map_err(|what| AuditError::Broken {
                path: before,
                tampered: Tampered { file: None, line: 1, what },
            })?;
        }
        self.good = good;
        self.dirty = torn > 0;
        self.cut_back().map_err(|error| error.of(&self.path))?;
        Ok(Found { chain, torn, bytes: good, rotated })
    }

    /// Removes what a broken write left behind the last whole record.
    fn cut_back(&mut self) -> Result<(), SinkError> {
        if self.dirty {
            self.file.set_len(self.good).map_err(SinkError::io("cut back", "check the disk"))?;
            self.dirty = false;
            self.reserved = self.good;
        }
        Ok(())
    }

    /// The file at the path must be the one we have open, with the bytes that we wrote.
    fn intact(&self) -> Result<(), SinkError> {
        const ADVICE: &str = "keep what is left as evidence; free the name and start a new log";
        let ours = self.file.metadata().map_err(SinkError::io("examine", "check the disk"))?;
        let problem = match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) => {
                "another file was put in its place"
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => "it was deleted or moved",
            Err(error) => return Err(SinkError::io("examine", "check the disk")(error)),
            Ok(_) if ours.len() < self.good => "it was cut off by somebody else",
            Ok(_) if ours.len() > self.good && !self.dirty => "somebody else writes to it",
            Ok(_) => return Ok(()),
        };
        let why = problem.to_owned();
        Err(SinkError {
            doing: "write",
            advice: ADVICE,
            kind: io::ErrorKind::StaleNetworkFileHandle,
            why,
        })
    }

    /// Lets the file system promise us the bytes behind the end.
    fn keep_reserve(&mut self) -> Result<Space, AuditError> {
        self.promise().map_err(|error| error.of(&self.path))
    }

    fn promise(&mut self) -> Result<Space, SinkError> {
        let wanted = self.good.saturating_add(self.reserve);
        if self.reserved >= wanted {
            return Ok(Space::Free);
        }
        // Some ahead, so that not every record asks for it.
        let from = self.reserved.max(self.good);
        // The kernel takes no number with a sign.
        let to = wanted.saturating_add(self.reserve / 4).min(i64::MAX as u64);
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, to - from) {
            Ok(()) => {
                self.reserved = to;
                Ok(Space::Free)
            }
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Ok(Space::Reserve),
            // Not every file system can; then there is no reserve.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.reserve = 0;
                Ok(Space::Free)
            }
            Err(error) => Err(SinkError::io("reserve room for", "check the disk")(error.into())),
        }
    }

    fn io(
        &self,
        doing: &'static str,
        advice: &'static str,
    ) -> impl FnOnce(io::Error) -> AuditError + use<> {
        io(&self.path, doing, advice)
    }
}

impl Sink for FileSink {
    fn name(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, lines: &[u8]) -> Result<Space, SinkError> {
        self.intact()?;
        self.cut_back()?;
        self.dirty = true;
        let error = match self.file.write(lines) {
            Ok(written) if written == lines.len() => {
                self.good += lines.len() as u64;
                self.dirty = false;
                return self.promise();
            }
            Ok(_) => io::ErrorKind::WriteZero.into(),
            Err(error) => error,
        };
        // Where this fails too, the next write begins with it.
        let _ = self.cut_back();
        Err(SinkError::io("write", "free space on its disk")(error))
    }

    fn syncer(&self) -> Result<Syncer, SinkError> {
        let mut sync = sync_data(&self.file)?;
        if !self.new_name.take() {
            return Ok(sync);
        }
        let path = self.path.clone();
        let failed = SinkError::io("sync", "check the disk");
        Ok(Box::new(move || sync().and_then(|()| sync_folder(&path).map_err(&failed))))
    }

    fn rotate(&mut self, number: u32) -> Result<(), SinkError> {
        const ADVICE: &str = "check its directory";
        let failed = || SinkError::io("rotate", ADVICE);
        let rotated = numbered(&self.path, number);
        if !self.renamed {
            self.intact()?;
            if rotated.try_exists().map_err(failed())? {
                return Err(failed()(io::ErrorKind::AlreadyExists.into()));
            }
            // Gives back what was promised behind the end.
            self.file.set_len(self.good).map_err(failed())?;
            // A name that is on the disk before its last checkpoint would make a crash look like a cut.
            self.file.sync_data().map_err(failed())?;
            fs::rename(&self.path, &rotated).map_err(failed())?;
            self.renamed = true;
        }
        let file = open(&self.path, OpenOptions::new().create_new(true)).map_err(failed())?;
        file.try_lock().map_err(|error| failed()(error.into()))?;
        self.file = file;
        self.new_name.set(true);
        (self.good, self.reserved, self.dirty, self.renamed) = (0, 0, false, false);
        Ok(())
    }

    fn space(&mut self) -> Result<Space, SinkError> {
        if self.renamed {
            return Ok(Space::Free);
        }
        self.intact()?;
        self.promise()
    }
}

/// Syncs this file, whatever its name is by then.
pub(super) fn sync_data(file: &File) -> Result<Syncer, SinkError> {
    let failed = SinkError::io("sync", "check the disk");
    let file = file.try_clone().map_err(&failed)?;
    Ok(Box::new(move || file.sync_data().map_err(&failed)))
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.read(true).append(true).mode(0o600).open(path)
}

/// Follows the chain through a file; says where its last whole record ends, and what is torn.
fn walk(path: &Path, file: &File, chain: &mut Chain) -> Result<(u64, u64), AuditError> {
    let mut reader = BufReader::new(file);
    let mut buffer = Vec::new();
    let (mut good, mut line) = (0, 0);
    loop {
        line += 1;
        match chain.next(&mut reader, &mut buffer).map_err(io(path, "read", "check the disk"))? {
            Next::Record(bytes) => good += bytes,
            Next::End => return Ok((good, 0)),
            Next::Torn(torn) => return Ok((good, torn)),
            Next::Tampered(what) => {
                let tampered = Tampered { file: None, line, what };
                return Err(AuditError::Broken { path: path.to_owned(), tampered });
            }
        }
    }
}

fn io(
    path: &Path,
    doing: &'static str,
    advice: &'static str,
) -> impl FnOnce(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Io { doing, path, advice, source }
}
