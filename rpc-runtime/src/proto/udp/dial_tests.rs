//! A dial in virtual time, against an endpoint and against forgers.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bailiwick_crypto::{Alert, DatagramKind, HandshakeError, datagram_kind};

use super::{
    dial::{Connected, Dial, DialError, Dialled},
    reassembly::ReassemblyPool,
    testing::{LookUp, Server, at, caller, kinds, millis, rng, server_address},
};
use crate::{config::Limits, proto::joined::Joined};

/// A client at its socket.
struct Client {
    dial: Dial,
    rng: rand::rngs::StdRng,
    now: Instant,
}

impl Client {
    fn start(now: Instant) -> Self {
        let mut rng = rng(3);
        let pool = ReassemblyPool::new(1 << 20);
        let dial = Dial::start(caller(2), server_address(), Limits::default(), pool, now, &mut rng);
        Self { dial, rng, now }
    }

    fn sends(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let transmit = self.dial.poll_transmit(self.now, &mut out)?;
        assert_eq!((transmit.to, transmit.segment), (server_address(), out.len()));
        Some(out)
    }

    fn handle(&mut self, datagram: &[u8]) -> Result<Option<Box<Connected>>, DialError> {
        let datagram = &mut datagram.to_vec();
        let dialled =
            self.dial.handle_datagram(datagram, server_address(), self.now, &mut self.rng)?;
        Ok(match dialled {
            Dialled::Waiting => None,
            Dialled::Connected(connected) => Some(connected),
        })
    }

    /// Lets time pass up to the next thing to do.
    fn wait(&mut self) -> Result<(), DialError> {
        self.now = self.dial.next_timeout().expect("a dial always has an end");
        self.dial.handle_timeout(self.now, &mut self.rng)
    }

    /// All that is sent to a server that does not answer, with the time, until `until`.
    fn sends_until(&mut self, until: Instant) -> Vec<(Instant, Vec<u8>)> {
        let mut sent = Vec::new();
        loop {
            sent.extend(self.sends().map(|message| (self.now, message)));
            if self.dial.next_timeout().is_none_or(|at| at > until) {
                return sent;
            }
            self.wait().expect("not over yet");
        }
    }
}

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

fn pair() -> (Client, Server) {
    let server = Server::new(Limits::default());
    (Client::start(server.now), server)
}

/// A client whose FIN waits to be sent.
fn accepted() -> (Client, Server) {
    let (mut client, mut server) = pair();
    let init = client.sends().unwrap();
    let answers = server.answers(&init, CLIENT);
    assert!(client.handle(&answers[0]).unwrap().is_none());
    (client, server)
}

fn scid(init: &[u8]) -> &[u8] {
    assert_eq!(datagram_kind(init), Some(DatagramKind::Init));
    &init[8..48]
}

#[test]
fn a_dial_connects_with_the_servers_first_packet() {
    let (mut client, mut server) = accepted();
    let fin = client.sends().unwrap();
    let confirmed = server.answers(&fin, CLIENT);
    let connected = client.handle(&confirmed[0]).unwrap().expect("the first packet opens");
    assert_eq!(connected.params.incarnation, [9; 16]);
    assert!(connected.frames.is_empty());
    assert_eq!(client.sends(), None);
}

#[test]
fn frames_that_overtake_the_first_ping_are_handed_out() {
    let (mut client, mut server) = accepted();
    let fin = client.sends().unwrap();
    server.handle(&fin, CLIENT);
    let _lost = server.sends();
    let session = server.admitted[0];
    let frames = [0, 0, 0, 1, 7, 0, 0, 0, 2, 8, 9];
    server.endpoint.link(session).unwrap().send(&frames, None).unwrap();
    let sent = server.sends();
    let connected = client.handle(&sent[0].1).unwrap().expect("data shows it as well");
    assert_eq!(connected.frames, [vec![7], vec![8, 9]]);
}

#[test]
fn init_is_repeated_after_1_2_and_then_every_4_seconds_until_90() {
    let began = Instant::now();
    let mut client = Client::start(began);
    let sent = client.sends_until(began + millis(89_999));
    assert!(sent.iter().all(|(_, init)| *init == sent[0].1), "the same bytes");
    let pauses: Vec<_> = sent.windows(2).map(|two| two[1].0 - two[0].0).collect();
    let nominal = [1, 2].into_iter().chain(std::iter::repeat(4));
    for (pause, seconds) in pauses.iter().zip(nominal) {
        let seconds = Duration::from_secs(seconds);
        assert!(*pause >= seconds * 4 / 5 && *pause <= seconds * 6 / 5, "{pauses:?}");
    }
    assert!((20..30).contains(&pauses.len()), "{pauses:?}");
    assert!(pauses[2..].iter().any(|pause| *pause != pauses[2]), "jitter");
    assert_eq!(client.dial.next_timeout(), Some(began + millis(90_000)));
    assert_eq!(client.wait(), Err(DialError::GaveUp { last: None }));
    assert_eq!(client.sends(), None);
}

