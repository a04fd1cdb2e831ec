//! Where the story plays: a temporary folder, processes of this program in it, and their words.

use std::{
    env,
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bailiwick::{Identity, key_file};
use miette::{Report, miette};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    time,
};

use super::broken;
use crate::{args::Transport, output, paint::Paint};

/// How long a server may take to get ready, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Stage {
    transport: Transport,
    folder: TempDir,
    program: PathBuf,
    paint: Paint,
    scenes: AtomicU32,
}

/// What a command should come back with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) code: i32,
    pub(super) stdout: &'static str,
    /// Words that stderr must hold.
    pub(super) stderr: &'static str,
}

/// A server process; killed when dropped.
pub(super) struct Server {
    process: Child,
    connect: String,
    key: String,
}

impl Stage {
    /// Makes the folder, which only its owner can read and which goes with the stage.
    pub(super) fn build(transport: Transport) -> io::Result<Self> {
        Ok(Self {
            transport,
            folder: tempfile::Builder::new().prefix("hashtable-demo-").tempdir()?,
            program: env::current_exe()?,
            paint: Paint::for_stdout(),
            scenes: AtomicU32::new(0),
        })
    }

    /// What the story's calls travel over.
    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    /// Whoever does not listen to the end is not told that it is over.
    fn print(&self, line: impl Display) {
        let _ = output::line(line);
    }

    pub(super) fn say(&self, words: &str) {
        self.print(words);
    }

    pub(super) fn scene(&self, title: &str) {
        let number = self.scenes.fetch_add(1, Ordering::Relaxed) + 1;
        self.print(format_args!("\n{}", self.paint.bold(format_args!("{number}. {title}"))));
    }

    pub(super) fn remark(&self, words: &str) {
        self.print(format_args!("   {}", self.paint.dim(format_args!("# {words}"))));
    }

    pub(super) fn command(&self, words: &str) {
        self.print(format_args!("   $ {words}"));
    }

    pub(super) fn output(&self, lines: &str) {
        for line in lines.trim_matches('\n').lines() {
            self.print(format_args!("     {line}").to_string().trim_end());
        }
    }

    /// Makes a key.
    pub(super) fn keygen(&self, name: &str) -> Result<(), Report> {
        self.command(&format!("bailiwick keygen -o {name}.key"));
        let identity = Identity::generate(&mut rand::rng());
        let path = self.path(&format!("{name}.key"));
        key_file::create(path, &identity, name, None).map_err(Report::from_err)?;
        self.output(&identity.public_key().to_string());
        Ok(())
    }

    /// Binds names to the keys that were made for them.
    pub(super) fn bind_principals(&self, names: &[&str]) -> Result<(), Report> {
        let mut lines = String::new();
        for name in names {
            let identity = Identity::read(self.path(&format!("{name}.key")));
            let key = identity.map_err(Report::from_err)?.public_key();
            lines += &format!("principal {name} = {key}\n");
        }
        self.file("principals.acl", &lines)
    }

    /// Writes a file and shows it.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<(), Report> {
        fs::write(self.path(name), text).map_err(|error| broken("write a file", error))?;
        self.command(&format!("cat {name}"));
        self.output(text);
        Ok(())
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    /// Starts a server and waits until it is ready.
    pub(super) async fn serve(&self, name: &str, audit: &str) -> Result<Server, Report> {
        Ok(self.start(name, audit, "").await?.0)
    }

    /// Starts a server that keeps its table in `dir`, and waits until it has read it.
    pub(super) async fn serve_kept(&self, name: &str, dir: &str) -> Result<Server, Report> {
        let audit = format!("{dir}.jsonl");
        let (server, mut stdout) = self.start(name, &audit, &format!(" --data {dir}")).await?;
        let recovered = time::timeout(PATIENCE, next_line(&mut stdout)).await;
        match recovered.ok().filter(|line| line.starts_with("recovered: ")) {
            Some(line) => self.output(&line),
            None => return Err(miette!("the server did not recover")),
        }
        Ok(server)
    }

    async fn start(&self, name: &str, audit: &str, more: &str) -> Result<(Server, Lines), Report> {
        let scheme = self.transport.scheme();
        let arguments = format!(
            "serve --listen {scheme}://127.0.0.1:0 --identity {name}.key --policy policy.acl \
             --principals principals.acl --audit {audit}{more}"
        );
        self.command(&format!("hashtable {arguments} &"));
        let log = self.path(&format!("{name}.log"));
        let failed = |error| broken("start a server", error);
        let mut process = self
            .program(arguments.split(' '))
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let mut stdout = process.stdout.take().map(BufReader::new);
        let ready = time::timeout(PATIENCE, next_line(&mut stdout)).await;
        let words: Vec<_> = ready.iter().flat_map(|line| line.split_whitespace()).collect();
        if let ["ready:", "--connect", connect, "--server", key] = words[..] {
            self.output(&words.join(" "));
            let server = Server { process, connect: connect.into(), key: key.into() };
            return Ok((server, stdout));
        }
        Err(miette!("the server did not get ready: {}", read_lossy(&log)))
    }

