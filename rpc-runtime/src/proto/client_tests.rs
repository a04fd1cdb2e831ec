//! A client and a server, message by message.

use std::task::{Context, Poll, Waker};

use bailiwick_crypto::{
    Identity, Params, Transport,
    record::{Alert, MAX_CONTENT, OVERHEAD},
    responder,
};

use super::*;
use crate::{
    config::Limits,
    context::Metadata,
    error::{NotSent, ProtocolError},
    id::MethodId,
    proto::{
        calls::{Answer, Header, Reconnect, Rerun, Ticket},
        frame::{Frame, MemoryId},
        server::{Handshake, Server},
        session::SEAL_AHEAD,
    },
};

const DENIED: Disconnected = Disconnected::Alert(Alert::AccessDenied);

struct Pair {
    client: Client,
    server: Server,
    answers: responder::Config,
    calls: SharedCalls,
    ticket: Ticket,
    now: Instant,
}

impl Pair {
    /// A client that has sent INIT, of a channel with a call that waits.
    fn new() -> Self {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut calls = Calls::new(&limits, 8, Reconnect::Always, std::time::SystemTime::now);
        let header = Header {
            method: MethodId::new(1),
            rerun: Rerun::Forbidden,
            deadline: now + Duration::from_secs(1),
            metadata: &Metadata::default(),
        };
        let ticket = calls.begin(&header, Waker::noop().clone(), |_| Ok(())).unwrap();
        let calls = Arc::new(Mutex::new(calls));
        let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let dial = initiator::Config {
            transport: Transport::Tcp,
            identity: alice,
            server: bob.public_key(),
            params: Params::new([1; 16]),
            psk: None,
            records: bailiwick_crypto::RecordLimits::default(),
        };
        let shared = Arc::clone(&calls);
        let mut client =
            Client::start(dial, limits.clone(), shared, LaneId::Main, &mut rand::rng());
        let mut server = Server::new(limits);
        carry(&mut client.output, &mut server.input);
        let answers = responder::Config::new(Transport::Tcp, bob, Params::new([2; 16]));
        Self { client, server, answers, calls, ticket, now }
    }

    fn handshake(&mut self) -> Handshake {
        self.server.handle_handshake(&self.answers, &mut rand::rng(), self.now)
    }

    /// What the server has written comes to the client, and what the client then writes to the server.
    fn exchange(&mut self) -> usize {
        self.server.handle_transmit(self.now);
        carry(&mut self.server.output, &mut self.client.input);
        self.client.handle_input(self.now);
        self.client.handle_transmit(self.now);
        carry(&mut self.client.output, &mut self.server.input)
    }

    /// As far as the server's look-up, with the call right behind FIN.
    fn authenticate(&mut self) {
        assert_eq!(self.handshake(), Handshake::Answering);
        self.exchange();
        assert_eq!(self.handshake(), Handshake::Waiting);
        self.exchange();
        assert!(matches!(self.handshake(), Handshake::Authenticated(_)));
    }

    fn admit(&mut self) {
        self.server.admit(self.now).unwrap();
        self.server.confirm(MemoryId { id: [7; 8], ..MemoryId::default() }, self.now);
    }

    /// The numbers of the calls that the server gets.
    fn asked(&mut self) -> Vec<u64> {
        let mut asked = Vec::new();
        self.server.handle_input(self.now, |frame, _| {
            if let Frame::Request(request) = Frame::parse(frame.bytes(), 0)? {
                asked.push(request.call);
            }
            Ok(())
        });
        asked
    }

    fn poll(&self) -> Poll<Answer> {
        lock(&self.calls).poll(&self.ticket, &mut Context::from_waker(Waker::noop()))
    }
}

/// How many bytes there were.
fn carry(from: &mut Output, to: &mut Input) -> usize {
    let count = from.len();
    to.append(from.unsent());
    from.sent(count);
    count
}

