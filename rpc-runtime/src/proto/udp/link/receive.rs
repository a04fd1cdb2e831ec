//! What a datagram does to a link.

use std::{net::SocketAddr, time::Instant};

use bailiwick_crypto::{Alert, CryptoRng, OpenedPacket, PacketError, PacketType};
use bytes::Bytes;

use super::{
    Disconnected, Failure, LENGTH, Link, MAX_RESPONSES, ProtocolError, Response, State, failure,
    flight::Packet,
};
use crate::{
    marshal::BORROW_FROM,
    proto::{
        joined::Joined,
        udp::{fragments::Sent, path::Moved},
    },
};

/// Acknowledgements of fragments wait for more at the most this long.
const MAX_ACK_DELAY: std::time::Duration = std::time::Duration::from_millis(5);

/// Takes each frame that came, without its length field.
pub(crate) type Handle<'a> = &'a mut dyn FnMut(Joined<'_>) -> Result<(), ProtocolError>;

impl Link {
    /// Takes one datagram that is addressed to this link. One that does not open is counted and
    /// dropped. `rng` draws challenges for new addresses.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the session ends by it. If there is an alert to send,
    /// [`poll_transmit`](Link::poll_transmit) has it.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        rng: &mut impl CryptoRng,
        now: Instant,
        handle: Handle<'_>,
    ) -> Result<(), Failure> {
        if matches!(self.state, State::Failed(..) | State::Ended) {
            return Ok(());
        }
        let size = datagram.len();
        let opened = match self.packets.open(datagram, now) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(error, now),
        };
        self.counters.opened += 1;
        if let State::Ending(ending) = &mut self.state {
            match opened.kind {
                PacketType::Close | PacketType::Alert => self.end(),
                _ => ending.asked(now),
            }
            return Ok(());
        }
        self.last_received = now;
        self.path.received(from, size, opened.is_highest, now, || {
            let mut token = [0; 8];
            rng.fill_bytes(&mut token);
            token
        });
        let taken = self.take(&opened, from, size, now, handle);
        if let Err(failure) = &taken {
            self.fail(failure, now);
        }
        taken
    }

    fn refuse(&mut self, error: PacketError, now: Instant) -> Result<(), Failure> {
        match error {
            PacketError::Replayed | PacketError::TooOld => self.counters.replayed += 1,
            _ => self.counters.failed += 1,
        }
        match failure(error) {
            // Its last word stands.
            Some(failure) if self.state.is_open() => {
                self.fail(&failure, now);
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    fn take(
        &mut self,
        opened: &OpenedPacket<'_>,
        from: SocketAddr,
        size: usize,
        now: Instant,
        handle: Handle<'_>,
    ) -> Result<(), Failure> {
        let content = &*opened.content;
        match opened.kind {
            PacketType::Data => {
                self.data_received(now);
                hand_out(content, self.max_frame, handle)?;
            }
            PacketType::Fragment => {
                self.data_received(now);
                let delay = (self.rto() / 4).min(MAX_ACK_DELAY);
                if let Some(message) = self.reassembly.receive(content, delay, now)? {
                    hand_out_message(message, self.max_frame, handle)?;
                }
            }
            PacketType::FragmentAck => self.acknowledged(content, now)?,
            PacketType::PathChallenge => {
                if let Ok(token) = content.try_into()
                    && self.responses.len() < MAX_RESPONSES
                {
                    self.responses.push_back(Response { to: from, token, size });
                }
            }
            PacketType::PathResponse => {
                if let Ok(token) = content.try_into() {
                    self.path_response(token, size, now);
                }
            }
            PacketType::Ping => {}
            PacketType::Close => return Err(Failure::silent(Disconnected::Closed)),
            PacketType::Alert => {
                let code = content.first().copied().unwrap_or_default();
                let alert = Alert::from_code(code);
                return Err(Failure::silent(Disconnected::Alert(alert)));
            }
        }
        Ok(())
    }

    /// The peer deserves a sign of life for it, if no answer leaves anyway.
    fn data_received(&mut self, now: Instant) {
        self.silent_until.get_or_insert(now + self.keepalive);
    }

    fn acknowledged(&mut self, content: &[u8], now: Instant) -> Result<(), ProtocolError> {
        let shortest = self.rtt.shortest();
        let mut newest: Option<(Packet, Sent)> = None;
        let ended = self.fragments.acknowledged(content, now, |number, sent| {
            let Some(packet) = self.flight.answered(number) else { return };
            self.mtu.passed(packet.size);
            // What was sent again may have arrived the first time; but not sooner than anything
            // ever was answered.
            let is_answer = sent == Sent::Once || packet.sent + shortest <= now;
            if is_answer && newest.is_none_or(|(newest, _)| newest.number < number) {
                newest = Some((packet, sent));
            }
        })?;
        if let Some((packet, sent)) = newest {
            self.flight.reached(packet.number);
            if sent == Sent::Once {
                self.sample_rtt(now.saturating_duration_since(packet.sent));
            }
            self.timeouts = 0;
            self.fragments_due = None;
        }
        self.detect_losses(now);
        self.watch_fragments(now);
        if let Some(ended) = ended {
            self.report_message(ended);
        }
        Ok(())
    }

    fn path_response(&mut self, token: [u8; 8], size: usize, now: Instant) {
        if self.mtu.answered(token, size, now) {
            return;
        }
        if let Some(Moved::Address) = self.path.answered(token) {
            // Nothing is known of the way to another host (RFC 9000, 9.4).
            self.rtt.forget();
            self.packets.set_pto(self.rto());
            self.flight.start_over();
            self.mtu.start_over(self.path.peer(), now);
            self.narrowed();
        }
    }
}

/// Hands out the frames of a data packet, which holds whole ones only.
fn hand_out(mut content: &[u8], max_frame: usize, handle: Handle<'_>) -> Result<(), ProtocolError> {
    while !content.is_empty() {
        let (size, rest) = frame_size(content, max_frame)?;
        let (frame, behind) = rest.split_at_checked(size).ok_or(ProtocolError::FrameLength)?;
        handle(Joined::Lent(frame))?;
        content = behind;
    }
    Ok(())
}

/// Hands out a message that was put together: exactly one frame.
fn hand_out_message(
    message: Vec<u8>,
    max_frame: usize,
    handle: Handle<'_>,
) -> Result<(), ProtocolError> {
    let (size, rest) = frame_size(&message, max_frame)?;
    if rest.len() != size {
        return Err(ProtocolError::FrameLength);
    }
    if size >= BORROW_FROM {
        return handle(Joined::Owned(Bytes::from(message).slice(LENGTH..)));
    }
    handle(Joined::Lent(rest))
}

/// A frame's length, and the bytes behind the length field.
fn frame_size(bytes: &[u8], max_frame: usize) -> Result<(usize, &[u8]), ProtocolError> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or(ProtocolError::FrameLength)?;
    match u32::from_be_bytes(*length) as usize {
        size if (1..=max_frame).contains(&size) => Ok((size, rest)),
        _ => Err(ProtocolError::FrameLength),
    }
}
