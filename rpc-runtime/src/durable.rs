//! Services whose calls run exactly once, also across crashes.
#![doc = include_str!("../README.md")]

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    context::Context,
    proto::completions::Life,
    reply::{self, ReplyHeader},
};

pub use crate::proto::completions::{Completion, Completions};

/// A service that keeps what its durable methods answered.
///
/// `TableServer<T>` asks it of `T` if a method of `Table` is `durable`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has durable methods and does not say where their completions are",
    label = "`bailiwick::durable::Durable` is not implemented for it",
    note = "implement it: `fn completions(&self) -> Option<&Completions>` gives the table that the \
            log is read into, or `None` if nothing is kept, and the methods run at most once"
)]
pub trait Durable {
    /// The table of completions that the log is read into. `None` if nothing is kept: the durable
    /// methods then run at most once, and what became of their calls is forgotten in a crash.
    fn completions(&self) -> Option<&Completions>;
}

impl<T: Durable + ?Sized> Durable for Arc<T> {
    fn completions(&self) -> Option<&Completions> {
        (**self).completions()
    }
}

impl Context {
    /// That this call ran, and what it answers: for the same record of the log as its effect.
    ///
    /// The handler must then answer `result` and nothing else, and not before the record is durable.
    /// `None` if the method is not `durable`, or the service keeps nothing. A call without an effect,
    /// such as one that ends with the service's own error, needs no completion: should its answer be
    /// lost in a crash, it may decide anew.
    #[must_use]
    pub fn completion<T: Serialize, E: Serialize>(
        &self,
        result: &Result<T, E>,
    ) -> Option<Completion> {
        let arrival = self.arrival()?;
        let recorded = arrival.recorded?;
        let number = arrival.number.get();
        let max_frame = recorded.max_frame;
        let header = ReplyHeader { call: number, attempt: 0, max_frame, max_here: max_frame };
        let answer = Bytes::from(reply::answer(header, result));
        let life = Life::new(&arrival.session.client, &arrival.session.incarnation);
        let (floor, digest) = (recorded.floor, recorded.digest);
        Some(Completion { life, number, floor, digest, answer })
    }
}
