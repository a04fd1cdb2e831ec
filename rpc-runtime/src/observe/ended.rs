//! How a call ended, in one word: what metrics are labelled with and spans say.

use crate::{
    error::{CallError, Executed},
    proto::status,
    reply::Refusal,
};

/// How a call ended, seen from the server or from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Ok,
    AppError,
    Denied,
    Overloaded,
    DeadlineExceeded,
    Unimplemented,
    Malformed,
    Internal,
    Unavailable,
    /// Nobody waits for the answer any more.
    Cancelled,
    // The others only a client can see.
    NotSent,
    OutcomeUnknown,
    AnswerLost,
    Protocol,
}

impl Ended {
    /// All, each at the place that its number says.
    pub(crate) const ALL: [Self; 14] = [
        Self::Ok,
        Self::AppError,
        Self::Denied,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::Unimplemented,
        Self::Malformed,
        Self::Internal,
        Self::Unavailable,
        Self::Cancelled,
        Self::NotSent,
        Self::OutcomeUnknown,
        Self::AnswerLost,
        Self::Protocol,
    ];

    /// Those that a server can see.
    pub(crate) const AT_SERVER: usize = Self::NotSent as usize;

    /// The label's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::AppError => "app_error",
            Self::Denied => "denied",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unimplemented => "unimplemented",
            Self::Malformed => "malformed",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::NotSent => "not_sent",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::AnswerLost => "answer_lost",
            Self::Protocol => "protocol",
        }
    }

    /// Whether the call did what it is for, though that be to say no in the service's own words.
    pub(crate) const fn is_in_order(self) -> bool {
        matches!(self, Self::Ok | Self::AppError)
    }

    /// How a handler ended, by the answer that is kept of it: `status ‖ body`.
    pub(crate) fn of_answer(answer: &[u8]) -> Self {
        match answer.first() {
            Some(&status::OK) => Self::Ok,
            Some(&status::APP) => Self::AppError,
            _ => Self::Internal,
        }
    }

    pub(crate) fn of_result<T, E>(result: &Result<T, CallError<E>>) -> Self {
        let Err(error) = result else { return Self::Ok };
        match error {
            CallError::App(_) => Self::AppError,
            CallError::NotSent(_) => Self::NotSent,
            CallError::Denied(_) => Self::Denied,
            CallError::Overloaded { .. } => Self::Overloaded,
            CallError::Unavailable(_) => Self::Unavailable,
            CallError::DeadlineExceeded { .. } => Self::DeadlineExceeded,
            CallError::OutcomeUnknown { .. } => Self::OutcomeUnknown,
            CallError::AnswerLost { .. } => Self::AnswerLost,
            CallError::Unimplemented(_) => Self::Unimplemented,
            CallError::Malformed => Self::Malformed,
            CallError::Internal => Self::Internal,
            CallError::Protocol(_) => Self::Protocol,
        }
    }
}

impl From<&Refusal> for Ended {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Denied(_) => Self::Denied,
            Refusal::Overloaded { .. } => Self::Overloaded,
            Refusal::DeadlineExceeded(_) => Self::DeadlineExceeded,
            Refusal::Unimplemented => Self::Unimplemented,
            Refusal::Malformed => Self::Malformed,
            Refusal::Internal => Self::Internal,
            Refusal::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// Whether a call ran, in one word.
pub(crate) const fn executed(executed: Executed) -> &'static str {
    match executed {
        Executed::Yes => "yes",
        Executed::No => "no",
        Executed::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_stands_where_its_number_says() {
        for (place, ended) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(ended as usize, place, "{ended:?}");
        }
    }
}
