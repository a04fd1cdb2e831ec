//! The command line.

use std::{
    ffi::OsString, net::SocketAddr, os::unix::ffi::OsStringExt as _, path::PathBuf, time::Duration,
};

use bailiwick::{Bytes, Endpoint, PublicKey};
use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use hashtable::machine::Bounds;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::{CALL_CODES, HAMMER_CODES, HEALTH_CODES, SERVE_CODES};

/// A hashtable served over Bailiwick: every call is proven, allowed by a policy, and audited.
///
/// Begin with `hashtable demo`: it makes keys and a policy, starts a server, and shows what is
/// allowed, what is refused, and what the audit log says about it.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeArgs),
    Witness(WitnessArgs),
    Call(CallArgs),
    Hammer(HammerArgs),
    Health(HealthArgs),
    Describe(DescribeArgs),
    Demo(DemoArgs),
}

/// Serve a table: in memory, empty at each start; or with --data, kept on disk.
///
/// With --data a call that changes something is answered once its change would survive `kill -9`
/// and a power cut, and it takes effect exactly once: a caller who lost the answer gets it from the
/// next server too. While the log is read at the start, calls are refused, and can be repeated.
///
/// The policy is followed: what is saved to its file, or to that of the principals, counts for the next
/// call, and SIGHUP has both read at once. One with errors is told of, and the one before stays.
///
/// --config takes all of it from a file, and more: who must have signed the policy, a shadow of it, a
/// second audit file, limits. Its errors are said with line, column and mend.
///
/// Prints a line for each address with what a client needs to dial it. SIGINT or SIGTERM drains:
/// calls that run are answered, no new ones begin; a second signal ends the process at once.
#[derive(Debug, Parser)]
#[command(after_help = SERVE_CODES)]
pub(crate) struct ServeArgs {
    /// Take the settings from this file, such as bailiwick.toml, in place of the options below.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "listen", "identity", "policy", "principals", "audit", "dir", "checkpoint_after",
            "max_keys", "max_bytes", "metrics", "log",
        ],
    )]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one. May be repeated.
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_values = ["tcp://127.0.0.1:7400", "udp://127.0.0.1:7400"],
    )]
    pub(crate) listen: Vec<Endpoint>,
    /// The server's key file, from `bailiwick keygen -o FILE`.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) identity: Option<PathBuf>,
    /// Who may do what: rows such as `alice | table/** | read,write | allow`.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) policy: Option<PathBuf>,
    /// Further `principal NAME = KEY` lines, if they are not in the policy itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) principals: Option<PathBuf>,
    /// Where refusals are recorded; made if it is not there, else carried on.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) audit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// The most keys that the table takes.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().keys)]
    pub(crate) max_keys: usize,
    /// The most bytes that it takes, of all keys and values together.
    #[arg(long, value_name = "BYTES", default_value_t = Bounds::default().bytes)]
    pub(crate) max_bytes: usize,
    /// Serve metrics to Prometheus at /metrics, and a probe at /healthz, over HTTP. Whoever reaches
    /// the address may read them: take one of this machine's own, such as 127.0.0.1:9464.
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// What to log on stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: LevelFilter,
}

/// Where a table is kept, and how.
#[derive(Debug, Parser)]
#[command(group = ArgGroup::new("kept").args(["dir", "config"]).multiple(true))]
pub(crate) struct DataArgs {
    /// The directory that keeps the table; made if it is not there. One server at a time.
    #[arg(long = "data", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// If the log is damaged, cut it off there, say what is lost, and serve the rest. What was cut
    /// off stays in the directory.
    #[arg(long, requires = "kept")]
    pub(crate) salvage: bool,
    /// Write a checkpoint once the log has grown by so many bytes, and beyond twice the table.
    #[arg(
        long,
        value_name = "BYTES",
        requires = "dir",
        default_value_t = stable_store::Options::default().checkpoint_bytes,
    )]
    pub(crate) checkpoint_after: u64,
    /// Between two lines about a recovery that takes long; `0ms` tells all that there is to tell.
    #[arg(long, value_name = "TIME", requires = "kept", default_value = "1s", value_parser = pause)]
    pub(crate) progress_every: Duration,
}

