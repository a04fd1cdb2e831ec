//! The console as a browser meets it: over HTTP, on a log that a monitor writes.

// A test that cannot go on should stop right there; clippy excepts only the test functions.
#![allow(clippy::unwrap_used)]

mod access;
mod bad_input;
mod bounds;
mod hostile;
mod live;
mod pages;
mod world;
