//! Metrics, as Prometheus scrapes them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ::metrics::{LocalRecorderGuard, Recorder};
use bailiwick::{
    Channel, Endpoint, Limits, MethodId, PolicyFile, Server, Status,
    metrics::{MetricsPage, Prometheus, PrometheusError},
    testing::test_identity,
};
use bailiwick_acl::audit::Memory;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    policies::Folder,
    probe::{Probe, method},
    raw::{Raw, request, request_of, request_within},
    world::{Beside, World, cx, eventually},
};

/// A recorder of this thread: what other tests count is not in it.
struct Recording {
    recorder: Box<dyn Recorder>,
    prometheus: Prometheus,
}

impl Recording {
    fn new() -> Self {
        let (recorder, prometheus) = Prometheus::with_recorder();
        Self { recorder: Box::new(recorder), prometheus }
    }

    fn begin(&self) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&*self.recorder)
    }

    async fn page(&self, world: &World) -> MetricsPage {
        let address = "127.0.0.1:0".parse().unwrap();
        self.prometheus.listen(address, world.status.clone()).await.unwrap()
    }
}

/// The status and the body of an answer.
async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn get(page: &MetricsPage, path: &str) -> (u16, String) {
    ask(page.address(), &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await
}

/// The series of a metric that are not zero, by their labels.
async fn scrape(page: &MetricsPage, name: &str) -> BTreeMap<String, f64> {
    let (status, text) = get(page, "/metrics").await;
    assert_eq!(status, 200);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let labels = series.strip_prefix(name)?;
        let value = value.parse::<f64>().unwrap();
        // Another metric's name may begin with this one's.
        let is_it = labels.is_empty() || labels.starts_with('{');
        (is_it && value != 0.0).then(|| (labels.replace('"', ""), value))
    });
    series.collect()
}

fn counts<const N: usize>(expected: [(&str, f64); N]) -> BTreeMap<String, f64> {
    expected.into_iter().map(|(labels, count)| (format!("{{{labels}}}"), count)).collect()
}

#[tokio::test]
async fn each_outcome_is_counted_once_at_both_ends() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let world = World::with_limits(Limits { max_calls_in_flight: 1, ..Limits::default() }).await;
    let page = recording.page(&world).await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    for _ in 0..3 {
        alice.echo(&cx(), "x".into()).await.unwrap();
    }
    alice.increment(&cx(), "full".into()).await.unwrap_err();
    bob.increment(&cx(), "alice".into()).await.unwrap_err();
    alice.panic_at_once(&cx()).await.unwrap_err();
    alice.panic_later(&cx()).await.unwrap_err();
    alice.brief(&cx()).await.unwrap_err();

    let mut raw = Raw::client(&world, test_identity("alice")).await;
    raw.send(&request(0, method("increment"), &[200])).await;
    assert_eq!(raw.frame().await[..4], [2, 0, 0, 6], "malformed");
    raw.send(&request(1, MethodId::new(7), &[])).await;
    assert_eq!(raw.frame().await[..4], [2, 1, 0, 5], "unimplemented");
    raw.send(&request_within(Duration::ZERO, 2, method("touch"), &[1, b'k'])).await;
    assert_eq!(raw.frame().await[..4], [2, 2, 0, 4], "too late");
    raw.send(&request(3, method("hang"), &[])).await;
    raw.send(&request(4, method("hang"), &[])).await;
    assert_eq!(raw.frame().await[..4], [2, 4, 0, 3], "overloaded");
    // What came before is told again, and counted apart.
    raw.send(&request_of(0, 0, 1, method("increment"), &[200])).await;
    assert_eq!(raw.frame().await[..4], [2, 0, 1, 6], "malformed, again");

    let in_flight = counts([("service=Probe,method=hang", 1.0)]);
    assert_eq!(scrape(&page, "bailiwick_calls_in_flight").await, in_flight);
    world.state.go.add_permits(1);
    assert_eq!(raw.frame().await[..4], [2, 3, 0, 0]);
    assert_eq!(scrape(&page, "bailiwick_calls_in_flight").await, BTreeMap::new());

    let expected = counts([
        ("service=Probe,method=echo,outcome=ok", 3.0),
        ("service=Probe,method=hang,outcome=ok", 1.0),
        ("service=Probe,method=increment,outcome=app_error", 1.0),
        ("service=Probe,method=increment,outcome=denied", 1.0),
        ("service=Probe,method=increment,outcome=malformed", 1.0),
        ("service=Probe,method=panic_at_once,outcome=internal", 1.0),
        ("service=Probe,method=panic_later,outcome=internal", 1.0),
        ("service=Probe,method=brief,outcome=deadline_exceeded", 1.0),
        ("service=Probe,method=touch,outcome=deadline_exceeded", 1.0),
        ("service=Probe,method=hang,outcome=overloaded", 1.0),
        ("service=unknown,method=unknown,outcome=unimplemented", 1.0),
    ]);
    assert_eq!(scrape(&page, "bailiwick_calls_total").await, expected);
    let repeated = counts([("service=Probe,method=increment", 1.0)]);
    assert_eq!(scrape(&page, "bailiwick_duplicate_requests_total").await, repeated);
    let ran = counts([
        ("service=Probe,method=echo", 3.0),
        ("service=Probe,method=hang", 1.0),
        ("service=Probe,method=increment", 1.0),
        ("service=Probe,method=panic_at_once", 1.0),
        ("service=Probe,method=panic_later", 1.0),
        ("service=Probe,method=brief", 1.0),
    ]);
    assert_eq!(scrape(&page, "bailiwick_call_duration_seconds_count").await, ran);
    let seconds = scrape(&page, "bailiwick_call_duration_seconds_sum").await;
    let brief = seconds["{service=Probe,method=brief}"];
    assert!((0.1..10.0).contains(&brief), "{brief} s, of a method that may take 100 ms");

    let by_clients = counts([
        ("service=Probe,method=echo,outcome=ok", 3.0),
        ("service=Probe,method=increment,outcome=app_error", 1.0),
        ("service=Probe,method=increment,outcome=denied", 1.0),
        ("service=Probe,method=panic_at_once,outcome=internal", 1.0),
        ("service=Probe,method=panic_later,outcome=internal", 1.0),
        ("service=Probe,method=brief,outcome=deadline_exceeded", 1.0),
    ]);
    assert_eq!(scrape(&page, "bailiwick_client_calls_total").await, by_clients);
    let timed = scrape(&page, "bailiwick_client_call_duration_seconds_count").await;
    assert_eq!(timed.values().sum::<f64>(), 8.0);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_counted_as_cancelled_at_both_ends() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let world = World::start().await;
    let page = recording.page(&world).await;
    let alice = world.client("alice").await;
    let cx = cx();
    {
        let hang = alice.hang(&cx);
        tokio::pin!(hang);
        tokio::select! {
            _ = &mut hang => panic!("it hangs"),
            () = eventually("it hangs", || world.state.hanging() == 1) => {}
        }
    }
    eventually("the server has heard", || world.state.hanging() == 0).await;
    let expected = counts([("service=Probe,method=hang,outcome=cancelled", 1.0)]);
    assert_eq!(scrape(&page, "bailiwick_calls_total").await, expected);
    assert_eq!(scrape(&page, "bailiwick_client_calls_total").await, expected);
}

