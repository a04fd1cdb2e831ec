//! Frames that a client gets, over whichever transport, and what they change.

use std::time::{Duration, Instant};

use super::{
    calls::{Calls, LaneId, Sent},
    frame::{Frame, Reply},
    joined::Joined,
};
use crate::error::ProtocolError;

/// A server that is at work on a call is not asked for it again sooner...
const MIN_ESTIMATE: Duration = Duration::from_millis(20);

/// ...and, whatever it says, not later.
const MAX_ESTIMATE: Duration = Duration::from_secs(10);

/// Where frames go that arrived together.
pub(crate) struct Answers<'a> {
    pub(crate) calls: &'a mut Calls,
    pub(crate) lane: LaneId,
    /// The longest frame that the server takes over TCP, should it offer that beside UDP.
    pub(crate) bulk_frame: Option<u32>,
    pub(crate) now: Instant,
}

impl Answers<'_> {
    /// Takes one frame. If it answers a call that is still waited for, how that call had gone out,
    /// and in which attempt the server saw it.
    pub(crate) fn handle(
        &mut self,
        frame: &Joined<'_>,
    ) -> Result<Option<(Sent, u64)>, ProtocolError> {
        if let Some(reply) = Reply::of_frame(frame.bytes()) {
            let reply = reply?;
            let sent = self.calls.complete(&reply, frame.shared())?;
            let sent = sent.map(|sent| (sent, reply.attempt));
            self.hear(sent);
            return Ok(sent);
        }
        // No frame of a server has metadata.
        match Frame::parse(frame.bytes(), 0)? {
            Frame::Working { call, attempt, estimate } => {
                let pause = estimate.clamp(MIN_ESTIMATE, MAX_ESTIMATE);
                self.calls.working(call, self.now + pause);
                let sent = self.calls.sent(call).map(|sent| (sent, attempt));
                self.hear(sent);
                return Ok(sent);
            }
            Frame::Memory(memory) => {
                self.calls.recall(self.lane, memory, self.bulk_frame, self.now);
            }
            Frame::Outcome { call, outcome } => self.calls.tell_outcome(call, outcome),
            Frame::Ping { token } => self.calls.answer_ping(self.lane, token),
            Frame::GoAway => self.calls.drain(self.lane),
            Frame::Pong { token } => self.calls.ponged(self.lane, token),
            Frame::Stream { .. } => {}
            // The first was taken above.
            Frame::Reply(_)
            | Frame::Request(_)
            | Frame::Cancel { .. }
            | Frame::Acknowledge { .. }
            | Frame::WhichMemory
            | Frame::Inquire { .. } => return Err(ProtocolError::Direction),
        }
        Ok(None)
    }

    /// The server was there after it was sent what it answers; an earlier attempt's time is not
    /// known any more.
    fn hear(&mut self, answered: Option<(Sent, u64)>) {
        if let Some((sent, attempt)) = answered
            && sent.attempt == attempt
        {
            self.calls.heard(self.lane, sent.taken);
        }
    }
}
