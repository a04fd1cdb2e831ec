//! What goes to stdout and stderr. A reader that is gone is never a reason to panic.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use crate::exit::{Exit, Failure};

/// Prints a line.
pub(crate) fn line(words: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{words}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure::of(Exit::Refused, error))
}

/// Tells people a line on stderr, if anybody is there.
pub(crate) fn tell(words: impl Display) {
    let _ = writeln!(io::stderr(), "{words}");
}
