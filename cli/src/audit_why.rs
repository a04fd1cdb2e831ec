//! `audit why`: what an audit record says, and the policy that judged asked again.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bailiwick_acl::audit::{Entry, Filter, escape};
use bailiwick_acl::policy::analysis::near_misses;
use bailiwick_acl::policy::{Decision, MAX_FILE, file_digest, revision_digest};
use bailiwick_acl::{Policy, Reason};
use clap::Args;

use crate::output::{Failure, Outcome, Style, plain};
use crate::policy_args::{Beside, PolicyFiles};
use crate::{acl_explain, audit_log, audit_query, files};

/// Most files of `--policy-dir`; each may be a policy, or the principals of one.
const MAX_CANDIDATES: usize = 1_024;

/// Show an audit record and judge its request again, by the revision of the policy that judged it.
#[derive(Debug, Args)]
#[command(
    after_help = "The revision is found by its digest among the files that are given. Where none \
                        fits, the first --policy judges, and the answer says that it is another \
                        revision.\n\n\
                        Exit code 0 if there is an answer, 1 if the revision that judged does not \
                        say what is on record, 2 if there is no such record.\n\n\
                        Examples:\n  bailiwick audit why 90817 audit.jsonl --policy policy.acl\n  \
                        bailiwick audit why 90817 audit.jsonl --policy policy.acl \
                        --principals people.acl --policy-dir /var/lib/policies"
)]
pub(crate) struct Why {
    /// The record's number, as the refused caller was told: `audit #90817`.
    seq: u64,
    /// The audit log; `-` is standard input.
    file: PathBuf,
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Its file of further `principal` lines.
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// A folder with former policies, and files of principals if there are any.
    #[arg(long, value_name = "DIR")]
    policy_dir: Option<PathBuf>,
}

/// The files that judge, and whether they are the ones that did.
struct Revision {
    policy: PathBuf,
    principals: Option<PathBuf>,
    is: Is,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    TheRecorded,
    Another,
}

impl Why {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let mut found = None;
        let filter = Filter { seq: Some(self.seq), ..Filter::default() };
        audit_log::each(&self.file, filter, |entry| {
            found = Some(entry);
            Ok(ControlFlow::Break(()))
        })?;
        let Some(entry) = found else {
            let message = format!("{}: no record {}", self.file.display(), self.seq);
            return Err(Failure::new(
                message,
                "check the number; it is of one log, on one machine",
            ));
        };
        show_record(&entry, out)?;
        if entry.event != "decision" {
            writeln!(
                out,
                "\nnot the judgement of one request, so there is nothing to ask the policy"
            )?;
            return Ok(Outcome::Good);
        }
        let revision = self.revision(entry.policy.as_deref())?;
        let style = Style::of(&io::stdout());
        let name = plain(&revision.policy.to_string_lossy());
        match revision.is {
            Is::TheRecorded => writeln!(out, "\nby the revision that judged, {name}:")?,
            Is::Another => {
                let warning = style.bold("by ANOTHER revision than the one that judged");
                writeln!(out, "\n{warning}, {name}:")?;
            }
        }
        let beside = Beside::principals(revision.principals);
        let files = PolicyFiles::read(&revision.policy, &beside)?;
        let policy = files.load().map_err(Failure::Policy)?.policy;
        let decision = judge_again(&files, &policy, &entry, out)?;
        compare(&entry, decision, revision.is, out)
    }

    /// The files whose digest is the recorded one, or else those that were named.
    fn revision(&self, recorded: Option<&str>) -> Result<Revision, Failure> {
        let mut policies = vec![self.policy.clone()];
        let mut principals: Vec<_> = self.principals.iter().cloned().collect();
        if let Some(folder) = &self.policy_dir {
            let inside = inside(folder)?;
            policies.extend(inside.iter().cloned());
            principals.extend(inside);
        }
        let digests = |paths: &[PathBuf]| -> Result<Vec<[u8; 32]>, Failure> {
            paths.iter().map(|path| digest(path)).collect()
        };
        let (policy_digests, people_digests) = (digests(&policies)?, digests(&principals)?);
        let fits = |digest: [u8; 32]| {
            recorded.and_then(|text| text.strip_prefix("sha256:")) == Some(&*hex(&digest))
        };
        for (policy, of_policy) in policies.iter().zip(policy_digests) {
            let alone = std::iter::once((None, None));
            let people = principals.iter().zip(&people_digests);
            let with = people.map(|(path, digest)| (Some(path), Some(*digest)));
            for (path, of_people) in alone.chain(with) {
                if fits(revision_digest(of_policy, of_people)) {
                    let (policy, principals) = (policy.clone(), path.cloned());
                    return Ok(Revision { policy, principals, is: Is::TheRecorded });
                }
            }
        }
        let (policy, principals) = (self.policy.clone(), self.principals.clone());
        Ok(Revision { policy, principals, is: Is::Another })
    }
}

