//! A folder with a policy that changes, in each way in which files do.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use bailiwick::{
    Endpoint, Outcomes, PolicyFile, ReloadError, Reloaded, Server, testing::test_identity,
};
use tempfile::TempDir;
use tokio::time;

use crate::world::World;

/// A folder with `policy.acl` in it, and the server that follows it.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// The policy gives keys to Alice, Bob and Mallory, and says what `rows` say.
    pub(crate) fn with(rows: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), rows)
    }

    /// The same where writing is fastest.
    pub(crate) fn in_memory(rows: &str) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::within(folder.unwrap(), rows)
    }

    fn within(folder: TempDir, rows: &str) -> Self {
        let folder = Self { folder };
        folder.save(rows);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.path("policy.acl")
    }

    pub(crate) fn watched(&self) -> PolicyFile {
        PolicyFile::watch(self.policy()).unwrap()
    }

    /// Writes into the file as it is.
    pub(crate) fn save(&self, rows: &str) {
        fs::write(self.policy(), with_keys(rows)).unwrap();
    }

    /// Writes aside and renames, as most editors do.
    pub(crate) fn rename_over(&self, rows: &str) {
        fs::write(self.path("aside"), with_keys(rows)).unwrap();
        fs::rename(self.path("aside"), self.policy()).unwrap();
    }

    /// Switches the link `name` to `target`, in one step.
    pub(crate) fn link(&self, target: &str, name: &str) {
        symlink(target, self.path("aside")).unwrap();
        fs::rename(self.path("aside"), self.path(name)).unwrap();
    }

    pub(crate) async fn serve(&self, policy: PolicyFile) -> World {
        let builder = Server::builder(test_identity("server"));
        World::under_file(policy, &[Endpoint::tcp("127.0.0.1:0")], builder).await
    }
}

pub(crate) fn with_keys(rows: &str) -> String {
    with_keys_of(&["alice", "bob", "mallory"], rows)
}

/// The keys of these principals, each bound to its name.
pub(crate) fn with_keys_of(names: &[&str], rows: &str) -> String {
    let keys = names
        .iter()
        .map(|name| format!("principal {name} = {}\n", test_identity(name).public_key()));
    keys.collect::<String>() + rows
}

/// The next outcome, which must come soon.
pub(crate) async fn next(outcomes: &mut Outcomes) -> Result<Reloaded, ReloadError> {
    let next = time::timeout(time::Duration::from_secs(10), outcomes.next());
    next.await.expect("something has changed").unwrap()
}
