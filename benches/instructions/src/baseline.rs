//! The counts that were accepted, and what a new one means beside them.
//!
//! A file of lines `name<TAB>value`: the compiler that the counts are of, then instructions a packet or session for each
//! scenario. Lines that begin with `#` are for readers.

use std::fmt::Write;

/// By how much a count may be above its baseline, in percent.
pub(crate) const LIMIT: f64 = 3.0;
/// The same if another compiler made the baseline: what it does differently is nobody's regression, and seldom more than this.
pub(crate) const LIMIT_OF_ANOTHER_COMPILER: f64 = 10.0;

/// The name of the line with the compiler.
const COMPILER: &str = "rustc";

/// What stands above the lines.
const HEAD: &str = "\
# Instructions a packet or session: see src/main.rs beside it. Written by
#     scripts/test --stage instructions --bless
";

/// What a count means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is near its baseline.
    Same,
    /// It is lower than the limit is wide: the baseline should follow.
    Lower,
    /// It is above the limit.
    Higher,
    /// There is no baseline for it.
    New,
}

/// The accepted counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    /// The version of the compiler.
    pub(crate) compiler: String,
    counts: Vec<(String, f64)>,
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// The line that is not as it should be.
    pub(crate) fn parse(text: &str) -> Result<Baseline, String> {
        let mut baseline = Baseline::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once('\t') {
                Some((COMPILER, version)) => baseline.compiler = version.to_owned(),
                Some((name, count)) if count.parse::<f64>().is_ok_and(|count| count > 0.0) => {
                    baseline.counts.push((name.to_owned(), count.parse().unwrap_or_default()));
                }
                _ => return Err(format!("this is no line of a baseline: {line:?}")),
            }
        }
        Ok(baseline)
    }

    /// These counts, made by this compiler.
    pub(crate) fn new(compiler: &str, counts: &[(&str, f64)]) -> Baseline {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Baseline { compiler: compiler.to_owned(), counts }
    }

    /// As a file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEAD}{COMPILER}\t{}\n", self.compiler);
        for (name, count) in &self.counts {
            // A string takes everything.
            let _ = writeln!(text, "{name}\t{count:.1}");
        }
        text
    }

    /// The accepted count of a scenario.
    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }

    /// By how many percent a count may be above, if this compiler made it.
    pub(crate) fn limit(&self, compiler: &str) -> f64 {
        if self.compiler == compiler { LIMIT } else { LIMIT_OF_ANOTHER_COMPILER }
    }

    /// What a scenario's count means, made by this compiler.
    pub(crate) fn judge(&self, name: &str, count: f64, compiler: &str) -> Verdict {
        let Some(accepted) = self.of(name) else { return Verdict::New };
        let limit = self.limit(compiler);
        match change(count, accepted) {
            change if change > limit => Verdict::Higher,
            change if change < -limit => Verdict::Lower,
            _ => Verdict::Same,
        }
    }
}

/// By how many percent a count is above the accepted one.
pub(crate) fn change(count: f64, accepted: f64) -> f64 {
    (count / accepted - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Baseline {
        Baseline::new("1.95.0", &[("hit-udp", 200.0), ("setup", 2000.0)])
    }

    #[test]
    fn a_count_more_than_three_percent_above_its_baseline_is_too_high() {
        let judge = |count| accepted().judge("hit-udp", count, "1.95.0");
        assert_eq!(LIMIT, 3.0);
        assert_eq!(judge(206.1), Verdict::Higher);
        assert_eq!([judge(205.9), judge(200.0), judge(194.1)], [Verdict::Same; 3]);
        assert_eq!(judge(193.9), Verdict::Lower);
    }

    #[test]
    fn counts_of_another_compiler_have_a_wider_limit_and_are_compared_all_the_same() {
        let judge = |count| accepted().judge("setup", count, "1.96.0");
        assert_eq!(
            (accepted().limit("1.95.0"), accepted().limit("1.96.0")),
            (LIMIT, LIMIT_OF_ANOTHER_COMPILER)
        );
        assert_eq!([judge(2190.0), judge(1810.0)], [Verdict::Same; 2]);
        assert_eq!([judge(2210.0), judge(1790.0)], [Verdict::Higher, Verdict::Lower]);
    }

    #[test]
    fn a_scenario_without_a_baseline_is_told_apart() {
        assert_eq!(accepted().judge("hit-tcp", 1.0, "1.95.0"), Verdict::New);
    }

    #[test]
    fn what_was_accepted_is_read_as_it_was_written() {
        assert_eq!(Baseline::parse(&accepted().text()).unwrap(), accepted());
        for wrong in ["hit-udp 200", "hit-udp\tmany", "hit-udp\t0", "hit-udp\t-1", "hit-udp\tNaN"] {
            let error = Baseline::parse(wrong).unwrap_err();
            assert!(error.contains("hit-udp"), "{error}");
        }
    }

    #[test]
    fn the_baseline_in_the_tree_can_be_read_and_names_its_compiler() {
        let baseline = Baseline::parse(include_str!("../baseline.tsv")).unwrap();
        assert!(baseline.compiler.starts_with("1."), "{}", baseline.compiler);
        assert!(baseline.of("hit-udp").is_some_and(|count| count > 50.0));
    }
}
