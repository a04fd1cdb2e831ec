//! Opening: whole records, in place, and what each type does to the connection.

use std::time::Instant;

use super::{
    Alert, Flood, HEADER, Receiving, RecordError, RecordType, Records, Sending, Violation,
};
use crate::aead::{Aead as _, TAG};

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'b> {
    /// The next piece of the stream of frames, decrypted in the caller's buffer; may be empty.
    Data(&'b mut [u8]),
    /// The peer sends no more; our direction goes on until our own close.
    Close,
    /// The peer has ended both directions.
    Alert(Alert),
    /// The peer lives.
    Ping,
    /// The peer changed its key; [`Records::poll_transmit`] writes our answer if one is owed.
    KeyUpdate,
}

/// Empty data records in a row, or key updates that answer none: this one is refused.
const FLOOD: u32 = 32;

impl Records {
    /// Opens one whole record, header included, in place.
    ///
    /// # Errors
    ///
    /// Any but [`RecordError::Closed`] has ended the connection: let [`Records::poll_transmit`] write
    /// the alert, if there is one, and close. The record's bytes then have no meaning.
    pub fn open<'b>(
        &mut self,
        record: &'b mut [u8],
        now: Instant,
    ) -> Result<Opened<'b>, RecordError> {
        match self.receiving {
            Receiving::Open => {}
            Receiving::Closed => return Err(self.fail(RecordError::AfterClose)),
            Receiving::Alerted | Receiving::Failed => return Err(RecordError::Closed),
        }
        match self.open_next(record, now) {
            Ok(opened) => Ok(opened),
            Err(error) => Err(self.fail(error)),
        }
    }

    #[inline]
    fn open_next<'b>(
        &mut self,
        record: &'b mut [u8],
        now: Instant,
    ) -> Result<Opened<'b>, RecordError> {
        if Self::record_len(record)? != Some(record.len()) {
            return Err(RecordError::BadLength);
        }
        let (header, sealed) =
            record.split_first_chunk_mut::<HEADER>().ok_or(RecordError::BadLength)?;
        let len = u64::from(u32::from_be_bytes(*header));
        let (plain, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(RecordError::BadLength)?;
        let nonce = self.receive.nonce(&self.limits)?;
        self.receive.cipher().open(&nonce, header, plain, tag).map_err(|_| RecordError::BadTag)?;
        self.receive.advance(len)?;

        let kind = plain.iter().rposition(|byte| *byte != 0);
        let (content, kind) = match kind.and_then(|at| plain.split_at_mut_checked(at)) {
            Some((content, [kind, ..])) => (content, *kind),
            _ => return Err(RecordError::Protocol(Violation::NoType)),
        };
        let kind = RecordType::from_wire(kind)
            .ok_or(RecordError::Protocol(Violation::UnknownType(kind)))?;
        self.take_in(kind, content, now)
    }

    #[inline]
    fn take_in<'b>(
        &mut self,
        kind: RecordType,
        content: &'b mut [u8],
        now: Instant,
    ) -> Result<Opened<'b>, RecordError> {
        match (kind, &*content) {
            (RecordType::Data, []) => {
                self.empty_in_a_row += 1;
                if self.empty_in_a_row >= FLOOD {
                    return Err(RecordError::LimitExceeded(Flood::EmptyRecords));
                }
                return Ok(Opened::Data(content));
            }
            (RecordType::Data, _) => self.unanswering_updates = 0,
            (RecordType::KeyUpdate, []) => self.change_key(now)?,
            (RecordType::Close, []) => self.receiving = Receiving::Closed,
            (RecordType::Alert, [_]) => {
                self.receiving = Receiving::Alerted;
                self.sending = Sending::Ended;
            }
            (RecordType::Ping, []) => {}
            _ => return Err(RecordError::Protocol(Violation::Content)),
        }
        self.empty_in_a_row = 0;
        Ok(match kind {
            RecordType::Data => Opened::Data(content),
            RecordType::KeyUpdate => Opened::KeyUpdate,
            RecordType::Close => Opened::Close,
            RecordType::Alert => {
                Opened::Alert(Alert::from_code(content.first().copied().unwrap_or_default()))
            }
            RecordType::Ping => Opened::Ping,
        })
    }

    fn change_key(&mut self, now: Instant) -> Result<(), RecordError> {
        let answers_ours = self.receive.epoch() < self.send.epoch();
        if !answers_ours {
            self.unanswering_updates += 1;
            if self.unanswering_updates >= FLOOD {
                return Err(RecordError::LimitExceeded(Flood::KeyUpdates));
            }
        }
        self.receive.ratchet(now)
    }
}
