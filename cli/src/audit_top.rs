//! `audit top`: who, what, which method, why or from where most often.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::SystemTime;

use bailiwick_acl::audit::{By, MAX_KEYS, Tally, escape};
use clap::{Args, ValueEnum};

use crate::audit_filter::FilterArgs;
use crate::audit_log;
use crate::output::{Failure, Outcome, Style, Table};

/// Count the requests, handshakes and packets in an audit log by what they have in common.
#[derive(Debug, Args)]
#[command(
    after_help = "A summary counts for all that it stands for; it names no object and no peer.\n\n\
                        Examples:\n  bailiwick audit top audit.jsonl --denied --since 1h\n  \
                        bailiwick audit top audit.jsonl --denied --by object --principal alice"
)]
pub(crate) struct Top {
    /// The audit log; `-` is standard input.
    file: PathBuf,
    /// What to count by.
    #[arg(long, value_enum, default_value_t)]
    by: Key,
    /// Show so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Key {
    #[default]
    Principal,
    Object,
    Method,
    Reason,
    Peer,
}

impl Top {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (by, name) = match self.by {
            Key::Principal => (By::Principal, "principal"),
            Key::Object => (By::Object, "object"),
            Key::Method => (By::Method, "method"),
            Key::Reason => (By::Reason, "reason"),
            Key::Peer => (By::Peer, "peer"),
        };
        let mut tally = Tally::new(by);
        let filter = self.filter.filter(SystemTime::now())?;
        let outcome = audit_log::each(&self.file, filter, |entry| {
            tally.add(&entry);
            Ok(ControlFlow::Continue(()))
        })?;
        let counts = tally.finish();
        let mut table = Table::new(&["COUNT", &name.to_uppercase()]);
        let mut add = |count: u64, what: String| table.add(vec![count.to_string(), what]);
        for (key, count) in counts.keys.iter().take(self.limit) {
            add(*count, escape(key));
        }
        let below: &[_] = counts.keys.get(self.limit..).unwrap_or_default();
        if !below.is_empty() {
            let sum = below.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            add(sum, format!("({} more)", below.len()));
        }
        if counts.others > 0 {
            add(counts.others, format!("(others, met after the first {MAX_KEYS})"));
        }
        if counts.unnamed > 0 {
            add(counts.unnamed, format!("(no {name} on record)"));
        }
        add(counts.total, "(in all)".to_owned());
        let style = Style::of(&io::stdout());
        table.write(out, "", |cell| match cell {
            "(in all)" => style.bold(cell),
            _ => cell.to_owned(),
        })?;
        Ok(outcome)
    }
}
