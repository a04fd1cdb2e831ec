//! A service that says whether the others can be called, under the policy like any other.
//!
//! ```text
//! # rows to copy: whoever watches may ask about the server, and about each service
//! watch | health   | read | allow
//! watch | health/* | read | allow
//! ```
//!
//! A refusal as unavailable is an answer too, and [`HealthClient`] gives it as one: a server that
//! drains runs nothing new, and one whose audit log cannot be written runs nothing at all, this
//! service included. But a server that drains takes no connections, and a channel makes a new one for
//! what it asks then: most who ask learn that nobody is there.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::{
    client::Channel,
    context::Context,
    error::{CallError, NotSent},
    service::{Handled, Request, Service, ServiceDescription, Stub},
    status::{ServerStatus, Status},
};

/// What a health service is asked. [`Health`] implements it, [`HealthClient`] asks.
#[bailiwick_macros::rpc_service(rename = "Health", crate = "crate", verb = "read")]
pub trait HealthCheck {
    /// Whether all services of the server can be called.
    #[rpc(object = "health", readonly)]
    async fn server(&self, cx: &Context) -> Result<Status, CallError>;

    /// Whether the service of this name can be called.
    #[rpc(object = "health/{service}", readonly)]
    async fn check(
        &self,
        cx: &Context,
        service: String,
    ) -> Result<Status, CallError<NoSuchService>>;
}

/// The server does not have the service that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the server has no service of this name")]
pub struct NoSuchService;

/// The health service of the server that it is added to: `.service(Health::default())`.
#[derive(Debug)]
pub struct Health {
    server: HealthCheckServer<Watching>,
    watched: Watching,
}

/// Set once the server is built.
#[derive(Clone, Debug, Default)]
struct Watching(Arc<OnceLock<ServerStatus>>);

impl Default for Health {
    fn default() -> Self {
        let watched = Watching::default();
        Self { server: HealthCheckServer::new(watched.clone()), watched }
    }
}

impl Service for Health {
    fn description(&self) -> &'static ServiceDescription {
        self.server.description()
    }

    fn handle(&self, method: usize, request: Request<'_>) -> Handled {
        self.server.handle(method, request)
    }

    fn watch(&self, server: &ServerStatus) {
        // A service is part of one server.
        let _ = self.watched.0.set(server.clone());
    }
}

impl HealthCheck for Watching {
    async fn server(&self, _: &Context) -> Result<Status, CallError> {
        self.0.get().map(ServerStatus::server).ok_or(CallError::Internal)
    }

    async fn check(
        &self,
        _: &Context,
        service: String,
    ) -> Result<Status, CallError<NoSuchService>> {
        let server = self.0.get().ok_or(CallError::Internal)?;
        server.service(&service).ok_or(CallError::App(NoSuchService))
    }
}

/// Asks a server's health service.
#[derive(Clone, Debug)]
pub struct HealthClient(HealthCheckClient);

impl HealthClient {
    /// The client that calls through `channel`.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self(HealthCheckClient::new(channel))
    }

    /// Whether all services of the server can be called.
    ///
    /// # Errors
    ///
    /// [`CallError`]: the server does not say.
    pub async fn server(&self, cx: &Context) -> Result<Status, CallError> {
        or_unavailable(self.0.server(cx).await)
    }

    /// Whether the service of this name can be called.
    ///
    /// # Errors
    ///
    /// [`NoSuchService`], and as for [`server`](Self::server).
    pub async fn check(
        &self,
        cx: &Context,
        service: impl Into<String>,
    ) -> Result<Status, CallError<NoSuchService>> {
        or_unavailable(self.0.check(cx, service.into()).await)
    }
}

impl Stub for HealthClient {
    fn from_channel(channel: Channel) -> Self {
        Self::new(channel)
    }
}

/// A server that refuses to run anything has said how it is.
fn or_unavailable<E>(answer: Result<Status, CallError<E>>) -> Result<Status, CallError<E>> {
    match answer {
        Err(CallError::Unavailable(why)) => Ok(why.into()),
        Err(CallError::NotSent(NotSent::Draining)) => Ok(Status::Draining),
        other => other,
    }
}
