//! `acl fmt`: lines up the columns of policy files.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bailiwick_acl::policy::MAX_FILE;
use bailiwick_acl::policy::analysis::{diff, format};
use clap::Args;
use tempfile::NamedTempFile;

use crate::files;
use crate::output::{Failure, Outcome, plain};
use crate::policy_args::{Beside, PolicyFiles};

/// Line up the columns of policy files; comments, order and meaning stay.
#[derive(Debug, Args)]
#[command(
    after_help = "A file with errors is never touched. A file is replaced as a whole, under \
                        its own permissions.\n\n\
                        Exit code 0 if done; with --check 1 if a file would change; 2 if one has \
                        errors or cannot be written.\n\n\
                        Examples:\n  bailiwick acl fmt policy.acl\n  \
                        bailiwick acl fmt --check policy.acl\n  \
                        bailiwick acl fmt - < policy.acl"
)]
pub(crate) struct Fmt {
    /// Policy files; `-` is standard input, formatted to standard output.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    beside: Beside,
    /// Change nothing, and say which files would be changed.
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::Good;
        for path in &self.files {
            let (old, new) = self.formatted(path)?;
            let name = plain(&path.to_string_lossy());
            match (self.check, old == new.as_bytes()) {
                (true, true) => {}
                (true, false) => {
                    outcome = Outcome::Bad;
                    writeln!(out, "{name}: not formatted")?;
                }
                (false, _) if path == Path::new("-") => out.write_all(new.as_bytes())?,
                (false, true) => {}
                (false, false) => {
                    replace(path, &old, &new)?;
                    writeln!(out, "{name}: formatted")?;
                }
            }
        }
        Ok(outcome)
    }

    /// The text of a file before and after.
    fn formatted(&self, path: &Path) -> Result<(Vec<u8>, String), Failure> {
        let files = if path == Path::new("-") {
            let mut text = Vec::new();
            io::stdin().lock().take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
            PolicyFiles::of_text("standard input", text, &self.beside)?
        } else {
            PolicyFiles::read(path, &self.beside)?
        };
        let new = format(files.source(), &files.options()).map_err(Failure::Unloadable)?;
        let old = files.text().to_owned();
        // Our own mistake would be somebody's access, so the result is read again.
        let before = files.ruleset().map_err(Failure::Unloadable)?;
        let after = files.with_text(new.clone().into_bytes()).ruleset();
        if !after.is_ok_and(|after| diff(&before, &after).is_empty()) {
            let message = format!("{}: its meaning would change", path.display());
            return Err(Failure::new(message, "this is a bug of bailiwick; the file is untouched"));
        }
        Ok((old, new))
    }
}

/// Puts the new text in the place of the old one at once: whoever reads sees one of the two.
fn replace(path: &Path, old: &[u8], new: &str) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        let help = "check that its folder can be written; the file is untouched";
        Failure::new(format!("{}: {error}", path.display()), help)
    };
    // A link stays a link.
    let path = fs::canonicalize(path).map_err(cannot)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = NamedTempFile::new_in(folder).map_err(cannot)?;
    file.write_all(new.as_bytes()).map_err(cannot)?;
    let permissions = fs::metadata(&path).map_err(cannot)?.permissions();
    file.as_file().set_permissions(permissions).map_err(cannot)?;
    file.as_file().sync_all().map_err(cannot)?;
    if files::read(&path, "a policy file", MAX_FILE)? != old {
        let message = format!("{}: someone else has just changed it", path.display());
        return Err(Failure::new(message, "look at it, and format it again"));
    }
    file.persist(&path).map_err(|error| cannot(error.error))?;
    Ok(())
}
