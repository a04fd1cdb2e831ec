//! Spans by ids of our own, as any subscriber sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use bailiwick::{CallError, Context};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    filter::Targets,
    layer::{self, Layer, SubscriberExt},
    registry::{LookupSpan, Registry},
};

use crate::{
    probe::{Greeter, GreeterClient, Probe},
    world::{World, cx, eventually},
};

/// The spans of calls, in the order in which they began.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<u64, Span>>>);

#[derive(Clone, Debug)]
struct Span {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl Spans {
    /// Collects those of this thread.
    fn collect() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let only_calls = Targets::new().with_target("bailiwick::call", tracing::Level::INFO);
        let layer = spans.clone().with_filter(only_calls);
        let guard = tracing::subscriber::set_default(Registry::default().with(layer));
        (spans, guard)
    }

    fn all(&self) -> Vec<Span> {
        self.0.lock().unwrap().values().cloned().collect()
    }

    /// The one span of this name of this method.
    fn one(&self, name: &str, method: &str) -> Span {
        let all = self.all();
        let found: Vec<_> =
            all.iter().filter(|span| span.name == name && span.get("method") == method).collect();
        assert_eq!(found.len(), 1, "{name} {method} in {all:#?}");
        found[0].clone()
    }
}

impl Span {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    /// Whether this span stands right below `above`.
    fn assert_below(&self, above: &Self) {
        assert_eq!(self.get("trace_id"), above.get("trace_id"), "{self:?} {above:?}");
        assert_eq!(self.get("parent_id"), above.get("span_id"), "{self:?} {above:?}");
        assert_ne!(self.get("span_id"), above.get("span_id"), "{self:?} {above:?}");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: layer::Context<'_, S>) {
        let name = attributes.metadata().name();
        let mut span = Span { name, fields: BTreeMap::new() };
        attributes.record(&mut span);
        // Ids are used again: what is over stays under a number of its own.
        let mut spans = self.0.lock().unwrap();
        let number = u64::try_from(spans.len()).unwrap() << 32 | id.into_u64() & 0xffff_ffff;
        spans.insert(number, span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: layer::Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let is_it = |number: &u64| number & 0xffff_ffff == id.into_u64() & 0xffff_ffff;
        let latest = spans.iter_mut().rev().find(|(number, _)| is_it(number));
        values.record(latest.unwrap().1);
    }
}

impl Visit for Span {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_handlers_span_stands_below_its_calls() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let alice = world.client("alice").await;
    alice.touch(&cx(), "k".into()).await.unwrap();
    alice.increment(&cx(), "hush".into()).await.unwrap();
    let (call, handle) = (spans.one("call", "increment"), spans.one("handle", "increment"));
    handle.assert_below(&call);
    assert_eq!(call.get("parent_id"), "", "a new trace");
    for span in [&call, &handle] {
        assert_eq!((span.get("service"), span.get("outcome")), ("Probe", "ok"), "{span:?}");
        assert_eq!(span.get("call"), "1", "{span:?}");
        assert_eq!((span.get("trace_id").len(), span.get("span_id").len()), (32, 16), "{span:?}");
    }
    assert_eq!(handle.get("principal"), "alice");
    assert!(handle.get("peer").starts_with("127.0.0.1:"));
    assert_ne!(call.get("trace_id"), spans.one("call", "touch").get("trace_id"));
}

#[tokio::test]
async fn no_field_holds_what_a_call_says() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let alice = world.client("alice").await;
    let told = cx().with_metadata("password", "hush");
    let _ = alice.increment(&told, "hush".into()).await;
    let _ = alice.increment(&told, "hush/hush".into()).await;
    alice.echo(&told, "hush".into()).await.unwrap();
    let all = spans.all();
    assert_eq!(all.len(), 5, "{all:#?}");
    assert!(!format!("{all:?}").contains("hush"), "{all:#?}");
    let known = BTreeSet::from([
        "call",
        "executed",
        "method",
        "otel.kind",
        "otel.name",
        "otel.status_code",
        "outcome",
        "parent_id",
        "peer",
        "principal",
        "service",
        "span_id",
        "trace_id",
    ]);
    let fields: BTreeSet<_> = all.iter().flat_map(|span| span.fields.keys().copied()).collect();
    assert!(fields.is_subset(&known), "{fields:?}");
}

#[tokio::test]
async fn what_a_handler_passes_on_stands_below_its_span() {
    let (spans, _guard) = Spans::collect();
    let (front, behind) = (World::start().await, World::start().await);
    assert!(front.state.behind.set(behind.client("alice").await).is_ok());
    front.client("alice").await.relay(&cx()).await.unwrap();
    let chain =
        [("call", "relay"), ("handle", "relay"), ("call", "remaining"), ("handle", "remaining")]
            .map(|(name, method)| spans.one(name, method));
    for [above, below] in chain.array_windows() {
        below.assert_below(above);
    }
}

