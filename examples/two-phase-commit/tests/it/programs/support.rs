//! A folder with a small bank: keys, policies, the file of nodes, and processes that run in it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use bailiwick::{Identity, PublicKey, key_file};
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use stable_store::{Record, Rejected, Replay};
use tempfile::TempDir;

/// What each node has at first: an account that its name is followed by.
const ACCOUNTS: [(&str, &str); 3] = [("p1", "alice=100"), ("p2", "bob=50"), ("p3", "carol=0")];

/// How long something that must come about may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// All files, and no process.
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let known = ["coordinator", "operator", "alice", "bob", "p1", "p2", "p3"];
        for name in known.iter().chain(&["mallory"]) {
            let identity = Identity::generate(&mut rand::rng());
            key_file::create(world.path(&format!("{name}.key")), &identity, name, None).unwrap();
        }
        let principal = |name: &&str| format!("principal {name} = {}\n", world.key(name));
        world.write("principals.acl", &known.iter().map(principal).collect::<String>());
        let nodes = ["coordinator", "p1", "p2", "p3"];
        let ports = nodes.map(|name| (name, free_port()));
        let line = |(name, port): &(&str, TcpListener)| {
            format!("{name} tcp://{} {}\n", port.local_addr().unwrap(), world.key(name))
        };
        world.write("nodes", &ports.iter().map(line).collect::<String>());
        world.write("coordinator.acl", include_str!("../../../policy/coordinator.acl"));
        world.write("participant.acl", include_str!("../../../policy/participant.acl"));
        world
    }

    /// All nodes at work.
    pub(crate) fn opened() -> (Self, Vec<Running>) {
        let world = Self::new();
        let mut nodes: Vec<_> = ["p1", "p2", "p3"].map(|name| world.start(name)).into();
        nodes.push(world.start("coordinator"));
        (world, nodes)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn key(&self, name: &str) -> PublicKey {
        Identity::read(self.path(&format!("{name}.key"))).unwrap().public_key()
    }

    /// A node's command line, with what is its own.
    pub(crate) fn node(&self, name: &str) -> Vec<String> {
        let role = match name {
            "coordinator" => "coordinator".to_owned(),
            _ => format!("participant --name {name}"),
        };
        let policy = if name == "coordinator" { name } else { "participant" };
        let open = ACCOUNTS.iter().find(|(node, _)| *node == name);
        let open = open.map(|(_, account)| format!(" --open {account}")).unwrap_or_default();
        let line = format!(
            "{role} --data {name}.d --nodes nodes --identity {name}.key --policy {policy}.acl \
             --principals principals.acl --audit {name}.jsonl{open}"
        );
        line.split(' ').map(str::to_owned).collect()
    }

    /// Runs a node that should not start, with `value` in place of what `option` has.
    pub(crate) fn node_with(&self, name: &str, option: &str, value: &str) -> Ran {
        let mut arguments = self.node(name);
        let at = arguments.iter().position(|it| it == option).unwrap();
        value.clone_into(&mut arguments[at + 1]);
        self.run(&arguments)
    }

    pub(crate) fn start(&self, name: &str) -> Running {
        self.start_with(name, &[])
    }

    pub(crate) fn start_with(&self, name: &str, more: &[&str]) -> Running {
        let mut command = self.command(&self.node(name));
        command.args(more);
        self.spawn(name, command)
    }

    /// Starts a node by another command, which is given its command line.
    pub(crate) fn start_by(&self, by: &[&str], name: &str) -> Running {
        self.spawn(name, self.command_by(by, name))
    }

    /// The same, of a node that may end before it is ready: then how it has ended.
    pub(crate) fn try_start_by(&self, by: &[&str], name: &str) -> Result<Running, ExitStatus> {
        let (running, ready) = self.spawn_unready(name, self.command_by(by, name));
        if ready.is_empty() { Err(running.wait()) } else { Ok(running) }
    }

    fn command_by(&self, by: &[&str], name: &str) -> Command {
        let node = self.command(&self.node(name));
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(node.get_program()).args(node.get_args());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// A node that says that it is ready.
    pub(crate) fn spawn(&self, name: &str, command: Command) -> Running {
        let (running, ready) = self.spawn_unready(name, command);
        let log = || self.read(&format!("{name}.log"));
        assert!(ready.starts_with(&format!("ready: {name} at tcp://")), "{ready:?}: {}", log());
        assert!(ready.contains(" MB/s), "), "it does not say how fast it recovered: {ready}");
        running
    }

    /// A process, and the first line that it said.
    fn spawn_unready(&self, name: &str, mut command: Command) -> (Running, String) {
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        self.write(&format!("{name}.ready"), &ready);
        (Running { process }, ready)
    }

    pub(crate) fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_two-phase-commit"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // Where a bank keeps what it found.
        command.env("TMPDIR", self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[String]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// A client's command, as `who`.
    pub(crate) fn call(&self, who: &str, command: &str) -> Ran {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let line = format!("{verb} --nodes nodes --identity {who}.key {rest}");
        self.run(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    /// Repeats a client's command until its answer is `enough`.
    #[track_caller]
    pub(crate) fn until(&self, who: &str, command: &str, enough: impl Fn(&Ran) -> bool) -> Ran {
        let end = Instant::now() + PATIENCE;
        loop {
            let ran = self.call(who, command);
            if enough(&ran) {
                return ran;
            }
            assert!(Instant::now() < end, "not in {PATIENCE:?}: {ran:?}");
            // Real processes have no virtual time.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A port that nobody has, no other test's node either, and that the system gives to no connection while
/// its node is dead.
fn free_port() -> TcpListener {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    std::iter::repeat_with(|| rand::rng().random_range(10_000_u16..32_768))
        .filter(|port| GIVEN.lock().unwrap().insert(*port))
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap()
}

/// A node's process; killed when dropped.
pub(crate) struct Running {
    process: Child,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let mut rest = String::new();
        let _ = self.process.stdout.take().map(|mut stdout| stdout.read_to_string(&mut rest));
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// It succeeded, and its output begins so.
    #[track_caller]
    pub(crate) fn done(&self, stdout: &str) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert!(self.stdout.starts_with(stdout), "{}", self.stdout);
    }

    /// It failed with `code` and a word about each of `words`; stdout stays clean.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains('\x1b'), "no colour where nobody looks");
    }

    /// The transaction that a failure names.
    pub(crate) fn transaction(&self) -> String {
        let mut words = self.stderr.split_whitespace();
        words.find(|word| word.len() > 32 && word.split('.').count() == 3).unwrap().to_owned()
    }
}

/// A log that is written to, and not looked at.
pub(crate) struct Unread;

impl Replay for Unread {
    fn restore(&mut self, _: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn apply(&mut self, _: Record<'_>) -> Result<(), Rejected> {
        Ok(())
    }
}
