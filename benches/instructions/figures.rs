//! Recorded counts, and what a comparison with them says.
//!
//! Pure, so that the guard itself is tested. Start at [`Figures::compare`].

use std::collections::BTreeMap;
use std::fmt;

/// A case may take so many percent more than its figure before the guard fails.
pub const LIMIT_PERCENT: u64 = 5;

/// The compiler that built this program, with the target.
pub const COMPILER: &str = env!("CTL_COMPILER");

/// Counts of instructions, and the compiler that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The compiler, as [`COMPILER`] names it.
    pub compiler: String,
    /// Instructions of each case.
    pub counts: BTreeMap<String, u64>,
}

impl Figures {
    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// The line that is not a figure, or that the compiler is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut compiler = None;
        let mut counts = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("compiler: ") {
                compiler = Some(name.to_owned());
                continue;
            }
            let figure = line.split_once(char::is_whitespace);
            let figure = figure.and_then(|(case, count)| Some((case, count.trim().parse().ok()?)));
            let (case, count) = figure.ok_or_else(|| format!("line {number} is not a figure: {line}"))?;
            counts.insert(case.to_owned(), count);
        }
        Ok(Self { compiler: compiler.ok_or("no line names the compiler")?, counts })
    }

    /// Compares new counts with these figures.
    #[must_use]
    pub fn compare(&self, now: &Self) -> Comparison {
        let cases: std::collections::BTreeSet<&String> = self.counts.keys().chain(now.counts.keys()).collect();
        let change = |case: &&String| CaseChange {
            case: (*case).clone(),
            recorded: self.counts.get(*case).copied(),
            now: now.counts.get(*case).copied(),
        };
        Comparison { is_same_compiler: self.compiler == now.compiler, changes: cases.iter().map(change).collect() }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions of each case, counted by callgrind. Written by")?;
        writeln!(f, "#     cargo bench -p ctl-instructions -- --record")?;
        writeln!(f, "compiler: {}", self.compiler)?;
        for (case, count) in &self.counts {
            writeln!(f, "{case:24} {count:>12}")?;
        }
        Ok(())
    }
}

/// One case, then and now. A case that only one side has is a mistake in the figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseChange {
    /// Its name.
    pub case: String,
    /// Its figure.
    pub recorded: Option<u64>,
    /// What it takes now.
    pub now: Option<u64>,
}

/// The verdict on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseVerdict {
    /// Within the limit.
    Same,
    /// It takes more than the limit allows.
    Slower,
    /// It takes so much less that a later loss would stay below the limit.
    Faster,
    /// It has no figure, or a figure has no case.
    Unmatched,
}

impl CaseChange {
    /// The verdict on it.
    #[must_use]
    pub fn verdict(&self) -> CaseVerdict {
        let (Some(recorded), Some(now)) = (self.recorded, self.now) else { return CaseVerdict::Unmatched };
        if now * 100 > recorded * (100 + LIMIT_PERCENT) {
            CaseVerdict::Slower
        } else if now * 100 < recorded * (100 - LIMIT_PERCENT) {
            CaseVerdict::Faster
        } else {
            CaseVerdict::Same
        }
    }
}

impl fmt::Display for CaseChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        write!(f, "{:24} {:>12} {:>12}", self.case, number(self.recorded), number(self.now))?;
        if let (Some(recorded), Some(now)) = (self.recorded, self.now) {
            // In tenths of a percent, and without floating point: counts are exact.
            let tenths = (i128::from(now) - i128::from(recorded)) * 1000 / i128::from(recorded.max(1));
            let sign = if tenths < 0 { '-' } else { '+' };
            let change = format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10);
            write!(f, " {change:>8} %")?;
        }
        match self.verdict() {
            CaseVerdict::Same => Ok(()),
            CaseVerdict::Slower => write!(f, "  SLOWER"),
            CaseVerdict::Faster => write!(f, "  faster"),
            CaseVerdict::Unmatched => write!(f, "  NO FIGURE OR NO CASE"),
        }
    }
}

/// All cases, then and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Whether the figures belong to the compiler of today.
    pub is_same_compiler: bool,
    /// The cases, by name.
    pub changes: Vec<CaseChange>,
}

impl Comparison {
    /// The cases of this verdict.
    pub fn of(&self, verdict: CaseVerdict) -> impl Iterator<Item = &CaseChange> {
        self.changes.iter().filter(move |change| change.verdict() == verdict)
    }

    /// Whether the guard fails. With another compiler only a case without a figure counts: a new release changes many
    /// counts, and none of them says anything about this code.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.of(CaseVerdict::Unmatched).next().is_some()
            || (self.is_same_compiler && self.of(CaseVerdict::Slower).next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(compiler: &str, counts: &[(&str, u64)]) -> Figures {
        let counts = counts.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect();
        Figures { compiler: compiler.to_owned(), counts }
    }

    #[test]
    fn figures_are_read_as_written() {
        let written = figures("rustc 1.95.0, x86_64-unknown-linux-gnu", &[("a", 12), ("a_longer_name", 3_000_000_000)]);
        assert_eq!(Figures::parse(&written.to_string()), Ok(written));
        assert_eq!(Figures::parse("compiler: c\na 1x"), Err("line 2 is not a figure: a 1x".to_owned()));
        assert!(Figures::parse("a 1").is_err(), "figures of no compiler");
    }

    #[test]
    fn the_recorded_figures_can_be_read() {
        Figures::parse(include_str!("figures.txt")).expect("figures");
    }

    #[test]
    fn more_than_five_percent_fails() {
        let recorded = figures("c", &[("a", 1000)]);
        let verdict = |count| recorded.compare(&figures("c", &[("a", count)])).changes[0].verdict();
        assert_eq!([1000, 1050, 950].map(verdict), [CaseVerdict::Same; 3]);
        assert_eq!((verdict(1051), verdict(949)), (CaseVerdict::Slower, CaseVerdict::Faster));
        assert!(recorded.compare(&figures("c", &[("a", 1051)])).fails());
        assert!(!recorded.compare(&figures("c", &[("a", 10)])).fails());
        let line = recorded.compare(&figures("c", &[("a", 1051)])).changes[0].to_string();
        assert!(line.ends_with("+5.1 %  SLOWER"), "{line}");
    }

    #[test]
    fn a_case_without_a_figure_fails_and_so_does_a_figure_without_a_case() {
        let (one, two) = (figures("c", &[("a", 1)]), figures("c", &[("a", 1), ("b", 1)]));
        assert!(one.compare(&two).fails() && two.compare(&one).fails());
    }

    #[test]
    fn another_compiler_is_not_judged() {
        let comparison = figures("c", &[("a", 1000)]).compare(&figures("d", &[("a", 2000)]));
        assert!(!comparison.is_same_compiler && !comparison.fails());
    }
}
