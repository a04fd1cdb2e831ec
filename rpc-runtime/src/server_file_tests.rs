use std::time::Duration;

use super::*;

const WHOLE: &str = r#"
identity = "server.key"
listen = ["tcp://127.0.0.1:7400", "udp://[::1]:7401"]

[policy]
file = "/etc/policy.acl"
principals = "principals.acl"

[audit]
file = "audit.jsonl"
allowed = "mutating"

[limits]
idle_timeout = "1m"
max_connections = 1_000
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
    assert_eq!(file.audit.allowed, Allows::Mutating);
    let limits = Limits {
        idle_timeout: Duration::from_secs(60),
        max_connections: 1000,
        ..Limits::default()
    };
    assert_eq!(file.limits, limits);
}

#[test]
fn every_error_is_told_in_one_run_with_its_place_and_mend() {
    let text = WHOLE
        .replace("identity", "identiy")
        .replace("tcp://", "tpc://")
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
            "bailiwick.toml:11:11: `allowed` cannot be this: `some` is none of them → write \
             \"none\", \"mutating\" or \"all\"",
            "bailiwick.toml:14:16: `idle_timeout` cannot be this: it is a value of type integer → write a time in \
             quotes, such as \"30s\", \"500ms\" or \"1h\"",
            "bailiwick.toml:15:19: `max_connections` cannot be this: -1 is out of range → write a \
             whole number, such as 1_024",
        ]
    );
}

#[test]
fn a_limit_out_of_range_is_named_where_it_stands() {
    assert_eq!(
        errors(&WHOLE.replace("\"1m\"", "\"1ms\"")),
        ["bailiwick.toml:14:16: `idle_timeout` is out of range → it must be 1 s to 1 h"]
    );
}

#[test]
fn what_is_not_toml_is_told_by_its_line() {
    let errors = errors(&format!("{WHOLE}\nfile = \n"));
    assert!(errors[0].starts_with("bailiwick.toml:17:"), "{errors:?}");
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
    assert_eq!(errors[0].to_string(), "it:19:1: unknown key `max_kees`");
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
