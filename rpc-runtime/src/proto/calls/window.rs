//! A client's call numbers, from the oldest that the server must still remember to the newest.

use std::collections::VecDeque;

use crate::proto::frame::SPAN;

/// No caller waits, and the server may forget the call.
const SETTLED: u32 = u32::MAX;

/// No caller waits, and the server must remember the call: somebody may ask what became of it.
const HELD: u32 = u32::MAX - 1;

#[derive(Default)]
pub(super) struct Window {
    /// For each number from `floor` on the slot where it waits, or one of the marks above.
    numbers: VecDeque<u32>,
    floor: u64,
}

impl Window {
    /// The oldest call that is not settled.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The number that the next call gets.
    pub(super) fn next(&self) -> u64 {
        self.floor + self.numbers.len() as u64
    }

    /// Whether the next number would be further from the floor than the protocol allows.
    pub(super) fn is_full(&self) -> bool {
        self.numbers.len() as u64 >= SPAN
    }

    pub(super) fn push(&mut self, slot: usize) {
        // There are never as many slots as there are numbers in the window, which fit easily.
        self.numbers.push_back(u32::try_from(slot).unwrap_or(SETTLED));
    }

    /// Where the call waits, if it does.
    pub(super) fn slot(&self, number: u64) -> Option<usize> {
        let mark = *self.numbers.get(self.index(number)?)?;
        (mark < HELD).then_some(mark as usize)
    }

    /// Nobody waits for the call any more, and the server must not forget it yet.
    pub(super) fn hold(&mut self, number: u64) {
        self.set(number, HELD);
    }

    /// The server may forget the call.
    pub(super) fn settle(&mut self, number: u64) {
        self.set(number, SETTLED);
        while self.numbers.front() == Some(&SETTLED) {
            self.numbers.pop_front();
            self.floor += 1;
        }
    }

    /// The calls beyond the floor that the server may forget, ascending.
    pub(super) fn settled(&self) -> impl Iterator<Item = u64> {
        let marked = (self.floor..).zip(&self.numbers);
        marked.filter(|(_, mark)| **mark == SETTLED).map(|(number, _)| number)
    }

    fn set(&mut self, number: u64, mark: u32) {
        let index = self.index(number);
        if let Some(at) = index.and_then(|index| self.numbers.get_mut(index)) {
            *at = mark;
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.floor)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_stops_at_what_is_held() {
        let mut window = Window::default();
        (0..4).for_each(|slot| window.push(slot));
        window.hold(1);
        window.settle(2);
        window.settle(0);
        assert_eq!((window.floor(), window.next()), (1, 4));
        assert_eq!((window.slot(1), window.slot(3)), (None, Some(3)));
        window.settle(1);
        assert_eq!(window.floor(), 3);
    }

    #[test]
    fn numbers_below_the_floor_and_beyond_the_newest_are_nobodys() {
        let mut window = Window::default();
        window.push(0);
        window.settle(0);
        window.push(7);
        assert_eq!((window.slot(0), window.slot(1), window.slot(2)), (None, Some(7), None));
    }
}
