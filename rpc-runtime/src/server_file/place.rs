//! Where something stands in the file.

use std::ops::Range;

use miette::{LabeledSpan, NamedSource};
use toml::de::{DeTable, DeValue};

use super::error::SettingError;

/// The file as it was read.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
}

impl Text {
    /// The error that `message` tells of what stands at `span`.
    pub(super) fn error(&self, span: Range<usize>, message: String, help: String) -> SettingError {
        let start = self.text.floor_char_boundary(span.start);
        let before = &self.text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        SettingError {
            place: format!("{}:{line}:{column}", self.name),
            message,
            help,
            label: LabeledSpan::new(Some("here".to_owned()), start, span.len()),
            source: NamedSource::new(&self.name, self.text.clone()),
        }
    }

    /// Where the value is to which `keys` lead; the file's beginning if it is not there.
    pub(super) fn span_of(&self, keys: &[&str]) -> Range<usize> {
        let (table, _) = DeTable::parse_recoverable(&self.text);
        let mut at = (None, Some(table.get_ref()));
        for key in keys {
            let value = at.1.and_then(|table| table.get(*key));
            at = (
                value.map(toml::Spanned::span),
                value.and_then(|it| DeValue::as_table(it.get_ref())),
            );
        }
        at.0.unwrap_or(0..0)
    }
}
