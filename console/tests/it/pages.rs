//! What the pages say.

use std::fs;
use std::net::SocketAddr;

use bailiwick_console::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{Console, POLICY, World, ask, column};

#[tokio::test]
async fn refusals_are_listed_newest_first_and_filters_choose_among_them() {
    let world = World::new();
    let monitor = world.monitor();
    ask(&monitor, "alice", "read", "grades/a");
    ask(&monitor, "bob", "write", "course/notes");
    ask(&monitor, "alice", "read", "course/notes/deep");
    ask(&monitor, "alice", "read", "course/notes");
    let console = world.console().await;
    let page = console.until("/", |page| column(page, "c-object").len() == 3).await;
    assert_eq!(column(&page, "c-object"), ["course/notes/deep", "course/notes", "grades/a"]);

    for (query, objects) in [
        ("principal=bob", vec!["course/notes"]),
        ("verb=read", vec!["course/notes/deep", "grades/a"]),
        ("object=course/*", vec!["course/notes"]),
        ("object=course/**", vec!["course/notes/deep", "course/notes"]),
        ("reason=row", vec!["grades/a"]),
        ("reason=default&principal=alice", vec!["course/notes/deep"]),
        ("since=1h", vec!["course/notes/deep", "course/notes", "grades/a"]),
        ("since=2999-01-01T00:00:00Z", vec![]),
        ("principal=nobody", vec![]),
        ("principal=+alice+&verb=&object=&reason=&since=", vec!["course/notes/deep", "grades/a"]),
    ] {
        for whole_log in ["", "&log=all"] {
            let answer = console.get(&format!("/?{query}{whole_log}")).await;
            assert_eq!(column(&answer.body, "c-object"), objects, "{query}{whole_log}");
        }
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_says_how_to_write_it() {
    let console = World::new().console().await;
    for (query, advice) in
        [("object=exam*.txt", "whole segment"), ("since=yesterday", "write `15m`")]
    {
        let page = console.get(&format!("/?{query}")).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains(advice), "{query}: {}", page.body);
        assert!(page.body.contains("aria-invalid=\"true\""));
    }
    assert_eq!(console.get("/?verb=a&verb=b").await.status, 400);
}

#[tokio::test]
async fn what_is_refused_most_is_counted_and_leads_to_its_records() {
    let world = World::new();
    let monitor = world.monitor();
    for _ in 0..3 {
        ask(&monitor, "alice", "read", "grades/a");
    }
    ask(&monitor, "bob", "write", "course/notes");
    let console = world.console().await;
    let page = console.until("/", |page| page.contains("<b>3</b>")).await;
    assert!(page.contains("principal=alice&amp;verb=read&amp;object=grades%2Fa"), "{page}");
    assert!(page.contains("<bdi>alice read grades/a</bdi>"));
}

#[tokio::test]
async fn a_record_shows_the_row_that_decided_in_its_file_and_near_misses() {
    let world = World::new();
    let monitor = world.monitor();
    ask(&monitor, "bob", "read", "grades/a");
    ask(&monitor, "bob", "read", "course/notes/deep");
    let console = world.console().await;
    let page = console.until("/", |page| column(page, "c-object").len() == 2).await;
    let record = |object: &str| {
        let row =
            page.split("<tr ").find(|row| row.contains(&format!("<bdi>{object}</bdi>"))).unwrap();
        row.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };

    let denied = console.get(&record("grades/a")).await.body;
    assert!(denied.contains("deny by line 5"), "{denied}");
    assert!(denied.contains("<li value=\"5\" class=\"decides\" aria-current=\"true\"><code>*       | grades/** | *          | deny</code>"), "{denied}");
    assert!(denied.contains("The file is the revision that decided."));
    assert!(denied.contains("line 6 allows it, but line 5 denies it"), "{denied}");
    assert!(!denied.contains("data-copy"), "what a row denies is not proposed");

    let missed = console.get(&record("course/notes/deep")).await.body;
    assert!(missed.contains("no row matches"), "{missed}");
    assert!(missed.contains("id=\"row-1\">bob | course/notes/deep | read | allow<"), "{missed}");
    assert!(missed.contains(
        "<th role=\"rowheader\" scope=\"row\">peer</th><td role=\"cell\"><bdi>10.0.0.7:5123</bdi>"
    ));
}

#[tokio::test]
async fn proposed_rows_say_how_many_refusals_they_would_let_through() {
    let world = World::new();
    let monitor = world.monitor();
    for _ in 0..2 {
        ask(&monitor, "bob", "write", "course/notes");
    }
    ask(&monitor, "alice", "read", "grades/a");
    let console = world.console().await;
    console.until("/", |page| column(page, "c-object").len() == 3).await;
    let page = console.get("/suggest").await.body;
    assert!(page.contains("id=\"row-1\">bob | course/notes | write | allow</code>"), "{page}");
    assert!(page.contains("Lets through 2 of them."), "{page}");
    assert!(page.contains("line 5 denies it: somebody decided that"), "{page}");
}

#[tokio::test]
async fn a_policy_with_errors_shows_them_all_and_a_mended_one_none() {
    let world = World::new();
    let console = world.console().await;
    console.until("/policy", |page| page.contains("state good")).await;
    fs::write(&world.policy, "alice | a | wr*te | allow\nalice | a | read | alow\n").unwrap();
    let page = console.until("/policy", |page| page.contains("state bad")).await;
    assert!(page.contains("policy.acl:1:15"), "{page}");
    assert!(page.contains("policy.acl:2:20"), "{page}");
    assert!(page.contains("unknown effect"), "{page}");
    assert!(console.get("/").await.body.contains("2 errors"));
    fs::write(&world.policy, POLICY).unwrap();
    console.until("/policy", |page| page.contains("state good")).await;
}

#[tokio::test]
async fn it_shows_whether_the_file_is_the_policy_in_force() {
    let world = World::new();
    let _monitor = world.monitor();
    let console = world.console().await;
    console.until("/policy", |page| page.contains("this file, since")).await;
    fs::write(&world.policy, format!("{POLICY}bob | x | read | allow\n")).unwrap();
    console.until("/policy", |page| page.contains("another revision than this file, since")).await;
}

#[tokio::test]
async fn calls_and_latency_are_plotted_and_a_server_that_is_away_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let world = World::new();
    let metrics = Some(format!("http://{address}/metrics").parse().unwrap());
    let console = Console::start(Config { metrics, ..world.config() }).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 1_024];
    let read = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
    assert!(request.starts_with("get /metrics http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
    let page = "bailiwick_calls_total{outcome=\"ok\"} 7\n";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    console.until("/", |page| page.contains("Calls a second") && !page.contains("are away")).await;
    drop((listener, stream));
    console.until("/", |page| page.contains("metrics are away")).await;
}
