//! A strict reader of OpenMetrics text: whatever the format forbids is a failed test.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

#![allow(unreachable_pub, reason = "a module of a test")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use std::collections::{BTreeMap, HashSet};

pub type Labels = BTreeMap<String, String>;

/// What a scrape says.
pub struct Exposition {
    pub samples: Vec<(String, Labels, f64)>,
    /// Kind by the name of the family.
    pub families: BTreeMap<String, String>,
}

impl Exposition {
    /// The value of one series, whose labels are given as `name=value`.
    pub fn value(&self, name: &str, labels: &[&str]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("there is no {name} with {labels:?}"))
    }

    pub fn find(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let wanted: Labels = labels.iter().map(|label| label.split_once('=').unwrap()).map(own).collect();
        self.samples.iter().find(|(n, l, _)| n == name && *l == wanted).map(|(_, _, value)| *value)
    }

    /// All series of a metric together.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|(n, _, _)| n == name).map(|(_, _, value)| value).sum()
    }
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

pub fn parse(text: &str) -> Exposition {
    let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no EOF at the end"));
    let mut read = Exposition { samples: Vec::new(), families: BTreeMap::new() };
    let mut family = String::new();
    let mut described = HashSet::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (what, rest) = rest.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            assert!(described.insert((what.to_owned(), name.to_owned())), "said twice: {line}");
            match what {
                "HELP" => assert!(!rest.is_empty(), "{line}"),
                "TYPE" => {
                    assert!(["counter", "gauge", "info", "histogram"].contains(&rest), "{line}");
                    assert!(read.families.insert(name.to_owned(), rest.to_owned()).is_none(), "{line}");
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            name.clone_into(&mut family);
            continue;
        }
        let (name, labels, value) = sample(line);
        let kind = &read.families[&family];
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        let allowed: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line}: a {kind}");
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        let again = read.samples.iter().any(|(n, l, _)| *n == name && *l == labels);
        assert!(!again, "twice: {line}");
        read.samples.push((name, labels, value));
    }
    read.check_histograms();
    read
}

impl Exposition {
    fn check_histograms(&self) {
        for family in self.families.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut before = BTreeMap::<Labels, f64>::new();
            for (_, labels, value) in self.samples.iter().filter(|(n, ..)| *n == format!("{family}_bucket")) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").unwrap();
                let less = before.insert(labels.clone(), *value).unwrap_or(0.0);
                assert!(*value >= less, "{family} {labels:?} {bound}: buckets are cumulative");
                if bound == "+Inf" {
                    let count =
                        self.samples.iter().find(|(n, l, _)| *n == format!("{family}_count") && *l == labels);
                    assert_eq!(count.unwrap().2, *value, "{family} {labels:?}");
                }
            }
        }
    }
}

fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    let mut labels = Labels::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"").unwrap();
            assert!(!label.is_empty() && label.chars().all(good), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(more) => inside = more,
                None => {
                    rest = after.strip_prefix('}').unwrap();
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// A text up to its closing quote, and what comes behind that.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                same @ ('"' | '\\') => same,
                other => panic!("\\{other}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no end of {text}")
}

#[test]
fn the_reader_refuses_what_the_format_forbids() {
    let good = "# HELP a_seconds It.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds{b=\"x,\\\"}\"} 1.5\n# EOF\n";
    assert_eq!(parse(good).value("a_seconds", &["b=x,\"}"]), 1.5);
    for bad in [
        "# TYPE a gauge\na 1\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a counter\na_total -1\n# EOF\n",
        "# TYPE a gauge\nb 1\n# EOF\n",
        "# TYPE a gauge\na 1\na 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n# EOF\n",
        "# TYPE a gauge\na one\n# EOF\n",
        "# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_count 1\n# EOF\n",
    ] {
        assert!(std::panic::catch_unwind(|| parse(bad)).is_err(), "{bad}");
    }
}
