//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bailiwick::Endpoint;
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;
use two_phase_commit::{
    message::{Account, check_name},
    txid::{NodeId, TxId},
};

use crate::exit::{BANK_CODES, NODE_CODES, TRANSACTION_CODES};

/// Two-phase commit over Bailiwick: accounts at several participants, transfers that happen at
/// all of them or at none.
///
/// Begin with `two-phase-commit demo`: it starts a coordinator and participants, kills the
/// coordinator between prepare and commit, and shows what blocks, what goes on, and how it ends.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Coordinator(CoordinatorArgs),
    Participant(ParticipantArgs),
    Transfer(TransferArgs),
    Balance(BalanceArgs),
    Outcome(OutcomeArgs),
    InDoubt(InDoubtArgs),
    Resolve(ResolveArgs),
    Demo,
    Bank(BankArgs),
    Judge(JudgeArgs),
}

/// What every node needs.
///
/// --config takes all of it from a file, and more: who must have signed the policy, a shadow of it, a
/// second audit file, limits. Its errors are said with line, column and mend.
#[derive(Debug, Parser)]
pub(crate) struct NodeArgs {
    /// Take the settings from this file, such as bailiwick.toml, in place of the options below; the
    /// table `[two-phase-commit]` has those that are this program's own, by the same names.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "data", "nodes", "listen", "identity", "policy", "principals", "audit", "metrics", "log",
        ],
    )]
    pub(crate) config: Option<PathBuf>,
    /// Where the node keeps its log and checkpoint; made if it is not there. One process at a
    /// time.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub(crate) data: Option<PathBuf>,
    /// The file of nodes: a line `NAME ENDPOINT KEY` for `coordinator` and each participant.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) nodes: Option<PathBuf>,
    /// Where to listen, if it is not where the file of nodes says. May be repeated.
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) listen: Vec<Endpoint>,
    /// The node's key file, from `bailiwick keygen -o FILE`.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) identity: Option<PathBuf>,
    /// Who may do what; see `policy/` beside the source.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) policy: Option<PathBuf>,
    /// Further `principal NAME = KEY` lines, if they are not in the policy itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) principals: Option<PathBuf>,
    /// Where refusals are recorded; made if it is not there, else carried on.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) audit: Option<PathBuf>,
    /// Serve metrics to Prometheus at /metrics, and a probe at /healthz, over HTTP. Whoever reaches
    /// the address may read them: take one of this machine's own, such as 127.0.0.1:9464.
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// What to log on stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: LevelFilter,
    /// After damage: cut the log off where it no longer makes sense, keep what was cut off beside
    /// it, and say what is lost. Never needed after a crash or a power cut.
    #[arg(long)]
    pub(crate) salvage: bool,
}

/// Run the coordinator: it decides, and keeps its decisions.
#[derive(Debug, Parser)]
#[command(after_help = NODE_CODES)]
pub(crate) struct CoordinatorArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// For demonstrations: kill this process (SIGKILL) at this point of its first transaction.
    #[arg(long, value_enum, value_name = "POINT")]
    pub(crate) die: Option<Die>,
}

/// Where a coordinator may be told to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Die {
    /// All participants have voted yes; nothing of the decision is in the log.
    BeforeCommit,
    /// The decision to commit is in the log; nobody has been told.
    AfterCommit,
}

/// Run a participant: it keeps accounts.
///
/// Its accounts are named `NAME/…`, by its own name.
#[derive(Debug, Parser)]
#[command(after_help = NODE_CODES)]
pub(crate) struct ParticipantArgs {
    /// Its name in the file of nodes, such as p1.
    #[arg(long, required_unless_present = "config", conflicts_with = "config")]
    pub(crate) name: Option<NodeId>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Opens accounts that are not there yet, `NAME=BALANCE` each, in minor units.
    #[arg(long, value_name = "NAME=BALANCE", value_parser = account, num_args = 1..)]
    pub(crate) open: Vec<(String, i64)>,
}

/// Whom to call, and as whom.
#[derive(Debug, Parser)]
pub(crate) struct ClientArgs {
    /// The file of nodes.
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes: PathBuf,
    /// The caller's key file, from `bailiwick keygen -o FILE`.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: PathBuf,
    /// How long it may take, connecting included: a number with ms, s or m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Move money from one account to another: at both participants or at neither.
///
/// Where another transaction holds an account it tries again until the timeout.
#[derive(Debug, Parser)]
#[command(after_help = TRANSACTION_CODES)]
pub(crate) struct TransferArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The account that pays, such as p1/alice.
    pub(crate) from: Account,
    /// The account that is paid.
    pub(crate) to: Account,
    /// How much, in whole minor units; at least 1.
    #[arg(value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true)]
    pub(crate) amount: i64,
}

