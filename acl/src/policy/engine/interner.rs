//! The texts of a policy, each with a number by which it is compared from then on.

use super::build::number;
use super::key::{Key, is_short};
use super::table::Table;

/// Texts and their numbers, from 0 on.
#[derive(Debug)]
pub(in crate::policy) struct Interner {
    table: Table,
    /// The texts, one after the other.
    texts: Vec<u8>,
    /// Where each text ends.
    ends: Vec<u32>,
}

impl Interner {
    /// An interner with room for so many texts before it has to grow.
    pub(in crate::policy) fn with_room(texts: usize) -> Self {
        Self { table: Table::with_room(texts), texts: Vec::new(), ends: Vec::new() }
    }

    /// The number of a text, a new one if need be.
    pub(in crate::policy) fn intern(&mut self, text: &str) -> u32 {
        if let Some(known) = self.find(text) {
            return known;
        }
        if self.table.is_full() {
            self.table.grow(entries(&self.texts, &self.ends), Key::text);
        }
        let entry = number(self.ends.len());
        self.texts.extend_from_slice(text.as_bytes());
        self.ends.push(number(self.texts.len()));
        self.table.insert(self.table.key().text(text.as_bytes()), entry);
        entry
    }

    /// Makes it as small as it may be, and bounds what any look-up costs.
    pub(in crate::policy) fn finish(mut self) -> Self {
        self.texts.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.table = Table::with_room(0); // gone before another takes memory
        self.table = Table::of(&entries(&self.texts, &self.ends), Key::text);
        self
    }

    /// The number of a text; `None` if the policy does not mention it.
    #[inline]
    pub(in crate::policy) fn find(&self, text: &str) -> Option<u32> {
        let text = text.as_bytes();
        if is_short(text) {
            self.table.exact(self.table.key().short_text(text))
        } else {
            self.find_long(text)
        }
    }

    #[inline(never)] // so that `find` stays small
    fn find_long(&self, text: &[u8]) -> Option<u32> {
        self.table.find(self.table.key().long_text(text), |entry| {
            entry_at(&self.texts, &self.ends, entry as usize).is_some_and(|known| known == text)
        })
    }
}

fn entry_at<'t>(texts: &'t [u8], ends: &[u32], at: usize) -> Option<&'t [u8]> {
    let from = at.checked_sub(1).map_or(Some(0), |above| ends.get(above).copied())?;
    texts.get(from as usize..*ends.get(at)? as usize)
}

/// Each text with its number.
fn entries<'t>(texts: &'t [u8], ends: &'t [u32]) -> impl Iterator<Item = (u32, &'t [u8])> + Clone {
    let mut from = 0;
    (0..).zip(ends.iter().filter_map(move |end| {
        texts.get(std::mem::replace(&mut from, *end as usize)..*end as usize)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_its_number_and_others_have_none() {
        for count in [0, 1, 2, 7, 1_000] {
            let mut interner = Interner::with_room(0);
            let texts: Vec<_> = (0..count).map(|n| format!("segment {n}")).collect();
            let numbers: Vec<_> = texts.iter().map(|text| interner.intern(text)).collect();
            for interner in [
                &interner,
                &Interner {
                    texts: interner.texts.clone(),
                    ends: interner.ends.clone(),
                    table: Table::with_room(0),
                }
                .finish(),
            ] {
                for (number, text) in numbers.iter().zip(&texts) {
                    assert_eq!(interner.find(text), Some(*number));
                }
                for absent in ["", "segment", "segment 1000", "segment 1\0"] {
                    assert_eq!(interner.find(absent), None);
                }
            }
            assert_eq!(texts.iter().map(|text| interner.intern(text)).collect::<Vec<_>>(), numbers);
        }
    }
}
