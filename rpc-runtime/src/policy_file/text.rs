//! The text of one file, read whole and within bounds.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use bailiwick_acl::policy::{MAX_FILE, Source};

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// What changes with a file: which one it is, how long, and when it was written. The last two times
/// are seconds and nanoseconds of its contents and of the file itself; nobody can set the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Text {
    pub(super) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    pub(super) fn read(path: &Path) -> Result<Self, PolicyFileError> {
        Self::read_within(path, MAX_FILE).map_err(|source| PolicyFileError::new(path, source))
    }

    /// Reads a file that need not be there.
    pub(super) fn read_if_there(path: &Path, most: usize) -> Result<Option<Self>, PolicyFileError> {
        match Self::read_within(path, most) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PolicyFileError::new(path, source)),
        }
    }

    fn read_within(path: &Path, most: usize) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(bytes) = read_at_rest(path, most)? {
                return Ok(Self { name: path.display().to_string(), bytes });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "it changes while it is read; write it aside and rename it",
        ))
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source { name: &self.name, text: &self.bytes }
    }
}

impl Stamp {
    /// The file at `path` as it is; `None` if there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
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

/// The whole file, or `None` if somebody wrote it meanwhile.
fn read_at_rest(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    // Opening a pipe or a device may block or do things; look first.
    regular(&path.metadata()?, most)?;
    let file = File::open(path)?;
    let before = file.metadata()?;
    regular(&before, most)?;
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(most).min(most));
    (&file).take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(too_long(most));
    }
    Ok((Stamp::new(&before) == Stamp::new(&file.metadata()?)).then_some(bytes))
}

fn regular(metadata: &Metadata, most: usize) -> io::Result<()> {
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > most as u64 {
        return Err(too_long(most));
    }
    Ok(())
}

fn too_long(most: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes"))
}

/// A policy file cannot be read.
#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the policy file {name}")]
#[diagnostic(help("a policy is a text file of rows such as `alice | table/** | read | allow`"))]
pub struct PolicyFileError {
    name: String,
    source: Arc<io::Error>,
}

impl PolicyFileError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self { name: path.display().to_string(), source: Arc::new(source) }
    }

    /// What the file is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_longer_than_any_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long");
        // A hole: it takes no space on the disk, and no memory here.
        File::create(&long).unwrap().set_len(MAX_FILE as u64 + 1).unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for (path, kind) in [
            (&long, io::ErrorKind::FileTooLarge),
            (&pipe, io::ErrorKind::InvalidInput),
            (&folder.path().to_owned(), io::ErrorKind::InvalidInput),
            (&folder.path().join("none"), io::ErrorKind::NotFound),
        ] {
            assert_eq!(Text::read(path).unwrap_err().source.kind(), kind, "{}", path.display());
        }
        assert!(Text::read_if_there(&folder.path().join("none"), 10).unwrap().is_none());
        std::fs::write(&long, "eleven bytes").unwrap();
        assert!(Text::read_if_there(&long, 10).is_err());
    }
}