fn show_record(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    writeln!(out, "{}", style.bold(&format!("record {}", entry.seq)))?;
    let judged = entry.decision.as_ref().map(|decision| match &entry.reason {
        Some(reason) => format!("{decision} ({reason})"),
        None => decision.clone(),
    });
    let serial = entry.serial.map(|serial| serial.to_string());
    let time = audit_query::short_time(entry);
    for (name, field) in [
        ("time", Some(&time)),
        ("event", Some(&entry.event)),
        ("decision", judged.as_ref()),
        ("mode", entry.mode.as_ref()),
        ("principal", entry.principal.as_ref()),
        ("key", entry.key.as_ref()),
        ("peer", entry.peer.as_ref()),
        ("service", entry.service.as_ref()),
        ("method", entry.method.as_ref()),
        ("verb", entry.verb.as_ref()),
        ("object", entry.object.as_ref()),
        ("row", entry.row.as_ref()),
        ("policy", entry.policy.as_ref()),
        ("serial", serial.as_ref()),
        ("detail", entry.detail.as_ref()),
    ] {
        if let Some(text) = field {
            writeln!(out, "  {name:<9}  {}", escape(text))?;
        }
    }
    Ok(())
}

/// Asks the policy, and shows its answer; `None` where the record does not say what to ask.
fn judge_again(
    files: &PolicyFiles,
    policy: &Policy,
    entry: &Entry,
    out: &mut impl Write,
) -> Result<Option<Decision>, Failure> {
    let (Some(principal), Some(verb)) = (&entry.principal, &entry.verb) else {
        writeln!(out, "the record names no principal or no verb, so the policy cannot be asked")?;
        return Ok(None);
    };
    if let Some(object) = &entry.object {
        let decision = policy.explain(principal, verb, object);
        let near = match decision.is_allowed() {
            true => Vec::new(),
            false => {
                let rules = files.ruleset().map_err(Failure::Policy)?;
                near_misses(&rules, principal, verb, object)
            }
        };
        let why = acl_explain::why(files, policy, decision, principal, object);
        acl_explain::show(decision, &why, &near, out)?;
        return Ok(Some(decision));
    }
    // Refused before its arguments were decoded.
    let decision = match policy.subjects(principal) {
        Some(subjects) => policy.gate(&subjects, verb),
        None => Decision::denied(Reason::UnknownPrincipal),
    };
    let (principal, verb) = (escape(principal), escape(verb));
    match decision.is_allowed() {
        true => writeln!(out, "{principal} may {verb} some objects; the record names none")?,
        false => writeln!(out, "there is no object that {principal} may {verb}")?,
    }
    Ok(Some(decision))
}

/// Says whether the policy's answer is the one on record.
fn compare(
    entry: &Entry,
    decision: Option<Decision>,
    revision: Is,
    out: &mut impl Write,
) -> Result<Outcome, Failure> {
    let reason = entry.reason.as_deref().unwrap_or_default();
    let beside_the_policy = match reason {
        "unknown_method" => "the service has no such method; the policy was not asked",
        "false_retry" => "the call's number belonged to another call; the policy was not asked",
        "audit_unavailable" => "the audit log could not be written, so nothing was run",
        "stream_revoked" => "a stream ended when its permission went; this revision took it",
        "unknown_principal" => {
            "the caller's key was bound to nobody at the time; names do not show it"
        }
        _ => "",
    };
    if !beside_the_policy.is_empty() {
        writeln!(out, "the record's reason is `{reason}`: {beside_the_policy}")?;
        return Ok(Outcome::Good);
    }
    let Some(decision) = decision else { return Ok(Outcome::Good) };
    let same = entry.decision.as_deref() == Some(&*decision.effect.to_string())
        // Where no object is on record, the gate's answer is for all of them.
        || (entry.object.is_none() && decision.is_allowed());
    match (same, revision) {
        (true, Is::TheRecorded) => writeln!(out, "as on record")?,
        (true, Is::Another) => writeln!(out, "the same as on record")?,
        (false, Is::Another) => {
            writeln!(out, "on record it was otherwise; the policy has changed since, or before")?;
        }
        (false, Is::TheRecorded) => {
            writeln!(out, "ON RECORD IT WAS OTHERWISE: run `bailiwick audit verify` on the log")?;
            return Ok(Outcome::Bad);
        }
    }
    if revision == Is::Another {
        let help = "to judge by the revision that did, name its file: --policy, --principals, or \
                    --policy-dir with former ones";
        writeln!(out, "{help}")?;
    }
    Ok(Outcome::Good)
}

/// The regular files in `folder`, by name.
fn inside(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: io::Error| {
        let message = format!("{}: {error}", folder.display());
        Failure::new(message, "--policy-dir takes a folder that you may read")
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !path.is_file() {
            continue;
        }
        if paths.len() == MAX_CANDIDATES {
            let message = format!("{}: more than {MAX_CANDIDATES} files", folder.display());
            return Err(Failure::new(message, "name a folder with policies alone"));
        }
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}

fn digest(path: &Path) -> Result<[u8; 32], Failure> {
    use std::io::Read as _;
    // No policy is longer, so what is behind does not matter.
    let file = files::open(path, "a policy file")?.take(MAX_FILE as u64 + 1);
    file_digest(file).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()), "check the file and its disk")
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
