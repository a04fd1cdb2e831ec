//! What a client's frame does at a server, whatever carried it: from a method id to the service
//! that has it, past what was asked before; what no service has is refused and recorded.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_acl::{self as acl, Caller, Denial, Monitor, Reason};
use bytes::Bytes;

use crate::{
    clock,
    config::Limits,
    context::{Metadata, SessionInfo},
    dispatch::{Asked, News, Part, Pending, Request, Work},
    error::{Executed, ProtocolError, Unavailable},
    id::MethodId,
    object::Names,
    observe::meters::{ServerMeter, ServerMeters},
    overload::{Class, Gate, Now, Parked, Slot},
    proto::{
        claim::{self, Claim, Refused, Turn},
        completions::{Books, Life, Past},
        duplicate_requests::{Digest, DigestKey, Keep},
        frame::{self, Frame, MemoryId},
        frames::Frames,
        joined::Joined,
        memories::Attached,
        udp::sessions::SessionId,
    },
    reply::{self, Refusal, ReplyHeader},
    service::{Delivery, MethodDescription, Recorded, Service},
    shown::RedactionKey,
    status::ServerStatus,
};

mod waiting; // requests that find all places at work taken

/// When a caller that asks for what no service has may try again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Finds the method that a request names.
pub(crate) struct Router {
    services: Vec<Box<dyn Service>>,
    /// For each method id, ascending, the service's position and the method's.
    methods: Vec<(MethodId, Place)>,
    pub(crate) monitor: Arc<Monitor>,
    /// Marks the arguments that records show by marks.
    redaction: Arc<RedactionKey>,
    pub(crate) limits: Limits,
    /// What its durable services have done.
    pub(crate) books: Books,
    /// Names their stores; zero if there are none.
    store: [u8; 8],
    digests: DigestKey,
    meters: ServerMeters,
    /// The services', in their order.
    gates: Vec<Arc<Gate>>,
    pub(crate) status: ServerStatus,
}

/// A service's position, and a method's within it.
type Place = (usize, usize);

/// A method that a service here has.
struct Found<'a> {
    service: &'a dyn Service,
    gate: &'a Arc<Gate>,
    /// Its position in the service's description.
    method: usize,
    described: &'static MethodDescription,
    /// Its position among the methods of all services.
    index: usize,
}

/// Whether a service can tell what it ran before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// It is reading its log.
    Recovering,
}

impl Phase {
    fn of(found: Option<&Found<'_>>) -> Self {
        match found.and_then(|found| found.service.durable()) {
            Some(book) if !book.is_open() => Self::Recovering,
            _ => Self::Serving,
        }
    }
}

/// What a connection brings to each of its requests.
pub(crate) struct Connection<'a> {
    pub(crate) session: &'a Arc<SessionInfo>,
    pub(crate) caller: &'a mut Caller,
    pub(crate) names: &'a mut Names,
    pub(crate) memory: &'a Attached,
    /// What the client is told of this server beside the memory's id.
    pub(crate) tcp_port: u16,
    /// The longest frame that the client accepts, and the longest that this transport carries.
    pub(crate) max_frame: u32,
    pub(crate) max_here: u32,
    /// How many calls may wait for an answer, and how many do.
    pub(crate) max_in_flight: usize,
    pub(crate) in_flight: usize,
    /// Those of them that wait for a place at work, and whose session this is among theirs.
    pub(crate) parked: &'a mut Parked,
    pub(crate) origin: Option<SessionId>,
    pub(crate) news: News,
    pub(crate) draining: bool,
    /// When what is handled now was read, and how long ago that is.
    pub(crate) arrived: Instant,
    pub(crate) late: Duration,
    pub(crate) now: Instant,
}

/// What a frame leaves to whoever drives the connection.
#[must_use]
pub(crate) enum Received {
    Done,
    /// A handler to drive on.
    Pending(Pending),
    /// The call waits for a place at work. `more` unless it waited there before.
    Parked {
        more: bool,
    },
    /// The client no longer waits for this call.
    Cancelled(u64),
    /// A service is reading its log, and before that nothing true can be said of what may have run.
    /// Nothing was done; the client must ask again.
    Unanswered,
}

/// Two methods have the same id on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} have the same id on the wire: rename one, or give it an `id`")]
pub struct DuplicateMethod {
    first: String,
    second: String,
}

