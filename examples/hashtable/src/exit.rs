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
    /// It ran, and the service refused or failed; or what should have held does not.
    Service = 1,
    /// The arguments, or a file they name, cannot be used; nothing was sent.
    Usage = 2,
    /// The server's policy does not allow it; it did not run.
    Denied = 3,
    /// It may have run.
    Unknown = 4,
    /// No server with this key took the call; it did not run.
    Unreachable = 5,
}

/// For `call --help`.
pub(crate) const CALL_CODES: &str = "\
Exit codes:
  0  done
  1  the service's error: it ran, and refused or failed; also `get` of a key that is not there
  2  usage: the arguments or the key file cannot be used; nothing was sent
  3  denied: the policy does not allow it, or does not know this identity; it did not run
  4  outcome unknown: no answer in time, or the server was lost with the call; it may have run
  5  unreachable or not trusted: no server with this key took the call; it did not run";

/// For `health --help`.
pub(crate) const HEALTH_CODES: &str = "\
Exit codes:
  0  it serves
  1  it takes no calls, for the reason that is printed
  2  usage   3  denied   5  unreachable or not trusted";

/// For `hammer --help`.
pub(crate) const HAMMER_CODES: &str = "\
Exit codes:
  0  the value grew by the acknowledged calls and those found executed, give or take the calls
     whose outcome is still unknown; and no two answers are alike
  1  it did not, or the service refused
  2  usage   3  denied   5  unreachable or not trusted, at the beginning or for the final value";

/// For `serve --help`.
pub(crate) const SERVE_CODES: &str = "\
Exit codes:
  0  stopped by a signal, and every call that had begun was answered
  1  refused to start, and stderr says why; or calls were cut off at the end of the drain
  2  usage
  130  stopped at once by a second signal";

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

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match error {
            // The server is the right one and has judged: the mend is a line of its policy.
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
                Executed::Yes => Self::Service,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bailiwick::{Disconnected, Never, ProtocolError};

    use super::*;

    #[test]
    fn the_code_says_whether_the_call_ran() {
        type Error = CallError<Never>;
        let unsent = |why| Exit::of_call(&Error::NotSent(why));
        assert_eq!(unsent(NotSent::TooLarge { size: 2, limit: 1 }), Exit::Usage);
        assert_eq!(unsent(NotSent::Draining), Exit::Unreachable);
        assert_eq!(unsent(NotSent::Disconnected(Disconnected::Closed)), Exit::Unreachable);

        let late = |executed| Exit::of_call(&Error::DeadlineExceeded { executed, call: None });
        assert_eq!(late(Executed::No), Exit::Unreachable);
        assert_eq!(late(Executed::Unknown), Exit::Unknown);
        assert_eq!(late(Executed::Yes), Exit::Service);

        let unread = Error::Protocol(ProtocolError::ReplyBody);
        assert_eq!(Exit::of_call(&unread), Exit::Unknown);
        assert_eq!(Exit::of_call(&Error::Internal), Exit::Service);
        let overloaded = Error::Overloaded { retry_after: Duration::ZERO };
        assert_eq!(Exit::of_call(&overloaded), Exit::Unreachable);
    }
}
