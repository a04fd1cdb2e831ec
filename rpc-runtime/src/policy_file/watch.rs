//! Follows the files of a policy: by the system's notices of their directories, by SIGHUP, and by
//! looking now and then.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    ffi::OsString,
    future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{DataChange, ModifyKind},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task,
    time::{self, Instant, MissedTickBehavior},
};

use super::reload::Reloader;
use crate::regular_file::Stamp;

/// Files that have not changed for this long are at rest.
const REST: Duration = Duration::from_millis(50);

/// Files that never rest are read after this long all the same.
const MAX_UNREST: Duration = Duration::from_millis(500);

/// What the files were like when they were read last.
type Seen = Vec<Option<Stamp>>;

/// Reloads the policy whenever its files change, if that is asked for.
pub(crate) async fn follow(reloader: &Arc<Reloader>) -> Infallible {
    let Some(poll) = reloader.origin.poll else { return future::pending().await };
    let paths: Arc<[PathBuf]> = reloader.origin.paths().collect();
    let news = Arc::new(Notify::new());
    let mut every = time::interval(poll);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hangup = hangup();
    let mut seen = Seen::new();
    let mut watcher = None;
    loop {
        let asked = tokio::select! {
            // The first tick comes at once: the files may have changed since they were read.
            _ = every.tick() => Asked::ToLook,
            () = news.notified() => Asked::ToLook,
            () = next(&mut hangup) => Asked::ToRead,
        };
        let Some(found) = at_rest(&paths, &seen, asked).await else { continue };
        // Before the files are read, so that no change falls between.
        watcher = watch_folders(&paths, &news).await.or(watcher);
        // What is wrong with them is on record, and told to whoever listens.
        let _ = reloader.reload().await;
        seen = found;
    }
}

/// What a follower was woken for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To read the files if they have changed.
    ToLook,
    /// To read them.
    ToRead,
}

/// The files once they rest; `None` if they are as they were and need not be read.
async fn at_rest(paths: &Arc<[PathBuf]>, seen: &Seen, asked: Asked) -> Option<Seen> {
    let until = Instant::now() + MAX_UNREST;
    let mut found = look(paths).await;
    if asked == Asked::ToLook && found == *seen {
        return None;
    }
    loop {
        time::sleep(REST).await;
        let again = look(paths).await;
        if again == found || Instant::now() >= until {
            return Some(again);
        }
        found = again;
    }
}

/// Files may lie where a look takes time.
async fn look(paths: &Arc<[PathBuf]>) -> Seen {
    let paths = Arc::clone(paths);
    let looked = task::spawn_blocking(move || paths.iter().map(|path| Stamp::of(path)).collect());
    looked.await.unwrap_or_default()
}

/// Has `news` notified of changes in the directories of the files, and of what they link to. They
/// are looked up anew each time, since a directory may be another one by now.
async fn watch_folders(paths: &Arc<[PathBuf]>, news: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let (paths, news) = (Arc::clone(paths), Arc::clone(news));
    let watching = task::spawn_blocking(move || {
        let names: BTreeSet<OsString> =
            paths.iter().filter_map(|path| path.file_name()).map(OsString::from).collect();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // After an error events may be missing.
            if event.is_err() || event.is_ok_and(|event| concerns(&event, &names)) {
                news.notify_one();
            }
        })?;
        for folder in folders(&paths) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok::<_, notify::Error>(watcher)
    });
    match watching.await {
        Ok(Ok(watcher)) => Some(watcher),
        Ok(Err(error)) => {
            tracing::warn!(%error, "changes of the policy are found by looking now and then only");
            None
        }
        Err(_) => None,
    }
}

fn folders(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("/"),
    };
    let targets = paths.iter().filter_map(|path| path.canonicalize().ok());
    paths
        .iter()
        .cloned()
        .chain(targets)
        .map(|path| folder(&path))
        .filter(|it| it.is_dir())
        .collect()
}

/// Our own reading is no news, nor is what is written to other files: an audit log often lies in the
/// same directory. A link on the way to a file may have any name.
fn concerns(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let is_ours = || {
        let mut found = event.paths.iter().filter_map(|path| path.file_name());
        found.any(|name| names.contains(name))
    };
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(
            DataChange::Any | DataChange::Content | DataChange::Size,
        )) => is_ours(),
        _ => true,
    }
}

fn hangup() -> Option<Signal> {
    match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP does not have the policy read again");
            None
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    let Some(signal) = signal else { return future::pending().await };
    if signal.recv().await.is_none() {
        future::pending::<()>().await;
    }
}
