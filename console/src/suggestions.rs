//! The page of rows that would let refused requests through, to be copied by a person who means it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bailiwick_acl::policy::analysis::{NotSuggested, Refusal, Suggestion, Why, suggest};

use crate::pages::{blocking, page, too_many_searches};
use crate::policy::Good;
use crate::server::Console;
use crate::text::{Number, visible};

/// Longest policy, in lines, for which rows are proposed: each alternative is tried
/// by a load of the whole file.
const MAX_LINES: usize = 20_000;

/// Most rows, and most refusals without one, on the page.
const MAX_ROWS: usize = 100;

/// `GET /suggest`.
pub(crate) async fn suggestions(State(console): State<Arc<Console>>) -> Response {
    let Ok(place) = Arc::clone(&console.searches).try_acquire_owned() else {
        return too_many_searches();
    };
    blocking(move || {
        let page = Suggestions::of(&console);
        drop(place);
        page
    })
    .await
}

/// Whether the file is short enough for proposals while somebody waits.
pub(crate) fn may_suggest(policy: &Good) -> bool {
    policy.lines <= MAX_LINES
}

/// The page.
#[derive(Template)]
#[template(path = "suggest.html")]
struct Suggestions {
    file: String,
    considered: Number,
    rows: Vec<Row>,
    not: Vec<Not>,
    /// Rows and refusals that are not on the page.
    left_out: Number,
    /// Why there are no proposals at all.
    none: &'static str,
}

struct Row {
    row: String,
    flips: Number,
    wide: Option<Wide>,
}

struct Wide {
    row: String,
    flips: Number,
    opens: String,
}

struct Not {
    request: String,
    count: Number,
    why: String,
}

impl IntoResponse for Suggestions {
    fn into_response(self) -> Response {
        page(&self)
    }
}

impl Suggestions {
    const fn tab(&self) -> &'static str {
        "suggest"
    }

    /// Nobody wants a row to move while he reads it.
    const fn still(&self) -> bool {
        true
    }

    fn of(console: &Console) -> Self {
        let file = visible(&console.policy.file().display().to_string());
        let nothing = |none| Self {
            file: file.clone(),
            considered: Number(0),
            rows: Vec::new(),
            not: Vec::new(),
            left_out: Number(0),
            none,
        };
        let Some(policy) = console.policy.now().good else {
            return nothing("The policy file has not been loaded; see its page.");
        };
        if !may_suggest(&policy) {
            return nothing(
                "The policy is too long to try rows while you wait: use `bailiwick acl suggest`.",
            );
        }
        let held: Vec<_> = console.feed.held().newest_first().cloned().collect();
        let refusals: Vec<_> = held.iter().filter_map(|held| Refusal::of(&held.entry)).collect();
        // Each record is about one request.
        let considered = refusals.len() as u64;
        let found = suggest(&policy.rules, refusals.into_iter().collect());
        let (rows, not) = (found.rows.len(), found.not.len());
        let left_out = rows.saturating_sub(MAX_ROWS) + not.saturating_sub(MAX_ROWS);
        Self {
            considered: Number(considered),
            rows: found.rows.into_iter().take(MAX_ROWS).map(Row::of).collect(),
            not: found.not.into_iter().take(MAX_ROWS).map(Not::of).collect(),
            left_out: Number(left_out as u64 + found.beyond),
            ..nothing("No row to propose.")
        }
    }
}

impl Row {
    fn of(suggestion: Suggestion) -> Self {
        let wide = suggestion.instead.map(|wide| Wide {
            row: wide.row,
            flips: Number(wide.flips),
            opens: visible(&wide.opens.to_string()),
        });
        Self { row: suggestion.row, flips: Number(suggestion.flips), wide }
    }
}

impl Not {
    fn of(not: NotSuggested) -> Self {
        let NotSuggested { refusal, why } = not;
        let why = match why {
            Why::AllowedNow { line } => format!("line {line} allows it by now"),
            Why::Denied { line } => format!("line {line} denies it: somebody decided that"),
            Why::Unknown => "the policy does not know the principal".to_owned(),
            Why::Impossible => "no row can allow it: its name is not canonical".to_owned(),
            Why::Refused { message } => format!("the policy would refuse the row: {message}"),
            Why::NotTried => "not tried, since too many rows are refused".to_owned(),
            _ => "no row is proposed".to_owned(),
        };
        let request = format!("{} {} {}", refusal.principal, refusal.verb, refusal.object);
        Self { request: visible(&request), count: Number(refusal.count), why: visible(&why) }
    }
}
