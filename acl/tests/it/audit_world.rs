//! What the tests of the audit log share.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_acl::audit::{AuditLog, Builder, Event, Expected, Record, Tampered, verify_files};
use bailiwick_acl::policy::{Effect, Reason};
use tempfile::TempDir;

pub(crate) fn time(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

/// "Random" bytes: another number each time, from `first` on.
pub(crate) fn random(first: u8) -> impl FnMut(&mut [u8]) + Send + 'static {
    let mut next = first;
    move |bytes| {
        bytes.fill(next);
        next = next.wrapping_add(1);
    }
}

pub(crate) fn denial(object: &str) -> Record<'_> {
    Record {
        principal: Some("alice"),
        verb: Some("read"),
        object: Some(object),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Row)
    }
}

/// A folder with a log in it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        Self { folder, path }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn open(&self) -> AuditLog {
        self.builder().open().unwrap()
    }

    pub(crate) fn builder(&self) -> Builder {
        self.builder_with(random(9))
    }

    pub(crate) fn builder_with(&self, random: impl FnMut(&mut [u8]) + Send + 'static) -> Builder {
        AuditLog::builder("n1", random).file(&self.path).reserve(64 * 1_024)
    }

    pub(crate) fn verify(&self) -> Result<bailiwick_acl::audit::Report, Tampered> {
        verify_files(&self.path, &Expected::default())
    }
}

pub(crate) fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) fn write_lines(path: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

/// The value of a field of a line.
pub(crate) fn field(line: &str, name: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(line).unwrap()[name].clone()
}
