//! The binary as its users meet it: real processes, real keys, real ports.

mod bad_start;
mod call;
mod demo;
mod describe;
mod hammer;
mod relay;
mod serve;
mod support;
