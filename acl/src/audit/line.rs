//! The text of one record as it is written: escaped, bounded, and sealed by the hash.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::hex::push_hex;
use super::{DOMAIN, MAX_LINE};
use crate::object::is_invisible;

/// Most bytes of a text from the network in a record; the rest is cut, and `…` put in its place.
pub const MAX_FIELD: usize = 1_024;

/// The same for an argument.
pub const MAX_ARGUMENT: usize = 256;

/// Where texts end in a line, so that what follows them keeps it below [`MAX_LINE`]. Only a record of
/// nothing but controls, six bytes each, comes so far; its texts are cut there.
const TEXTS_END: usize = MAX_LINE - 4 * 1_024;

/// Most bytes that a character takes when it is escaped: two units of UTF-16.
const MAX_ESCAPED: usize = 12;

/// A line under way.
pub(super) struct Line(String);

impl Line {
    /// The first field says which version of records it is.
    pub(super) fn begin() -> Self {
        let mut text = String::with_capacity(640);
        text.push_str("{\"v\":1");
        Self(text)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Adds the hash, and ends the line.
    pub(super) fn close(mut self, prev: &[u8; 32]) -> (String, [u8; 32]) {
        let hash = chain(prev, self.as_bytes());
        self.hex("h", Some(&hash));
        self.0.push_str("}\n");
        (self.0, hash)
    }

    fn key(&mut self, key: &str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.key(key);
        self.value(text, MAX_FIELD);
    }

    /// A field of its own for each, so that no field of ours is ever mistaken for it.
    pub(super) fn argument(&mut self, name: &str, value: &str) {
        let key = format!("arg.{}", escape(name));
        // A name is never cut: it could be taken for another.
        if self.0.len().saturating_add(key.len()) > TEXTS_END {
            return;
        }
        self.key(&key);
        self.value(value, MAX_ARGUMENT);
    }

    fn value(&mut self, text: &str, most: usize) {
        self.0.push('"');
        let kept = text.floor_char_boundary(most);
        let mut is_whole = kept == text.len();
        for c in text[..kept].chars() {
            if self.0.len() + MAX_ESCAPED > TEXTS_END {
                is_whole = false;
                break;
            }
            push_character(&mut self.0, c);
        }
        if !is_whole {
            self.0.push('…');
        }
        self.0.push('"');
    }

    pub(super) fn number(&mut self, key: &str, number: Option<u64>) {
        let Some(number) = number else { return };
        self.key(key);
        let _ = write!(self.0, "{number}");
    }

    pub(super) fn truth(&mut self, key: &str) {
        self.key(key);
        self.0.push_str("true");
    }

    pub(super) fn hex(&mut self, key: &str, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        self.key(key);
        self.0.push('"');
        push_hex(&mut self.0, bytes);
        self.0.push('"');
    }
}

/// The hash of a record: over its bytes and, through `prev`, over all before it.
pub(super) fn chain(prev: &[u8; 32], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(prev);
    hash.update(body);
    hash.finalize().into()
}

/// `text` as it may stand in a JSON string, or be shown on a terminal: quotes and backslashes
/// escaped, and controls, DEL, C1 controls and invisible marks as `\uXXXX`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        push_character(out, c);
    }
}

fn push_character(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        c if c.is_control() || is_invisible(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        c => out.push(c),
    }
}
