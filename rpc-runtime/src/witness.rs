//! Checkpoints of an audit log on another machine: a service that keeps them, and the sink that sends
//! them there.
//!
//! Whoever controls a machine can cut off the tail of its log and leave it like a log that was closed
//! in order. He cannot take back the checkpoints that another machine has; `bailiwick audit verify
//! --checkpoints FILE` holds the log against them.
//!
//! ```text
//! # rows of the witness's policy: whose logs it keeps. `*` is any stream; its name, once it is
//! # known, keeps others from sending checkpoints of logs of their own.
//! table-server | audit/* | witness | allow
//! ```
//!
//! In the settings of the server whose log it is, `[audit.witness]` is all; the witness itself is a
//! service like any other:
//!
//! ```no_run
//! # async fn serve(server: bailiwick::ServerBuilder) -> Result<(), Box<dyn std::error::Error>> {
//! use bailiwick::witness::{CheckpointArchive, WitnessServer};
//!
//! let witness = WitnessServer::new(CheckpointArchive::in_folder("/var/lib/witness"));
//! server.service(witness).serve_until(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bailiwick_acl::audit::{Sink, SinkError, Space, Syncer, WitnessFolder, stream_of_checkpoint};
use bailiwick_crypto::{Identity, PublicKey};
use serde::{Deserialize, Serialize};
use tokio::{runtime, task, time};

use crate::{client::Channel, clock, context::Context, endpoint::Endpoint, error::CallError};

/// How long a witness may take for all that is sent at once, connecting included. The log does not
/// wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a witness says that a checkpoint is not kept.
const TELL: Duration = Duration::from_secs(1);

/// What a witness is asked. [`CheckpointArchive`] implements it, [`WitnessSink`] asks.
#[bailiwick_macros::rpc_service(crate = "crate", verb = "witness")]
pub trait Witness {
    /// Keeps the next checkpoint of a stream: its line as the log has it, without its end. It is on
    /// the witness's disk when this is answered. The last one may be sent again.
    #[rpc(object = "audit/{stream}", idempotent)]
    async fn attest(
        &self,
        cx: &Context,
        stream: String,
        checkpoint: String,
    ) -> Result<(), CallError<NotAttested>>;
}

/// Why a witness did not keep a checkpoint, in its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct NotAttested(pub String);

/// Checkpoints in a folder, a file for each log: `<stream>.jsonl`, as `audit verify --checkpoints`
/// takes it. A checkpoint that is not signed by the key that the one before announced is refused, and
/// so is one that comes out of its order; the first of a log is taken on trust.
#[derive(Clone, Debug)]
pub struct CheckpointArchive(Arc<Mutex<Archive>>);

#[derive(Debug)]
struct Archive {
    folder: WitnessFolder,
    /// When it was last told that one is not kept, and how many others were not since.
    told: Option<Instant>,
    untold: u64,
}

impl CheckpointArchive {
    /// An archive in `folder`, which is there and is this process's alone.
    #[must_use]
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        let folder = WitnessFolder::new(folder);
        Self(Arc::new(Mutex::new(Archive { folder, told: None, untold: 0 })))
    }
}

impl Archive {
    /// Says that a checkpoint is not kept, in quotes, since it may repeat its sender's words.
    fn warn(&mut self, stream: &str, error: &str) {
        if let Some(others) = self.tells(clock::now()) {
            tracing::warn!(?error, ?stream, others, "a checkpoint is not kept");
        }
    }

    /// Whether it is time to tell of one, and of how many others nobody was told: whoever may send them
    /// may send as many as he likes.
    fn tells(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TELL) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Witness for CheckpointArchive {
    async fn attest(
        &self,
        _: &Context,
        stream: String,
        checkpoint: String,
    ) -> Result<(), CallError<NotAttested>> {
        let archive = Arc::clone(&self.0);
        let attested = task::spawn_blocking(move || {
            // It says itself what it has written.
            let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
            let attested = archive.folder.attest(&stream, checkpoint.as_bytes());
            if let Err(error) = &attested {
                // Its sender may be the last to tell of it.
                archive.warn(&stream, &error.to_string());
            }
            attested
        });
        match attested.await {
            Ok(attested) => {
                attested.map_err(|error| CallError::App(NotAttested(error.to_string())))
            }
            Err(_) => Err(CallError::Internal),
        }
    }
}

/// Sends the checkpoints of a log to a witness, for
/// [`AuditLogBuilder::witness`](crate::AuditLogBuilder::witness). It has the log's thread for it, so
/// that no call waits; what cannot be sent is sent again, as long as the log's ring holds it.
pub struct WitnessSink {
    endpoint: Endpoint,
    server: PublicKey,
    identity: Identity,
    name: PathBuf,
    /// The last line that was attested, if others that came with it were not.
    attested: Option<Vec<u8>>,
}

impl WitnessSink {
    /// A sink that calls the witness with the key `server` at `endpoint` as `identity`.
    #[must_use]
    pub fn new(endpoint: Endpoint, server: PublicKey, identity: Identity) -> Self {
        let name = PathBuf::from(endpoint.to_string());
        Self { endpoint, server, identity, name, attested: None }
    }

    async fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        let channel = Channel::connect(self.endpoint.clone(), self.server, self.identity.clone());
        let client = WitnessClient::new(channel.await.map_err(io::Error::other)?);
        let whole = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let sent = whole.clone().position(|line| self.attested.as_deref() == Some(line));
        for line in whole.skip(sent.map_or(0, |at| at + 1)) {
            let text = str::from_utf8(line).map_err(io::Error::other)?;
            let stream = stream_of_checkpoint(line).ok_or(io::ErrorKind::InvalidData)?;
            let context = Context::within(PATIENCE);
            let attested = client.attest(&context, stream, text.to_owned()).await;
            attested.map_err(|error| io::Error::other(error.to_string()))?;
            self.attested = Some(line.to_vec());
        }
        Ok(())
    }
}

impl Sink for WitnessSink {
    fn name(&self) -> &Path {
        &self.name
    }

    fn write(&mut self, lines: &[u8]) -> Result<Space, SinkError> {
        let failed = SinkError::io(
            "send checkpoints of the log to the witness for",
            "see whether the witness runs, and what its policy and its audit log say",
        );
        // The log outlives the program's runtime, and is closed without one.
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(&failed)?;
        runtime.block_on(async {
            match time::timeout(PATIENCE, self.send(lines)).await {
                Ok(sent) => sent.map(|()| Space::Free).map_err(&failed),
                Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
            }
        })
    }

    fn syncer(&self) -> Result<Syncer, SinkError> {
        // What is answered is on the witness's disk.
        Ok(Box::new(|| Ok(())))
    }
}

impl fmt::Debug for WitnessSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessSink")
            .field("endpoint", &self.endpoint)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_that_are_not_kept_are_told_of_once_a_second_and_counted() {
        let mut archive = Archive { folder: WitnessFolder::new("unused"), told: None, untold: 0 };
        let now = Instant::now();
        let at = [0, 1, 999, 1_000, 1_999, 2_000].map(|ms| now + Duration::from_millis(ms));
        let told = at.map(|at| archive.tells(at));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
