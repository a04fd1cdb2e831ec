//! What the fuzz targets of `fuzz/` run: each function takes any bytes whatever, and panics where
//! a promise is broken.
//!
//! Tests run the committed seeds through the same functions.

mod endpoint;
mod frames;
mod link;
mod server;
mod steps;

#[cfg(test)]
mod seeds;

pub use endpoint::endpoint;
pub use frames::{frame, request, stream};
pub use link::link;
pub use server::server;

use crate::proto::joined::Joined;

fn bytes_of(frame: &Joined<'_>) -> Vec<u8> {
    match frame {
        Joined::Lent(bytes) => bytes.to_vec(),
        Joined::Owned(bytes) => bytes.to_vec(),
    }
}
