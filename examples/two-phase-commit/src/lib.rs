//! Transactions over several servers that all happen or none does: two-phase commit, presumed abort.
