//! The commands of two-phase commit.

fn main() {}
