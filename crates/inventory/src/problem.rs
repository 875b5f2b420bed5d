//! The faults of an inventory or another YAML file, and their collection.
//!
//! Here live [`InventoryError`] and [`InventoryProblem`], for callers, and [`ProblemReport`], in which readers of such
//! a file collect faults. It uses no other module. Invariants: a problem's span lies within the text, on character
//! boundaries; problems are in the order of the file, without duplicates; their texts have no control characters. Start
//! reading at [`InventoryProblem`].

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Maximum number of reported problems per file.
const MAX_PROBLEMS: usize = 1000;

/// Maximum number of comparisons with misspelled names per file.
const MAX_COMPARISONS: usize = 2_000_000;

/// An unusable inventory, with all of its faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryError {
    /// The file.
    pub path: PathBuf,
    /// Its text, which the spans of `problems` point into. Empty if the file could not be read.
    pub text: String,
    /// The problems, in the order of the file. Never empty.
    pub problems: Vec<InventoryProblem>,
}

/// One fault of an inventory, or of another file with the same reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryProblem {
    /// The invalid bytes of the text.
    pub span: Range<usize>,
    /// Line of the span's start, from 1; 0 for a problem of the whole file.
    pub line: usize,
    /// Character in the line, from 1; 0 for a problem of the whole file.
    pub column: usize,
    /// The fault, and the expected value.
    pub message: String,
    /// A short text for the caret.
    pub label: Option<String>,
    /// The fix, such as `did you mean analytics?`.
    pub help: Option<String>,
    /// A related place, with a short text.
    pub related: Option<(Range<usize>, String)>,
}

impl InventoryProblem {
    /// A problem of the whole file, such as its absence.
    pub(crate) fn of_file(message: impl Into<String>, help: Option<&str>) -> Self {
        Self {
            span: 0..0,
            line: 0,
            column: 0,
            message: message.into(),
            label: None,
            help: help.map(str::to_owned),
            related: None,
        }
    }

    /// Whether it has a place in the text, instead of concerning the whole file.
    #[must_use]
    pub const fn has_place(&self) -> bool {
        self.line > 0
    }
}

/// One line per problem: `PATH:LINE:COLUMN: MESSAGE (HELP)`.
pub fn write_lines(f: &mut fmt::Formatter<'_>, path: &Path, problems: &[InventoryProblem]) -> fmt::Result {
    for (index, problem) in problems.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        write!(f, "{}:", path.display())?;
        if problem.has_place() {
            write!(f, "{}:{}:", problem.line, problem.column)?;
        }
        write!(f, " {}", problem.message)?;
        if let Some(help) = &problem.help {
            write!(f, " ({help})")?;
        }
    }
    Ok(())
}

impl fmt::Display for InventoryError {
    /// One line per problem: `PATH:LINE:COLUMN: MESSAGE (HELP)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.path, &self.problems)
    }
}

impl std::error::Error for InventoryError {}

