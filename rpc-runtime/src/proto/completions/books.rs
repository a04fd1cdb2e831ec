//! The completions of all durable services of a server, and what they know of one client's calls.

use std::time::{Duration, Instant};

use super::{Completions, Known, Life};
use crate::{
    error::ProtocolError,
    proto::{duplicate_requests::Memory, frame::Ranges},
};

/// The completions of all durable services of a server.
#[derive(Default)]
pub(crate) struct Books(Vec<Completions>);

/// What they know of one client's calls.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    books: &'a Books,
    life: Life,
}

impl Books {
    /// Those of all services, each of which may keep `quota` bytes of answers for a client life.
    pub(crate) fn new<'a>(all: impl Iterator<Item = &'a Completions>, quota: usize) -> Self {
        let mut books: Vec<Completions> = Vec::new();
        for book in all {
            if !books.iter().any(|known| known.is_same(book)) {
                book.set_quota(quota);
                books.push(book.clone());
            }
        }
        Self(books)
    }

    /// Names the stores of all durable services together, in whatever order they are served; zero if
    /// there are none.
    pub(crate) fn store(&self) -> [u8; 8] {
        if self.0.is_empty() {
            return [0; 8];
        }
        let mut stores: Vec<_> = self.0.iter().map(Completions::store).collect();
        stores.sort_unstable();
        let hash = blake3::hash(stores.as_flattened());
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        // Zero means none.
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1).to_be_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many services have still to read their logs.
    pub(crate) fn recovering(&self) -> usize {
        self.0.iter().filter(|book| !book.is_open()).count()
    }

    pub(crate) fn of(&self, life: Life) -> Past<'_> {
        Past { books: self, life }
    }

    /// Forgets the lives in `over`, and those that have not come back for a lease since a boot.
    pub(crate) fn expire(
        &self,
        over: &[Life],
        lease: Duration,
        now: Instant,
        is_remembered: impl Fn(&Life) -> bool,
    ) {
        for book in &self.0 {
            book.forget(over.iter());
            book.expire(lease, now, &is_remembered);
        }
    }
}

impl Past<'_> {
    /// Has `memory` take over how a call ended that it has not seen, or that was dropped at its
    /// deadline, if a log says how.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`] for a number that is too far from the floor.
    pub(crate) fn recall(&self, memory: &mut Memory, call: u64) -> Result<(), ProtocolError> {
        if self.books.0.is_empty() || !memory.is_open_question(call)? {
            return Ok(());
        }
        match self.look_up(call) {
            Known::Nothing => {}
            Known::Done(digest, answer) => memory.adopt(call, digest, &answer),
            Known::Acknowledged => memory.cancel(call),
        }
        Ok(())
    }

    fn look_up(&self, call: u64) -> Known {
        // What a log that is still being read says may not be on disk.
        let open = self.books.0.iter().filter(|book| book.is_open());
        let known = open.map(|book| book.look_up(&self.life, call));
        known.into_iter().find(|known| *known != Known::Nothing).unwrap_or(Known::Nothing)
    }

    /// The client has the answers to all calls below `floor`.
    pub(crate) fn acknowledge(&self, floor: u64) {
        for book in &self.books.0 {
            book.acknowledge(&self.life, floor);
        }
    }

    /// The client has the answers to these calls too, as (first, one behind the last).
    pub(crate) fn acknowledge_ranges(&self, ranges: &Ranges<'_>) {
        for book in &self.books.0 {
            book.acknowledge_ranges(&self.life, ranges.clone());
        }
    }
}

#[cfg(test)]
impl Past<'static> {
    /// Of a server without durable services.
    pub(crate) fn none() -> Self {
        static NONE: Books = Books(Vec::new());
        NONE.of(Life { client: [0; 32], incarnation: [0; 16] })
    }
}
