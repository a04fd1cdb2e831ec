//! What an end of a conversation is in the simulated world: datagrams and times in, datagrams out.

use std::net::SocketAddr;
use std::time::Instant;

/// One end: a client, a server, or an attacker. It has no socket and no clock of its own.
///
/// After each call of a `handle_…` the world empties [`poll_transmit`](Node::poll_transmit), then asks
/// [`next_timeout`](Node::next_timeout).
pub trait Node {
    /// A datagram has come, with the source address that it carries.
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant);

    /// The next datagram to send and its destination, until there is none.
    fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)>;

    /// When [`handle_timeout`](Node::handle_timeout) is due. A time that has passed is due at once.
    fn next_timeout(&self) -> Option<Instant>;

    /// The time of [`next_timeout`](Node::next_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);

    /// The first hop does not take a datagram of `length` bytes to `to` (EMSGSIZE); it was not sent.
    fn handle_too_big(&mut self, to: SocketAddr, length: usize, now: Instant) {
        let _ = (to, length, now);
    }
}

impl<N: Node + ?Sized> Node for Box<N> {
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        (**self).handle_datagram(from, datagram, now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        (**self).poll_transmit(now)
    }

    fn next_timeout(&self) -> Option<Instant> {
        (**self).next_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        (**self).handle_timeout(now);
    }

    fn handle_too_big(&mut self, to: SocketAddr, length: usize, now: Instant) {
        (**self).handle_too_big(to, length, now);
    }
}
