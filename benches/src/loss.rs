//! Loss without a relay: the kernel drops a share of the datagrams that come to our UDP sockets.
//!
//! A socket filter draws a random number for each datagram. A relay would need a processor that the
//! two measured sides do not leave; this costs next to nothing, and the path is the same as without
//! loss. It works on the sockets of any system, which need not know of it.

use std::{fs, io, os::fd::OwnedFd};

use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{SockFilter, SockRef, Type};
use thiserror::Error;

/// Why nothing will be lost.
#[derive(Debug, Error)]
pub(crate) enum LossError {
    /// A share lies between 0 and 1.
    #[error("{0} is no share of datagrams")]
    Rate(f64),
    /// This process has no UDP socket, so the figure would be one without loss.
    #[error("there is no UDP socket to lose datagrams of")]
    NoSocket,
    /// The system does not let us at our sockets; a container may forbid `pidfd_getfd`.
    #[error("the sockets of this process cannot be reached")]
    System(#[from] io::Error),
}

/// From now on every UDP socket of this process loses the share `rate` of what comes to it.
///
/// # Errors
///
/// [`LossError::NoSocket`] if there is none.
pub(crate) fn lose(rate: f64) -> Result<(), LossError> {
    let sockets = udp_sockets()?;
    if sockets.is_empty() {
        return Err(LossError::NoSocket);
    }
    sockets.iter().try_for_each(|socket| lose_of(socket, rate))
}

fn lose_of(socket: &OwnedFd, rate: f64) -> Result<(), LossError> {
    let filter = filter(rate).ok_or(LossError::Rate(rate))?;
    // The filter would judge datagrams that came joined to one as one; each is to have a fate of
    // its own, as on a real path.
    setsockopt(socket, UdpGroSegment, &false).map_err(io::Error::from)?;
    Ok(SockRef::from(socket).attach_filter(&filter)?)
}

/// The filter in classic BPF; `None` if `rate` is no share.
fn filter(rate: f64) -> Option<[SockFilter; 4]> {
    /// `BPF_LD | BPF_W | BPF_ABS`
    const LOAD: u16 = 0x20;
    /// `SKF_AD_OFF + SKF_AD_RANDOM`: not a byte of the datagram, but 32 random bits.
    const RANDOM: u32 = 0xffff_f038;
    /// `BPF_JMP | BPF_JGE | BPF_K`
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    /// `BPF_RET | BPF_K`: how many bytes of the datagram to keep.
    const KEEP: u16 = 0x06;

    // The cast cuts off a fraction of one in 2^32.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let threshold = (0.0..1.0).contains(&rate).then_some((rate * 4_294_967_296.0) as u32)?;
    Some([
        SockFilter::new(LOAD, 0, 0, RANDOM),
        SockFilter::new(JUMP_IF_AT_LEAST, 1, 0, threshold),
        SockFilter::new(KEEP, 0, 0, 0),
        SockFilter::new(KEEP, 0, 0, u32::MAX),
    ])
}

/// Second descriptors of all UDP sockets that this process has open, whoever in it holds them.
fn udp_sockets() -> io::Result<Vec<OwnedFd>> {
    let this_process = pidfd_open(getpid(), PidfdFlags::empty())?;
    let mut sockets = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let second = match pidfd_getfd(&this_process, number, PidfdGetfdFlags::empty()) {
            Ok(second) => second,
            Err(rustix::io::Errno::BADF) => continue, // closed since it was listed
            Err(error) => return Err(error.into()),
        };
        if is_udp(&second) {
            sockets.push(second);
        }
    }
    Ok(sockets)
}

fn is_udp(descriptor: &OwnedFd) -> bool {
    let socket = SockRef::from(descriptor);
    let is_datagram = socket.r#type().is_ok_and(|kind| kind == Type::DGRAM);
    is_datagram && socket.local_addr().is_ok_and(|address| address.as_socket().is_some())
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use nix::sys::socket::sockopt::UdpGsoSegment;

    use super::*;

    /// Of `sent` datagrams, how many come to a socket that loses `rate`.
    fn arriving(sent: u32, rate: f64) -> u32 {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_nonblocking(true).unwrap();
        lose_of(&to.as_fd().try_clone_to_owned().unwrap(), rate).unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        from.connect(to.local_addr().unwrap()).unwrap();
        let mut arrived = 0;
        for _ in 0..sent {
            from.send(b"datagram").unwrap();
            // On loopback it is in the receive buffer, or lost, when `send` returns.
            arrived += u32::from(to.recv(&mut [0; 16]).is_ok());
        }
        arrived
    }

    #[test]
    fn the_share_that_is_lost_is_the_one_asked_for() {
        assert_eq!(arriving(1_000, 0.0), 1_000);
        // Five standard deviations of a binomial distribution: fails once in 1.7 million runs.
        for (rate, deviation) in [(0.01, 9.95), (0.5, 50.0)] {
            let lost = 10_000.0 - f64::from(arriving(10_000, rate));
            let expected = 10_000.0 * rate;
            assert!((lost - expected).abs() < 5.0 * deviation, "{lost} of 10,000 at {rate}");
        }
    }

    #[test]
    fn datagrams_that_were_sent_joined_are_lost_one_by_one() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_nonblocking(true).unwrap();
        setsockopt(&to, UdpGroSegment, &true).unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        from.connect(to.local_addr().unwrap()).unwrap();
        setsockopt(&from, UdpGsoSegment, &8).unwrap();
        let joined = [7; 40 * 8];
        from.send(&joined).unwrap();
        assert_eq!(to.recv(&mut [0; 512]).unwrap(), joined.len(), "the kernel joins no datagrams");

        lose_of(&to.as_fd().try_clone_to_owned().unwrap(), 0.5).unwrap();
        from.send(&joined).unwrap();
        let arrived = std::iter::from_fn(|| to.recv(&mut [0; 512]).ok());
        let lengths: Vec<usize> = arrived.collect();
        assert!(lengths.iter().all(|length| *length == 8), "{lengths:?}");
        // All forty share a fate by chance once in 500,000 million runs.
        assert!((1..40).contains(&lengths.len()), "{} of 40", lengths.len());
    }

    #[test]
    fn every_udp_socket_of_the_process_is_found_and_no_other() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found: Vec<_> = udp_sockets()
            .unwrap()
            .iter()
            .filter_map(|socket| SockRef::from(socket).local_addr().unwrap().as_socket())
            .collect();
        assert!(found.contains(&udp.local_addr().unwrap()));
        assert!(!found.contains(&tcp.local_addr().unwrap()));
    }

    #[test]
    fn a_rate_that_is_no_share_is_refused() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let descriptor = socket.as_fd().try_clone_to_owned().unwrap();
        for rate in [-0.1, 1.0, 2.0, f64::NAN] {
            assert!(matches!(lose_of(&descriptor, rate), Err(LossError::Rate(_))), "{rate}");
        }
    }
}
