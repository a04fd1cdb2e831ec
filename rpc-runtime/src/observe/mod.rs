//! What is seen of calls from outside: how they end, as numbers and as spans.
//!
//! Both cost next to nothing while nobody looks: without a recorder a counter is a branch, and
//! without a subscriber a span is one load.

pub(crate) mod ended;
pub(crate) mod meters;
pub(crate) mod spans;

#[cfg(feature = "net")]
pub(crate) mod calls;
#[cfg(feature = "opentelemetry")]
mod otel;
