//! From a method id to the service that has it; what no service has is refused and recorded.

use std::{
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
    id::MethodId,
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
    /// For each method id, ascending, the service's position and the method's.
    methods: Vec<(MethodId, Place)>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) limits: Limits,
}

/// A service's position, and a method's within it.
type Place = (usize, usize);

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
        let mut methods: Vec<(MethodId, Place)> = Vec::new();
        for (service, offered) in services.iter().enumerate() {
            let described = offered.description().methods.iter().enumerate();
            methods.extend(described.map(|(method, described)| (described.id, (service, method))));
        }
        methods.sort_unstable();
        if let Some([(_, first), (_, second)]) =
            methods.array_windows().find(|[(first, _), (second, _)]| first == second)
        {
            let named = |&(service, method): &Place| {
                let description = services[service].description();
                format!("{}.{}", description.name, description.methods[method].name)
            };
            return Err(DuplicateMethod { first: named(first), second: named(second) });
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
        let place = self.find(frame.method);
        let refusal = if connection.draining {
            Refusal::Unavailable(Unavailable::Draining)
        } else if in_flight >= self.limits.max_calls_in_flight {
            Refusal::Overloaded { retry_after: RETRY_AFTER }
        } else if frame.remaining.is_zero() {
            Refusal::DeadlineExceeded(Executed::No)
        } else if let (Some((service, method)), frame::NO_FLAGS) = (place, frame.flags) {
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

    fn find(&self, id: MethodId) -> Option<Place> {
        let index = self.methods.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.methods.get(index).map(|(_, place)| *place)
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
