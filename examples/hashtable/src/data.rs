//! The directory of a table that is kept: taken before the server listens, read while it does.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use hashtable::{kept::KeptTable, machine::Bounds, store::Store};
use miette::{Diagnostic, Report, miette};
use stable_store::{
    FileStorage, Journal, JournalError, JournalOptions, OpenError, Opening, Options, Progress,
    Recovery, Salvaged,
};
use tokio::sync::oneshot;

use crate::{
    exit::{Exit, Failure},
    output,
    settings::Kept,
};

/// A directory that this process holds, and of which it has read nothing but its name.
pub(crate) struct Data {
    dir: PathBuf,
    opening: Opening<FileStorage>,
    salvage: bool,
    progress_every: Duration,
}

impl Data {
    /// Takes the directory for this process alone.
    ///
    /// # Errors
    ///
    /// It is no directory for a table, or not this one's, or another process has it.
    pub(crate) fn take(kept: Kept) -> Result<Self, Failure> {
        let Kept { dir, salvage, checkpoint_after, progress_every } = kept;
        let options = Options { checkpoint_bytes: checkpoint_after, ..Options::default() };
        let storage = FileStorage::open(&dir).map_err(|error| Failure::of(Exit::Service, error))?;
        let opening = Opening::new(storage, options).map_err(|error| cannot_open(&dir, error))?;
        Ok(Self { dir, opening, salvage, progress_every })
    }

    /// The table of it, which refuses calls until it is [recovered](Self::recover).
    pub(crate) fn table(&self) -> Store {
        Store::recovering(self.opening.id())
    }

    /// Reads the log into `table` and opens it, in a thread: it may take as long as the disk needs.
    pub(crate) async fn recover(
        self,
        table: Store,
        bounds: Bounds,
    ) -> Result<Journal<KeptTable>, Failure> {
        let (done, recovered) = oneshot::channel();
        // Not one of the runtime's: that would wait for it, even if a signal ends the process.
        let thread = thread::Builder::new().name("recovery".to_owned());
        let thread = thread.spawn(move || done.send(self.read_into(&table, bounds)));
        thread.map_err(|error| Failure::of(Exit::Service, error))?;
        match recovered.await {
            Ok(recovered) => recovered,
            Err(_) => Err(Failure::new(Exit::Service, miette!("the recovery panicked"))),
        }
    }

    fn read_into(self, table: &Store, bounds: Bounds) -> Result<Journal<KeptTable>, Failure> {
        let Self { dir, mut opening, salvage, progress_every } = self;
        if salvage {
            opening = salvaged(opening).map_err(|error| cannot_open(&dir, error))?;
        }
        let begun = Instant::now();
        let mut kept = table.unread(bounds);
        let (store, recovery) = opening
            .recover(&mut kept, &mut teller(begun, progress_every))
            .map_err(|error| cannot_open(&dir, error))?;
        let journal = Journal::start(store, kept, JournalOptions::default());
        table.open(journal.clone(), recovery.epoch);
        // A server goes on serving, whether or not somebody reads this.
        let _ = output::line(summary(&recovery, begun.elapsed()));
        Ok(journal)
    }
}

/// The disk failed under a table that was served.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the table can be kept no longer")]
#[diagnostic(help(
    "nothing was answered that may be lost. See to the disk, and start the server again: it \
     recovers what was answered"
))]
struct KeptNoLonger(#[source] JournalError);

/// Ends once `journal` has failed: what it holds may be on disk or not, and nobody is answered.
pub(crate) async fn failed(journal: &Journal<KeptTable>) -> Failure {
    Failure::new(Exit::Service, KeptNoLonger(journal.poisoned().await))
}

/// Syncs what is left to be synced, and lets go of the directory.
///
/// # Errors
///
/// As [`failed`].
pub(crate) async fn stop(journal: Journal<KeptTable>) -> Result<(), Failure> {
    let same = journal.clone();
    // A thread that cannot be joined has panicked, which is a failure that is told of.
    let _ = tokio::task::spawn_blocking(move || same.stop()).await;
    tokio::select! {
        biased;
        failure = failed(&journal) => Err(failure),
        () = std::future::ready(()) => Ok(()),
    }
}

fn cannot_open(dir: &Path, error: OpenError) -> Failure {
    let report = Report::from_err(error);
    Failure::new(
        Exit::Service,
        report.wrap_err(format!("cannot open the table in {}", dir.display())),
    )
}

/// Cuts off what is damaged, and says what is lost.
fn salvaged(opening: Opening<FileStorage>) -> Result<Opening<FileStorage>, OpenError> {
    let (opening, Salvaged { lost_from, reason, kept }) = opening.salvage()?;
    let Some(lost_from) = lost_from else {
        output::tell("salvage: nothing is damaged, and nothing was changed");
        return Ok(opening);
    };
    let reason = reason.unwrap_or_default();
    let kept = kept.join(", ");
    output::tell(format_args!(
        "salvage: record {lost_from} and all behind it are lost: {reason}\n\
         salvage: what was cut off is kept in {kept}"
    ));
    Ok(opening)
}

/// Tells people now and then how far a recovery is.
fn teller(begun: Instant, every: Duration) -> impl FnMut(Progress) {
    let mut next = begun + every;
    move |Progress { read, total, records }| {
        if Instant::now() >= next {
            next = Instant::now() + every;
            let (read, total) = (megabytes(read), megabytes(total));
            output::tell(format_args!("recovering: {read:.0} of {total:.0} MB, {records} records"));
        }
    }
}

fn summary(recovery: &Recovery, took: Duration) -> String {
    let Recovery { records, bytes, torn, epoch, .. } = recovery;
    let (megabytes, seconds) = (megabytes(*bytes), took.as_secs_f64());
    let rate = megabytes / seconds.max(1e-6);
    let tail = match torn {
        None => "no torn tail".to_owned(),
        Some(torn) => format!("a torn tail of {} bytes was cut off", torn.bytes),
    };
    format!(
        "recovered: {records} records, {megabytes:.1} MB in {seconds:.3} s ({rate:.0} MB/s), {tail}, \
         epoch {epoch}"
    )
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
