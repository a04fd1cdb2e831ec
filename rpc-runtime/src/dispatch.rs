//! From a request's bytes to user code, and no way round the monitor: only
//! [`Monitor::authorize`] makes a [`Grant`], and running a handler takes one.

use std::{
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};

use bailiwick_acl::{self as acl, Caller, Denial, Grant, Monitor, Reason};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tracing::{Instrument, Span};

use crate::{
    context::{Arrival, Context, Metadata, Recorded, SessionInfo},
    error::{CallError, Unavailable},
    id::CallNumber,
    marshal::{self, MarshalError},
    object::{Names, Objects},
    observe::{
        ended::Ended,
        meters::{AtWork, ServerMeter},
        spans,
    },
    overload::{Gate, Slot},
    proto::{
        claim::{Claim, Refused},
        duplicate_requests::Answered,
        frame,
        frames::Frames,
        memories::{Attached, ClientMemory},
    },
    repeat,
    reply::{self, Refusal, ReplyHeader},
    service::{Delivery, MethodDescription},
    shown::{RedactionKey, ShownArguments},
};

/// What a client is told first of how long a call will take.
const FIRST_ESTIMATE: Duration = Duration::from_millis(20);

/// A request that has arrived and not been judged: its arguments are out of reach until it is.
///
/// It is lent, since it is some hundred bytes that would be moved from step to step.
pub struct Request<'a>(pub(crate) &'a mut Asked<'a>);

/// What is known of a request, and what it needs on its way.
pub(crate) struct Asked<'a> {
    pub(crate) header: ReplyHeader,
    pub(crate) frame: &'a frame::Request<'a>,
    /// Taken out of the frame.
    pub(crate) metadata: Metadata,
    /// The frame's own allocation, if it has one.
    pub(crate) message: Option<&'a Bytes>,
    pub(crate) method: &'static MethodDescription,
    pub(crate) part: Part,
    /// Where its handler counts while it is at work, and the place that it has there already.
    pub(crate) gate: &'a Arc<Gate>,
    pub(crate) slot: Option<Slot>,
    /// The service keeps what this method answers.
    pub(crate) is_recorded: bool,
    pub(crate) memory: &'a Attached,
    pub(crate) session: &'a Arc<SessionInfo>,
    pub(crate) caller: &'a mut Caller,
    pub(crate) monitor: &'a Monitor,
    pub(crate) redaction: &'a RedactionKey,
    pub(crate) names: &'a mut Names,
    pub(crate) meter: &'a Arc<ServerMeter>,
    pub(crate) max_deadline: Duration,
    pub(crate) max_metadata: usize,
    pub(crate) news: News,
    /// When it came.
    pub(crate) arrived: Instant,
    pub(crate) now: Instant,
    /// The connection's outgoing frames.
    pub(crate) out: &'a mut Frames,
}

/// What a request that is allowed calls for.
pub(crate) enum Part {
    /// Nobody else runs the call: the handler.
    Run(Claim),
    /// It was seen before: what has become of it.
    Repeat,
}

/// When a client is told that its call is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// When it asks again.
    WhenAsked,
    /// As soon as that is clear, so that it need not ask.
    AtOnce,
}

/// A request that the monitor has judged.
#[must_use = "a request is answered by `dispatch`"]
pub struct Authorized<'a, A> {
    asked: &'a mut Asked<'a>,
    judged: Result<(Grant, A), Refusal>,
}

/// What has become of a request: answered, or still at work.
#[must_use]
pub struct Handled(Work);

pub(crate) enum Work {
    Answered,
    Pending(Pending),
}

/// An answer that was not ready at once.
pub(crate) struct Pending {
    pub(crate) header: ReplyHeader,
    pub(crate) deadline: Instant,
    pub(crate) awaits: Awaits,
    pub(crate) memory: Arc<ClientMemory>,
    /// Its place at work, if it is a handler's.
    pub(crate) slot: Option<Slot>,
    /// Gives the reply's whole frame, or nothing if the reply has gone elsewhere.
    pub(crate) frame: Pin<Box<dyn Future<Output = Frames> + Send>>,
}

/// What an answer that was not ready at once depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// A handler whose answer is kept: it outlives the connection.
    Handler,
    /// A handler that may run again.
    Readonly,
    /// A handler that another connection brought.
    Another,
}

impl<'a> Request<'a> {
    /// Decodes the arguments once, names the objects from them, and asks the monitor, which
    /// records what must be recorded before it answers.
    ///
    /// Arguments that do not decode are answered `Malformed` only to a caller who might use the
    /// verb on something; others are denied whatever they send.
    pub fn authorize<A: DeserializeOwned>(
        self,
        name: impl FnOnce(&mut Objects<'_>, &A),
    ) -> Authorized<'a, A> {
        self.authorize_showing(name, |_, _| {})
    }

