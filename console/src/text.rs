//! Texts from peers and files, made fit for people: nothing hidden, nothing that reorders a line.

use std::fmt;
use std::time::SystemTime;

use bailiwick_acl::object::is_invisible;
use jiff::Timestamp;

/// The text with controls and invisible marks as `\u{202e}`, for a template to escape as HTML.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A number with its thousands set apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// How long ago something was: `8 s`, `12 min`, `3 h`, `5 d`.
pub(crate) fn age(then: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The age of a time as records write it; `None` if it cannot be read.
pub(crate) fn age_of(ts: &str, now: SystemTime) -> Option<String> {
    let then: Timestamp = ts.parse().ok()?;
    Some(age(SystemTime::from(then), now))
}

/// A time as records write it, without the day if it is that of `now`, in milliseconds.
pub(crate) fn clock(ts: &str, now: SystemTime) -> String {
    let today = Timestamp::try_from(now).map(|now| format!("{now:.0}")).unwrap_or_default();
    let text = visible(ts);
    let (day, time) = text.split_once('T').unwrap_or(("", &text));
    let time: String = time.trim_end_matches('Z').chars().take(12).collect();
    if day.is_empty() || today.starts_with(day) { time } else { format!("{day} {time}") }
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_hidden() {
        assert_eq!(visible("a\u{202e}b\u{1b}[31m\0é<"), "a\\u{202e}b\\u{1b}[31m\\u{0}é<");
    }

    #[test]
    fn numbers_and_times_are_legible() {
        let numbers: Vec<_> = [0, 999, 1_000, 1_234_567].map(|n| Number(n).to_string()).into();
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        let now = SystemTime::from("2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(clock("2026-11-22T11:59:58.123456Z", now), "11:59:58.123");
        assert_eq!(clock("2026-11-21T11:59:58.123456Z", now), "2026-11-21 11:59:58.123");
        assert_eq!(age_of("2026-11-22T11:59:52Z", now).as_deref(), Some("8 s"));
        assert_eq!(age_of("2026-11-20T11:59:52Z", now).as_deref(), Some("2 d"));
        assert_eq!(age_of("soon", now), None);
        assert_eq!(duration(0.000_25), "250 µs");
        assert_eq!(duration(0.0042), "4.2 ms");
    }
}
