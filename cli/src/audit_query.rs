//! `audit query`: finds records in an audit log.

use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use bailiwick_acl::audit::{self, Entry, Filter, escape};
use bailiwick_acl::policy::object_pattern;
use clap::Args;

use crate::files;
use crate::output::{Failure, Outcome, Style, Table};

/// Rows that are kept back to line up their columns.
const ALIGNED: usize = 256;

/// Find records in an audit log.
#[derive(Debug, Args)]
#[command(after_help = "The chain is not checked here; see `bailiwick audit verify`.\n\n\
                        Examples:\n  bailiwick audit query audit.jsonl --denied\n  \
                        bailiwick audit query audit.jsonl --principal alice --verb write --object 'course/**'")]
pub(crate) struct Query {
    /// The audit log.
    file: PathBuf,
    /// Only refusals: denied requests and refused handshakes.
    #[arg(long)]
    denied: bool,
    /// Only records of this principal.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Only records with this verb.
    #[arg(long)]
    verb: Option<String>,
    /// Only records on these objects; wildcards as in the policy: `course/**`, `*/notes`.
    #[arg(long, value_name = "PATTERN")]
    object: Option<String>,
    /// Print each record as the JSON line that it is.
    #[arg(long)]
    json: bool,
}

impl Query {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let object = match &self.object {
            Some(text) => Some(object_pattern(text).map_err(|errors| {
                let help = errors.errors().first().map_or_else(String::new, |e| e.help.clone());
                Failure::new(format!("--object {text}: {errors}"), help)
            })?),
            None => None,
        };
        let filter = Filter {
            outcome: if self.denied { audit::Outcome::Refused } else { audit::Outcome::Any },
            principal: self.principal,
            verb: self.verb,
            object,
        };
        let file = files::open(&self.file, "an audit log")?;
        let mut shown = Shown::new(if self.json { Form::Json } else { Form::Table });
        let mut outcome = Outcome::Good;
        for entry in audit::query(BufReader::new(file), filter) {
            match entry {
                Ok(entry) => shown.add(&entry, out)?,
                Err(error) => {
                    outcome = Outcome::Bad;
                    eprintln!("error: {}: {error}", self.file.display());
                }
            }
        }
        shown.finish(out)?;
        Ok(outcome)
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
}

impl Shown {
    fn new(form: Form) -> Self {
        let head = ["SEQ", "TIME", "WHAT", "REASON", "PRINCIPAL", "VERB", "OBJECT", "ROW", "PEER"];
        Self { form, style: Style::of(&io::stdout()), table: Table::new(&head), count: 0 }
    }

    fn add(&mut self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        self.count += 1;
        if self.form == Form::Json {
            return writeln!(out, "{}", entry.json);
        }
        self.table.add(cells(entry));
        if self.table.rows() >= ALIGNED { self.write(out) } else { Ok(()) }
    }

    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.form == Form::Table && self.count > 0 {
            self.write(out)?;
        }
        if self.count == 0 && self.form == Form::Table {
            writeln!(out, "no record matches")?;
        }
        Ok(())
    }

    fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        let style = self.style;
        self.table.write(out, "", |cell| match cell {
            "deny" | "handshake.refused" | "session.broken" => style.red(cell),
            "allow" => style.green(cell),
            "gap" | "policy.reject" => style.bold(cell),
            _ => cell.to_owned(),
        })
    }
}

fn cells(entry: &Entry) -> Vec<String> {
    let text = |field: &Option<String>| escape(field.as_deref().unwrap_or("-"));
    let what = match (&entry.decision, entry.count) {
        (Some(decision), _) => escape(decision),
        (None, Some(count)) => format!("{} ×{count}", escape(&entry.event)),
        (None, None) => escape(&entry.event),
    };
    // Milliseconds are enough to read; the JSON has the rest.
    let time = escape(&entry.ts).replace('T', " ");
    let time = time.get(..23).unwrap_or(&time).to_owned();
    // What an event without a request has to say stands where the object would.
    let object = entry.object.as_ref().or(entry.method.as_ref()).or(entry.detail.as_ref());
    vec![
        entry.seq.to_string(),
        time,
        what,
        text(&entry.reason),
        text(&entry.principal),
        text(&entry.verb),
        text(&object.cloned()),
        text(&entry.row),
        text(&entry.peer),
    ]
}
