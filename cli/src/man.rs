//! `man`: a manual page for each command.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::output::{Failure, Outcome, plain};

/// Write manual pages into a folder, one for each command.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bailiwick man ~/.local/share/man/man1 && man bailiwick-acl-check"
)]
pub(crate) struct Man {
    /// The folder; it is made if need be.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(crate::Cli::command(), &self.folder))
            .map_err(|error| {
                let message = format!("{}: {error}", self.folder.display());
                Failure::new(message, "name a folder that you may write to")
            })?;
        writeln!(out, "pages written to {}", plain(&self.folder.to_string_lossy()))?;
        Ok(Outcome::Good)
    }
}
