//! `audit query`: finds records in an audit log, and follows it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bailiwick_acl::audit::{Entry, Filter, Follow, Start, Then, escape};
use clap::Args;

use crate::audit_filter::FilterArgs;
use crate::audit_log::{self, Problems};
use crate::output::{Failure, Outcome, Style, Table, plain};

/// Rows that are kept back to line up their columns.
const ALIGNED: usize = 256;

/// Most records of `--last`, which are kept in memory.
const MAX_LAST: u64 = 10_000;

/// How often a log is looked at for news.
const POLL: Duration = Duration::from_millis(250);

/// Find records in an audit log.
#[derive(Debug, Args)]
#[command(
    after_help = "The log's rotated files are searched as well. The chain is not checked here; \
                        see `bailiwick audit verify`.\n\n\
                        Examples:\n  bailiwick audit query audit.jsonl --denied --since 1h\n  \
                        bailiwick audit query audit.jsonl --principal alice --verb write --object 'course/**'\n  \
                        bailiwick audit query audit.jsonl --denied --follow --last 10\n  \
                        zcat old.jsonl.gz | bailiwick audit query - --json --reason bad_object"
)]
pub(crate) struct Query {
    /// The audit log; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    filter: FilterArgs,
    /// Stop after so many.
    #[arg(long, value_name = "N", conflicts_with = "last")]
    limit: Option<u64>,
    /// Only the last so many; with --follow, so many before the news.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=MAX_LAST))]
    last: Option<u64>,
    /// Go on with what is appended, across rotations, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Print each record as the JSON line that it is.
    #[arg(long)]
    json: bool,
}

impl Query {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let filter = self.filter.filter(SystemTime::now())?;
        let form = if self.json { Form::Json } else { Form::Table };
        let mut shown = Shown::new(form, self.limit, self.last);
        if self.follow {
            return follow(&self.file, filter, &mut shown, out);
        }
        let outcome = audit_log::each(&self.file, filter, |entry| Ok(shown.add(entry, out)?))?;
        shown.finish(out)?;
        Ok(outcome)
    }
}

/// Shows what is there, and what comes.
fn follow(
    path: &Path,
    filter: Filter,
    shown: &mut Shown,
    out: &mut impl Write,
) -> Result<Outcome, Failure> {
    if path == Path::new("-") || path.is_dir() {
        let message = format!("{}: not a file that can be followed", path.display());
        return Err(Failure::new(message, "name an audit log; standard input is followed anyway"));
    }
    if !audit_log::is_there(path) {
        eprintln!("note: {}: not there yet; waiting for it", plain(&path.to_string_lossy()));
    }
    let start = if shown.last == Some(0) { Start::End } else { Start::Oldest };
    let mut follow = Follow::new(path, filter, start);
    let mut problems = Problems::default();
    loop {
        let batch = follow.next_batch().map_err(|error| audit_log::unreadable(path, &error))?;
        for found in batch.found {
            match found {
                Ok(entry) => {
                    if shown.add(entry, out)?.is_break() {
                        shown.write(out)?;
                        return Ok(problems.outcome());
                    }
                }
                Err(error) => problems.tell(&batch.path, &error),
            }
        }
        if let Then::Wait { .. } = batch.then {
            shown.catch_up(out)?;
            out.flush()?;
            std::thread::sleep(POLL);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Table,
}

struct Shown {
    form: Form,
    style: Style,
    table: Table,
    count: u64,
    limit: Option<u64>,
    /// How many of the last ones are wanted, until they are shown.
    last: Option<u64>,
    kept: VecDeque<Entry>,
}

impl Shown {
    fn new(form: Form, limit: Option<u64>, last: Option<u64>) -> Self {
        let head = ["SEQ", "TIME", "WHAT", "REASON", "PRINCIPAL", "VERB", "OBJECT", "ROW", "PEER"];
        let style = Style::of(&io::stdout());
        let kept = VecDeque::new();
        Self { form, style, table: Table::new(&head), count: 0, limit, last, kept }
    }

    /// Takes one record; says whether more are wanted.
    fn add(&mut self, entry: Entry, out: &mut impl Write) -> io::Result<ControlFlow<()>> {
        let Some(last) = self.last else {
            if self.limit.is_some_and(|limit| self.count >= limit) {
                return Ok(ControlFlow::Break(()));
            }
            self.show(&entry, out)?;
            let full = self.limit.is_some_and(|limit| self.count >= limit);
            return Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        };
        self.kept.push_back(entry);
        if self.kept.len() as u64 > last {
            self.kept.pop_front();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn show(&mut self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        self.count += 1;
        if self.form == Form::Json {
            return writeln!(out, "{}", entry.json);
        }
        self.table.add(cells(entry));
        if self.table.rows() >= ALIGNED { self.write(out) } else { Ok(()) }
    }

    /// Shows all that was taken so far.
    fn catch_up(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.last = None;
        for entry in std::mem::take(&mut self.kept) {
            self.show(&entry, out)?;
        }
        self.write(out)
    }

    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.catch_up(out)?;
        if self.count == 0 && self.form == Form::Table {
            writeln!(out, "no record matches")?;
        }
        Ok(())
    }

    fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        // The heading comes with the first record.
        if self.form == Form::Json || self.count == 0 {
            return Ok(());
        }
        let style = self.style;
        self.table.write(out, "", |cell| match cell {
            "deny" | "handshake.refused" | "session.broken" | "session.revoked" => style.red(cell),
            "allow" => style.green(cell),
            "gap" | "policy.reject" | "mode.change" => style.bold(cell),
            _ => cell.to_owned(),
        })
    }
}

fn cells(entry: &Entry) -> Vec<String> {
    let text = |field: &Option<String>| escape(field.as_deref().unwrap_or("-"));
    // What was not enforced must not look as if it had been.
    let mode = entry.mode.as_deref().filter(|mode| *mode != "enforce");
    let mode = mode.map_or_else(String::new, |mode| format!(" ({})", escape(mode)));
    let what = match (&entry.decision, entry.count) {
        (Some(decision), _) => escape(decision),
        (None, Some(count)) => format!("{} ×{count}", escape(&entry.event)),
        (None, None) => escape(&entry.event),
    };
    // What an event without a request has to say stands where the object would.
    let object = entry.object.as_ref().or(entry.method.as_ref()).or(entry.detail.as_ref());
    vec![
        entry.seq.to_string(),
        short_time(entry),
        what + &mode,
        text(&entry.reason),
        text(&entry.principal),
        text(&entry.verb),
        text(&object.cloned()),
        text(&entry.row),
        text(&entry.peer),
    ]
}

/// The time to milliseconds, which are enough to read; the JSON has the rest.
pub(crate) fn short_time(entry: &Entry) -> String {
    let time = escape(&entry.ts).replace('T', " ");
    time.get(..23).unwrap_or(&time).to_owned()
}
