//! What comes while one looks: news, growth, rotation, and tampering.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use bailiwick_console::Config;

use crate::world::{Console, World, ask, column, denial, line};

#[tokio::test]
async fn a_refusal_is_announced_and_then_on_the_page() {
    let world = World::new();
    let monitor = world.monitor();
    ask(&monitor, "alice", "read", "grades/a");
    let console = world.console().await;
    console.until("/", |page| column(page, "c-object") == ["grades/a"]).await;
    let mut events = console.events().await;
    let head = line(&mut events, "content-type").await;
    assert!(head.contains("text/event-stream"), "{head}");
    line(&mut events, "data: 0").await;
    // Without news there is a pulse every five seconds; wait for one so that the next is far.
    line(&mut events, "data: 1").await;
    let began = Instant::now();
    ask(&monitor, "alice", "read", "grades/b");
    line(&mut events, "data: 2").await;
    assert!(began.elapsed() < Duration::from_secs(4), "that was the pulse");
    console.until("/", |page| column(page, "c-object") == ["grades/b", "grades/a"]).await;
}

#[tokio::test]
async fn a_log_that_grows_is_whole_up_to_its_last_record() {
    let world = World::new();
    let monitor = world.monitor();
    ask(&monitor, "alice", "read", "grades/a");
    let console = world.console().await;
    let verified =
        |page: &str| page.contains("state good\">Whole") && page.contains("<dd>record 3</dd>");
    console.until("/", verified).await;
    ask(&monitor, "alice", "read", "grades/b");
    let page = console.until("/", |page| page.contains("<dd>record 4</dd>")).await;
    assert!(page.contains("state good\">Whole"), "{page}");
    assert!(page.contains("<dd>record 1, "), "its checkpoint: {page}");
    let log = fs::read_to_string(&world.audit).unwrap();
    let head = log.trim_end().rsplit_once("\"h\":\"").unwrap().1.trim_end_matches("\"}");
    assert!(page.contains(head), "{head} in {page}");
}

#[tokio::test]
async fn an_edit_of_what_was_verified_before_is_found_with_its_line() {
    let world = World::new();
    let monitor = world.monitor();
    ask(&monitor, "alice", "read", "grades/a");
    ask(&monitor, "alice", "read", "grades/b");
    let console = world.console().await;
    console.until("/", |page| page.contains("state good\">Whole")).await;
    let log = fs::read_to_string(&world.audit).unwrap();
    fs::write(&world.audit, log.replace("grades/a", "grades/c")).unwrap();
    let page = console.until("/", |page| page.contains("state bad")).await;
    assert!(page.contains("Tampered with"), "{page}");
    let page =
        console.until("/", |page| page.contains("audit.jsonl:3: the record was edited")).await;
    assert!(page.contains("role=\"alert\""), "{page}");
}

#[tokio::test]
async fn a_tail_that_is_cut_while_one_looks_is_missed() {
    let world = World::new();
    let monitor = world.monitor();
    for object in ["grades/a", "grades/b", "grades/c"] {
        ask(&monitor, "alice", "read", object);
    }
    let console = world.console().await;
    console.until("/", |page| page.contains("<dd>record 5</dd>")).await;
    let log = fs::read_to_string(&world.audit).unwrap();
    let cut: String = log.split_inclusive('\n').take(4).collect();
    fs::write(&world.audit, cut).unwrap();
    let page = console.until("/", |page| page.contains("state bad")).await;
    assert!(page.contains("Tampered with"), "{page}");
    assert!(page.contains("its tail was cut"), "{page}");
}

#[tokio::test]
async fn another_log_in_the_place_of_the_first_is_not_taken_for_it() {
    let world = World::new();
    ask(&world.monitor(), "alice", "read", "grades/a");
    let console = world.console().await;
    console.until("/", |page| page.contains("state good\">Whole")).await;
    fs::rename(&world.audit, world.folder.path().join("elsewhere")).unwrap();
    fs::remove_file(world.folder.path().join("audit.jsonl.key")).unwrap();
    ask(&world.monitor(), "alice", "read", "grades/a");
    let page = console.until("/", |page| page.contains("state bad")).await;
    assert!(page.contains("Tampered with"), "{page}");
}

#[tokio::test]
async fn rotated_files_are_one_log_and_none_of_their_records_is_lost() {
    let world = World::new();
    let log = world.log().open().unwrap();
    let console = world.console().await;
    for round in 0..3 {
        for object in ["a", "b"] {
            log.append(&denial(&format!("{round}/{object}")), SystemTime::now()).unwrap();
        }
        log.rotate(SystemTime::now()).unwrap();
    }
    log.append(&denial("last"), SystemTime::now()).unwrap();
    let wanted = ["last", "2/b", "2/a", "1/b", "1/a", "0/b", "0/a"];
    let page = console.until("/", |page| column(page, "c-object") == wanted).await;
    assert!(!page.contains("state bad"), "{page}");
    console.until("/", |page| page.contains("state good\">Whole")).await;
    // And whoever comes later sees the same.
    let later = world.console().await;
    later
        .until("/", |page| {
            column(page, "c-object") == wanted && page.contains("state good\">Whole")
        })
        .await;
    let searched = later.get("/?log=all").await.body;
    assert_eq!(column(&searched, "c-object"), wanted);
}

#[tokio::test]
async fn a_log_that_comes_after_its_console_is_waited_for() {
    let world = World::new();
    let console = world.console().await;
    let page = console.until("/", |page| page.contains("no such file")).await;
    assert!(page.contains("made when the server starts"), "{page}");
    ask(&world.monitor(), "alice", "read", "grades/a");
    console.until("/", |page| column(page, "c-object") == ["grades/a"]).await;
}

#[tokio::test]
async fn a_record_that_is_being_written_is_no_tampering() {
    let world = World::new();
    let monitor = world.monitor();
    ask(&monitor, "alice", "read", "grades/a");
    let console = world.console().await;
    console.until("/", |page| page.contains("<dd>record 3</dd>")).await;
    let whole = fs::metadata(&world.audit).unwrap().len();
    let mut file = fs::OpenOptions::new().append(true).open(&world.audit).unwrap();
    file.write_all(b"{\"v\":1,\"seq\":4,").unwrap();
    // What the writer does when a write breaks: it cuts back and writes anew.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!console.get("/").await.body.contains("Tampered"));
    file.set_len(whole).unwrap();
    ask(&monitor, "alice", "read", "grades/b");
    let page = console.until("/", |page| page.contains("<dd>record 4</dd>")).await;
    assert!(!page.contains("Tampered"), "{page}");
}

#[tokio::test]
async fn a_log_written_anew_as_a_whole_is_found_by_its_anchor() {
    let world = World::new();
    let anchor = world.monitor().audit().anchor();
    fs::remove_file(&world.audit).unwrap();
    fs::remove_file(world.folder.path().join("audit.jsonl.key")).unwrap();
    let _forged = world.monitor();
    let console = Console::start(Config { anchor, ..world.config() }).await;
    console.until("/", |page| page.contains("Tampered with")).await;
}
