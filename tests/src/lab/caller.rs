//! A client and who calls through it: a plan of calls, so many at a time, and how each ended.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bailiwick::service::{Delivery, MethodDescription};
use bailiwick::simulation::{SimCall, SimClient};
use bailiwick::{CallError, CallKey, Executed, Outcome};
use serde::Serialize;

use super::probe::PROBE;
use super::recorder::RECORDER;
use crate::sim::Node;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts.
    Increment,
    /// Changes nothing.
    Read,
    /// May run again.
    Set,
    /// Carries so many bytes there and back.
    Echo(usize),
    /// Carries so many bytes back.
    Fill(u32),
    /// Counts, after so many milliseconds.
    Slow(u64),
    /// Is denied.
    Forbidden,
    /// Counts, and the server has it in a log.
    Record,
    /// The same, decided after so many milliseconds.
    RecordLate(u64),
}

/// What a caller is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The calls, in order.
    pub calls: Vec<Kind>,
    /// How many are under way at a time.
    pub outstanding: usize,
    /// How long each may take.
    pub deadline: Duration,
    /// The pause before each call, once there is room for it.
    pub pause: Duration,
}

impl Plan {
    /// So many calls of one kind, with a minute for each.
    #[must_use]
    pub fn of(kind: Kind, count: usize, outstanding: usize) -> Self {
        Self::calls(vec![kind; count], outstanding)
    }

    /// These calls, with a minute for each.
    #[must_use]
    pub fn calls(calls: Vec<Kind>, outstanding: usize) -> Self {
        Self { calls, outstanding, deadline: Duration::from_secs(60), pause: Duration::ZERO }
    }
}

/// How a call ended, as its caller was told.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it was.
    pub kind: Kind,
    /// Its name, if it got so far as to have one.
    pub key: Option<CallKey>,
    /// The number that it answered, or the length of the bytes.
    pub result: Result<u64, CallError>,
    /// What the server said later of a call that ended unknown.
    pub outcome: Option<Outcome>,
    /// How long it took.
    pub took: Duration,
}

impl Ended {
    /// Whether it ran, as the caller was told in the end.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match (&self.result, self.outcome) {
            (Ok(_), _) => Executed::Yes,
            (Err(_), Some(outcome)) => outcome.executed(),
            (Err(error), None) => error.executed(),
        }
    }
}

struct Open {
    kind: Kind,
    call: SimCall,
    ordinal: u64,
    begun: Instant,
}

/// A client and its calls.
pub struct Caller {
    client: SimClient,
    /// The ordinal of its first call: no two callers have one in common.
    first: u64,
    plan: Plan,
    begun: usize,
    not_before: Option<Instant>,
    open: Vec<Open>,
    ended: Vec<Ended>,
    /// Those in `ended` of which the server has still to say what became of them.
    asking: Vec<usize>,
    /// Calls of lives that were killed.
    abandoned: Vec<CallKey>,
}

impl Caller {
    /// The caller of its lab that has this number.
    pub(super) fn new(number: u16, client: SimClient, plan: Plan) -> Self {
        let (open, ended, asking) = (Vec::new(), Vec::new(), Vec::new());
        let (begun, not_before, abandoned) = (0, None, Vec::new());
        let first = u64::from(number) << 32;
        Self { client, first, plan, begun, not_before, open, ended, asking, abandoned }
    }

    pub(super) fn restart(&mut self, client: SimClient) {
        self.client = client;
        self.abandoned.extend(self.open.drain(..).map(|open| open.call.key()));
        self.asking.clear();
    }

    /// The client itself.
    pub fn client(&mut self) -> &mut SimClient {
        &mut self.client
    }

    /// Adds calls to the plan.
    pub fn add(&mut self, calls: impl IntoIterator<Item = Kind>) {
        self.plan.calls.extend(calls);
    }

    /// Nobody waits any more for the oldest call under way.
    pub fn cancel_oldest(&mut self) {
        if !self.open.is_empty() {
            let open = self.open.remove(0);
            self.client.cancel(&open.call);
            self.abandoned.push(open.call.key());
        }
    }

    /// How the calls ended, in the order in which they did.
    #[must_use]
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// Calls that nobody was told about: those of lives that were killed, and those cancelled.
    #[must_use]
    pub fn abandoned(&self) -> &[CallKey] {
        &self.abandoned
    }

