//! What is seen of calls from outside.

mod health;
#[cfg(feature = "prometheus")]
mod metrics;
#[cfg(feature = "opentelemetry")]
mod otel;
mod spans;
