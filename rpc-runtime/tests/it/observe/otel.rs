//! Spans of OpenTelemetry, as an exporter gets them.

use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Instrument as _, subscriber::DefaultGuard};
use tracing_subscriber::{
    filter::Targets, layer::Layer as _, layer::SubscriberExt, registry::Registry,
};

use crate::{
    probe::Probe,
    world::{World, cx},
};

/// Exports this thread's spans.
fn export() -> (InMemorySpanExporter, SdkTracerProvider, DefaultGuard) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let only_calls = Targets::new()
        .with_target("bailiwick::call", tracing::Level::INFO)
        .with_target("user", tracing::Level::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let layer = layer.with_filter(only_calls);
    let guard = tracing::subscriber::set_default(Registry::default().with(layer));
    (exporter, provider, guard)
}

/// The one span of this name and kind.
fn one(exporter: &InMemorySpanExporter, name: &str, kind: &SpanKind) -> SpanData {
    let all = exporter.get_finished_spans().unwrap();
    let mut found = all.iter().filter(|span| span.name == name && span.span_kind == *kind);
    let one = found.next().unwrap_or_else(|| panic!("{name} {kind:?} in {all:#?}"));
    assert!(found.next().is_none(), "{name} {kind:?} in {all:#?}");
    one.clone()
}

fn assert_below(below: &SpanData, above: &SpanData) {
    assert_eq!(below.span_context.trace_id(), above.span_context.trace_id());
    assert_eq!(below.parent_span_id, above.span_context.span_id());
}

#[tokio::test]
async fn a_call_and_its_handler_are_one_trace_across_a_connection() {
    let (exporter, _provider, _guard) = export();
    let world = World::start().await;
    let alice = world.client("alice").await;
    let user = tracing::info_span!(target: "user", "order");
    alice.touch(&cx(), "k".into()).instrument(user).await.unwrap();
    let order = one(&exporter, "order", &SpanKind::Internal);
    let call = one(&exporter, "Probe/touch", &SpanKind::Client);
    let handle = one(&exporter, "Probe/touch", &SpanKind::Server);
    assert_below(&call, &order);
    assert_below(&handle, &call);
    assert!(handle.parent_span_is_remote && !call.parent_span_is_remote);
    assert_eq!((call.status, handle.status), (Status::Unset, Status::Unset));
}

#[tokio::test]
async fn what_a_handler_passes_on_is_exported_below_it() {
    let (exporter, _provider, _guard) = export();
    let (front, behind) = (World::start().await, World::start().await);
    assert!(front.state.behind.set(behind.client("alice").await).is_ok());
    front.client("alice").await.relay(&cx()).await.unwrap();
    let chain = [
        ("Probe/relay", SpanKind::Client),
        ("Probe/relay", SpanKind::Server),
        ("Probe/remaining", SpanKind::Client),
        ("Probe/remaining", SpanKind::Server),
    ];
    let chain = chain.map(|(name, kind)| one(&exporter, name, &kind));
    for [above, below] in chain.array_windows() {
        assert_below(below, above);
    }
}

#[tokio::test]
async fn the_trace_of_a_context_is_joined_where_it_is_not_that_of_the_span_around() {
    let (exporter, _provider, _guard) = export();
    let world = World::start().await;
    let alice = world.client("alice").await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = cx().with_metadata("traceparent", parent).with_metadata("tracestate", "a=1");
    let user = tracing::info_span!(target: "user", "another");
    let told = alice.traceparent(&traced).instrument(user).await.unwrap().unwrap();
    let call = one(&exporter, "Probe/traceparent", &SpanKind::Client);
    let handle = one(&exporter, "Probe/traceparent", &SpanKind::Server);
    assert_eq!(call.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(call.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_below(&handle, &call);
    assert_eq!(handle.span_context.trace_state().header(), "a=1");
    let own = handle.span_context.span_id().to_string();
    assert!(told.contains(&own), "{told} {own}");
}

#[tokio::test]
async fn a_call_that_is_refused_is_an_error_and_one_that_says_no_is_not() {
    let (exporter, _provider, _guard) = export();
    let world = World::start().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    bob.touch(&cx(), "k".into()).await.unwrap_err();
    alice.increment(&cx(), "full".into()).await.unwrap_err();
    alice.panic_at_once(&cx()).await.unwrap_err();
    let status = |name, kind| one(&exporter, name, &kind).status;
    assert_eq!(status("Probe/touch", SpanKind::Client), Status::error(""));
    assert_eq!(status("Probe/increment", SpanKind::Client), Status::Unset);
    assert_eq!(status("Probe/increment", SpanKind::Server), Status::Unset);
    assert_eq!(status("Probe/panic_at_once", SpanKind::Server), Status::error(""));
}
