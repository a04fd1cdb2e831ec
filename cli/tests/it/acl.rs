//! Checking policies and asking them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Folder;
use super::world::{self, Dice};

const POLICY: &str = "dthain | exam.txt | write | allow\ndthain | exam.txt | * | deny # closed\n";

#[test]
fn a_check_shows_every_error_with_its_place_and_mend() {
    let folder = Folder::new();
    folder.write("p.acl", "dthain | exam.txt | write | alow\ndthain | a/../b | read | allow\n");
    let ran = folder.run(&["acl", "check", "p.acl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("p.acl:1:29: error: unknown effect `alow`\n  help: write `allow`"));
    assert!(ran.out.contains("p.acl:2:12: error: `..` is not allowed"), "{}", ran.out);
    assert!(ran.out.contains("p.acl: refused (2 errors)"));
}

#[test]
fn a_check_speaks_json_to_machines() {
    let folder = Folder::new();
    folder.write("p.acl", "dthain | exam.txt | write | alow\n");
    let ran = folder.run(&["acl", "check", "--json", "p.acl"]);
    assert_eq!(ran.code, 1);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let error = json!({"file": "p.acl", "line": 1, "column": 29, "end_column": 33,
                       "severity": "error", "code": "acl::syntax",
                       "message": "unknown effect `alow`", "help": "write `allow`"});
    assert_eq!((&report["ok"], &report["errors"]), (&json!(false), &json!([error])));
    folder.write("p.acl", "dthain | exam.txt | write | allow\n");
    let ran = folder.run(&["acl", "check", "--json", "p.acl"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["ok"]), (0, &json!(true)));
    assert_eq!(report["warnings"][0]["line"], 1);
}

#[test]
fn a_check_warns_of_rows_that_are_hardly_meant_and_fails_only_if_asked() {
    let folder = Folder::new();
    folder.write("p.acl", "# two slips\n*\t| x/y | r | allow\n  * | x/** | * | deny # all\n");
    let ran = folder.run(&["acl", "check", "p.acl"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let warning = "p.acl:2:1: warning: line 3 denies all that this row allows\n  help: remove";
    assert!(ran.out.contains(warning), "{}", ran.out);
    assert!(ran.out.contains("p.acl: ok (1 warning)"), "{}", ran.out);
    let ran = folder.run(&["acl", "check", "p.acl", "--deny-warnings", "--json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["ok"]), (1, &json!(false)));
    let found = &report["warnings"][0];
    assert_eq!((&found["code"], &found["severity"]), (&json!("acl::shadowed"), &json!("warning")));
    assert_eq!((&found["column"], &found["end_column"]), (&json!(1), &json!(20)));
    let there = json!({"file": "p.acl", "line": 3, "column": 1, "message": "this row denies it"});
    assert_eq!(found["related"], there);
    folder.write("p.acl", "* | y | * | allow\nmallory | x | * | deny\n");
    folder.write("keys", format!("principal mallory = ed25519:{}\n", "07".repeat(32)));
    let ran = folder.run(&["acl", "check", "p.acl", "--deny-warnings", "--principals", "keys"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("2:1: advice: no row allows what this one denies"), "{}", ran.out);
}

#[test]
fn a_check_uses_principals_and_services_where_they_are_given() {
    let folder = Folder::new();
    let key = format!("ed25519:{}", "07".repeat(32));
    folder.write("keys", format!("principal dthain = {key}\n"));
    folder.write("p.acl", "dthian | exam.txt | wirte | deny\n");
    folder.write(
        "s.json",
        r#"{"services":[{"service":"Course","methods":[{"name":"put","id":1,"verb":"write",
            "object":"exam.txt","delivery":"at-most-once","timeout_ms":null,
            "arguments":[],"result":"()","error":"E"}]}]}"#,
    );
    assert_eq!(folder.run(&["acl", "check", "p.acl"]).code, 0);
    let ran = folder.run(&["acl", "check", "p.acl", "--principals", "keys", "--service", "s.json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("p.acl:1:1: error: unknown principal `dthian`"), "{}", ran.out);
    assert!(ran.out.contains("did you mean `dthain`?"));
    assert!(ran.out.contains("p.acl:1:21: error: verb `wirte` is declared by no service"));
    assert!(ran.out.contains("did you mean `write`?"));
}

#[test]
fn an_empty_policy_is_said_to_deny_everything() {
    let folder = Folder::new();
    folder.write("p.acl", "");
    let ran = folder.run(&["acl", "check", "p.acl"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("every call is denied"), "{}", ran.out);
}

#[test]
fn an_explanation_shows_the_row_and_exits_by_the_decision() {
    let folder = Folder::new();
    folder.write("p.acl", POLICY);
    let ran = folder.run(&["acl", "explain", "--policy", "p.acl", "dthain", "write", "exam.txt"]);
    assert_eq!(ran.code, 1);
    let near = "  near: line 1 allows it, but line 2 denies it\n";
    assert_eq!(ran.out, format!("deny  p.acl:2: dthain | exam.txt | * | deny # closed\n{near}"));
    folder.write("p.acl", POLICY.lines().next().unwrap());
    let allowed = ["acl", "explain", "--policy", "p.acl", "dthain", "write", "exam.txt"];
    let ran = folder.run(&allowed);
    assert_eq!((ran.code, &*ran.out), (0, "allow  p.acl:1: dthain | exam.txt | write | allow\n"));
    let ran = folder.run(&[&allowed[..], &["--json"]].concat());
    assert_eq!(ran.out, "{\"decision\":\"allow\",\"reason\":\"row\",\"line\":1}\n");
    let verb = r#","near_misses":[{"line":1,"kind":"verb","verbs":["write"],"message":"line 1 would allow the verb `write`"}]"#;
    for (request, reason, near) in [
        (["dthain", "read", "exam.txt"], "default", verb),
        (["dthain", "write", "a//b"], "bad_object", ""),
        (["mallory", "write", "a//b"], "unknown_principal", ""),
    ] {
        let ran = folder
            .run(&[&["acl", "explain", "--policy", "p.acl", "--json"][..], &request].concat());
        assert_eq!(ran.code, 1);
        let wanted =
            format!("{{\"decision\":\"deny\",\"reason\":\"{reason}\",\"line\":null{near}}}\n");
        assert_eq!(ran.out, wanted);
    }
}

#[test]
fn a_policy_with_errors_explains_nothing() {
    let folder = Folder::new();
    folder.write("p.acl", "a | x | r | alow\n");
    let ran = folder.run(&["acl", "explain", "--policy", "p.acl", "a", "r", "x"]);
    assert_eq!((ran.code, &*ran.out), (1, ""));
    assert!(ran.err.contains("p.acl:1:13: error: unknown effect"), "{}", ran.err);
}

#[test]
fn ten_thousand_requests_are_answered_as_the_oracle_does_and_at_once() {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (meaning, text) = world::policy(&mut dice, 400);
    let folder = Folder::new();
    folder.write("p.acl", &text);
    let requests: Vec<_> = (0..10_000).map(|_| world::request(&mut dice)).collect();
    let lines: String = requests
        .iter()
        .map(|(who, verb, object)| {
            format!("{}\n", json!({"principal": who, "verb": verb, "object": object}))
        })
        .collect();
    folder.write("requests.jsonl", &lines);
    let start = Instant::now();
    let ran = folder.run(&["acl", "explain", "--policy", "p.acl", "--requests", "requests.jsonl"]);
    let took = start.elapsed();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(ran.out.lines().count(), requests.len());
    for ((who, verb, object), answer) in requests.iter().zip(ran.out.lines()) {
        let (decision, reason, line) = meaning.judge(who, verb, object);
        let line = line.map_or_else(|| "null".to_owned(), |line| line.to_string());
        let meant =
            format!("{{\"decision\":\"{decision}\",\"reason\":\"{reason}\",\"line\":{line}}}");
        assert_eq!(answer, meant, "seed {seed}: {who} {verb} {object}\n{text}");
    }
    let piped =
        folder.run_with(&["acl", "explain", "--policy", "p.acl", "--requests", "-"], &lines);
    assert_eq!(piped.out, ran.out);
}

#[test]
fn a_malformed_request_is_refused_with_its_line() {
    let folder = Folder::new();
    folder.write("p.acl", POLICY);
    let good = r#"{"principal":"dthain","verb":"write","object":"exam.txt"}"#;
    let long = format!("\"{}\"", "x".repeat(100_000));
    for bad in ["nonsense", "{}", r#"{"principal":1,"verb":"a","object":"b"}"#, &long] {
        let input = format!("{good}\n{bad}\n{good}\n");
        let ran =
            folder.run_with(&["acl", "explain", "--policy", "p.acl", "--requests", "-"], &input);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("standard input:2: "), "{}", ran.err);
        assert_eq!(ran.out.lines().count(), 1);
    }
}
