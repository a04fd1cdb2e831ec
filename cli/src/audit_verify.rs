//! `audit verify`: whether anyone has touched an audit log.

use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use bailiwick_acl::audit;
use clap::Args;

use crate::files;
use crate::output::{Failure, Outcome, Style, plain};

/// Verify the chain of an audit log: find edits, deletions, insertions, disorder and splices.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 if the log is whole, 1 if it was touched.\n\n\
                        A tail cut off at the end of a record cannot be found from the file alone: \
                        compare the head and the count with those you noted before.\n\n\
                        Example:\n  bailiwick audit verify audit.jsonl")]
pub(crate) struct Verify {
    /// The audit log.
    file: PathBuf,
}

impl Verify {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let file = files::open(&self.file, "an audit log")?;
        let style = Style::of(&io::stdout());
        let name = plain(&self.file.to_string_lossy());
        match audit::verify(BufReader::new(file)) {
            Ok(report) => {
                let whole = style.green("whole");
                writeln!(out, "{name}: {whole}")?;
                writeln!(out, "  records  {}", report.records)?;
                writeln!(out, "  denials  {}", report.denials)?;
                if let Some(stream) = report.stream {
                    writeln!(out, "  stream   {stream}\n  head     {}", report.head)?;
                }
                Ok(Outcome::Good)
            }
            Err(tampered) => {
                let broken = style.red("broken");
                writeln!(out, "{name}:{}: {broken}: {}", tampered.line, tampered.what)?;
                writeln!(
                    out,
                    "  keep the file as evidence; the records before this line are whole"
                )?;
                Ok(Outcome::Bad)
            }
        }
    }
}
