//! The state of the log, the policy and the server, each at a glance.

use std::time::SystemTime;

use bailiwick_acl::audit::{Report, Tampered};
use bailiwick_acl::policy::Finding;

use crate::integrity::{Integrity, Verdict};
use crate::metrics::{self, EVERY, KEPT, Point};
use crate::plot::Plot;
use crate::policy::{MAX_FINDINGS, State};
use crate::record_page::digest;
use crate::seals::Seals;
use crate::server::Console;
use crate::text::{Number, age, age_of, duration, visible};

/// How something stands: the word is a class of the style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Wait,
    Bad,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Wait => "wait",
            Self::Bad => "bad",
        }
    }
}

const TAMPERED: &str = "Tampered with";

/// Whether the log is whole.
#[derive(Debug)]
pub(crate) struct IntegrityCard {
    pub(crate) tone: Tone,
    pub(crate) title: String,
    pub(crate) detail: String,
    /// The last verified record and its hash; empty if there is none.
    pub(crate) record: String,
    pub(crate) head: String,
    pub(crate) checkpoint: String,
    pub(crate) file: String,
}

impl IntegrityCard {
    pub(crate) fn of(console: &Console, now: SystemTime) -> Self {
        let Integrity { verdict, record, head, bytes, total, whole_at } = console.chain.now();
        let seals = console.seals.now();
        let checkpoint = console.feed.held().checkpoint.clone();
        let (tone, title, detail) = match (verdict, &seals) {
            // This reader looks for all that can be done to a log, and says it best.
            (_, Seals::Broken(tampered)) => broken(&seals, tampered),
            (Verdict::Tampered { place, what }, _) => {
                (Tone::Bad, TAMPERED.to_owned(), format!("{place}: {what}"))
            }
            (Verdict::Unreadable(why), _) => (Tone::Bad, "Cannot be read".to_owned(), why),
            (Verdict::Reading, _) => {
                let percent = bytes.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
                (Tone::Wait, format!("Verifying, {percent} %"), String::new())
            }
            (Verdict::Whole, _) if record == 0 => {
                (Tone::Wait, "Empty".to_owned(), "No record has been written yet.".to_owned())
            }
            (Verdict::Whole, Seals::Unknown) => {
                (Tone::Wait, "Verifying the checkpoints".to_owned(), String::new())
            }
            (Verdict::Whole, Seals::Whole(report)) => {
                (Tone::Good, "Whole".to_owned(), whole(report, whole_at, now))
            }
        };
        Self {
            tone,
            title,
            detail: visible(&detail),
            record: match (tone, record) {
                // What stands before the place may be whole, but nobody should rely on a number.
                (Tone::Bad, _) => "–".to_owned(),
                (_, 0) => "none".to_owned(),
                (_, record) => format!("record {}", Number(record)),
            },
            head,
            checkpoint: checkpoint.map_or_else(
                || "none".to_owned(),
                |entry| {
                    let ago = age_of(&entry.ts, now)
                        .map_or_else(String::new, |age| format!(", {age} ago"));
                    format!("record {}{ago}", Number(entry.seq))
                },
            ),
            file: visible(&console.audit.display().to_string()),
        }
    }
}

fn whole(report: &Report, whole_at: Option<SystemTime>, now: SystemTime) -> String {
    let ago = whole_at.map_or_else(String::new, |at| format!(" {} ago", age(at, now)));
    let lost = match report.missing {
        0 => String::new(),
        lost => format!(" {} records are missing, as its gaps say.", Number(lost)),
    };
    let closed = if report.closed { " It was closed in order." } else { "" };
    let denials = Number(report.denials);
    format!("Verified to its end{ago}; {denials} requests refused in all.{lost}{closed}")
}

fn broken(seals: &Seals, tampered: &Tampered) -> (Tone, String, String) {
    let title = if seals.ends_early() { "Cut, or the server crashed" } else { TAMPERED };
    let file = tampered.file.as_ref();
    let file = file.map_or_else(String::new, |file| format!("{}:", file.display()));
    (Tone::Bad, title.to_owned(), format!("{file}{}: {}", tampered.line, tampered.what))
}

/// How the policy file stands, and whether it is the one in force.
pub(crate) struct PolicyCard {
    pub(crate) tone: Tone,
    pub(crate) title: String,
    pub(crate) detail: String,
    pub(crate) file: String,
    pub(crate) serial: String,
    pub(crate) digest: String,
    pub(crate) in_force: String,
    pub(crate) errors: Vec<Shown>,
    pub(crate) warnings: Vec<Shown>,
}

