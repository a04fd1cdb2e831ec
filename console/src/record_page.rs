//! The page of one record: all that it says, and the row that decided, in its file.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bailiwick_acl::Policy;
use bailiwick_acl::audit::{Entry, Filter};
use bailiwick_acl::policy::analysis::{Refusal, near_misses, suggest};
use bailiwick_acl::policy::{Decision, Reason};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::pages::{Notice, blocking, page, too_many_searches};
use crate::policy::{Good, around};
use crate::search::search;
use crate::server::Console;
use crate::suggestions::may_suggest;
use crate::text::{age_of, visible};

/// Lines of the policy shown before and after the one that decides.
const AROUND: u32 = 3;

/// `GET /record/{seq}`.
pub(crate) async fn record(
    State(console): State<Arc<Console>>,
    path: Result<Path<u64>, axum::extract::rejection::PathRejection>,
) -> Response {
    let missing = || {
        let text = "No record has this number.";
        Notice::new(StatusCode::NOT_FOUND, "No such record", text).into_response()
    };
    let Ok(Path(seq)) = path else { return missing() };
    let held = console.feed.held().find(seq);
    let place = match held.is_none().then(|| Arc::clone(&console.searches).try_acquire_owned()) {
        Some(Err(_)) => return too_many_searches(),
        Some(Ok(place)) => Some(place),
        None => None,
    };
    blocking(move || {
        let _place = place;
        let page =
            |entry: &Entry, source| RecordPage::of(&console, entry, source, SystemTime::now());
        match held {
            Some(refusal) => page(&refusal.entry, Source::Held).into_response(),
            None => find(&console, seq)
                .map_or_else(missing, |entry| page(&entry, Source::Searched).into_response()),
        }
    })
    .await
}

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Held,
    Searched,
}

fn find(console: &Console, seq: u64) -> Option<Entry> {
    let filter = Filter { seq: Some(seq), ..Filter::default() };
    search(&console.audit, &filter).ok()?.entries.pop_back()
}

/// The page.
#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    seq: u64,
    source: Source,
    title: String,
    age: String,
    /// Who asked for what; empty if nobody did.
    request: String,
    fields: Vec<(String, String)>,
    judged: Option<Judged>,
    /// Why it is not judged again.
    unjudged: &'static str,
}

/// What the policy file says to the request now.
struct Judged {
    allowed: bool,
    verdict: String,
    /// What the file has to do with the revision that decided then.
    revision: &'static str,
    file: String,
    lines: Vec<FileLine>,
    near: Vec<Near>,
    suggestion: Option<String>,
}

/// A row that nearly allowed it.
struct Near {
    line: u32,
    text: String,
    why: String,
}

struct FileLine {
    number: u32,
    text: String,
    decides: bool,
}

impl IntoResponse for RecordPage {
    fn into_response(self) -> Response {
        page(&self)
    }
}

impl RecordPage {
    const fn tab(&self) -> &'static str {
        "record"
    }

    /// A search is not repeated with every record that comes.
    fn still(&self) -> bool {
        self.source == Source::Searched
    }

    fn of(console: &Console, entry: &Entry, source: Source, now: SystemTime) -> Self {
        let good = console.policy.now().good;
        let request = (entry.principal.as_deref(), entry.verb.as_deref(), entry.object.as_deref());
        let (judged, unjudged) = match (request, good) {
            ((Some(principal), Some(verb), Some(object)), Some(good)) => {
                (Some(Judged::of(&good, entry, principal, verb, object)), "")
            }
            (_, None) => (None, "The policy file has not been loaded; see its page."),
            (_, Some(_)) => (None, "It does not name a principal, a verb and an object."),
        };
        let what = entry.decision.as_deref().unwrap_or(&entry.event);
        Self {
            seq: entry.seq,
            source,
            title: visible(what),
            request: match request {
                (Some(principal), Some(verb), Some(object)) => {
                    visible(&format!("{principal} {verb} {object}"))
                }
                _ => String::new(),
            },
            age: age_of(&entry.ts, now).unwrap_or_default(),
            fields: fields(&entry.json),
            judged,
            unjudged,
        }
    }
}

impl Judged {
    fn of(good: &Good, entry: &Entry, principal: &str, verb: &str, object: &str) -> Self {
        let (rules, policy) = (&good.rules, good.rules.policy());
        let decision = policy.explain(principal, verb, object);
        let lines = decision.row.map(|row| around(rules, row.line, AROUND));
        let lines = lines.into_iter().flatten().map(|line| FileLine {
            decides: decision.row.is_some_and(|row| row.line == line.number),
            number: line.number,
            text: visible(&line.text.replace('\t', "    ")),
        });
        let near = near_misses(rules, principal, verb, object).into_iter().map(|near| Near {
            line: near.line,
            text: visible(&rules.line(near.line)),
            why: visible(&near.to_string()),
        });
        Self {
            allowed: decision.is_allowed(),
            verdict: verdict(decision, object),
            revision: if entry.policy.as_deref() == Some(&*digest(policy)) {
                "The file is the revision that decided."
            } else {
                "The file has changed since: this is what it says now."
            },
            file: visible(policy.name()),
            lines: lines.collect(),
            near: near.collect(),
            suggestion: suggestion(good, entry),
        }
    }
}

/// The row that would allow this very request, if one may.
fn suggestion(good: &Good, entry: &Entry) -> Option<String> {
    if !may_suggest(good) {
        return None;
    }
    suggest(&good.rules, Refusal::of(entry).into_iter().collect()).rows.pop().map(|row| row.row)
}

fn verdict(decision: Decision, object: &str) -> String {
    match (decision.row, decision.reason) {
        (Some(row), _) => format!("{} by line {}", decision.effect, row.line),
        (None, Reason::UnknownPrincipal) => {
            "deny: the policy does not know the principal".to_owned()
        }
        (None, Reason::BadObject) => {
            let why = bailiwick_acl::object::check(object).err();
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            format!("deny: the object's name is not canonical{why}")
        }
        _ => "deny: no row matches, and what no row allows is denied".to_owned(),
    }
}

/// The digest of a policy as records write it.
pub(crate) fn digest(policy: &Policy) -> String {
    let hex: String = policy.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The fields of a record in their order, fit for a page.
fn fields(json: &str) -> Vec<(String, String)> {
    let fields: Option<Fields> = serde_json::from_str(json).ok();
    let fields = fields.map_or_else(Vec::new, |fields| fields.0);
    fields.into_iter().map(|(name, value)| (visible(&name), visible(&value))).collect()
}

/// A JSON object in the order in which it is written.
struct Fields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value: serde_json::Value = map.next_value()?;
                    let text = match value {
                        serde_json::Value::String(text) => text,
                        other => other.to_string(),
                    };
                    fields.push((name, text));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
