//! `audit verify`: whether anyone has touched an audit log.

use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use bailiwick_acl::audit::{self, CheckpointKey, Expected, Report, Tampered, Witnessed};
use clap::Args;
use serde_json::json;

use crate::files;
use crate::output::{Failure, Outcome, Style, plain};

/// Verify an audit log with all its rotated files: find edits, deletions, insertions, disorder,
/// splices, a cut tail, checkpoints signed anew, and records that none seals.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 if the log is whole, 1 if it was touched.\n\n\
                        What is kept elsewhere proves more: with --anchor, that the log was not written \
                        anew as a whole; with --checkpoints, that it was not rewritten or cut off \
                        before the last of them. A log that was not closed must have had its last \
                        checkpoint within a minute or so before --at.\n\n\
                        Examples:\n  bailiwick audit verify audit.jsonl\n  \
                        bailiwick audit verify audit.jsonl --anchor ed25519:… --checkpoints /mnt/other/checkpoints.jsonl\n  \
                        bailiwick audit verify copy/audit.jsonl --at 2026-11-22T12:00:00Z")]
pub(crate) struct Verify {
    /// The audit log: its active file.
    file: PathBuf,
    /// The public key of its first checkpoint, as the server printed it when the log was new.
    #[arg(long, value_name = "KEY")]
    anchor: Option<CheckpointKey>,
    /// A file of checkpoints that were shipped to another place; may be repeated.
    #[arg(long, value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// When the files were as they are. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        // Says what is wrong with the path before anything is read.
        let listed = audit::files(&self.file).ok().and_then(|files| files.into_iter().next());
        files::open(listed.as_ref().unwrap_or(&self.file), "an audit log")?;
        let expected = Expected {
            anchor: self.anchor,
            checkpoints: self.witnessed()?,
            at: Some(self.at.map_or_else(SystemTime::now, SystemTime::from)),
        };
        let verified = audit::verify_files(&self.file, &expected);
        if self.json {
            writeln!(out, "{}", as_json(&verified, &expected))?;
        } else {
            match &verified {
                Ok(report) => self.show(report, &expected, out)?,
                Err(tampered) => self.show_tampered(tampered, out)?,
            }
        }
        Ok(if verified.is_ok() { Outcome::Good } else { Outcome::Bad })
    }

    fn witnessed(&self) -> Result<Vec<Witnessed>, Failure> {
        let mut all = Vec::new();
        for path in &self.checkpoints {
            let file = files::open(path, "a file of checkpoints")?;
            let kept = Witnessed::read(BufReader::new(file)).map_err(|error| {
                let message = format!("{}:{}: not a checkpoint", path.display(), error.line);
                Failure::new(message, "name a file that checkpoints were shipped to".to_owned())
            })?;
            all.extend(kept);
        }
        Ok(all)
    }

    fn show(&self, report: &Report, expected: &Expected, out: &mut impl Write) -> io::Result<()> {
        let name = plain(&self.file.to_string_lossy());
        writeln!(out, "{name}: {}", Style::of(&io::stdout()).green("whole"))?;
        let mut line = |key: &str, value: &str| writeln!(out, "  {key:<12} {value}");
        line("files", &report.files.to_string())?;
        line("records", &report.records.to_string())?;
        let denials = match report.summarized {
            0 => report.denials.to_string(),
            summed => format!("{}, {summed} of them in summaries", report.denials),
        };
        line("denials", &denials)?;
        if report.missing > 0 {
            line("missing", &format!("{}, confessed by gaps", report.missing))?;
        }
        line("checkpoints", &report.checkpoints.to_string())?;
        if let (Some(stream), Some(anchor)) = (&report.stream, &report.anchor) {
            line("stream", stream)?;
            line("anchor", &anchor.to_string())?;
            line("head", &report.head)?;
        }
        line("state", &state(report))?;
        writeln!(out, "proven:")?;
        for proof in proven(report, expected) {
            writeln!(out, "  {proof}")?;
        }
        writeln!(out, "not proven:")?;
        for doubt in not_proven(report, expected) {
            writeln!(out, "  {doubt}")?;
        }
        Ok(())
    }

    fn show_tampered(&self, tampered: &Tampered, out: &mut impl Write) -> io::Result<()> {
        let file = tampered.file.as_ref().unwrap_or(&self.file);
        let name = plain(&file.to_string_lossy());
        let broken = Style::of(&io::stdout()).red("broken");
        writeln!(out, "{name}:{}: {broken}: {}", tampered.line, tampered.what)?;
        writeln!(out, "  keep the files as evidence; the records before this line are whole")
    }
}

fn state(report: &Report) -> String {
    match (&report.sealed_at, report.closed) {
        (None, _) => "empty".to_owned(),
        (Some(at), true) => format!("closed at {at}"),
        (Some(at), false) => {
            format!("open; sealed at {at}, {} records after", report.unsealed)
        }
    }
}

fn proven(report: &Report, expected: &Expected) -> Vec<String> {
    let mut proven =
        vec!["the records follow each other, and their numbers and totals fit".to_owned()];
    if report.checkpoints > 0 {
        proven
            .push("each checkpoint is signed by the key that the one before announced".to_owned());
    }
    if expected.anchor.is_some() {
        proven.push("the log begins with the anchor: it was not written anew".to_owned());
    }
    if let Some(seq) = report.witnessed {
        proven.push(format!(
            "the records up to {seq} are those whose checkpoints were kept elsewhere"
        ));
    }
    proven
}

fn not_proven(report: &Report, expected: &Expected) -> Vec<String> {
    let mut doubts = Vec::new();
    if expected.anchor.is_none() {
        doubts.push(
            "that the log is the server's: compare its anchor with the one that was printed \
             (--anchor)"
                .to_owned(),
        );
    }
    if report.unsealed > 0 {
        doubts.push(format!("the last {} records: no checkpoint seals them yet", report.unsealed));
    }
    doubts.push(match report.witnessed {
        None => "that nothing came after: root on the server can cut off a tail (--checkpoints)"
            .to_owned(),
        Some(seq) => format!("that nothing came after record {seq}: root can cut off what did"),
    });
    doubts
}

fn as_json(verified: &Result<Report, Tampered>, expected: &Expected) -> serde_json::Value {
    match verified {
        Ok(report) => json!({
            "whole": true,
            "files": report.files,
            "records": report.records,
            "denials": report.denials,
            "summarized": report.summarized,
            "missing": report.missing,
            "checkpoints": report.checkpoints,
            "unsealed": report.unsealed,
            "sealed_at": report.sealed_at,
            "closed": report.closed,
            "stream": report.stream,
            "anchor": report.anchor.map(|anchor| anchor.to_string()),
            "head": report.head,
            "witnessed": report.witnessed,
            "proven": proven(report, expected),
            "not_proven": not_proven(report, expected),
        }),
        Err(tampered) => json!({
            "whole": false,
            "file": tampered.file.as_ref().map(|file| file.to_string_lossy()),
            "line": tampered.line,
            "problem": tampered.what.to_string(),
        }),
    }
}
