//! The files of one log: those that were rotated, oldest first, and the one that is written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Least digits of a rotated file's number; after 999,999 there are more.
const DIGITS: usize = 6;

/// The files of the log at `path` that are there: `audit.jsonl.000001`, `audit.jsonl.000002` and so
/// on, by number, and last `audit.jsonl` itself.
///
/// Other files beside them, such as keys and compressed copies, do not count.
///
/// # Errors
///
/// The system's, if the directory cannot be read; one that is not there has no files.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        if let Some(number) = path.file_name().and_then(|log| number(log, &name)) {
            numbered.push((number, path.with_file_name(name)));
        }
    }
    numbered.sort_unstable();
    let mut files: Vec<_> = numbered.into_iter().map(|(_, path)| path).collect();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// The number of the rotated file `name` of the log that is called `log`.
fn number(log: &std::ffi::OsStr, name: &std::ffi::OsStr) -> Option<u64> {
    let rest = name.as_encoded_bytes().strip_prefix(log.as_encoded_bytes())?;
    let digits = rest.strip_prefix(b".")?;
    let one_way_to_write_it =
        digits.len() == DIGITS || (digits.len() > DIGITS && digits[0] != b'0');
    if !one_way_to_write_it || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_come_by_number_and_the_active_one_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert_eq!(files(&path).unwrap(), [PathBuf::new(); 0]);
        for name in [
            "audit.jsonl.1000000",
            "audit.jsonl.000010",
            "audit.jsonl.000002",
            "audit.jsonl",
            "audit.jsonl.key",
            "audit.jsonl.00001",
            "audit.jsonl.0000011",
            "audit.jsonl.000003.gz",
            "audit.jsonl.+00003",
            "other.jsonl.000001",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(&path).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap()).collect();
        let wanted =
            ["audit.jsonl.000002", "audit.jsonl.000010", "audit.jsonl.1000000", "audit.jsonl"];
        assert_eq!(names, wanted);
        assert_eq!(files(&folder.path().join("no/such")).unwrap(), [PathBuf::new(); 0]);
    }
}