#[test]
fn a_retry_is_followed_at_once_and_its_init_repeated_from_1_second_on() {
    let (mut client, mut server) = pair();
    server.exhaust_rate(CLIENT);
    let first = client.sends().unwrap();
    client.wait().unwrap();
    let again = client.sends().unwrap();
    assert_eq!(first, again);
    let retry = server.answers(&again, CLIENT);
    assert_eq!(kinds(&retry), [DatagramKind::Retry]);
    client.handle(&retry[0]).unwrap();
    let followed = client.now;
    let second = client.sends().expect("at once");
    assert_eq!(scid(&first), scid(&second), "the same id and share");
    assert_ne!(first, second);
    client.wait().unwrap();
    assert!(client.now - followed <= millis(1_200), "anew from 1 s");
    assert_eq!(client.sends(), Some(second.clone()));
    let resp = server.answers(&second, CLIENT);
    assert_eq!(kinds(&resp), [DatagramKind::Resp]);
    client.handle(&resp[0]).unwrap();
    assert_eq!(datagram_kind(&client.sends().unwrap()), Some(DatagramKind::Fin));
}

#[test]
fn four_retries_are_followed_and_five_seconds_later_all_begins_anew() {
    let (mut client, mut server) = pair();
    server.exhaust_rate(CLIENT);
    let first = client.sends().unwrap();
    let (mut init, mut port) = (first.clone(), 100);
    for _ in 0..4 {
        // Each token belongs to another port than the INIT that brings it.
        port += 1;
        let retry = server.answers(&init, at(1, port));
        assert_eq!(kinds(&retry), [DatagramKind::Retry]);
        client.handle(&retry[0]).unwrap();
        init = client.sends().expect("a RETRY is followed");
    }
    let fourth = client.now;
    let retry = server.answers(&init, at(1, 99));
    client.handle(&retry[0]).unwrap();
    assert_eq!(client.sends(), None, "the fifth is not");

    let sent = client.sends_until(fourth + millis(5_000));
    let (last, others) = sent.split_last().unwrap();
    assert!(others.iter().all(|(_, again)| *again == init));
    assert_eq!(last.0, fourth + millis(5_000));
    assert_ne!(scid(&last.1), scid(&first), "a fresh id and share");
    assert_eq!(last.1.len(), 1_200, "without a token");
}

#[test]
fn one_honest_resp_among_forged_ones_wins() {
    let (mut client, mut server) = pair();
    let init = client.sends().unwrap();
    let resp = server.answers(&init, CLIENT).remove(0);
    for byte in 0..resp.len() {
        let mut forged = resp.clone();
        forged[byte] ^= 0x80;
        assert!(client.handle(&forged).unwrap().is_none(), "byte {byte}");
        assert_eq!(client.sends(), None, "byte {byte}");
    }
    for length in 0..resp.len() {
        assert!(client.handle(&resp[..length]).unwrap().is_none(), "{length} bytes");
        assert_eq!(client.sends(), None, "{length} bytes");
    }
    assert!(client.handle(&resp).unwrap().is_none());
    let fin = client.sends().expect("the honest one counts");
    // All others are dropped from now on.
    assert!(client.handle(&resp).unwrap().is_none());
    assert_eq!(client.sends(), None);
    let confirmed = server.answers(&fin, CLIENT);
    assert!(client.handle(&confirmed[0]).unwrap().is_some());
}

#[test]
fn what_comes_from_elsewhere_does_not_count() {
    let (mut client, mut server) = pair();
    let init = client.sends().unwrap();
    let resp = server.answers(&init, CLIENT).remove(0);
    let dialled =
        client.dial.handle_datagram(&mut resp.clone(), at(200, 1), client.now, &mut client.rng);
    assert!(matches!(dialled, Ok(Dialled::Waiting)));
    assert_eq!(client.sends(), None);
}

#[test]
fn fin_is_built_once_and_after_five_seconds_all_begins_anew() {
    let (mut client, _server) = accepted();
    let began = client.now;
    let sent = client.sends_until(began + millis(5_000));
    let (last, fins) = sent.split_last().unwrap();
    assert!(fins.len() >= 3, "at 0, 1 and 3 s");
    assert!(fins.iter().all(|(_, fin)| datagram_kind(fin) == Some(DatagramKind::Fin)));
    assert!(fins.iter().all(|(_, fin)| *fin == fins[0].1));
    assert_eq!(last.0, began + millis(5_000));
    assert_eq!(datagram_kind(&last.1), Some(DatagramKind::Init));
}

#[test]
fn a_handshake_begun_anew_has_nothing_to_do_with_the_old_one() {
    let (mut client, mut server) = pair();
    let first = client.sends().unwrap();
    let resp = server.answers(&first, CLIENT).remove(0);
    client.handle(&resp).unwrap();
    let fin = client.sends().unwrap();
    let late = server.answers(&fin, CLIENT).remove(0);
    let second = client.sends_until(client.now + millis(5_000)).pop().unwrap().1;
    assert_ne!(scid(&first), scid(&second));
    assert!(client.handle(&resp).unwrap().is_none());
    assert!(client.handle(&late).unwrap().is_none());
    assert_eq!(client.sends(), None);

    server.set_time(5_000);
    let resp = server.answers(&second, CLIENT).remove(0);
    client.handle(&resp).unwrap();
    let fin = client.sends().unwrap();
    let confirmed = server.answers(&fin, CLIENT);
    assert!(client.handle(&confirmed[0]).unwrap().is_some());
}

