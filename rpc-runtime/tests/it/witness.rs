//! A witness on another server: what it has of a log, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bailiwick::{
    AuditLog, CallError, Channel, Context, Endpoint, PolicyFile, Server,
    testing::test_identity,
    witness::{CheckpointArchive, Witness as _, WitnessClient, WitnessServer, WitnessSink},
};
use bailiwick_acl::audit::{
    Event, Expected, Record, Truncation, What, Witnessed, stream_of_checkpoint, verify_files,
};
use bailiwick_acl::policy::{Effect, Reason};
use tempfile::TempDir;
use tokio::{sync::oneshot, task, time};

/// A witness that Alice may ask, and nobody else.
struct Place {
    folder: TempDir,
    endpoint: Endpoint,
    _stop: oneshot::Sender<()>,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("witness")).unwrap();
        let key = |name| test_identity(name).public_key();
        let policy = format!(
            "principal alice = {}\nprincipal bob = {}\nalice | audit/* | witness | allow\n",
            key("alice"),
            key("bob")
        );
        let archive = CheckpointArchive::in_folder(folder.path().join("witness"));
        let server = Server::builder(test_identity("witness"))
            .policy(PolicyFile::from_text("policy.acl", policy))
            .audit(AuditLog::memory())
            .service(WitnessServer::new(archive))
            .listen(Endpoint::tcp("127.0.0.1:0"))
            .bind()
            .await
            .unwrap();
        let endpoint = Endpoint::tcp(server.addresses()[0].to_string());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.serve_until(async {
            let _ = stopped.await;
        }));
        Self { folder, endpoint, _stop: stop }
    }

    /// A life of the log: a refusal, and the end in order. Its witness has all by then.
    async fn live(&self, object: &'static str) {
        let sink = WitnessSink::new(
            self.endpoint.clone(),
            test_identity("witness").public_key(),
            test_identity("alice"),
        );
        live(self.log(), sink, object).await;
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// What the witness has.
    fn kept(&self) -> Vec<String> {
        let kept = self.folder.path().join("witness").read_dir().unwrap();
        kept.flat_map(|file| lines(&file.unwrap().path())).collect()
    }

    async fn client(&self, name: &str) -> WitnessClient {
        let server = test_identity("witness").public_key();
        let channel = Channel::connect(self.endpoint.clone(), server, test_identity(name));
        WitnessClient::new(channel.await.unwrap())
    }
}

/// A refusal on record, and the end in order.
async fn live(log: PathBuf, sink: WitnessSink, object: &'static str) {
    let builder = AuditLog::builder().file(log).reserve(0).witness(Box::new(sink));
    let live = move || {
        let log = builder.open().unwrap().into_inner();
        let denial = Record {
            object: Some(object),
            ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Row)
        };
        log.append(&denial, SystemTime::now()).unwrap();
    };
    time::timeout(Duration::from_secs(30), task::spawn_blocking(live)).await.unwrap().unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn within() -> Context {
    Context::within(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_cut_off_is_found_by_the_checkpoints_of_the_witness() {
    let place = Place::new().await;
    for object in ["table/a", "table/b"] {
        place.live(object).await;
    }
    let kept = place.kept();
    assert_eq!(kept.len(), 3, "{kept:#?}");
    let checkpoints = Witnessed::read((kept.join("\n") + "\n").as_bytes()).unwrap();
    let expected = Expected { checkpoints, ..Expected::default() };
    verify_files(&place.log(), &expected).unwrap();

    let whole = lines(&place.log());
    fs::write(place.log(), whole[..3].join("\n") + "\n").unwrap();
    let alone = verify_files(&place.log(), &Expected::default()).unwrap();
    assert!(alone.closed, "the log alone shows nothing");
    let found = verify_files(&place.log(), &expected).unwrap_err().what;
    let later = Truncation::WitnessedLater { last: 3, seq: whole.len() as u64 };
    assert_eq!(found, What::Truncated(later));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_checkpoint_an_old_one_and_one_of_another_log_are_refused_and_said_why() {
    let place = Place::new().await;
    place.live("table/a").await;
    let kept = place.kept();
    let stream = stream_of_checkpoint(kept[0].as_bytes()).unwrap();
    let alice = place.client("alice").await;
    let refused = async |stream: &str, line: &str, why: &str| match alice
        .attest(&within(), stream.to_owned(), line.to_owned())
        .await
    {
        Err(CallError::App(error)) => assert!(error.0.contains(why), "{error}"),
        other => panic!("{other:?}"),
    };
    refused(&stream, &kept[0], "checkpoint 1 does not come after 3").await;
    refused(&stream, &kept[1].replace("\"denied\":1", "\"denied\":0"), "was edited").await;
    let other = Place::new().await;
    other.live("table/a").await;
    refused(&stream, &other.kept()[0], "is of the stream").await;
    refused("x", &kept[0], "is not the name of a stream").await;
    assert_eq!(place.kept(), kept);
    // A lost answer is asked for again.
    alice.attest(&within(), stream.clone(), kept[1].clone()).await.unwrap();
    let bob = place.client("bob").await;
    let denied = bob.attest(&within(), stream, kept[1].clone()).await;
    assert!(matches!(denied, Err(CallError::Denied(_))), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_is_not_there_holds_up_no_record() {
    let place = Place::new().await;
    let sink = WitnessSink::new(
        // A port that nobody has.
        Endpoint::tcp("127.0.0.1:1"),
        test_identity("witness").public_key(),
        test_identity("alice"),
    );
    live(place.log(), sink, "table/a").await;
    assert!(verify_files(&place.log(), &Expected::default()).unwrap().closed);
    assert!(place.kept().is_empty());
}
