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

/// The edits (insert, delete, replace) between two names (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right = right.chars().collect::<Vec<_>>();
    let mut row = (0..=right.len()).collect::<Vec<_>>();
    for (line, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, r) in right.iter().enumerate() {
            let replace = diagonal + usize::from(l != *r);
            diagonal = row[column + 1];
            row[column + 1] = replace.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_another_word_does_not() {
        let keys = ["verb", "object", "objects", "readonly", "idempotent"];
        assert_eq!(nearest("verbs", &keys), Some("verb"));
        assert_eq!(nearest("objcet", &keys), Some("object"));
        assert_eq!(nearest("read_only", &keys), Some("readonly"));
        assert_eq!(nearest("audit", &keys), None);
        assert_eq!(nearest("verb", &[]), None);
    }
}
