//! What `benches/` measures of the inside; no part of the API.

use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock,
    config::Limits,
    context::Metadata,
    id::MethodId,
    marshal::{self, MarshalError, Message},
    proto::{
        duplicate_requests::{Arrival, Begun, DigestKey, Given, Keep, Memory, Via},
        frame::{self, Frame, RequestHeader},
    },
};

const METHOD: MethodId = MethodId::new(0x1234_5678_9abc_def0);

/// Appends the frame of a request with these arguments, without metadata, as a client writes it.
pub fn put_request(call: u64, arguments: &[u8], out: &mut Vec<u8>) {
    let mut rest = Vec::with_capacity(1 + arguments.len());
    frame::put_metadata(&Metadata::default(), &mut rest);
    rest.extend_from_slice(arguments);
    let remaining = Duration::from_secs(10);
    let header = RequestHeader { call, floor: call, attempt: 0, method: METHOD, remaining };
    frame::put_request(&header, &Message::Short(rest), out);
}

/// How long the arguments of a request are, from its frame without the length field; `None` if it is
/// no request.
#[must_use]
pub fn parse_request(bytes: &[u8]) -> Option<usize> {
    match Frame::parse(bytes, Limits::default().max_metadata) {
        Ok(Frame::Request(request)) => Some(request.arguments.len()),
        _ => None,
    }
}

/// Marshals as generated code does.
///
/// # Errors
///
/// [`MarshalError::Encode`].
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), MarshalError> {
    marshal::encode(value, out)
}

/// Unmarshals as generated code does.
///
/// # Errors
///
/// [`MarshalError`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MarshalError> {
    marshal::decode(bytes)
}

/// What a server remembers of a client that acknowledges each answer with its next call.
pub struct DuplicateCache {
    memory: Memory,
    digests: DigestKey,
    next: u64,
    now: Instant,
}

impl DuplicateCache {
    /// One that remembers nothing, within the default limits.
    #[must_use]
    pub fn new() -> Self {
        let memory = Memory::new(&Limits::default());
        Self { memory, digests: DigestKey::draw(), next: 0, now: clock::now() }
    }

    /// Takes the next call and keeps its answer; whether it is one to run.
    pub fn call(&mut self, arguments: &[u8], answer: &[u8]) -> bool {
        let call = self.next;
        self.next += 1;
        self.memory.acknowledge(call);
        let keep = Keep::Answer { digest: self.digests.digest(METHOD, arguments), method: 0 };
        let arrived = self.memory.arrive(call, keep, Via(0), self.now);
        self.memory.finish(Begun { call, keep }, Given::Lent(answer));
        arrived == Ok(Arrival::Begun)
    }
}

impl Default for DuplicateCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_does_what_it_says() {
        let mut frame = Vec::new();
        put_request(7, b"arguments", &mut frame);
        assert_eq!(parse_request(&frame[4..]), Some(9));
        let mut cache = DuplicateCache::new();
        assert!((0..100).all(|_| cache.call(b"arguments", b"\0answer")));
        assert_eq!(cache.next, 100);
    }
}
