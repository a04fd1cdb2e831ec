//! The metrics of calls. Each method's are found once, when its server is built or its channel
//! first calls it; afterwards a call adds to them, and looks nothing up.
//!
//! Labels come from what services declare, never from the network.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::metrics::{Counter, Gauge, Histogram, IntoF64, counter, gauge, histogram};
use arc_swap::ArcSwap;
use tracing::Span;

use super::{ended::Ended, spans};
use crate::{
    clock,
    id::MethodId,
    metrics::{self as names, describe},
    reply::Refusal,
    service::{MethodDescription, Service},
};

/// What a method that nobody has declared is counted under.
const UNKNOWN: &str = "unknown";

/// All calls of a server.
pub(crate) struct ServerMeters {
    /// In the router's order.
    methods: Vec<Arc<ServerMeter>>,
    unknown: Arc<ServerMeter>,
}

/// The calls of one method, at a server.
pub(crate) struct ServerMeter {
    ended: [Counter; Ended::AT_SERVER],
    seconds: Histogram,
    at_work: Gauge,
    repeated: Counter,
}

impl ServerMeters {
    /// Of methods at these places: the service's, and the method's within it.
    pub(crate) fn of(
        services: &[Box<dyn Service>],
        places: impl Iterator<Item = (usize, usize)>,
    ) -> Self {
        describe();
        let methods = places.map(|(service, method)| {
            let described = &services[service].description().methods[method];
            Arc::new(ServerMeter::named(described.service, described.name))
        });
        let methods = methods.collect();
        Self { methods, unknown: Arc::new(ServerMeter::named(UNKNOWN, UNKNOWN)) }
    }

    /// Those of the method at this place, or of what has none.
    pub(crate) fn get(&self, index: Option<usize>) -> &Arc<ServerMeter> {
        index.and_then(|index| self.methods.get(index)).unwrap_or(&self.unknown)
    }
}

impl ServerMeter {
    fn named(service: &'static str, method: &'static str) -> Self {
        let ended = std::array::from_fn(|place| {
            let outcome = Ended::ALL[place].as_str();
            counter!(names::CALLS, "service" => service, "method" => method, "outcome" => outcome)
        });
        let seconds = histogram!(names::CALL_SECONDS, "service" => service, "method" => method);
        let at_work = gauge!(names::CALLS_IN_FLIGHT, "service" => service, "method" => method);
        let repeated = counter!(names::REPEATED, "service" => service, "method" => method);
        Self { ended, seconds, at_work, repeated }
    }

    /// A call was refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.count(refusal.into());
    }

    /// A request came that had come before.
    pub(crate) fn repeated(&self) {
        self.repeated.increment(1);
    }

    /// The handler of a call that arrived at `arrived` is over.
    pub(crate) fn ran(&self, arrived: Instant, ended: Ended) {
        self.count(ended);
        self.seconds.record(Since(arrived));
    }

    fn count(&self, ended: Ended) {
        if let Some(counter) = self.ended.get(ended as usize) {
            counter.increment(1);
        }
    }
}

/// The time since then. The clock is read only if somebody records it.
struct Since(Instant);

impl IntoF64 for Since {
    fn into_f64(self) -> f64 {
        clock::now().saturating_duration_since(self.0).as_secs_f64()
    }
}

/// A handler that was not ready at once: counted as at work until this is dropped. One that is
/// dropped without an end has met its deadline, or nobody waits for it.
pub(crate) struct AtWork {
    meter: Arc<ServerMeter>,
    arrived: Instant,
    deadline: Instant,
    span: Span,
    ended: Option<Ended>,
}

impl AtWork {
    pub(crate) fn count(
        meter: &Arc<ServerMeter>,
        arrived: Instant,
        deadline: Instant,
        span: Span,
    ) -> Self {
        meter.at_work.increment(1.0);
        Self { meter: Arc::clone(meter), arrived, deadline, span, ended: None }
    }

    /// The handler has come to its end.
    pub(crate) fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let ended = self.ended.unwrap_or_else(|| {
            if self.deadline <= clock::now() { Ended::DeadlineExceeded } else { Ended::Cancelled }
        });
        self.meter.at_work.decrement(1.0);
        self.meter.ran(self.arrived, ended);
        spans::end(&self.span, ended);
    }
}

