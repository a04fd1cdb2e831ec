//! A walk along a log: each record follows the one before, and each checkpoint is signed by the key
//! that the one before announced.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::checkpoint::{CheckpointKey, End, Totals, is_signed_by, totals};
use super::hex::{hash_hex, unhex};
use super::line::chain;
use super::scan::{Scanned, scan};
use super::tampered::{Truncation, What};
use super::{HEARTBEAT_GRACE, IDLE_HEARTBEAT, MAX_LINE, MAX_UNSEALED, MAX_UNSEALED_FOR};

/// A walk, and what it has met.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    start: Start,
    pub(super) stream: Option<[u8; 16]>,
    pub(super) last: u64,
    pub(super) head: [u8; 32],
    head_hex: [u8; 64],
    /// Refused requests so far, in full and summed up.
    pub(super) denied: u64,
    /// Of them, those that are only in summaries.
    pub(super) summarized: u64,
    /// Records that `gap`s say are missing.
    pub(super) missing: u64,
    /// The last checkpoint; none before the first.
    pub(super) sealed: Option<Sealed>,
    pub(super) checkpoints: u64,
    /// The key that the first checkpoint announced.
    pub(super) anchor: Option<CheckpointKey>,
    /// The time of the first record after the last checkpoint.
    pub(super) unsealed_since: Option<Timestamp>,
    /// The time of the last record, as it is written.
    last_time: Vec<u8>,
    /// Whether the next record is the first of a file that is not the first.
    at_head: bool,
}

/// Where a walk may begin, and what it must meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first checkpoint of a log.
    Anchor,
    /// With that, or with the record that begins a later file; what that one says is believed.
    AnyFile,
    /// Anywhere at number one; there are no checkpoints. Logs in memory are so.
    Bare,
}

/// What the last checkpoint said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) seq: u64,
    pub(super) next: CheckpointKey,
    pub(super) end: End,
    pub(super) time: Option<Timestamp>,
}

/// What the walk met in a file.
pub(super) enum Next {
    /// A record that fits, with so many bytes, its line end included.
    Record(u64),
    /// Nothing more.
    End,
    /// So many bytes without a line end.
    Torn(u64),
    /// Something that does not fit.
    Tampered(What),
}

impl Chain {
    pub(super) fn new(start: Start) -> Self {
        Self {
            start,
            stream: None,
            last: 0,
            head: [0; 32],
            head_hex: [b'0'; 64],
            denied: 0,
            summarized: 0,
            missing: 0,
            sealed: None,
            checkpoints: 0,
            anchor: None,
            unsealed_since: None,
            last_time: Vec::new(),
            at_head: false,
        }
    }

    /// Says that another file of the log begins.
    pub(super) fn begin_file(&mut self) -> Result<(), What> {
        if self.last == 0 {
            return Ok(());
        }
        self.at_head = true;
        // We rotate at a checkpoint and nowhere else.
        match &self.sealed {
            Some(sealed) if sealed.seq == self.last => Ok(()),
            _ => Err(self.unsealed()),
        }
    }

