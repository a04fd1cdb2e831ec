//! What a server remembers of one client's calls, so that none runs twice and no answer is lost
//! or contradicted (delivery.md, "States of a call at the server").
//!
//! ```text
//! new -> at work -> kept answer | lost answer | may run again (readonly) | late
//!     -> refused, fenced                    each until the floor passes it, or as stale once
//!                                           it is acknowledged or cancelled
//! ```

use std::{
    collections::VecDeque,
    task::Waker,
    time::{Duration, Instant},
};

use slab::Slab;

use super::frame::{SPAN, WireOutcome};
use crate::{config::Limits, error::ProtocolError};

mod arrival; // what is asked, and what is said
mod digest; // what arguments are known by
mod kept; // answers, and their quota

pub(crate) use arrival::{
    Answered, Arrival, Begun, Given, Keep, ShortAnswer, Standing, Via, Watch,
};
pub(crate) use digest::{Digest, DigestKey};
use kept::{Kept, KeptAnswers};

/// Handlers that one client may have at once, also those that it does not wait for any more.
const MAX_RUNNING: usize = 4096;

/// How long until it is worth asking again for a call at work: as long as it has taken so far,
/// within these bounds.
const ESTIMATE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

pub(crate) struct Memory {
    /// All calls below are acknowledged.
    floor: u64,
    /// For each number from the floor on what is known of it.
    window: VecDeque<Entry>,
    records: Slab<Record>,
    answers: KeptAnswers,
    /// Calls that somebody runs, also those that nobody asks for any more.
    running: usize,
    /// Something has come since [`rest`](Self::rest) was last called.
    touched: bool,
}

/// Four bytes a number, which is all that most numbers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    New,
    /// Acknowledged or cancelled.
    Stale,
    /// It had not come when the client asked what became of it.
    Fenced,
    /// Readonly and done.
    RunAgain,
    /// [`SPAN`] numbers have no more records than this counts.
    Record(u16),
}

struct Record {
    /// A readonly call has none.
    digest: Option<Digest>,
    state: State,
}