/// The queue before one service.
pub(crate) struct QueueMeter {
    waiting: Gauge,
    seconds: Histogram,
}

impl QueueMeter {
    pub(crate) fn of(service: &'static str) -> Self {
        describe();
        Self {
            waiting: gauge!(names::CALLS_WAITING, "service" => service),
            seconds: histogram!(names::QUEUE_SECONDS, "service" => service),
        }
    }

    /// So many wait.
    pub(crate) fn waiting(&self, calls: usize) {
        self.waiting.set(u32::try_from(calls).unwrap_or(u32::MAX));
    }

    /// A call has left the queue for work.
    pub(crate) fn waited(&self, waited: Duration) {
        self.seconds.record(waited.as_secs_f64());
    }
}

/// A session is counted as open until this is dropped.
pub(crate) struct OpenSession(Gauge);

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Udp,
}

impl OpenSession {
    pub(crate) fn count(carrier: Carrier) -> Self {
        let transport = match carrier {
            Carrier::Tcp => "tcp",
            Carrier::Udp => "udp",
        };
        let open = gauge!(names::SESSIONS, "transport" => transport);
        open.increment(1.0);
        Self(open)
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The calls of a channel.
pub(crate) struct ClientMeters {
    channels: Gauge,
    /// Grows by the methods that are called. `None` if nobody records.
    methods: Option<ArcSwap<Known>>,
}

/// Methods by id, ascending.
type Known = Vec<(MethodId, Arc<ClientMeter>)>;

/// The calls of one method, at a client.
pub(crate) struct ClientMeter {
    ended: [Counter; Ended::ALL.len()],
    seconds: Histogram,
}

impl ClientMeters {
    /// Counts a channel as open until this is dropped.
    pub(crate) fn open() -> Self {
        describe();
        let channels = gauge!(names::CHANNELS);
        let mut is_recorded = false;
        channels.increment(Noticed { value: 1.0, noticed: &mut is_recorded });
        Self { channels, methods: is_recorded.then(ArcSwap::default) }
    }

    /// Those of a method that is called; `None` if nobody records.
    pub(crate) fn get(&self, method: &MethodDescription) -> Option<Arc<ClientMeter>> {
        let methods = self.methods.as_ref()?;
        let known = methods.load();
        match known.binary_search_by_key(&method.id, |(id, _)| *id) {
            Ok(place) => Some(Arc::clone(&known[place].1)),
            Err(_) => Some(Self::learn(methods, method)),
        }
    }

    #[cold]
    fn learn(methods: &ArcSwap<Known>, method: &MethodDescription) -> Arc<ClientMeter> {
        let meter = Arc::new(ClientMeter::named(method.service, method.name));
        methods.rcu(|known| {
            let mut known = Vec::clone(known);
            if let Err(place) = known.binary_search_by_key(&method.id, |(id, _)| *id) {
                known.insert(place, (method.id, Arc::clone(&meter)));
            }
            known
        });
        meter
    }
}

impl Drop for ClientMeters {
    fn drop(&mut self) {
        self.channels.decrement(1.0);
    }
}

impl ClientMeter {
    fn named(service: &'static str, method: &'static str) -> Self {
        let ended = Ended::ALL.map(|ended| {
            let outcome = ended.as_str();
            counter!(names::CLIENT_CALLS, "service" => service, "method" => method, "outcome" => outcome)
        });
        let seconds =
            histogram!(names::CLIENT_CALL_SECONDS, "service" => service, "method" => method);
        Self { ended, seconds }
    }

    /// A call that took so long is over.
    pub(crate) fn ended(&self, begun: Instant, ended: Ended) {
        if let Some(counter) = self.ended.get(ended as usize) {
            counter.increment(1);
        }
        self.seconds.record(Since(begun));
    }
}

/// A value that says whether anybody took it: what is not recorded is not converted.
struct Noticed<'a> {
    value: f64,
    noticed: &'a mut bool,
}

impl IntoF64 for Noticed<'_> {
    fn into_f64(self) -> f64 {
        *self.noticed = true;
        self.value
    }
}
