//! What goes to stdout and stderr. A reader that is gone is never a reason to panic.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use bailiwick_acl::object;

use crate::exit::{Exit, Failure};

/// Prints a value. Values are others' bytes: a terminal is shown them, and not steered by them.
pub(crate) fn value(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = if stdout.is_terminal() {
        stdout.write_all(harmless(bytes).as_bytes())
    } else {
        stdout.write_all(bytes)
    };
    // The call has run; what is lost is its answer.
    written.and_then(|()| stdout.flush()).map_err(|error| Failure::of(Exit::Service, error))
}

/// Prints a line of our own words.
pub(crate) fn line(words: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{words}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure::of(Exit::Service, error))
}

/// Tells people a line on stderr, if anybody is there.
pub(crate) fn tell(words: impl Display) {
    let _ = writeln!(io::stderr(), "{words}");
}

fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() || object::is_invisible(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_does_not_steer_the_terminal() {
        assert_eq!(harmless(b"a\tb\n"), "a\tb\n");
        assert_eq!(harmless(b"\x1b[2J\x9b\r"), "\\u{1b}[2J\u{fffd}\\u{d}");
        assert_eq!(harmless("\u{202e}é".as_bytes()), "\\u{202e}é");
    }
}
