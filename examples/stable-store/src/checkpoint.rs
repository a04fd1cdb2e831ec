//! A checkpoint: the state at one record, written beside the log that goes on, then put in place.

use std::{fmt, sync::Arc};

use crate::{
    Lsn, OpenError, Rejected, StoreError,
    format::{self, CHECKPOINT, CHECKPOINT_TMP, FOOTER, FOOTER_MARK, HEADER, Header, ITEM_HEADER},
    planted::{Bug, planted},
    segment::{self, Reader, failed},
    storage::{File, Storage},
    store::Shared,
};

/// The bytes that are gathered for one write.
const BUFFER: usize = 256 << 10;
/// The bytes after which the file is synced while it is written. One sync of 100 MB at the end
/// would keep the log's, which the file system orders with it, waiting for 50 ms; these are short.
const SYNC_EVERY: u64 = 8 << 20;

/// Writes a checkpoint's items. It may do so on another thread, while the store goes on.
///
/// Dropped unfinished, it leaves a file that nobody reads and the next checkpoint replaces.
pub struct CheckpointWriter<S: Storage> {
    shared: Arc<Shared<S>>,
    under_way: Arc<()>,
    file: S::File,
    header: Header,
    buffer: Vec<u8>,
    crc: u32,
    items: u64,
    bytes: u64,
    synced: u64,
    max_item: u32,
}

/// A checkpoint that is in its place, and the log files that it made useless are still there:
/// for [`Store::finish_checkpoint`](crate::Store::finish_checkpoint).
#[derive(Debug)]
#[must_use = "the log files that the checkpoint replaced are still there"]
pub struct Written {
    pub(crate) first_segment: u64,
    pub(crate) _under_way: Arc<()>,
    lsn: Lsn,
    bytes: u64,
}

impl Written {
    /// The last record that is in it.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<S: Storage> CheckpointWriter<S> {
    pub(crate) fn new(
        shared: Arc<Shared<S>>,
        under_way: Arc<()>,
        header: Header,
        max_item: u32,
    ) -> Result<Self, StoreError> {
        let file = segment::create_over(&shared.storage, CHECKPOINT_TMP)
            .map_err(|failure| shared.poison(failure))?;
        let buffer = header.encode(format::Kind::Checkpoint).to_vec();
        let crc = format::u32_at(&buffer, HEADER - 4);
        Ok(Self {
            shared,
            under_way,
            file,
            header,
            buffer,
            crc,
            items: 0,
            bytes: 0,
            synced: 0,
            max_item,
        })
    }

    /// The last record that is in it.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.header.lsn
    }

    /// Adds an item: what [`Replay::restore`](crate::Replay::restore) is given, in the same order.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLong`]; that of the storage, after which the store is poisoned.
    pub fn item(&mut self, item: &[u8]) -> Result<(), StoreError> {
        self.shared.check()?;
        let len = u32::try_from(item.len()).ok().filter(|len| *len <= self.max_item);
        let len = len.ok_or(StoreError::TooLong { len: item.len(), max: self.max_item })?;
        self.put(len, item);
        self.items += 1;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Makes it the checkpoint: synced, renamed, the directory synced.
    ///
    /// # Errors
    ///
    /// That of the storage, after which the store is poisoned.
    pub fn finish(mut self) -> Result<Written, StoreError> {
        self.shared.check()?;
        self.put(FOOTER_MARK, &self.items.to_le_bytes());
        self.flush()?;
        if !planted(Bug::NoSyncBeforeRename) {
            self.sync()?;
        }
        let shared = &self.shared;
        let storage = &shared.storage;
        storage
            .rename(CHECKPOINT_TMP, CHECKPOINT)
            .map_err(failed("rename to", CHECKPOINT))
            .map_err(|e| shared.poison(e))?;
        if !planted(Bug::NoDirSyncAfterRename) {
            storage.sync_dir().map_err(failed("sync", ".")).map_err(|e| shared.poison(e))?;
        }
        Ok(Written {
            first_segment: self.header.segment,
            _under_way: self.under_way,
            lsn: self.header.lsn,
            bytes: self.bytes,
        })
    }

    fn put(&mut self, len: u32, bytes: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&len.to_le_bytes());
        self.buffer.extend_from_slice(bytes);
        self.crc = format::put_crc(&mut self.buffer, start, self.crc);
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.synced = self.bytes;
        self.file
            .sync()
            .map_err(failed("sync", CHECKPOINT_TMP))
            .map_err(|failure| self.shared.poison(failure))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file
            .append(&self.buffer)
            .map_err(failed("write", CHECKPOINT_TMP))
            .map_err(|failure| self.shared.poison(failure))?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        if self.bytes - self.synced >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }
}

impl<S: Storage> fmt::Debug for CheckpointWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointWriter")
            .field("lsn", &self.header.lsn)
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

/// Reads all items in order, and returns the bytes of the file. It was synced before it got its
/// name, so whatever is wrong with it is damage.
pub(crate) fn read<S: Storage>(
    storage: &S,
    header: &Header,
    restore: &mut dyn FnMut(&[u8]) -> Result<(), Rejected>,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, OpenError> {
    let io = |source| OpenError::from(failed("read", CHECKPOINT)(source));
    let file = storage.open(CHECKPOINT).map_err(failed("open", CHECKPOINT))?;
    let mut reader = Reader::new(file, Vec::new(), HEADER as u64).map_err(io)?;
    let mut crc = format::u32_at(&header.encode(format::Kind::Checkpoint), HEADER - 4);
    let mut items: u64 = 0;
    loop {
        let offset = reader.offset();
        let damaged =
            |what| OpenError::DamagedCheckpoint { name: CHECKPOINT.to_owned(), offset, what };
        let remaining = reader.remaining();
        let bytes = reader.peek(ITEM_HEADER).map_err(io)?;
        if bytes.is_empty() && planted(Bug::FooterNotChecked) {
            return Ok(reader.size);
        }
        if bytes.len() < ITEM_HEADER {
            return Err(damaged("it ends in the middle"));
        }
        let (found, len) = (format::u32_at(bytes, 0), format::u32_at(bytes, 4));
        let size =
            if len == FOOTER_MARK { FOOTER } else { ITEM_HEADER.saturating_add(len as usize) };
        if (len != FOOTER_MARK && len > format::MAX_PAYLOAD) || size as u64 > remaining {
            return Err(damaged("an item is longer than the file or than any item"));
        }
        let bytes = reader.peek(size).map_err(io)?;
        let Some(covered) = bytes.get(4..size) else {
            return Err(damaged("it ends in the middle"));
        };
        crc = crc32c::crc32c_append(crc, covered);
        if crc != found {
            return Err(damaged("an item's checksum is wrong"));
        }
        if len == FOOTER_MARK {
            return match (format::u64_at(covered, 4) == items, remaining == size as u64) {
                (true, true) => Ok(reader.size),
                (false, _) => Err(damaged("the number of items is another")),
                (_, false) => Err(damaged("there is more behind its end")),
            };
        }
        let name = CHECKPOINT.to_owned();
        restore(&covered[4..]).map_err(|Rejected(reason)| OpenError::Rejected {
            name,
            offset,
            reason,
        })?;
        items += 1;
        reader.consume(size);
        progress(reader.offset());
    }
}
