//! A folder with keys and a policy, and the processes that run in it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio},
};

use bailiwick::{Identity, PublicKey, key_file};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What most tests run under: alice may everything but the salary, bob may read.
pub(crate) const POLICY: &str = "\
alice | table/**     | read,write | allow
alice | table        | list       | allow
bob   | table/*      | read       | allow
*     | table/salary | write      | deny
";

pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["server", "alice", "bob", "mallory", "impostor", "witness"] {
            let identity = Identity::generate(&mut rand::rng());
            key_file::create(world.path(&format!("{name}.key")), &identity, name, None).unwrap();
        }
        let (alice, bob) = (world.key("alice"), world.key("bob"));
        let principals = format!("principal alice = {alice}\nprincipal bob = {bob}\n");
        world.write("principals.acl", &principals);
        world.write("policy.acl", POLICY);
        world
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

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hashtable"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    pub(crate) fn serve(&self) -> Running {
        self.serve_as("server", "audit.jsonl")
    }

    pub(crate) fn serve_as(&self, name: &str, audit: &str) -> Running {
        self.serve_at(&["tcp://127.0.0.1:0"], name, audit)
    }

    /// A server with the key of `name`, at each of `endpoints`.
    pub(crate) fn serve_at(&self, endpoints: &[&str], name: &str, audit: &str) -> Running {
        self.serve_with(endpoints, name, audit, &[])
    }

    /// A server with a page of metrics.
    pub(crate) fn serve_showing_metrics(&self) -> Running {
        let page = ["--metrics", "127.0.0.1:0"];
        self.serve_with(&["tcp://127.0.0.1:0"], "server", "audit.jsonl", &page)
    }

    /// A server that keeps its table in `data`, at each of `endpoints`. It has recovered.
    pub(crate) fn serve_kept(&self, endpoints: &[&str], more: &[&str]) -> Running {
        let mut server = self.serve_recovering(endpoints, more);
        server.wait_for_recovery();
        server
    }

    /// The same, and it may still be reading its log.
    pub(crate) fn serve_recovering(&self, endpoints: &[&str], more: &[&str]) -> Running {
        let options = [&["--data", "data"], more].concat();
        self.serve_with(endpoints, "server", "audit.jsonl", &options)
    }

    fn serve_with(&self, endpoints: &[&str], name: &str, audit: &str, more: &[&str]) -> Running {
        let identity = format!("{name}.key");
        let listen: Vec<_> = endpoints.iter().flat_map(|it| ["--listen", it]).collect();
        let rest = [
            "--identity",
            &identity,
            "--policy",
            "policy.acl",
            "--principals",
            "principals.acl",
            "--audit",
            audit,
        ];
        self.spawn(&[&["serve"], &listen[..], &rest, more].concat(), endpoints.len(), name)
    }

    /// A server with the settings of `file`, which has one endpoint.
    pub(crate) fn serve_from(&self, file: &str) -> Running {
        self.spawn(&["serve", "--config", file], 1, "server")
    }

    /// A server process that says how to reach it at each of its endpoints.
    pub(crate) fn spawn(&self, arguments: &[&str], endpoints: usize, name: &str) -> Running {
        let mut process =
            self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut ready = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let [ready, connect_option, connect, server_option, server] = &words[..] else {
                let _ = process.kill();
                let mut why = String::new();
                stderr.read_to_string(&mut why).unwrap();
                panic!("no ready line: {line:?}, and on stderr:\n{why}");
            };
            assert_eq!(
                [&**ready, &**connect_option, &**server_option],
                ["ready:", "--connect", "--server"]
            );
            (connect.clone(), server.clone())
        };
        let mut ready: Vec<_> = (0..endpoints).map(|_| ready()).collect();
        let key = self.key(name).to_string();
        assert!(ready.iter().all(|(_, server)| *server == key));
        let (connect, server) = ready.remove(0);
        let others = ready.into_iter().map(|(connect, _)| connect).collect();
        Running { process, stdout, stderr, connect, others, server, recovered: String::new() }
    }

    /// `hashtable call` with the key of `who` at `connect`, expecting the key `server`.
    pub(crate) fn call_at(
        &self,
        connect: &str,
        server: &str,
        who: &str,
        operation: &[&str],
    ) -> Ran {
        let identity = format!("{who}.key");
        let dial = ["call", "--connect", connect, "--server", server, "--identity", &identity];
        self.run(&[&dial, operation].concat())
    }

    pub(crate) fn call(&self, server: &Running, who: &str, operation: &[&str]) -> Ran {
        self.call_at(&server.connect, &server.server, who, operation)
    }
}

/// A server process; killed when dropped.
pub(crate) struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    pub(crate) connect: String,
    /// Where it listens beside that.
    pub(crate) others: Vec<String>,
    pub(crate) server: String,
    /// What it said of its recovery.
    pub(crate) recovered: String,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.connect.split_once("://").unwrap().1.parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait_for_recovery(&mut self) {
        self.stdout.read_line(&mut self.recovered).unwrap();
        assert!(self.recovered.starts_with("recovered: "), "{:?}", self.recovered);
    }

    /// The next line that it says on stdout.
    pub(crate) fn next_output(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Where its page of metrics is.
    pub(crate) fn metrics(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let address =
            line.strip_prefix("metrics: http://").and_then(|it| it.strip_suffix("/metrics\n"));
        address.unwrap_or_else(|| panic!("no page of metrics: {line:?}")).to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as a power cut would, but for what the system still writes.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The next line that it says on stderr.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// How it ends, and what it had to say.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.process.wait().unwrap(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
    #[track_caller]
    pub(crate) fn done(&self, stdout: &str) {
        assert_eq!((self.code, &*self.stdout), (Some(0), stdout), "{}", self.stderr);
    }

    /// It failed with `code` and a word about each of `words`; stdout stays clean for values.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains('\x1b'), "no colour where nobody looks");
    }
}
