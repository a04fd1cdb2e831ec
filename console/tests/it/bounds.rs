//! What holds where somebody wants too much.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, column, denial, line};

/// As the console has it.
const MAX_LISTENERS: usize = 16;

#[tokio::test]
async fn a_window_too_many_gets_no_news_and_a_closed_one_makes_room() {
    let console = World::new().console().await;
    let mut windows = Vec::new();
    for _ in 0..MAX_LISTENERS {
        let mut events = console.events().await;
        line(&mut events, "data: 0").await;
        windows.push(events);
    }
    let refused = console.get("/events").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("close one"), "{}", refused.body);
    windows.pop();
    // The place is free once the server has noticed.
    let mut again = console.events().await;
    let mut first = line(&mut again, "HTTP/1.1").await;
    for _ in 0..100 {
        if first.contains("200") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        again = console.events().await;
        first = line(&mut again, "HTTP/1.1").await;
    }
    assert!(first.contains("200"), "{first}");
}

#[tokio::test]
async fn the_page_has_a_hundred_rows_and_a_search_five_hundred() {
    let world = World::new();
    let log = world.log().open().unwrap();
    for number in 0..700 {
        log.append(&denial(&format!("course/{number}")), SystemTime::now()).unwrap();
    }
    let console = world.console().await;
    let page = console.until("/", |page| page.contains("out of 700 records")).await;
    assert_eq!(column(&page, "c-object").len(), 100);
    assert!(page.contains("100 shown of 700 that fit"), "{page}");
    let all = console.get("/?log=all").await.body;
    assert_eq!(column(&all, "c-object").len(), 500);
    assert_eq!(column(&all, "c-object")[0], "course/699");
    assert!(all.contains("500 shown of 700 that fit in the whole log"), "{all}");
}

#[tokio::test]
async fn of_a_long_log_only_the_end_is_held_and_the_rest_is_found() {
    let world = World::new();
    let mut file = fs::File::create(&world.audit).unwrap();
    let mut write = |seq: u64, before: u64| {
        // A hole in the file costs nothing; what is in it is no record.
        file.seek(SeekFrom::Current(i64::try_from(before).unwrap())).unwrap();
        let end = if before > 0 { "\n" } else { "" };
        writeln!(
            file,
            "{end}{{\"v\":1,\"seq\":{seq},\"ts\":\"2026-11-22T12:00:00Z\",\"stream\":\"00\",\
             \"event\":\"decision\",\"decision\":\"deny\",\"object\":\"o/{seq}\"}}"
        )
        .unwrap();
    };
    write(1, 0);
    write(2, 65 << 20);
    write(3, 0);
    let console = world.console().await;
    let page = console.until("/", |page| column(page, "c-object") == ["o/3", "o/2"]).await;
    assert!(page.contains("the log has older ones"), "{page}");
    assert_eq!(column(&console.get("/?object=o/1").await.body, "c-object"), [""; 0]);
    assert_eq!(column(&console.get("/?object=o/1&log=all").await.body, "c-object"), ["o/1"]);
    assert_eq!(console.get("/record/1").await.status, 200);
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let console = World::new().console().await;
    let mut stream = TcpStream::connect(console.running.address()).await.unwrap();
    let long = format!("GET /?object={} HTTP/1.1\r\n", "a".repeat(200_000));
    // The server may close before it has taken all of it.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    assert_eq!(console.get("/").await.status, 200);
}
