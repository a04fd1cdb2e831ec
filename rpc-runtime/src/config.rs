//! Bounds and times: each queue, map and length that a peer influences has its name here.

use std::time::Duration;

/// What a server or a channel accepts, holds and waits for at the most.
///
/// ```
/// use bailiwick::Limits;
/// let limits = Limits { max_calls_in_flight: 64, ..Limits::default() };
/// assert_eq!(limits.max_frame, 1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame that is accepted, in bytes: one message with its header.
    /// 1,024 to 2^24. Default: 1 MiB. The peer learns it in the handshake. A busy connection has buffers for
    /// two such frames, beside those that handlers and callers hold.
    pub max_frame: u32,
    /// Calls of one connection that wait for an answer. Default: 1,024.
    ///
    /// At a client further calls wait their turn; a server answers them `Overloaded`.
    pub max_calls_in_flight: usize,
    /// The same over UDP. Default: 64.
    pub max_calls_in_flight_udp: usize,
    /// Handlers of one service that are at work at once, of all its clients. A sixteenth of them, and
    /// at least one of two, is kept for methods marked `reserve`. Default: 1,024; `usize::MAX` for as
    /// many as clients ask for.
    ///
    /// A handler that is ready at once does not count. Further calls wait.
    pub max_concurrent_calls: usize,
    /// Calls of one service that wait for a place at work, of all its clients together; a request of
    /// more than 1 KiB counts once for each begun KiB. Default: 4,096. Beyond it the client with the
    /// longest line is answered `Overloaded`. Those of methods marked `reserve` have a queue of their
    /// own, a sixteenth as long.
    pub max_queued_calls: usize,
    /// The longest message over UDP, in bytes: 0 (none is put together from fragments) to 2^20.
    /// Default: 64 KiB. Longer ones go by TCP, if the server offers it. The peer learns it in the
    /// handshake.
    pub max_message_udp: u32,
    /// Bytes of messages over UDP, of all peers of an endpoint, that are being put together from
    /// fragments. Default: 64 MiB.
    pub max_reassembly_total: usize,
    /// Clients that a server remembers, each life of a process counting as one. Default: 16,384.
    /// Beyond it, and beyond half of it for one key, new ones are turned away; nobody is forgotten
    /// before the lease ends.
    pub max_clients: usize,
    /// How long a server remembers what a client's calls did after its last connection ended.
    /// 1 s to 1 h. Default: 60 s. The peer learns it in the handshake.
    pub lease: Duration,
    /// Bytes of answers that a server keeps for one client until it has acknowledged them.
    /// Default: 4 MiB. At the bound its calls are refused `Overloaded` before they run.
    pub max_kept_answers: usize,
    /// Bytes of replies (server) or requests (client) of one connection that the peer has not
    /// taken. Default: 4 MiB. At the bound nothing more is read, and new calls wait.
    pub max_unsent: usize,
    /// Metadata of one call, keys and values together, in bytes. Default: 4 KiB.
    pub max_metadata: usize,
    /// The longest time a server lets any call take. Default: 1 h.
    pub max_deadline: Duration,
    /// Connections of a server, established and half open. Default: 16,384.
    pub max_connections: usize,
    /// Connections from one address (an IPv6 /64 counts as one), established and half open.
    /// Default: 4,096.
    pub max_connections_per_source: usize,
    /// Connections whose handshake has not ended (protocol: before FIN). Default: 1,024.
    pub max_half_open: usize,
    /// The same, from one address. Default: 16.
    pub max_half_open_per_source: usize,
    /// How long a whole handshake may take. At most 1 h. Default: 5 s.
    pub handshake_timeout: Duration,
    /// How long a client tries to reach a server over UDP, where nobody says that nobody is there.
    /// At most 90 s. Default: 90 s.
    pub handshake_timeout_udp: Duration,
    /// Over UDP, the time to wait for an answer before anything is known of the path. Default:
    /// 100 ms, which suits a local network; RFC 6298 has 1 s for the open Internet.
    pub initial_rto: Duration,
    /// Over UDP, the shortest time to wait for an answer. Default: 10 ms.
    pub min_rto: Duration,
    /// The longest pause between two attempts of a channel to reach its server again. Each is
    /// drawn at random below a bound that doubles from 10 ms up to this. Default: 2 s.
    pub max_reconnect_pause: Duration,
    /// Over UDP, retries a second that a channel allows itself beside a fifth of its calls, so that
    /// a server in trouble is not met by a storm of them. 1 to 100,000. Default: 10.
    pub retries_per_second: u32,
    /// Silence after which a connection is given up; of both sides' the smaller counts.
    /// 1 s to 1 h. Default: 30 s.
    pub idle_timeout: Duration,
    /// Silence after which a client asks whether the server is there, to hold off the idle
    /// timeout. Default: 10 s.
    pub keepalive: Duration,
    /// How long a server that shuts down waits for running calls. Default: 10 s.
    pub drain_timeout: Duration,
    /// How long a connection that has nothing to do looks for more before it sleeps, which keeps a
    /// processor busy and saves the time that a sleeping one takes to wake. It looks less where that
    /// finds nothing. At most 1 ms. Default: 0, it sleeps at once. Worth it at 50 µs where each side has
    /// a processor to spare, on both sides.
    pub busy_poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 1 << 20,
            max_calls_in_flight: 1024,
            max_concurrent_calls: 1024,
            max_queued_calls: 4096,
            max_calls_in_flight_udp: 64,
            max_message_udp: 65_536,
            max_reassembly_total: 64 << 20,
            max_clients: 16_384,
            lease: Duration::from_secs(60),
            max_kept_answers: 4 << 20,
            max_unsent: 4 << 20,
            max_metadata: 4096,
            max_deadline: Duration::from_secs(3600),
            max_connections: 16_384,
            max_connections_per_source: 4096,
            max_half_open: 1024,
            max_half_open_per_source: 16,
            handshake_timeout: Duration::from_secs(5),
            handshake_timeout_udp: Duration::from_secs(90),
            initial_rto: Duration::from_millis(100),
            min_rto: Duration::from_millis(10),
            max_reconnect_pause: Duration::from_secs(2),
            retries_per_second: 10,
            idle_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            busy_poll: Duration::ZERO,
        }
    }
}

