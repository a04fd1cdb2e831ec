//! A directory with anything wrong is not served, and the server says what and how to mend it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    support::{Ran, Running, World},
    tools::{passes_without_tools, skip},
};

const TCP: &[&str] = &["tcp://127.0.0.1:0"];

/// Where a log file's header has its version, and how much of it is checked by the checksum behind.
const VERSION: std::ops::Range<usize> = 8..10;
const CHECKED: usize = 50;

/// A world whose table was served `times` times, with an increment each, and then killed.
fn served(times: u64, more: &[&str]) -> World {
    let world = World::new();
    for _ in 0..times {
        increment(&world, &world.serve_kept(TCP, more));
    }
    world
}

fn increment(world: &World, server: &Running) {
    assert_eq!(world.call(server, "alice", &["increment", "n", "1"]).code, Some(0));
}

/// The files of the log, oldest first.
fn log(world: &World) -> Vec<PathBuf> {
    let files = fs::read_dir(world.path("data")).unwrap().map(|it| it.unwrap().path());
    let mut logs: Vec<_> =
        files.filter(|it| it.file_name().unwrap().to_str().unwrap().starts_with("log-")).collect();
    logs.sort();
    logs
}

/// The log file that holds the `number`th increment.
fn log_with_record(world: &World, number: usize) -> PathBuf {
    let with_records: Vec<_> =
        log(world).into_iter().filter(|it| fs::metadata(it).unwrap().len() > 54).collect();
    with_records[number - 1].clone()
}

fn serve_command(world: &World, more: &[&str]) -> Command {
    let mut arguments = vec!["serve", "--listen", TCP[0], "--identity", "server.key"];
    arguments.extend(["--policy", "policy.acl", "--principals", "principals.acl"]);
    arguments.extend(["--audit", "other.jsonl", "--data", "data"]);
    world.command(&[&arguments, more].concat())
}

/// A server that is expected to end by itself.
fn serve(world: &World, more: &[&str]) -> Ran {
    ended(&mut serve_command(world, more))
}