impl Router {
    pub(crate) fn new(
        services: Vec<Box<dyn Service>>,
        monitor: Arc<Monitor>,
        redaction: Arc<RedactionKey>,
        limits: Limits,
    ) -> Result<Self, DuplicateMethod> {
        let mut methods: Vec<(MethodId, Place)> = Vec::new();
        for (service, offered) in services.iter().enumerate() {
            let described = offered.description().methods.iter().enumerate();
            methods.extend(described.map(|(method, described)| (described.id, (service, method))));
        }
        methods.sort_unstable();
        if let Some([(_, first), (_, second)]) =
            methods.array_windows().find(|[(first, _), (second, _)]| first == second)
        {
            let named = |&(service, method): &Place| {
                let description = services[service].description();
                format!("{}.{}", description.name, description.methods[method].name)
            };
            return Err(DuplicateMethod { first: named(first), second: named(second) });
        }
        let durable = services.iter().filter_map(|service| service.durable());
        let books = Books::new(durable, limits.max_kept_answers);
        let store = if keep_all(&services) { books.store() } else { [0; 8] };
        let meters = ServerMeters::of(&services, methods.iter().map(|&(_, place)| place));
        let gates = gates(&services, &limits, &(Arc::new(clock::now) as Now));
        let status = ServerStatus::of(&services, &monitor);
        services.iter().for_each(|service| service.watch(&status));
        let digests = DigestKey::draw();
        Ok(Self {
            services,
            methods,
            monitor,
            redaction,
            limits,
            books,
            store,
            digests,
            meters,
            gates,
            status,
        })
    }

    /// Has queues live by another clock. Nothing may have been received.
    #[cfg(feature = "simulation")]
    pub(crate) fn keep_time(&mut self, now: &Now) {
        self.gates = gates(&self.services, &self.limits, now);
    }

    /// Calls that wait for a place at work, of all services.
    #[cfg(feature = "simulation")]
    pub(crate) fn waiting(&self) -> usize {
        self.gates.iter().map(|gate| gate.waiting()).sum()
    }

    /// What a client is told of the memory that this server has of it. `tcp_port` is where it takes
    /// connections over TCP, 0 for nowhere.
    pub(crate) fn memory_id(&self, memory: &Attached, tcp_port: u16) -> MemoryId {
        MemoryId { id: memory.id(), tcp_port, store: self.store, lease: self.limits.lease }
    }

    /// Does what one whole frame of a client's asks for; answers are appended to `out`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: the client broke the protocol, and nothing of the frame was done.
    pub(crate) fn receive(
        &self,
        frame: &Joined<'_>,
        connection: &mut Connection<'_>,
        out: &mut Frames,
    ) -> Result<Received, ProtocolError> {
        if let Some(request) = frame::Request::of_frame(frame.bytes(), self.limits.max_metadata) {
            return self.handle(&mut request?, frame, connection, out);
        }
        match Frame::parse(frame.bytes(), self.limits.max_metadata)? {
            Frame::Cancel { call } => {
                connection.memory.lock().cancel(call);
                return Ok(Received::Cancelled(call));
            }
            Frame::Acknowledge { floor, ranges } => {
                let (mut memory, past) = (connection.memory.lock(), self.past(connection));
                claim::acknowledge(&mut memory, floor, past);
                past.acknowledge_ranges(&ranges);
                memory.acknowledge_ranges(ranges);
            }
            Frame::WhichMemory => {
                let memory = self.memory_id(connection.memory, connection.tcp_port);
                frame::put_memory(memory, out.tail());
            }
            Frame::Inquire { call } => {
                let mut memory = connection.memory.lock();
                self.past(connection).recall(&mut memory, call)?;
                if self.books.recovering() > 0 && memory.is_new(call)? {
                    return Ok(Received::Unanswered);
                }
                frame::put_outcome(call, memory.inquire(call)?, out.tail());
            }
            Frame::Ping { token } => frame::put_pong(token, out.tail()),
            Frame::Pong { .. } | Frame::Stream { .. } => {}
            // The first was taken above.
            Frame::Request(_)
            | Frame::Reply(_)
            | Frame::Working { .. }
            | Frame::GoAway
            | Frame::Memory(_)
            | Frame::Outcome { .. } => return Err(ProtocolError::Direction),
        }
        Ok(Received::Done)
    }

