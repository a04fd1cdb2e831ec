//! What travels with a call: its deadline, its metadata and, at the server, who calls.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_acl::Principal;
use bailiwick_crypto::PublicKey;

use crate::{
    clock,
    id::{CallKey, CallNumber, Incarnation},
    proto::{duplicate_requests::Digest, frame::MAX_METADATA_ENTRIES},
    trace::{TRACEPARENT, TRACESTATE, TraceContext},
};

/// The circumstances of one call: it cannot be made without a deadline.
///
/// A handler that passes its own context on to a further call forwards the deadline that is
/// left and the metadata (a trace context, for example).
///
/// ```
/// use std::time::Duration;
/// use bailiwick::Context;
/// let cx = Context::within(Duration::from_millis(200)).with_metadata("traceparent", "00-…");
/// assert!(cx.remaining() <= Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    deadline: Instant,
    metadata: Metadata,
    arrival: Option<Arrival>,
}

/// What only a server knows of a call.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) session: Arc<SessionInfo>,
    pub(crate) number: CallNumber,
    /// Of a durable call whose service keeps what it answers.
    pub(crate) recorded: Option<Recorded>,
}

/// What a log has to say of a durable call beside its name and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    /// The client had the answers to all calls below.
    pub(crate) floor: u64,
    pub(crate) digest: Digest,
    /// The longest frame that the client accepts.
    pub(crate) max_frame: u32,
}

/// The session a call came over; the same for all of its calls.
#[derive(Debug)]
pub(crate) struct SessionInfo {
    pub(crate) principal: Principal,
    pub(crate) client: PublicKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) peer: String,
}

impl Context {
    /// A call that must be answered within `timeout` from now. A time beyond what the clock can
    /// hold counts as thirty years.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        let now = clock::now();
        Self::until(now.checked_add(timeout).unwrap_or_else(|| far_from(now)))
    }

    /// A call that must be answered before `deadline`.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, metadata: Metadata::default(), arrival: None }
    }

    pub(crate) fn arrived(deadline: Instant, metadata: Metadata, arrival: Arrival) -> Self {
        Self { deadline, metadata, arrival: Some(arrival) }
    }

    pub(crate) fn arrival(&self) -> Option<&Arrival> {
        self.arrival.as_ref()
    }

    /// Adds a key and a value that travel with the call. A key that is there is replaced.
    ///
    /// A call whose metadata exceed [`Limits::max_metadata`](crate::Limits::max_metadata) is
    /// not sent.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The span that this call belongs to: at a server its handler's own if somebody listens to
    /// spans, and otherwise the caller's. `None` if there is none, or it is malformed.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::of(&self.metadata)
    }

    /// This context under another span.
    #[must_use]
    pub fn with_trace(mut self, trace: &TraceContext) -> Self {
        self.metadata.set_trace(trace);
        self
    }

    /// This context with at most `timeout` left.
    #[must_use]
    pub fn at_most(mut self, timeout: Duration) -> Self {
        self.deadline = self.deadline.min(Self::within(timeout).deadline);
        self
    }

    /// When the caller stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The time that is left, zero once the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(clock::now())
    }

    /// Keys and values that came with the call, or go with it.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The principal that the caller's key is bound to; `None` at a client.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.arrival.as_ref().map(|arrival| arrival.session.principal.as_str())
    }

    /// What names this call for good; `None` at a client.
    #[must_use]
    pub fn call_key(&self) -> Option<CallKey> {
        self.arrival.as_ref().map(|arrival| CallKey {
            client: arrival.session.client,
            incarnation: arrival.session.incarnation,
            number: arrival.number,
        })
    }

    /// The caller's address, as text; `None` at a client.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.arrival.as_ref().map(|arrival| arrival.session.peer.as_str())
    }
}

/// `now` and thirty years: as good as never, and safe to calculate with.
pub(crate) fn far_from(now: Instant) -> Instant {
    now + Duration::from_secs(30 * 365 * 24 * 3600)
}

/// Keys and values beside a call's arguments. Nothing in them is trusted by the policy.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// All keys and values, in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The bytes of all keys and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// Puts a span in the place of the one that may be there, unless the metadata would then be
    /// more than `max_size` bytes, or too many: no call fails because it is traced.
    pub(crate) fn fit_trace(&mut self, trace: &TraceContext, max_size: usize) {
        let mut traced = self.clone();
        traced.set_trace(trace);
        if traced.size() <= max_size && traced.0.len() <= MAX_METADATA_ENTRIES {
            *self = traced;
        }
    }

    fn set_trace(&mut self, trace: &TraceContext) {
        self.0.retain(|(key, _)| key != TRACESTATE);
        self.insert(TRACEPARENT.to_owned(), trace.to_string());
        if let Some(state) = trace.state() {
            self.insert(TRACESTATE.to_owned(), state.to_owned());
        }
    }

    pub(crate) fn insert(&mut self, key: String, value: String) {
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_too_long_for_the_clock() {
        let cx = Context::within(Duration::MAX);
        assert!(cx.remaining() > Duration::from_secs(3600));
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_no_time() {
        assert_eq!(Context::within(Duration::ZERO).remaining(), Duration::ZERO);
    }

    #[test]
    fn a_context_can_only_be_tightened() {
        let cx = Context::within(Duration::from_secs(1)).at_most(Duration::from_secs(60));
        assert!(cx.remaining() <= Duration::from_secs(1));
    }

    #[test]
    fn a_span_takes_the_place_of_the_one_before_with_all_that_is_its_own() {
        let cx = Context::within(Duration::ZERO)
            .with_metadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .with_metadata("tracestate", "a=1");
        let above = cx.trace().unwrap();
        assert_eq!(above.state(), Some("a=1"));
        let plain = TraceContext::new(above.trace_id(), above.span_id(), above.flags());
        let cx = cx.with_trace(&plain);
        assert_eq!((cx.trace(), cx.metadata().iter().len()), (Some(plain), 1));
    }

    #[test]
    fn a_span_that_does_not_fit_the_metadata_is_left_out() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::parse(parent, None).unwrap();
        for (max_size, fits) in [(67, true), (66, false)] {
            let mut metadata = Metadata::default();
            metadata.insert("k".to_owned(), String::new());
            metadata.fit_trace(&trace, max_size);
            assert_eq!(TraceContext::of(&metadata).is_some(), fits, "{max_size}");
        }
        let mut full = Metadata::default();
        (0..MAX_METADATA_ENTRIES).for_each(|n| full.insert(n.to_string(), String::new()));
        full.fit_trace(&trace, 4096);
        assert_eq!(full.iter().len(), MAX_METADATA_ENTRIES);
        assert_eq!(TraceContext::of(&full), None);
    }

    #[test]
    fn a_repeated_key_is_replaced() {
        let cx = Context::within(Duration::ZERO).with_metadata("a", "1").with_metadata("a", "2");
        assert_eq!(cx.metadata().get("a"), Some("2"));
        assert_eq!(cx.metadata().size(), 2);
    }
}
