//! The files of a log: the active one, and those that were rotated out of its way.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Digits of a rotated file's number.
const DIGITS: usize = 6;

/// The files of the log whose active one is `path`, in the order in which they were written: the
/// rotated ones (`audit.jsonl.000001`, …), and the active one last, if it is there.
///
/// # Errors
///
/// If the folder cannot be listed.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = rotated(path)?;
    found.sort_unstable();
    let mut files: Vec<PathBuf> = found.into_iter().map(|number| numbered(path, number)).collect();
    if path.try_exists()? || files.is_empty() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// The number of the last rotated file; 0 if there is none.
pub(super) fn last_rotated(path: &Path) -> io::Result<u32> {
    Ok(rotated(path)?.into_iter().max().unwrap_or(0))
}

/// The name of the rotated file `number`.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:0DIGITS$}"));
    PathBuf::from(name)
}

/// Puts what happened to the names in the folder of `path` on the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn rotated(path: &Path) -> io::Result<Vec<u32>> {
    let Some(name) = path.file_name().map(std::ffi::OsStr::as_encoded_bytes) else {
        return Ok(Vec::new());
    };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?.file_name();
        let number = entry.as_encoded_bytes().strip_prefix(name).and_then(number);
        numbers.extend(number);
    }
    Ok(numbers)
}

/// The number in `.000001`: six digits, or more where six do not do.
fn number(end: &[u8]) -> Option<u32> {
    let digits = end.strip_prefix(b".")?;
    let plain = digits.iter().all(u8::is_ascii_digit)
        && digits.len() >= DIGITS
        && (digits.len() == DIGITS || digits[0] != b'0');
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok().filter(|number| *number > 0)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_in_which_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        for name in ["", ".000002", ".000010", ".1000000", ".000001", ".key", ".00003", ".000000"] {
            File::create(folder.path().join(format!("audit.jsonl{name}"))).expect("a file");
        }
        let names: Vec<_> = files(&path)
            .expect("a list")
            .into_iter()
            .map(|file| file.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        let wanted = [".000001", ".000002", ".000010", ".1000000", ""];
        assert_eq!(names, wanted.map(|end| format!("audit.jsonl{end}")));
        assert_eq!(last_rotated(&path).expect("a list"), 1_000_000);
    }
}
