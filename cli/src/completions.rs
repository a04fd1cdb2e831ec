//! `completions`: scripts that complete the command's words in a shell.

use std::io::Write;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::output::{Failure, Outcome};

/// Print a script that completes commands and flags in a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
                        bailiwick completions bash > ~/.local/share/bash-completion/completions/bailiwick\n  \
                        bailiwick completions zsh > ~/.zfunc/_bailiwick\n  \
                        bailiwick completions fish > ~/.config/fish/completions/bailiwick.fish")]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        // It panics where its output cannot be written, so it writes to memory.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "bailiwick", &mut script);
        out.write_all(&script)?;
        Ok(Outcome::Good)
    }
}