#[test]
fn a_lost_first_packet_is_asked_for_by_the_same_fin() {
    let (mut client, mut server) = accepted();
    let fin = client.sends().unwrap();
    server.handle(&fin, CLIENT);
    let _lost = server.sends();
    client.wait().unwrap();
    let again = client.sends().unwrap();
    server.now = client.now;
    let confirmed = server.answers(&again, CLIENT);
    assert!(client.handle(&confirmed[0]).unwrap().is_some());
    assert_eq!(server.admitted.len(), 1);
}

#[test]
fn a_client_that_is_turned_away_hears_it() {
    let (mut client, mut server) = accepted();
    server.look_up = LookUp::Refuses(Alert::AccessDenied);
    let fin = client.sends().unwrap();
    let alert = server.answers(&fin, CLIENT);
    let refused = client.handle(&alert[0]).err();
    assert_eq!(refused, Some(DialError::Refused(Alert::AccessDenied)));
    client.now += millis(10_000);
    client.dial.handle_timeout(client.now, &mut client.rng).unwrap();
    assert_eq!(client.sends(), None, "it stays so");
}

#[test]
fn a_session_that_ends_before_it_is_known_to_stand_connects_nothing() {
    let (mut client, mut server) = accepted();
    let began = client.now;
    let fin = client.sends().unwrap();
    server.handle(&fin, CLIENT);
    let ping = server.sends().remove(0).1;
    server.endpoint.close(server.admitted[0], server.now);
    let close = server.sends().remove(0).1;
    assert!(client.handle(&close).unwrap().is_none());
    assert!(client.handle(&ping).unwrap().is_none());
    let sent = client.sends_until(began + millis(5_000));
    let [(at, init)] = &sent[..] else { panic!("{} messages", sent.len()) };
    assert_eq!((*at, datagram_kind(init)), (began + millis(5_000), Some(DatagramKind::Init)));
}

#[test]
fn packets_that_do_not_open_connect_nothing_and_refuse_nothing() {
    let (mut client, mut server) = accepted();
    server.look_up = LookUp::Refuses(Alert::AccessDenied);
    let fin = client.sends().unwrap();
    let alert = server.answers(&fin, CLIENT).remove(0);
    for byte in 0..alert.len() {
        let mut forged = alert.clone();
        forged[byte] ^= 1;
        assert!(client.handle(&forged).unwrap().is_none(), "byte {byte}");
    }
    assert!(client.handle(&alert).is_err());
}

#[test]
fn a_path_that_is_too_small_is_said_to_be() {
    let (mut client, _) = pair();
    assert_eq!(client.dial.too_big(), DialError::PathTooSmall);
    assert_eq!(client.sends(), None);
}

#[test]
fn who_gives_up_says_what_was_wrong_with_the_last_answer() {
    let began = Instant::now();
    let mut client = Client::start(began);
    let init = client.sends().unwrap();
    let mut server = Server::new(Limits::default());
    server.now = began;
    let mut resp = server.answers(&init, CLIENT).remove(0);
    *resp.last_mut().unwrap() ^= 1;
    client.handle(&resp).unwrap();
    client.sends_until(began + millis(89_999));
    assert_eq!(client.wait(), Err(DialError::GaveUp { last: Some(HandshakeError::Box) }));
}

#[test]
fn the_link_whose_datagram_the_socket_finds_too_long_hears_of_it() {
    let (mut client, mut server) = accepted();
    let fin = client.sends().unwrap();
    let confirmed = server.answers(&fin, CLIENT);
    let mut link = client.handle(&confirmed[0]).unwrap().unwrap().link;
    let id = server.admitted[0];
    // Traffic lets the server find out how long its datagrams may be.
    for ms in 1..200 {
        server.set_time(ms);
        server.endpoint.link(id).unwrap().send(&[0, 0, 0, 1, 7], None).unwrap();
        for (_, datagram) in server.sends() {
            let datagram = &mut datagram.clone();
            let handle = &mut |_: Joined<'_>| Ok(());
            link.handle_datagram(datagram, server_address(), &mut client.rng, server.now, handle)
                .unwrap();
        }
        let mut out = Vec::new();
        while link.poll_transmit(server.now, &mut out, 1).is_some() {
            server.handle(&std::mem::take(&mut out), CLIENT);
        }
    }
    let found = server.endpoint.link(id).unwrap().mtu();
    assert!(found > 1_500, "{found}");
    server.endpoint.link(id).unwrap().send(&[0, 0, 0, 1, 7], None).unwrap();
    server.sends();
    server.endpoint.too_big(1_500, server.now);
    assert!(server.endpoint.link(id).unwrap().mtu() < 1_500);
}
