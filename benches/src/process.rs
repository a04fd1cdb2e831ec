//! Processes of this benchmark: where they run, what they cost, and how a server is started.

use std::{
    fs, io,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use thiserror::Error;

use crate::peer::System;

/// The processor that servers are pinned to.
pub(crate) const SERVER_CPU: usize = 0;

/// The processor that clients are pinned to.
pub(crate) const CLIENT_CPU: usize = 1;

/// The kernel's greatest process number. A CPU clock's id has no room for much greater ones and
/// would name our own clock.
const PID_MAX: i32 = 1 << 22;

/// First word of the line with which a server says that it listens.
const READY: &str = "listening";

/// Why a process could not be prepared, started or measured.
#[derive(Debug, Error)]
pub(crate) enum ProcessError {
    /// Usually a machine with one processor: the comparison needs two.
    #[error("cannot run on CPU {cpu}: the comparison needs CPUs {SERVER_CPU} and {CLIENT_CPU}")]
    Pin {
        /// The processor asked for.
        cpu: usize,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// Raise the hard limit (`ulimit -Hn`) or ask for fewer connections.
    #[error("{wanted} descriptors are needed and {limit} allowed: raise `ulimit -Hn`")]
    Descriptors {
        /// Descriptors needed.
        wanted: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The system refused to tell or to raise the soft limit.
    #[error("cannot raise the limit of descriptors")]
    Limit(#[source] Errno),
    /// The process has ended, or belongs to somebody else.
    #[error("no processor time of process {process}")]
    CpuTime {
        /// Its number.
        process: u32,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// A file of `/proc` could not be read: did the process end?
    #[error("cannot read {path}")]
    Proc {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of `/proc` does not read as this kernel should write it.
    #[error("cannot understand {path}")]
    ProcFormat {
        /// The file.
        path: PathBuf,
    },
    /// A child could not be started or spoken to.
    #[error("cannot run {what}")]
    Child {
        /// What it was to do.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The child's own message is above this one.
    #[error("{what} ended without a result")]
    Ended {
        /// What it was to do.
        what: String,
    },
}

/// Pins the calling thread, and the threads it will start, to one processor.
///
/// # Errors
///
/// [`ProcessError::Pin`] if the machine has no such processor for us.
pub(crate) fn pin(cpu: usize) -> Result<(), ProcessError> {
    let mut only = CpuSet::new();
    only.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
        .map_err(|source| ProcessError::Pin { cpu, source })
}

/// Makes room for `wanted` open descriptors by raising the soft limit.
///
/// # Errors
///
/// [`ProcessError::Descriptors`] if the hard limit is lower.
pub(crate) fn allow_descriptors(wanted: u64) -> Result<(), ProcessError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(ProcessError::Limit)?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        return Err(ProcessError::Descriptors { wanted, limit: hard });
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(ProcessError::Limit)
}

/// Processor time that all threads of `process` have used, ended ones included.
///
/// # Errors
///
/// [`ProcessError::CpuTime`] if the process has ended.
pub(crate) fn cpu_time(process: u32) -> Result<Duration, ProcessError> {
    let pid = i32::try_from(process).ok().filter(|pid| *pid <= PID_MAX);
    pid.ok_or(Errno::ESRCH)
        .and_then(|pid| clock_gettime(clock_getcpuclockid(Pid::from_raw(pid))?))
        .map(Duration::from)
        .map_err(|source| ProcessError::CpuTime { process, source })
}

/// Memory of `process` that is in RAM, in bytes. Socket buffers in the kernel are not in it.
///
/// # Errors
///
/// [`ProcessError::Proc`] if the process has ended.
pub(crate) fn resident_bytes(process: u32) -> Result<u64, ProcessError> {
    let path = PathBuf::from(format!("/proc/{process}/smaps_rollup"));
    let text = read_proc(&path)?;
    kib_of(&text, "Rss:").ok_or(ProcessError::ProcFormat { path })
}

/// A command that runs this very binary.
///
/// # Errors
///
/// [`ProcessError::Child`] if the binary's own path is unknown.
pub(crate) fn this_binary() -> Result<PathBuf, ProcessError> {
    std::env::current_exe()
        .map_err(|source| ProcessError::Child { what: "this binary".to_owned(), source })
}

/// A server process. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// The process that serves, which a tracer may be the parent of.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
    /// Its end of file tells the server to end.
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Starts `system` on a port of its own and waits until it listens.
    ///
    /// `site` is the folder it shares with its clients, `loss` the share of datagrams it is to lose.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`] if it did not come to listening; its message is on stderr.
    pub(crate) fn start(system: System, site: &Path, loss: f64) -> Result<Self, ProcessError> {
        Self::start_with(Command::new(this_binary()?), system, site, loss)
    }

    /// As [`start`](Self::start), with a command that runs this binary under another program.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub(crate) fn start_with(
        mut command: Command,
        system: System,
        site: &Path,
        loss: f64,
    ) -> Result<Self, ProcessError> {
        let what = format!("the server of {}", system.name());
        let failed = |source| ProcessError::Child { what: what.clone(), source };
        command.args(["serve", system.name()]).arg("--site").arg(site);
        command.args(["--loss", &loss.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        match parse_ready(&line) {
            Some((address, pid)) => Ok(Self { pid, address, child, stdin }),
            None => {
                drop(stdin);
                child.wait().map_err(failed)?;
                Err(ProcessError::Ended { what })
            }
        }
    }

    /// Ends the server and waits until it, and whatever traced it, has ended.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Child`] if it cannot be waited for.
    pub(crate) fn stop(mut self) -> Result<(), ProcessError> {
        self.end().map_err(|source| ProcessError::Child {
            what: "the end of a server".to_owned(),
            source,
        })
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.stdin.take());
        self.child.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("a server may still run as process {}: {error}", self.pid);
        }
    }
}

/// The line a server prints when it listens; [`Server::start`] reads it.
pub(crate) fn ready_line(address: SocketAddr) -> String {
    format!("{READY} {address} {}", std::process::id())
}

fn parse_ready(line: &str) -> Option<(SocketAddr, u32)> {
    let mut words = line.split_whitespace();
    (words.next()? == READY).then_some(())?;
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// The most memory of this process that was in RAM since [`reset_peak`], in bytes.
///
/// # Errors
///
/// [`ProcessError::Proc`] if there is no `/proc`.
pub(crate) fn peak_resident_bytes() -> Result<u64, ProcessError> {
    let path = PathBuf::from("/proc/self/status");
    let text = read_proc(&path)?;
    kib_of(&text, "VmHWM:").ok_or(ProcessError::ProcFormat { path })
}

/// Forgets the peak of this process's memory (`proc(5)`, `clear_refs`).
///
/// # Errors
///
/// [`ProcessError::Proc`] if the kernel cannot do that.
pub(crate) fn reset_peak() -> Result<(), ProcessError> {
    let path = PathBuf::from("/proc/self/clear_refs");
    fs::write(&path, "5").map_err(|source| ProcessError::Proc { path, source })
}

/// The bytes that a file of `/proc` gives in KiB behind `name`.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn read_proc(path: &Path) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|source| ProcessError::Proc { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn busy_work_shows_as_processor_time() {
        let before = cpu_time(process::id()).unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let spent = cpu_time(process::id()).unwrap() - before;
        assert!(spent > Duration::from_millis(5), "only {spent:?}");
    }

    #[test]
    fn touched_memory_shows_as_resident() {
        let before = resident_bytes(process::id()).unwrap();
        let touched = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = resident_bytes(process::id()).unwrap();
        assert!(after - before >= 60 << 20, "{before} to {after} with {}", touched.len());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(matches!(cpu_time(u32::MAX), Err(ProcessError::CpuTime { .. })));
        assert!(matches!(cpu_time(1 << 30), Err(ProcessError::CpuTime { .. })));
        assert!(matches!(resident_bytes(u32::MAX), Err(ProcessError::Proc { .. })));
    }

    #[test]
    fn the_ready_line_is_read_back() {
        let address = "127.0.0.1:7400".parse().unwrap();
        assert_eq!(parse_ready(&ready_line(address)), Some((address, process::id())));
        for wrong in ["", "listening", "listening 127.0.0.1:7400", "ready 127.0.0.1:1 2"] {
            assert_eq!(parse_ready(wrong), None, "{wrong:?}");
        }
    }
}
