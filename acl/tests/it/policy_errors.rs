//! Every error stands at its line and column, says the mend, and all come in one run.

use bailiwick_acl::policy::{
    KeysRequired, LoadOptions, MAX_SUBJECTS, MethodFacts, ObjectTemplate, Policy, PolicyErrors,
    ServiceFacts, Source,
};
use miette::Diagnostic as _;

use super::{key, load};

/// The errors as `line:column message → help`.
fn errors(text: &str) -> Vec<String> {
    shown(&load(text).expect_err("this must be refused"))
}

fn shown(errors: &PolicyErrors) -> Vec<String> {
    let show = |error: &bailiwick_acl::policy::PolicyError| {
        format!("{}:{} {} → {}", error.line, error.column, error.message, error.help)
    };
    errors.errors().iter().map(show).collect()
}

/// The only error of `text`, put to the test.
#[track_caller]
fn refused(text: &str, at: &str, what: &str, mend: &str) {
    let found = errors(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_is(&found[0], at, what, mend);
}

#[track_caller]
fn assert_is(found: &str, at: &str, what: &str, mend: &str) {
    let (message, help) = found
        .split_once(" → ")
        .filter(|_| !found.contains("cycle"))
        .unwrap_or(found.rsplit_once(" → ").unwrap());
    assert!(message.starts_with(&format!("{at} ")), "{found} is not at {at}");
    assert!(message.contains(what), "{found} does not say {what}");
    assert!(help.contains(mend), "{found} does not offer {mend}");
}

/// A service with `read` and `write` on `exam.txt` and `table/{key}`.
fn with_service(text: &str) -> Vec<String> {
    let method = |name: &str, verb: &str, object: &str| MethodFacts {
        name: name.to_owned(),
        verb: verb.to_owned(),
        object: ObjectTemplate::parse(object).unwrap(),
    };
    let services = [ServiceFacts {
        service: "Course".to_owned(),
        methods: vec![
            method("get", "read", "exam.txt"),
            method("put", "write", "exam.txt"),
            method("look", "read", "table/{key}"),
        ],
    }];
    let options =
        LoadOptions { services: &services, keys: KeysRequired::Tool, ..LoadOptions::default() };
    let source = Source { name: "policy.acl", text: text.as_bytes() };
    Policy::load(source, &options).map_or_else(|errors| shown(&errors), |_| Vec::new())
}

#[test]
fn the_smallest_policy_loads_as_it_stands() {
    let loaded = load("dthain | exam.txt | write | allow").unwrap();
    assert!(loaded.policy.explain("dthain", "write", "exam.txt").is_allowed());
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].message.contains("has no key"));
}

#[test]
fn each_line_of_the_table_is_refused_at_its_place_with_its_mend() {
    refused(
        "dthain | exam.txt | write",
        "1:26",
        "4 columns expected, 3 found",
        "append `| allow` or `| deny`",
    );
    refused("dthain | exam.txt | write | alow", "1:29", "unknown effect", "`allow`");
    refused("dthain | course/../grades | read | allow", "1:17", "`..` is not allowed", "`grades`");
    refused(
        "dthain | exam*.txt | read | allow",
        "1:14",
        "a wildcard is a whole segment",
        "`exam/*`, or `\\*`",
    );
    refused(
        "dth\u{430}in | exam.txt | read | allow",
        "1:4",
        "U+0430 in a principal, looks like `a`",
        "`dthain`",
    );
    refused(
        "dthain | a|b.txt | read | allow",
        "1:11",
        "5 columns; is this `|` part of a name?",
        "`a\\|b.txt`",
    );
    refused(
        "group @a = @b\ngroup @b = dthain, @a",
        "2:20",
        "group cycle @a → @b → @a",
        "remove `@a`",
    );
    refused(
        "\"dthain\",\"exam.txt\",\"write\",\"allow\"",
        "1:1",
        "quotes and commas are not used",
        "`dthain | exam.txt | write | allow`",
    );
}

#[test]
fn an_unknown_principal_is_an_error_where_keys_are_given() {
    let bound = format!("principal dthain = {}\n", key(1).1);
    refused(
        &format!("{bound}dthian | exam.txt | write | deny"),
        "2:1",
        "unknown principal `dthian`",
        "did you mean `dthain`?",
    );
    // The same with the keys in their own file, so that the row is the policy's first line.
    let options = LoadOptions {
        principals: Some(Source { name: "keys", text: bound.as_bytes() }),
        keys: KeysRequired::Tool,
        ..LoadOptions::default()
    };
    let source = Source { name: "policy.acl", text: b"dthian | exam.txt | write | deny" };
    let found = shown(&Policy::load(source, &options).unwrap_err());
    assert_is(&found[0], "1:1", "unknown principal", "did you mean `dthain`?");
}

