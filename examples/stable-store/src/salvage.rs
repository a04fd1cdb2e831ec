//! Going on after damage, at the operator's word: what is whole stays, the rest is kept aside.

use crate::{
    Epoch, Lsn, OpenError, Opening,
    format::{self, Header},
    log::{Reading, read_log},
    segment::{self, CHUNK, Reader, failed},
    storage::{File, Storage},
};

/// What has been given up, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the operator must know what is lost"]
pub struct Salvaged {
    /// The first record that is lost; `None` if nothing was.
    pub lost_from: Option<Lsn>,
    /// Why, and where.
    pub reason: Option<String>,
    /// The files that hold what was cut off.
    pub kept: Vec<String>,
}

impl<S: Storage> Opening<S> {
    /// Cuts the log off before the first damage, so that [`recover`](Self::recover) succeeds with
    /// the state as it was then. What was cut off stays in the directory, in files named
    /// `salvaged-…`. Without damage nothing is changed.
    ///
    /// A crash in between leaves a directory that can be salvaged again.
    ///
    /// # Errors
    ///
    /// What cutting does not cure: a damaged checkpoint, another store's files, a newer version.
    pub fn salvage(self) -> Result<(Self, Salvaged), OpenError> {
        let read = read_log(&self, &mut Reading::new(&self, &mut |_| ()), &mut |_| Ok(()));
        let stop = match read {
            Ok(_) => return Ok((self, Salvaged::default())),
            Err(stop) => stop,
        };
        let is_damage = matches!(
            stop.error,
            OpenError::DamagedHeader { .. }
                | OpenError::DamagedRecord { .. }
                | OpenError::Missing { .. }
        );
        if !is_damage {
            return Err(stop.error);
        }
        // Copies first, whole and synced: until they are, nothing is taken away.
        let from = stop.index.min(self.segments.len());
        let kept = self.segments[from..].iter().map(|segment| copy(&self.storage, &segment.name));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        self.storage.sync_dir().map_err(failed("sync", "."))?;
        self.begin_behind(stop.lsn)?;
        // A file that is good in front stays for that. What is behind the damage does not count
        // any more, because another file goes on from there.
        let good = matches!(stop.error, OpenError::DamagedRecord { .. });
        for segment in self.segments[from..].iter().skip(usize::from(good)) {
            self.storage.remove(&segment.name).map_err(failed("remove", &segment.name))?;
        }
        self.storage.sync_dir().map_err(failed("sync", "."))?;
        let lost_from = Some(stop.lsn);
        let reason = Some(stop.error.to_string());
        let opening = Self::new(self.storage, self.options)?;
        Ok((opening, Salvaged { lost_from, reason, kept }))
    }

    /// Makes an empty segment for the records from `lsn` on. Its epoch is above that of any boot
    /// whose file's header can not be read.
    fn begin_behind(&self, lsn: Lsn) -> Result<(), OpenError> {
        let (epoch, newest) = self.newest();
        // Each boot took a number, and may have left no file.
        let (Some(epoch), Some(number)) = (epoch.0.checked_add(newest), newest.checked_add(1))
        else {
            return Err(OpenError::Exhausted { name: format::segment_name(newest) });
        };
        let header = Header { store: self.id, segment: number, lsn, epoch: Epoch(epoch) };
        segment::create(&self.storage, &header)?;
        Ok(())
    }
}

/// Keeps a copy; the directory is still to be synced.
fn copy<S: Storage>(storage: &S, name: &str) -> Result<String, OpenError> {
    let copy = format!("salvaged-{name}");
    let from = storage.open(name).map_err(failed("open", name))?;
    let mut reader = Reader::new(from, Vec::new(), 0).map_err(failed("read", name))?;
    let mut to = segment::create_over(storage, &copy)?;
    loop {
        let bytes = reader.peek(CHUNK).map_err(failed("read", name))?;
        if bytes.is_empty() {
            break;
        }
        to.append(bytes).map_err(failed("write", &copy))?;
        let written = bytes.len();
        reader.consume(written);
    }
    to.sync().map_err(failed("sync", &copy))?;
    Ok(copy)
}
