//! A strict reader of OpenMetrics 1.0 text: what a lenient one would overlook fails the test.

use std::collections::{BTreeMap, BTreeSet};

use super::Kernel;

/// What `GET /metrics` says, found to be well formed.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) text: String,
    /// By name and labels, these in the order of their names, unescaped.
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

impl Exposition {
    pub(crate) async fn of(kernel: &Kernel) -> Exposition {
        let answer = kernel.host("GET", "/metrics").send().await;
        Exposition::read(answer.expect_status(200).text())
    }

    fn read(text: &str) -> Exposition {
        let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
        let (mut families, mut samples) = (BTreeSet::new(), BTreeMap::new());
        let (mut family, mut kind) = ("", "");
        // Only \n ends a line.
        for line in body.strip_suffix('\n').unwrap_or(body).split('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect(line);
                expect_name(name);
                assert!(families.insert(name), "{name} comes twice");
                unescape(help);
                (family, kind) = (name, "");
            } else if let Some(given) = line.strip_prefix("# TYPE ") {
                let (name, given) = given.split_once(' ').expect(line);
                assert!(name == family && kind.is_empty(), "{line} out of turn");
                assert!(["counter", "gauge", "histogram"].contains(&given), "{line}");
                kind = given;
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').expect(line);
                assert!(
                    name == family && name.ends_with(&format!("_{unit}")),
                    "{line}"
                );
            } else {
                let (name, labels, value) = sample(line);
                let suffixes: &[&str] = match kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    _ => panic!("{line} without a TYPE"),
                };
                let suffix = name.strip_prefix(family).expect(line);
                assert!(suffixes.contains(&suffix), "{line} in a {kind}");
                assert_eq!(suffix == "_bucket", labels.contains_key("le"), "{line}");
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                let before = samples.insert((name.to_owned(), labels), value);
                assert!(before.is_none(), "{line} comes twice");
            }
        }
        let all = Exposition {
            text: text.to_owned(),
            samples,
        };
        all.expect_buckets();
        all
    }

    /// The value of the sample with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// How many samples are called so.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.samples
            .keys()
            .filter(|(found, _)| found == name)
            .count()
    }

    /// Buckets do not fall, and the last is the count.
    fn expect_buckets(&self) {
        let mut last: BTreeMap<(&str, Labels), (f64, f64)> = BTreeMap::new();
        let buckets = self.samples.iter().filter_map(|((name, labels), value)| {
            let family = name.strip_suffix("_bucket")?;
            let mut labels = labels.clone();
            let le: f64 = labels.remove("le")?.parse().expect("le is a number");
            Some((family, labels, le, *value))
        });
        let mut buckets: Vec<_> = buckets.collect();
        buckets.sort_by(|a, b| a.2.total_cmp(&b.2));
        for (family, labels, le, value) in buckets {
            let before = last.insert((family, labels), (le, value));
            assert!(before.is_none_or(|(_, before)| before <= value), "{family}");
        }
        for ((family, labels), (le, value)) in last {
            assert!(le.is_infinite(), "{family} {labels:?} has no +Inf");
            let count = self.samples.get(&(format!("{family}_count"), labels));
            assert_eq!(count, Some(&value), "{family}");
        }
    }
}

fn sample(line: &str) -> (&str, Labels, f64) {
    let (name, rest) = line.split_at(line.find(['{', ' ']).expect(line));
    expect_name(name);
    let mut labels = Labels::new();
    let mut rest = rest;
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect(line);
            expect_name(label);
            let end = end_of_string(after).expect(line);
            let before = labels.insert(label.to_owned(), unescape(&after[..end]));
            assert!(before.is_none(), "{line}: {label} twice");
            rest = &after[end + 1..];
            match rest.split_at(1) {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                _ => panic!("{line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    (name, labels, value.parse().expect(line))
}

/// Where the quote is that is not escaped.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(c @ ('"' | '\\')) => c,
                other => panic!("{text:?}: escapes {other:?}"),
            },
            '"' => panic!("{text:?}: a bare quote"),
            c => {
                assert!(!c.is_control(), "{text:?}");
                c
            }
        });
    }
    plain
}

fn expect_name(name: &str) {
    let well = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    assert!(
        !name.is_empty() && !digit && name.chars().all(well),
        "{name:?}"
    );
}
