//! The answers that are kept for one client, and what is set aside for those to come: never more
//! than its quota, and never less than what was promised to a call that runs.

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

    /// A copy of `answer`; `None` if the quota does not hold it.
    pub(super) fn keep(&mut self, answer: &[u8]) -> Option<Vec<u8>> {
        let room = self.quota.saturating_sub(self.used);
        if RECORD + answer.len() > room {
            return None;
        }
        let spare = self.spare.pop().filter(|spare| cost(spare) <= room);
        let mut buffer = spare.unwrap_or_default();
        buffer.reserve_exact(answer.len());
        buffer.extend_from_slice(answer);
        self.used += cost(&buffer);
        Some(buffer)
    }

    /// An answer is not needed any more.
    pub(super) fn free(&mut self, mut buffer: Vec<u8>) {
        self.used -= cost(&buffer);
        buffer.clear();
        if buffer.capacity() <= SPARE.1 && self.spare.len() < SPARE.0 {
            self.spare.push(buffer);
        }
    }

    /// Gives back the buffers that wait.
    pub(super) fn rest(&mut self) {
        self.spare = Vec::new();
    }
}

fn cost(kept: &Vec<u8>) -> usize {
    RECORD + kept.capacity()
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