/// A problem without its line and column.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    span: Range<usize>,
    message: String,
    label: Option<String>,
    help: Option<String>,
    related: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    /// A problem at `span`, the bytes of the text it is about.
    #[must_use]
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, help: None, related: None }
    }

    /// Adds the words beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it, if there is anything.
    #[must_use]
    pub fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Adds a second place, with words of its own.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, words: impl Into<String>) -> Self {
        self.related = Some((span, words.into()));
        self
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct ProblemReport {
    faults: Vec<Diagnostic>,
    undescribed: usize,
    comparisons: usize,
}

impl ProblemReport {
    /// Adds a problem, unless the same one is known; past the limit it is only counted.
    pub fn add(&mut self, fault: Diagnostic) {
        // A mapping that several nodes share by an anchor is read once for each, but its faults are reported once.
        // A linear search is enough: the list is bounded.
        let is_known = (self.faults.iter()).any(|known| known.span == fault.span && known.message == fault.message);
        if is_known {
            return;
        }
        if self.faults.len() < MAX_PROBLEMS {
            self.faults.push(fault);
        } else {
            self.undescribed += 1;
        }
    }

    /// The number of faults, including undescribed ones.
    pub fn count(&self) -> usize {
        self.faults.len() + self.undescribed
    }

    /// Whether further faults are only counted, with [`Self::add_undescribed`], so that their description can be skipped.
    pub(crate) fn is_full(&self) -> bool {
        self.faults.len() >= MAX_PROBLEMS
    }

    /// Counts a fault without describing it.
    pub(crate) fn add_undescribed(&mut self) {
        self.undescribed += 1;
    }

    /// Whether the budget allows this number of comparisons with a misspelled name: a file that is wrong everywhere
    /// could otherwise compare every name with every other.
    pub fn affords(&mut self, comparisons: usize) -> bool {
        self.comparisons = self.comparisons.saturating_add(comparisons);
        self.comparisons <= MAX_COMPARISONS
    }

    /// The error with all problems.
    pub(super) fn into_error(self, path: &Path, text: &str) -> InventoryError {
        InventoryError { path: path.to_owned(), text: text.to_owned(), problems: self.into_problems(text) }
    }

    /// The problems, in the order of the text.
    pub fn into_problems(mut self, text: &str) -> Vec<InventoryProblem> {
        self.faults.sort_by_key(|fault| fault.span.start);
        if self.undescribed > 0 {
            // At the end of the text, so that it stays the last problem.
            let end = text.len();
            let message = format!("{} more problems are not shown", self.undescribed);
            self.faults.push(Diagnostic::new(end..end, message).help("fix the first ones first"));
        }
        let mut places = LineIndex { text, line: 1, line_start: 0, at: 0 };
        (self.faults.into_iter())
            .map(|fault| {
                let span = within(text, fault.span);
                let (line, column) = places.of(span.start);
                InventoryProblem {
                    span,
                    line,
                    column,
                    message: visible(fault.message),
                    label: fault.label.map(visible),
                    help: fault.help.map(visible),
                    related: fault.related.map(|(span, words)| (within(text, span), visible(words))),
                }
            })
            .collect()
    }
}

/// Line and column of rising offsets, in one pass through the text.
struct LineIndex<'t> {
    text: &'t str,
    line: usize,
    line_start: usize,
    at: usize,
}

impl LineIndex<'_> {
    fn of(&mut self, offset: usize) -> (usize, usize) {
        // The problems are sorted, so the text is walked over only once.
        for (index, _) in self.text.get(self.at..offset).unwrap_or_default().match_indices('\n') {
            self.line += 1;
            self.line_start = self.at + index + 1;
        }
        self.at = offset.max(self.at);
        let before = self.text.get(self.line_start..offset).unwrap_or_default();
        // Editors count characters, not bytes.
        (self.line, before.chars().count() + 1)
    }
}

/// Moves the span to character boundaries within the text.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Escapes control characters: a message from another module may quote the text unchanged.
fn visible(words: String) -> String {
    if !words.contains(char::is_control) {
        return words;
    }
    let mut out = String::with_capacity(words.len() + 8);
    for c in words.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Text from the file, in backquotes, cut and with its control characters escaped.
pub fn quoted(text: &str) -> String {
    const LIMIT: usize = 60;
    // Cut before escaping, so that no escape sequence is cut in two.
    let cut: String = text.chars().take(LIMIT).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", visible(cut))
}

/// The candidate most similar to `word`, if one is similar enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short. A longer text is not a misspelling, and must not cost time.
    const LONGEST: usize = 100;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    // One error for every three characters.
    let most = (word.chars().count() + 1) / 3;
    (candidates.into_iter())
        // The distance is at least the difference in length: skip the costly comparison.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= most)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        // If every character differs, nothing is similar.
        .filter(|(distance, candidate)| *distance <= most && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean analytics?`
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean {near}?"))
}

/// The first dozen names, separated by commas.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const LIMIT: usize = 12;
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(LIMIT).collect();
    let more = if names.next().is_some() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
