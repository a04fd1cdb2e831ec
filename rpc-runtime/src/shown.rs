//! What the audit log shows of a call's arguments: nothing, but for those that the trait marks.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::object::ObjectSegment;

/// Bytes of a mark that are written: enough that two values never share one by chance.
const MARK: usize = 16;

/// A type whose values the audit log can show: `#[audit(show)]` or `#[audit(hmac)]` on an argument.
///
/// All that can name an object can: strings, integers, `char` and `bool`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shown in the audit log",
    label = "this argument is marked `#[audit(…)]`",
    note = "strings, integers and `bool` can; implement `bailiwick::service::ObjectSegment` for your own types"
)]
pub trait ShownText {
    /// Appends the text that is shown, or marked.
    fn write_shown(&self, text: &mut String);
}

impl<T: ObjectSegment + ?Sized> ShownText for T {
    fn write_shown(&self, text: &mut String) {
        self.write(text);
    }
}

/// Makes marks of values, HMAC-SHA-256, which show that two are equal and not what they are.
/// Without the key nobody can try values out.
pub(crate) struct RedactionKey(Zeroizing<[u8; 32]>);

impl RedactionKey {
    pub(crate) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// A key that nobody keeps.
    #[cfg(feature = "net")]
    pub(crate) fn random() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), &mut *key);
        Self(key)
    }

    /// `hmac:` and 32 hex digits.
    pub(crate) fn mark(&self, value: &str) -> String {
        use fmt::Write as _;
        let mut hmac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes any key");
        hmac.update(value.as_bytes());
        let mut mark = "hmac:".to_owned();
        for byte in hmac.finalize().into_bytes().iter().take(MARK) {
            let _ = write!(mark, "{byte:02x}"); // a string takes all
        }
        mark
    }
}

impl fmt::Debug for RedactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedactionKey")
    }
}

/// What is shown of one call's arguments; filled by generated code.
#[derive(Debug)]
pub struct ShownArguments<'a> {
    key: &'a RedactionKey,
    texts: Vec<(&'static str, String)>,
}

impl<'a> ShownArguments<'a> {
    pub(crate) fn new(key: &'a RedactionKey) -> Self {
        Self { key, texts: Vec::new() }
    }

    /// Shows the value itself.
    pub fn value<T: ShownText + ?Sized>(&mut self, name: &'static str, value: &T) -> &mut Self {
        let mut text = String::new();
        value.write_shown(&mut text);
        self.texts.push((name, text));
        self
    }

    /// Shows a mark by which equal values are known.
    pub fn hmac<T: ShownText + ?Sized>(&mut self, name: &'static str, value: &T) -> &mut Self {
        let mut text = Zeroizing::new(String::new());
        value.write_shown(&mut text);
        self.texts.push((name, self.key.mark(&text)));
        self
    }

    /// Name and text of each; without an allocation if there are none.
    pub(crate) fn texts(&self) -> Vec<(&str, &str)> {
        self.texts.iter().map(|(name, text)| (*name, text.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_marks_under_one_key_and_none_shows_its_value() {
        let key = RedactionKey::new(Zeroizing::new([7; 32]));
        let other = RedactionKey::new(Zeroizing::new([8; 32]));
        let mut shown = ShownArguments::new(&key);
        shown.hmac("pin", "1234").hmac("again", &1234).value("note", "hello");
        let texts = shown.texts();
        assert_eq!(texts[0].1, texts[1].1);
        assert_eq!(texts[2], ("note", "hello"));
        assert!(!texts[0].1.contains("1234"));
        assert_eq!(texts[0].1.len(), "hmac:".len() + 2 * MARK);
        assert_ne!(key.mark("1234"), key.mark("1235"));
        assert_ne!(key.mark("1234"), other.mark("1234"));
    }

    /// RFC 4231, test case 2, cut to 16 bytes; its key is padded with zeros as HMAC pads it.
    #[test]
    fn a_mark_is_hmac_sha_256() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mark = RedactionKey::new(Zeroizing::new(key)).mark("what do ya want for nothing?");
        assert_eq!(mark, "hmac:5bdcc146bf60754e6a042426089575c7");
    }
}
