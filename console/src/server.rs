//! The server: its parts, its address, and the bounds on who may hold it up.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use bailiwick_acl::audit::CheckpointKey;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::access::{Access, Reach, guard};
use crate::follow::Stop;
use crate::integrity::Verifier;
use crate::metrics::{self, Figures, MetricsUrl};
use crate::news::News;
use crate::policy::Watched;
use crate::refusals::Feed;
use crate::seals::Sealed;
use crate::search::MAX_SEARCHES;
use crate::token::Token;
use crate::{events, pages, record_page, suggestions};

/// Most connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// Longest time that a request may take to arrive.
const MAX_HEAD_TIME: Duration = Duration::from_secs(10);

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1_024;

/// After an error of `accept`, such as no free file descriptors, before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// What the console shows and where.
#[derive(Debug)]
pub struct Config {
    /// The audit log's active file; rotated ones are found beside it.
    pub audit: PathBuf,
    /// The key of the log's first checkpoint, if it was kept elsewhere.
    pub anchor: Option<CheckpointKey>,
    /// The policy file.
    pub policy: PathBuf,
    /// A file of further `principal` lines.
    pub principals: Option<PathBuf>,
    /// The server's metrics.
    pub metrics: Option<MetricsUrl>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// From where it may be reached.
    pub reach: Reach,
    /// Names under which the console may be asked for, beside its addresses and `localhost`.
    pub hosts: Vec<String>,
    /// What opens it.
    pub token: Token,
}

/// Why the console cannot start; each says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// Others could reach it, and nobody said that they may.
    #[error(
        "{0} can be reached from other machines, and the console speaks plain HTTP: listen on \
         127.0.0.1 and come by `ssh -L`, or say --allow-remote"
    )]
    Remote(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; give another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}; free memory or raise the limit of processes")]
    Thread(io::Error),
}

/// All that the pages show.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) audit: PathBuf,
    pub(crate) feed: Feed,
    pub(crate) chain: Arc<Verifier>,
    pub(crate) seals: Sealed,
    pub(crate) policy: Watched,
    pub(crate) metrics: Option<Arc<Mutex<Figures>>>,
    pub(crate) news: News,
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) searches: Arc<Semaphore>,
}

/// A console that serves until it is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: Stop,
    tasks: JoinSet<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for ever: the console has no end of its own.
    pub async fn wait(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.now();
    }
}

/// Starts the console.
///
/// Files that are missing or broken are shown, not refused: that is when one looks.
///
/// # Errors
///
/// [`ConsoleError`].
pub async fn start(config: Config) -> Result<Running, ConsoleError> {
    let Config { audit, anchor, policy, principals, metrics, listen, reach, hosts, token } = config;
    if !listen.ip().is_loopback() && reach == Reach::Loopback {
        return Err(ConsoleError::Remote(listen));
    }
    let cannot = |source| ConsoleError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;

    let (stop, news) = (Stop::default(), News::new());
    let mut running = Running { address, stop: stop.clone(), tasks: JoinSet::new() };
    let figures = metrics.map(|url| {
        let figures = Arc::new(Mutex::new(Figures::default()));
        running.tasks.spawn(metrics::watch(url, Arc::clone(&figures), news.clone()));
        figures
    });
    let thread = ConsoleError::Thread;
    let chain = Verifier::start(audit.clone(), stop.clone(), news.clone()).map_err(thread)?;
    let chain = Arc::new(chain);
    let console = Arc::new(Console {
        feed: Feed::start(audit.clone(), stop.clone(), news.clone()).map_err(thread)?,
        seals: Sealed::start(audit.clone(), anchor, Arc::clone(&chain), stop.clone(), news.clone())
            .map_err(thread)?,
        chain,
        policy: Watched::start(policy, principals, stop, news.clone()).map_err(thread)?,
        audit,
        metrics: figures,
        news,
        listeners: events::places(),
        searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
    });
    let access = Arc::new(Access::new(token, address.port(), reach, hosts));
    running.tasks.spawn(serve(listener, router(console, access)));
    Ok(running)
}

fn router(console: Arc<Console>, access: Arc<Access>) -> Router {
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", get(pages::overview))
        .route("/record/{seq}", get(record_page::record))
        .route("/suggest", get(suggestions::suggestions))
        .route("/policy", get(pages::policy_page))
        .route("/events", get(events::events))
        .route("/style.css", asset("text/css; charset=utf-8", include_str!("../assets/style.css")))
        .route(
            "/console.js",
            asset("text/javascript; charset=utf-8", include_str!("../assets/console.js")),
        )
        .route("/icon.svg", asset("image/svg+xml", include_str!("../assets/icon.svg")))
        .fallback(pages::not_found)
        .with_state(console)
        .layer(from_fn_with_state(access, guard))
}

/// Serves connections, a bounded number at a time.
async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _place = place;
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(MAX_HEAD_TIME)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is no concern of ours.
            let _ = served.await;
        });
    }
}
