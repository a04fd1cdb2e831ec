//! The pages: what is known, put into words for the templates.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use bailiwick_acl::audit::Entry;
use bailiwick_acl::{object, policy};

use crate::cards::{IntegrityCard, MetricsCard, PolicyCard};
use crate::filter::{Asked, BadFilter, Filter};
use crate::plot::{HEIGHT, Plot, WIDTH};
use crate::refusals::{BAR, Refusal};
use crate::search::{Found, MAX_FOUND, MAX_TIME, search};
use crate::server::Console;
use crate::text::{Number, clock, visible};

/// Most refusals on the page.
const MAX_ROWS: usize = 100;

/// How many of the most refused are shown.
const TOP: usize = 5;

/// Most names that a field of the form offers.
const MAX_OFFERS: usize = 50;

/// Most characters of a text in a list; the page of the record has the rest.
const MAX_CELL: usize = 200;

/// `GET /`.
pub(crate) async fn overview(
    State(console): State<Arc<Console>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else {
        let text = "Each field of the filter may be given once. Begin anew at /.";
        return Notice::new(StatusCode::BAD_REQUEST, "Not a filter", text).into_response();
    };
    let whole_log = asked.wants_whole_log();
    let place = match whole_log.then(|| Arc::clone(&console.searches).try_acquire_owned()) {
        Some(Err(_)) => return too_many_searches(),
        Some(Ok(place)) => Some(place),
        None => None,
    };
    blocking(move || {
        let page = Overview::make(&console, asked, SystemTime::now());
        drop(place);
        page
    })
    .await
}

/// `GET /policy`.
pub(crate) async fn policy_page(State(console): State<Arc<Console>>) -> Response {
    blocking(move || PolicyPage { policy: PolicyCard::of(&console, SystemTime::now()) }).await
}

pub(crate) async fn not_found() -> Notice {
    Notice::new(StatusCode::NOT_FOUND, "No such page", "The console begins at /.")
}

pub(crate) fn too_many_searches() -> Response {
    let text = "Other searches of the whole log are under way; try again in a moment.";
    Notice::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", text).into_response()
}

/// Makes a page where files may be read and lists gone through.
pub(crate) async fn blocking<T: IntoResponse + Send + 'static>(
    make: impl FnOnce() -> T + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(make).await {
        Ok(page) => page.into_response(),
        Err(_) => {
            let text = "That is a mistake in the console; its terminal says more.";
            Notice::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed", text).into_response()
        }
    }
}

/// A page that says one thing.
#[derive(Debug, Template)]
#[template(path = "notice.html")]
pub(crate) struct Notice {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl Notice {
    pub(crate) fn new(status: StatusCode, title: &'static str, text: &str) -> Self {
        Self { status, title, text: text.to_owned() }
    }
}

impl IntoResponse for Notice {
    fn into_response(self) -> Response {
        (self.status, page(&self)).into_response()
    }
}

/// A template as a page.
pub(crate) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        // Writing to a string does not fail, and our texts are displayed without errors.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The page of the policy file.
#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    policy: PolicyCard,
}

impl PolicyPage {
    const fn tab(&self) -> &'static str {
        "policy"
    }

    const fn still(&self) -> bool {
        false
    }
}

impl IntoResponse for PolicyPage {
    fn into_response(self) -> Response {
        page(&self)
    }
}

/// The first page.
#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    integrity: IntegrityCard,
    policy: PolicyCard,
    metrics: Option<MetricsCard>,
    plot: Plot,
    /// Refusals in the last bar but one, which is whole, a minute.
    lately: String,
    tops: Vec<Top>,
    asked: Asked,
    bad: Option<BadFilter>,
    offers: Offers,
    rows: Vec<Row>,
    /// What the rows are out of.
    scope: String,
    /// Whether there may be more in the log than was looked through.
    more: bool,
    empty: Option<&'static str>,
}

impl IntoResponse for Overview {
    fn into_response(self) -> Response {
        page(&self)
    }
}

/// A list of what was refused most.
struct Top {
    title: &'static str,
    lines: Vec<TopLine>,
}

