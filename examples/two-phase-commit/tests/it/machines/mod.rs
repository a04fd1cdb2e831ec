//! The machines of two-phase commit: by hand, in a world that fails at every point, and in full.

mod bench;
mod clients;
mod coordinator;
mod crash_points;
mod forced;
mod host;
mod machines_model;
mod model;
mod participant;
mod random;
mod refinement;
mod rows;
mod world;
