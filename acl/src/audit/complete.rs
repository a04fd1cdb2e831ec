//! Several files of one log: those that miss records are completed from the one that has most.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::chain::{RawLine, read_line};
use super::error::AuditError;
use super::file::{FileSink, Found};
use super::files::files;
use super::hex::unhex;
use super::scan::scan;
use super::sink::Sink as _;
use super::tampered::{Tampered, What};

/// Completes the files, and says where the log ends.
pub(super) fn complete(sinks: &mut [(FileSink, Found)]) -> Result<Found, AuditError> {
    let longest = (0..sinks.len())
        .max_by_key(|nth| (sinks[*nth].1.chain.last, std::cmp::Reverse(*nth)))
        .ok_or(AuditError::NoFile)?;
    let source = sinks[longest].0.name().to_owned();
    let last = sinks[longest].1.chain.last;
    for (nth, (sink, found)) in sinks.iter_mut().enumerate() {
        if nth != longest && last > 0 {
            catch_up(&source, sink, found)?;
        }
    }
    let torn = sinks.iter().map(|(_, found)| found.torn).max().unwrap_or(0);
    let (_, found) = &sinks[longest];
    Ok(Found { chain: found.chain.clone(), torn, bytes: found.bytes, rotated: found.rotated })
}

/// Copies to `sink` what it misses of the log at `source`, if it is the beginning of that one.
fn catch_up(source: &Path, sink: &mut FileSink, found: &Found) -> Result<(), AuditError> {
    let broken = |path: PathBuf, line, what| AuditError::Broken {
        path,
        tampered: Tampered { file: None, line, what },
    };
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| AuditError::Io { doing: "read", path, advice: "check the disk", source }
    };
    let mut rotated = found.rotated;
    for file in files(source).map_err(read(source))? {
        let mut reader = BufReader::new(File::open(&file).map_err(read(&file))?);
        let mut buffer = Vec::new();
        for number in 1.. {
            match read_line(&mut reader, &mut buffer).map_err(read(&file))? {
                RawLine::Whole => {}
                RawLine::End => break,
                // Its own opening has cut off what was torn.
                RawLine::Torn | RawLine::TooLong => {
                    return Err(broken(file, number, What::NotARecord));
                }
            }
            let line =
                scan(&buffer).ok_or_else(|| broken(file.clone(), number, What::NotARecord))?;
            let last = found.chain.last;
            let hash = unhex::<32>(line.hash);
            if line.seq == last && hash != Some(found.chain.head) {
                return Err(broken(sink.name().to_owned(), 1, What::Unchained));
            }
            if line.seq <= last {
                continue;
            }
            let rotates = line.event == b"rotate";
            let name = sink.name().to_owned();
            let failed = |error: super::sink::SinkError| error.of(&name);
            if rotates && !(line.seq == last + 1 && found.bytes == 0) {
                rotated = rotated.checked_add(1).ok_or(AuditError::Full)?;
                sink.rotate(rotated).map_err(failed)?;
            }
            buffer.push(b'\n');
            sink.write(&buffer).map_err(failed)?;
        }
    }
    let synced = sink.syncer().and_then(|mut sync| sync());
    synced.map_err(|error| error.of(sink.name()))
}
