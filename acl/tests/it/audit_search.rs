//! Searching a log: the fast way finds what the slow way finds, whoever wrote the file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_acl::audit::{
    AuditLog, By, Counts, Entry, Event, Filter, MAX_KEYS, Outcome, QueryError, Record, Tally, ocsf,
    query,
};
use bailiwick_acl::policy::{Effect, Reason, object_pattern};
use proptest::prelude::*;
use serde_json::Value;

use super::world::Dice;

fn time(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn found(text: &str, filter: &Filter) -> Vec<u64> {
    query(text.as_bytes(), filter.clone()).filter_map(|entry| Some(entry.ok()?.seq)).collect()
}

const NAMES: [&str; 4] = ["alice", "bob", "al", "deny"];
const OBJECTS: [&str; 10] = [
    "a\"b",
    "course/exam/notes",
    "course/list",
    "course",
    "notes/course/exam",
    "home/alice",
    "home/bob",
    "\u{1b}[31m\"course/x",
    "é/ß",
    "alice",
];
const PATTERNS: [&str; 9] =
    ["a\"b", "course/**", "course/*", "**", "*/exam/*", "home/{self}", "*/notes", "é/ß", "course"];
const WORDS: [&str; 4] = ["read", "write", "Table", "put"];
const EVENTS: [Event; 4] =
    [Event::Decision, Event::HandshakeRefused, Event::Summary, Event::PolicyLoad];
const PEERS: [&str; 4] = ["10.0.0.7:51", "10.0.0.77:51", "[::1]:51", "path"];

/// A record at random, as our own log writes it.
fn record(dice: &mut Dice, log: &AuditLog) {
    let mut maybe = |from: &[&'static str]| (dice.below(4) > 0).then(|| dice.pick(from));
    let mut record = Record {
        principal: maybe(&NAMES),
        object: maybe(&OBJECTS),
        verb: maybe(&WORDS),
        service: maybe(&WORDS),
        method: maybe(&WORDS),
        peer: maybe(&PEERS),
        mode: maybe(&["enforce", "shadow", "permissive"]),
        detail: maybe(&["packets.refused", "decision"]),
        ..Record::of(EVENTS[dice.below(EVENTS.len())])
    };
    if record.event == Event::Decision {
        let effect = if dice.below(2) == 0 { Effect::Deny } else { Effect::Allow };
        record = record.judged(effect, [Reason::Row, Reason::Default][dice.below(2)]);
    }
    log.append(&record, time(dice.below(1_000) as u64)).unwrap();
}

/// The same record as somebody else might have written it: still JSON, and it says the same. Half of
/// them begin and end as ours do.
fn disguised(dice: &mut Dice, line: &str) -> String {
    let Value::Object(mut fields) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
    let like_ours = dice.below(2) == 0;
    if like_ours {
        fields.retain(|field, _| !["v", "seq", "ts", "h"].contains(&&**field));
    }
    let spelled = |dice: &mut Dice, text: &str| {
        let mut out = String::from("\"");
        for c in text.chars() {
            let unit = u32::from(c);
            // All of these lie in the first plane.
            match dice.below(8) {
                0 => out.push_str(&format!("\\u{unit:04x}")),
                1 if c == '/' => out.push_str("\\/"),
                _ if c.is_control() || c == '"' || c == '\\' => {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
                _ => out.push(c),
            }
        }
        out + "\""
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| {
            let value = match value.as_str() {
                Some(text) if dice.below(2) == 0 => spelled(dice, text),
                _ => value.to_string(),
            };
            let key = if dice.below(20) == 0 { spelled(dice, key) } else { format!("\"{key}\"") };
            format!("{key}{}:{}{value}", dice.pick(&["", " "]), dice.pick(&["", "\t"]))
        })
        .collect();
    let fields = fields.join(dice.pick(&[",", " , "]));
    if like_ours {
        let (head, _) = line.split_once(",\"node\"").unwrap();
        let (_, seal) = line.split_once(",\"h\"").unwrap();
        return format!("{head},{fields},\"h\"{seal}");
    }
    format!("{{{fields}}}")
}

fn filter(dice: &mut Dice) -> Filter {
    let mut maybe = |from: &[&str]| (dice.below(6) == 0).then(|| dice.pick(from).to_owned());
    let mut filter = Filter {
        principal: maybe(&NAMES),
        verb: maybe(&WORDS),
        service: maybe(&WORDS),
        method: maybe(&WORDS),
        reason: maybe(&["row", "default"]),
        event: maybe(&["decision", "summary", "handshake.refused"]),
        mode: maybe(&["enforce", "shadow"]),
        peer: maybe(&["10.0.0.7", "10.0.0.7:51", "::1", "[::1]:51", "[::1]", "path"]),
        object: maybe(&PATTERNS).map(|text| object_pattern(&text).unwrap()),
        ..Filter::default()
    };
    filter.outcome = [Outcome::Any, Outcome::Refused, Outcome::Allowed][dice.below(3)];
    if dice.below(4) == 0 {
        filter.since = Some(time(dice.below(1_000) as u64) - Duration::from_nanos(1));
    }
    if dice.below(4) == 0 {
        filter.until = Some(time(dice.below(1_000) as u64));
    }
    if dice.below(10) == 0 {
        filter.seq = Some(1 + dice.below(60) as u64);
    }
    filter
}

/// What the documentation of [`Filter`] says, on the parsed record alone.
fn wanted(filter: &Filter, line: &str) -> bool {
    let record: Value = serde_json::from_str(line).unwrap();
    let text = |field: &str| record[field].as_str();
    let is = |wanted: &Option<String>, field: &str| {
        wanted.as_deref().is_none_or(|wanted| text(field) == Some(wanted))
    };
    let enforced = matches!(text("mode"), None | Some("enforce"));
    let outcome = match (filter.outcome, text("event")) {
        (Outcome::Any, _) => true,
        (Outcome::Allowed, _) => text("decision") == Some("allow"),
        (Outcome::Refused, Some("handshake.refused")) => enforced,
        (Outcome::Refused, Some("summary")) => {
            enforced && text("detail") != Some("packets.refused")
        }
        (Outcome::Refused, _) => enforced && text("decision") == Some("deny"),
    };
    let object = filter.object.as_ref().is_none_or(|pattern| {
        text("object").is_some_and(|it| pattern.matches(it, text("principal").unwrap_or_default()))
    });
    let peer = filter.peer.as_deref().is_none_or(|wanted| match (wanted, text("peer")) {
        ("10.0.0.7", Some("10.0.0.7:51")) | ("::1" | "[::1]", Some("[::1]:51")) => true,
        (wanted, peer) => peer == Some(wanted),
    });
    let at: SystemTime = text("ts").unwrap().parse::<jiff::Timestamp>().unwrap().into();
    outcome
        && object
        && peer
        && filter.since.is_none_or(|since| since <= at)
        && filter.until.is_none_or(|until| at <= until)
        && filter.seq.is_none_or(|seq| record["seq"] == seq)
        && is(&filter.principal, "principal")
        && is(&filter.verb, "verb")
        && is(&filter.service, "service")
        && is(&filter.method, "method")
        && is(&filter.reason, "reason")
        && is(&filter.event, "event")
        && is(&filter.mode, "mode")
}

#[test]
fn the_fast_way_finds_what_reading_every_line_finds() {
    let seed = 11;
    let mut dice = Dice(seed);
    let mut hits = 0;
    for round in 0..100 {
        let log = AuditLog::memory();
        for _ in 0..60 {
            record(&mut dice, &log);
        }
        let lines: Vec<String> = log
            .lines()
            .iter()
            .map(|line| if dice.below(3) == 0 { disguised(&mut dice, line) } else { line.clone() })
            .collect();
        let text = lines.join("\n") + "\n";
        for _ in 0..10 {
            let filter = filter(&mut dice);
            let slow: Vec<u64> = lines
                .iter()
                .filter(|line| wanted(&filter, line))
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
                .collect();
            assert_eq!(found(&text, &filter), slow, "seed {seed}, round {round}: {filter:?}");
            hits += slow.len();
        }
    }
    assert!(hits > 250, "the filters must find something: {hits}");
}

#[test]
fn a_torn_end_is_told_apart_from_a_line_that_is_no_record() {
    let record = |seq: u64| format!("{{\"seq\":{seq},\"ts\":\"\",\"event\":\"x\"}}\n");
    let text = format!("{}nonsense\n{}{{\"seq\":3", record(1), record(2));
    let found: Vec<_> = query(text.as_bytes(), Filter::default()).collect();
    assert!(matches!(found[1], Err(QueryError::NotARecord { line: 2 })));
    assert_eq!(found[2].as_ref().unwrap().seq, 2);
    assert!(matches!(found[3], Err(QueryError::Torn { line: 4, bytes: 8 })));
    assert_eq!(found.len(), 4);
}

#[test]
fn an_endless_line_is_told_of_once_and_read_over() {
    let text = format!("{}\n{{\"seq\":2,\"ts\":\"\",\"event\":\"x\"}}\n", "x".repeat(1_000_000));
    let found: Vec<_> = query(text.as_bytes(), Filter::default()).collect();
    assert!(matches!(found[0], Err(QueryError::NotARecord { line: 1 })));
    assert_eq!((found[1].as_ref().unwrap().seq, found.len()), (2, 2));
}

#[test]
fn events_and_fields_of_a_later_version_are_read() {
    let line = "{\"v\":1,\"seq\":7,\"ts\":\"2026-01-01T00:00:00.000000Z\",\"node\":\"n\",\
                \"stream\":\"09\",\"event\":\"checkpoint\",\"size\":6,\"denied\":2,\"next\":\"x\",\
                \"sig\":\"00\",\"closed\":true,\"args\":{\"a\":[1]},\"prev\":\"\",\"h\":\"00\"}\n";
    let entry = query(line.as_bytes(), Filter::default()).next().unwrap().unwrap();
    assert_eq!((entry.seq, &*entry.event), (7, "checkpoint"));
    assert!(entry.json.contains("\"closed\":true"));
}

fn entries(records: &[Record<'_>]) -> Vec<Entry> {
    let log = AuditLog::memory();
    for record in records {
        log.append(record, time(1)).unwrap();
    }
    let text: String = log.lines().iter().map(|line| format!("{line}\n")).collect();
    query(text.as_bytes(), Filter::default()).collect::<Result<_, _>>().unwrap()
}

fn tally(by: By, records: &[Record<'_>]) -> Counts {
    let mut tally = Tally::new(by);
    entries(records).iter().for_each(|entry| tally.add(entry));
    tally.finish()
}

#[test]
fn summaries_are_counted_by_what_they_stand_for() {
    let denial = Record {
        principal: Some("alice"),
        service: Some("Table"),
        method: Some("put"),
        object: Some("a"),
        peer: Some("10.0.0.7:51"),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Default)
    };
    let records = [
        denial,
        Record { peer: Some("10.0.0.7:52"), object: Some("b"), ..denial },
        Record { principal: Some("bob"), ..denial },
        Record { object: None, count: Some(97), event: Event::Summary, decision: None, ..denial },
        Record { count: Some(5), ..Record::of(Event::HandshakeRefused) },
        Record { count: Some(3), ..Record::of(Event::Gap) },
        Record::of(Event::PolicyLoad),
    ];
    let named = |counts: &Counts| -> Vec<(String, u64)> {
        counts.keys.iter().map(|(key, count)| (key.to_string(), *count)).collect()
    };
    let who = tally(By::Principal, &records);
    assert_eq!(named(&who), [("alice".into(), 99), ("bob".into(), 1)]);
    assert_eq!((who.unnamed, who.others, who.total), (5, 0, 105));
    let object = tally(By::Object, &records);
    assert_eq!(named(&object), [("a".into(), 2), ("b".into(), 1)]);
    assert_eq!((object.unnamed, object.total), (102, 105));
    assert_eq!(named(&tally(By::Method, &records)), [("Table.put".into(), 100)]);
    assert_eq!(named(&tally(By::Reason, &records)), [("default".into(), 100)]);
    assert_eq!(named(&tally(By::Peer, &records)), [("10.0.0.7".into(), 100)]);
}

#[test]
fn a_flood_of_names_is_counted_in_bounded_memory_and_in_full() {
    let mut tally = Tally::new(By::Object);
    let mut entry = entries(&[Record {
        object: Some("x"),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Default)
    }])
    .remove(0);
    for number in 0..MAX_KEYS + 1_000 {
        entry.object = Some(number.to_string());
        tally.add(&entry);
    }
    entry.object = Some("7".into());
    tally.add(&entry);
    entry.object = Some("long".repeat(1_000_000));
    tally.add(&entry);
    let counts = tally.finish();
    assert_eq!((&*counts.keys[0].0, counts.keys[0].1), ("7", 2));
    assert_eq!((counts.keys.len(), counts.others), (MAX_KEYS, 1_001));
    assert_eq!(counts.total, MAX_KEYS as u64 + 1_002);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        seed: u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut dice = Dice(seed);
        let log = AuditLog::memory();
        for _ in 0..5 {
            record(&mut dice, &log);
        }
        let mut bytes = (log.lines().join("\n") + "\n").into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for filter in [Filter::default(), filter(&mut dice)] {
            let mut tally = Tally::new(By::Peer);
            for entry in query(&*bytes, filter).flatten() {
                tally.add(&entry);
                prop_assert!(serde_json::from_str::<Value>(&ocsf(&entry)).is_ok());
                prop_assert!(!entry.json.contains(char::is_control));
            }
        }
    }
}
