//! Colour for people: only on a terminal, and not under `NO_COLOR` (no-color.org).

use std::{
    env,
    fmt::Display,
    io::{IsTerminal as _, stdout},
};

/// Whether and how stdout is coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    Plain,
    Colour,
}

impl Paint {
    /// As stdout and the environment want it.
    pub(crate) fn for_stdout() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|it| it == "dumb");
        if stdout().is_terminal() && !unwanted && !dumb { Self::Colour } else { Self::Plain }
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.code(1, text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.code(2, text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.code(32, text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.code(31, text)
    }

    /// SGR (ECMA-48, 8.3.117).
    fn code(self, code: u8, text: impl Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}
