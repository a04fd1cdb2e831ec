//! The runtime's promises, tested through what users and peers see of it.
#![allow(clippy::unwrap_used, reason = "a test that fails stops where it fails")]

mod counter; // a durable service
mod policies; // a folder whose policy changes
mod probe; // the services that are called
mod raw; // a peer that builds its records by hand
mod relay; // a stretch of network that breaks where a test likes
mod udp_relay; // the same for datagrams
mod world; // a server, its policy and its clients

mod attacks; // what somebody with a key of their own tries
mod calls; // what a call is, its limits included
mod cuts; // what is known of a call whose connection was cut
mod delivery; // a call that comes again
mod denials; // what never reaches a handler, and what goes on record
mod drain; // how a server ends
mod durable; // a call that comes again after a crash
mod fake_server; // a server that breaks the protocol
mod floods; // many connections
mod lazy; // channels that connect with their first call
mod modes; // who is forgiven, and what a shadow would say
mod observe; // what is seen of calls: spans, metrics, health
mod outcomes; // every failure, and whether the call ran
mod overload; // more calls than a server can run
mod reconnect; // what a channel does between two connections
mod redaction; // what records show of arguments
mod reload; // a policy that changes under a server
mod reloads; // many changes under many calls
mod revoked; // a key that is taken away
mod signed; // a policy that must be signed
mod stalls; // a peer that stops in the middle of anything
mod startup; // what keeps a server from starting
mod udp; // calls over UDP
mod walk; // a session cut after each of its bytes
mod wire; // a client that breaks the protocol
mod witness; // checkpoints on another server
