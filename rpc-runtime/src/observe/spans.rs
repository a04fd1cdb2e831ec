//! A span for each call, at both ends: under whose span it stands, and how it ended.
//!
//! Spans are of level INFO and target [`TARGET`]. No field holds an argument, a result or a secret.

use std::fmt;

use tracing::{
    Level, Span,
    field::{DisplayValue, Empty, display},
};

use super::ended::Ended;
#[cfg(feature = "opentelemetry")]
use super::otel;
use crate::{
    context::{Metadata, SessionInfo},
    service::MethodDescription,
    trace::{SpanId, TraceContext, TraceFlags, TraceId},
};

/// What to filter spans by: `bailiwick::call=off` makes none.
const TARGET: &str = "bailiwick::call";

/// What a server's ids of its own are derived for.
const DERIVE: &str = "bailiwick 1 span of a handler";

/// Fields that only OpenTelemetry reads are only there for it.
const IS_OTEL: bool = cfg!(feature = "opentelemetry");

/// The span of a handler, and what it is called for those below it. A span that nobody listens to
/// is not free, its fields are recorded for `log`: so it is asked first whether anybody does.
pub(crate) fn of_handler(
    method: &'static MethodDescription,
    session: &SessionInfo,
    (call, attempt): (u64, u64),
    metadata: &mut Metadata,
    max_metadata: usize,
) -> Span {
    if !tracing::span_enabled!(target: TARGET, Level::INFO) {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET,
        // Whoever drives the connection is not above it; the caller is.
        parent: None,
        "handle",
        otel.kind = IS_OTEL.then_some("server"),
        otel.name = otel_name(method),
        otel.status_code = Empty,
        service = method.service,
        method = method.name,
        principal = session.principal.as_str(),
        peer = session.peer,
        call,
        outcome = Empty,
        trace_id = Empty,
        span_id = Empty,
        parent_id = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let above = TraceContext::of(metadata);
    let fresh = || derived(above.as_ref(), session, call, attempt);
    #[cfg(feature = "opentelemetry")]
    let own = otel::below(&span, above.as_ref()).unwrap_or_else(fresh);
    #[cfg(not(feature = "opentelemetry"))]
    let own = fresh();
    metadata.fit_trace(&own, max_metadata);
    name(&span, above.as_ref(), &own);
    span
}

/// The span of a call at its client, unless nobody listens; `metadata` are those of the caller's
/// context, in which it takes the place of the span above it.
#[cfg(feature = "net")]
pub(crate) fn of_call(
    method: &'static MethodDescription,
    metadata: &Metadata,
    max_metadata: usize,
) -> Option<(Span, Metadata)> {
    if !tracing::span_enabled!(target: TARGET, Level::INFO) {
        return None;
    }
    let span = tracing::info_span!(
        target: TARGET,
        "call",
        otel.kind = IS_OTEL.then_some("client"),
        otel.name = otel_name(method),
        otel.status_code = Empty,
        service = method.service,
        method = method.name,
        call = Empty,
        outcome = Empty,
        executed = Empty,
        trace_id = Empty,
        span_id = Empty,
        parent_id = Empty,
    );
    if span.is_disabled() {
        return None;
    }
    let above = TraceContext::of(metadata);
    #[cfg(feature = "opentelemetry")]
    let own = otel::beside(&span, above.as_ref()).unwrap_or_else(|| random(above.as_ref()));
    #[cfg(not(feature = "opentelemetry"))]
    let own = random(above.as_ref());
    let mut metadata = metadata.clone();
    metadata.fit_trace(&own, max_metadata);
    name(&span, above.as_ref(), &own);
    Some((span, metadata))
}

/// Says how a call ended.
pub(crate) fn end(span: &Span, ended: Ended) {
    if span.is_disabled() {
        return;
    }
    span.record("outcome", ended.as_str());
    if IS_OTEL && !ended.is_in_order() {
        span.record("otel.status_code", "ERROR");
    }
}

fn name(span: &Span, above: Option<&TraceContext>, own: &TraceContext) {
    span.record("trace_id", display(own.trace_id()));
    span.record("span_id", display(own.span_id()));
    if let Some(above) = above {
        span.record("parent_id", display(above.span_id()));
    }
}

/// A span by ids of our own. Whoever makes it looks at it.
#[cfg(feature = "net")]
fn random(above: Option<&TraceContext>) -> TraceContext {
    let flags = TraceFlags::SAMPLED.bits() | TraceFlags::RANDOM.bits();
    own(above, rand::random(), rand::random(), TraceFlags::from_bits(flags))
}

/// The same at a server, which draws no random numbers for a call: what names the call for good
/// names its span too.
fn derived(
    above: Option<&TraceContext>,
    session: &SessionInfo,
    call: u64,
    attempt: u64,
) -> TraceContext {
    let mut hasher = blake3::Hasher::new_derive_key(DERIVE);
    hasher.update(session.client.as_bytes());
    hasher.update(session.incarnation.as_bytes());
    hasher.update(&call.to_be_bytes());
    hasher.update(&attempt.to_be_bytes());
    let (mut trace, mut span, mut bytes) = ([0; 16], [0; 8], hasher.finalize_xof());
    bytes.fill(&mut trace);
    bytes.fill(&mut span);
    own(above, trace, span, TraceFlags::SAMPLED)
}

/// In the trace above, or in a new one of this id.
fn own(
    above: Option<&TraceContext>,
    trace: [u8; 16],
    span: [u8; 8],
    flags: TraceFlags,
) -> TraceContext {
    let span = SpanId::fresh(span);
    match above {
        Some(above) => above.child(span),
        None => TraceContext::new(TraceId::fresh(trace), span, flags),
    }
}

fn otel_name(method: &MethodDescription) -> Option<DisplayValue<OtelName<'_>>> {
    IS_OTEL.then(|| display(OtelName(method)))
}

/// `Table/put`, as OpenTelemetry's conventions for RPC have it.
struct OtelName<'a>(&'a MethodDescription);

impl fmt::Display for OtelName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.service, self.0.name)
    }
}
