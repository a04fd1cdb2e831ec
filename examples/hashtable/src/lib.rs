//! The service of the hashtable: the contract, what keeps it, and what survives.
//!
//! The binary beside it serves and calls it.

pub mod service;
pub mod table;

#[doc(hidden)]
pub mod planted;

pub mod machine;
pub mod record;

pub mod kept;
pub mod store;
