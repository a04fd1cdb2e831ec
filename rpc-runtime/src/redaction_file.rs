//! The key of the marks that records show in place of arguments, on the disk: `audit.jsonl.hmac`.
//!
//! A title and 64 hex digits, a line each. Who has it can try values against the marks, so only its
//! owner may read it; without it old marks cannot be compared with new ones.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bailiwick_acl::AuditError;
use rand::Rng as _;
use zeroize::Zeroizing;

use crate::{regular_file, shown::RedactionKey};

const TITLE: &str = "bailiwick redaction key v1";

/// Title, digits and two ends of lines.
const LENGTH: usize = TITLE.len() + 1 + 64 + 1;

/// The file beside the audit file at `log`.
pub(crate) fn beside(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".hmac");
    name.into()
}

/// Reads the key, or makes one with mode 0600 if it is not there.
///
/// # Errors
///
/// [`AuditError::Io`]: it cannot be read or made, others may read it, or it holds no key.
pub(crate) fn open(path: &Path) -> Result<RedactionKey, AuditError> {
    let failed = |doing, advice| {
        move |source| AuditError::Io { doing, path: path.to_owned(), advice, source }
    };
    let read = || {
        let advice = "run `chmod 600` on the .hmac file beside the log; if it is damaged, restore it, \
                      or remove it: marks then begin anew";
        read(path).map_err(failed("read the redaction key beside", advice))
    };
    match read() {
        Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let advice =
                "make its directory, let this user write there, and free space on its disk";
            make(path).map_err(failed("make the redaction key beside", advice))?;
            // Of two that make one at the same time both use that of the first.
            read()
        }
        found => found,
    }
}

/// Puts a new key at `path`, whole or not at all: half a one would be refused ever after.
fn make(path: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *key);
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    text.push_str(TITLE);
    text.push('\n');
    for byte in key.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    text.push('\n');
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{:016x}", rand::rng().next_u64()));
    let aside = PathBuf::from(aside);
    let linked = write_new(&aside, text.as_bytes()).and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => removed?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<RedactionKey> {
    let (file, metadata) = regular_file::open(path)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may read it"));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
    file.take(LENGTH as u64 + 1).read_to_end(&mut text)?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it holds no key"))
}

fn parse(text: &[u8]) -> Option<RedactionKey> {
    let digits = text.strip_prefix(TITLE.as_bytes())?.strip_prefix(b"\n")?.strip_suffix(b"\n")?;
    if digits.len() != 64 {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(RedactionKey::new(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn failure(path: &Path) -> io::ErrorKind {
        match open(path) {
            Err(AuditError::Io { source, .. }) => source.kind(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_that_was_made_first_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("audit.jsonl"));
        let first = open(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(open(&path).unwrap().mark("x"), first.mark("x"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("audit.jsonl"));
        let made = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().len(), LENGTH as u64);
        assert_eq!(open(&path).unwrap().mark("x"), made.mark("x"));
        // What it was written to before it had its name is gone.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(failure(&path), io::ErrorKind::PermissionDenied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in [0, 10, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(failure(&path), io::ErrorKind::InvalidData, "{length}");
        }
        fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        assert_eq!(failure(&path), io::ErrorKind::InvalidData);
    }
}