/// How it ends by itself; after half a minute it is killed.
fn ended(command: &mut Command) -> Ran {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..600 {
        if process.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = process.kill();
    Ran::from(process.wait_with_output().unwrap())
}

#[test]
fn a_directory_that_is_none() {
    let world = World::new();
    world.write("data", "a file");
    serve(&world, &[]).failed(1, &["data is not a directory"]);
    fs::remove_file(world.path("data")).unwrap();
    serve_at(&world, "none/data").failed(1, &["none/data cannot be made", "is not there"]);
    world.run(&["serve", "--salvage"]).failed(2, &["--data"]);
}

fn serve_at(world: &World, dir: &str) -> Ran {
    let mut command = serve_command(world, &[]);
    let mut arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let last = arguments.len() - 1;
    arguments[last] = dir.into();
    command = world.command(&[]);
    ended(command.args(arguments))
}

#[test]
fn a_directory_that_another_server_has() {
    let world = World::new();
    let running = world.serve_kept(TCP, &[]);
    let pid = format!("(pid {})", running.id());
    serve(&world, &[]).failed(1, &["data is served by another process", &pid, "one at a time"]);
    increment(&world, &running);
    running.kill();
    // The lock ends with its holder.
    increment(&world, &world.serve_kept(TCP, &[]));
}

#[test]
fn a_directory_that_this_user_may_not_use() {
    let world = served(1, &[]);
    let mut command = serve_command(&world, &[]);
    if rustix::process::geteuid().is_root() {
        // Root may everything, so somebody else is sent: who owns all but the data.
        let nobody = 65_534;
        let binary = world.path("hashtable");
        fs::copy(env!("CARGO_BIN_EXE_hashtable"), &binary).unwrap();
        for entry in fs::read_dir(world.path(".")).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("data") {
                chown(path, Some(nobody), Some(nobody)).unwrap();
            }
        }
        chown(world.path("."), Some(nobody), Some(nobody)).unwrap();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(binary);
        command.args(arguments).current_dir(world.path(".")).uid(nobody).gid(nobody);
    } else {
        fs::set_permissions(world.path("data"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let refused = ended(&mut command);
    refused.failed(1, &["no permission to read and write data", "Permission denied"]);
    fs::set_permissions(world.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_log_file_of_another_store() {
    let (world, other) = (served(1, &[]), served(2, &[]));
    let foreign = log(&other).pop().unwrap();
    let name = foreign.file_name().unwrap().to_str().unwrap();
    let copied = world.path("data").join(name);
    fs::copy(&foreign, &copied).unwrap();
    let belongs = format!("{name} belongs to another store");
    let words = [&*belongs, "move it away"];
    serve(&world, &[]).failed(1, &words);
    serve(&world, &["--salvage"]).failed(1, &words);
    fs::remove_file(copied).unwrap();
    let server = world.serve_kept(TCP, &[]);
    world.call(&server, "alice", &["get", "n"]).done("1\n");
}

#[test]
fn a_log_of_a_newer_version() {
    let world = served(1, &[]);
    let newest = log(&world).pop().unwrap();
    let old = fs::read(&newest).unwrap();
    let mut new = old.clone();
    new[VERSION].copy_from_slice(&7_u16.to_le_bytes());
    let crc = crc32c::crc32c(&new[..CHECKED]);
    new[CHECKED..CHECKED + 4].copy_from_slice(&crc.to_le_bytes());
    fs::write(&newest, new).unwrap();
    for more in [&[][..], &["--salvage"]] {
        serve(&world, more).failed(1, &["has format 7", "upgrade the program"]);
    }
    fs::write(&newest, old).unwrap();
    let server = world.serve_kept(TCP, &[]);
    world.call(&server, "alice", &["get", "n"]).done("1\n");
}

#[test]
fn a_log_that_is_damaged_where_it_was_durable() {
    let world = served(3, &[]);
    let damaged = log_with_record(&world, 2);
    let mut bytes = fs::read(&damaged).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let name = damaged.file_name().unwrap().to_str().unwrap();

    let refused = serve(&world, &[]);
    let at = format!("{name} is damaged at offset 54: record 2 had been synced");
    for words in [&at, "cannot open the table in data", "--salvage"] {
        assert!(refused.stderr.contains(words), "no {words:?} in:\n{}", refused.stderr);
    }
    assert_eq!(refused.code, Some(1));

    let server = world.serve_kept(TCP, &["--salvage"]);
    world.call(&server, "alice", &["get", "n"]).done("1\n");
    increment(&world, &server);
    server.signal(rustix::process::Signal::TERM);
    let (_, stderr) = server.wait();
    let kept = format!("cut off is kept in salvaged-{name}");
    for words in ["salvage: record 2 and all behind it are lost", &kept] {
        assert!(stderr.contains(words), "no {words:?} in:\n{stderr}");
    }
    let server = world.serve_kept(TCP, &["--salvage"]);
    world.call(&server, "alice", &["get", "n"]).done("2\n");
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().1.contains("salvage: nothing is damaged"));
}

#[test]
fn a_torn_tail_is_cut_off_and_told() {
    let world = served(2, &[]);
    let last = log_with_record(&world, 2);
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend([7; 100]);
    fs::write(&last, bytes).unwrap();
    let server = world.serve_kept(TCP, &[]);
    let told = ", a torn tail of 100 bytes was cut off, epoch ";
    assert!(server.recovered.contains(told), "{}", server.recovered);
    world.call(&server, "alice", &["get", "n"]).done("2\n");
}

#[test]
fn a_checkpoint_that_is_truncated() {
    let world = World::new();
    let often = ["--checkpoint-after", "1"];
    let server = world.serve_kept(TCP, &often);
    for _ in 0..3 {
        increment(&world, &server);
    }
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().0.success());
    let checkpoint = world.path("data/checkpoint");
    let whole = fs::read(&checkpoint).unwrap();
    // Each byte is the store's own tests' matter.
    for length in [0, 1, 53, 54, whole.len() / 2, whole.len() - 1] {
        fs::write(&checkpoint, &whole[..length]).unwrap();
        for more in [&[][..], &["--salvage"]] {
            let refused = serve(&world, more);
            assert_eq!(refused.code, Some(1), "{length}: {}", refused.stderr);
            let damaged = refused.stderr.contains("checkpoint is damaged at offset");
            assert!(damaged && refused.stderr.contains("restore a copy"), "{}", refused.stderr);
        }
    }
    fs::write(&checkpoint, &whole).unwrap();
    let server = world.serve_kept(TCP, &often);
    world.call(&server, "alice", &["get", "n"]).done("3\n");
}

#[test]
fn a_disk_that_is_full() {
    let world = World::new();
    let data = world.path("data");
    fs::create_dir(&data).unwrap();
    let _mounted = match Tmpfs::mount(&data) {
        Ok(mounted) => mounted,
        Err(why) => {
            return skip(&format!(
                "a disk of 1 MiB needs root and the right to mount (run the tests as root; in a \
                 container: --cap-add SYS_ADMIN): {why}"
            ));
        }
    };
    let server = world.serve_kept(TCP, &[]);
    let value = "v".repeat(60_000);
    let mut answered = 0;
    loop {
        let put = ["--timeout", "2s", "put", &format!("k{answered:02}"), &value];
        if world.call(&server, "alice", &put).code != Some(0) {
            break;
        }
        answered += 1;
    }
    assert!((10..18).contains(&answered), "{answered}");
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(1));
    for words in ["the table can be kept no longer", "No space left on device", "start the server"]
    {
        assert!(stderr.contains(words), "no {words:?} in:\n{stderr}");
    }

    // What was half written goes, which makes room for the next boot.
    let server = world.serve_kept(TCP, &[]);
    assert!(server.recovered.contains("a torn tail of "), "{}", server.recovered);
    for number in 0..answered {
        let key = format!("k{number:02}");
        world.call(&server, "alice", &["get", &key]).done(&format!("{value}\n"));
    }
}

#[test]
fn without_a_disk_of_its_own_that_is_skipped_unless_tools_are_required() {
    let test = "bad_data::a_disk_that_is_full";
    assert!(passes_without_tools(test, "0"));
    assert!(!passes_without_tools(test, "1"));
}

/// A disk of one MiB, until it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &PathBuf) -> Result<Self, String> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=700", "none"]).arg(at))?;
        Ok(Self(at.clone()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a server may still have it.
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let stderr = || String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or_else(stderr)
}
