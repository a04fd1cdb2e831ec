//! Rules for the texts in attributes: verbs, names on the wire, times and numbers.

use syn::{LitInt, LitStr};

/// A name in a policy has at most this many characters (policy.md, `name`).
const NAME_MAX: usize = 63;

/// Whether a policy could name this verb.
pub(crate) fn verb(literal: &LitStr) -> syn::Result<()> {
    let verb = literal.value();
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let later = |c: char| first(c) || matches!(c, '.' | '_' | '-');
    if verb.starts_with(first) && verb.chars().all(later) && verb.len() <= NAME_MAX {
        return Ok(());
    }
    let message = format!(
        "`{verb}` cannot be a verb: write at most {NAME_MAX} of `a-z`, `0-9`, `.`, `_` and `-`, \
         beginning with a letter or a digit, such as `read`"
    );
    Err(syn::Error::new_spanned(literal, message))
}

/// Whether this can name a service or a method on the wire.
pub(crate) fn wire_name(literal: &LitStr) -> syn::Result<()> {
    let name = literal.value();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let later = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.starts_with(first) && name.chars().all(later) {
        return Ok(());
    }
    let message = format!("`{name}` cannot be a name on the wire: write the Rust name that it had");
    Err(syn::Error::new_spanned(literal, message))
}

/// A time such as `500ms`, in milliseconds.
pub(crate) fn milliseconds(literal: &LitStr) -> syn::Result<u64> {
    let text = literal.value();
    let error = |message: String| syn::Error::new_spanned(literal, message);
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(unit_at);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    if unit == 0 || count.is_empty() {
        let message = "is no time: write a whole number and a unit, `ms`, `s`, `m` or `h`";
        return Err(error(format!("`{text}` {message}, such as `500ms`")));
    }
    match count.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)) {
        Some(0) => {
            Err(error("a call needs some time: write at least `1ms`, or no timeout".to_owned()))
        }
        Some(milliseconds) => Ok(milliseconds),
        None => Err(error(format!("`{text}` is too long: write a shorter time, or no timeout"))),
    }
}

/// A method's number.
pub(crate) fn id(literal: &LitInt) -> syn::Result<u32> {
    literal.base10_parse().map_err(|_| {
        let message = format!("`{literal}` is no method id: write one from 0 to {}", u32::MAX);
        syn::Error::new_spanned(literal, message)
    })
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn literal(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    #[test]
    fn a_time_is_a_whole_number_and_a_unit() {
        for (text, expected) in
            [("1ms", 1), ("500ms", 500), ("2s", 2_000), ("1m", 60_000), ("3h", 10_800_000)]
        {
            assert_eq!(milliseconds(&literal(text)).ok(), Some(expected), "{text}");
        }
        let too_long = format!("{}s", u64::MAX);
        for text in
            ["", "s", "5", "-5s", "1.5s", " 1s", "1 s", "1us", "1S", "0s", "0ms", "٣s", &too_long]
        {
            assert!(milliseconds(&literal(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_verb_is_a_name_of_the_policy() {
        for text in ["read", "0", "put-notes", "a.b_c-d", &"v".repeat(63)] {
            assert!(verb(&literal(text)).is_ok(), "{text}");
        }
        for text in ["", "Read", "*", "-read", ".read", "read,write", "rèad", &"v".repeat(64)] {
            assert!(verb(&literal(text)).is_err(), "{text}");
        }
    }
}
