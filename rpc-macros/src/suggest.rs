//! "Did you mean …?", and the list of what was possible.

/// What to say of `given`, which is none of `possible`: the nearest of them, and all of them.
pub(crate) fn expected_one_of(given: &str, possible: &[&str]) -> String {
    let all = possible.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match nearest(given, possible) {
        Some(name) => format!("did you mean `{name}`? Expected one of {all}"),
        None => format!("expected one of {all}"),
    }
}

/// The name that `given` was most likely meant to be.
pub(crate) fn nearest<'a>(given: &str, possible: &[&'a str]) -> Option<&'a str> {
    let measured = possible.iter().map(|name| (distance(given, name), *name));
    let (distance, name) = measured.min_by_key(|(distance, _)| *distance)?;
    // A third of the name wrong is a typo; more is another word.
    (distance <= name.chars().count().div_ceil(3)).then_some(name)
}

/// The edits (insert, delete, replace, swap neighbours) between two names: Damerau and Levenshtein's
/// distance in its restricted form, where no part is edited twice.
fn distance(left: &str, right: &str) -> usize {
    let left = left.chars().collect::<Vec<_>>();
    let right = right.chars().collect::<Vec<_>>();
    // rows[i][j]: the edits between the first i of `left` and the first j of `right`.
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
                let swapped =
                    i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
                let swapped = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                replaced.min(swapped).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_another_word_does_not() {
        let keys = ["verb", "object", "objects", "readonly", "idempotent"];
        assert_eq!(nearest("verbs", &keys), Some("verb"));
        assert_eq!(nearest("objcet", &keys), Some("object"));
        assert_eq!(nearest("kye", &["key", "by"]), Some("key"));
        assert_eq!(nearest("read_only", &keys), Some("readonly"));
        assert_eq!(nearest("audit", &keys), None);
        assert_eq!(nearest("verb", &[]), None);
    }
}
