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

use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    task,
    time::{self, Instant, MissedTickBehavior},
};

use super::{notices::Notices, reload::Reloader};
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
    let mut every = time::interval(poll);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hangup = hangup();
    let mut seen = Seen::new();
    let mut notices = None;
    loop {
        let asked = tokio::select! {
            // The first tick comes at once: the files may have changed since they were read.
            _ = every.tick() => Asked::ToLook,
            () = told(&mut notices) => Asked::ToLook,
            () = next(&mut hangup) => Asked::ToRead,
        };
        let Some(found) = at_rest(&paths, &seen, asked).await else { continue };
        // Before the files are read, so that no change falls between.
        notices = watch_folders(&paths).await.or(notices);
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

/// Watches the directories of the files, and of what they link to. They are looked up anew each time,
/// since a directory may be another one by now.
async fn watch_folders(paths: &Arc<[PathBuf]>) -> Option<Notices> {
    let (paths, runtime) = (Arc::clone(paths), Handle::current());
    let watching = task::spawn_blocking(move || {
        let _within = runtime.enter();
        Notices::of(folders(&paths), names(&paths))
    });
    match watching.await {
        Ok(Ok(notices)) => Some(notices),
        Ok(Err(error)) => {
            tracing::warn!(%error, "changes of the policy are found by looking now and then only");
            None
        }
        Err(_) => None,
    }
}

/// Waits until the system tells of a change.
async fn told(notices: &mut Option<Notices>) {
    let Some(watching) = notices else { return future::pending().await };
    if let Err(error) = watching.next().await {
        tracing::warn!(%error, "changes of the policy are found by looking now and then only");
        *notices = None;
    }
}

/// What the files are called, and what they link to, which may be called otherwise.
fn names(paths: &[PathBuf]) -> BTreeSet<OsString> {
    let targets = paths.iter().filter_map(|path| path.canonicalize().ok());
    let all = paths.iter().cloned().chain(targets);
    all.filter_map(|path| path.file_name().map(OsString::from)).collect()
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_a_file_links_to_is_watched_by_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("policy.acl"), folder.path().join("of-today.acl"));
        fs::write(&target, "").unwrap();
        symlink(&target, &link).unwrap();
        let expected = ["of-today.acl", "policy.acl"].map(OsString::from);
        assert_eq!(names(&[link]), BTreeSet::from(expected));
    }
}
