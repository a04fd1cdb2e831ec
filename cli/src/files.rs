//! Opens files, and says what to do when that fails.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::output::Failure;

/// Opens `path` for reading; `what` is what it should hold.
pub(crate) fn open(path: &Path, what: &str) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, what, &error))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(unreadable(path, what, &io::ErrorKind::IsADirectory.into()))
        }
        _ => Ok(file),
    }
}

/// Opens `path`, or standard input for `-`.
pub(crate) fn open_or_stdin(path: &Path, what: &str) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    Ok(Box::new(BufReader::new(open(path, what)?)))
}

/// Reads the whole of `path`, up to `limit` bytes.
pub(crate) fn read(path: &Path, what: &str, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = open(path, what)?;
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, what, &error))?;
    if bytes.len() > limit {
        let message = format!("{}: longer than {limit} bytes", path.display());
        return Err(Failure::new(message, format!("name {what}")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, what: &str, error: &io::Error) -> Failure {
    let path = path.display();
    let (problem, help) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("no such file".to_owned(), format!("check the path; it should name {what}"))
        }
        io::ErrorKind::IsADirectory => ("a directory".to_owned(), format!("name {what} inside it")),
        io::ErrorKind::PermissionDenied => (
            "you may not read it".to_owned(),
            "check its permissions, or run as the user who owns it".to_owned(),
        ),
        _ => (error.to_string(), "check the file and its disk".to_owned()),
    };
    Failure::new(format!("{path}: {problem}"), help)
}