struct TopLine {
    label: String,
    count: Number,
    /// Of the most, in percent.
    share: u64,
    /// The filter that shows them.
    principal: String,
    verb: String,
    object: String,
    reason: String,
}

/// What the form's fields offer.
#[derive(Default)]
struct Offers {
    principals: Vec<String>,
    verbs: Vec<String>,
    reasons: Vec<String>,
}

/// A refusal in the list.
struct Row {
    seq: u64,
    ts: String,
    clock: String,
    what: String,
    principal: String,
    verb: String,
    object: String,
    reason: String,
    row: String,
    peer: String,
}

impl Overview {
    const fn tab(&self) -> &'static str {
        "overview"
    }

    /// A search of the whole log is not repeated with every record that comes.
    fn still(&self) -> bool {
        self.asked.wants_whole_log()
    }

    fn make(console: &Console, asked: Asked, now: SystemTime) -> Self {
        let (held, plot, lately, more, caught_up) = {
            let held = console.feed.held();
            let all: Vec<_> = held.newest_first().cloned().collect();
            let bars = held.bars(now);
            let whole = bars.get(bars.len().saturating_sub(2)).copied().unwrap_or(0);
            let lately = Number(whole.saturating_mul(60) / BAR.as_secs()).to_string();
            (all, Plot::bars(&bars), lately, held.more, held.caught_up)
        };
        let (filter, bad) = match asked.filter(now) {
            Ok(filter) => (Some(filter), None),
            Err(bad) => (None, Some(bad)),
        };
        let (rows, scope, more) = match &filter {
            None => (Vec::new(), String::new(), false),
            Some(filter) if asked.wants_whole_log() => in_whole_log(console, filter, now),
            Some(filter) => in_held(&held, filter, now, more),
        };
        let empty = match (&bad, rows.is_empty(), asked.is_empty()) {
            (Some(_), ..) | (_, false, _) => None,
            (None, true, false) => Some("No refusal fits this filter."),
            (None, true, true) if caught_up => Some("Nobody has been refused anything."),
            (None, true, true) => Some("The log has not been read yet."),
        };
        Self {
            integrity: IntegrityCard::of(console, now),
            policy: PolicyCard::of(console, now),
            metrics: MetricsCard::of(console),
            plot,
            lately,
            tops: tops(&held),
            offers: Offers::of(&held),
            asked,
            bad,
            rows,
            scope,
            more,
            empty,
        }
    }
}

fn in_held(
    held: &[Arc<Refusal>],
    filter: &Filter,
    now: SystemTime,
    more: bool,
) -> (Vec<Row>, String, bool) {
    let fitting: Vec<_> = held.iter().filter(|refusal| filter.wants(refusal)).collect();
    let rows: Vec<_> = fitting.iter().take(MAX_ROWS).map(|r| Row::of(&r.entry, now)).collect();
    let older = if more { ", the newest; the log has older ones" } else { "" };
    let (shown, fit, all) =
        (Number(rows.len() as u64), Number(fitting.len() as u64), Number(held.len() as u64));
    (rows, format!("{shown} shown of {fit} that fit, out of {all} records{older}"), more)
}

fn in_whole_log(console: &Console, filter: &Filter, now: SystemTime) -> (Vec<Row>, String, bool) {
    match search(&console.audit, &filter.in_files()) {
        Err(error) => (Vec::new(), format!("the log cannot be read: {error}"), false),
        Ok(Found { entries, count, complete }) => {
            let rows: Vec<_> = entries.iter().rev().map(|entry| Row::of(entry, now)).collect();
            let (shown, fit) = (Number(rows.len() as u64), Number(count));
            let scope = if complete {
                format!("{shown} shown of {fit} that fit in the whole log; the most is {MAX_FOUND}")
            } else {
                let time = MAX_TIME.as_secs();
                format!(
                    "{shown} shown; time was up after {time} s, so this is only the older part: \
                     use `bailiwick audit query`"
                )
            };
            (rows, scope, false)
        }
    }
}