#[tokio::test]
async fn a_callers_own_trace_is_joined() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let alice = world.client("alice").await;
    let traced = cx().with_metadata("traceparent", PARENT).with_metadata("tracestate", "a=1");
    let told = alice.traceparent(&traced).await.unwrap().unwrap();
    let (call, handle) = (spans.one("call", "traceparent"), spans.one("handle", "traceparent"));
    assert_eq!(call.get("trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(call.get("parent_id"), "00f067aa0ba902b7");
    handle.assert_below(&call);
    let own = format!("00-{}-{}-01", handle.get("trace_id"), handle.get("span_id"));
    assert_eq!(told, own, "the handler's context has the handler's span");
}

#[tokio::test]
async fn a_malformed_trace_is_no_error_and_a_new_one_begins() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let alice = world.client("alice").await;
    alice
        .touch(&cx().with_metadata("traceparent", PARENT.to_uppercase()), "k".into())
        .await
        .unwrap();
    let (call, handle) = (spans.one("call", "touch"), spans.one("handle", "touch"));
    assert_eq!((call.get("parent_id"), call.get("trace_id").len()), ("", 32));
    handle.assert_below(&call);
}

#[tokio::test]
async fn without_a_listener_a_trace_passes_through_untouched() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let traced = cx().with_metadata("traceparent", PARENT);
    assert_eq!(alice.traceparent(&traced).await.unwrap().as_deref(), Some(PARENT));
    assert_eq!(alice.traceparent(&cx()).await.unwrap(), None, "and none is made");
}

#[tokio::test]
async fn no_call_fails_because_its_metadata_have_no_room_for_a_trace() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let alice = world.client("alice").await;
    let full = cx().with_metadata("k", "x".repeat(4095));
    assert_eq!(alice.touch(&full, "k".into()).await, Ok(()));
    let (call, handle) = (spans.one("call", "touch"), spans.one("handle", "touch"));
    assert_ne!(call.get("trace_id"), handle.get("trace_id"), "the wire does not carry it");
}

#[tokio::test]
async fn each_span_says_how_its_call_ended() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    alice.increment(&cx(), "full".into()).await.unwrap_err();
    let (call, handle) = (spans.one("call", "increment"), spans.one("handle", "increment"));
    assert_eq!((call.get("outcome"), call.get("executed")), ("app_error", "yes"));
    assert_eq!(handle.get("outcome"), "app_error");

    bob.touch(&cx(), "k".into()).await.unwrap_err();
    let call = spans.one("call", "touch");
    assert_eq!((call.get("outcome"), call.get("executed")), ("denied", "no"));
    assert!(!spans.all().iter().any(|span| span.name == "handle" && span.get("method") == "touch"));

    alice.panic_later(&cx()).await.unwrap_err();
    assert_eq!(spans.one("handle", "panic_later").get("outcome"), "internal");

    alice.brief(&cx()).await.unwrap_err();
    assert_eq!(spans.one("call", "brief").get("outcome"), "deadline_exceeded");
    let ended = |method: &'static str| {
        let spans = spans.clone();
        move || !spans.one("handle", method).get("outcome").is_empty()
    };
    eventually("the late handler is gone", ended("brief")).await;
    assert_eq!(spans.one("handle", "brief").get("outcome"), "deadline_exceeded");

    let nobody_waits = Context::within(std::time::Duration::from_secs(20));
    {
        let hang = alice.hang(&nobody_waits);
        tokio::pin!(hang);
        tokio::select! {
            _ = &mut hang => panic!("it hangs"),
            () = eventually("it hangs", || world.state.hanging() == 1) => {}
        }
    }
    assert_eq!(spans.one("call", "hang").get("outcome"), "cancelled");
    eventually("the server has heard", ended("hang")).await;
    assert_eq!(spans.one("handle", "hang").get("outcome"), "cancelled");
}

#[tokio::test]
async fn a_proxy_of_the_same_trait_is_told_from_what_it_calls() {
    let (spans, _guard) = Spans::collect();
    let world = World::start().await;
    let channel = world.channel("alice", bailiwick::Limits::default()).await.unwrap();
    let greeted: Result<_, CallError> =
        GreeterClient::new(channel).greet(&cx(), "Bob".into()).await;
    assert_eq!(greeted.as_deref(), Ok("Good day, Bob."));
    assert_eq!(spans.one("handle", "greet").get("service"), "Greeter");
}
