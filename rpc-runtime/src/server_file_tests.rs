use std::time::{Duration, SystemTime};

use bailiwick_acl::monitor::Allows;

use super::*;

const WHOLE: &str = r#"
identity = "server.key"
listen = ["tcp://127.0.0.1:7400", "udp://[::1]:7401"]

[policy]
file = "/etc/policy.acl"
principals = "principals.acl"
signer = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
at_least = 7
shadow = "next.acl"

[policy.permissive]
alice = 1970-01-01T00:00:09Z
bob = 1970-01-01T01:00:00+01:00

[audit]
file = "audit.jsonl"
second = "/mnt/audit.jsonl"
checkpoints = "/mnt/checkpoints.jsonl"
key_file = "keys/audit"
redaction_key = "keys/marks"
rotate_at = 4_000_000
reserve = 0
allowed = "mutating"

[limits]
idle_timeout = "1m"
max_connections = 1_000

[audit.witness]
endpoint = "tcp://witness.example:7400"
server = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
identity = "witness.key"
"#;

fn parse(text: &str) -> Result<ServerFile, ServerFileError> {
    ServerFile::parse("bailiwick.toml", text, Path::new("/srv"), |_| {})
}

/// Each error as `place: message → mend`.
fn errors(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ServerFileError::Refused { errors, .. }) => {
            errors.iter().map(|error| format!("{error} → {}", error.help)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_file_gives_what_it_says_and_defaults_for_the_rest() {
    let file = parse(WHOLE).unwrap();
    assert_eq!(file.identity, Path::new("/srv/server.key"));
    assert_eq!(file.listen, [Endpoint::tcp("127.0.0.1:7400"), Endpoint::udp("[::1]:7401")]);
    assert_eq!(file.policy.file, Path::new("/etc/policy.acl"));
    assert_eq!(file.policy.principals.as_deref(), Some(Path::new("/srv/principals.acl")));
    let signer = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(file.policy.signer.unwrap().to_string(), signer);
    assert_eq!(file.policy.at_least, Some(7));
    assert_eq!(file.policy.shadow.as_deref(), Some(Path::new("/srv/next.acl")));
    let until = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let permissive = [("alice".to_owned(), until(9)), ("bob".to_owned(), until(0))];
    assert_eq!(file.policy.permissive, permissive);
    assert_eq!(file.audit.file, Path::new("/srv/audit.jsonl"));
    assert_eq!(file.audit.second.as_deref(), Some(Path::new("/mnt/audit.jsonl")));
    assert_eq!(file.audit.checkpoints.as_deref(), Some(Path::new("/mnt/checkpoints.jsonl")));
    assert_eq!(file.audit.key_file.as_deref(), Some(Path::new("/srv/keys/audit")));
    assert_eq!(file.audit.redaction_key.as_deref(), Some(Path::new("/srv/keys/marks")));
    assert_eq!((file.audit.rotate_at, file.audit.reserve), (Some(4_000_000), Some(0)));
    assert_eq!(file.audit.allowed, Allows::Mutating);
    let witness = file.audit.witness.unwrap();
    assert_eq!(witness.endpoint, Endpoint::tcp("witness.example:7400"));
    assert_eq!(witness.server.to_string(), signer);
    assert_eq!(witness.identity.as_deref(), Some(Path::new("/srv/witness.key")));
    let limits = Limits {
        idle_timeout: Duration::from_secs(60),
        max_connections: 1000,
        ..Limits::default()
    };
    assert_eq!(file.limits, limits);
}

#[test]
fn the_whole_file_of_the_documentation_has_every_key_with_its_default() {
    let documentation = include_str!("server_file.rs");
    let (_, example) = documentation.split_once("//! ```toml\n").unwrap();
    let (example, _) = example.split_once("//! ```\n").unwrap();
    let lines = example.lines().map(|line| line.trim_start_matches("//!").trim_start());
    let example = lines.collect::<Vec<_>>().join("\n");
    let file = parse(&example).unwrap();
    assert_eq!(file.limits, Limits::default());
    assert_eq!(file.audit.allowed, Allows::default());
    assert_eq!(file.audit.rotate_at, Some(bailiwick_acl::audit::ROTATE_AT));
    assert_eq!(file.audit.reserve, Some(bailiwick_acl::audit::RESERVE));
    assert_eq!(file.audit.key_file.as_deref(), Some(Path::new("/srv/audit.jsonl.key")));
    assert_eq!(file.audit.redaction_key.as_deref(), Some(Path::new("/srv/audit.jsonl.hmac")));

    let keys = |text: &str, end: char| -> Vec<String> {
        let key = |line: &str| line.trim().split_once(end).map(|(key, _)| key.trim().to_owned());
        text.lines().filter_map(key).collect()
    };
    let written = keys(&example, '=');
    let client_only = ["handshake_timeout_udp", "max_reconnect_pause", "retries_per_second"];
    let limits = keys(&format!("{:#?}", file.limits), ':');
    let limits = limits.iter().filter(|limit| !client_only.contains(&limit.as_str()));
    for limit in limits.chain(&keys(WHOLE, '=')) {
        assert!(written.contains(limit) || limit == "bob", "no {limit} in the documentation");
    }
    // None that a key could be left out of: what is unknown here lists what is known.
    for (table, known) in [("policy", 6), ("audit", 9), ("limits", 24)] {
        let text = format!("[{table}]\nxyzzyxyzzy = 1\n");
        let help = errors(&text).into_iter().find_map(|error| {
            let (_, known) = error.split_once("unknown key `xyzzyxyzzy` → known here: ")?;
            Some(known.to_owned())
        });
        let help = help.unwrap();
        let keys: Vec<_> = help.split(", ").collect();
        assert_eq!(keys.len(), known, "{keys:?}");
        for key in keys {
            let stands =
                written.iter().any(|it| it == key) || example.contains(&format!(".{key}]"));
            assert!(stands, "no {key} in the documentation");
        }
    }
}

#[test]
fn each_value_of_policy_and_audit_is_held_to_its_type() {
    let key = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    for (written, wrong, told) in [
        (key, "ed25519:d75a", "`signer` cannot be this: not a public key"),
        (
            "at_least = 7",
            "at_least = \"7\"",
            "`at_least` cannot be this: it is a value of type string",
        ),
        ("\"next.acl\"", "\"\"", "`shadow` cannot be this: it is empty"),
        (
            "1970-01-01T00:00:09Z",
            "1970-01-01T00:00:09",
            "`alice` cannot be this: 1970-01-01T00:00:09 names no moment",
        ),
        (
            "1970-01-01T00:00:09Z",
            "\"tomorrow\"",
            "`alice` cannot be this: it is a value of type string",
        ),
        ("\"/mnt/audit.jsonl\"", "\"audit.jsonl\"", "`second` is the log itself"),
        ("\"/mnt/checkpoints.jsonl\"", "\"/srv/audit.jsonl\"", "`checkpoints` is the log itself"),
        ("\"keys/audit\"", "true", "`key_file` cannot be this: it is a value of type boolean"),
        ("\"keys/marks\"", "[]", "`redaction_key` cannot be this: it is a value of type array"),
        ("4_000_000", "-1", "`rotate_at` cannot be this: -1 is out of range"),
        ("reserve = 0", "reserve = 0.5", "`reserve` cannot be this: it is a value of type float"),
        ("at_least", "at_lest", "unknown key `at_lest` → did you mean `at_least`?"),
        ("second", "secnd", "unknown key `secnd` → did you mean `second`?"),
        (
            "[policy.permissive]",
            "[policy.permisive]",
            "unknown key `permisive` → did you mean `permissive`?",
        ),
    ] {
        let text = WHOLE.replacen(written, wrong, 1);
        assert_ne!(text, WHOLE, "{written}");
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(told), "{wrong}: {errors:?}");
    }
}

#[test]
fn a_witness_needs_an_endpoint_and_a_key() {
    let (without, _) = WHOLE.split_once("[audit.witness]").unwrap();
    assert!(parse(without).unwrap().audit.witness.is_none());
    let errors = errors(&format!("{without}[audit.witness]\nidentty = \"k\"\n"));
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors[0].contains("`endpoint` is missing → add `endpoint = …` below `[audit.witness]`")
    );
    assert!(errors[1].contains("`server` is missing"));
    assert!(errors[2].contains("unknown key `identty` → did you mean `identity`?"));
}

