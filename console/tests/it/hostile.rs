//! Texts that an attacker chose, in every field of a record: shown as text, and run nothing.

use std::fs;
use std::time::SystemTime;

use bailiwick_acl::audit::{Event, Record};
use bailiwick_acl::policy::{Effect, Reason};

use crate::world::{World, column};

/// What a field may hold, and the pieces that no page may have of it.
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</bdi></td></table><h1>owned",
    "javascript:alert(1)",
    "a\u{202e}txt.exe",
    "a\u{1b}[31mred\u{7}\0",
    "line\r\nSet-Cookie: a=b\u{2028}x",
    "&lt;b&gt;{{7*7}}{% include \"x\" %}",
];

/// Nothing of the text is left that would be HTML, and nothing hides.
fn assert_harmless(page: &str, place: &str) {
    for raw in [
        "<script>alert",
        "<img",
        "<h1>owned",
        "onmouseover='",
        "onerror=alert(1)>",
        "href=\"javascript:",
        "\u{202e}",
        "\u{1b}",
        "\u{7}",
        "\0",
        "\u{2028}",
    ] {
        assert!(!page.contains(raw), "{raw:?} at {place}: {page}");
    }
    assert_eq!(page.matches("<script").count(), 1, "{place}");
}

#[tokio::test]
async fn hostile_texts_in_any_field_are_shown_as_text() {
    for hostile in HOSTILE {
        let world = World::new();
        let log = world.log().open().unwrap();
        let record = Record {
            key: Some(hostile),
            principal: Some(hostile),
            peer: Some(hostile),
            service: Some(hostile),
            method: Some(hostile),
            verb: Some(hostile),
            object: Some(hostile),
            row: Some((hostile, 7)),
            mode: Some("enforce"),
            call: Some(hostile),
            detail: Some(hostile),
            ..Record::of(Event::Decision).judged(Effect::Deny, Reason::BadObject)
        };
        log.append(&record, SystemTime::now()).unwrap();
        // An event without a request, whose reason is free.
        let reason = Record {
            reason: Some(hostile),
            detail: Some(hostile),
            ..Record::of(Event::SessionBroken)
        };
        let id = log.append(&reason, SystemTime::now()).unwrap();
        let console = world.console().await;
        let page = console.until("/", |page| column(page, "c-object").len() == 2).await;
        assert_harmless(&page, "/");
        for path in [
            "/suggest",
            "/policy",
            "/?log=all",
            &format!("/record/{}", id.0),
            &format!("/record/{}", id.0 - 1),
        ] {
            let page = console.get(path).await;
            assert_eq!(page.status, 200, "{path}");
            assert_harmless(&page.body, path);
        }
    }
}

#[tokio::test]
async fn a_hostile_filter_comes_back_as_text() {
    let console = World::new().console().await;
    for field in ["principal", "verb", "object", "reason", "since", "log"] {
        let page =
            console.get(&format!("/?{field}=%3Cscript%3Ealert(1)%3C/script%3E%22%3E%3Cimg")).await;
        assert_eq!(page.status, 200, "{field}");
        assert_harmless(&page.body, field);
    }
}

#[tokio::test]
async fn a_hostile_policy_is_shown_as_text() {
    let world = World::new();
    let rows = HOSTILE.map(|hostile| format!("{hostile} | {hostile} | read | allow\n")).concat();
    fs::write(&world.policy, rows).unwrap();
    let console = world.console().await;
    let page = console.until("/policy", |page| page.contains("state bad")).await;
    assert_harmless(&page, "/policy");
}

#[tokio::test]
async fn fields_that_no_record_of_ours_has_are_shown_as_text_too() {
    let world = World::new();
    let line = "{\"v\":1,\"seq\":1,\"ts\":\"<img src=x>\",\"stream\":\"00\",\"event\":\"decision\",\
        \"decision\":\"deny\",\"reason\":\"<script>alert(1)</script>\",\"<img src=y>\":\"<h1>owned\",\
        \"args\":{\"a\":[\"<script>alert(2)\"]}}\n";
    fs::write(&world.audit, line).unwrap();
    let console = world.console().await;
    let page = console.until("/", |page| column(page, "c-reason").len() == 1).await;
    assert_harmless(&page, "/");
    assert_harmless(&console.get("/record/1").await.body, "/record/1");
}
