//! Whether a server can be called: what health checks and probes are told.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bailiwick_acl::Monitor;
use serde::{Deserialize, Serialize};

use crate::{durable::Completions, error::Unavailable, service::Service};

/// Whether a server, or one service of it, can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Status {
    /// It can.
    Serving,
    /// A service is reading its log after a restart, and refuses new calls until it has.
    Recovering,
    /// The audit log cannot be written: nothing runs unrecorded.
    AuditUnavailable,
    /// The server is shutting down.
    Draining,
}

impl Status {
    /// `serving`, `recovering`, `audit unavailable` or `draining`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Recovering => "recovering",
            Self::AuditUnavailable => "audit unavailable",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Unavailable> for Status {
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::Audit => Self::AuditUnavailable,
            Unavailable::Draining => Self::Draining,
            Unavailable::Recovering => Self::Recovering,
        }
    }
}

/// Watches one server; clones watch the same. After the server's end it is draining for ever.
#[derive(Clone)]
pub struct ServerStatus(Arc<Watched>);

struct Watched {
    monitor: Arc<Monitor>,
    services: Vec<(&'static str, Option<Completions>)>,
    is_draining: AtomicBool,
}

impl ServerStatus {
    pub(crate) fn of(services: &[Box<dyn Service>], monitor: &Arc<Monitor>) -> Self {
        let named = services
            .iter()
            .map(|service| (service.description().name, service.durable().cloned()))
            .collect();
        let (monitor, is_draining) = (Arc::clone(monitor), AtomicBool::new(false));
        Self(Arc::new(Watched { monitor, services: named, is_draining }))
    }

    /// The whole server: serving if all of its services are.
    #[must_use]
    pub fn server(&self) -> Status {
        self.status_of(self.0.services.iter())
    }

    /// The service of this name; `None` if the server does not have it.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Status> {
        let found = self.0.services.iter().find(|(known, _)| *known == name)?;
        Some(self.status_of([found].into_iter()))
    }

    pub(crate) fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    fn status_of<'a>(
        &self,
        mut services: impl Iterator<Item = &'a (&'static str, Option<Completions>)>,
    ) -> Status {
        let is_recovering = |past: &Completions| !past.is_open();
        if self.0.is_draining.load(Ordering::Relaxed) {
            Status::Draining
        } else if !self.0.monitor.audit().is_healthy() {
            Status::AuditUnavailable
        } else if services.any(|(_, past)| past.as_ref().is_some_and(is_recovering)) {
            Status::Recovering
        } else {
            Status::Serving
        }
    }
}

impl fmt::Debug for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerStatus").field(&self.server()).finish()
    }
}
