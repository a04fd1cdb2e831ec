//! The programs as people run them: processes, files, exit codes and words.

mod bank;
mod clients;
mod demo;
mod metrics;
mod nodes;
mod support;