impl Limits {
    /// Checks the values that the protocol bounds.
    ///
    /// # Errors
    ///
    /// [`LimitError`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), LimitError> {
        let hour = Duration::from_secs(3600);
        let fits = [
            ("max_frame", (1024..=1 << 24).contains(&self.max_frame), "1,024 to 2^24 bytes"),
            (
                "idle_timeout",
                (Duration::from_secs(1)..=hour).contains(&self.idle_timeout),
                "1 s to 1 h",
            ),
            ("lease", (Duration::from_secs(1)..=hour).contains(&self.lease), "1 s to 1 h"),
            ("max_message_udp", self.max_message_udp <= 1 << 20, "at most 2^20 bytes"),
            ("handshake_timeout", self.handshake_timeout <= hour, "at most 1 h"),
            (
                "handshake_timeout_udp",
                self.handshake_timeout_udp <= Duration::from_secs(90),
                "at most 90 s",
            ),
            (
                "retries_per_second",
                (1..=100_000).contains(&self.retries_per_second),
                "1 to 100,000",
            ),
            ("min_rto", self.min_rto >= Duration::from_millis(1), "at least 1 ms"),
            ("initial_rto", self.initial_rto >= self.min_rto, "at least min_rto"),
            ("busy_poll", self.busy_poll <= Duration::from_millis(1), "at most 1 ms"),
            ("keepalive", self.keepalive < self.idle_timeout, "less than idle_timeout"),
            ("max_calls_in_flight", self.max_calls_in_flight > 0, "at least 1"),
            ("max_calls_in_flight_udp", self.max_calls_in_flight_udp > 0, "at least 1"),
            ("max_concurrent_calls", self.max_concurrent_calls > 0, "at least 1"),
            ("max_unsent", self.max_unsent >= self.max_frame as usize, "at least max_frame"),
            ("max_clients", self.max_clients > 0, "at least 1"),
            ("max_kept_answers", self.max_kept_answers >= 1 << 16, "at least 64 KiB"),
            ("max_metadata", self.max_metadata <= 1 << 16, "at most 64 KiB"),
        ];
        match fits.into_iter().find(|(_, fits, _)| !fits) {
            Some((field, _, range)) => Err(LimitError { field, range }),
            None => Ok(()),
        }
    }
}

/// A limit is outside what the protocol or good sense allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Limits::{field}` must be {range}")]
pub struct LimitError {
    /// The field's name.
    pub field: &'static str,
    /// What it may be.
    pub range: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_limit_out_of_range_is_named() {
        let limits = Limits { max_frame: 1023, ..Limits::default() };
        assert_eq!(limits.check().unwrap_err().field, "max_frame");
        let limits = Limits { handshake_timeout: Duration::MAX, ..Limits::default() };
        assert_eq!(limits.check().unwrap_err().field, "handshake_timeout");
        let limits = Limits { keepalive: Duration::from_secs(30), ..Limits::default() };
        assert_eq!(limits.check().unwrap_err().field, "keepalive");
    }
}
