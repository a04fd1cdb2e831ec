//! A connection as its responder sees it: handshake, then requests in and answers out.

use std::time::Instant;

use bailiwick_crypto::{
    HandshakeError, PublicKey,
    handshake::{MessageKind, message_len},
    record::{Alert, Records},
    responder::{self, Answering, Authenticated, AwaitingFin},
};
use rand_core::CryptoRng;

use super::{
    frame::{self, MemoryId},
    frames::Frames,
    input::Input,
    joined::Joined,
    output::Output,
    session::{Event, Failure, Flow, Session},
};
use crate::{
    config::Limits,
    error::{Disconnected, ProtocolError},
    id::Incarnation,
};

/// Answers of this many bytes are sent before more requests are read, so that the client has
/// something to do meanwhile.
const BATCH: usize = 4 * 1024;

/// How the handshake stands.
#[derive(Debug, PartialEq)]
pub(crate) enum Handshake {
    /// More bytes must come.
    Waiting,
    /// RESP's clear bytes wait to be written, so that the client can work with them; the rest is made by
    /// the next call.
    Answering,
    /// The client has proven this key; [`Server::admit`] or [`Server::refuse`] comes next.
    Authenticated(PublicKey),
    /// It failed; the client is told nothing.
    Failed(HandshakeError),
    /// It is over.
    Done,
}

pub(crate) struct Server {
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Frames not sealed yet: answers are marshalled straight into it.
    frames: Frames,
    state: State,
    limits: Limits,
}