    /// The same where records show some of the arguments.
    pub fn authorize_showing<A: DeserializeOwned>(
        self,
        name: impl FnOnce(&mut Objects<'_>, &A),
        show: impl FnOnce(&mut ShownArguments<'_>, &A),
    ) -> Authorized<'a, A> {
        let asked = self.0;
        let judged = match asked.decode::<A>() {
            Ok(arguments) => {
                name(&mut Objects::new(asked.names), &arguments);
                asked.names.finish();
                let mut shown = ShownArguments::new(asked.redaction);
                show(&mut shown, &arguments);
                asked.judge(&shown.texts()).map(|grant| (grant, arguments))
            }
            Err(error) => Err(asked.malformed(error)),
        };
        Authorized { asked, judged }
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) -> Handled {
        Handled(self.0.refuse(&Refusal::Unimplemented))
    }
}

impl Asked<'_> {
    fn refuse(&mut self, refusal: &Refusal) -> Work {
        let refused = match mem::replace(&mut self.part, Part::Repeat) {
            Part::Run(claim) => {
                self.meter.refused(refusal);
                claim.refuse(refusal.into())
            }
            // What ran is not told to whom it is not allowed any more, and never that it did not.
            Part::Repeat => Refused::Stale,
        };
        let answer = match refused {
            Refused::DidNotRun => refusal.into(),
            Refused::Stale => reply::IS_STALE,
        };
        reply::write_short(self.header, answer, self.out.tail());
        Work::Answered
    }

    fn decode<A: DeserializeOwned>(&self) -> Result<A, MarshalError> {
        match self.message {
            Some(message) => marshal::decode_shared(&message.slice_ref(self.frame.arguments)),
            None => marshal::decode(self.frame.arguments),
        }
    }

    fn judge(&mut self, shown: &[(&str, &str)]) -> Result<Grant, Refusal> {
        let (method, call) = (self.method, self.frame.call);
        let (monitor, names, caller) = (self.monitor, &*self.names, &mut *self.caller);
        names.with(|objects| {
            let request = acl::Request { arguments: shown, ..described(method, call, objects) };
            if names.has_bad_segment() {
                return Err(monitor.refuse(caller, &request, Reason::BadObject).into());
            }
            monitor.authorize(caller, &request).map_err(Refusal::from)
        })
    }

    fn malformed(&self, error: MarshalError) -> Refusal {
        match self.monitor.gate(self.caller, &described(self.method, self.frame.call, &[])) {
            Ok(()) => {
                tracing::debug!(method = self.method.name, %error, "arguments do not decode");
                Refusal::Malformed
            }
            Err(denial) => denial.into(),
        }
    }
}

impl<A> Authorized<'_, A> {
    /// Runs the handler if the monitor granted the call. A handler that is ready at its first
    /// poll is answered in place; another goes on beside the connection.
    pub fn dispatch<F, Fut, T, E>(self, handler: F) -> Handled
    where
        F: FnOnce(Context, A) -> Fut,
        Fut: Future<Output = Result<T, CallError<E>>> + Send + 'static,
        T: Serialize + 'static,
        E: Serialize + 'static,
    {
        Handled(match self.judged {
            Ok((grant, arguments)) => self.asked.run_or_repeat(grant, arguments, handler),
            Err(refusal) => self.asked.refuse(&refusal),
        })
    }
}

