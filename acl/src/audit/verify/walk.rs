//! A walk along all files of a log, held against what is known from elsewhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};

use jiff::Timestamp;

use super::{Expected, Report, Witnessed};
use crate::audit::chain::{Chain, Next, Start};
use crate::audit::checkpoint::End;
use crate::audit::hex::hex;
use crate::audit::tampered::{Tampered, Truncation, What};

/// A walk along all files, and what is known from elsewhere.
pub(super) struct Walk<'a> {
    chain: Chain,
    expected: &'a Expected,
    /// Checkpoints kept elsewhere that are still to come, by their numbers. A forged one may have been
    /// kept behind the true one, so all of a number count.
    witnessed: BTreeMap<u64, Vec<&'a Witnessed>>,
    files: u64,
    line: u64,
    /// Bytes of whole records in the present file.
    bytes: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(start: Start, expected: &'a Expected) -> Self {
        let mut witnessed = BTreeMap::<_, Vec<_>>::new();
        for kept in &expected.checkpoints {
            witnessed.entry(kept.seq).or_default().push(kept);
        }
        Self { chain: Chain::new(start), expected, witnessed, files: 1, line: 0, bytes: 0 }
    }

    pub(super) fn begin_file(&mut self) -> Result<(), Tampered> {
        let line = self.line;
        (self.line, self.bytes) = (0, 0);
        self.files += 1;
        self.chain.begin_file().map_err(|what| Tampered { file: None, line, what })
    }

    pub(super) fn file(&mut self, reader: &mut impl BufRead) -> Result<(), Tampered> {
        let mut buffer = Vec::new();
        loop {
            match self.chain.next(reader, &mut buffer) {
                Ok(Next::Record(bytes)) => {
                    self.line += 1;
                    self.bytes += bytes;
                }
                Ok(Next::End) => return Ok(()),
                Ok(Next::Torn(_)) => return Err(self.tampered(What::TornEnd)),
                Ok(Next::Tampered(what)) => return Err(self.tampered(what)),
                Err(error) => return Err(self.tampered(What::Unreadable(error.to_string()))),
            }
            self.compare().map_err(|what| Tampered { file: None, line: self.line, what })?;
        }
    }

    /// Walks on in the last file after a torn end, as long as that grows: a running server may be in
    /// the middle of a record. It grows to [`MAX_LINE`](crate::audit::MAX_LINE) bytes at most.
    pub(super) fn on(
        &mut self,
        mut walked: Result<(), Tampered>,
        reader: &mut BufReader<File>,
        pause: &mut dyn FnMut(),
    ) -> Result<(), Tampered> {
        while matches!(&walked, Err(Tampered { what: What::TornEnd, .. })) {
            let unreadable = |error: io::Error| self.tampered(What::Unreadable(error.to_string()));
            let seen = reader.stream_position().map_err(unreadable)?;
            pause();
            if reader.get_ref().metadata().map_err(unreadable)?.len() <= seen {
                break;
            }
            reader.seek(SeekFrom::Start(self.bytes)).map_err(unreadable)?;
            walked = self.file(reader);
        }
        walked
    }

    /// The next line is the one.
    fn tampered(&self, what: What) -> Tampered {
        Tampered { file: None, line: self.line + 1, what }
    }

    /// Compares the record just met with what is known from elsewhere.
    fn compare(&mut self) -> Result<(), What> {
        let chain = &self.chain;
        if chain.last == 1
            && let (Some(wanted), Some(found)) = (self.expected.anchor, chain.anchor)
            && wanted != found
        {
            return Err(What::OtherAnchor { found });
        }
        let kept = self.witnessed.remove(&chain.last).unwrap_or_default();
        let differs =
            |kept: &Witnessed| kept.hash != chain.head || Some(kept.stream) != chain.stream;
        if kept.into_iter().any(differs) {
            return Err(What::NotAsWitnessed { seq: chain.last });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Report, Tampered> {
        let chain = &self.chain;
        let at_end = |what| Tampered { file: None, line: self.line, what };
        if let Some(seq) = self.witnessed.keys().next_back() {
            let last = chain.last;
            let later = Truncation::WitnessedLater { last, seq: *seq };
            return Err(at_end(What::Truncated(later)));
        }
        if chain.last == 0 && self.expected.anchor.is_some() {
            return Err(at_end(What::Truncated(Truncation::Empty)));
        }
        let at = self.expected.at.and_then(|at| Timestamp::try_from(at).ok());
        chain.end(at).map_err(at_end)?;
        let sealed = chain.sealed.as_ref();
        Ok(Report {
            files: self.files,
            records: chain.last,
            denials: chain.denied,
            summarized: chain.summarized,
            missing: chain.missing,
            checkpoints: chain.checkpoints,
            unsealed: chain.unsealed_records(),
            sealed_at: sealed.and_then(|sealed| sealed.time).map(|time| time.to_string()),
            closed: sealed
                .is_some_and(|sealed| sealed.end == End::Closed && sealed.seq == chain.last),
            stream: chain.stream.map(|stream| hex(&stream)),
            anchor: chain.anchor,
            head: hex(&chain.head),
            witnessed: self.expected.checkpoints.iter().map(|kept| kept.seq).max(),
        })
    }
}