    /// How many calls are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.open.len()
    }

    /// Whether every call of the plan has ended, and all is known that can be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.begun == self.plan.calls.len() && self.open.is_empty() && self.asking.is_empty()
    }

    fn work(&mut self, now: Instant) {
        self.collect(now);
        self.ask();
        while self.open.len() < self.plan.outstanding && self.begun < self.plan.calls.len() {
            let at = *self.not_before.get_or_insert(now + self.plan.pause);
            if at > now || !self.begin(self.plan.calls[self.begun], now) {
                return;
            }
            (self.begun, self.not_before) = (self.begun + 1, None);
        }
    }

    /// `false` if there is no room.
    fn begin(&mut self, kind: Kind, now: Instant) -> bool {
        let method = kind.method();
        let deadline = now + self.plan.deadline;
        let ordinal = self.first + self.begun as u64;
        let begun = match kind {
            Kind::Increment | Kind::Read | Kind::Forbidden | Kind::Record => {
                self.start(method, deadline, &())
            }
            Kind::Set => self.start(method, deadline, &(ordinal,)),
            Kind::Echo(length) => self.start(method, deadline, &(payload(length, ordinal),)),
            Kind::Fill(length) => self.start(method, deadline, &(length,)),
            Kind::Slow(millis) | Kind::RecordLate(millis) => {
                self.start(method, deadline, &(millis,))
            }
        };
        match begun {
            Ok(None) => return false,
            Ok(Some(call)) => self.open.push(Open { kind, call, ordinal, begun: now }),
            Err(error) => {
                let (result, took) = (Err(error), Duration::ZERO);
                self.ended.push(Ended { kind, key: None, result, outcome: None, took });
            }
        }
        true
    }

    fn start(
        &mut self,
        method: &'static MethodDescription,
        deadline: Instant,
        arguments: &impl Serialize,
    ) -> Result<Option<SimCall>, CallError> {
        self.client.begin(method, deadline, arguments)
    }

    fn collect(&mut self, now: Instant) {
        let Self { client, open, ended, asking, .. } = self;
        open.retain(|Open { kind, call, ordinal, begun }| {
            let Some(result) = kind.poll(client, call, *ordinal) else { return true };
            let unknown = matches!(&result, Err(error) if error.unknown_call().is_some());
            if unknown {
                asking.push(ended.len());
            }
            let (key, took) = (Some(call.key()), now - *begun);
            ended.push(Ended { kind: *kind, key, result, outcome: None, took });
            false
        });
    }

    /// Asks until the server has said what became of the calls that ended unknown.
    fn ask(&mut self) {
        let Self { client, ended, asking, .. } = self;
        asking.retain(|&index| {
            let Some(key) = ended[index].key else { return false };
            match client.outcome(key) {
                None | Some(Outcome::Running) => true,
                Some(outcome) => {
                    ended[index].outcome = Some(outcome);
                    false
                }
            }
        });
    }
}

/// Bytes that no other call has, from eight on; the fewer they are the more calls share them.
fn payload(length: usize, ordinal: u64) -> Vec<u8> {
    let pattern = ordinal.to_le_bytes();
    (0..length).map(|at| at.wrapping_mul(31).to_le_bytes()[0] ^ pattern[at % 8]).collect()
}

impl Kind {
    /// What may be done about a lost answer.
    #[must_use]
    pub fn delivery(self) -> Delivery {
        self.method().delivery
    }

    fn method(self) -> &'static MethodDescription {
        let index = match self {
            Self::Record => return &RECORDER.methods[0],
            Self::RecordLate(_) => return &RECORDER.methods[1],
            Self::Increment => 0,
            Self::Read => 1,
            Self::Set => 2,
            Self::Echo(_) => 3,
            Self::Fill(_) => 4,
            Self::Slow(_) => 5,
            Self::Forbidden => 6,
        };
        &PROBE.methods[index]
    }

    fn poll(
        self,
        client: &mut SimClient,
        call: &SimCall,
        ordinal: u64,
    ) -> Option<Result<u64, CallError>> {
        match self {
            Self::Echo(length) => client.poll::<Vec<u8>, _>(call).map(|result| {
                result.map(|bytes| {
                    let same = payload(length, ordinal) == bytes;
                    assert!(same, "an echo has the bytes of what it answers");
                    length as u64
                })
            }),
            Self::Set => client.poll(call).map(|result| {
                result.inspect(|value| assert_eq!(*value, ordinal, "it answers what was set"))
            }),
            Self::Fill(length) => client.poll::<Vec<u8>, _>(call).map(|result| {
                result.map(|bytes| {
                    assert_eq!(bytes, vec![7; length as usize]);
                    u64::from(length)
                })
            }),
            _ => client.poll(call),
        }
    }
}

impl Node for Caller {
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.client.handle_datagram(from, datagram, now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.work(now);
        self.client.poll_transmit(now)
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.client.next_timeout(), self.not_before].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
    }

    fn handle_too_big(&mut self, _: SocketAddr, length: usize, now: Instant) {
        self.client.handle_too_big(length, now);
    }
}
