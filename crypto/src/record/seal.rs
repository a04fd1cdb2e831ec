//! Sealing: whole records, appended to the caller's buffer and encrypted there.

use std::time::Instant;

use super::{Alert, HEADER, MAX_CONTENT, Receiving, RecordError, RecordType, Records, Sending};
use crate::aead::{Aead as _, TAG};

impl Records {
    /// Appends one data record, and before it a key update when one is owed or due.
    ///
    /// Allocates only if `out` has too little room: [`super::OVERHEAD`] bytes more than `content`,
    /// twice that with a key update.
    ///
    /// # Errors
    ///
    /// [`RecordError::ContentTooLong`] above [`MAX_CONTENT`], [`RecordError::Closed`] after our
    /// close or any failure, [`RecordError::Exhausted`] at the hard stop.
    pub fn seal_data(
        &mut self,
        content: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        if content.len() > MAX_CONTENT {
            return Err(RecordError::ContentTooLong);
        }
        self.before_sealing(now, out)?;
        self.seal(RecordType::Data, content, out)
    }

    /// Appends `close`, the last record of our direction; the peer's goes on until its own.
    ///
    /// # Errors
    ///
    /// As [`Records::seal_data`].
    pub fn seal_close(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.before_sealing(now, out)?;
        self.seal(RecordType::Close, b"", out)?;
        self.sending = Sending::Ended;
        Ok(())
    }

    /// Appends a ping, which says that we live and is never answered.
    ///
    /// # Errors
    ///
    /// As [`Records::seal_data`].
    pub fn seal_ping(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.before_sealing(now, out)?;
        self.seal(RecordType::Ping, b"", out)
    }

    /// Appends an alert, our last record, which ends both directions. Allowed also after an error
    /// that calls for an alert.
    ///
    /// # Errors
    ///
    /// [`RecordError::Closed`] after our close, an alert or a silent failure;
    /// [`RecordError::Exhausted`] at the hard stop.
    pub fn seal_alert(
        &mut self,
        alert: Alert,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        match self.sending {
            Sending::Ended => return Err(RecordError::Closed),
            Sending::Open => self.before_sealing(now, out)?,
            Sending::Owes(_) => {}
        }
        self.seal(RecordType::Alert, &[alert.code()], out)?;
        self.sending = Sending::Ended;
        self.receiving = Receiving::Failed;
        Ok(())
    }

    /// Appends what is owed to the peer, if anything: an answer to its key update, or the alert
    /// that the last error or a refusal calls for.
    ///
    /// # Errors
    ///
    /// [`RecordError::Exhausted`] at the hard stop.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match self.sending {
            Sending::Open => self.answer_key_updates(now, out),
            Sending::Owes(alert) => self.seal_alert(alert, now, out),
            Sending::Ended => Ok(()),
        }
    }

    fn before_sealing(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.sending != Sending::Open {
            return Err(RecordError::Closed);
        }
        self.answer_key_updates(now, out)?;
        let may_update =
            self.send.epoch() <= self.receive.epoch() || self.receiving == Receiving::Closed;
        if may_update && self.send.is_due(&self.limits, now) {
            self.seal_key_update(now, out)?;
        }
        Ok(())
    }

    /// Catches up with the peer's epoch: at most 31 steps, as the 32nd unanswered one was refused.
    fn answer_key_updates(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), RecordError> {
        while self.send.epoch() < self.receive.epoch() {
            self.seal_key_update(now, out)?;
        }
        Ok(())
    }

    fn seal_key_update(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.seal(RecordType::KeyUpdate, b"", out)?;
        self.send.ratchet(now)
    }

    #[inline]
    fn seal(
        &mut self,
        kind: RecordType,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let len = content.len() + 1 + TAG;
        let header = u32::try_from(len).map_err(|_| RecordError::ContentTooLong)?.to_be_bytes();
        let nonce = self.send.nonce(&self.limits)?;
        // Advance before sealing: a failure wastes a number, never repeats a nonce.
        self.send.advance(u64::from(u32::from_be_bytes(header)))?;

        out.reserve(HEADER + len);
        let start = out.len();
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.push(kind as u8);
        let (_, plain) = out.split_at_mut(start + HEADER);
        match self.send.cipher().seal(&nonce, &header, plain) {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(_) => {
                // Plaintext must not leave with the buffer.
                out.truncate(start);
                return Err(RecordError::ContentTooLong);
            }
        }
        Ok(())
    }
}
