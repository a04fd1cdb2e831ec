//! An established session: frames sealed into records, records opened into frames.

use std::time::{Duration, Instant};

use bailiwick_crypto::{
    Session as Keys,
    record::{Alert, HEADER, MAX_CONTENT, Opened, RecordError, Records},
};

use super::{frames::Frames, input::Input, joined::Joined, output::Output};
use crate::{
    config::Limits,
    error::{Disconnected, ProtocolError},
};

/// Records are sealed until this many bytes wait to be written, so that the first leave while
/// later ones are sealed; and a last one that holds all that is left.
pub(super) const SEAL_AHEAD: usize = 512 * 1024;

/// Why a session ends, and what the peer is told beside what the record layer tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: Disconnected,
    pub(crate) alert: Option<Alert>,
}

impl Failure {
    pub(crate) fn silent(why: Disconnected) -> Self {
        Self { why, alert: None }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self { why: Disconnected::Protocol(error), alert: Some(Alert::ProtocolError) }
    }
}

impl From<RecordError> for Failure {
    /// The record layer has the alert that belongs to its error, if one does, ready to send.
    fn from(error: RecordError) -> Self {
        let why = match error.alert() {
            None => ProtocolError::Record,
            Some(_) => ProtocolError::RecordRule,
        };
        Self::silent(Disconnected::Protocol(why))
    }
}

/// What a record brought.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Frame(Joined<'a>),
    /// The peer sends nothing more.
    Close,
    /// A record that only shows that the peer is there.
    Alive,
}

/// Whether more can be taken at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    /// What is left stays where it is until the next call.
    Pause,
}

pub(crate) struct Session {
    records: Records,
    /// The longest frame that is taken.
    max_frame: usize,
    /// The longest frame that the peer accepts.
    pub(crate) peer_max_frame: u32,
    /// Of both sides' idle timeouts the smaller.
    idle_timeout: Duration,
    last_received: Instant,
    /// A record has come that is no alert.
    pub(crate) heard: bool,
    close_sent: bool,
    pub(crate) close_received: bool,
}

impl Session {
    pub(crate) fn new(keys: Keys, limits: &Limits, now: Instant) -> Self {
        Self {
            records: keys.records,
            max_frame: limits.max_frame as usize,
            peer_max_frame: keys.peer_params.max_frame,
            idle_timeout: limits.idle_timeout.min(keys.peer_params.idle_timeout),
            last_received: now,
            heard: false,
            close_sent: false,
            close_received: false,
        }
    }

    /// Opens the records that `input` holds whole and hands what they bring to `handle`.
    pub(crate) fn receive(
        &mut self,
        input: &mut Input,
        now: Instant,
        mut handle: impl FnMut(Event<'_>) -> Result<Flow, ProtocolError>,
    ) -> Result<Flow, Failure> {
        loop {
            if self.hand_out(input, &mut handle)? == Flow::Pause {
                return Ok(Flow::Pause);
            }
            let Some(size) = Records::record_len(input.unread())? else {
                return Ok(Flow::Continue);
            };
            let Some(record) = input.unread().get_mut(..size) else { return Ok(Flow::Continue) };
            let opened = self.records.open(record, now)?;
            self.last_received = now;
            self.heard |= !matches!(opened, Opened::Alert(_));
            let event = match opened {
                Opened::Data(content) => {
                    // The content is a part of the record, behind the length field.
                    let content = HEADER..HEADER + content.len();
                    input.opened(content, size);
                    continue;
                }
                Opened::Close => {
                    if input.is_midway() {
                        return Err(ProtocolError::FrameFields.into());
                    }
                    self.close_received = true;
                    Event::Close
                }
                Opened::Alert(alert) => return Err(Failure::silent(Disconnected::Alert(alert))),
                Opened::Ping | Opened::KeyUpdate => Event::Alive,
            };
            input.take(size);
            if handle(event)? == Flow::Pause {
                return Ok(Flow::Pause);
            }
        }
    }

    fn hand_out(
        &mut self,
        input: &mut Input,
        handle: &mut impl FnMut(Event<'_>) -> Result<Flow, ProtocolError>,
    ) -> Result<Flow, ProtocolError> {
        while let Some(frame) = input.next_frame(self.max_frame)? {
            if handle(Event::Frame(frame))? == Flow::Pause {
                return Ok(Flow::Pause);
            }
        }
        Ok(Flow::Continue)
    }

    /// Seals `frames` into records behind what waits in `output`, as much as is sensible now, and
    /// whatever the record layer owes the peer.
    pub(crate) fn seal(
        &mut self,
        frames: &mut Frames,
        output: &mut Output,
        now: Instant,
    ) -> Result<(), Failure> {
        self.records.poll_transmit(now, output.bytes())?;
        while !frames.is_empty() && (output.len() < SEAL_AHEAD || frames.len() < MAX_CONTENT) {
            let front = frames.front();
            let content = &front[..front.len().min(MAX_CONTENT)];
            self.records.seal_data(content, now, output.bytes())?;
            let sealed = content.len();
            frames.sent(sealed);
        }
        Ok(())
    }

    /// Ends this direction in good order; a second call does nothing.
    pub(crate) fn close(&mut self, output: &mut Output, now: Instant) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.close_sent, true) {
            self.records.seal_close(now, output.bytes())?;
        }
        Ok(())
    }

    /// Ends both directions, with the reason as far as the record layer still can.
    pub(crate) fn abort(&mut self, alert: Option<Alert>, output: &mut Output, now: Instant) {
        // A record layer that cannot seal any more leaves the peer a truncated stream, which
        // tells it as much.
        let _ = match alert {
            Some(alert) => self.records.seal_alert(alert, now, output.bytes()),
            None => self.records.poll_transmit(now, output.bytes()),
        };
    }

    /// What the end of the stream means here.
    pub(crate) fn end_of_stream(&self) -> Disconnected {
        match self.records.end_of_stream() {
            Ok(()) => Disconnected::Closed,
            Err(_) => Disconnected::Truncated,
        }
    }

    pub(crate) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// When the peer counts as gone.
    pub(crate) fn idle_at(&self) -> Instant {
        self.last_received + self.idle_timeout
    }

    /// Ends the session if the peer has been silent for too long.
    pub(crate) fn check_idle(&self, now: Instant) -> Result<(), Failure> {
        if now < self.idle_at() {
            return Ok(());
        }
        Err(Failure::silent(Disconnected::Idle(self.idle_timeout)))
    }
}
