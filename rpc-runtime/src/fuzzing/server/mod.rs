//! A server's core with its router and memories, driven by whatever clients may do, and by clocks,
//! cuts and policies that change meanwhile.

mod ledger;
mod open;
mod peer;
mod service;
mod world;

use super::steps::Steps;
use world::World;

/// A sequence of operations.
///
/// # Panics
///
/// If a call that is to run at most once runs twice, an answer contradicts what ran or an earlier
/// answer, a handler outlives its deadline, or a bound of [`Limits`](crate::Limits) is passed.
pub fn server(input: &[u8]) {
    let mut steps = Steps::new(input);
    let mut world = World::new();
    while let Some(operation) = steps.next() {
        world.step(operation, &mut steps);
        world.settle();
    }
    world.end();
}