    /// Answers a request, or begins to. What ran or was refused before is not touched by what the
    /// server would take anew.
    fn handle(
        &self,
        frame: &mut frame::Request<'_>,
        whole: &Joined<'_>,
        connection: &mut Connection<'_>,
        out: &mut Frames,
    ) -> Result<Received, ProtocolError> {
        // The handler's, while the rest is only read.
        let metadata = mem::take(&mut frame.metadata);
        let frame = &*frame;
        let header = connection.reply_to(frame);
        let found = self.find(frame.method).filter(|_| frame.flags == frame::NO_FLAGS);
        let keep = self.keep(found.as_ref(), frame);
        let (now, past) = (connection.now, self.past(connection));
        let phase = Phase::of(found.as_ref());
        if phase == Phase::Recovering
            && frame.attempt > 0
            && keep != Keep::Nothing
            && connection.memory.is_new(frame.call, frame.floor, past)?
        {
            return Ok(Received::Unanswered);
        }
        let meter = self.meters.get(found.as_ref().map(|found| found.index));
        let part = match connection.memory.arrive(frame.call, frame.floor, keep, past, now)? {
            Turn::Mine(claim) => match self.limit(found.as_ref(), frame, phase, connection) {
                None => match found.as_ref().filter(|found| !found.is_open()) {
                    None => Part::Run(claim),
                    Some(found) => {
                        return Ok(self.wait(found, claim, frame, whole, connection, out));
                    }
                },
                Some(refusal) => return Ok(refuse(claim, &refusal, meter, header, out.tail())),
            },
            Turn::Full(claim) => {
                let refusal = overloaded(found.as_ref());
                return Ok(refuse(claim, &refusal, meter, header, out.tail()));
            }
            Turn::Repeated => {
                meter.repeated();
                Part::Repeat
            }
            Turn::Short(answer) => {
                meter.repeated();
                reply::write_short(header, answer, out.tail());
                return Ok(Received::Done);
            }
            Turn::Stale => {
                meter.repeated();
                reply::write_short(header, reply::IS_STALE, out.tail());
                return Ok(Received::Done);
            }
            Turn::FalseRetry => {
                let reason = Reason::FalseRetry;
                let denial = self.record(found.as_ref(), frame, connection, reason);
                let refusal = denial.into();
                meter.refused(&refusal);
                reply::write(header, &refusal, out.tail());
                return Ok(Received::Done);
            }
        };
        let Some(found) = found else {
            match part {
                Part::Run(claim) => {
                    let refusal = self.unknown_method(frame, connection);
                    return Ok(refuse(claim, &refusal, meter, header, out.tail()));
                }
                // The same request without the flags was a call.
                Part::Repeat => reply::write_short(header, reply::IS_STALE, out.tail()),
            }
            return Ok(Received::Done);
        };
        let arrived = connection.arrived;
        let (message, turn) = (whole.shared(), (part, None, arrived));
        Ok(self.run(&found, (frame, metadata), message, turn, connection, out))
    }

    /// Asks the policy, and runs the handler or says what it has done before.
    ///
    /// Inlined, so that what is asked for is put together once, where it stays.
    /// A call that has waited brings its place at work.
    #[inline(always)]
    fn run(
        &self,
        found: &Found<'_>,
        (frame, metadata): (&frame::Request<'_>, Metadata),
        message: Option<&Bytes>,
        (part, slot, arrived): (Part, Option<Slot>, Instant),
        connection: &mut Connection<'_>,
        out: &mut Frames,
    ) -> Received {
        let is_recorded =
            found.described.delivery == Delivery::Durable && found.service.durable().is_some();
        let mut asked = Asked {
            header: connection.reply_to(frame),
            frame,
            metadata,
            message,
            method: found.described,
            part,
            gate: found.gate,
            slot,
            is_recorded,
            memory: connection.memory,
            session: connection.session,
            caller: connection.caller,
            monitor: &self.monitor,
            redaction: &self.redaction,
            names: connection.names,
            meter: self.meters.get(Some(found.index)),
            max_deadline: self.limits.max_deadline,
            max_metadata: self.limits.max_metadata,
            news: connection.news,
            arrived,
            now: connection.now,
            out,
        };
        match found.service.handle(found.method, Request(&mut asked)).into_work() {
            Work::Answered => Received::Done,
            Work::Pending(pending) => Received::Pending(pending),
        }
    }

    /// Why nothing new begins at the moment.
    fn limit(
        &self,
        found: Option<&Found<'_>>,
        frame: &frame::Request<'_>,
        phase: Phase,
        connection: &Connection<'_>,
    ) -> Option<Refusal> {
        if connection.draining {
            Some(Refusal::Unavailable(Unavailable::Draining))
        } else if phase == Phase::Recovering {
            Some(Refusal::Unavailable(Unavailable::Recovering))
        } else if connection.in_flight >= connection.max_in_flight {
            Some(overloaded(found))
        } else if frame.remaining <= connection.late {
            // The caller left while the request waited behind others that were read with it.
            Some(Refusal::DeadlineExceeded(Executed::No))
        } else {
            None
        }
    }

    fn keep(&self, found: Option<&Found<'_>>, frame: &frame::Request<'_>) -> Keep {
        let (method, delivery) = match found {
            Some(found) => (found.index, found.described.delivery),
            None => (self.methods.len(), Delivery::AtMostOnce),
        };
        let digest = match delivery {
            Delivery::Readonly => return Keep::Nothing,
            Delivery::Durable => Digest::of(frame.method, frame.arguments),
            Delivery::AtMostOnce | Delivery::Idempotent => {
                self.digests.digest(frame.method, frame.arguments)
            }
        };
        Keep::Answer { digest, method }
    }

    /// What the durable services know of this client's calls.
    fn past(&self, connection: &Connection<'_>) -> Past<'_> {
        let SessionInfo { client, incarnation, .. } = &**connection.session;
        self.books.of(Life::new(client, incarnation))
    }

    #[inline(always)]
    fn find(&self, id: MethodId) -> Option<Found<'_>> {
        let index = self.methods.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, (service, method)) = *self.methods.get(index)?;
        let gate = self.gates.get(service)?;
        let service = &*self.services[service];
        let described = &service.description().methods[method];
        Some(Found { service, gate, method, described, index })
    }

