//! A policy that must be signed: every byte of it, and never an older one again.

use std::{fs, path::Path};

use bailiwick::{
    AuditLog, Endpoint, PolicyFile, ReloadError, ServeError, Server, SignedPolicyError,
    testing::test_identity,
};
use bailiwick_crypto::detached::{self, Detached, SignatureError};

use crate::{
    policies::{Folder, next, with_keys},
    probe::{Counting, Probe as _, ProbeServer, State},
    world::{World, cx},
};

fn sign(policy: &Path, principals: Option<&Path>) {
    sign_as("signer", policy, principals);
}

fn sign_as(signer: &str, policy: &Path, principals: Option<&Path>) {
    let texts: Vec<_> = [Some(policy), principals]
        .into_iter()
        .flatten()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let parts: Vec<_> = texts.iter().map(|text| &text[..]).collect();
    let signed = Detached::sign(&test_identity(signer), detached::POLICY, &parts);
    signed.write(&detached::path_of(policy)).unwrap();
}

fn signed(folder: &Folder) -> PolicyFile {
    PolicyFile::read(folder.policy())
        .unwrap()
        .signed_by(test_identity("signer").public_key())
        .unwrap()
}

async fn start(policy: PolicyFile) -> Result<Server, ServeError> {
    Server::builder(test_identity("server"))
        .policy(policy)
        .audit(AuditLog::memory())
        .service(ProbeServer::new(Counting(State::new())))
        .listen(Endpoint::tcp("127.0.0.1:0"))
        .bind()
        .await
}

fn rows(serial: u64) -> String {
    format!("serial {serial}\nbob | table/k{serial} | write | allow\n")
}

#[tokio::test]
async fn a_server_that_wants_a_signature_does_not_start_without_it() {
    let folder = Folder::with(&rows(1));
    let error = start(signed(&folder)).await.unwrap_err();
    assert!(
        matches!(error, ServeError::Signature(SignedPolicyError::Unsigned { .. })),
        "{error:?}"
    );
    let report = format!("{:?}", miette::Report::new(error));
    assert!(report.contains("bailiwick acl sign"), "{report}");

    sign_as("somebody", &folder.policy(), None);
    let error = start(signed(&folder)).await.unwrap_err();
    let other = test_identity("somebody").public_key();
    assert!(
        matches!(
            &error,
            ServeError::Signature(SignedPolicyError::Refused {
                source: SignatureError::OtherSigner { found },
                ..
            }) if *found == other
        ),
        "{error:?}"
    );

    sign(&folder.policy(), None);
    assert!(start(signed(&folder)).await.is_ok());

    folder.save("bob | table/k | write | allow\n");
    sign(&folder.policy(), None);
    let error = start(signed(&folder)).await.unwrap_err();
    assert!(matches!(error, ServeError::Signature(SignedPolicyError::NoSerial { .. })));
}

#[tokio::test]
async fn every_byte_of_policy_principals_and_signature_counts() {
    let folder = Folder::with("");
    let (policy, principals) = (folder.policy(), folder.path("principals.acl"));
    fs::write(&policy, rows(1)).unwrap();
    fs::write(&principals, with_keys("")).unwrap();
    sign(&policy, Some(&principals));
    let signer = test_identity("signer").public_key();
    let load = || {
        let file = PolicyFile::read(&policy).unwrap().with_principals(&principals).unwrap();
        start(file.signed_by(signer).unwrap())
    };
    assert!(load().await.is_ok());
    for path in [&policy, &principals, &detached::path_of(&policy)] {
        let whole = fs::read(path).unwrap();
        for at in 0..whole.len() {
            for changed in [
                [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat(),
                [&whole[..at], &whole[at + 1..]].concat(),
            ] {
                fs::write(path, changed).unwrap();
                let error = load().await.unwrap_err();
                assert!(
                    matches!(error, ServeError::Signature(SignedPolicyError::Refused { .. })),
                    "byte {at} of {}: {error:?}",
                    path.display()
                );
            }
        }
        fs::write(path, whole).unwrap();
    }
    // Without its principals, or as their own, it is another policy.
    let alone = PolicyFile::read(&policy).unwrap().signed_by(signer).unwrap();
    assert!(matches!(start(alone).await, Err(ServeError::Signature(_))));
    assert!(load().await.is_ok());
}

async fn follow(folder: &Folder, policy: PolicyFile) -> World {
    folder.serve(policy).await
}

#[tokio::test]
async fn an_old_signed_policy_is_not_put_in_place_of_a_newer_one() {
    let folder = Folder::with(&rows(7));
    sign(&folder.policy(), None);
    let old = [folder.policy(), detached::path_of(&folder.policy())]
        .map(|path| (fs::read(&path).unwrap(), path));
    let world = follow(&folder, signed(&folder)).await;
    folder.save(&rows(8));
    sign(&folder.policy(), None);
    let newer = world.policy.reload().await.unwrap().revision;

    for (text, path) in &old {
        fs::write(path, text).unwrap();
    }
    let error = world.policy.reload().await.unwrap_err();
    assert!(matches!(error, ReloadError::Older { new: Some(7), in_force: 8, .. }), "{error:?}");
    assert_eq!(world.policy.in_force(), newer);
    assert_eq!(world.records("reason", "serial").len(), 1);

    // Nor of one with the same serial, which its author forgot to raise.
    folder.save(&(rows(8) + "bob | table/more | write | allow\n"));
    sign(&folder.policy(), None);
    let error = world.policy.reload().await.unwrap_err();
    assert!(matches!(error, ReloadError::SameSerial { serial: 8, .. }), "{error:?}");
    assert_eq!(world.policy.in_force(), newer);

    // A server that starts has seen no other; it can be told.
    for (text, path) in &old {
        fs::write(path, text).unwrap();
    }
    assert!(start(signed(&folder)).await.is_ok());
    let error = start(signed(&folder).at_least(8)).await.unwrap_err();
    let ServeError::Policy(errors) = error else { panic!("{error:?}") };
    assert!(errors.to_string().contains("serial 7 is lower than 8"), "{errors}");
}

#[tokio::test]
async fn an_unsigned_change_stays_out_until_it_is_signed() {
    let folder = Folder::with(&rows(1));
    sign(&folder.policy(), None);
    let signer = test_identity("signer").public_key();
    let world = follow(&folder, folder.watched().signed_by(signer).unwrap()).await;
    let (bob, mut outcomes) = (world.client("bob").await, world.policy.outcomes());
    folder.rename_over(&rows(2));
    let error = next(&mut outcomes).await.unwrap_err();
    assert!(
        matches!(
            error,
            ReloadError::Signature(SignedPolicyError::Refused {
                source: SignatureError::DoesNotFit,
                ..
            })
        ),
        "{error:?}"
    );
    assert!(bob.increment(&cx(), "k2".into()).await.is_err());
    assert_eq!(bob.increment(&cx(), "k1".into()).await, Ok(1));
    assert_eq!(world.records("reason", "signature").len(), 1);
    // That the signature comes is enough.
    sign(&folder.policy(), None);
    assert_eq!(next(&mut outcomes).await.unwrap().revision.serial, Some(2));
    assert_eq!(bob.increment(&cx(), "k2".into()).await, Ok(2));
    fs::remove_file(detached::path_of(&folder.policy())).unwrap();
    let error = next(&mut outcomes).await.unwrap_err();
    assert!(matches!(error, ReloadError::Signature(SignedPolicyError::Unsigned { .. })));
    assert_eq!(bob.increment(&cx(), "k2".into()).await, Ok(3), "what is in force stays");
}