/// Keep the checkpoints of other servers' audit logs, so that a log whose tail is cut off, or that is
/// written anew, is found out.
///
/// Run it on another machine than those servers, and name it below `[audit.witness]` of their
/// bailiwick.toml. Its policy says whose logs it keeps, by rows such as
/// `table-server | audit/* | witness | allow`. `bailiwick audit verify --checkpoints FILE` holds a log
/// against what is kept.
///
/// The first checkpoint of a log is taken on trust; each later one must follow on the last, and be
/// signed by the key that it named. Once it is answered it is on the disk.
#[derive(Debug, Parser)]
#[command(after_help = SERVE_CODES)]
pub(crate) struct WitnessArgs {
    /// Where to listen; port 0 takes a free one. May be repeated.
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:7400")]
    pub(crate) listen: Vec<Endpoint>,
    /// The witness's key file, from `bailiwick keygen -o FILE`.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: PathBuf,
    /// Whose logs are kept.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Further `principal NAME = KEY` lines, if they are not in the policy itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) principals: Option<PathBuf>,
    /// Where its own refusals are recorded; made if it is not there, else carried on.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: PathBuf,
    /// The directory that keeps the checkpoints, a file for each log; made if it is not there. One
    /// witness at a time.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What to log on stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: LevelFilter,
}

/// Print what the services look like from outside: methods, verbs, objects, delivery, types.
#[derive(Debug, Parser)]
pub(crate) struct DescribeArgs {
    /// As JSON: `bailiwick acl check --service FILE` holds a policy against it.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whom to call, and as whom.
#[derive(Debug, Parser)]
pub(crate) struct DialArgs {
    /// Where the server listens, such as tcp://127.0.0.1:7400 or udp://127.0.0.1:7400.
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) connect: Endpoint,
    /// The key that the server must prove, as its ready line shows it: ed25519:<64 hex digits>.
    #[arg(long, value_name = "KEY")]
    pub(crate) server: PublicKey,
    /// The caller's key file, from `bailiwick keygen -o FILE`.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: PathBuf,
}

/// Ask whether a server can be called: `serving`, `recovering`, `draining` or `audit unavailable`.
///
/// The policy must allow `read` on `health`. Over HTTP and without a key, `serve --metrics` has
/// `/healthz`.
#[derive(Debug, Parser)]
#[command(after_help = HEALTH_CODES)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// How long it may take, connecting included: a number with ms, s or m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Make one call. Values go to stdout, everything else to stderr.
#[derive(Debug, Parser)]
#[command(after_help = CALL_CODES)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// How long it may take, connecting included: a number with ms, s or m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(subcommand)]
    pub(crate) operation: Operation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Print the value under a key.
    Get { key: String },
    /// Put a value under a key.
    Put {
        key: String,
        #[arg(allow_hyphen_values = true)]
        value: OsString,
    },
    /// Put a value under a key if it holds the one that is expected; print `yes`, or `no` if not.
    #[command(name = "cas", visible_alias = "compare-and-swap")]
    CompareAndSwap {
        key: String,
        #[command(flatten)]
        expected: Expected,
        #[arg(allow_hyphen_values = true)]
        value: OsString,
    },
    /// Remove a key; print `yes`, or `no` if it was not there.
    Delete { key: String },
    /// Add to the number under a key, which counts from 0, and print the sum.
    Increment {
        key: String,
        #[arg(allow_negative_numbers = true)]
        by: i64,
    },
    /// Print the keys that begin with a prefix, in order; all keys without one.
    Keys {
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Print how much there is, and how it is kept.
    Stats,
}

