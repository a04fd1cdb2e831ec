//! What a load found wrong, for people (through `miette`) and for machines (as JSON).

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use serde::{Serialize, Serializer};

use super::fault::{Fault, Span};
use crate::object::is_invisible;

/// An error of a policy file; see [`Finding`].
pub type PolicyError = Finding;

/// A warning about a policy file that loads nevertheless; see [`Finding`].
pub type PolicyWarning = Finding;

/// One thing found in a policy file: where, what, and how to mend it.
///
/// As JSON it is `{"file","line","column","end_column","severity","code","message","help"}` and,
/// where two lines disagree, `"related":{"file","line","column","message"}`; as a [`Diagnostic`] it
/// shows both lines.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The file, as the loader was told.
    pub file: String,
    /// The line; 1 is the first.
    pub line: u32,
    /// The column in characters; 1 is the first.
    pub column: u32,
    /// The column after the last character that it is about.
    pub end_column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is, as `acl::shadowed`: stable, for machines. Lines that cannot be read are
    /// `acl::syntax`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
    /// The second place, where two disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
    #[serde(skip)]
    text: Arc<Shown>,
    #[serde(skip)]
    labels: Vec<LabeledSpan>,
}

/// The second place that a [`Finding`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The file.
    pub file: String,
    /// The line; 1 is the first.
    pub line: u32,
    /// The column in characters; 1 is the first.
    pub column: u32,
    /// What is there.
    pub message: String,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look, and often as meant.
    Advice,
    /// It loads, but is hardly as meant.
    Warning,
    /// It refuses the file.
    Error,
}

/// Every error of a policy, in the order of the lines; the whole file is refused for any of them.
#[derive(Clone, Debug)]
pub struct PolicyErrors {
    errors: Vec<PolicyError>,
}

impl PolicyErrors {
    pub(super) fn new(errors: Vec<PolicyError>) -> Self {
        Self { errors }
    }

    /// The errors, sorted by file, line and column; never empty.
    #[must_use]
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for Finding {}

impl Diagnostic for Finding {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Advice => miette::Severity::Advice,
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.errors.first() else { return f.write_str("no error") };
        match self.errors.len() {
            1 => write!(f, "the policy is refused: {first}; {}", first.help),
            n => write!(
                f,
                "the policy is refused for {n} errors; the first: {first}; {}",
                first.help
            ),
        }
    }
}

impl std::error::Error for PolicyErrors {}

impl Diagnostic for PolicyErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

impl Serialize for PolicyErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.errors.serialize(serializer)
    }
}

/// A file made fit for a terminal: a character for each character, so that columns stay true.
#[derive(Debug)]
struct Shown {
    source: miette::NamedSource<String>,
    /// Byte offset in the shown text at which each line begins.
    starts: Vec<usize>,
}

/// The files of one load, for turning spans into findings.
pub(super) struct Files<'a> {
    /// Name and lines, the policy first.
    sources: Vec<(&'a str, Vec<&'a [u8]>)>,
    shown: Vec<Arc<Shown>>,
}

impl<'a> Files<'a> {
    pub(super) fn new(sources: Vec<(&'a str, &'a [u8])>) -> Self {
        let lines = |text: &'a [u8]| text.split(|byte| *byte == b'\n').collect::<Vec<_>>();
        let sources: Vec<_> = sources.into_iter().map(|(name, text)| (name, lines(text))).collect();
        let shown = sources.iter().map(|(name, lines)| Arc::new(Shown::new(name, lines))).collect();
        Self { sources, shown }
    }

    /// Turns faults into findings, sorted by place.
    pub(super) fn findings(&self, mut faults: Vec<Fault>, severity: Severity) -> Vec<Finding> {
        faults.sort_by_key(|fault| fault.span);
        faults.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        faults.into_iter().map(|fault| self.finding(fault, severity)).collect()
    }

    fn finding(&self, fault: Fault, severity: Severity) -> Finding {
        let file = usize::from(fault.span.file);
        let mut message = fault.message;
        let mut labels = vec![self.label(fault.span, "here".to_owned())];
        let mut related = None;
        if let Some((span, label)) = fault.related.map(|related| *related) {
            related = Some(Related {
                file: self.name(span).to_owned(),
                line: span.line,
                column: self.column(span, span.start),
                message: shown(&label),
            });
            if span.file == fault.span.file {
                labels.push(self.label(span, label));
            } else {
                message = format!("{message} ({}:{}: {label})", self.name(span), span.line);
            }
        }
        Finding {
            file: self.name(fault.span).to_owned(),
            line: fault.span.line,
            column: self.column(fault.span, fault.span.start),
            end_column: self.column(fault.span, fault.span.end.max(fault.span.start)),
            severity,
            code: fault.code,
            message: shown(&message),
            help: shown(&fault.help),
            related,
            text: Arc::clone(&self.shown[file]),
            labels,
        }
    }

    fn name(&self, span: Span) -> &'a str {
        self.sources[usize::from(span.file)].0
    }

    /// The column, from 1, in characters, of the byte `offset` of the span's line.
    fn column(&self, span: Span, offset: usize) -> u32 {
        let line = self.line(span);
        let before = &line[..offset.min(line.len())];
        let past = offset.saturating_sub(line.len());
        let column = String::from_utf8_lossy(before).chars().count() + past + 1;
        u32::try_from(column).unwrap_or(u32::MAX)
    }

    fn line(&self, span: Span) -> &'a [u8] {
        let lines = &self.sources[usize::from(span.file)].1;
        lines.get(span.line.saturating_sub(1) as usize).copied().unwrap_or_default()
    }

    fn label(&self, span: Span, label: String) -> LabeledSpan {
        let shown = &self.shown[usize::from(span.file)];
        let text = shown.source.inner();
        let start = shown.starts.get(span.line.saturating_sub(1) as usize).copied().unwrap_or(0);
        let offset = |bytes: usize| {
            let chars = self.column(span, bytes).saturating_sub(1) as usize;
            let line = text[start..].split('\n').next().unwrap_or_default();
            start + line.char_indices().nth(chars).map_or(line.len(), |(at, _)| at)
        };
        let (from, to) = (offset(span.start), offset(span.end.max(span.start)));
        LabeledSpan::new(Some(label), from, to - from)
    }
}

impl Shown {
    fn new(name: &str, lines: &[&[u8]]) -> Self {
        let mut out = String::new();
        let mut starts = Vec::with_capacity(lines.len());
        for line in lines {
            starts.push(out.len());
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            out.extend(String::from_utf8_lossy(line).chars().map(visible));
            out.push('\n');
        }
        Self { source: miette::NamedSource::new(name, out), starts }
    }
}

/// A stand-in of the same width for what a terminal would obey rather than show.
fn visible(c: char) -> char {
    if (c.is_control() && c != '\t') || is_invisible(c) { '\u{fffd}' } else { c }
}

fn shown(text: &str) -> String {
    text.chars().map(visible).collect()
}
