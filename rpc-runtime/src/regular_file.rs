//! A regular file, read whole and at rest, within bounds: settings and policies are such.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 4;

/// What changes with a file: which one it is, how long, and when it was written. The last two times
/// are seconds and nanoseconds of its contents and of the file itself; nobody can set the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Reads the file at `path`, which has at most `most` bytes. What is no regular file is not read: a
/// pipe would hold up whoever reads it until somebody writes.
///
/// # Errors
///
/// `InvalidInput` if it is not a regular file, `FileTooLarge`, `ResourceBusy` if it changes while it is
/// read, and the system's.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    for _ in 0..ATTEMPTS {
        if let Some(bytes) = read_at_rest(path, most)? {
            return Ok(bytes);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it changes while it is read; write it aside and rename it",
    ))
}

impl Stamp {
    /// The file at `path` as it is; `None` if there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::new(&metadata))
    }

    fn new(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Opens the file at `path` to be read, if it is a regular one.
///
/// # Errors
///
/// `InvalidInput` if it is not, and the system's.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    use rustix::fs::{Mode, OFlags};
    // Opening a device may do things; look first. By the time that it is opened it may be another file:
    // NONBLOCK, so that a pipe which nobody writes to does not hold up whoever opens it.
    regular(&path.metadata()?)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    regular(&metadata)?;
    Ok((file, metadata))
}

/// The whole file, or `None` if somebody wrote it meanwhile.
fn read_at_rest(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let (file, before) = open(path)?;
    if before.len() > most as u64 {
        return Err(too_long(most));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(most).min(most));
    (&file).take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(too_long(most));
    }
    Ok((Stamp::new(&before) == Stamp::new(&file.metadata()?)).then_some(bytes))
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    metadata.is_file().then_some(()).ok_or_else(irregular)
}

fn too_long(most: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    /// Makes a pipe that nobody writes to.
    pub(crate) fn pipe(path: &Path) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    }

    #[test]
    fn what_is_no_file_or_longer_than_any_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long");
        // A hole: it takes no space on the disk, and no memory here.
        File::create(&long).unwrap().set_len(MOST as u64 + 1).unwrap();
        let fifo = folder.path().join("pipe");
        pipe(&fifo);
        for (path, kind) in [
            (&long, io::ErrorKind::FileTooLarge),
            (&fifo, io::ErrorKind::InvalidInput),
            (&folder.path().to_owned(), io::ErrorKind::InvalidInput),
            (&folder.path().join("none"), io::ErrorKind::NotFound),
        ] {
            assert_eq!(read(path, MOST).unwrap_err().kind(), kind, "{}", path.display());
        }
        std::fs::write(&long, "eleven byte").unwrap();
        assert_eq!(read(&long, 11).unwrap(), b"eleven byte");
        assert_eq!(read(&long, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