/// A finding, fit for a page.
pub(crate) struct Shown {
    pub(crate) place: String,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Shown {
    fn all(findings: &[Finding]) -> Vec<Self> {
        let shown = |finding: &Finding| Self {
            place: visible(&format!("{}:{}:{}", finding.file, finding.line, finding.column)),
            message: visible(&finding.message),
            help: visible(&finding.help),
        };
        findings.iter().take(MAX_FINDINGS).map(shown).collect()
    }
}

impl PolicyCard {
    pub(crate) fn of(console: &Console, now: SystemTime) -> Self {
        let crate::policy::Now { state, good } = console.policy.now();
        let in_force = console.feed.held().policy.clone();
        let (mut tone, mut title, mut detail, mut errors) =
            (Tone::Good, "Good".to_owned(), String::new(), Vec::new());
        match &state {
            State::Reading => (tone, title) = (Tone::Wait, "Reading".to_owned()),
            State::Good => {}
            State::Refused(findings) => {
                tone = Tone::Bad;
                title = counted(findings.len(), "error");
                detail = "A server keeps the revision before.".to_owned();
                errors = Shown::all(findings);
            }
            State::Unreadable(why) => {
                (tone, title, detail) = (Tone::Bad, "Cannot be read".to_owned(), visible(why));
            }
        }
        let warnings =
            good.as_ref().map_or_else(Vec::new, |good| Shown::all(good.rules.warnings()));
        if tone == Tone::Good && !warnings.is_empty() {
            detail = format!("With {}.", counted(warnings.len(), "warning"));
        }
        let ours = good.as_ref().map(|good| digest(good.rules.policy()));
        let in_force = match in_force {
            None => "no load on record".to_owned(),
            Some(entry) => {
                let loaded =
                    age_of(&entry.ts, now).map_or_else(String::new, |age| format!("since {age}"));
                let same = entry.policy.is_some() && entry.policy == ours;
                let other = if same { "this file" } else { "another revision than this file" };
                format!("{other}, {loaded}")
            }
        };
        Self {
            tone,
            title,
            detail,
            file: visible(&console.policy.file().display().to_string()),
            serial: good
                .as_ref()
                .and_then(|good| good.rules.policy().serial())
                .map_or_else(|| "none".to_owned(), |serial| serial.to_string()),
            digest: ours.unwrap_or_else(|| "none".to_owned()),
            in_force,
            errors,
            warnings,
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", Number(count as u64))
}

/// How the server is doing.
#[derive(Debug)]
pub(crate) struct MetricsCard {
    pub(crate) error: Option<String>,
    pub(crate) rate: String,
    pub(crate) p50: String,
    pub(crate) p99: String,
    pub(crate) rates: Plot,
    pub(crate) rate_top: String,
    pub(crate) latencies: Plot,
    pub(crate) latency_top: String,
    pub(crate) minutes: u64,
}

impl MetricsCard {
    /// `None` where no metrics were asked for.
    pub(crate) fn of(console: &Console) -> Option<Self> {
        let figures = metrics::lock(console.metrics.as_ref()?);
        let points: Vec<Option<Point>> = figures.points.iter().copied().collect();
        let error = figures.error.as_deref().map(visible);
        drop(figures);
        let series = |of: fn(&Point) -> Option<f64>| -> Vec<_> {
            points.iter().map(|point| point.as_ref().and_then(of)).collect()
        };
        let rates = Plot::lines(&[("rate", series(|point| Some(point.rate)))], KEPT);
        let (p50, p99) = (series(|point| point.p50), series(|point| point.p99));
        let latencies = Plot::lines(&[("p99", p99), ("p50", p50)], KEPT);
        let last = points.last().copied().flatten();
        let none = || "–".to_owned();
        let time = |seconds: Option<f64>| seconds.map_or_else(none, duration);
        Some(Self {
            error,
            rate: last.map_or_else(none, |point| format!("{:.1}", point.rate)),
            p50: time(last.and_then(|point| point.p50)),
            p99: time(last.and_then(|point| point.p99)),
            rate_top: rates.top.to_string(),
            latency_top: duration(latencies.top),
            rates,
            latencies,
            minutes: KEPT as u64 * EVERY.as_secs() / 60,
        })
    }
}
