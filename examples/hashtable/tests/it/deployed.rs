//! hashtable.service and bailiwick.toml, as they are shipped.

use std::{fs, path::Path, process::Command, time::Duration};

use bailiwick::server_file::ServerFile;

use crate::{support::World, tools::skip};

/// Where the unit has the settings.
const CONFIGURATION: &str = "/etc/hashtable";

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What the unit says under `key`; the last one counts.
fn unit(key: &str) -> String {
    let unit = shipped("hashtable.service");
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    unit.lines().rev().find_map(value).unwrap_or_else(|| panic!("no {key}= in {unit}"))
}

/// The shipped settings, as the program reads them.
fn settings() -> ServerFile {
    let text = shipped("bailiwick.toml");
    let own = |root: &mut bailiwick::server_file::Section<'_>| {
        let mut table = root.section("hashtable");
        assert!(table.get::<std::path::PathBuf>("data").is_some());
        assert!(table.get::<String>("log").is_some());
        table.finish();
    };
    ServerFile::parse("bailiwick.toml", &text, Path::new(CONFIGURATION), own).unwrap()
}

#[test]
fn the_unit_s_command_starts_a_server_with_the_shipped_settings() {
    let world = World::new();
    for folder in ["log", "lib"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    let text = shipped("bailiwick.toml")
        .replace("/var/log/hashtable", "log")
        .replace("/var/lib/hashtable", "lib")
        .replace(":7400", ":0");
    world.write("bailiwick.toml", &text);
    let command = unit("ExecStart").replace(&format!("{CONFIGURATION}/"), "");
    let arguments: Vec<_> = command.split_whitespace().collect();
    assert_eq!(arguments[0], "/usr/local/bin/hashtable");
    let mut server = world.spawn(&arguments[1..], 2, "server");
    server.wait_for_recovery();
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["put", "k", "w"]).failed(3, &["denied"]);
    // `allowed = "mutating"`
    assert_eq!(world.read("log/audit.jsonl").matches("\"event\":\"decision\"").count(), 2);
}

/// What stands behind a `#` there is taken too, once it is in force.
#[test]
fn each_setting_that_is_only_proposed_is_one() {
    let text = shipped("bailiwick.toml").replace(
        "<64 hex digits>",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    );
    let is_setting = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        line.starts_with('[') || (line.contains(" = ") && !key.contains(' '))
    };
    let in_force = |line: &str| match line.strip_prefix("# ") {
        Some(proposed) if is_setting(proposed) => proposed.to_owned(),
        _ => line.to_owned(),
    };
    let text = text.lines().map(in_force).collect::<Vec<_>>().join("\n");
    let mut proposed = Vec::new();
    let own = |root: &mut bailiwick::server_file::Section<'_>| {
        let mut table = root.section("hashtable");
        let _ = table.get::<std::path::PathBuf>("data");
        proposed.extend(table.get::<u64>("max_keys"));
        proposed.extend(table.get::<u64>("max_bytes"));
        proposed.extend(table.get::<u64>("checkpoint_after"));
        let _ = (table.get::<String>("metrics"), table.get::<String>("log"));
        table.finish();
    };
    let file = ServerFile::parse("it", &text, Path::new(CONFIGURATION), own).unwrap();
    assert_eq!(proposed, [2_000_000, 256 << 20, 64 << 20], "the defaults");
    assert!(file.policy.signer.is_some() && file.policy.shadow.is_some());
    assert_eq!(file.policy.permissive.len(), 1);
    assert!(file.audit.second.is_some() && file.audit.checkpoints.is_some());
    assert_eq!(file.audit.rotate_at, Some(256 << 20));
    assert!(file.audit.witness.is_some());
}

#[test]
fn the_unit_gives_the_server_the_time_the_files_and_the_folders_of_its_settings() {
    let settings = settings();
    let seconds = unit("TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
    assert!(Duration::from_secs(seconds) > settings.limits.drain_timeout);
    let files: usize = unit("LimitNOFILE").parse().unwrap();
    assert!(files > settings.limits.max_connections);
    assert!(settings.audit.file.starts_with(Path::new("/var/log").join(unit("LogsDirectory"))));
    assert!(
        shipped("bailiwick.toml").contains(&format!("\"/var/lib/{}\"", unit("StateDirectory")))
    );
    let configuration = Path::new("/etc").join(unit("ConfigurationDirectory"));
    assert_eq!(configuration, Path::new(CONFIGURATION));
    assert!(settings.identity.starts_with(&configuration));
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit_and_little_that_it_exposes() {
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).output();
    if analyze(&["--version"]).is_err() {
        return skip("there is no systemd-analyze: apt-get install systemd");
    }
    let world = World::new();
    let unit = shipped("hashtable.service");
    // It looks whether the program is there.
    world.write(
        "hashtable.service",
        &unit.replace("/usr/local/bin/hashtable", env!("CARGO_BIN_EXE_hashtable")),
    );
    let path = world.path("hashtable.service");
    let path = path.to_str().unwrap();
    let verified = analyze(&["verify", "--man=no", path]).unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
    // In tenths: 0 exposes nothing, 100 all.
    let exposed = analyze(&["security", "--offline=true", "--threshold=15", path]).unwrap();
    let said = String::from_utf8_lossy(&exposed.stdout);
    assert!(exposed.status.success(), "{said}");
}
