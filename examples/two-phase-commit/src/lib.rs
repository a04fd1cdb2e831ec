//! Transactions over several servers that all happen or none does: two-phase commit, presumed abort.
//!
//! The two roles are pure machines: inputs and times go in, and what to persist, send and answer comes
//! out, in an order that is part of the protocol (Mohan, Lindsay, Obermarck 1986). [`node`] joins a
//! machine to its log; what carries messages is somebody else's.

pub mod coordinator;
pub mod judge;
pub mod ledger;
pub mod locks;
pub mod machine;
pub mod message;
pub mod node;
pub mod participant;
pub mod planted;
pub mod record;
mod timers;
pub mod txid;
