//! Real files in a directory, which one process holds at a time.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, FlockOperation, fadvise, flock};

use crate::{
    OpenDirError,
    storage::{File, Storage},
};

/// The file that is locked while a process has the directory. It holds the process's id.
const LOCK: &str = "LOCK";

/// A directory of the file system.
///
/// It stays locked until this is dropped; a process that is killed lets go of it too.
#[derive(Debug)]
pub struct FileStorage {
    dir: PathBuf,
    handle: fs::File,
    _lock: fs::File,
}

impl FileStorage {
    /// Takes a directory for this process alone, and makes it (for this user only) if it is not
    /// there.
    ///
    /// # Errors
    ///
    /// [`OpenDirError`].
    pub fn open(dir: &Path) -> Result<Self, OpenDirError> {
        let describe = |source: io::Error| describe(dir, source);
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => sync_parent(dir).map_err(describe)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenDirError::NoParent { dir: dir.to_owned() });
            }
            Err(error) => return Err(describe(error)),
        }
        if !fs::metadata(dir).map_err(describe)?.is_dir() {
            return Err(OpenDirError::NotADirectory { dir: dir.to_owned() });
        }
        let handle = fs::File::open(dir).map_err(describe)?;
        let lock = lock(dir)?;
        Ok(Self { dir: dir.to_owned(), handle, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let is_plain = !matches!(name, "" | "." | ".." | LOCK) && !name.contains(['/', '\0']);
        is_plain.then(|| self.dir.join(name)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

fn describe(dir: &Path, source: io::Error) -> OpenDirError {
    let dir = dir.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenDirError::Permission { dir, source }
        }
        io::ErrorKind::NotADirectory => OpenDirError::NotADirectory { dir },
        _ => OpenDirError::Io { dir, source },
    }
}

fn lock(dir: &Path) -> Result<fs::File, OpenDirError> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false) // It may be another process's.
        .mode(0o600)
        .open(dir.join(LOCK))
        .map_err(|error| describe(dir, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Only to tell who it is; at most a process id is believed.
            let read = (&file).take(32).read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenDirError::Locked { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(describe(dir, error.into())),
    }
    let write_id = file
        .set_len(0)
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    write_id.map_err(|error| describe(dir, error))?;
    Ok(file)
}

/// The new directory's own name must survive too.
fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

impl Storage for FileStorage {
    type File = RealFile;

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600);
        options.open(self.path(name)?).map(RealFile)
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        fs::OpenOptions::new().read(true).append(true).open(self.path(name)?).map(RealFile)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok().filter(|name| name != LOCK));
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

/// An open file of a [`FileStorage`].
#[derive(Debug)]
pub struct RealFile(fs::File);

impl File for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reread(&mut self) -> io::Result<()> {
        // Dirty pages are not dropped, so they must be clean first.
        self.0.sync_data()?;
        // No length: the last page, which the file does not fill, too.
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(&self.0, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
