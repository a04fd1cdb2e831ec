//! A table of the file, read key by key: what is wrong is noted with its place, and what nobody asked
//! for is wrong too.

use std::{
    cell::RefCell,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use toml::de::{DeTable, DeValue};
use tracing::level_filters::LevelFilter;

use crate::endpoint::Endpoint;
use bailiwick_crypto::PublicKey;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// A table of a configuration file. Each setting is asked for once; a key that nobody asks for, a value
/// of another type, and one that does not parse refuse the file, all of them in one run.
#[derive(Debug)]
pub struct Section<'f> {
    /// What it is called in the file; empty for the file itself.
    name: String,
    /// Where it stands.
    span: Range<usize>,
    table: Option<&'f DeTable<'f>>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    faults: &'f RefCell<Vec<Fault>>,
    /// What relative paths are relative to.
    folder: &'f Path,
}

/// A type that a value of the file may have.
pub trait Setting: Sized {
    /// What to write, with an example.
    const EXPECTED: &'static str;

    /// Reads a value; `folder` is what relative paths are relative to.
    ///
    /// # Errors
    ///
    /// [`Unfit`].
    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Unfit>;
}

/// Why a value is not what it should be.
#[derive(Debug)]
pub enum Unfit {
    /// It is of another type.
    Type,
    /// What is wrong with it.
    Value(String),
}

/// A value of the file.
#[derive(Debug)]
pub struct Value<'f>(&'f DeValue<'f>);

impl<'f> Section<'f> {
    pub(super) fn root(
        table: &'f DeTable<'f>,
        faults: &'f RefCell<Vec<Fault>>,
        folder: &'f Path,
    ) -> Self {
        let (name, known) = (String::new(), Vec::new());
        Self { name, span: 0..0, table: Some(table), known, faults, folder }
    }

    /// The table `key` within this one; an empty one if it is not there.
    pub fn section(&mut self, key: &'static str) -> Section<'f> {
        self.known.push(key);
        let found = self.find(key);
        let table = found.as_ref().and_then(|(value, _)| value.as_table());
        if let (Some((_, span)), None) = (&found, table) {
            self.fault(span.clone(), format!("`{key}` is a table"), format!("write `[{key}]`"));
        }
        let span = found.map_or_else(|| self.span.clone(), |(_, span)| span);
        let name = if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) };
        Section { name, span, table, known: Vec::new(), ..*self }
    }

    /// Whether the file has this table.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.table.is_some()
    }

    /// Sets `target` if the file has `key`.
    pub fn set<T: Setting>(&mut self, key: &'static str, target: &mut T) {
        if let Some(value) = self.get(key) {
            *target = value;
        }
    }

    /// The value under `key`; `None` if it is not there, or is wrong, which is noted.
    pub fn get<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        let (value, span) = self.find(key)?;
        match T::read(&Value(value), self.folder) {
            Ok(value) => Some(value),
            Err(unfit) => {
                self.unfit::<T>(key, value, span, unfit);
                None
            }
        }
    }

    /// As [`get`](Self::get), for what no server can do without.
    pub fn require<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        if self.find(key).is_none() {
            self.known.push(key);
            let place = if self.name.is_empty() {
                format!("add `{key} = …`")
            } else {
                format!("add `{key} = …` below `[{}]`", self.name)
            };
            let span = self.span.clone();
            self.fault(span, format!("`{key}` is missing"), format!("{place}: {}", T::EXPECTED));
            return None;
        }
        self.get(key)
    }

    /// All keys with their values, for a table whose keys are names.
    pub fn entries<T: Setting>(&mut self) -> Vec<(String, T)> {
        let mut all = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            match T::read(&Value(value.get_ref()), self.folder) {
                Ok(value) => all.push((key.get_ref().to_string(), value)),
                Err(unfit) => {
                    self.unfit::<T>(key.get_ref(), value.get_ref(), value.span(), unfit);
                }
            }
        }
        self.table = None;
        all
    }

    /// Notes that the value under `key` is refused by what it is for.
    pub fn refuse(&mut self, key: &str, message: String, help: String) {
        let span = self.find(key).map_or_else(|| self.span.clone(), |(_, span)| span);
        self.fault(span, message, help);
    }

    /// Notes every key that nobody has asked for.
    pub fn finish(self) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let near = bailiwick_acl::policy::nearest(name, self.known.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.fault(key.span(), format!("unknown key `{name}`"), help);
        }
    }

    fn find(&self, key: &str) -> Option<(&'f DeValue<'f>, Range<usize>)> {
        self.table?.get(key).map(|value| (value.get_ref(), value.span()))
    }

    fn unfit<T: Setting>(&self, key: &str, value: &DeValue<'_>, span: Range<usize>, unfit: Unfit) {
        let why = match unfit {
            Unfit::Type => format!("it is a value of type {}", value.type_str()),
            Unfit::Value(why) => why,
        };
        let message = format!("`{key}` cannot be this: {why}");
        self.fault(span, message, format!("write {}", T::EXPECTED));
    }

    fn fault(&self, span: Range<usize>, message: String, help: String) {
        self.faults.borrow_mut().push(Fault { span, message, help });
    }
}