enum State {
    AwaitingInit,
    Answering(Box<Answering>),
    AwaitingFin(Box<AwaitingFin>),
    Authenticated(Box<Authenticated>),
    Open(Box<Session>),
    /// Nothing more is read but to be discarded.
    Ended(Disconnected),
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            input: Input::default(),
            output: Output::default(),
            frames: Frames::default(),
            state: State::AwaitingInit,
            limits,
        }
    }

    /// Takes the handshake as far as the input allows.
    pub(crate) fn handle_handshake(
        &mut self,
        config: &responder::Config,
        rng: &mut impl CryptoRng,
        now: Instant,
    ) -> Handshake {
        loop {
            let kind = match &self.state {
                State::AwaitingInit => MessageKind::Init,
                State::Answering(_) => match self.answer() {
                    Ok(()) => continue,
                    Err(error) => return self.fail_handshake(error),
                },
                State::AwaitingFin(_) => MessageKind::Fin,
                State::Authenticated(authenticated) => {
                    return Handshake::Authenticated(authenticated.peer());
                }
                State::Open(_) | State::Ended(_) => return Handshake::Done,
            };
            let size = match message_len(kind, self.input.unread()) {
                Ok(Some(size)) if size <= self.input.len() => size,
                Ok(_) => return Handshake::Waiting,
                Err(error) => return self.fail_handshake(error),
            };
            if let Err(error) = self.read_message(size, config, rng, now) {
                return self.fail_handshake(error);
            }
            if let State::Answering(_) = self.state {
                return Handshake::Answering;
            }
        }
    }

    fn answer(&mut self) -> Result<(), HandshakeError> {
        let ended = State::Ended(Disconnected::Closed);
        if let State::Answering(answering) = std::mem::replace(&mut self.state, ended) {
            let clear = answering.clear().len();
            let awaiting = answering.finish()?;
            self.output.bytes().extend_from_slice(&awaiting.resp()[clear..]);
            self.state = State::AwaitingFin(Box::new(awaiting));
        }
        Ok(())
    }

    fn read_message(
        &mut self,
        size: usize,
        config: &responder::Config,
        rng: &mut impl CryptoRng,
        now: Instant,
    ) -> Result<(), HandshakeError> {
        let message = &self.input.unread()[..size];
        let ended = State::Ended(Disconnected::Closed);
        self.state = match std::mem::replace(&mut self.state, ended) {
            State::AwaitingInit => {
                let answering = responder::begin(config, message, rng)?;
                self.output.bytes().extend_from_slice(answering.clear());
                State::Answering(Box::new(answering))
            }
            State::AwaitingFin(awaiting) => {
                State::Authenticated(Box::new(awaiting.read_fin(message, now)?))
            }
            other => other,
        };
        self.input.take(size);
        Ok(())
    }

    fn fail_handshake(&mut self, error: HandshakeError) -> Handshake {
        self.state = State::Ended(Disconnected::Protocol(ProtocolError::Record));
        Handshake::Failed(error)
    }

    /// Eight bytes that name the session in records; zero before the client is authenticated.
    pub(crate) fn session_id(&self) -> [u8; 8] {
        match &self.state {
            State::Authenticated(authenticated) => {
                let [a, b, c, d, e, f, g, h, ..] = authenticated.channel_id();
                [a, b, c, d, e, f, g, h]
            }
            _ => [0; 8],
        }
    }

    /// The look-up knows the client's key. Returns the client's incarnation, whose memory is to be
    /// named to it by [`confirm`](Self::confirm), or `None` if its parameters are malformed, which
    /// it is told.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Incarnation> {
        let ended = State::Ended(Disconnected::Closed);
        let State::Authenticated(authenticated) = std::mem::replace(&mut self.state, ended) else {
            return None;
        };
        match authenticated.admit() {
            Ok(keys) => {
                let incarnation = Incarnation::from_bytes(keys.peer_params.incarnation);
                self.state = State::Open(Box::new(Session::new(keys, &self.limits, now)));
                Some(incarnation)
            }
            Err(mut refusal) => {
                self.turn_away(&mut refusal.records, Alert::ProtocolError, now);
                None
            }
        }
    }

    /// The first frame says which memory the server has of the client. That it comes confirms the
    /// handshake. It is sealed at once: an alert in its place says that nothing has been opened.
    pub(crate) fn confirm(&mut self, memory: MemoryId, now: Instant) {
        frame::put_memory(memory, self.frames.tail());
        self.handle_transmit(now);
    }

    /// A client that was admitted finds no place, or has lost its own.
    pub(crate) fn abort(&mut self, alert: Alert, now: Instant) {
        self.fail(Failure { why: Disconnected::Alert(alert), alert: Some(alert) }, now);
    }

    /// The look-up does not know the client's key.
    pub(crate) fn refuse(&mut self, alert: Alert, now: Instant) {
        let ended = State::Ended(Disconnected::Alert(alert));
        if let State::Authenticated(authenticated) = std::mem::replace(&mut self.state, ended) {
            self.turn_away(&mut authenticated.refuse(alert), alert, now);
        }
    }

    fn turn_away(&mut self, records: &mut Records, alert: Alert, now: Instant) {
        // A fresh key seals its first record; should it not, the client sees the end of stream.
        let _ = records.poll_transmit(now, self.output.bytes());
        self.state = State::Ended(Disconnected::Alert(alert));
    }

    /// Reads frames until the input is empty, a batch of answers is there to be sent, or those
    /// that wait reach their limit.
    /// `handle` gets each with the buffer for its answer's frame.
    pub(crate) fn handle_input(
        &mut self,
        now: Instant,
        mut handle: impl FnMut(Joined<'_>, &mut Frames) -> Result<(), ProtocolError>,
    ) -> Flow {
        let State::Open(session) = &mut self.state else { return Flow::Continue };
        let (limits, frames) = (&self.limits, &mut self.frames);
        let unsent = self.output.len();
        let received = session.receive(&mut self.input, now, |event| {
            let Event::Frame(joined) = event else { return Ok(Flow::Continue) };
            handle(joined, frames)?;
            let full = frames.len() >= BATCH || frames.len() + unsent >= limits.max_unsent;
            Ok(if full { Flow::Pause } else { Flow::Continue })
        });
        match received {
            Ok(flow) => flow,
            Err(failure) => {
                self.fail(failure, now);
                Flow::Continue
            }
        }
    }

    /// Where the answer to a call that took its time is appended.
    pub(crate) fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }

    /// How many bytes of answers may be appended before the client must take some.
    pub(crate) fn room(&self) -> usize {
        self.limits.max_unsent.saturating_sub(self.frames.len() + self.output.len())
    }

    /// Announces that no new calls are taken.
    pub(crate) fn go_away(&mut self) {
        frame::put_go_away(self.frames.tail());
    }

    /// Seals what waits into the output; `true` if there is something to write.
    pub(crate) fn handle_transmit(&mut self, now: Instant) -> bool {
        if let State::Open(session) = &mut self.state
            && let Err(failure) = session.seal(&mut self.frames, &mut self.output, now)
        {
            self.fail(failure, now);
        }
        !self.output.is_empty()
    }

    /// Whether answers wait that are neither sealed nor written.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.frames.is_empty() || !self.output.is_empty()
    }

    /// Whether the client has taken so little of its answers that no more requests are read.
    pub(crate) fn is_choked(&self) -> bool {
        self.room() == 0
    }

    /// Ends this direction in good order; requests that still come are discarded.
    pub(crate) fn close(&mut self, now: Instant) {
        if let State::Open(session) = &mut self.state {
            match session.close(&mut self.output, now) {
                Ok(()) => self.state = State::Ended(Disconnected::Closed),
                Err(failure) => self.fail(failure, now),
            }
        }
    }

    /// Ends the connection if the client has been silent for too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let State::Open(session) = &self.state
            && let Err(failure) = session.check_idle(now)
        {
            self.fail(failure, now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Open(session) => Some(session.idle_at()),
            _ => None,
        }
    }

    /// The client sends nothing more.
    pub(crate) fn handle_end_of_stream(&mut self) {
        let why = match &self.state {
            State::Open(session) => session.end_of_stream(),
            State::Ended(_) => return,
            _ => Disconnected::Truncated,
        };
        self.state = State::Ended(why);
    }

    fn fail(&mut self, Failure { why, alert }: Failure, now: Instant) {
        if let State::Open(session) = &mut self.state {
            session.abort(alert, &mut self.output, now);
        }
        self.state = State::Ended(why);
    }

    /// The client has said that it sends nothing more; what it asked for is still answered.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(&self.state, State::Open(session) if session.close_received)
    }

    /// How the connection ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Disconnected> {
        match &self.state {
            State::Ended(why) => Some(why),
            _ => None,
        }
    }

    /// How the client, or somebody on the way, broke the protocol, if that ended the connection.
    pub(crate) fn violation(&self) -> Option<ProtocolError> {
        match &self.state {
            State::Ended(Disconnected::Protocol(error)) => Some(*error),
            _ => None,
        }
    }

    /// The longest frame that the client accepts.
    pub(crate) fn peer_max_frame(&self) -> u32 {
        match &self.state {
            State::Open(session) => session.peer_max_frame,
            _ => 0,
        }
    }

    /// Gives memory back while nothing is under way.
    pub(crate) fn rest(&mut self) {
        self.input.rest();
        self.output.rest();
        self.frames.rest();
    }
}
