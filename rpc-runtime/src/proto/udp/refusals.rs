//! Handshakes that were turned away, for the audit log: summed up by address and reason, so that
//! a flood between two readings costs no memory.

use std::net::{IpAddr, SocketAddr};

use bailiwick_crypto::HandshakeError;

/// Different addresses and reasons between two readings.
const MAX_LISTED: usize = 64;

/// Some handshakes that failed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Where the first of them came from; nobody has shown to be there.
    pub(crate) from: SocketAddr,
    /// What it is called on record.
    pub(crate) reason: &'static str,
    /// How many there were.
    pub(crate) count: u64,
}

/// What has been refused since the last reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) listed: Vec<Refusal>,
    /// Further ones, from more addresses than are listed.
    pub(crate) unlisted: u64,
}

impl Refusals {
    pub(crate) fn add(&mut self, from: SocketAddr, reason: &'static str) {
        let alike = |refusal: &&mut Refusal| {
            address(refusal.from) == address(from) && refusal.reason == reason
        };
        if let Some(refusal) = self.listed.iter_mut().find(alike) {
            refusal.count += 1;
        } else if self.listed.len() < MAX_LISTED {
            self.listed.push(Refusal { from, reason, count: 1 });
        } else {
            self.unlisted += 1;
        }
    }
}

/// Ports do not tell hosts apart, and are free to whoever floods.
fn address(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}

/// What a failed handshake is called on record. The client is told nothing.
pub(crate) fn reason(error: &HandshakeError) -> &'static str {
    match error {
        HandshakeError::NotAddressed => "wrong_server_key",
        HandshakeError::UnsupportedVersion(_) => "unsupported_version",
        HandshakeError::UnsupportedSuite(_) => "unsupported_suite",
        HandshakeError::LowOrderShare => "low_order_share",
        HandshakeError::Box => "box_does_not_open",
        HandshakeError::Key(_) => "weak_key",
        HandshakeError::Signature => "bad_signature",
        HandshakeError::Finished => "bad_finished",
        _ => "malformed_handshake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], port))
    }

    #[test]
    fn a_flood_from_one_address_is_one_line() {
        let mut refusals = Refusals::default();
        for port in 0..1000 {
            refusals.add(from(1, port), "wrong_server_key");
        }
        refusals.add(from(1, 0), "bad_signature");
        let [first, second] = refusals.listed[..] else { panic!("{refusals:?}") };
        assert_eq!((first.reason, first.count), ("wrong_server_key", 1000));
        assert_eq!((second.reason, second.count), ("bad_signature", 1));
    }

    #[test]
    fn many_addresses_are_counted_and_not_listed() {
        let mut refusals = Refusals::default();
        for last in 0..100 {
            refusals.add(from(last, 1), "wrong_server_key");
        }
        assert_eq!((refusals.listed.len(), refusals.unlisted), (MAX_LISTED, 36));
    }
}
