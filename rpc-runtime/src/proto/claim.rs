//! A call that the server has taken on. Whoever holds the claim answers the call, and the answer
//! is remembered; a claim that is dropped gives the call up for good.

use std::{sync::Arc, time::Instant};

use super::{
    completions::Past,
    duplicate_requests::{Arrival, Begun, Digest, Given, Keep, Memory, ShortAnswer},
    memories::{Attached, ClientMemory},
};
use crate::error::ProtocolError;

pub(crate) struct Claim(
    /// Until it is answered.
    Option<Held>,
);

struct Held {
    memory: Arc<ClientMemory>,
    begun: Begun,
    before: Before,
}

/// What the call did before this request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// It is readonly: it ran, and runs again.
    Ran,
}

/// What a request turns out to be, and whose turn it is.
pub(crate) enum Turn {
    /// The holder's: run it or refuse it.
    Mine(Claim),
    /// The holder's: refuse it, as its answer could not be kept.
    Full(Claim),
    /// It was seen before: ask the policy again, then [`Memory::look_at`] it.
    ///
    /// [`Memory::look_at`]: super::duplicate_requests::Memory::look_at
    Repeated,
    Short(ShortAnswer),
    Stale,
    FalseRetry,
}

/// Whether the client may be told that a call did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It did not, and never will.
    DidNotRun,
    /// It ran before, and never will again.
    Stale,
}

impl Attached {
    /// As [`Claim::finish`], for a call that this connection brought.
    pub(crate) fn finish(&self, mut claim: Claim, answer: Given<'_>) {
        if let Some(Held { memory, begun, .. }) = claim.0.take() {
            memory.lock().finish(begun, answer);
            self.take_back(memory);
        }
    }

    /// Whether nothing is known of a request's call.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`], as for [`arrive`](Self::arrive).
    pub(crate) fn is_new(
        &self,
        call: u64,
        floor: u64,
        past: Past<'_>,
    ) -> Result<bool, ProtocolError> {
        if call < floor {
            return Err(ProtocolError::CallNumber);
        }
        let mut memory = self.lock();
        acknowledge(&mut memory, floor, past);
        memory.is_new(call)
    }

    /// Looks a request up and, if it is new to the memory and to `past`, takes it on.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`] for a number below the request's own floor, or too far
    /// from it.
    pub(crate) fn arrive(
        &self,
        call: u64,
        floor: u64,
        keep: Keep,
        past: Past<'_>,
        now: Instant,
    ) -> Result<Turn, ProtocolError> {
        if call < floor {
            return Err(ProtocolError::CallNumber);
        }
        let arrival = {
            let mut memory = self.lock();
            acknowledge(&mut memory, floor, past);
            if keep != Keep::Nothing {
                past.recall(&mut memory, call)?;
            }
            memory.arrive(call, keep, self.via(), now)?
        };
        let claim = |before| {
            Claim(Some(Held { memory: self.share(), begun: Begun { call, keep }, before }))
        };
        Ok(match arrival {
            Arrival::Begun => Turn::Mine(claim(Before::Nothing)),
            Arrival::Full => Turn::Full(claim(Before::Nothing)),
            Arrival::Again => Turn::Mine(claim(Before::Ran)),
            Arrival::Repeated => Turn::Repeated,
            Arrival::Short(answer) => Turn::Short(answer),
            Arrival::Stale => Turn::Stale,
            Arrival::FalseRetry => Turn::FalseRetry,
        })
    }
}

/// The client has the answers to all calls below `floor`.
#[inline]
pub(crate) fn acknowledge(memory: &mut Memory, floor: u64, past: Past<'_>) {
    if memory.floor() < floor {
        memory.acknowledge(floor);
        past.acknowledge(floor);
    }
}

impl Claim {
    /// Of the request's method and arguments, unless it is readonly.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.0.as_ref().and_then(|held| held.begun.keep.digest())
    }

    /// The handler is done: its answer, `status ‖ body`, is kept if it must be and can be.
    pub(crate) fn finish(mut self, answer: Given<'_>) {
        if let Some(Held { memory, begun, .. }) = self.0.take() {
            memory.lock().finish(begun, answer);
        }
    }

    /// Nothing has run, and now never will.
    pub(crate) fn refuse(mut self, answer: ShortAnswer) -> Refused {
        let Some(Held { memory, begun, before }) = self.0.take() else { return Refused::Stale };
        match before {
            Before::Nothing => {
                memory.lock().refuse(begun, answer);
                Refused::DidNotRun
            }
            Before::Ran => {
                memory.lock().give_up(begun);
                Refused::Stale
            }
        }
    }

    /// Whether the answer matters to nobody once the connection is gone.
    pub(crate) fn is_readonly(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.begun.keep == Keep::Nothing)
    }
}

impl Drop for Claim {
    /// The handler was dropped, or panicked where nobody answers for it.
    fn drop(&mut self) {
        let Some(Held { memory, begun, .. }) = self.0.take() else { return };
        let mut memory = memory.lock();
        match begun.keep {
            Keep::Nothing => memory.finish(begun, Given::Lent(&[])),
            Keep::Answer { .. } => memory.give_up(begun),
        }
    }
}