    /// Somebody tries method ids, or is newer than this server: either is worth a record.
    fn unknown_method(&self, frame: &frame::Request<'_>, connection: &Connection<'_>) -> Refusal {
        match self.record(None, frame, connection, Reason::UnknownMethod) {
            Denial::Unrecorded => Refusal::Unavailable(Unavailable::Audit),
            _ => Refusal::Unimplemented,
        }
    }

    /// Puts on record what never reaches the policy. A method that nobody has stands there as
    /// its id.
    fn record(
        &self,
        found: Option<&Found<'_>>,
        frame: &frame::Request<'_>,
        connection: &Connection<'_>,
        reason: Reason,
    ) -> Denial {
        let id = frame.method.to_string();
        let (service, method, verb, delivery) = match found {
            Some(Found { described: it, .. }) => (it.service, it.name, it.verb, it.delivery),
            None => ("", &*id, "", Delivery::AtMostOnce),
        };
        let mutating = delivery != Delivery::Readonly;
        let (recorded, objects, arguments) = (Recorded::AsTheServerSays, &[], &[]);
        let call = frame.call;
        let call =
            acl::Request { service, method, verb, objects, mutating, recorded, arguments, call };
        self.monitor.refuse(connection.caller, &call, reason)
    }
}

impl Connection<'_> {
    fn reply_to(&self, frame: &frame::Request<'_>) -> ReplyHeader {
        let Self { max_frame, max_here, .. } = *self;
        ReplyHeader { call: frame.call, attempt: frame.attempt, max_frame, max_here }
    }
}

impl Found<'_> {
    fn class(&self) -> Class {
        Class::of(self.described.reserve)
    }

    /// Whether a call of it may begin now.
    fn is_open(&self) -> bool {
        self.gate.is_open(self.class())
    }
}

fn gates(services: &[Box<dyn Service>], limits: &Limits, now: &Now) -> Vec<Arc<Gate>> {
    let services = services.iter().map(|service| service.description().name);
    services.map(|name| Arc::new(Gate::new(name, limits, Arc::clone(now)))).collect()
}

/// There is no room for a call; it says when there may be some.
#[cold]
fn overloaded(found: Option<&Found<'_>>) -> Refusal {
    let retry_after = found.map_or(RETRY_AFTER, |found| found.gate.retry_after());
    Refusal::Overloaded { retry_after }
}

/// Whether all durable methods keep what they answered. A client knows one name for all stores, and
/// would have a call of a method that keeps nothing run again.
fn keep_all(services: &[Box<dyn Service>]) -> bool {
    let is_durable = |method: &MethodDescription| method.delivery == Delivery::Durable;
    services.iter().all(|service| {
        service.durable().is_some() || !service.description().methods.iter().any(is_durable)
    })
}

/// Refuses what nobody has run, and has it remembered.
fn refuse(
    claim: Claim,
    refusal: &Refusal,
    meter: &ServerMeter,
    header: ReplyHeader,
    out: &mut Vec<u8>,
) -> Received {
    meter.refused(refusal);
    let answer = match claim.refuse(refusal.into()) {
        Refused::DidNotRun => refusal.into(),
        Refused::Stale => reply::IS_STALE,
    };
    reply::write_short(header, answer, out);
    Received::Done
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
