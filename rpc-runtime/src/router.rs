//! From a method id to the service that has it; what no service has is refused and recorded.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_acl::{self as acl, Caller, Denial, Monitor, Reason};
use bytes::Bytes;

use crate::{
    config::Limits,
    context::SessionInfo,
    dispatch::{Request, Work},
    error::{Executed, Unavailable},
    object::Names,
    proto::frame,
    reply::{self, Refusal, ReplyHeader},
    service::Service,
};

/// When a caller that found the server full may try again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Finds the method that a request names.
pub(crate) struct Router {
    services: Vec<Box<dyn Service>>,
    /// For each method id the service's position and the method's.
    methods: HashMap<u64, (usize, usize)>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) limits: Limits,
}

/// What a connection brings to each of its requests.
pub(crate) struct Connection<'a> {
    pub(crate) session: &'a Arc<SessionInfo>,
    pub(crate) caller: &'a Caller,
    pub(crate) names: &'a mut Names,
    pub(crate) peer_max_frame: u32,
    pub(crate) draining: bool,
    pub(crate) now: Instant,
}

/// Two methods have the same id on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} have the same id on the wire: rename one, or give it an `id`")]
pub struct DuplicateMethod {
    first: String,
    second: String,
}

impl Router {
    pub(crate) fn new(
        services: Vec<Box<dyn Service>>,
        monitor: Arc<Monitor>,
        limits: Limits,
    ) -> Result<Self, DuplicateMethod> {
        let mut methods = HashMap::new();
        let named = |&(service, method): &(usize, usize)| {
            let description = services[service].description();
            format!("{}.{}", description.name, description.methods[method].name)
        };
        for (service, offered) in services.iter().enumerate() {
            for (method, described) in offered.description().methods.iter().enumerate() {
                let place = (service, method);
                if let Some(taken) = methods.insert(described.id.get(), place) {
                    return Err(DuplicateMethod { first: named(&taken), second: named(&place) });
                }
            }
        }
        Ok(Self { services, methods, monitor, limits })
    }

    /// Answers a request, or begins to.
    pub(crate) fn handle(
        &self,
        frame: frame::Request<'_>,
        message: Option<&Bytes>,
        connection: &mut Connection<'_>,
        in_flight: usize,
        out: &mut Vec<u8>,
    ) -> Work {
        let header = ReplyHeader {
            call: frame.call,
            attempt: frame.attempt,
            max_frame: connection.peer_max_frame,
        };
        let place = self.methods.get(&frame.method.get());
        let refusal = if connection.draining {
            Refusal::Unavailable(Unavailable::Draining)
        } else if in_flight >= self.limits.max_calls_in_flight {
            Refusal::Overloaded { retry_after: RETRY_AFTER }
        } else if frame.remaining.is_zero() {
            Refusal::DeadlineExceeded(Executed::No)
        } else if let (Some(&(service, method)), frame::NO_FLAGS) = (place, frame.flags) {
            let service = &self.services[service];
            let method_description = &service.description().methods[method];
            let request = Request {
                header,
                frame,
                message,
                method: method_description,
                session: connection.session,
                caller: connection.caller,
                monitor: &self.monitor,
                names: connection.names,
                max_deadline: self.limits.max_deadline,
                now: connection.now,
                out,
            };
            return service.handle(method, request).into_work();
        } else {
            self.unknown_method(&frame, connection)
        };
        reply::write(header, &refusal, out);
        Work::Answered
    }

    /// Somebody tries method ids, or is newer than this server: either is worth a record.
    fn unknown_method(&self, frame: &frame::Request<'_>, connection: &Connection<'_>) -> Refusal {
        let method = frame.method.to_string();
        let call = acl::Request {
            service: "",
            method: &method,
            verb: "",
            objects: &[],
            mutating: true,
            call: frame.call,
        };
        match self.monitor.refuse(connection.caller, &call, Reason::UnknownMethod) {
            Denial::Unrecorded => Refusal::Unavailable(Unavailable::Audit),
            _ => Refusal::Unimplemented,
        }
    }
}
