//! The programs as people run them: processes, files, exit codes and words.

mod bank;
mod clients;
mod config; // nodes from files of settings
mod demo;
mod failing_fsync;
mod metrics;
mod nodes;
mod support;
#[path = "../../../../testing/tools.rs"]
mod tools; // that may be missing