#[test]
fn every_error_is_told_in_one_run_with_its_place_and_mend() {
    let text = WHOLE
        .replacen("identity", "identiy", 1)
        .replacen("tcp://", "tpc://", 1)
        .replace("\"mutating\"", "\"some\"")
        .replace("\"1m\"", "60")
        .replace("1_000", "-1");
    assert_eq!(
        errors(&text),
        [
            "bailiwick.toml:1:1: `identity` is missing → add `identity = …`: a path in quotes; a \
             relative one begins at the folder of this file",
            "bailiwick.toml:2:1: unknown key `identiy` → did you mean `identity`?",
            "bailiwick.toml:3:10: `listen` cannot be this: `tpc://` is not a transport here: use \
             `tcp://` or `udp://` → write an endpoint in quotes, such as \"tcp://127.0.0.1:7400\"",
            "bailiwick.toml:24:11: `allowed` cannot be this: `some` is none of them → write \
             \"none\", \"mutating\" or \"all\"",
            "bailiwick.toml:27:16: `idle_timeout` cannot be this: it is a value of type integer → write a time in \
             quotes, such as \"30s\", \"500ms\" or \"1h\"",
            "bailiwick.toml:28:19: `max_connections` cannot be this: -1 is out of range → write a \
             whole number, such as 1_024",
        ]
    );
}

