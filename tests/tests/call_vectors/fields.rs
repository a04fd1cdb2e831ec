//! Frames field by field, each with its name, its bytes and what they mean.

use serde::{Deserialize, Serialize};

use super::{Plain, Side};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) bytes: String,
    pub(crate) means: String,
}

/// A frame, or the content of a packet, as it is written.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    fields: Vec<Field>,
    bytes: Vec<u8>,
}

impl Fields {
    pub(crate) fn frame(kind: u8, name: &str) -> Self {
        Self::default().bytes("type", &[kind], name)
    }

    pub(crate) fn bytes(mut self, name: &str, bytes: &[u8], means: &str) -> Self {
        self.fields.push(Field {
            name: name.to_owned(),
            bytes: hex(bytes),
            means: means.to_owned(),
        });
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn number(self, name: &str, value: u64) -> Self {
        self.bytes(name, &varint(value), &value.to_string())
    }

    /// With the length in front, as a frame.
    pub(crate) fn finish(self) -> Self {
        let length = u32::try_from(self.bytes.len()).unwrap();
        let mut frame = Self::default().bytes("length", &length.to_be_bytes(), &length.to_string());
        frame.fields.extend(self.fields);
        frame.bytes.extend(self.bytes);
        frame
    }

    pub(crate) fn joined(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn list(&self) -> Vec<Field> {
        self.fields.clone()
    }

    pub(crate) fn plain(self, name: &str, from: Side) -> Plain {
        Plain { name: name.to_owned(), from, bytes: hex(&self.bytes), fields: self.fields }
    }
}

/// Unsigned LEB128.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

pub(crate) fn zigzag(value: i64) -> Vec<u8> {
    varint(((value << 1) ^ (value >> 63)).cast_unsigned())
}

/// A string or byte string: its length, then its bytes.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// FNV-1a, 32 bits.
pub(crate) fn fnv1a(name: &str) -> [u8; 4] {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    name.as_bytes().iter().fold(0x811c_9dc5, step).to_be_bytes()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}