enum State {
    AtWork {
        since: Instant,
        via: Via,
        /// Bytes set aside for the answer.
        reserve: usize,
        watcher: Option<(Via, Waker)>,
    },
    Kept(Kept),
    Lost,
    /// It did not run, and never will.
    Refused(ShortAnswer),
    /// It was dropped at its deadline: nobody knows how far it came.
    Late(ShortAnswer),
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            floor: 0,
            window: VecDeque::new(),
            records: Slab::new(),
            answers: KeptAnswers::new(limits.max_kept_answers),
            running: 0,
            touched: false,
        }
    }

    /// The client has the answers to all calls below `floor`, and asks for them no more. A floor
    /// never falls.
    pub(crate) fn acknowledge(&mut self, floor: u64) {
        while self.floor < floor {
            let Some(entry) = self.window.pop_front() else {
                self.floor = floor;
                break;
            };
            self.floor += 1;
            self.drop_record(entry);
        }
    }

    /// The client has the answers to these calls too, as (first, one behind the last).
    pub(crate) fn acknowledge_ranges(&mut self, ranges: impl Iterator<Item = (u64, u64)>) {
        let end = self.floor.saturating_add(SPAN);
        for (first, behind) in ranges {
            for call in first.max(self.floor)..behind.min(end) {
                self.cancel(call);
            }
        }
    }

    /// All calls below are acknowledged.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether nothing is known of a call but perhaps that it was dropped at its deadline.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`] for a number that is too far from the floor.
    pub(crate) fn is_open_question(&mut self, call: u64) -> Result<bool, ProtocolError> {
        Ok(match self.entry(call)? {
            Some(Entry::New) => true,
            Some(Entry::Record(at)) => {
                let at = usize::from(*at);
                matches!(self.records[at].state, State::Late(_))
            }
            _ => false,
        })
    }

    /// Whether nothing at all is known of a call.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`] for a number that is too far from the floor.
    pub(crate) fn is_new(&mut self, call: u64) -> Result<bool, ProtocolError> {
        Ok(matches!(self.entry(call)?, Some(Entry::New)))
    }

    /// A log says that an open question ran, and what it answered.
    pub(crate) fn adopt(&mut self, call: u64, digest: Digest, answer: &[u8]) {
        if !self.is_open_question(call).unwrap_or(false) {
            return;
        }
        let state = self.answers.keep(Given::Lent(answer)).map_or(State::Lost, State::Kept);
        let at = self.records.insert(Record { digest: Some(digest), state });
        match u16::try_from(at) {
            Ok(at) => self.replace(call, Entry::Record(at)),
            // As many records as numbers: not to be reached.
            Err(_) => self.replace(call, Entry::Stale),
        }
    }

    /// A request has come over the connection `via`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`] for a number that is too far from the floor.
    pub(crate) fn arrive(
        &mut self,
        call: u64,
        keep: Keep,
        via: Via,
        now: Instant,
    ) -> Result<Arrival, ProtocolError> {
        let digest = keep.digest();
        let Some(place) = self.place(call)? else { return Ok(Arrival::Stale) };
        let at = match self.window[place] {
            Entry::Stale | Entry::Fenced => return Ok(Arrival::Stale),
            Entry::New => return Ok(self.begin(place, keep, via, now)),
            Entry::RunAgain if digest.is_some() => return Ok(Arrival::FalseRetry),
            Entry::RunAgain => {
                self.window[place] = self.put_to_work(None, 0, via, now);
                return Ok(Arrival::Again);
            }
            Entry::Record(at) => usize::from(at),
        };
        let record = &mut self.records[at];
        Ok(match &mut record.state {
            _ if record.digest != digest => Arrival::FalseRetry,
            // The other connection may be gone, and what it runs for nobody.
            State::AtWork { via: before, .. } if digest.is_none() && *before != via => {
                *before = via;
                self.running += 1;
                Arrival::Again
            }
            State::Refused(answer) | State::Late(answer) => Arrival::Short(*answer),
            State::AtWork { .. } | State::Kept(_) | State::Lost => Arrival::Repeated,
        })
    }

    fn begin(&mut self, place: usize, keep: Keep, via: Via, now: Instant) -> Arrival {
        let reserve = match keep {
            _ if self.running >= MAX_RUNNING => None,
            Keep::Nothing => Some(0),
            Keep::Answer { method, .. } => self.answers.set_aside(method),
        };
        self.window[place] = self.put_to_work(keep.digest(), reserve.unwrap_or(0), via, now);
        if reserve.is_some() { Arrival::Begun } else { Arrival::Full }
    }

    fn put_to_work(
        &mut self,
        digest: Option<Digest>,
        reserve: usize,
        via: Via,
        now: Instant,
    ) -> Entry {
        let state = State::AtWork { since: now, via, reserve, watcher: None };
        let at = self.records.insert(Record { digest, state });
        self.running += 1;
        u16::try_from(at).map_or(Entry::Stale, Entry::Record)
    }

    /// The handler is done: its answer, `status ‖ body`, is kept if it must be and can be.
    pub(crate) fn finish(&mut self, begun: Begun, answer: Given<'_>) {
        self.running -= 1;
        let Keep::Answer { method, .. } = begun.keep else {
            return self.leave(begun.call, Entry::RunAgain);
        };
        self.answers.learn(method, answer.bytes().len());
        if let Some(at) = self.conclude(begun.call, State::Lost) {
            self.records[at].state = self.answers.keep(answer).map_or(State::Lost, State::Kept);
        }
    }

    /// The call is refused before anything ran, and that is final.
    pub(crate) fn refuse(&mut self, begun: Begun, answer: ShortAnswer) {
        self.running -= 1;
        self.conclude(begun.call, State::Refused(answer));
    }

    /// Nothing is known of the call any more but that it never runs again.
    pub(crate) fn give_up(&mut self, begun: Begun) {
        self.running -= 1;
        self.leave(begun.call, Entry::Stale);
    }

    /// The handler's deadline has passed; it is about to be dropped.
    pub(crate) fn expire(&mut self, call: u64, answer: ShortAnswer) {
        self.conclude(call, State::Late(answer));
    }

    /// Has the record of a call at work say how it ended, unless the client has dropped it
    /// meanwhile.
    fn conclude(&mut self, call: u64, state: State) -> Option<usize> {
        let at = self.at_work(call)?;
        let before = std::mem::replace(&mut self.records[at].state, state);
        self.drop_state(before);
        Some(at)
    }

    /// Leaves a mark of a call at work, unless the client has dropped it meanwhile.
    fn leave(&mut self, call: u64, mark: Entry) {
        if self.at_work(call).is_some() {
            self.replace(call, mark);
        }
    }

    /// Where the record of a call at work is.
    fn at_work(&self, call: u64) -> Option<usize> {
        let index = usize::try_from(call.checked_sub(self.floor)?).ok()?;
        let Entry::Record(at) = *self.window.get(index)? else { return None };
        let at = usize::from(at);
        matches!(self.records[at].state, State::AtWork { .. }).then_some(at)
    }

    /// How a call stands that was asked for again over `via`. If it is at work elsewhere, the
    /// answer belongs to `via` from now on.
    pub(crate) fn look_at(&mut self, call: u64, via: Via, now: Instant) -> Standing<'_> {
        let at = match self.entry(call) {
            Ok(Some(Entry::Record(at))) => usize::from(*at),
            // It was done since the request came, and the answer is under way.
            Ok(Some(Entry::RunAgain)) => {
                return Standing::AtWork { estimate: ESTIMATE.0, answered: Answered::Here };
            }
            _ => return Standing::Stale,
        };
        match &mut self.records[at].state {
            State::AtWork { since, via: runner, watcher, .. } => {
                let watches = watcher.as_ref().map(|(via, _)| *via);
                let answered = if *runner == via || watches == Some(via) {
                    Answered::Here
                } else {
                    if let Some((_, before)) = watcher.replace((via, Waker::noop().clone())) {
                        before.wake();
                    }
                    Answered::Elsewhere
                };
                let so_far = now.saturating_duration_since(*since);
                Standing::AtWork { estimate: so_far.clamp(ESTIMATE.0, ESTIMATE.1), answered }
            }
            State::Kept(answer) => Standing::Kept(answer.bytes()),
            State::Lost => Standing::Lost,
            State::Refused(answer) | State::Late(answer) => Standing::Short(*answer),
        }
    }

    /// Has `waker` woken once a call that is at work elsewhere is done.
    pub(crate) fn watch(&mut self, call: u64, via: Via, waker: &Waker) -> Watch {
        let Some(at) = self.at_work(call) else { return Watch::Over };
        match &mut self.records[at].state {
            State::AtWork { watcher: Some((watching, registered)), .. } if *watching == via => {
                registered.clone_from(waker);
                Watch::Waiting
            }
            _ => Watch::Superseded,
        }
    }

    /// The client no longer waits: whatever it was, it never runs again.
    pub(crate) fn cancel(&mut self, call: u64) {
        if let Ok(Some(_)) = self.entry(call) {
            self.replace(call, Entry::Stale);
        }
    }

    /// What became of a call, as far as is known. One that has not come is fenced: it never runs.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CallNumber`] for a number that is too far from the floor.
    pub(crate) fn inquire(&mut self, call: u64) -> Result<WireOutcome, ProtocolError> {
        let at = match self.entry(call)? {
            None | Some(Entry::Stale) => return Ok(WireOutcome::NotKnown),
            Some(entry @ (Entry::New | Entry::Fenced)) => {
                *entry = Entry::Fenced;
                return Ok(WireOutcome::Fenced);
            }
            Some(Entry::RunAgain) => return Ok(WireOutcome::Ran),
            Some(Entry::Record(at)) => usize::from(*at),
        };
        Ok(match self.records[at].state {
            State::AtWork { .. } => WireOutcome::AtWork,
            State::Kept(_) | State::Lost => WireOutcome::Ran,
            State::Refused(_) => WireOutcome::Fenced,
            State::Late(_) => WireOutcome::NotKnown,
        })
    }

    /// Bytes that kept answers cost, and that calls at work have set aside.
    #[cfg(feature = "simulation")]
    pub(crate) fn used(&self) -> usize {
        self.answers.used()
    }

    /// Whether nobody runs a call of this client.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0
    }

    /// Gives memory back, if nothing has come since the last time.
    pub(crate) fn rest(&mut self) {
        if std::mem::take(&mut self.touched) {
            return;
        }
        self.answers.rest();
        let mut packed = Slab::with_capacity(self.records.len());
        for entry in &mut self.window {
            if let Entry::Record(at) = entry
                && let Some(record) = self.records.try_remove(usize::from(*at))
            {
                // As many records as before have numbers as small as before.
                *entry = u16::try_from(packed.insert(record)).map_or(Entry::Stale, Entry::Record);
            }
        }
        self.records = packed;
        self.window.shrink_to_fit();
        self.touched = false;
    }

    /// What is known of a call; `None` if it is below the floor.
    fn entry(&mut self, call: u64) -> Result<Option<&mut Entry>, ProtocolError> {
        Ok(self.place(call)?.map(|place| &mut self.window[place]))
    }

    /// Where in the window that is, which reaches there afterwards.
    fn place(&mut self, call: u64) -> Result<Option<usize>, ProtocolError> {
        self.touched = true;
        let Some(ahead) = call.checked_sub(self.floor) else { return Ok(None) };
        let index = usize::try_from(ahead).ok().filter(|_| ahead < SPAN);
        let index = index.ok_or(ProtocolError::CallNumber)?;
        if self.window.len() <= index {
            self.window.resize(index + 1, Entry::New);
        }
        Ok(Some(index))
    }

    fn replace(&mut self, call: u64, entry: Entry) {
        if let Ok(Some(place)) = self.entry(call) {
            let before = std::mem::replace(place, entry);
            self.drop_record(before);
        }
    }

    fn drop_record(&mut self, entry: Entry) {
        if let Entry::Record(at) = entry {
            let record = self.records.remove(at.into());
            self.drop_state(record.state);
        }
    }

    fn drop_state(&mut self, state: State) {
        match state {
            State::Kept(answer) => self.answers.free(answer),
            State::AtWork { reserve, watcher, .. } => {
                self.answers.give_back(reserve);
                // Whoever watches shall look.
                if let Some((_, waker)) = watcher {
                    waker.wake();
                }
            }
            State::Lost | State::Refused(_) | State::Late(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "duplicate_requests_tests.rs"]
mod tests;
