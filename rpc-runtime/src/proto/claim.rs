//! A call that the server has taken on. Whoever holds the claim answers the call, and the answer
//! is remembered; a claim that is dropped gives the call up for good.

use std::{sync::Arc, time::Instant};

use super::{
    completions::Past,
    duplicate_requests::{Arrival, Begun, Digest, Given, Keep, Memory, ShortAnswer},
    memories::{Attached, ClientMemory},
};
use crate::error::ProtocolError;

pub(crate) struct Claim {
    memory: Arc<ClientMemory>,
    /// Until it is answered.
    begun: Option<Begun>,
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
            let begun = Some(Begun { call, keep });
            Claim { memory: Arc::clone(self.memory()), begun, before }
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
pub(crate) fn acknowledge(memory: &mut Memory, floor: u64, past: Past<'_>) {
    if memory.floor() < floor {
        memory.acknowledge(floor);
        past.acknowledge(floor);
    }
}

impl Claim {
    /// Of the request's method and arguments, unless it is readonly.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.begun.and_then(|begun| begun.keep.digest())
    }

    /// The handler is done: its answer, `status ‖ body`, is kept if it must be and can be.
    pub(crate) fn finish(mut self, answer: Given<'_>) {
        if let Some(begun) = self.begun.take() {
            self.memory.lock().finish(begun, answer);
        }
    }

    /// Nothing has run, and now never will.
    pub(crate) fn refuse(mut self, answer: ShortAnswer) -> Refused {
        let begun = self.begun.take();
        let mut memory = self.memory.lock();
        match (begun, self.before) {
            (Some(begun), Before::Nothing) => {
                memory.refuse(begun, answer);
                Refused::DidNotRun
            }
            (Some(begun), Before::Ran) => {
                memory.give_up(begun);
                Refused::Stale
            }
            (None, _) => Refused::Stale,
        }
    }

    pub(crate) fn memory(&self) -> &Arc<ClientMemory> {
        &self.memory
    }

    /// Whether the answer matters to nobody once the connection is gone.
    pub(crate) fn is_readonly(&self) -> bool {
        self.begun.is_some_and(|begun| begun.keep == Keep::Nothing)
    }
}

impl Drop for Claim {
    /// The handler was dropped, or panicked where nobody answers for it.
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let mut memory = self.memory.lock();
        match begun.keep {
            Keep::Nothing => memory.finish(begun, Given::Lent(&[])),
            Keep::Answer { .. } => memory.give_up(begun),
        }
    }
}
