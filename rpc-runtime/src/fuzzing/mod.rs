//! What the fuzz targets of `fuzz/` run: each function takes any bytes whatever, and panics where
//! a promise is broken.
//!
//! Tests run the committed seeds through the same functions.

mod frames;
mod server;
mod steps;

#[cfg(test)]
mod seeds;

pub use frames::{frame, request, stream};
pub use server::server;
