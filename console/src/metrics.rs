//! The server's own figures, from its Prometheus page: calls a second, and how long they take.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::exposition::{Sample, samples};
use crate::news::News;

/// How often the page is fetched.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// How many fetches are kept: half an hour.
pub(crate) const KEPT: usize = 360;

/// Longest time for one fetch.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longest page that is read, in bytes.
const MAX_PAGE: usize = 4 << 20;

/// Where the metrics of a server are: `http://127.0.0.1:9464/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsUrl {
    address: SocketAddr,
    host: String,
    path: String,
}

/// Why a URL cannot be fetched from.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMetricsUrl {
    /// Not a URL of this kind.
    #[error("not a URL of the form http://127.0.0.1:9464/metrics")]
    Form,
    /// Not this machine: the console sends nothing elsewhere.
    #[error("`{0}` is not this machine; give 127.0.0.1, [::1] or localhost")]
    NotLoopback(String),
}

impl std::str::FromStr for MetricsUrl {
    type Err = BadMetricsUrl;

    fn from_str(text: &str) -> Result<Self, BadMetricsUrl> {
        let uri: Uri = text.parse().map_err(|_| BadMetricsUrl::Form)?;
        let authority = uri.authority().ok_or(BadMetricsUrl::Form)?;
        if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
            return Err(BadMetricsUrl::Form);
        }
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let ip = match bare {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            bare => bare.parse().ok(),
        };
        let ip = ip.filter(IpAddr::is_loopback);
        let ip = ip.ok_or_else(|| BadMetricsUrl::NotLoopback(host.to_owned()))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { address: (ip, port).into(), host: authority.to_string(), path })
    }
}

/// What one fetch told of all calls since the server started.
#[derive(Clone, Debug, Default, PartialEq)]
struct Totals {
    calls: f64,
    /// Calls that took at most so many seconds, ascending; the last bound is infinite.
    buckets: Vec<(f64, f64)>,
}

/// What happened between two fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// Calls a second.
    pub(crate) rate: f64,
    /// Seconds that half of them took at most; `None` without calls.
    pub(crate) p50: Option<f64>,
    /// Seconds that 99 of 100 took at most.
    pub(crate) p99: Option<f64>,
}

/// The figures so far.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    last: Option<(Instant, Totals)>,
    /// The newest last; `None` where the server was away.
    pub(crate) points: VecDeque<Option<Point>>,
    /// Why the last fetch failed, if it did.
    pub(crate) error: Option<String>,
}

impl Figures {
    fn take(&mut self, fetched: Result<String, String>, at: Instant) {
        let totals = fetched.and_then(|page| totals(&page));
        let point = match (&totals, &self.last) {
            (Ok(new), Some((then, old))) => point(old, new, at.duration_since(*then)),
            _ => None,
        };
        self.points.push_back(point);
        while self.points.len() > KEPT {
            self.points.pop_front();
        }
        self.last = totals.as_ref().ok().map(|totals| (at, totals.clone()));
        self.error = totals.err();
    }
}

/// Fetches the page again and again, as long as it is polled.
pub(crate) async fn watch(url: MetricsUrl, figures: Arc<Mutex<Figures>>, news: News) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let fetched = match tokio::time::timeout(TIMEOUT, fetch(&url)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no answer from {} within 2 s", url.address)),
        };
        lock(&figures).take(fetched, Instant::now());
        news.tell();
    }
}

/// Gets the page. No redirect is followed and no proxy asked.
async fn fetch(url: &MetricsUrl) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", url.address);
    let stream = TcpStream::connect(url.address).await.map_err(|error| failed(&error))?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    let get = hyper::Request::get(&url.path)
        .header(HOST, &url.host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    // Ends when `send` and the answer are dropped.
    tokio::spawn(connection);
    let answer = send.send_request(get).await.map_err(|error| failed(&error))?;
    if !answer.status().is_success() {
        return Err(failed(&format!("it answers {}", answer.status())));
    }
    let body = Limited::new(answer.into_body(), MAX_PAGE).collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    String::from_utf8(body.into()).map_err(|_| failed(&"the page is not text"))
}

/// The sums over all services and methods.
fn totals(page: &str) -> Result<Totals, String> {
    let mut totals = Totals::default();
    let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
    let mut ours = false;
    for Sample { name, labels, value } in samples(page) {
        match name {
            "bailiwick_calls_total" => totals.calls += value,
            "bailiwick_call_duration_seconds_bucket" => {
                let bound = labels.get("le").and_then(|le| le.parse::<f64>().ok());
                // The order of the bits of positive floats is that of the floats.
                let Some(bound) = bound.filter(|bound| *bound >= 0.0) else { continue };
                *buckets.entry(bound.to_bits()).or_default() += value;
            }
            name if name.starts_with("bailiwick_") => {}
            _ => continue,
        }
        ours = true;
    }
    if !ours {
        return Err("the page has no metric `bailiwick_…`; is it that of a server?".to_owned());
    }
    totals.buckets = buckets.into_iter().map(|(le, n)| (f64::from_bits(le), n)).collect();
    Ok(totals)
}