#[tokio::test]
async fn no_peer_can_add_a_series() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let world = World::start().await;
    let page = recording.page(&world).await;
    let mut mallory = Raw::client(&world, test_identity("mallory")).await;
    mallory.send(&request(0, MethodId::new(1), &[])).await;
    mallory.frame().await;
    let count = async || get(&page, "/metrics").await.1.lines().count();
    let before = count().await;
    for first in (1..10_001).step_by(100) {
        let ids = first..first + 100;
        let ask = |call: u64| request_of(call, call, 0, MethodId::new(call << 17 | call), &[]);
        mallory.send(&ids.clone().flat_map(ask).collect::<Vec<_>>()).await;
        for _ in ids {
            mallory.frame().await;
        }
    }
    assert_eq!(count().await, before);
    let expected = counts([("service=unknown,method=unknown,outcome=unimplemented", 10_001.0)]);
    assert_eq!(scrape(&page, "bailiwick_calls_total").await, expected);
}

#[tokio::test]
async fn sessions_are_counted_while_they_last_and_refused_handshakes_by_reason() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let world = World::over_udp(Limits::default(), Beside::Tcp).await;
    let page = recording.page(&world).await;
    let (alice, _bob) = (world.client("alice").await, world.client("bob").await);
    alice.touch(&cx(), "k".into()).await.unwrap();
    let open = counts([("transport=udp", 2.0)]);
    assert_eq!(scrape(&page, "bailiwick_sessions").await, open);
    assert_eq!(scrape(&page, "bailiwick_client_channels").await[""], 2.0);
    world.channel("stranger", Limits::default()).await.unwrap_err();
    let refused = counts([("reason=unknown_principal", 1.0)]);
    assert_eq!(scrape(&page, "bailiwick_handshakes_refused_total").await, refused);
    world.end().await;
    assert_eq!(scrape(&page, "bailiwick_sessions").await, BTreeMap::new());
}

#[tokio::test]
async fn over_tcp_they_are_counted_too() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let world = World::start().await;
    let page = recording.page(&world).await;
    let alice = world.client("alice").await;
    alice.touch(&cx(), "k".into()).await.unwrap();
    assert_eq!(scrape(&page, "bailiwick_sessions").await, counts([("transport=tcp", 1.0)]));
    world.channel("stranger", Limits::default()).await.unwrap_err();
    let other = test_identity("elsewhere").public_key();
    Channel::connect(world.endpoint(), other, test_identity("alice")).await.unwrap_err();
    world.recorded("reason", "wrong_server_key").await;
    let refused = counts([("reason=unknown_principal", 1.0), ("reason=wrong_server_key", 1.0)]);
    assert_eq!(scrape(&page, "bailiwick_handshakes_refused_total").await, refused);
}

