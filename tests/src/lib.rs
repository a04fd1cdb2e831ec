//! Evidence about Bailiwick that needs more than one crate.
//!
//! Here is what must compile, and what tests stand on: a simulated world for datagrams and a relay that
//! does the same to real ones. What must hold is in `tests/`, what must not compile in `ui/`.

pub mod lab;
pub mod relay;
pub mod services;
pub mod sim;