impl Value<'_> {
    /// The text, if it is one.
    ///
    /// # Errors
    ///
    /// [`Unfit::Type`] if it is something else.
    pub fn text(&self) -> Result<&str, Unfit> {
        self.0.as_str().ok_or(Unfit::Type)
    }

    fn parse<T: FromStr<Err: ToString>>(&self) -> Result<T, Unfit> {
        self.text()?.parse().map_err(|error: T::Err| Unfit::Value(error.to_string()))
    }

    fn integer<T: TryFrom<i64>>(&self) -> Result<T, Unfit> {
        let integer = self.0.as_integer().ok_or(Unfit::Type)?;
        let digits = i64::from_str_radix(integer.as_str(), integer.radix());
        let number = digits.ok().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| Unfit::Value(format!("{} is out of range", integer.as_str())))
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "a text in quotes";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.text().map(str::to_owned)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str =
        "a path in quotes; a relative one begins at the folder of this file";

    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Unfit> {
        match value.text()? {
            "" => Err(Unfit::Value("it is empty".to_owned())),
            path => Ok(folder.join(path)),
        }
    }
}

impl Setting for Endpoint {
    const EXPECTED: &'static str = "an endpoint in quotes, such as \"tcp://127.0.0.1:7400\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.parse()
    }
}

impl Setting for PublicKey {
    const EXPECTED: &'static str = "a public key in quotes: \"ed25519:<64 hex digits>\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.parse()
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an address in quotes, such as \"127.0.0.1:9464\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        let text = value.text()?;
        text.parse().map_err(|_| Unfit::Value(format!("`{text}` is no address")))
    }
}

impl Setting for LevelFilter {
    const EXPECTED: &'static str = "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        let text = value.text()?;
        // An empty text and numbers are levels too where they are parsed, and say less.
        let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
        let level = text.parse().ok().filter(|_| known);
        level.ok_or_else(|| Unfit::Value(format!("`{text}` is none of them")))
    }
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number, such as 1_024";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.integer()
    }
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number, such as 1_024";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.integer()
    }
}

impl Setting for usize {
    const EXPECTED: &'static str = "a whole number, such as 1_024";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.integer()
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false, without quotes";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        value.0.as_bool().ok_or(Unfit::Type)
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a time in quotes, such as \"30s\", \"500ms\" or \"1h\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        let time: SignedDuration = value.parse()?;
        Self::try_from(time).map_err(|_| Unfit::Value("it is negative".to_owned()))
    }
}

impl Setting for SystemTime {
    const EXPECTED: &'static str = "a date and a time with its zone: 2026-12-31T18:00:00Z";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        let date = value.0.as_datetime().ok_or(Unfit::Type)?.to_string();
        let time: Timestamp =
            date.parse().map_err(|_| Unfit::Value(format!("{date} names no moment")))?;
        Ok(time.into())
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Unfit> {
        let array = value.0.as_array().ok_or(Unfit::Type)?;
        array.iter().map(|value| T::read(&Value(value.get_ref()), folder)).collect()
    }
}