    /// Abbreviates what follows, as people would.
    pub(super) fn define_shell_variable(&self, server: &Server) {
        self.command(&format!("S=\"{}\"", server.dial().join(" ")));
    }

    /// Makes a call to `server`, shown with the shell variable.
    pub(super) async fn call(
        &self,
        server: &Server,
        who: &str,
        operation: &[&str],
        expected: Answer,
    ) -> Result<(), Report> {
        self.show_call("$S", who, operation);
        self.run_call(&server.dial(), who, operation, expected).await
    }

    /// Makes a call to anywhere, shown in full.
    pub(super) async fn call_at(
        &self,
        dial: &[String],
        who: &str,
        operation: &[&str],
        expected: Answer,
    ) -> Result<(), Report> {
        self.show_call(&dial.join(" "), who, operation);
        self.run_call(dial, who, operation, expected).await
    }

    fn show_call(&self, dial: &str, who: &str, operation: &[&str]) {
        let quoted = |word: &&str| {
            let plain = !word.is_empty() && !word.contains(' ');
            if plain { (*word).to_owned() } else { format!("'{word}'") }
        };
        let operation: Vec<_> = operation.iter().map(quoted).collect();
        let operation = operation.join(" ");
        self.command(&format!("hashtable call {dial} --identity {who}.key {operation}"));
    }

    async fn run_call(
        &self,
        dial: &[String],
        who: &str,
        operation: &[&str],
        expected: Answer,
    ) -> Result<(), Report> {
        let identity = format!("{who}.key");
        let dial = dial.iter().map(String::as_str);
        let arguments = ["call"].into_iter().chain(dial).chain(["--identity", &identity]);
        let mut program = self.program(arguments.chain(operation.iter().copied()));
        let output = program.output().await.map_err(|error| broken("run a client", error))?;
        self.show(&output);
        expected.check(&output)
    }

    fn show(&self, output: &Output) {
        self.output(&String::from_utf8_lossy(&output.stdout));
        self.output(&String::from_utf8_lossy(&output.stderr));
        let status = match output.status.code() {
            Some(0) => self.paint.good("exit 0"),
            Some(code) => self.paint.bad(format_args!("exit {code}")),
            None => self.paint.bad("killed"),
        };
        self.print(format_args!("     {status}"));
    }

    fn program<'a>(&self, arguments: impl Iterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Answer {
    fn check(self, output: &Output) -> Result<(), Report> {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let as_expected = output.status.code() == Some(self.code)
            && output.stdout == self.stdout.as_bytes()
            && stderr.contains(self.stderr);
        if as_expected { Ok(()) } else { Err(miette!("this should have been {self:?}")) }
    }
}

impl Server {
    pub(super) fn dial(&self) -> Vec<String> {
        ["--connect", &self.connect, "--server", &self.key].map(str::to_owned).to_vec()
    }

    /// How a client is led here when it looks for `other`.
    pub(super) fn with_the_key_of(&self, other: &Self) -> Vec<String> {
        ["--connect", &self.connect, "--server", &other.key].map(str::to_owned).to_vec()
    }

    /// Ends the process at once, in the middle of whatever it does.
    pub(super) async fn kill(mut self) -> Result<(), Report> {
        self.process.kill().await.map_err(|error| broken("kill a server", error))
    }

    /// Asks the process to drain and to end, as an operator would.
    pub(super) async fn stop(&mut self) -> Result<(), Report> {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| miette!("the server has ended by itself"))?;
        let failed = |error| broken("stop a server", error);
        kill_process(pid, Signal::TERM).map_err(|error| failed(error.into()))?;
        match time::timeout(PATIENCE, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(miette!("the server stopped with {status}")),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(miette!("the server does not stop")),
        }
    }
}

/// What a server prints.
type Lines = Option<BufReader<ChildStdout>>;

/// The next line that a server prints; empty if it prints none.
async fn next_line(stdout: &mut Lines) -> String {
    let mut line = String::new();
    if let Some(stdout) = stdout {
        // What is not text is none of its lines.
        let _ = stdout.read_line(&mut line).await;
    }
    line
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
