//! Spans of `tracing-opentelemetry`: their ids go over the wire, and what came over it is their
//! parent.

use opentelemetry::trace::{self as otel, SpanContext, TraceContextExt, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::trace::{SpanId, TraceContext, TraceFlags, TraceId};

/// Puts a handler's span below the one that its caller names, and says what it is called. `None` if
/// the subscriber has no layer of OpenTelemetry.
pub(super) fn below(span: &Span, above: Option<&TraceContext>) -> Option<TraceContext> {
    if let Some(above) = above {
        join(span, above);
    }
    of(span)
}

/// The same for a call. What its context says decides which trace it is in; within that trace the
/// span in which the call is made is above it.
#[cfg(feature = "net")]
pub(super) fn beside(span: &Span, above: Option<&TraceContext>) -> Option<TraceContext> {
    match (above, of(&Span::current())) {
        (Some(above), Some(current)) if current.trace_id() == above.trace_id() => {}
        (Some(above), _) => join(span, above),
        (None, _) => {}
    }
    of(span)
}

fn join(span: &Span, above: &TraceContext) {
    let flags = otel::TraceFlags::new(above.flags().bits());
    let state = above.state().and_then(|state| state.parse().ok());
    let remote = SpanContext::new(
        otel::TraceId::from_bytes(above.trace_id().to_bytes()),
        otel::SpanId::from_bytes(above.span_id().to_bytes()),
        flags,
        true,
        state.unwrap_or(TraceState::NONE),
    );
    // Fails where there is no such layer, and then nothing is to be joined.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
}

fn of(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    let trace = TraceId::from_bytes(context.trace_id().to_bytes())?;
    let own = SpanId::from_bytes(context.span_id().to_bytes())?;
    let flags = TraceFlags::from_bits(context.trace_flags().to_u8());
    Some(TraceContext::new(trace, own, flags).with_state(&context.trace_state().header()))
}
