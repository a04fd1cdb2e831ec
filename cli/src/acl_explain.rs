//! `acl explain`: what the policy says about a request, or about thousands, and which row says so.
//!
//! For a single request that is denied, the rows that nearly allowed it are told as well.

use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use bailiwick_acl::Policy;
use bailiwick_acl::audit::escape;
use bailiwick_acl::policy::analysis::{NearMiss, near_misses};
use bailiwick_acl::policy::{Decision, Reason};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::output::{Failure, Outcome, Style, plain};
use crate::policy_args::{Beside, PolicyFiles};

/// Most bytes of a line of requests.
const MAX_LINE: usize = 64 * 1_024;

/// Say whether a request is allowed, which row decides, and which rows nearly allowed it.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 if allowed, 1 if denied; with --requests 0 if all were answered.\n\n\
                        --requests takes a line `{\"principal\":…,\"verb\":…,\"object\":…}` each and \
                        prints a line `{\"decision\":…,\"reason\":…,\"line\":…}` each.\n\n\
                        Examples:\n  bailiwick acl explain --policy policy.acl alice read table/a\n  \
                        bailiwick acl explain --policy policy.acl --requests requests.jsonl\n  \
                        generate | bailiwick acl explain --policy policy.acl --requests -"
)]
pub(crate) struct Explain {
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    beside: Beside,
    /// A file of requests, one JSON object a line; `-` is standard input.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "principal")]
    requests: Option<PathBuf>,
    /// Print one JSON object, near misses included; with --requests, answers are JSON anyway.
    #[arg(long)]
    json: bool,
    /// Who asks.
    #[arg(required_unless_present = "requests", requires = "verb")]
    principal: Option<String>,
    /// What for.
    #[arg(requires = "object")]
    verb: Option<String>,
    /// On what: a literal name, in which `*` is a star.
    object: Option<String>,
}

/// One request of a file.
#[derive(Debug, Deserialize)]
struct Request {
    principal: String,
    verb: String,
    object: String,
}

/// One answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    decision: String,
    reason: Reason,
    line: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    near_misses: Vec<Near>,
}

/// A near miss and its sentence.
#[derive(Debug, Serialize)]
struct Near {
    #[serde(flatten)]
    miss: NearMiss,
    message: String,
}

impl Near {
    fn of(miss: &NearMiss) -> Self {
        Self { miss: miss.clone(), message: miss.to_string() }
    }
}

impl Answer {
    pub(crate) fn new(decision: Decision, near: &[NearMiss]) -> Self {
        Self { near_misses: near.iter().map(Near::of).collect(), ..decision.into() }
    }
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        Self {
            decision: decision.effect.to_string(),
            reason: decision.reason,
            line: decision.row.map(|row| row.line),
            near_misses: Vec::new(),
        }
    }
}

impl Explain {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let files = PolicyFiles::read(&self.policy, &self.beside)?;
        let policy = files.load().map_err(Failure::Policy)?.policy;
        if let Some(path) = &self.requests {
            return answer_all(&policy, path, out);
        }
        let (Some(principal), Some(verb), Some(object)) =
            (&self.principal, &self.verb, &self.object)
        else {
            let help = "bailiwick acl explain --policy FILE PRINCIPAL VERB OBJECT";
            return Err(Failure::new("a principal, a verb and an object are needed", help));
        };
        let decision = policy.explain(principal, verb, object);
        let near = match decision.is_allowed() {
            true => Vec::new(),
            false => {
                let rules = files.ruleset().map_err(Failure::Policy)?;
                near_misses(&rules, principal, verb, object)
            }
        };
        if self.json {
            writeln!(out, "{}", to_json(&Answer::new(decision, &near))?)?;
        } else {
            let why = why(&files, &policy, decision, principal, object);
            show(decision, &why, &near, out)?;
        }
        Ok(if decision.is_allowed() { Outcome::Good } else { Outcome::Bad })
    }
}

/// Shows a decision, why it is so, and what nearly made it another.
pub(crate) fn show(
    decision: Decision,
    why: &str,
    near: &[NearMiss],
    out: &mut impl Write,
) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    let verdict = match decision.is_allowed() {
        true => style.green("allow"),
        false => style.red("deny"),
    };
    writeln!(out, "{verdict}  {why}")?;
    near.iter().try_for_each(|miss| writeln!(out, "  near: {}", plain(&miss.to_string())))
}

/// Why a request is allowed or denied, for people.
pub(crate) fn why(
    files: &PolicyFiles,
    policy: &Policy,
    decision: Decision,
    principal: &str,
    object: &str,
) -> String {
    match (decision.row, decision.reason) {
        (Some(row), _) => {
            let text = plain(&files.line(row.line));
            format!("{}:{}: {text}", escape(policy.name()), row.line)
        }
        (None, Reason::UnknownPrincipal) => {
            format!("the policy does not know the principal `{}`", escape(principal))
        }
        (None, Reason::BadObject) => {
            let reason = bailiwick_acl::object::check(object).err();
            let reason = reason.map_or_else(|| "not canonical".to_owned(), |why| why.to_string());
            format!("the object's name is not canonical: {reason}")
        }
        _ => "no row matches, and what no row allows is denied".to_owned(),
    }
}

fn answer_all(policy: &Policy, path: &Path, out: &mut impl Write) -> Result<Outcome, Failure> {
    let mut reader = files::open_or_stdin(path, "a file of requests")?;
    let name =
        if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| {
            Failure::new(format!("{name}:{number}: {error}"), "check the file and its disk")
        })?;
        if read == 0 {
            break;
        }
        let malformed = |problem: String| {
            let help = r#"a line is {"principal":"alice","verb":"read","object":"table/a"}"#;
            Failure::new(format!("{name}:{number}: {problem}"), help)
        };
        if read > MAX_LINE {
            return Err(malformed(format!("a line of more than {MAX_LINE} bytes")));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let request: Request =
            serde_json::from_slice(&line).map_err(|error| malformed(error.to_string()))?;
        let decision = policy.explain(&request.principal, &request.verb, &request.object);
        writeln!(out, "{}", to_json(&Answer::from(decision))?)?;
    }
    Ok(Outcome::Good)
}

pub(crate) fn to_json(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map_err(io::Error::other)
}