    pub(super) fn next(
        &mut self,
        reader: &mut impl BufRead,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Next> {
        Ok(match read_line(reader, buffer)? {
            RawLine::End => Next::End,
            RawLine::Torn => Next::Torn(buffer.len() as u64),
            RawLine::TooLong => Next::Tampered(What::TooLong),
            RawLine::Whole => match self.link(buffer) {
                Ok(()) => Next::Record(buffer.len() as u64 + 1),
                Err(what) => Next::Tampered(what),
            },
        })
    }

    /// Checks that `line` is the next record.
    pub(super) fn link(&mut self, line: &[u8]) -> Result<(), What> {
        let record = scan(line).ok_or(What::NotARecord)?;
        let hash = self.own_hash(&record)?;
        let stream = unhex(record.stream).ok_or(What::NotARecord)?;
        if self.stream.is_some_and(|known| known != stream) {
            return Err(What::OtherStream);
        }
        if self.last == 0 {
            self.begin(&record)?;
        } else if self.at_head != (record.event == b"rotate") && self.start != Start::Bare {
            return Err(What::Misplaced);
        }
        let expected = self.last.saturating_add(1);
        if record.seq != expected {
            return Err(What::OutOfOrder { expected, found: record.seq });
        }
        if record.prev != self.head_hex {
            return Err(What::Unchained);
        }
        let denied = record.denials().ok_or(What::NotARecord)?;
        self.denied = self.denied.saturating_add(denied);
        match record.event {
            b"summary" => self.summarized = self.summarized.saturating_add(denied),
            b"gap" => {
                self.missing = self.missing.saturating_add(record.number("count").unwrap_or(0));
            }
            _ => {}
        }
        if record.event == b"checkpoint" {
            self.seal(&record)?;
        } else {
            self.count_unsealed(&record)?;
        }
        self.last_time.clear();
        self.last_time.extend_from_slice(record.raw_time);
        self.at_head = false;
        self.stream = Some(stream);
        self.last = expected;
        self.head = hash;
        self.head_hex.copy_from_slice(record.hash);
        Ok(())
    }

    /// The record's own hash comes first, so that an edit is called an edit and not a disorder.
    fn own_hash(&self, record: &Scanned<'_>) -> Result<[u8; 32], What> {
        let prev = if record.prev == self.head_hex {
            self.head
        } else {
            unhex(record.prev).ok_or(What::NotARecord)?
        };
        let hash = chain(&prev, record.hashed);
        if hash_hex(&hash) == record.hash { Ok(hash) } else { Err(What::Edited) }
    }

    /// Takes the first record of all.
    fn begin(&mut self, record: &Scanned<'_>) -> Result<(), What> {
        match (self.start, record.event) {
            (Start::Bare, _) => Ok(()),
            (_, b"checkpoint") if record.seq == 1 => {
                // The first one is signed by the key that it announces.
                let next = totals(record).ok_or(What::NotARecord)?.next;
                self.anchor = Some(next);
                self.sealed = Some(Sealed { seq: 0, next, end: End::Open, time: None });
                Ok(())
            }
            (Start::AnyFile, b"rotate") => {
                let next = record.public_key("next").map(CheckpointKey);
                let next = next.ok_or(What::NotARecord)?;
                self.last = record.seq.checked_sub(1).ok_or(What::NotARecord)?;
                self.head = unhex(record.prev).ok_or(What::NotARecord)?;
                self.head_hex = hash_hex(&self.head);
                self.denied = record.number("denied").ok_or(What::NotARecord)?;
                let seq = self.last;
                self.sealed = Some(Sealed { seq, next, end: End::Open, time: record.time() });
                Ok(())
            }
            _ if record.seq != 1 => Err(What::OutOfOrder { expected: 1, found: record.seq }),
            _ => Err(What::Unsealed { last_checkpoint: 0, records: 1 }),
        }
    }

    fn seal(&mut self, record: &Scanned<'_>) -> Result<(), What> {
        let said = totals(record).ok_or(What::NotARecord)?;
        if let Some(sealed) = &self.sealed
            && !is_signed_by(record, sealed.next)
        {
            return Err(What::Resigned);
        }
        if said.denied != self.denied && self.start != Start::Bare {
            return Err(What::Totals { said: said.denied, counted: self.denied });
        }
        let time = record.time();
        let Totals { next, end, .. } = said;
        self.sealed = Some(Sealed { seq: record.seq, next, end, time });
        self.checkpoints += 1;
        self.unsealed_since = None;
        Ok(())
    }

    fn count_unsealed(&mut self, record: &Scanned<'_>) -> Result<(), What> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        if record.seq - sealed.seq > MAX_UNSEALED {
            return Err(self.unsealed());
        }
        if self.unsealed_since.is_none() {
            self.unsealed_since = Some(record.time().ok_or(What::NotARecord)?);
        }
        Ok(())
    }

    /// Records after the last checkpoint.
    pub(super) fn unsealed_records(&self) -> u64 {
        self.last - self.sealed.as_ref().map_or(0, |sealed| sealed.seq)
    }

    /// Looks at the end of the log as it was at `at`: the records after the last checkpoint must
    /// not have waited for theirs too long, and an open log must have had its heartbeat.
    pub(super) fn end(&self, at: Option<Timestamp>) -> Result<(), What> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let last = std::str::from_utf8(&self.last_time).ok().and_then(|time| time.parse().ok());
        let late = |since: Timestamp, now: Timestamp, allowed: Duration| {
            let allowed = SignedDuration::try_from(allowed + HEARTBEAT_GRACE);
            now.duration_since(since) > allowed.unwrap_or(SignedDuration::MAX)
        };
        if let (Some(since), Some(last)) = (self.unsealed_since, last)
            && late(since, at.map_or(last, |at| at.max(last)), MAX_UNSEALED_FOR)
        {
            return Err(self.unsealed());
        }
        // Anybody can forge an unsealed record, but an open log has had its checkpoint by then.
        if let (Some(since), Some(time)) = (self.unsealed_since, sealed.time)
            && sealed.end == End::Open
            && late(time, since, IDLE_HEARTBEAT)
        {
            let missed = Truncation::HeartbeatMissed { last: time, at: since };
            return Err(What::Truncated(missed));
        }
        match (at, sealed.time) {
            // Unsealed records, not yet due, are a sign of life too.
            (Some(at), Some(time)) if sealed.end == End::Open || sealed.seq != self.last => {
                if late(last.unwrap_or(time).max(time), at, IDLE_HEARTBEAT) {
                    return Err(What::Truncated(Truncation::HeartbeatMissed { last: time, at }));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn unsealed(&self) -> What {
        let last_checkpoint = self.sealed.as_ref().map_or(0, |sealed| sealed.seq);
        What::Unsealed { last_checkpoint, records: self.last - last_checkpoint }
    }
}

pub(super) enum RawLine {
    /// A line, in the buffer without its end.
    Whole,
    /// Bytes without a line end, in the buffer.
    Torn,
    /// More than [`MAX_LINE`] bytes; the rest is unread.
    TooLong,
    End,
}

/// Reads a line of bounded length.
pub(super) fn read_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<RawLine> {
    buffer.clear();
    let bound = MAX_LINE as u64;
    let read = reader.by_ref().take(bound).read_until(b'\n', buffer)?;
    Ok(if buffer.last() == Some(&b'\n') {
        buffer.pop();
        RawLine::Whole
    } else if read == 0 {
        RawLine::End
    } else if read == MAX_LINE {
        RawLine::TooLong
    } else {
        RawLine::Torn
    })
}
