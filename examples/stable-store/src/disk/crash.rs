//! What a power cut leaves.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::state::{Change, Contents, Inode, State};
use super::{SECTOR, Survivors};

impl State {
    /// Forgets what was not synced, except for what survives.
    pub(super) fn crash(&mut self, survivors: Survivors) {
        let names = self.surviving_names(survivors);
        let mut files: BTreeMap<Inode, Vec<u8>> = BTreeMap::new();
        for (inode, mut contents) in std::mem::take(&mut self.files) {
            let left = match survivors {
                Survivors::Synced => contents.synced,
                Survivors::All => {
                    contents.sync();
                    contents.synced
                }
                Survivors::Any => contents.survivors(&mut self.rng, &self.recycled),
            };
            files.insert(inode, left);
        }
        self.names.clear();
        self.renamed.clear();
        for (name, inode) in names {
            // A file that two names survived of becomes two: no later change shows in both.
            let copy = self.new_inode();
            let bytes = files.get(&inode).cloned().unwrap_or_default();
            self.files.insert(copy, Contents::of(bytes));
            self.names.insert(name, copy);
        }
        self.synced_names = self.names.clone();
    }

    /// Each name stands for what it stood for at some moment since the directory's last sync.
    fn surviving_names(&mut self, survivors: Survivors) -> BTreeMap<String, Inode> {
        let mut moments: BTreeMap<String, Vec<Option<Inode>>> = BTreeMap::new();
        for (name, inode) in &self.renamed {
            let before = self.synced_names.get(name).copied();
            let moments = moments.entry(name.clone()).or_insert_with(|| vec![before]);
            moments.push(*inode);
        }
        let mut names = self.synced_names.clone();
        for (name, moments) in moments {
            let moment = match survivors {
                Survivors::Synced => 0,
                Survivors::All => moments.len() - 1,
                Survivors::Any => self.below(moments.len()),
            };
            match moments[moment] {
                Some(inode) => names.insert(name, inode),
                None => names.remove(&name),
            };
        }
        names
    }
}

/// How quick the disk was with one file. Sectors drawn one by one would almost never all survive,
/// or all be lost.
enum Mood {
    Lazy,
    Quick,
    Fickle,
}

impl Contents {
    /// Each sector as it was at some moment since the last sync, up to the size at some moment.
    pub(super) fn survivors(&self, rng: &mut Xoshiro256PlusPlus, recycled: &[Vec<u8>]) -> Vec<u8> {
        let mood = match rng.random_range(0..4) {
            0 => Mood::Lazy,
            1 => Mood::Quick,
            _ => Mood::Fickle,
        };
        let last = self.changes.len();
        let moment = |rng: &mut Xoshiro256PlusPlus| match mood {
            Mood::Lazy => 0,
            Mood::Quick => last,
            // Mostly nothing or all of it, so that holes come about in long runs of changes too.
            Mood::Fickle => match rng.random_range(0..4) {
                0 => 0,
                1 => rng.random_range(0..=last),
                _ => last,
            },
        };

        let size = self.size_at(moment(rng), rng);
        let mut image = self.synced.clone();
        image.resize(self.longest(), 0);
        let unwritten = self.synced.len().next_multiple_of(SECTOR);
        if let Some(image) = image.get_mut(unwritten..) {
            fill_unwritten(image, unwritten, rng, recycled);
        }
        let moments: Vec<usize> = (0..image.len().div_ceil(SECTOR)).map(|_| moment(rng)).collect();
        for (number, change) in self.changes.iter().enumerate() {
            let (start, end) = match change {
                Change::Append { offset, bytes } => (*offset, offset + bytes.len()),
                Change::Truncate { size } => (*size, image.len()),
            };
            for (sector, moment) in moments.iter().enumerate().skip(start / SECTOR) {
                if sector * SECTOR >= end {
                    break;
                }
                if number >= *moment {
                    continue;
                }
                let range = start.max(sector * SECTOR)..end.min((sector + 1) * SECTOR);
                match change {
                    Change::Append { offset, bytes } => {
                        let written = &bytes[range.start - offset..range.end - offset];
                        image[range].copy_from_slice(written);
                    }
                    Change::Truncate { .. } => image[range].fill(0),
                }
            }
        }
        image.truncate(size);
        image
    }

    /// The size when the first `moment` changes had been made; the last of them, an append, maybe
    /// in part.
    fn size_at(&self, moment: usize, rng: &mut Xoshiro256PlusPlus) -> usize {
        let mut size = self.synced.len();
        for (number, change) in self.changes.iter().take(moment).enumerate() {
            size = match change {
                Change::Append { offset, bytes }
                    if number + 1 == moment && rng.random_range(0..3) == 0 =>
                {
                    let sectors = bytes.len().div_ceil(SECTOR);
                    let part = rng.random_range(0..=sectors) * SECTOR;
                    ((offset + part) / SECTOR * SECTOR).clamp(*offset, offset + bytes.len())
                }
                Change::Append { offset, bytes } => offset + bytes.len(),
                Change::Truncate { size } => *size,
            };
        }
        size
    }

    /// The greatest size since the last sync.
    fn longest(&self) -> usize {
        let ends = self.changes.iter().map(|change| match change {
            Change::Append { offset, bytes } => offset + bytes.len(),
            Change::Truncate { size } => *size,
        });
        ends.fold(self.synced.len(), usize::max)
    }
}

/// Zeros stay, or what a removed file had at the same place: a segment's record, where the next
/// segment's would be.
fn fill_unwritten(
    unwritten: &mut [u8],
    offset: usize,
    rng: &mut Xoshiro256PlusPlus,
    recycled: &[Vec<u8>],
) {
    if recycled.is_empty() || rng.random() {
        return;
    }
    let left = &recycled[rng.random_range(0..recycled.len())];
    if let Some(left) = left.get(offset..) {
        let count = left.len().min(unwritten.len());
        unwritten[..count].copy_from_slice(&left[..count]);
    }
}
