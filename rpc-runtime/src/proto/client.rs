//! A connection as its initiator sees it: handshake, then calls out and answers in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    HandshakeError,
    handshake::{MessageKind, message_len},
    initiator::{self, AwaitingResp},
};
use rand_core::CryptoRng;

use super::{
    answers::Answers,
    calls::{Calls, LaneId, Read},
    frames::Frames,
    input::Input,
    output::Output,
    session::{Event, Failure, Flow, Session},
};
use crate::{config::Limits, error::Disconnected};

/// Calls, shared with their callers.
pub(crate) type SharedCalls = Arc<Mutex<Calls>>;

/// Locks the calls. No code panics while it holds the lock but a user's `Serialize`, whose half
/// frame is taken back, a user's `Deserialize`, whose call has ended by then, and what a user's `Bytes` do when
/// they are dropped; so a poisoned lock still guards whole calls.
pub(crate) fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The handshake, or the wait for the server's first record, which confirms it.
    Connecting,
    Connected,
    /// The server's part of the handshake does not verify.
    NotTrusted,
    Ended,
}

pub(crate) struct Client {
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Frames taken from the calls and not sealed yet, and nothing else: what has been sealed is
    /// reckoned from it.
    frames: Frames,
    /// Bytes of frames taken from the calls since the beginning.
    taken: u64,
    calls: SharedCalls,
    lane: LaneId,
    state: State,
    limits: Limits,
    /// The server has proven its key.
    proven: bool,
    /// The server's first record has come.
    confirmed: bool,
    /// Requests leave behind FIN, without waiting for that record.
    ahead: bool,
    /// When silence was last answered by a question.
    asked: Option<Instant>,
    /// Frames that told of a call since this was last taken: answers, but for a few.
    answered: usize,
}

enum State {
    AwaitingResp(Box<AwaitingResp>),
    Open(Box<Session>),
    NotTrusted(HandshakeError),
    Ended(Disconnected),
}