/// What a key must hold for `cas` to change it.
#[derive(Debug, Parser)]
#[group(required = true, multiple = false)]
pub(crate) struct Expected {
    /// It holds this value.
    #[arg(long = "if", value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) held: Option<OsString>,
    /// It is not there.
    #[arg(long = "if-absent")]
    pub(crate) absent: bool,
}

impl Expected {
    /// The value; `None` is nothing.
    pub(crate) fn bytes(self) -> Option<Bytes> {
        self.held.map(|value| value.into_vec().into())
    }
}

/// Increment one key from many connections at once, and see whether the sum is right.
///
/// Each call is made once, under its deadline. One that ends without an answer is asked about:
/// did it run? The value must then have grown by the acknowledged calls and those found executed,
/// and no two answers may be alike. The key must be readable, hold a number or nothing, and be
/// left alone by others. SIGINT begins no more calls and sums up.
#[derive(Debug, Parser)]
#[command(after_help = HAMMER_CODES)]
#[command(group = ArgGroup::new("end").args(["calls", "seconds"]).required(true).multiple(true))]
pub(crate) struct HammerArgs {
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// How many calls in all.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) calls: Option<u64>,
    /// For how many seconds calls begin.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,
    /// How many connections the calls are spread over.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=4096),
    )]
    pub(crate) clients: u64,
    /// How many calls each connection has under way at once.
    #[arg(
        long,
        value_name = "K",
        default_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=1024),
    )]
    pub(crate) outstanding: u64,
    /// How long one call may take before it is asked about: a number with ms, s or m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) deadline: Duration,
    /// Print the summary as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) operation: HammerOperation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HammerOperation {
    /// Add 1 to the number under a key.
    Increment { key: String },
}

/// Tell the whole story in half a minute, with real processes in a temporary folder.
///
/// Exits with 0 only if all went as it should.
#[derive(Debug, Parser)]
pub(crate) struct DemoArgs {
    /// What the story's calls travel over.
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    pub(crate) transport: Transport,
}

/// What carries calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// The word before `://`.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Reads `500ms`, `2s` or `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    match pause(text)? {
        Duration::ZERO => Err("no call is made in no time; give it some".to_owned()),
        time => Ok(time),
    }
}

/// As [`duration`], or nothing.
fn pause(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("write a whole number and a unit: 500ms, 2s or 1m".to_owned()),
    };
    let number = number.parse::<u64>().map_err(|error| format!("`{number}`: {error}"))?;
    let ms = number.checked_mul(unit_ms).map(Duration::from_millis);
    ms.ok_or_else(|| "more milliseconds than 64 bits can count; take less".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_an_endpoint_a_server_listens_over_both_transports() {
        let line = "hashtable serve --identity i --policy p --audit a";
        let serve = |line: String| match Args::parse_from(line.split(' ')).command {
            Command::Serve(args) => args.listen.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        assert_eq!(serve(line.to_owned()), ["tcp://127.0.0.1:7400", "udp://127.0.0.1:7400"]);
        assert_eq!(serve(format!("{line} --listen udp://[::1]:1")), ["udp://[::1]:1"]);
    }

    #[test]
    fn a_file_of_settings_stands_alone_but_for_what_is_done_once() {
        let parse = |more: &str| {
            let line = format!("hashtable serve --config bailiwick.toml {more}");
            Args::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
        };
        for allowed in ["", "--salvage", "--progress-every 5s"] {
            assert!(parse(allowed).is_ok(), "{allowed}");
        }
        for replaced in [
            "--listen tcp://127.0.0.1:7400",
            "--identity i",
            "--policy p",
            "--principals p",
            "--audit a",
            "--data d",
            "--data d --checkpoint-after 1",
            "--max-keys 1",
            "--max-bytes 1",
            "--metrics 127.0.0.1:1",
            "--log info",
        ] {
            let refused = parse(replaced).unwrap_err();
            assert_eq!(refused, clap::error::ErrorKind::ArgumentConflict, "{replaced}");
        }
    }

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for bad in ["", "2", "s", "-1s", "1.5s", "0s", "2h", "2 s", "18446744073709551615m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