#[test]
fn a_server_wants_a_key_for_every_principal() {
    let source = Source { name: "policy.acl", text: b"dthain | exam.txt | write | allow" };
    let found = shown(&Policy::load(source, &LoadOptions::default()).unwrap_err());
    assert_eq!(found.len(), 1);
    assert_is(&found[0], "1:1", "no key is bound to it", "principal dthain = ed25519:");
}

#[test]
fn verbs_and_objects_are_held_to_the_services() {
    let found = with_service("dthain | exam.txt | wirte | allow");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_is(&found[0], "1:21", "declared by no service", "`write`");
    let found = with_service("dthain | tabel/x | read | deny");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_is(&found[0], "1:10", "no method can name `tabel/x`", "`table/x`");
    let found = with_service("dthain | table/x | write | allow");
    assert_is(&found[0], "1:10", "no method with this verb", "`read`");
    assert_eq!(with_service("dthain | ** | * | deny\na | table/* | read | allow"), [""; 0]);
}

#[test]
fn the_rest_of_the_grammar_is_refused_where_it_is_broken() {
    refused("a | a/**/b | r | allow", "1:7", "`**` stands only at the end", "`a/**`");
    refused("a | x | r | allow | if y", "1:21", "`if` is reserved", "remove");
    refused("a | x | r | allow if y", "1:19", "`if` is reserved", "remove");
    refused("a | x | r | allow deny", "1:19", "one word", "#");
    refused("a | x | r | ", "1:13", "the effect is missing", "`allow` or `deny`");
    refused("a | x | r,* | allow", "1:11", "`*` in a list", "alone");
    refused("a | x | r|w | allow", "1:10", "5 columns", "`r,w`");
    refused("a | /x | r | allow", "1:5", "leading or trailing", "`x`");
    refused("a | x/ | r | allow", "1:7", "leading or trailing", "`x`");
    refused("a | x\\y | r | allow", "1:6", "unknown escape", "`\\\\`");
    refused("a | x\\u{2f}y | r | allow", "1:6", "must not give `/`", "/");
    refused("a | x\\u{9}y | r | allow", "1:6", "must not give a control", "remove");
    refused("a | x\\u{d800}y | r | allow", "1:6", "not the number", "\\u{e9}");
    refused("a | x{y | r | allow", "1:6", "`{` begins `{self}`", "`\\{`");
    refused("a | e\u{301} | r | allow", "1:5", "normalisation form C", "\u{e9}");
    refused("a | x\u{202e}y | r | allow", "1:6", "U+202E", "remove");
    refused("Alice | x | r | allow", "1:1", "upper-case", "`alice`");
    refused("@stff | x | r | allow\ngroup @staff = a", "1:1", "unknown group", "`@staff`");
    refused("a | x | r | allow # \u{202e}", "1:21", "U+202E in a comment", "remove");
    refused("a | x | r | allow\nexpect deny a w x # why", "2:19", "a comment", "own line");
    refused("group @g = a, b # why", "1:16", "in a principal", "own line");
    refused("gruop @a = b", "1:1", "unknown directive", "`group`");
    refused("acl 2", "1:5", "version `2`", "acl 1");
    refused("serial 1\nserial 2", "2:8", "twice", "one");
    refused("serial -1", "1:8", "not a serial", "2^64");
    refused("principal a = ed25519:00", "1:15", "not a public key", "64 hex");
    refused("a x r allow", "1:1", "separated by `|`", "`a | x | r | allow`");
    refused(&format!("{} | x | r | allow", "a".repeat(64)), "1:1", "64 characters", "shorter");
    let deep = vec!["a"; 33].join("/");
    refused(&format!("a | {deep} | r | allow"), "1:5", "33 segments", "shorten");
    let long = "a".repeat(1_025);
    refused(&format!("a | {long} | r | allow"), "1:5", "1024 bytes", "shorten");
}

#[test]
fn a_file_that_is_not_clean_text_is_refused() {
    let refused = |text: &[u8], at: &str, what: &str| {
        let source = Source { name: "p", text };
        let found = shown(&Policy::load(source, &LoadOptions::default()).unwrap_err());
        assert_is(&found[0], at, what, "");
    };
    refused(b"\xef\xbb\xbfacl 1", "1:1", "BOM");
    refused(b"acl 1\n#\0", "2:2", "NUL");
    refused(b"acl 1\r# x\n", "1:6", "carriage return");
    refused(b"acl 1\n# x\r", "2:4", "carriage return");
    refused(b"# \xff", "1:3", "0xff is not UTF-8");
    let mut long = vec![b'#'; 4_097];
    refused(&long, "1:4097", "4097 bytes");
    long.pop();
    assert!(Policy::load(Source { name: "p", text: &long }, &LoadOptions::default()).is_ok());
}