impl Row {
    fn of(entry: &Entry, now: SystemTime) -> Self {
        let what = match (entry.decision.as_deref(), entry.count) {
            (Some(decision), _) => visible(decision),
            (None, Some(count)) => format!("{} ×{}", visible(&entry.event), Number(count)),
            (None, None) => visible(&entry.event),
        };
        // What an event without a request has to say stands where the object would.
        let object = entry.object.as_ref().or(entry.method.as_ref()).or(entry.detail.as_ref());
        Self {
            seq: entry.seq,
            ts: visible(&entry.ts),
            clock: clock(&entry.ts, now),
            what,
            principal: cell(entry.principal.as_ref()),
            verb: cell(entry.verb.as_ref()),
            object: cell(object),
            reason: cell(entry.reason.as_ref()),
            row: cell(entry.row.as_deref().map(file_name).as_ref()),
            peer: cell(entry.peer.as_ref()),
        }
    }
}

/// The last part of a path: which folder a policy is in stands on the page of the record.
fn file_name(row: &str) -> String {
    row.rsplit('/').next().unwrap_or(row).to_owned()
}

/// A text of bounded length, with nothing hidden in it.
fn cell(text: Option<&String>) -> String {
    let Some(text) = text else { return "–".to_owned() };
    let mut shown: String = visible(text).chars().take(MAX_CELL).collect();
    if shown.chars().count() == MAX_CELL {
        shown.push('…');
    }
    shown
}

fn tops(held: &[Arc<Refusal>]) -> Vec<Top> {
    let field = |text: &Option<String>| text.clone().unwrap_or_default();
    let requests = top(held, |entry| {
        entry.object.as_ref()?;
        Some([field(&entry.principal), field(&entry.verb), field(&entry.object), String::new()])
    });
    let principals = top(held, |entry| {
        Some([entry.principal.clone()?, String::new(), String::new(), String::new()])
    });
    let reasons = top(held, |entry| {
        Some([String::new(), String::new(), String::new(), entry.reason.clone()?])
    });
    [("Requests", requests), ("Principals", principals), ("Reasons", reasons)]
        .map(|(title, lines)| Top { title, lines })
        .into()
}

/// The most frequent of what `key` makes of the refusals: principal, verb, object and reason.
fn top(held: &[Arc<Refusal>], key: impl Fn(&Entry) -> Option<[String; 4]>) -> Vec<TopLine> {
    let mut counts: HashMap<[String; 4], u64> = HashMap::new();
    for refusal in held {
        if let Some(key) = key(&refusal.entry) {
            let count = counts.entry(key).or_default();
            *count = count.saturating_add(refusal.entry.weight());
        }
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(key, count)| (count, key)).collect();
    // By count, and then by name so that equals keep their places.
    counts.sort_unstable_by(|(left, a), (right, b)| right.cmp(left).then_with(|| a.cmp(b)));
    counts.truncate(TOP);
    let most = counts.first().map_or(1, |(count, _)| (*count).max(1));
    counts.into_iter().map(|(count, key)| TopLine::of(key, count, most)).collect()
}

impl TopLine {
    fn of(key: [String; 4], count: u64, most: u64) -> Self {
        let words: Vec<_> =
            key.iter().filter(|word| !word.is_empty()).map(String::as_str).collect();
        let label = cell(Some(&words.join(" ")));
        let [principal, verb, object, reason] = key;
        // A name that no pattern can mean is found by the rest of the filter.
        let object = match object::check(&object) {
            Ok(()) => policy::escape(&object),
            Err(_) => String::new(),
        };
        let share = count.saturating_mul(100) / most;
        Self { label, count: Number(count), share, principal, verb, object, reason }
    }
}

impl Offers {
    fn of(held: &[Arc<Refusal>]) -> Self {
        let seen = |field: fn(&Entry) -> Option<&String>| {
            let mut names = BTreeSet::new();
            for name in held.iter().filter_map(|refusal| field(&refusal.entry)) {
                if names.len() < MAX_OFFERS && visible(name) == *name && name.len() <= MAX_CELL {
                    names.insert(name.clone());
                }
            }
            names.into_iter().collect()
        };
        Self {
            principals: seen(|entry| entry.principal.as_ref()),
            verbs: seen(|entry| entry.verb.as_ref()),
            reasons: seen(|entry| entry.reason.as_ref()),
        }
    }
}
