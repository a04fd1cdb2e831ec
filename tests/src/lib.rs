//! Evidence about Bailiwick that needs more than one crate.
//!
//! Here is what must compile; what must hold is in `tests/`, what must not compile in `ui/`.

pub mod services;
