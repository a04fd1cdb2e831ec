//! The answers that are kept for one client, and what is set aside for those to come: never more
//! than its quota, and never less than what was promised to a call that runs.

use bytes::Bytes;

use super::Given;

/// What a call that is at work sets aside for its answer at the least, in bytes: a connection's
/// 1,024 calls take half of the default quota.
const MIN_RESERVE: usize = 2048;

/// What an answer that is kept costs beside its bytes.
const RECORD: usize = 128;

/// A method's long answers set aside no more than this part of the quota each, so that some of
/// its calls can always run.
const RESERVE_PARTS: usize = 4;

/// Buffers that are used again without being allocated anew: how many, and their longest.
const SPARE: (usize, usize) = (256, 1024);

/// An answer that is kept.
pub(super) enum Kept {
    Own(Vec<u8>),
    /// In an allocation of `takes` bytes, from which it was sent.
    Shared {
        answer: Bytes,
        takes: usize,
    },
}

impl Kept {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared { answer, .. } => answer,
        }
    }

    /// Bytes of memory that would be free without it.
    pub(super) fn takes(&self) -> usize {
        match self {
            Self::Own(buffer) => buffer.capacity(),
            Self::Shared { takes, .. } => *takes,
        }
    }
}

pub(super) struct KeptAnswers {
    /// Bytes that answers cost, and that calls at work have set aside.
    used: usize,
    quota: usize,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    /// For each method of the server the length of its answers lately, at the most.
    lengths: Vec<usize>,
}

impl KeptAnswers {
    pub(super) fn new(quota: usize) -> Self {
        Self { used: 0, quota, spare: Vec::new(), lengths: Vec::new() }
    }

    /// Bytes that answers cost, and that calls at work have set aside.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Sets aside what an answer of this method will take, judged by its answers lately; `None`
    /// if there is not so much.
    pub(super) fn set_aside(&mut self, method: usize) -> Option<usize> {
        let reserve = self.estimate(method);
        let used = self.used + reserve;
        (used <= self.quota).then(|| {
            self.used = used;
            reserve
        })
    }

    fn estimate(&self, method: usize) -> usize {
        let length = self.lengths.get(method).copied().unwrap_or_default();
        (RECORD + length).min(self.quota / RESERVE_PARTS).max(MIN_RESERVE)
    }

    /// The call for which this was set aside is over.
    pub(super) fn give_back(&mut self, reserve: usize) {
        self.used -= reserve;
    }

    /// A method that gives long answers sets more aside; one that gave one once soon less again.
    pub(super) fn learn(&mut self, method: usize, length: usize) {
        if self.lengths.len() <= method {
            self.lengths.resize(method + 1, 0);
        }
        let lately = &mut self.lengths[method];
        *lately = length.max(*lately - *lately / 8);
    }

    /// Keeps `answer`, if the quota holds it: a long one in the allocation that it shares, unless there is only
    /// room for a copy.
    pub(super) fn keep(&mut self, answer: Given<'_>) -> Option<Kept> {
        let room = self.quota.saturating_sub(self.used).checked_sub(RECORD)?;
        let kept = match answer {
            Given::Shared { answer, takes } if takes <= room => {
                Kept::Shared { answer: answer.clone(), takes }
            }
            _ => Kept::Own(self.copy(answer.bytes(), room)?),
        };
        self.used += RECORD + kept.takes();
        Some(kept)
    }

    fn copy(&mut self, answer: &[u8], room: usize) -> Option<Vec<u8>> {
        if answer.len() > room {
            return None;
        }
        let spare = self.spare.pop().filter(|spare| spare.capacity() <= room);
        let mut buffer = spare.unwrap_or_default();
        buffer.reserve_exact(answer.len());
        buffer.extend_from_slice(answer);
        Some(buffer)
    }

    /// An answer is not needed any more.
    pub(super) fn free(&mut self, kept: Kept) {
        self.used -= RECORD + kept.takes();
        if let Kept::Own(mut buffer) = kept
            && buffer.capacity() <= SPARE.1
            && self.spare.len() < SPARE.0
        {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Gives back the buffers that wait.
    pub(super) fn rest(&mut self) {
        self.spare = Vec::new();
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