#[test]
fn a_limit_out_of_range_is_named_where_it_stands() {
    assert_eq!(
        errors(&WHOLE.replace("\"1m\"", "\"1ms\"")),
        ["bailiwick.toml:27:16: `idle_timeout` is out of range → it must be 1 s to 1 h"]
    );
}

#[test]
fn what_is_not_toml_is_told_by_its_line() {
    let errors = errors(&format!("{WHOLE}\nfile = \n"));
    assert!(errors[0].starts_with("bailiwick.toml:35:"), "{errors:?}");
}

#[test]
fn a_section_of_a_program_is_read_as_strictly() {
    let text = format!("{WHOLE}\n[table]\ndata = \"kept\"\nmax_kees = 3\n");
    let mut data = None::<PathBuf>;
    let file = ServerFile::parse("it", &text, Path::new("/srv"), |root| {
        let mut table = root.section("table");
        data = table.get("data");
        let _ = table.get::<u64>("max_keys");
        table.finish();
    });
    assert_eq!(data.as_deref(), Some(Path::new("/srv/kept")));
    let Err(ServerFileError::Refused { errors, .. }) = file else { panic!("{file:?}") };
    assert_eq!(errors[0].to_string(), "it:37:1: unknown key `max_kees`");
    assert_eq!(errors[0].help, "did you mean `max_keys`?");
    // Without the program's own settings the section itself is unknown.
    assert!(parse(&text).is_err());
}

#[test]
fn no_byte_of_a_file_reaches_a_panic() {
    for at in 0..WHOLE.len() {
        for byte in [b'"', b'[', b'=', b'\n', 0x00, 0xff] {
            let mut text = WHOLE.as_bytes().to_vec();
            text[at] = byte;
            // What comes of it is the other tests'.
            let _ = parse(&String::from_utf8_lossy(&text));
        }
    }
}