/// What happened between two sums; `None` if the server was started anew in between.
fn point(old: &Totals, new: &Totals, time: Duration) -> Option<Point> {
    let calls = new.calls - old.calls;
    if calls < 0.0 || time.is_zero() {
        return None;
    }
    // A method's first call adds its buckets.
    let before = |bound: f64| {
        let old = old.buckets.iter().find(|(le, _)| *le >= bound);
        old.map_or(0.0, |(_, count)| *count)
    };
    let counts: Vec<_> = new.buckets.iter().map(|(le, n)| (*le, n - before(*le))).collect();
    Some(Point {
        rate: calls / time.as_secs_f64(),
        p50: quantile(&counts, 0.5),
        p99: quantile(&counts, 0.99),
    })
}

/// The quantile by linear interpolation within its bucket, as Prometheus does it.
fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let (_, all) = buckets.last()?;
    let wanted = all * quantile;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted && *count > 0.0 {
            if bound.is_infinite() {
                return Some(lower);
            }
            let within = if *count > below { (wanted - below) / (count - below) } else { 1.0 };
            return Some(lower + (bound - lower) * within);
        }
        (lower, below) = (*bound, *count);
    }
    None
}

pub(crate) fn lock(figures: &Mutex<Figures>) -> MutexGuard<'_, Figures> {
    figures.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE bailiwick_calls_total counter\n\
        bailiwick_calls_total{service=\"T\",method=\"get\",outcome=\"ok\"} 90\n\
        bailiwick_calls_total{service=\"T\",method=\"put\",outcome=\"denied\"} 10\n\
        bailiwick_call_duration_seconds_bucket{method=\"get\",le=\"0.001\"} 50\n\
        bailiwick_call_duration_seconds_bucket{method=\"get\",le=\"0.01\"} 90\n\
        bailiwick_call_duration_seconds_bucket{method=\"get\",le=\"+Inf\"} 90\n";

    #[test]
    fn only_this_machine_is_asked() {
        let parse = |text: &str| text.parse::<MetricsUrl>();
        let url = parse("http://localhost:9464/metrics").unwrap();
        assert_eq!((url.address, &*url.path), ("127.0.0.1:9464".parse().unwrap(), "/metrics"));
        assert!(parse("http://[::1]:9464/").is_ok());
        for text in ["http://10.0.0.7/metrics", "http://example.org/", "http://127.0.0.1.nip.io/"] {
            assert!(matches!(parse(text), Err(BadMetricsUrl::NotLoopback(_))), "{text}");
        }
        for text in ["", "127.0.0.1:9464", "https://127.0.0.1/", "http://me@127.0.0.1/", "/metrics"]
        {
            assert_eq!(parse(text), Err(BadMetricsUrl::Form), "{text}");
        }
    }

    #[test]
    fn rates_and_quantiles_come_from_two_pages() {
        let old = totals(PAGE).unwrap();
        let new = totals(&PAGE.replace(" 90\n", " 190\n").replace(" 50\n", " 100\n")).unwrap();
        let point = point(&old, &new, Duration::from_secs(5)).unwrap();
        assert!((point.rate - 20.0).abs() < 1e-9);
        assert!((point.p50.unwrap() - 0.001).abs() < 1e-9);
        assert!((0.009..=0.01).contains(&point.p99.unwrap()));
    }

    #[test]
    fn a_server_that_started_anew_makes_a_hole_and_not_a_negative_rate() {
        let (old, new) = (totals(PAGE).unwrap(), Totals::default());
        assert_eq!(point(&old, &new, Duration::from_secs(5)), None);
    }

    #[test]
    fn a_page_of_something_else_is_told_apart() {
        let mut figures = Figures::default();
        figures.take(Ok("go_goroutines 7\n".to_owned()), Instant::now());
        assert!(figures.error.as_ref().unwrap().contains("is it that of a server?"));
        figures.take(Err("away".to_owned()), Instant::now());
        assert_eq!(figures.error.as_deref(), Some("away"));
        assert_eq!(figures.points, [None, None]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut figures = Figures::default();
        for _ in 0..KEPT + 50 {
            figures.take(Ok(PAGE.to_owned()), Instant::now());
        }
        assert_eq!(figures.points.len(), KEPT);
    }
}
