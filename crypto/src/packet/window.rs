//! Refuses packet numbers that were accepted before, or are too old to tell (RFC 6479).
//!
//! A ring of 64-bit blocks, one more than the slots need, so that going forward clears whole blocks
//! and shifts nothing. The window starts having seen nothing.

use thiserror::Error;

/// The numbers accepted last, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayWindow {
    blocks: Box<[u64]>,
    slots: u64,
    limit: u64,
    /// One above the highest number accepted; 0 before the first.
    next: u64,
}

/// Fewest and most slots of a window.
const SLOTS: std::ops::RangeInclusive<u32> = 64..=8_192;

impl ReplayWindow {
    /// A window that tells `slots` numbers apart, brought into 64 to 8,192, and refuses numbers from
    /// `limit` on.
    pub fn new(slots: u32, limit: u64) -> Self {
        let slots = slots.clamp(*SLOTS.start(), *SLOTS.end());
        let blocks = slots.div_ceil(u64::BITS) + 1;
        Self { blocks: (0..blocks).map(|_| 0).collect(), slots: u64::from(slots), limit, next: 0 }
    }

    /// Whether a number may be accepted. Changes nothing: the packet is not authentic yet.
    ///
    /// # Errors
    ///
    /// [`WindowError`] if it was accepted before, is too old to tell, or no packet may have it.
    pub fn check(&self, number: u64) -> Result<(), WindowError> {
        if number >= self.limit {
            Err(WindowError::BeyondLimit)
        } else if number >= self.next {
            Ok(())
        } else if self.next - number > self.slots {
            Err(WindowError::TooOld)
        } else if self.blocks.get(self.index(number)).is_some_and(|block| block & bit(number) == 0)
        {
            Ok(())
        } else {
            Err(WindowError::Seen)
        }
    }

    /// Remembers a number. To be called once its packet has opened; does nothing if
    /// [`ReplayWindow::check`] refuses the number.
    pub fn accept(&mut self, number: u64) {
        if self.check(number).is_err() {
            return;
        }
        if number >= self.next {
            self.clear_up_to(number);
            // The limit is above `number`, so that one more fits.
            self.next = number.saturating_add(1);
        }
        let index = self.index(number);
        if let Some(block) = self.blocks.get_mut(index) {
            *block |= bit(number);
        }
    }

    /// One above the highest number accepted; 0 before the first.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Clears the blocks that `number` makes part of the window: none if it lies in the newest.
    fn clear_up_to(&mut self, number: u64) {
        // Before the first number all blocks are clear, and the newest is the one of number 0.
        let newest = self.next.saturating_sub(1) / BITS;
        let new_blocks = (number / BITS).saturating_sub(newest).min(self.blocks.len() as u64);
        for ahead in 1..=new_blocks {
            let index = self.index(newest.saturating_add(ahead).saturating_mul(BITS));
            if let Some(block) = self.blocks.get_mut(index) {
                *block = 0;
            }
        }
    }

    /// Where the block of a number lies in the ring.
    fn index(&self, number: u64) -> usize {
        let index = number / BITS % self.blocks.len() as u64;
        usize::try_from(index).expect("the ring has at most 129 blocks")
    }
}

/// Why a packet's number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WindowError {
    /// It was accepted before.
    #[error("the number was accepted before")]
    Seen,
    /// It lies behind the window: it may have been accepted before.
    #[error("the number lies behind the window")]
    TooOld,
    /// No packet may have it.
    #[error("the number is beyond the limit")]
    BeyondLimit,
}

const BITS: u64 = u64::BITS as u64;

fn bit(number: u64) -> u64 {
    1 << (number % BITS)
}
