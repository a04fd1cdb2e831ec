//! From a file of settings to a server.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

use bailiwick_acl::monitor::ModeError;
use bailiwick_crypto::key_file::{self, KeyFileError};
use tempfile::TempDir;

use super::*;
use crate::{
    health::Health,
    policy_file::SignedPolicyError,
    server::{ServeError, Server},
};

const SETTINGS: &str = r#"
identity = "server.key"
listen = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]
[policy]
file = "policy.acl"
principals = "principals.acl"
#policy
[audit]
file = "audit.jsonl"
reserve = 0
#audit
[limits]
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate(&mut rand::rng());
    key_file::create(folder.path().join("server.key"), &identity, "", None).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("policy.acl", "serial 4\nalice | health | read | allow\n");
    write("principals.acl", &format!("principal alice = {}\n", identity.public_key()));
    folder
}

/// The settings with `more` in the place of `at`.
fn settings(folder: &TempDir, at: &str, more: &str) -> ServerFile {
    let path = folder.path().join("bailiwick.toml");
    fs::write(&path, SETTINGS.replace(at, more)).unwrap();
    ServerFile::read(path).unwrap()
}

#[test]
fn a_file_that_is_no_regular_one_is_refused_and_not_waited_for() {
    let folder = folder();
    let path = folder.path().join("bailiwick.toml");
    crate::regular_file::tests::pipe(&path);
    let (tell, told) = mpsc::channel();
    let read = path.clone();
    thread::spawn(move || {
        let _ = tell.send(ServerFile::read(read));
    });
    match told.recv_timeout(Duration::from_secs(10)).expect("nobody writes into the pipe") {
        Err(ServerFileError::Unreadable { source, name }) => {
            assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(name, path.display().to_string());
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"identity = \"\xff\"").unwrap();
    let latin = ServerFile::read(&path).unwrap_err();
    assert!(
        matches!(&latin, ServerFileError::Unreadable { source, .. } if source.kind() == io::ErrorKind::InvalidData),
        "{latin:?}"
    );
}

async fn bind(folder: &TempDir, at: &str, more: &str) -> Result<Server, ServeError> {
    settings(folder, at, more).builder().unwrap().service(Health::default()).bind().await
}

/// What is said of a file that cannot be used, from its line on.
fn unusable(folder: &TempDir, at: &str, more: &str) -> (String, Unusable) {
    match settings(folder, at, more).builder() {
        Err(ServerFileError::Unusable { setting, source }) => {
            let told = setting.to_string();
            (told.rsplit_once("bailiwick.toml:").unwrap().1.to_owned(), source)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_has_the_ports_the_key_and_the_policy_of_its_file() {
    let folder = folder();
    let server = bind(&folder, "", "").await.unwrap();
    assert_eq!(server.addresses().len(), 2);
    let key = Identity::read(folder.path().join("server.key")).unwrap().public_key();
    assert_eq!(server.identity(), key);
    assert_eq!(server.policy_handle().in_force().serial, Some(4));
}

#[tokio::test]
async fn each_file_of_the_audit_is_where_it_was_asked_for() {
    let folder = folder();
    let more = "second = \"second.jsonl\"\ncheckpoints = \"elsewhere.jsonl\"\n\
                key_file = \"sealing\"\nredaction_key = \"marks\"\n";
    let server = bind(&folder, "#audit", more).await.unwrap();
    assert!(server.audit_anchor().is_some());
    drop(server);
    for name in ["audit.jsonl", "second.jsonl", "elsewhere.jsonl", "sealing", "marks"] {
        assert!(folder.path().join(name).is_file(), "no {name}");
    }
    for name in ["audit.jsonl.key", "audit.jsonl.hmac"] {
        assert!(!folder.path().join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_log_rotates_and_reserves_as_it_is_told() {
    let folder = folder();
    drop(bind(&folder, "#audit", "rotate_at = 1").await.unwrap());
    assert!(folder.path().join("audit.jsonl.000001").is_file());
    let blocks = |file: &str| folder.path().join(file).metadata().unwrap().blocks() * 512;
    assert!(blocks("audit.jsonl") < 1 << 20);
    drop(
        bind(
            &folder,
            "file = \"audit.jsonl\"\nreserve = 0",
            "file = \"other.jsonl\"\nreserve = 2_000_000",
        )
        .await
        .unwrap(),
    );
    let reserved = blocks("other.jsonl");
    // A file system that cannot reserve has nothing.
    assert!(reserved < 1 << 20 || (2_000_000..4_000_000).contains(&reserved), "{reserved}");
}

#[tokio::test]
async fn what_is_asked_of_the_policy_is_asked_when_the_server_is_built() {
    let folder = folder();
    let key = Identity::generate(&mut rand::rng()).public_key();
    let unsigned = bind(&folder, "#policy", &format!("signer = \"{key}\"")).await;
    assert!(matches!(
        unsigned,
        Err(ServeError::Signature(SignedPolicyError::Unsigned { signer, .. })) if signer == key
    ));
    let older = bind(&folder, "#policy", "at_least = 5").await.unwrap_err();
    assert!(
        matches!(&older, ServeError::Policy(errors) if errors.to_string().contains("serial")),
        "{older:?}"
    );
    bind(&folder, "#policy", "at_least = 4").await.unwrap();
    fs::write(folder.path().join("next.acl"), "alice | health | raed | allow\n").unwrap();
    let shadow = bind(&folder, "#policy", "shadow = \"next.acl\"").await.unwrap_err();
    assert!(
        matches!(&shadow, ServeError::Policy(errors) if errors.to_string().contains("next.acl")),
        "{shadow:?}"
    );
}

#[tokio::test]
async fn who_is_permissive_is_a_principal_of_the_policy_and_for_a_week_at_most() {
    let folder = folder();
    let until = |days: u64| {
        let time = SystemTime::now() + Duration::from_secs(days * 24 * 3600);
        jiff::Timestamp::try_from(time).unwrap().to_string()
    };
    let ask = |who: &str, days| format!("[policy.permissive]\n{who} = {}", until(days));
    bind(&folder, "#policy", &ask("alice", 6)).await.unwrap();
    let refused = bind(&folder, "#policy", &ask("alice", 8)).await;
    assert!(
        matches!(refused, Err(ServeError::Mode(ModeError::TooLong { principal })) if principal == "alice")
    );
    let refused = bind(&folder, "#policy", &ask("eve", 6)).await;
    assert!(
        matches!(refused, Err(ServeError::Mode(ModeError::UnknownPrincipal { principal })) if principal == "eve")
    );
}

#[test]
fn a_file_that_cannot_be_used_is_told_of_where_it_is_named() {
    let folder = folder();
    let (told, cause) = unusable(&folder, "server.key", "none.key");
    assert_eq!(told, "2:12: `identity` cannot be used");
    assert!(matches!(cause, Unusable::Identity(KeyFileError::Read { .. })));
    let (told, cause) = unusable(&folder, "\"policy.acl\"", "\"none.acl\"");
    assert_eq!(told, "5:8: `policy.file` cannot be used");
    assert!(matches!(cause, Unusable::Policy(_)));
    let (told, _) = unusable(&folder, "\"principals.acl\"", "\"none.acl\"");
    assert_eq!(told, "6:14: `policy.principals` cannot be used");
    let (told, _) = unusable(&folder, "#policy", "shadow = \"none.acl\"");
    assert_eq!(told, "7:10: `policy.shadow` cannot be used");
    let (told, cause) = unusable(&folder, "\"audit.jsonl\"", "\"none/audit.jsonl\"");
    assert_eq!(told, "9:8: `audit.file` cannot be used");
    assert!(matches!(cause, Unusable::Audit(AuditError::Io { .. })), "{cause:?}");
    let key = Identity::generate(&mut rand::rng()).public_key();
    let witness = format!(
        "[audit.witness]\nendpoint = \"tcp://127.0.0.1:1\"\nserver = \"{key}\"\nidentity = \"none.key\""
    );
    let (told, cause) = unusable(&folder, "#audit", &witness);
    assert_eq!(told, "14:12: `audit.witness.identity` cannot be used");
    assert!(matches!(cause, Unusable::Identity(KeyFileError::Read { .. })), "{cause:?}");
    // Nothing was made on the way to what failed.
    assert!(!folder.path().join("audit.jsonl").exists());
    let key = folder.path().join("server.key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o640)).unwrap();
    let (_, cause) = unusable(&folder, "", "");
    assert!(matches!(cause, Unusable::Identity(KeyFileError::Permissions { mode: 0o640, .. })));
}
