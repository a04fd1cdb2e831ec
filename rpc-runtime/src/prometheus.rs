//! A page of all metrics for Prometheus, and a health probe, over HTTP/1.1.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use ::metrics::Recorder;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time,
};

use crate::{
    metrics::{CALL_SECONDS, CLIENT_CALL_SECONDS, DURATION_BUCKETS},
    status::{ServerStatus, Status},
};

/// Connections at once; further ones are closed unread.
const MAX_CONNECTIONS: usize = 16;

/// A connection is closed after this time, whatever it does.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The longest that the head of a request may be, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How often what histograms have gathered is summed up, scraped or not.
const UPKEEP: Duration = Duration::from_secs(1);

/// After an error of `accept`, such as no free file descriptors, before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A recorder of metrics that Prometheus can scrape. Clones show the same.
///
/// ```no_run
/// # async fn serve(builder: bailiwick::ServerBuilder) -> Result<(), Box<dyn std::error::Error>> {
/// use bailiwick::metrics::Prometheus;
/// let prometheus = Prometheus::install()?; // before servers and channels are made
/// let server = builder.bind().await?;
/// let _page = prometheus.listen("127.0.0.1:9464".parse()?, server.status()).await?;
/// server.serve_until(std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Prometheus {
    handle: PrometheusHandle,
}

impl Prometheus {
    /// Installs a recorder for the whole process.
    ///
    /// # Errors
    ///
    /// [`PrometheusError::RecorderInstalled`] if the process has one already.
    pub fn install() -> Result<Self, PrometheusError> {
        let (recorder, prometheus) = Self::with_recorder();
        match ::metrics::set_global_recorder(recorder) {
            Ok(()) => Ok(prometheus),
            Err(_) => Err(PrometheusError::RecorderInstalled),
        }
    }

    /// A recorder to be installed by the caller, beside others perhaps or for one thread.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "no buckets at all is the one mistake")]
    pub fn with_recorder() -> (impl Recorder + Send + Sync + 'static, Self) {
        let builder = [CALL_SECONDS, CLIENT_CALL_SECONDS].into_iter().fold(
            PrometheusBuilder::new(),
            |builder, name| {
                let name = Matcher::Full(name.to_owned());
                builder.set_buckets_for_metric(name, &DURATION_BUCKETS).expect("there are buckets")
            },
        );
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        (recorder, Self { handle })
    }

    /// All metrics as the page shows them.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Serves `GET /metrics`, and `GET /healthz`: 200 while the server serves, and 503 while it
    /// recovers, drains or has no audit log. Anybody who reaches the address may ask; so it must be
    /// one of this machine's own.
    ///
    /// # Errors
    ///
    /// [`PrometheusError::NotLoopback`] and [`PrometheusError::Bind`].
    pub async fn listen(
        &self,
        address: SocketAddr,
        server: ServerStatus,
    ) -> Result<MetricsPage, PrometheusError> {
        if !address.ip().is_loopback() {
            return Err(PrometheusError::NotLoopback { address });
        }
        self.listen_beyond_loopback(address, server).await
    }

    /// As [`listen`](Self::listen), at any address: whoever reaches it learns the names of services
    /// and methods, and how much they are used. A warning says so where others may reach it.
    ///
    /// # Errors
    ///
    /// [`PrometheusError::Bind`].
    pub async fn listen_beyond_loopback(
        &self,
        address: SocketAddr,
        server: ServerStatus,
    ) -> Result<MetricsPage, PrometheusError> {
        if !address.ip().is_loopback() {
            tracing::warn!(
                "whoever reaches {address} may read the metrics; nobody has to prove who he is"
            );
        }
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| PrometheusError::Bind { address, source })?;
        let bound = listener.local_addr();
        let address = bound.map_err(|source| PrometheusError::Bind { address, source })?;
        let pages = Arc::new(Pages { prometheus: self.clone(), server });
        let serving = tokio::spawn(serve(listener, pages)).abort_handle();
        Ok(MetricsPage { address, serving })
    }
}

/// A page that is served until this is dropped.
#[derive(Debug)]
#[must_use = "the page is there until this is dropped"]
pub struct MetricsPage {
    address: SocketAddr,
    serving: AbortHandle,
}

impl MetricsPage {
    /// Where it is, with the port that the system chose where port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsPage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Why there is no page of metrics.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum PrometheusError {
    /// A process has one recorder.
    #[error("the process has a recorder of metrics already")]
    #[diagnostic(help(
        "install one only; `Prometheus::with_recorder` is for those who join several"
    ))]
    RecorderInstalled,
    /// Whoever reaches the page may read it.
    #[error("{address} can be reached from other machines, and the page asks nobody who he is")]
    #[diagnostic(help("take an address such as 127.0.0.1:9464, or `listen_beyond_loopback`"))]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("cannot serve metrics at {address}")]
    #[diagnostic(help("does another process have this port?"))]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

struct Pages {
    prometheus: Prometheus,
    server: ServerStatus,
}

/// Ends when it is dropped, and its connections with it.
async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let mut connections = JoinSet::new();
    let mut upkeep = time::interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = upkeep.tick() => {
                pages.prometheus.handle.run_upkeep();
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                let pages = Arc::clone(&pages);
                connections.spawn(time::timeout(MAX_TIME, answer(stream, pages)));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = pages.get(request.method(), request.uri().path());
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

impl Pages {
    fn get(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (status, body) = match path {
            _ if method != Method::GET && method != Method::HEAD => {
                (StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned())
            }
            "/metrics" => (StatusCode::OK, self.prometheus.render()),
            "/healthz" => {
                let server = self.server.server();
                let code = match server {
                    Status::Serving => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                (code, format!("{server}\n"))
            }
            _ => (StatusCode::NOT_FOUND, "/metrics or /healthz\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}