#[test]
fn crlf_and_a_missing_last_line_end_are_fine() {
    load("acl 1\r\n\r\n# x\r\na | x | r | allow\r\nb | x | r | deny").unwrap();
}

#[test]
fn every_error_comes_in_one_run_sorted_by_place() {
    let found = errors(
        "A | x/../y | R | alow\n\
         a | x | r\n\
         group @g = @h, B\n\
         serial x\n\
         expect allow a r *\n\
         never a | x\n",
    );
    let places: Vec<_> = found.iter().map(|error| error.split(' ').next().unwrap()).collect();
    let wanted = ["1:1", "1:7", "1:14", "1:18", "2:10", "3:12", "3:16", "4:8", "5:18", "6:12"];
    assert_eq!(places, wanted, "{found:#?}");
}

#[test]
fn errors_do_not_breed_errors() {
    // The key is wrong, and that is all that is wrong.
    refused(
        "principal a = nonsense\na | x | r | allow\nexpect allow a r x",
        "1:15",
        "public key",
        "64",
    );
    // The group's member is wrong; the group is still known.
    refused("group @g = A\n@g | x | r | allow\nexpect allow b r x", "1:12", "upper-case", "`a`");
}

#[test]
fn keys_and_groups_are_given_once_and_owned_by_one() {
    let (one, two) = (key(1).1, key(2).1);
    refused(
        &format!("principal a = {one}\nprincipal b = {one}"),
        "2:15",
        "already bound to `a`",
        "another key",
    );
    refused(&format!("principal a = {one}\nprincipal a = {two}"), "2:11", "twice", "one line");
    refused("group @g = a\ngroup @g = b", "2:7", "twice", "one line");
    let loaded = load(&format!("principal a = {one}, {two}")).unwrap();
    assert_eq!(loaded.policy.principal_of(&key(2).0).unwrap().as_str(), "a");
    assert_eq!(loaded.policy.principal_of(&key(3).0), None);
}

#[test]
fn groups_nest_eight_deep_and_no_deeper() {
    let chain = |depth: usize| {
        let mut text: String = (1..depth).map(|n| format!("group @g{n} = @g{}\n", n + 1)).collect();
        text += &format!("group @g{depth} = a\n@g1 | x | r | allow");
        text
    };
    assert!(load(&chain(8)).unwrap().policy.explain("a", "r", "x").is_allowed());
    refused(&chain(9), "1:7", "deeper than 8", "flatten");
}

#[test]
fn a_principal_is_in_1022_groups_and_no_more_directly_or_not() {
    let groups = |count: usize, member: &str| -> String {
        (0..count).map(|n| format!("group @g{n} = {member}, {member}\n")).collect()
    };
    let row = "\n@g0 | x | r | allow\n";
    let most = MAX_SUBJECTS - 2;
    let direct = |count| format!("{}{row}principal a = {}\n", groups(count, "a"), key(1).1);
    assert!(load(&direct(most)).unwrap().policy.explain("a", "r", "x").is_allowed());
    let at = format!("{}:11", most + 4);
    refused(&direct(most + 1), &at, "`a` is in more than 1022 groups", "into one group");
    let nested = |count| format!("group @all = a\n{}{row}", groups(count - 1, "@all"));
    assert!(load(&nested(most)).unwrap().policy.explain("a", "r", "x").is_allowed());
    refused(&nested(most + 1), "1:14", "`a` is in more than 1022 groups", "into one group");
}

#[test]
fn wildcards_that_would_cost_too_much_are_refused_at_load() {
    let mut text = String::new();
    for number in 0..1_u32 << 13 {
        let segments: Vec<_> =
            (0..13).map(|bit| if number >> bit & 1 == 0 { "*" } else { "{self}" }).collect();
        text += &format!("a | {} | r | allow\n", segments.join("/"));
    }
    assert!(load(&text).is_ok());
    text += &text.replace(" | r |", "/* | r |").replace("| *", "| x/*");
    text += &text.replace("| *", "| */*").replace("| {", "| {self}/{");
    let found = errors(&text);
    assert!(found[0].contains("could visit"), "{found:#?}");
}