impl Client {
    /// Begins the handshake: INIT waits in the output.
    pub(crate) fn start(
        config: initiator::Config,
        limits: Limits,
        calls: SharedCalls,
        lane: LaneId,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let awaiting = initiator::start(config, rng);
        let mut output = Output::default();
        output.bytes().extend_from_slice(awaiting.init());
        Self {
            input: Input::default(),
            output,
            frames: Frames::default(),
            taken: 0,
            calls,
            lane,
            state: State::AwaitingResp(Box::new(awaiting)),
            limits,
            proven: false,
            confirmed: false,
            ahead: false,
            asked: None,
            answered: 0,
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        match &self.state {
            State::Open(_) if self.confirmed => Progress::Connected,
            State::AwaitingResp(_) | State::Open(_) => Progress::Connecting,
            State::NotTrusted(_) => Progress::NotTrusted,
            State::Ended(_) => Progress::Ended,
        }
    }

    /// Reads what has been appended to the input.
    pub(crate) fn handle_input(&mut self, now: Instant) {
        if let State::AwaitingResp(_) = self.state {
            self.read_resp(now);
        }
        let State::Open(session) = &mut self.state else { return };
        let mut calls = lock(&self.calls);
        let mut answers = Answers { calls: &mut calls, lane: self.lane, bulk_frame: None, now };
        let (confirmed, answered) = (&mut self.confirmed, &mut self.answered);
        let received = session.receive(&mut self.input, now, |event| {
            *confirmed = true;
            if let Event::Frame(frame) = event
                && answers.handle(&frame)?.is_some()
            {
                *answered += 1;
            }
            Ok(Flow::Continue)
        });
        drop(calls);
        match received {
            Err(failure) => self.fail(failure, now),
            Ok(_) if session.close_received => self.finish(now),
            Ok(_) => {}
        }
    }

    fn read_resp(&mut self, now: Instant) {
        let resp = match message_len(MessageKind::Resp, self.input.unread()) {
            Ok(None) => return,
            Ok(Some(size)) if size > self.input.len() => {
                if let State::AwaitingResp(awaiting) = &mut self.state {
                    awaiting.read_ahead(self.input.unread());
                }
                return;
            }
            Ok(Some(size)) => Ok(size),
            Err(error) => Err(error),
        };
        let ended = State::Ended(Disconnected::Closed);
        let State::AwaitingResp(awaiting) = std::mem::replace(&mut self.state, ended) else {
            return;
        };
        let agreed = resp.and_then(|size| {
            let agreed = awaiting.read_resp(&self.input.unread()[..size], now)?;
            self.input.take(size);
            Ok(agreed)
        });
        match agreed {
            Ok((fin, keys)) => {
                self.output.bytes().extend_from_slice(&fin);
                self.proven = true;
                let session = Session::new(keys, &self.limits, now);
                let mut calls = lock(&self.calls);
                calls.connected(self.lane, session.peer_max_frame, now);
                self.ahead = calls.go_ahead(self.lane);
                drop(calls);
                self.state = State::Open(Box::new(session));
            }
            Err(error) => self.state = State::NotTrusted(error),
        }
    }

    /// How many frames have told of a call since they were last taken; nearly all of them are answers.
    pub(crate) fn answered(&self) -> usize {
        self.answered
    }

    /// As [`answered`](Self::answered), which begins to count anew.
    pub(crate) fn take_answered(&mut self) -> usize {
        std::mem::take(&mut self.answered)
    }

    /// The peer sends nothing more.
    pub(crate) fn handle_end_of_stream(&mut self) {
        let why = match &self.state {
            State::Open(session) => session.end_of_stream(),
            State::AwaitingResp(_) => Disconnected::Truncated,
            State::NotTrusted(_) | State::Ended(_) => return,
        };
        self.end(why);
    }

    /// The operating system reports an error.
    pub(crate) fn handle_io_error(&mut self, kind: std::io::ErrorKind) {
        if let State::AwaitingResp(_) | State::Open(_) = self.state {
            self.end(Disconnected::Io(kind));
        }
    }

    /// Does what is due: ends late calls, holds off the idle timeout, notices a silent peer.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        {
            let mut calls = lock(&self.calls);
            calls.expire(now);
            calls.resend_due(self.lane, now, |_| None);
        }
        let State::Open(session) = &self.state else { return };
        if let Err(failure) = session.check_idle(now) {
            self.fail(failure, now);
        } else if self.ask_at(session).is_some_and(|at| at <= now) {
            lock(&self.calls).ask(self.lane, now);
            self.asked = Some(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let of_calls = {
            let mut calls = lock(&self.calls);
            let told = calls.next_acknowledgement(now);
            [calls.next_deadline(), calls.next_resend(), told].into_iter().flatten().min()
        };
        let State::Open(session) = &self.state else { return of_calls };
        [of_calls, Some(session.idle_at()), self.ask_at(session)].into_iter().flatten().min()
    }

    /// A silence is asked about once each keepalive.
    fn ask_at(&self, session: &Session) -> Option<Instant> {
        let quiet_since =
            self.asked.map_or(session.last_received(), |asked| asked.max(session.last_received()));
        self.confirmed.then(|| quiet_since + self.keepalive())
    }

    /// A third of the idle timeout, should the peer's be much smaller than ours.
    fn keepalive(&self) -> Duration {
        let State::Open(session) = &self.state else { return self.limits.keepalive };
        let idle = session.idle_at().saturating_duration_since(session.last_received());
        self.limits.keepalive.min(idle / 3)
    }

    /// Seals what waits into the output; `true` if there is something to write.
    pub(crate) fn handle_transmit(&mut self, now: Instant) -> bool {
        if let State::Open(session) = &mut self.state {
            if self.confirmed || self.ahead {
                let mut calls = lock(&self.calls);
                if self.frames.is_empty() {
                    self.taken = calls.take_frames(self.lane, now, &mut self.frames);
                }
                calls.set_backlog(self.lane, self.frames.len() + self.output.len());
            }
            if let Err(failure) = session.seal(&mut self.frames, &mut self.output, now) {
                self.fail(failure, now);
            }
        }
        !self.output.is_empty()
    }

    /// Whether frames wait that were taken from the calls and are not sealed.
    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Ends in good order once all that waits has been sealed.
    pub(crate) fn close(&mut self, now: Instant) {
        self.handle_transmit(now);
        self.finish(now);
    }

    fn finish(&mut self, now: Instant) {
        if let State::Open(session) = &mut self.state
            && let Err(failure) = session.close(&mut self.output, now)
        {
            return self.fail(failure, now);
        }
        self.end(Disconnected::Closed);
    }

    fn fail(&mut self, failure: Failure, now: Instant) {
        if let State::Open(session) = &mut self.state {
            session.abort(failure.alert, &mut self.output, now);
        }
        self.end(failure.why);
    }

    fn end(&mut self, why: Disconnected) {
        let heard = matches!(&self.state, State::Open(session) if session.heard);
        let read = match why {
            // A server that closes in good order has answered all that it began.
            Disconnected::Closed => Read::None,
            // In place of the record that lets us in: nothing behind FIN has been opened.
            Disconnected::Alert(_) if !heard => Read::None,
            _ => Read::Before(self.taken - self.frames.len() as u64),
        };
        lock(&self.calls).lost(self.lane, &why, read);
        self.state = State::Ended(why);
    }

    /// Gives memory back while nothing is under way.
    pub(crate) fn rest(&mut self) {
        self.input.rest();
        self.output.rest();
        self.frames.rest();
    }

    /// Why no session came about: the handshake's error, or how the connection ended and whether
    /// the server had proven its key by then.
    pub(crate) fn into_failure(self) -> Result<HandshakeError, (Disconnected, bool)> {
        match self.state {
            State::NotTrusted(error) => Ok(error),
            State::Ended(why) => Err((why, self.proven)),
            State::AwaitingResp(_) | State::Open(_) => Err((Disconnected::Closed, self.proven)),
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
