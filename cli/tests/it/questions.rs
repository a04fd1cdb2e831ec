//! Asking a policy: can-i, who-can, what-can, diff and near misses.

use serde_json::{Value, json};

use super::Folder;

const POLICY: &str = "\
group @staff = alice, bob
@staff | table/* | read | allow
alice | table/** | * | allow
* | table/salary | write | deny # never by hand
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("p.acl", POLICY);
    folder
}

#[test]
fn can_i_says_yes_or_no_with_the_row_and_exits_by_it() {
    let folder = folder();
    let ask = |request: &[&str]| {
        let ran = folder.run(&[&["acl", "can-i", "--policy", "p.acl"][..], request].concat());
        (ran.code, ran.out, ran.err)
    };
    let (code, out, _) = ask(&["alice", "read", "table/a"]);
    assert_eq!((code, &*out), (0, "yes  p.acl:2: @staff | table/* | read | allow\n"));
    let no = "no  p.acl:4: * | table/salary | write | deny # never by hand\n";
    let (code, out, _) = ask(&["--as", "alice", "write", "table/salary"]);
    assert_eq!((code, &*out), (1, no));
    let (code, out, _) = ask(&["alcie", "read", "table/a"]);
    let unknown = "no  the policy does not know the principal `alcie`; did you mean `alice`?\n";
    assert_eq!((code, &*out), (1, unknown));
    let (code, out, _) = ask(&["--json", "bob", "list", "table/a"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["decision"]), (1, &json!("deny")));
    assert_eq!(answer["near_misses"][0]["verbs"], json!(["read"]));
    for wrong in [&["read", "table/a"][..], &["--as", "a", "b", "read", "x"]] {
        let (code, _, err) = ask(wrong);
        assert_eq!(code, 2);
        assert!(err.contains("who asks is missing or said twice"), "{err}");
    }
}

#[test]
fn can_i_knows_whose_a_key_is() {
    let folder = folder();
    assert_eq!(folder.run(&["keygen", "-o", "alice.key"]).code, 0);
    let key = folder.run(&["pubkey", "alice.key"]).out;
    let ask = ["acl", "can-i", "--policy", "p.acl", "--key", "alice.key", "write", "table/a"];
    let ran = folder.run(&ask);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("binds this key to nobody"), "{}", ran.err);
    let other = format!("principal bob = ed25519:{}\n", "07".repeat(32));
    folder.write("p.acl", format!("principal alice = {key}{other}{POLICY}"));
    let ran = folder.run(&ask);
    assert_eq!((ran.code, &ran.out[..14]), (0, "yes  p.acl:5: "));
    let ran = folder.run(&[&ask[..5], &[key.trim(), "write", "table/a"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn who_can_lists_everyone_with_the_row_and_the_exceptions() {
    let folder = folder();
    let ask = |verb, object| {
        let ran = folder.run(&["acl", "who-can", "--policy", "p.acl", verb, object]);
        (ran.code, ran.out)
    };
    let (code, out) = ask("write", "table/**");
    let wanted = "\
PRINCIPAL  OBJECTS                        ROW
alice      table/** but not table/salary  p.acl:3: alice | table/** | * | allow
";
    assert_eq!((code, &*out), (0, wanted));
    let (_, out) = ask("read", "table/a");
    assert_eq!(out.lines().count(), 3, "{out}");
    assert_eq!(ask("write", "table/salary"), (1, "nobody can\n".to_owned()));
    assert_eq!(ask("raed", "x"), (1, "nobody can; did you mean `read`?\n".to_owned()));
    let ran = folder.run(&["acl", "who-can", "--policy", "p.acl", "read", "a//b"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("write `a/b`"), "{}", ran.err);
    let ran = folder.run(&["acl", "who-can", "--json", "--policy", "p.acl", "write", "table/*"]);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    let holder = json!({"principal": "alice", "line": 3, "objects": "table/*",
                        "except": ["table/salary"]});
    assert_eq!(answer["holders"], json!([holder]));
}

#[test]
fn what_can_lists_rows_less_what_denies_take_back() {
    let folder = folder();
    let ran = folder.run(&["acl", "what-can", "--policy", "p.acl", "alice"]);
    let wanted = "\
VERBS        OBJECTS                        ROW  DENIED BY
read         table/*                        2    -
* but write  table/**                       3    -
write        table/** but not table/salary  3    4
";
    assert_eq!((ran.code, &*ran.out), (0, wanted));
    let ran = folder.run(&["acl", "what-can", "--policy", "p.acl", "alcie"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `alice`?"), "{}", ran.err);
    folder.write("p.acl", "mallory | ** | * | deny\na | x | r | allow\n");
    let ran = folder.run(&["acl", "what-can", "--policy", "p.acl", "mallory"]);
    assert_eq!((ran.code, &*ran.out), (1, "nothing\n"));
}

#[test]
fn a_diff_shows_what_is_answered_otherwise_and_not_what_is_written_otherwise() {
    let folder = folder();
    let ran = folder.run(&["acl", "diff", "p.acl", "p.acl"]);
    assert_eq!((ran.code, &*ran.out), (0, "no request is answered otherwise\n"));
    let rows: Vec<_> = POLICY.lines().rev().collect();
    folder.write("moved.acl", rows.join("\n\n# moved\n"));
    assert_eq!(folder.run(&["acl", "diff", "p.acl", "moved.acl"]).code, 0);
    folder.write("new.acl", POLICY.replace("@staff | table/* |", "bob | table/*/notes |"));
    let ran = folder.run(&["acl", "diff", "p.acl", "new.acl"]);
    let wanted = "\
+ bob | read | table/*/notes is allowed
    was  no row, so denied
    now  new.acl:2: bob | table/*/notes | read | allow
- bob | read | table/* is denied
    was  p.acl:2: @staff | table/* | read | allow
    now  no row, so denied
";
    assert_eq!((ran.code, &*ran.out), (1, wanted));
    let ran = folder.run(&["acl", "diff", "--json", "p.acl", "new.acl"]);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &answer["changes"][0]["becomes"]), (1, &json!("allow")));
    folder.write("new.acl", "a | x | r | alow\n");
    let ran = folder.run(&["acl", "diff", "p.acl", "new.acl"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("new.acl:1:13: error: unknown effect"), "{}", ran.err);
}

#[test]
fn nothing_that_a_terminal_would_obey_leaves() {
    let folder = Folder::new();
    folder.write("\u{1b}[31mp.acl", "a | x\u{fe0f} | r | allow\n");
    folder.write("p.acl", "a | \\u{202e}y | r | allow # \u{7f}\n");
    let hides = |text: &str| text.contains(['\u{1b}', '\u{202e}', '\u{7f}', '\u{fe0f}']);
    for command in [
        &["acl", "can-i", "--policy", "p.acl", "\u{1b}a", "r", "\u{1b}x"][..],
        &["acl", "who-can", "--policy", "\u{1b}[31mp.acl", "r", "x"],
        &["acl", "who-can", "--policy", "p.acl", "\u{1b}r", "\u{1b}x"],
        &["acl", "what-can", "--policy", "p.acl", "\u{1b}"],
        &["acl", "diff", "p.acl", "\u{1b}[31mp.acl"],
        &["acl", "fmt", "--check", "\u{1b}[31mp.acl"],
        &["acl", "explain", "--policy", "p.acl", "a", "r", "\u{1b}"],
    ] {
        let ran = folder.run(command);
        assert!(!hides(&ran.out) && !hides(&ran.err), "{command:?}\n{}{}", ran.out, ran.err);
    }
}