impl Asked<'_> {
    fn run_or_repeat<A, F, Fut, T, E>(&mut self, grant: Grant, arguments: A, handler: F) -> Work
    where
        F: FnOnce(Context, A) -> Fut,
        Fut: Future<Output = Result<T, CallError<E>>> + Send + 'static,
        T: Serialize + 'static,
        E: Serialize + 'static,
    {
        match mem::replace(&mut self.part, Part::Repeat) {
            Part::Run(claim) => self.run(grant, claim, arguments, handler),
            Part::Repeat => self.repeat(),
        }
    }

    /// The only way to user code; the grant is the price, and there is one claim for each call.
    fn run<A, F, Fut, T, E>(
        &mut self,
        _grant: Grant,
        claim: Claim,
        arguments: A,
        handler: F,
    ) -> Work
    where
        F: FnOnce(Context, A) -> Fut,
        Fut: Future<Output = Result<T, CallError<E>>> + Send + 'static,
        T: Serialize + 'static,
        E: Serialize + 'static,
    {
        let deadline = self.deadline();
        let span = self.open_span();
        let session = Arc::clone(self.session);
        let (floor, max_frame) = (self.frame.floor, self.header.max_frame);
        let digest = claim.digest().filter(|_| self.is_recorded);
        let recorded = digest.map(|digest| Recorded { floor, digest, max_frame });
        let arrival = Arrival { session, number: CallNumber::new(self.frame.call), recorded };
        let metadata = mem::take(&mut self.metadata);
        let context = Context::arrived(deadline, metadata, arrival);
        let header = self.header;

        let begun = {
            let _entered = span.enter();
            catch_unwind(AssertUnwindSafe(|| {
                let mut running = Box::pin(handler(context, arguments));
                // Whoever drives the handler on polls it again with a waker of its own.
                let polled = running.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
                (running, polled)
            }))
        };
        let result = match begun {
            Ok((_, Poll::Ready(result))) => result,
            Ok((running, Poll::Pending)) => {
                if self.news == News::AtOnce {
                    put_first_estimate(header, self.out.tail());
                }
                let readonly = claim.is_readonly();
                let awaits = if readonly { Awaits::Readonly } else { Awaits::Handler };
                let memory = Arc::clone(self.memory.memory());
                let at_work = AtWork::count(self.meter, self.arrived, deadline, span.clone());
                let slot = Some(self.slot.take().unwrap_or_else(|| self.gate.enter()));
                let frame = Box::pin(frame_of(header, claim, at_work, running).instrument(span));
                return Work::Pending(Pending { header, deadline, awaits, memory, slot, frame });
            }
            Err(_) => Err(CallError::Internal),
        };
        let is_kept = !claim.is_readonly();
        reply::write_result(header, &result, self.out, is_kept, |answer| {
            let ended = Ended::of_answer(answer.bytes());
            self.memory.finish(claim, answer);
            self.meter.ran(self.arrived, ended);
            spans::end(&span, ended);
        });
        Work::Answered
    }

    /// Answers a call that was seen before, now that the policy has been asked again.
    fn repeat(&mut self) -> Work {
        let (header, via) = (self.header, self.memory.via());
        let answered =
            repeat::write_standing(header, self.memory.memory(), via, self.now, self.out);
        if answered == Answered::Here {
            return Work::Answered;
        }
        let (deadline, memory) = (self.deadline(), Arc::clone(self.memory.memory()));
        let watching = repeat::watch(header, Arc::clone(&memory), via, self.now);
        let (awaits, slot, frame) = (Awaits::Another, None, Box::pin(watching));
        Work::Pending(Pending { header, deadline, awaits, memory, slot, frame })
    }

    /// The caller's deadline, within the method's and the server's bounds.
    fn deadline(&self) -> Instant {
        deadline(self.arrived, self.frame.remaining, self.method, self.max_deadline)
    }

    /// The handler's span; what it passes on stands below it.
    fn open_span(&mut self) -> Span {
        let named = (self.frame.call, self.frame.attempt);
        let metadata = &mut self.metadata;
        spans::of_handler(self.method, self.session, named, metadata, self.max_metadata)
    }
}

/// What the monitor is asked about a call.
fn described<'r>(
    method: &'static MethodDescription,
    call: u64,
    objects: &'r [&'r str],
) -> acl::Request<'r> {
    acl::Request {
        service: method.service,
        method: method.name,
        verb: method.verb,
        objects,
        mutating: method.delivery != Delivery::Readonly,
        recorded: method.recorded,
        arguments: &[],
        call,
    }
}

/// Until when a call that came at `arrived` may run.
pub(crate) fn deadline(
    arrived: Instant,
    remaining: Duration,
    method: &MethodDescription,
    max_deadline: Duration,
) -> Instant {
    let method = method.timeout.unwrap_or(max_deadline);
    arrived.checked_add(remaining.min(method).min(max_deadline)).unwrap_or(arrived)
}

/// Tells a client that its call is at work, or waits to be.
pub(crate) fn put_first_estimate(header: ReplyHeader, out: &mut Vec<u8>) {
    frame::put_working(header.call, header.attempt, FIRST_ESTIMATE, out);
}

/// The reply's frame, once the handler is done; a panic is an internal failure of this call alone.
async fn frame_of<Fut, T, E>(
    header: ReplyHeader,
    claim: Claim,
    at_work: AtWork,
    mut running: Pin<Box<Fut>>,
) -> Frames
where
    Fut: Future<Output = Result<T, CallError<E>>>,
    T: Serialize,
    E: Serialize,
{
    let result = std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
        polled.unwrap_or(Poll::Ready(Err(CallError::Internal)))
    });
    let result = result.await;
    let mut frame = Frames::default();
    let is_kept = !claim.is_readonly();
    reply::write_result(header, &result, &mut frame, is_kept, |answer| {
        at_work.end(Ended::of_answer(answer.bytes()));
        claim.finish(answer);
    });
    frame
}

impl Handled {
    pub(crate) fn into_work(self) -> Work {
        self.0
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Recorded { audit, .. } => Self::Denied(audit),
            // Nothing is answered as denied that is not on record.
            _ => Self::Unavailable(Unavailable::Audit),
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.0.method.name)
            .field("call", &self.0.frame.call)
            .finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for Authorized<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized")
            .field("method", &self.asked.method.name)
            .field("call", &self.asked.frame.call)
            .field("granted", &self.judged.is_ok())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Work::Answered => "Answered",
            Work::Pending(_) => "Pending",
        })
    }
}