#[test]
fn a_lower_serial_than_the_one_in_force_is_refused() {
    let load = |text: &str, previous| {
        let options = LoadOptions { previous_serial: previous, ..LoadOptions::default() };
        let source = Source { name: "p", text: text.as_bytes() };
        Policy::load(source, &options).map(|loaded| loaded.policy.serial())
    };
    assert_eq!(load("serial 42", Some(42)).unwrap(), Some(42));
    assert_eq!(load("serial 43", Some(42)).unwrap(), Some(43));
    let found = shown(&load("\nserial 41", Some(42)).unwrap_err());
    assert_is(&found[0], "2:8", "lower than 42", "serial 43");
    assert!(shown(&load("acl 1", Some(42)).unwrap_err())[0].contains("no serial"));
}

#[test]
fn a_file_of_principals_holds_nothing_else() {
    let principals = format!("# keys\nprincipal a = {}\na | x | r | allow\n", key(1).1);
    let options = LoadOptions {
        principals: Some(Source { name: "keys", text: principals.as_bytes() }),
        ..LoadOptions::default()
    };
    let errors = Policy::load(Source { name: "p", text: b"" }, &options).unwrap_err();
    assert_eq!(errors.errors()[0].file, "keys");
    assert_is(&shown(&errors)[0], "3:1", "`principal` lines only", "policy");
}

#[test]
fn names_that_look_like_directives_are_rows_when_a_bar_follows() {
    let loaded = load("never | x | r | allow\nserial|x|r|deny").unwrap();
    assert!(loaded.policy.explain("never", "r", "x").is_allowed());
    assert!(!loaded.policy.explain("serial", "r", "x").is_allowed());
}

#[test]
fn a_row_that_can_never_matter_only_warns() {
    let loaded = load(&format!("principal a = {}\na | x\\\\y | r | deny", key(1).1)).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!((loaded.warnings[0].line, loaded.warnings[0].column), (2, 5));
    load(&format!("principal mallory = {}\nmallory | ** | * | deny", key(1).1)).unwrap();
}

#[test]
fn the_digest_is_that_of_the_file() {
    // printf '' | sha256sum
    let digest = load("").unwrap().policy.digest();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let keys = Source { name: "keys", text: b"# none\n" };
    let options = LoadOptions { principals: Some(keys), ..LoadOptions::default() };
    let both = Policy::load(Source { name: "p", text: b"" }, &options).unwrap().policy;
    assert_ne!(both.digest(), digest);
}

#[test]
fn errors_serve_machines_and_people() {
    let errors = load("dthain | exam.txt | write | alow").unwrap_err();
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json[0]["file"], "policy.acl");
    assert_eq!((&json[0]["line"], &json[0]["column"]), (&1.into(), &29.into()));
    assert_eq!(json[0]["help"], "write `allow`");
    let related: Vec<_> = errors.related().unwrap().collect();
    let label = related[0].labels().unwrap().next().unwrap();
    assert_eq!((label.offset(), label.len()), (28, 4));
    assert_eq!(related[0].help().unwrap().to_string(), "write `allow`");
}

#[test]
fn what_a_terminal_would_obey_is_not_in_any_message() {
    let errors = load("a\u{1b}[31m | x\u{202e} | r | al\u{7}ow").unwrap_err();
    for error in errors.errors() {
        let text = format!("{error} {}", error.help);
        assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
}

#[test]
fn many_unknown_names_among_many_known_ones_are_all_refused_and_some_are_guessed() {
    let mut text = format!("principal known0000 = ed25519:{:064x}\n", 9_999);
    text.extend((1..2_000).map(|n| format!("principal p{n:04} = ed25519:{n:064x}\n")));
    let rows = (0..1_000).map(|n| format!("knowm{n:04} | x | r | allow\n"));
    text.extend(rows);
    let found = errors(&text);
    assert_eq!(found.len(), 1_000);
    assert_is(&found[0], "2001:1", "unknown principal `knowm0000`", "did you mean `known0000`?");
    // The work that goes into guesses has a bound.
    assert_is(&found[999], "3000:1", "unknown principal `knowm0999`", "add a line `principal");
}

#[test]
fn a_long_cycle_is_found_and_shown_in_short() {
    let text: String =
        (0..20_000).map(|n| format!("group @g{n} = @g{}\n", (n + 1) % 20_000)).collect();
    let found = errors(&text);
    let cycle = found.iter().find(|error| error.contains("group cycle @g0 → @g1 → ")).unwrap();
    assert!(cycle.contains("→ @g15 → … → @g0"), "{cycle}");
}

#[test]
fn a_column_with_very_many_mistakes_tells_the_first_of_them() {
    let found = errors(&format!("a | {} | r | allow", "x*/".repeat(1_000)));
    assert_eq!(found.len(), 16);
    assert!(found[0].starts_with("1:6 a wildcard is a whole segment"), "{}", found[0]);
}
