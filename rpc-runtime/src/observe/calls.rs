//! A channel's call as it is seen: from when it is made until it is over, or nobody waits for it.

use std::{sync::Arc, time::Instant};

use tracing::Span;

use super::{
    ended::{self, Ended},
    meters::{ClientMeter, ClientMeters},
    spans,
};
use crate::{
    clock,
    context::{Context, Metadata},
    error::CallError,
    id::CallNumber,
    service::MethodDescription,
};

/// A call that is under way. One that is dropped without an end is cancelled.
pub(crate) struct ObservedCall {
    meter: Option<(Arc<ClientMeter>, Instant)>,
    span: Span,
    /// With the call's own span, if it has one.
    metadata: Option<Metadata>,
}

impl ObservedCall {
    /// `None` if nobody looks. In a box, so that a call that nobody looks at is small.
    pub(crate) fn begin(
        meters: &ClientMeters,
        method: &'static MethodDescription,
        cx: &Context,
        max_metadata: usize,
    ) -> Option<Box<Self>> {
        let meter = meters.get(method).map(|meter| (meter, clock::now()));
        let (span, metadata) = match spans::of_call(method, cx.metadata(), max_metadata) {
            Some((span, metadata)) => (span, Some(metadata)),
            None if meter.is_none() => return None,
            None => (Span::none(), None),
        };
        Some(Box::new(Self { meter, span, metadata }))
    }

    /// What travels with the call instead of what its context says, if that is to be more.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// The call has a number.
    pub(crate) fn numbered(&self, call: CallNumber) {
        if self.metadata.is_some() {
            self.span.record("call", call.get());
        }
    }

    /// The call is over.
    pub(crate) fn end<T, E>(mut self, result: &Result<T, CallError<E>>) {
        if self.metadata.is_some()
            && let Err(error) = result
        {
            self.span.record("executed", ended::executed(error.executed()));
        }
        self.over(Ended::of_result(result));
    }

    fn over(&mut self, ended: Ended) {
        if let Some((meter, begun)) = self.meter.take() {
            meter.ended(begun, ended);
        }
        spans::end(&self.span, ended);
        self.span = Span::none();
    }
}

impl Drop for ObservedCall {
    fn drop(&mut self) {
        if self.meter.is_some() || !self.span.is_none() {
            self.over(Ended::Cancelled);
        }
    }
}
