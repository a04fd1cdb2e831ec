//! The programs as people run them: processes, files, exit codes and words.

// A test that cannot go on has failed.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod bank;
mod clients;
mod demo;
mod nodes;
mod support;
