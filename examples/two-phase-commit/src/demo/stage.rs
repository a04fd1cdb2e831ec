//! Where the story plays: a bank in a temporary folder, its processes, and their words.

use std::{
    fmt::Display,
    io,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use miette::{Report, miette};
use tempfile::TempDir;
use tokio::time;

use crate::{
    cluster::{Cluster, NODES, Process},
    output,
    paint::Paint,
};

/// How long what must come about may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) struct Stage {
    cluster: Cluster,
    /// Goes with the stage.
    _folder: TempDir,
    paint: Paint,
    scenes: AtomicU32,
}

/// What a command should come back with.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: i32,
    /// Words that stdout must hold.
    pub(super) stdout: Vec<String>,
    /// Words that stderr must hold.
    pub(super) stderr: &'static str,
}

/// What a command came back with.
#[derive(Debug)]
pub(super) struct Said {
    code: Option<i32>,
    stdout: String,
    pub(super) stderr: String,
}

impl Stage {
    /// Makes the folder, which only its owner can read.
    pub(super) fn build() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("two-phase-commit-demo-").tempdir()?;
        Ok(Self {
            cluster: Cluster::at(folder.path())?,
            _folder: folder,
            paint: Paint::for_stdout(),
            scenes: AtomicU32::new(0),
        })
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

    pub(super) fn show_command(&self, words: &str) {
        self.print(format_args!("   $ {words}"));
    }

    fn output(&self, lines: &str) {
        for line in lines.trim_matches('\n').lines() {
            self.print(format_args!("     {line}").to_string().trim_end());
        }
    }

    /// Makes a key for each of `names`.
    pub(super) fn keygen(&self, names: &[String]) -> Result<(), Report> {
        self.show_command(&format!(
            "for who in {}; do bailiwick keygen -o $who.key; done",
            names.join(" ")
        ));
        names.iter().try_for_each(|name| self.cluster.keygen(name).map(drop))
    }

    /// Writes the file of principals.
    pub(super) fn bind_principals(&self, names: &[String]) -> Result<(), Report> {
        let lines = self.cluster.principal_lines(names)?;
        self.file("principals.acl", &lines)
    }

    /// Writes the file of nodes.
    pub(super) fn name_nodes(&self, participants: &[String]) -> Result<(), Report> {
        let lines = self.cluster.node_lines(participants)?;
        self.file(NODES, &lines)
    }

    /// Writes a file and shows it.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<(), Report> {
        self.cluster.write(name, text).map_err(Report::from_err)?;
        self.show_command(&format!("cat {name}"));
        self.output(text);
        Ok(())
    }

    /// Starts a node and waits until it is ready.
    pub(super) async fn start(&self, name: &str, more: &[&str]) -> Result<Process, Report> {
        let more: Vec<_> = more.iter().map(|word| (*word).to_owned()).collect();
        let words = [Cluster::arguments(name), more.clone()].concat().join(" ");
        self.show_command(&format!("two-phase-commit {words} &"));
        let mut process = self.cluster.start(name, &more).map_err(Report::from_err)?;
        let ready = process.ready().await?;
        self.output(&ready);
        Ok(process)
    }

    /// Runs a client's command to its end.
    pub(super) async fn run(
        &self,
        who: &str,
        command: &str,
        expected: Answer,
    ) -> Result<Said, Report> {
        self.show_command(&format!("two-phase-commit {}", arguments(who, command)));
        let said = self.ask(who, command).await?;
        self.hear(said, &expected)
    }

    /// Runs a client's command again and again until it says what is expected, and shows the last.
    pub(super) async fn wait(
        &self,
        who: &str,
        command: &str,
        expected: Answer,
    ) -> Result<Said, Report> {
        let end = Instant::now() + PATIENCE;
        self.show_command(&format!("two-phase-commit {}", arguments(who, command)));
        let mut said = self.ask(who, command).await?;
        while !expected.is(&said) && Instant::now() < end {
            time::sleep(Duration::from_millis(100)).await;
            said = self.ask(who, command).await?;
        }
        self.hear(said, &expected)
    }

    async fn ask(&self, who: &str, command: &str) -> Result<Said, Report> {
        let line = arguments(who, command);
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let output = self.cluster.command(words.iter()).output().await.map_err(Report::from_err)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ok(Said { code: output.status.code(), stdout, stderr })
    }

    fn hear(&self, said: Said, expected: &Answer) -> Result<Said, Report> {
        self.output(&said.stdout);
        self.output(&said.stderr);
        let status = match said.code {
            Some(0) => self.paint.good("exit 0"),
            Some(code) => self.paint.bad(format_args!("exit {code}")),
            None => self.paint.bad("killed"),
        };
        self.print(format_args!("     {status}"));
        if expected.is(&said) {
            Ok(said)
        } else {
            Err(miette!("this should have been {expected:?}"))
        }
    }
}

/// The command line of a client.
fn arguments(who: &str, command: &str) -> String {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    format!("{verb} --nodes {NODES} --identity {who}.key {rest}").trim_end().to_owned()
}

impl Answer {
    /// Success, with these words on stdout.
    pub(super) fn done(words: &[&str]) -> Self {
        let stdout = words.iter().map(|word| (*word).to_owned()).collect();
        Self { code: 0, stdout, stderr: "" }
    }

    /// Failure, with these words on stderr.
    pub(super) fn failed(code: i32, stderr: &'static str) -> Self {
        Self { code, stdout: Vec::new(), stderr }
    }

    fn is(&self, said: &Said) -> bool {
        said.code == Some(self.code)
            && self.stdout.iter().all(|words| said.stdout.contains(words))
            && said.stderr.contains(self.stderr)
    }
}
