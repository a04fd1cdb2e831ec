//! Files that are not what they should be: shown as such, and the console goes on.

use std::fs;
use std::path::PathBuf;

use bailiwick_console::{Config, ConsoleError, start};

use crate::world::{Console, World, ask, column};

#[tokio::test]
async fn an_audit_file_of_random_bytes_is_no_log() {
    let world = World::new();
    let mut bytes = vec![0; 3 << 20];
    rand::fill(&mut bytes[..]);
    fs::write(&world.audit, bytes).unwrap();
    let console = world.console().await;
    let page = console.until("/", |page| page.contains("state bad")).await;
    assert!(page.contains("Tampered with"), "{page}");
    assert!(page.contains("audit.jsonl:1: "), "{page}");
    assert_eq!(console.get("/?log=all").await.status, 200);
    assert_eq!(console.get("/record/1").await.status, 404);
}

#[tokio::test]
async fn an_empty_log_is_called_empty() {
    let world = World::new();
    fs::write(&world.audit, "").unwrap();
    let console = world.console().await;
    let empty = |page: &str| page.contains(">Empty<") && page.contains("Nobody has been refused");
    console.until("/", empty).await;
}

#[tokio::test]
async fn a_log_without_refusals_says_so() {
    let world = World::new();
    let _monitor = world.monitor();
    let console = world.console().await;
    // The list follows the state of the log, a moment later.
    let whole = |page: &str| page.contains("state good\">Whole");
    let nobody = |page: &str| page.contains("Nobody has been refused anything.");
    console.until("/", |page| whole(page) && nobody(page)).await;
    assert!(console.get("/?verb=x").await.body.contains("No refusal fits this filter."));
    assert!(console.get("/suggest").await.body.contains("No row to propose."));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_tried_again() {
    let world = World::new();
    fs::create_dir(&world.audit).unwrap();
    let console = world.console().await;
    console.until("/", |page| page.contains("Cannot be read")).await;
    fs::remove_dir(&world.audit).unwrap();
    ask(&world.monitor(), "alice", "read", "grades/a");
    console.until("/", |page| page.contains("state good\">Whole")).await;
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_opened() {
    let world = World::new();
    fs::remove_file(&world.policy).unwrap();
    fs::create_dir(&world.policy).unwrap();
    let config = Config { audit: PathBuf::from("/dev/zero"), ..world.config() };
    let console = Console::start(config).await;
    let page = console.until("/", |page| page.matches("not a regular file").count() >= 2).await;
    assert!(page.matches("state bad").count() >= 2, "{page}");
}

#[tokio::test]
async fn a_policy_that_is_missing_is_told_and_taken_when_it_comes() {
    let world = World::new();
    ask(&world.monitor(), "alice", "read", "grades/a");
    let text = fs::read(&world.policy).unwrap();
    fs::remove_file(&world.policy).unwrap();
    let console = world.console().await;
    let page = console.until("/policy", |page| page.contains("state bad")).await;
    assert!(page.contains("policy.acl: no such file"), "{page}");
    let page = console.until("/", |page| column(page, "c-object").len() == 1).await;
    let seq = page.split("<tr role=\"row\" id=\"r").nth(1).unwrap().split('"').next().unwrap();
    let record = console.get(&format!("/record/{seq}")).await.body;
    assert!(record.contains("The policy file has not been loaded"), "{record}");
    assert!(console.get("/suggest").await.body.contains("has not been loaded"));
    fs::write(&world.policy, text).unwrap();
    console.until(&format!("/record/{seq}"), |page| page.contains("deny by line 5")).await;
}

#[tokio::test]
async fn a_number_that_no_record_has_is_not_found() {
    let console = World::new().console().await;
    for seq in ["0", "18446744073709551615", "99999999999999999999", "-1", "x", "1%2f2", "%ff"] {
        assert_eq!(console.get(&format!("/record/{seq}")).await.status, 404, "{seq}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let world = World::new();
    let console = world.console().await;
    let config = Config { listen: console.running.address(), ..world.config() };
    let error = start(config).await.unwrap_err();
    assert!(
        matches!(error, ConsoleError::Listen { address, .. } if address == console.running.address())
    );
}