/// Read balances, all at one moment: no transfer is seen half done.
#[derive(Debug, Parser)]
#[command(after_help = TRANSACTION_CODES)]
pub(crate) struct BalanceArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The accounts, such as p1/alice p2/bob.
    #[arg(required = true)]
    pub(crate) accounts: Vec<Account>,
}

/// Tell what became of a transaction. Asking changes nothing.
#[derive(Debug, Parser)]
pub(crate) struct OutcomeArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The transaction, as `transfer` named it.
    pub(crate) transaction: TxId,
}

/// List what is undecided: at each participant the transactions that it has promised to commit
/// and not been told about, for how long, and which accounts they hold.
#[derive(Debug, Parser)]
pub(crate) struct InDoubtArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Force the outcome of a transaction that is in doubt at one participant. Last resort.
///
/// If the coordinator decides otherwise later the books are damaged; that is reported and stays
/// on record.
#[derive(Debug, Parser)]
pub(crate) struct ResolveArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The participant at which to force it.
    #[arg(long, value_name = "NAME")]
    pub(crate) at: NodeId,
    /// The transaction, as `in-doubt` lists it.
    pub(crate) transaction: TxId,
    /// What to do with it.
    #[arg(value_enum)]
    pub(crate) outcome: Forced,
}

/// What an operator forces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Forced {
    Commit,
    Abort,
}

/// Kill the nodes of a bank again and again while clients transfer and audit, then heal it and
/// judge its books.
///
/// Real processes on loopback, killed with SIGKILL at random and started again. One line of JSON
/// at the end.
#[derive(Clone, Debug, Parser)]
#[command(after_help = BANK_CODES)]
pub(crate) struct BankArgs {
    /// How many participants.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) participants: u16,
    /// How many accounts, spread over the participants.
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u16).range(2..=10_000))]
    pub(crate) accounts: u16,
    /// How many clients, each with one transaction under way.
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) clients: u16,
    /// For how many seconds transactions begin.
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
    /// The time between two kills, on the average; `0ms` for none.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = pause)]
    pub(crate) kill_every: Duration,
    /// Which accounts, amounts, victims and moments. Default: another one each time.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Keep everything in this folder, which must not be there yet. Default: a temporary one, kept
    /// unless all is well.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Judge again the books that `bank --keep DIR` left.
#[derive(Debug, Parser)]
#[command(after_help = BANK_CODES)]
pub(crate) struct JudgeArgs {
    /// The folder.
    pub(crate) folder: PathBuf,
}

/// Reads `500ms`, `2s` or `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    match pause(text)? {
        Duration::ZERO => Err("nothing is done in no time; give it some".to_owned()),
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
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms <= 86_400_000);
    ms.map(Duration::from_millis).ok_or_else(|| "more than a day; take less".to_owned())
}

/// Reads `alice=1000`.
fn account(text: &str) -> Result<(String, i64), String> {
    let (name, balance) = text.split_once('=').ok_or("write NAME=BALANCE, such as alice=1000")?;
    check_name(name).map_err(|error| error.to_string())?;
    match balance.parse::<i64>() {
        Ok(balance) if balance >= 0 => Ok((name.to_owned(), balance)),
        Ok(_) => Err("a balance is not below zero".to_owned()),
        Err(error) => Err(format!("`{balance}`: {error}")),
    }
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
    fn a_file_of_settings_stands_alone_but_for_what_is_done_once() {
        let parse = |role: &str, more: &str| {
            let line = format!("two-phase-commit {role} --config bailiwick.toml {more}");
            Args::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
        };
        for allowed in ["", "--salvage", "--open alice=1"] {
            assert!(parse("participant", allowed).is_ok(), "{allowed}");
        }
        assert!(parse("coordinator", "--salvage --die before-commit").is_ok());
        for replaced in [
            "--data d",
            "--nodes n",
            "--listen tcp://127.0.0.1:7400",
            "--identity i",
            "--policy p",
            "--principals p",
            "--audit a",
            "--metrics 127.0.0.1:1",
            "--log info",
            "--name p1",
        ] {
            let refused = parse("participant", replaced).unwrap_err();
            assert_eq!(refused, clap::error::ErrorKind::ArgumentConflict, "{replaced}");
        }
    }

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(pause("0ms"), Ok(Duration::ZERO));
        for bad in ["", "2", "s", "-1s", "1.5s", "0s", "2h", "2 s", "18446744073709551615m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_account_opens_with_a_balance_that_is_not_negative() {
        assert_eq!(account("alice=10"), Ok(("alice".to_owned(), 10)));
        for bad in ["alice", "alice=", "alice=-1", "alice=1.5", "alice=9223372036854775808"] {
            assert!(account(bad).is_err(), "{bad:?}");
        }
    }
}
