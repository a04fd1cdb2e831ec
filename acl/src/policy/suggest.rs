//! Guesses what a mistyped word was meant to be.

/// The candidate nearest to `word`, if one is near enough to be a slip of the fingers.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = word.chars().count();
    // A third of the word, so that `alow` is `allow` but `bob` is not `eve`.
    let limit = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let substitution = above[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            row[j] = substitution.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

/// The ASCII letter, digit or mark that `c` is easily taken for, in the lower case of names
/// (a selection of UTS #39: Cyrillic, Greek, Armenian and full-width forms).
pub(super) fn look_alike(c: char) -> Option<char> {
    const PAIRS: &[(&str, char)] = &[
        ("аАɑαΑ", 'a'),
        ("ВвΒЬьƅ", 'b'),
        ("сСϲϹ", 'c'),
        ("ԁɗ", 'd'),
        ("еЕеΕҽ", 'e'),
        ("ғϝ", 'f'),
        ("ɡց", 'g'),
        ("һНΗհ", 'h'),
        ("іІιΙıɩ", 'i'),
        ("јЈϳ", 'j'),
        ("кКκΚ", 'k'),
        ("ӏⅼ", 'l'),
        ("мМΜ", 'm'),
        ("ոΝ", 'n'),
        ("оОοΟօσ", 'o'),
        ("рРρΡ", 'p'),
        ("ԛզ", 'q'),
        ("гꭇ", 'r'),
        ("ѕЅꜱ", 's'),
        ("тТτΤ", 't'),
        ("υսʋ", 'u'),
        ("ѵνѴ", 'v'),
        ("ԝѡω", 'w'),
        ("хХχΧ", 'x'),
        ("уУүγΥ", 'y'),
        ("ᴢΖ", 'z'),
        ("‐‑‒–—−", '-'),
        ("․", '.'),
    ];
    match c {
        // Full-width forms stand at a fixed distance from ASCII.
        '\u{ff01}'..='\u{ff5e}' => {
            let ascii = char::from_u32(u32::from(c) - 0xfee0)?;
            Some(ascii.to_ascii_lowercase())
        }
        _ => PAIRS.iter().find(|(alike, _)| alike.contains(c)).map(|(_, ascii)| *ascii),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        assert_eq!(nearest("dthian", ["bob", "dthain"]), Some("dthain"));
        assert_eq!(nearest("wirte", ["read", "write"]), Some("write"));
        assert_eq!(nearest("alow", ["allow", "deny"]), Some("allow"));
        assert_eq!(nearest("eve", ["bob", "alice"]), None);
    }

    #[test]
    fn look_alikes_of_three_scripts_are_known() {
        assert_eq!(look_alike('а'), Some('a'));
        assert_eq!(look_alike('ο'), Some('o'));
        assert_eq!(look_alike('\u{ff21}'), Some('a'));
        assert_eq!(look_alike('漢'), None);
    }
}
