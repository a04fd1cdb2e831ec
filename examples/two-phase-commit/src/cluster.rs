//! A bank in a folder: keys, policies and the file of nodes, and its nodes as real processes.
//! The demo and the bank's torture are played with it.

use std::{
    env, fs,
    fs::OpenOptions,
    io::{self, ErrorKind},
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bailiwick::{Identity, key_file};
use miette::{Report, miette};
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time,
};

use crate::nodes::COORDINATOR;

/// How long a node may take to get ready, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where nodes listen, and how many of these ports are tried.
const PORTS: std::ops::Range<u16> = 10_000..32_768;
const PORT_TRIES: u32 = 100;

/// The file of nodes, in the folder.
pub(crate) const NODES: &str = "nodes";

/// A folder with all that nodes and clients need.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    program: PathBuf,
}

/// A node's process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Cluster {
    /// Uses `folder`, which is there.
    pub(crate) fn at(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), program: env::current_exe()? })
    }

    /// A file's path.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Writes a file.
    pub(crate) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.path(file), text)
    }

    /// Makes a key for `name`.
    pub(crate) fn keygen(&self, name: &str) -> Result<Identity, Report> {
        let identity = Identity::generate(&mut rand::rng());
        let path = self.path(&format!("{name}.key"));
        key_file::create(path, &identity, name, None).map_err(Report::from_err)?;
        Ok(identity)
    }

    /// The key of `name`.
    pub(crate) fn identity(&self, name: &str) -> Result<Identity, Report> {
        Identity::read(self.path(&format!("{name}.key"))).map_err(Report::from_err)
    }

    /// A line `principal NAME = KEY` for each of `names`.
    pub(crate) fn principal_lines(&self, names: &[String]) -> Result<String, Report> {
        let line = |name: &String| {
            Ok(format!("principal {name} = {}\n", self.identity(name)?.public_key()))
        };
        names.iter().map(line).collect()
    }

    /// A line for each node, at a port of loopback that is free now.
    pub(crate) fn node_lines(&self, participants: &[String]) -> Result<String, Report> {
        let names = [COORDINATOR].into_iter().chain(participants.iter().map(String::as_str));
        // All are held until all are known, so that no port is given twice.
        let ports = names.map(|name| Ok((name, free_port()?)));
        let ports: Vec<_> = ports.collect::<io::Result<_>>().map_err(Report::from_err)?;
        let line = |(name, port): &(&str, TcpListener)| {
            let (address, key) =
                (port.local_addr().map_err(Report::from_err)?, self.identity(name)?.public_key());
            Ok(format!("{name:<11}  tcp://{address}  {key}\n"))
        };
        ports.iter().map(line).collect()
    }

    /// The command line of a node, beside what is its own.
    pub(crate) fn arguments(name: &str) -> Vec<String> {
        let command = if name == COORDINATOR {
            COORDINATOR.to_owned()
        } else {
            format!("participant --name {name}")
        };
        let policy = if name == COORDINATOR { COORDINATOR } else { "participant" };
        let files = format!(
            "{command} --data {name}.d --nodes {NODES} --identity {name}.key --policy {policy}.acl \
             --principals principals.acl --audit {name}.jsonl"
        );
        files.split(' ').map(str::to_owned).collect()
    }

    /// Starts a node. It is ready once [`Process::ready`] says so.
    pub(crate) fn start(&self, name: &str, more: &[String]) -> io::Result<Process> {
        let log = self.path(&format!("{name}.log"));
        let stderr = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = self
            .command(Self::arguments(name).iter().chain(more))
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()?;
        Ok(Process { child, name: name.to_owned(), log })
    }

    /// This program, in the folder.
    pub(crate) fn command<'a>(&self, arguments: impl Iterator<Item = &'a String>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// A port that nobody has. None of those that the system gives to connections (32,768 and above,
/// usually): one of them might take it while its node is dead.
fn free_port() -> io::Result<TcpListener> {
    let any = || TcpListener::bind(("127.0.0.1", rand::rng().random_range(PORTS)));
    let mut tries = (0..PORT_TRIES).map(|_| any());
    tries.find(Result::is_ok).unwrap_or_else(any)
}

impl Process {
    /// Waits until the node has recovered and listens; the line with which it says so.
    pub(crate) async fn ready(&mut self) -> Result<String, Report> {
        let mut line = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            // What is not text is no ready line either.
            let _ = time::timeout(PATIENCE, BufReader::new(stdout).read_line(&mut line)).await;
        }
        if line.starts_with("ready:") {
            return Ok(line);
        }
        let said = fs::read(&self.log).unwrap_or_default();
        Err(miette!("{} did not get ready: {}", self.name, String::from_utf8_lossy(&said)))
    }

    /// Kills it with SIGKILL and waits until it is gone, with its ports and its lock.
    pub(crate) async fn kill(&mut self) -> Result<(), Report> {
        match self.child.start_kill() {
            Err(error) if error.kind() != ErrorKind::InvalidInput => {
                Err(self.failed("kill", error))
            }
            // It may have died by itself.
            _ => self.ended().await.map(drop),
        }
    }

    /// Waits until it has been killed by SIGKILL, by whomever.
    pub(crate) async fn killed(&mut self) -> Result<(), Report> {
        match self.ended().await?.signal() {
            Some(signal) if signal == Signal::KILL.as_raw() => Ok(()),
            _ => Err(miette!("{} ended, and nobody had killed it", self.name)),
        }
    }

    /// Asks it to end, as an operator would.
    pub(crate) async fn stop(&mut self) -> Result<(), Report> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| miette!("{} has ended by itself", self.name))?;
        kill_process(pid, Signal::TERM).map_err(|error| self.failed("stop", error.into()))?;
        match self.ended().await? {
            status if status.success() => Ok(()),
            status => Err(miette!("{} stopped with {status}", self.name)),
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    async fn ended(&mut self) -> Result<std::process::ExitStatus, Report> {
        match time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(self.failed("wait for", error)),
            Err(_) => Err(miette!("{} does not end", self.name)),
        }
    }

    fn failed(&self, doing: &str, error: io::Error) -> Report {
        Report::from_err(error).wrap_err(format!("cannot {doing} {}", self.name))
    }
}
