//! `acl suggest`: from an audit log to rows.

use serde_json::{Value, json};

use super::Folder;

/// A refusal as the log has it; the chain is not this command's business.
fn refused(seq: u64, request: [&str; 3], reason: &str) -> String {
    let [principal, verb, object] = request;
    let record = json!({"v": 1, "seq": seq, "ts": "2026-11-22T12:16:07.123456Z",
                        "event": "decision", "decision": "deny", "reason": reason,
                        "principal": principal, "verb": verb, "object": object});
    format!("{record}\n")
}

fn folder() -> Folder {
    let folder = Folder::new();
    let policy = "\
never * | vault/** | *
alice | table/open | read | allow
* | table/salary | * | deny
bob | x | r | allow
";
    folder.write("p.acl", policy);
    let log = [
        refused(1, ["alice", "read", "table/a"], "default"),
        refused(2, ["alice", "read", "table/a"], "default"),
        refused(3, ["alice", "read", "table/b"], "default"),
        refused(4, ["bob", "write", "x"], "default"),
        refused(5, ["alice", "read", "table/salary"], "row"),
        refused(6, ["bob", "read", "vault/gold"], "default"),
        refused(7, ["mall\u{1b}ory", "read", "x"], "unknown_principal"),
        refused(8, ["bob", "read", "x\u{202e}"], "default"),
    ];
    folder.write("audit.jsonl", log.concat());
    folder
}

#[test]
fn refusals_become_rows_that_can_be_appended_as_they_stand() {
    let folder = folder();
    let ran = folder.run(&["acl", "suggest", "audit.jsonl", "--policy", "p.acl"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let wanted = "\
alice | table/a | read | allow  # 2 refusals
# or, for 3 refusals, and would open table/* but not table/a, table/b, table/open, table/salary:
#   alice | table/* | read | allow
alice | table/b | read | allow  # 1 refusal
bob | x | write | allow  # 1 refusal
# not alice read table/salary (1 refusal): denied on purpose: p.acl:3: * | table/salary | * | deny
# not bob read x\\u202e (1 refusal): no row can allow it
# not bob read vault/gold (1 refusal): the `never` on line 1 forbids it
";
    assert_eq!(ran.out, wanted);
    let policy = std::fs::read_to_string(folder.path("p.acl")).unwrap();
    folder.write("new.acl", policy + &ran.out);
    let ask = ["acl", "can-i", "--policy", "new.acl", "alice", "read", "table/b"];
    assert_eq!(folder.run(&ask).code, 0);
}

#[test]
fn a_suggestion_can_be_for_one_principal_and_for_machines() {
    let folder = folder();
    let ask =
        ["acl", "suggest", "audit.jsonl", "--policy", "p.acl", "--principal", "bob", "--json"];
    let ran = folder.run(&ask);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(answer["rows"], json!([{"row": "bob | x | write | allow", "flips": 1}]));
    assert_eq!(answer["not"].as_array().unwrap().len(), 2);
    assert_eq!(answer["not"][0]["why"], "impossible");
    folder.write("audit.jsonl", "");
    let ran = folder.run(&["acl", "suggest", "audit.jsonl", "--policy", "p.acl"]);
    assert_eq!((ran.code, &*ran.out), (0, "# nothing to suggest\n"));
    folder.write("audit.jsonl", "nonsense\n");
    let ran = folder.run(&["acl", "suggest", "audit.jsonl", "--policy", "p.acl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("audit.jsonl: line 1 is not a record"), "{}", ran.err);
}

#[test]
fn all_files_of_a_log_are_read_with_what_a_permissive_principal_was_forgiven_and_no_shadow() {
    let folder = folder();
    let of_mode = |seq, object, mode: &str| {
        let record = refused(seq, ["bob", "read", object], "default");
        record.replace("\"v\":1", &format!("\"v\":1,\"mode\":\"{mode}\",\"count\":{}", u64::MAX))
    };
    let log = [of_mode(1, "old", "enforce"), of_mode(2, "forgiven", "permissive")];
    folder.write("audit.jsonl.000001", log.concat());
    let log = [of_mode(3, "old", "enforce"), of_mode(4, "tried", "shadow")];
    folder.write("audit.jsonl", log.concat());
    let ran = folder.run(&["acl", "suggest", "audit.jsonl", "--policy", "p.acl"]);
    let wanted = "\
bob | old | read | allow  # 2 refusals
bob | forgiven | read | allow  # 1 refusal
";
    assert_eq!((ran.code, &*ran.out), (0, wanted), "{}", ran.err);
}
