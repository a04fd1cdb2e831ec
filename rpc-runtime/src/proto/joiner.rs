//! Frames out of the stream that data records carry: a frame may span records, a record may
//! hold many frames.

use bytes::Bytes;

use crate::{error::ProtocolError, marshal::BORROW_FROM};

const LENGTH: usize = 4;

/// Joins the pieces of frames that span records. It holds at most one frame, and grows with the
/// bytes that came, not with the length that was claimed.
#[derive(Debug)]
pub(crate) struct Joiner {
    partial: Vec<u8>,
    max_frame: usize,
    /// The frame in `partial` was handed out and is dropped by the next call.
    spent: bool,
}

/// One whole frame, without its length field.
#[derive(Debug)]
pub(crate) enum Joined<'a> {
    /// In the receive buffer, or small enough to be copied out of the joining buffer.
    Lent(&'a [u8]),
    /// Large and spanning records: in an allocation of its own, from which arguments borrow.
    Owned(Bytes),
}

impl Joined<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Owned(message) => message,
        }
    }

    /// The frame's own allocation, if it has one.
    pub(crate) fn shared(&self) -> Option<&Bytes> {
        match self {
            Self::Lent(_) => None,
            Self::Owned(message) => Some(message),
        }
    }
}

impl Joiner {
    /// A joiner that refuses frames longer than `max_frame` bytes.
    pub(crate) fn new(max_frame: u32) -> Self {
        Self { partial: Vec::new(), max_frame: max_frame as usize, spent: false }
    }

    /// Takes the next whole frame off the front of `plain`; `None` once all of `plain` is taken.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::FrameLength`] for a length of zero or above the limit.
    pub(crate) fn next<'a>(
        &'a mut self,
        plain: &mut &'a [u8],
    ) -> Result<Option<Joined<'a>>, ProtocolError> {
        if std::mem::take(&mut self.spent) {
            self.partial.clear();
        }
        if self.partial.is_empty()
            && let Some(size) = self.frame_size(plain)?
            && let Some((frame, behind)) = plain[LENGTH..].split_at_checked(size)
        {
            *plain = behind;
            return Ok(Some(Joined::Lent(frame)));
        }
        self.join(plain)
    }

    /// Gives memory back while no frame is half here.
    pub(crate) fn rest(&mut self) {
        if !self.is_midway() {
            self.partial = Vec::new();
            self.spent = false;
        }
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_midway(&self) -> bool {
        !self.partial.is_empty() && !self.spent
    }

    fn join<'a>(&'a mut self, plain: &mut &[u8]) -> Result<Option<Joined<'a>>, ProtocolError> {
        self.fill_to(LENGTH, plain);
        let Some(size) = self.frame_size(&self.partial)? else { return Ok(None) };
        self.fill_to(LENGTH + size, plain);
        if self.partial.len() < LENGTH + size {
            return Ok(None);
        }
        if size >= BORROW_FROM {
            let frame = Bytes::from(std::mem::take(&mut self.partial));
            return Ok(Some(Joined::Owned(frame.slice(LENGTH..))));
        }
        self.spent = true;
        Ok(Some(Joined::Lent(&self.partial[LENGTH..])))
    }

    fn fill_to(&mut self, length: usize, plain: &mut &[u8]) {
        let missing = length.saturating_sub(self.partial.len());
        let (now, later) = plain.split_at(missing.min(plain.len()));
        let come = self.partial.len() + now.len();
        if come > self.partial.capacity() {
            // Room for the whole frame once a quarter of it is here: few moves, and no claim is believed.
            self.partial.reserve_exact(length.min(4 * come) - self.partial.len());
        }
        self.partial.extend_from_slice(now);
        *plain = later;
    }

    fn frame_size(&self, bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some(length) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
        match u32::from_be_bytes(*length) as usize {
            size if (1..=self.max_frame).contains(&size) => Ok(Some(size)),
            _ => Err(ProtocolError::FrameLength),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames_of(joiner: &mut Joiner, mut plain: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            // Borrowed from the joiner for one turn only, so each frame is copied out.
            let mut rest = plain;
            match joiner.next(&mut rest).unwrap() {
                Some(Joined::Lent(frame)) => frames.push(frame.to_vec()),
                Some(Joined::Owned(frame)) => frames.push(frame.to_vec()),
                None => return frames,
            }
            plain = &plain[plain.len() - rest.len()..];
        }
    }

    fn stream(sizes: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut stream = Vec::new();
        let mut frames = Vec::new();
        for (fill, &size) in (0_u8..).zip(sizes) {
            let frame = vec![fill; size];
            stream.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
            stream.extend_from_slice(&frame);
            frames.push(frame);
        }
        (stream, frames)
    }

    #[test]
    fn frames_come_out_whole_wherever_records_cut_them() {
        let (stream, frames) = stream(&[1, 5, 300, 2, BORROW_FROM + 3, 4]);
        for piece in [1, 3, 4, 7, 100, 16_384, stream.len()] {
            let mut joiner = Joiner::new(1 << 16);
            let got: Vec<_> =
                stream.chunks(piece).flat_map(|plain| frames_of(&mut joiner, plain)).collect();
            assert_eq!(got, frames, "pieces of {piece}");
            assert!(!joiner.is_midway());
        }
    }

    #[test]
    fn a_length_out_of_range_is_refused_before_its_bytes_come() {
        for length in [0_u32, 1025, u32::MAX] {
            let mut joiner = Joiner::new(1024);
            let bytes = length.to_be_bytes();
            let refused = joiner.next(&mut &bytes[..]).unwrap_err();
            assert_eq!(refused, ProtocolError::FrameLength, "{length}");
        }
    }

    #[test]
    fn memory_follows_the_bytes_that_came_and_not_the_length_claimed() {
        let mut joiner = Joiner::new(1 << 24);
        let mut claimed = (1_u32 << 24).to_be_bytes().to_vec();
        claimed.extend_from_slice(&[0; 100]);
        assert!(joiner.next(&mut &claimed[..]).unwrap().is_none());
        assert!(joiner.partial.capacity() < 1024);
        assert!(joiner.is_midway());
    }
}
