//! What the system tells of directories (inotify), however much is written in them.
//!
//! Notices are taken at most once in [`PAUSE`], a bounded number at a time, by the task that waits for
//! them: there is no thread that others' writes could keep busy, and all ends when this is dropped. A
//! queue that overflows meanwhile is news too.

use std::{collections::BTreeSet, ffi::OsString, io, path::PathBuf, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};
use tokio::time::{self, Instant};

/// The shortest time between two looks at what the system tells.
const PAUSE: Duration = Duration::from_millis(50);

/// Most notices that are taken at once. The system keeps 16,384, which so are taken in a fifth of a second.
const BATCH: usize = 4_096;

/// Bytes of notices that are read at once; one with the longest name has 272.
const BUFFER: usize = 16 * 1_024;

/// What may change what a path leads to. A file counts once it is closed: each of the writes to an audit
/// log that lies beside a policy would be told of otherwise.
const WATCHED: WatchMask = WatchMask::ATTRIB
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);

/// Notices of some directories, of files with some names.
#[derive(Debug)]
pub(super) struct Notices {
    stream: EventStream<Vec<u8>>,
    names: BTreeSet<OsString>,
    /// When they may be looked at again.
    next: Instant,
}

impl Notices {
    /// Begins to watch `folders` for what concerns files called `names`, and links on the way to them.
    /// Blocks for as long as the system looks the folders up; within a runtime.
    pub(super) fn of(
        folders: impl IntoIterator<Item = PathBuf>,
        names: BTreeSet<OsString>,
    ) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        for folder in folders {
            inotify.watches().add(folder, WATCHED)?;
        }
        let stream = inotify.into_event_stream(vec![0; BUFFER])?;
        Ok(Self { stream, names, next: Instant::now() })
    }

    /// Waits for one that concerns the files. Nothing is lost if this is dropped before.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        loop {
            time::sleep_until(self.next).await;
            let mut event = self.stream.next().await;
            self.next = Instant::now() + PAUSE;
            let mut news = false;
            for taken in 1..=BATCH {
                news |= self.concerns(&event.ok_or(io::ErrorKind::UnexpectedEof)??);
                if taken == BATCH {
                    break;
                }
                let Some(another) = self.stream.next().now_or_never() else { break };
                event = another;
            }
            if news {
                return Ok(());
            }
        }
    }

    /// What is written to other files is no news: an audit log often lies in the same directory. A link on
    /// the way to a file may have any name, and after an overflow notices are missing.
    fn concerns(&self, event: &EventOwned) -> bool {
        let of_content = EventMask::CLOSE_WRITE | EventMask::ATTRIB;
        !of_content.intersects(event.mask)
            || event.name.as_ref().is_some_and(|name| self.names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[tokio::test]
    async fn others_files_that_come_and_go_without_end_are_news_at_a_bounded_rate() {
        let folder = tempfile::tempdir().unwrap();
        let mut notices = Notices::of([folder.path().to_owned()], BTreeSet::new()).unwrap();
        let path = folder.path().join("other");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let writer = thread::spawn(move || {
            let mut times = 0;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                fs::write(&path, "x").unwrap();
                fs::remove_file(&path).unwrap();
                times += 1;
            }
            times
        });
        let begun = Instant::now();
        for _ in 0..6 {
            notices.next().await.unwrap();
        }
        // The first comes at once.
        assert!(begun.elapsed() >= 5 * PAUSE, "{:?}", begun.elapsed());
        drop(stop);
        assert!(writer.join().unwrap() > 6);
    }

    #[tokio::test]
    async fn what_is_written_to_other_files_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["mine", "other"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names = BTreeSet::from(["mine".into()]);
        let mut notices = Notices::of([folder.path().to_owned()], names).unwrap();
        let is_news =
            async |notices: &mut Notices| time::timeout(4 * PAUSE, notices.next()).await.is_ok();
        fs::write(folder.path().join("other"), "x").unwrap();
        assert!(!is_news(&mut notices).await);
        fs::write(folder.path().join("mine"), "x").unwrap();
        assert!(is_news(&mut notices).await);
        fs::rename(folder.path().join("other"), folder.path().join("another")).unwrap();
        assert!(is_news(&mut notices).await, "it may be a link on the way");
    }
}
