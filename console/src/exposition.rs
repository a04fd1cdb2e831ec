//! The text format of Prometheus, as far as counters and histograms need it.

use std::collections::BTreeMap;

/// One line: a value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample<'p> {
    pub(crate) name: &'p str,
    pub(crate) labels: BTreeMap<&'p str, String>,
    pub(crate) value: f64,
}

/// The samples of a page; what is not understood is left out.
pub(crate) fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A time may follow.
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value }).filter(|sample| sample.value.is_finite())
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = text(quoted)?;
        labels.insert(name, value);
        rest = after;
    }
}

/// A value up to its closing quote, and what follows it.
fn text(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_its_labels_and_a_value() {
        let page = "# HELP a b\n\
                    a 1\n\
                    b{} 2 1700000000\n\
                    c{x=\"1\",y=\"a\\\"b\\\\c,}\\n\"} 3.5e2\n";
        let samples: Vec<_> = samples(page).collect();
        assert_eq!(samples[0], Sample { name: "a", labels: BTreeMap::new(), value: 1.0 });
        assert_eq!((samples[1].name, samples[1].value), ("b", 2.0));
        assert_eq!(samples[2].labels["y"], "a\"b\\c,}\n");
        assert!((samples[2].value - 350.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_a_sample_is_left_out() {
        let page = "a\nb NaN\nc{x=\"1\nd{x} 1\ne{x=\"1\"}\nf{x=\"\\\n\u{0}\n{ 1\nok 1";
        let names: Vec<_> = samples(page).map(|sample| sample.name).collect();
        assert_eq!(names, ["ok"]);
    }
}
