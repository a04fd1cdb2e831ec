//! The text of one file, read whole and within bounds.

use std::{io, path::Path, sync::Arc};

use bailiwick_acl::policy::{MAX_FILE, Source};

use crate::regular_file;

#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
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
        let bytes = regular_file::read(path, most)?;
        Ok(Self { name: path.display().to_string(), bytes })
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source { name: &self.name, text: &self.bytes }
    }
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
    fn a_file_need_not_be_there_and_one_that_is_keeps_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        assert!(Text::read_if_there(&path, 10).unwrap().is_none());
        assert_eq!(Text::read(&path).unwrap_err().source.kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "eleven byte").unwrap();
        assert!(Text::read_if_there(&path, 10).is_err());
    }
}