#[test]
fn resp_comes_in_two_parts_of_which_the_first_holds_the_share() {
    let mut pair = Pair::new();
    assert_eq!(pair.handshake(), Handshake::Answering);
    assert_eq!(pair.server.output.len(), 56, "the clear bytes");
    assert_eq!(pair.exchange(), 0, "the client has nothing to say to half a message");
    assert_eq!(pair.handshake(), Handshake::Waiting);
    assert!(pair.exchange() > 162, "FIN");
}

#[test]
fn the_first_call_leaves_right_behind_fin() {
    let mut pair = Pair::new();
    pair.authenticate();
    assert_eq!(pair.client.progress(), Progress::Connecting, "nobody has said that it is let in");
    pair.admit();
    assert_eq!(pair.asked(), [0]);
    pair.exchange();
    assert_eq!(pair.client.progress(), Progress::Connected);
}

#[test]
fn a_call_behind_the_fin_of_a_client_that_is_refused_has_not_run() {
    let mut pair = Pair::new();
    pair.authenticate();
    pair.server.refuse(Alert::AccessDenied, pair.now);
    assert!(pair.asked().is_empty());
    pair.exchange();
    assert_eq!(pair.client.progress(), Progress::Ended);
    lock(&pair.calls).give_up(&DENIED);
    let why = NotSent::Disconnected(DENIED);
    assert_eq!(pair.poll(), Poll::Ready(Answer::NotSent(why)));
}

#[test]
fn an_alert_that_comes_behind_the_admission_leaves_open_what_ran() {
    let mut pair = Pair::new();
    pair.authenticate();
    pair.admit();
    assert_eq!(pair.asked(), [0]);
    // The client is told in the same breath: nothing has been written meanwhile.
    pair.server.abort(Alert::AccessDenied, pair.now);
    pair.exchange();
    assert_eq!(pair.client.progress(), Progress::Ended);
    lock(&pair.calls).give_up(&DENIED);
    assert_eq!(pair.poll(), Poll::Ready(Answer::Lost));
}

#[test]
fn a_server_that_breaks_its_first_record_may_have_run_what_came_with_fin() {
    let mut pair = Pair::new();
    pair.authenticate();
    pair.admit();
    let at = pair.server.output.len() - 1;
    pair.server.output.bytes()[at] ^= 1;
    pair.exchange();
    assert_eq!(pair.client.progress(), Progress::Ended);
    let why = Disconnected::Protocol(ProtocolError::Record);
    assert_eq!(pair.poll(), Poll::Ready(Answer::Lost), "{why}");
}

#[test]
fn records_are_sealed_ahead_within_bounds_and_a_small_rest_goes_with_them() {
    let mut pair = Pair::new();
    pair.authenticate();
    pair.server.admit(pair.now).unwrap();
    let records = SEAL_AHEAD.div_ceil(MAX_CONTENT + OVERHEAD);
    for (rest, at_once) in [(0, true), (1, true), (MAX_CONTENT - 1, true), (MAX_CONTENT, false)] {
        pair.server.frames().tail().resize(records * MAX_CONTENT + rest, 7);
        pair.server.handle_transmit(pair.now);
        let sealed = pair.server.output.len();
        pair.server.output.sent(sealed);
        let all = records * (MAX_CONTENT + OVERHEAD);
        let more = if rest > 0 { rest + OVERHEAD } else { 0 };
        assert_eq!(sealed, if at_once { all + more } else { all }, "{rest} bytes more");
        assert_eq!(pair.server.frames().is_empty(), at_once);
        while pair.server.handle_transmit(pair.now) {
            let sealed = pair.server.output.len();
            pair.server.output.sent(sealed);
        }
    }
}

#[test]
fn an_alert_is_in_place_of_the_admission_only_as_the_first_record() {
    let mut pair = Pair::new();
    pair.authenticate();
    pair.server.admit(pair.now).unwrap();
    // A record that brings no whole frame.
    pair.server.frames().tail().extend_from_slice(&[0, 0]);
    pair.server.handle_transmit(pair.now);
    pair.server.abort(Alert::AccessDenied, pair.now);
    pair.exchange();
    lock(&pair.calls).give_up(&DENIED);
    assert_eq!(pair.poll(), Poll::Ready(Answer::Lost));
}
