//! How a command ends and what it looks like: colour and pictures on a terminal, plain elsewhere.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use bailiwick_acl::PolicyErrors;
use bailiwick_acl::policy::{Finding, Severity};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

/// How a command that did its work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, allowed, whole.
    Good,
    /// Denied, in error, tampered with.
    Bad,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell, and what to do about it.
    Told {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// A policy that does not load, which is the answer.
    Policy(PolicyErrors),
    /// A policy that does not load, so that there is no answer.
    Unloadable(PolicyErrors),
    /// The output cannot be written.
    Io(io::Error),
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { message: message.into(), help: help.into() }
    }

    /// Shows it on standard error.
    pub(crate) fn show(&self) {
        let mut err = io::stderr().lock();
        let style = Style::of(&io::stderr());
        // Where standard error is gone, there is nobody left to tell.
        let _ = match self {
            Self::Told { message, help } => {
                let error = style.red("error");
                writeln!(err, "{error}: {}\n  {}", plain(message), plain(help))
            }
            Self::Policy(errors) | Self::Unloadable(errors) => {
                findings(&mut err, style, errors.errors())
            }
            Self::Io(error) => writeln!(err, "error: cannot write the output: {error}"),
        };
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Policy(_) => ExitCode::from(1),
            Self::Told { .. } | Self::Unloadable(_) | Self::Io(_) => ExitCode::from(2),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether a stream takes colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A terminal, and the user has not asked otherwise.
    Colour,
    /// A terminal of a user who has set `NO_COLOR`.
    Monochrome,
    /// A file or a pipe.
    Plain,
}

impl Style {
    /// What suits `stream`. `NO_COLOR` counts when it is set and not empty (no-color.org).
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match (stream.is_terminal(), no_colour || dumb) {
            (false, _) => Self::Plain,
            (true, true) => Self::Monochrome,
            (true, false) => Self::Colour,
        }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Monochrome | Self::Plain => text.to_owned(),
        }
    }
}

/// Shows findings: with the lines they are about on a terminal, else one line each and its mend.
pub(crate) fn findings(out: &mut impl Write, style: Style, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let theme = match style {
            Style::Colour => GraphicalTheme::unicode(),
            Style::Monochrome => GraphicalTheme::unicode_nocolor(),
            Style::Plain => {
                let Finding { file, line, column, message, help, .. } = finding;
                let word = match finding.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                    Severity::Advice => "advice",
                };
                writeln!(out, "{}:{line}:{column}: {word}: {message}", plain(file))?;
                writeln!(out, "  help: {help}")?;
                continue;
            }
        };
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme);
        let diagnostic: &dyn Diagnostic = finding;
        handler.render_report(&mut text, diagnostic).map_err(io::Error::other)?;
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// `text` without anything that a terminal would obey: the path and the arguments are the user's,
/// but may come from a script that took them from elsewhere.
pub(crate) fn plain(text: &str) -> String {
    let hides = |c: char| c.is_control() || bailiwick_acl::object::is_invisible(c);
    text.chars().map(|c| if hides(c) { '\u{fffd}' } else { c }).collect()
}

/// Rows of text in columns that line up.
#[derive(Debug)]
pub(crate) struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this first row.
    pub(crate) fn new(head: &[&str]) -> Self {
        let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let mut table = Self { widths: vec![0; head.len()], rows: Vec::new() };
        table.add(head);
        table
    }

    pub(crate) fn add(&mut self, row: Vec<String>) {
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Writes the rows so far; later ones line up with them unless they are wider. `paint` may
    /// colour a cell, given its text, padding included.
    pub(crate) fn write(
        &mut self,
        out: &mut impl Write,
        indent: &str,
        paint: impl Fn(&str) -> String,
    ) -> io::Result<()> {
        for row in self.rows.drain(..) {
            let mut line = indent.to_owned();
            for (width, cell) in self.widths.iter().zip(&row) {
                let padding = width - cell.chars().count();
                line.push_str(&paint(cell));
                line.extend(std::iter::repeat_n(' ', padding + 2));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