#[tokio::test]
async fn policy_and_audit_have_their_figures() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let world = World::start().await;
    let page = recording.page(&world).await;
    let loads = scrape(&page, "bailiwick_policy_loads_total").await;
    assert_eq!(loads, counts([("result=ok", 1.0)]));
    assert!(scrape(&page, "bailiwick_policy_revision").await[""] >= 1.0);
    assert_eq!(scrape(&page, "bailiwick_policy_serial").await, BTreeMap::new());
    let bob = world.client("bob").await;
    bob.increment(&cx(), "alice".into()).await.unwrap_err();
    let records = world.audit.lines().len() as f64;
    for _ in 0..100 {
        if scrape(&page, "bailiwick_audit_records_total").await.get("") == Some(&records) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scrape(&page, "bailiwick_audit_records_total").await[""], records);
    assert_eq!(scrape(&page, "bailiwick_audit_healthy").await[""], 1.0);
}

#[tokio::test]
async fn each_policy_is_counted_once_as_it_comes_into_force_or_is_refused_and_no_shadow_is() {
    let recording = Recording::new();
    let _guard = recording.begin();
    let (live, next) = (Folder::with("serial 1\n"), Folder::with("serial 1\n"));
    let builder = Server::builder(test_identity("server")).shadow_policy(next.watched());
    let file = PolicyFile::read(live.policy()).unwrap();
    let world = World::under_file(file, &[Endpoint::tcp("127.0.0.1:0")], builder).await;
    let page = recording.page(&world).await;
    let loads = async || scrape(&page, "bailiwick_policy_loads_total").await;
    assert_eq!(loads().await, counts([("result=ok", 1.0)]));
    let first = scrape(&page, "bailiwick_policy_revision").await[""];

    live.save("serial 2\n");
    world.policy.reload().await.unwrap();
    // Not changed, so not loaded.
    world.policy.reload().await.unwrap();
    assert_eq!(loads().await, counts([("result=ok", 2.0)]));
    assert_eq!(scrape(&page, "bailiwick_policy_serial").await[""], 2.0);
    assert!(scrape(&page, "bailiwick_policy_revision").await[""] > first);

    live.save("nonsense\n");
    world.policy.reload().await.unwrap_err();
    world.policy.reload().await.unwrap_err();
    let one_refused = counts([("result=ok", 2.0), ("result=refused", 1.0)]);
    assert_eq!(loads().await, one_refused);
    assert_eq!(scrape(&page, "bailiwick_policy_serial").await[""], 2.0);

    next.save("serial 9\n");
    eventually("the shadow changes", || world.records("event", "mode.change").len() == 2).await;
    next.save("nonsense\n");
    eventually("it is refused", || world.records("event", "policy.reject").len() == 2).await;
    assert_eq!(loads().await, one_refused);
    assert_eq!(scrape(&page, "bailiwick_policy_serial").await[""], 2.0);
}

#[tokio::test]
async fn a_probe_is_told_whether_the_server_can_be_called() {
    let recording = Recording::new();
    let mut world = World::start().await;
    let page = recording.page(&world).await;
    let bob = world.client("bob").await;
    assert_eq!(get(&page, "/healthz").await, (200, "serving\n".to_owned()));
    let log = world.audit.clone().into_inner();
    log.set_memory(Memory::Full);
    bob.increment(&cx(), "alice".into()).await.unwrap_err();
    assert_eq!(get(&page, "/healthz").await, (503, "audit unavailable\n".to_owned()));
    log.set_memory(Memory::Free);
    bob.increment(&cx(), "bob".into()).await.unwrap();
    assert_eq!(get(&page, "/healthz").await, (200, "serving\n".to_owned()));
    let status = world.status.clone();
    world.stop();
    eventually("it drains", || status.server() == Status::Draining).await;
    assert_eq!(get(&page, "/healthz").await, (503, "draining\n".to_owned()));
}

#[tokio::test]
async fn a_page_of_metrics_answers_what_it_has_and_stays_on_this_machine() {
    let recording = Recording::new();
    let world = World::start().await;
    let page = recording.page(&world).await;
    assert_eq!(get(&page, "/").await.0, 404);
    assert_eq!(get(&page, "/metrics/../../etc/passwd").await.0, 404);
    let (status, body) = ask(page.address(), "POST /metrics HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((status, body.as_str()), (405, "GET only\n"));
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(32 * 1024));
    assert_eq!(ask(page.address(), &long).await.0, 431);
    let beyond = "0.0.0.0:0".parse().unwrap();
    let refused = recording.prometheus.listen(beyond, world.status.clone()).await;
    assert!(matches!(refused, Err(PrometheusError::NotLoopback { .. })), "{refused:?}");
    let address = page.address();
    drop(page);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
