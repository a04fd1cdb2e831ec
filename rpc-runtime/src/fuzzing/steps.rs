//! An input read as a sequence of operations. What is missing at its end reads as zeros, so that
//! any bytes are some sequence.

/// Operations of one input at the most: more only make it slow.
const MAX_STEPS: usize = 512;

pub(super) struct Steps<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Steps<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { rest: input, taken: 0 }
    }

    /// Which operation comes next, if one does.
    pub(super) fn next(&mut self) -> Option<u8> {
        self.taken += 1;
        (self.taken <= MAX_STEPS && !self.rest.is_empty()).then(|| self.byte())
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        byte
    }

    pub(super) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A place among `count`, which is not zero.
    pub(super) fn among(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// As many bytes as the next two say, or as are left.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.short()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        bytes
    }
}
