//! How a command ends: its exit code, and what it says on stderr.

use std::{
    fmt::Display,
    io::{IsTerminal as _, stderr},
    process::ExitCode,
};

use bailiwick::{CallError, ConnectError, Executed, NotSent};
use miette::{MietteHandlerOpts, Report};

use crate::output;

/// The shells' code for a process that a signal ended (128 + SIGINT).
pub(crate) const INTERRUPTED: i32 = 130;

/// What a script can tell from the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was judged and refused: an aborted transfer, a server that does not start, a bank that
    /// does not add up.
    Refused = 1,
    /// The arguments, or a file they name, cannot be used; nothing was sent.
    Usage = 2,
    /// The node's policy does not allow it; it did not run.
    Denied = 3,
    /// The transaction may be committed and may be aborted: ask with `outcome`.
    Unknown = 4,
    /// No node with this key took the call; nothing has changed.
    Unreachable = 5,
}

/// For the help of commands that run a transaction.
pub(crate) const TRANSACTION_CODES: &str = "\
Exit codes:
  0  committed
  1  aborted: nothing has changed anywhere, and stderr says why
  2  usage: the arguments or a file they name cannot be used; nothing was sent
  3  denied: the policy does not allow it, or does not know this identity; nothing was begun
  4  outcome unknown: no answer in time; stderr names the transaction, `outcome` tells what became
     of it
  5  unreachable or not trusted: the coordinator did not take it; nothing was begun";

/// For the help of nodes.
pub(crate) const NODE_CODES: &str = "\
Exit codes:
  0  stopped by a signal
  1  refused to start, and stderr says why; or the log cannot be written, and nothing was
     acknowledged that is not in it
  2  usage
  130  stopped at once by a second signal";

/// For the help of `bank`.
pub(crate) const BANK_CODES: &str = "\
Exit codes:
  0  the books balance: no violation was found
  1  a violation, a node that failed, or a run that shows nothing; everything is kept, and stderr
     says where
  2  usage";

/// A command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    report: Report,
}

impl Failure {
    pub(crate) fn new(exit: Exit, report: impl Into<Report>) -> Self {
        Self { exit, report: report.into() }
    }

    /// A failure of an error that brings its mend in its own words.
    pub(crate) fn of(exit: Exit, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { exit, report: Report::from_err(error) }
    }

    /// Says on stderr what happened and what to do about it.
    pub(crate) fn report(self) -> ExitCode {
        output::tell(format_args!("{:?}", self.report));
        ExitCode::from(self.exit as u8)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.report, f)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match error {
            // The node is the right one and has judged: the mend is a line of its policy.
            ConnectError::AccessDenied { .. } => Exit::Denied,
            ConnectError::Limits(_) => Exit::Usage,
            _ => Exit::Unreachable,
        };
        Self::new(exit, error)
    }
}

impl Exit {
    /// The code of a call that has no result.
    pub(crate) fn of_call<E: Display>(error: &CallError<E>) -> Self {
        match error {
            CallError::Denied(_) => Self::Denied,
            CallError::NotSent(
                NotSent::Marshal(_) | NotSent::TooLarge { .. } | NotSent::MetadataTooLarge { .. },
            ) => Self::Usage,
            other => match other.executed() {
                Executed::Yes => Self::Refused,
                Executed::No => Self::Unreachable,
                Executed::Unknown => Self::Unknown,
            },
        }
    }
}

/// Lets reports keep their lines whole, so that paths can be copied and searched, and draw
/// nothing but ASCII where nobody looks. Colour is for terminals, and not under `NO_COLOR`.
pub(crate) fn plain_reports() {
    let to_terminal = stderr().is_terminal();
    let hook = miette::set_hook(Box::new(move |_| {
        let options = MietteHandlerOpts::new().wrap_lines(false).break_words(false);
        let plain = if to_terminal { options } else { options.unicode(false).color(false) };
        Box::new(plain.build())
    }));
    // Only a second call fails, and then reports have this form already.
    let _ = hook;
}
