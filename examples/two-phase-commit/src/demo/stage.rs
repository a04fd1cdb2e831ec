//! Where the story plays: a bank in a temporary folder, its processes, and their words.

use std::{
    fmt::Display,
    fs, io,
    process::Output,
    sync::atomic::{AtomicU32, Ordering},
};

use miette::{Report, miette};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    cluster::{Cluster, NODES, Process},
    output,
    paint::Paint,
};

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

/// A command that has begun and not been waited for.
pub(super) struct Begun(JoinHandle<io::Result<Output>>);

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
    ) -> Result<String, Report> {
        let begun = self.begin(who, command, "");
        self.end(begun, expected).await
    }

    /// Begins a client's command.
    pub(super) fn begin(&self, who: &str, command: &str, shown_behind: &str) -> Begun {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let line = format!("{verb} --nodes {NODES} --identity {who}.key {rest}");
        let line = line.trim_end();
        self.show_command(&format!("two-phase-commit {line}{shown_behind}"));
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let mut program = self.cluster.command(words.iter());
        Begun(tokio::spawn(async move { program.output().await }))
    }

    /// Waits for the end of a command; what it said on stdout.
    pub(super) async fn end(&self, begun: Begun, expected: Answer) -> Result<String, Report> {
        let output = begun.0.await.map_err(Report::from_err)?.map_err(Report::from_err)?;
        self.output(&String::from_utf8_lossy(&output.stdout));
        self.output(&String::from_utf8_lossy(&output.stderr));
        let status = match output.status.code() {
            Some(0) => self.paint.good("exit 0"),
            Some(code) => self.paint.bad(format_args!("exit {code}")),
            None => self.paint.bad("killed"),
        };
        self.print(format_args!("     {status}"));
        expected.check(&output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What a node has said on stderr so far.
    pub(super) fn log(&self, name: &str) -> Result<String, Report> {
        let path = self.cluster.path(&format!("{name}.log"));
        fs::read_to_string(path).map_err(Report::from_err)
    }
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

    fn check(&self, output: &Output) -> Result<(), Report> {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let as_expected = output.status.code() == Some(self.code)
            && self.stdout.iter().all(|words| stdout.contains(words))
            && stderr.contains(self.stderr);
        if as_expected { Ok(()) } else { Err(miette!("this should have been {self:?}")) }
    }
}
