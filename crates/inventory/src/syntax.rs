//! Explains the errors of the YAML parser.
//!
//! Here lives [`syntax_fault`], which converts an error of the YAML library to a [`Diagnostic`]. It uses
//! [`super::problem`] and [`super::yaml`]. Invariants: the fault has the parser's place, or, if a tab is the cause, the
//! place of the tab. Start reading at [`syntax_fault`].

use std::ops::Range;

use serde_saphyr::Error;

use super::problem::{Diagnostic, quoted};
use super::yaml::{MAX_DEPTH, MAX_NODES, MAX_REPEATED, bytes};

/// The fault of a YAML error. `owner` is the kind of text, such as `an inventory`.
pub(super) fn syntax_fault(text: &str, owner: &str, error: &Error) -> Diagnostic {
    // An error inside an alias has two places; show that of the alias.
    let cause = if let Error::AliasError { error, .. } = error { error } else { error };
    let span = error.location().map_or(0..0, |location| bytes(text, &location));
    let said = without_place(&error.to_string());
    // First: the parser's own message about a tab points to something else.
    if let Some(tab) = tab_in_indentation(text, span.start) {
        return Diagnostic::new(tab, "tab in the indentation; YAML allows only spaces")
            .label("this is a tab")
            .help("indent with spaces");
    }
    if let Error::MultipleDocuments { .. } = cause {
        return Diagnostic::new(span, format!("a second YAML document begins here; {owner} must be a single document"))
            .help("remove the `---`, or put the documents together");
    }
    if let Error::RecursiveReferencesRequireWeakTypes { .. } = cause {
        return Diagnostic::new(span, "this anchor contains itself");
    }
    if let Error::UnknownAnchor { .. } = error {
        // `*` begins an alias in YAML, so this may be a glob without quotes.
        return unquoted(text, span.start, '*')
            .unwrap_or_else(|| Diagnostic::new(span, "this alias has no anchor before it"));
    }
    if let Error::UnsupportedTag { tag, .. } = cause {
        return Diagnostic::new(span, format!("unsupported YAML tag {}", quoted(tag)))
            .help("a value that begins with `!` must be quoted");
    }
    let is_limit = matches!(
        cause,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
            | Error::AliasReplayCounterOverflow { .. }
    );
    if is_limit || said.contains("recursion limit") {
        return Diagnostic::new(span, format!("too large or too deeply nested for {owner}")).help(format!(
            "the limits are {MAX_NODES} values, {MAX_REPEATED} of them repeated by anchors, and {MAX_DEPTH} levels"
        ));
    }
    // YAML reserves `@` and `` ` ``, and `%` begins a directive: no plain value may begin with them.
    if let Some(fault) = ['@', '%', '`'].into_iter().find_map(|first| unquoted(text, span.start, first)) {
        return fault;
    }
    let line = line_of(text, span.start);
    let help = if said.starts_with("unclosed quote") {
        "the quote that begins here is never closed"
    } else if said.starts_with("unclosed bracket") {
        "the bracket that begins here is never closed"
    } else if said.contains("flow mapping") || said.contains("flow sequence") {
        "inside `{ }` and `[ ]`, quote values with brackets, as in \"node[1-3]\", and separate them with commas"
    } else if said.contains("mapping values are not allowed") {
        "check the indentation of the line above; a value that contains `: ` must be quoted"
    } else if said.contains("block mapping") && line.trim_start().starts_with('[') {
        "a key that begins with `[` must be quoted"
    } else if said.contains("block mapping") || said.contains("block collection") {
        "check that this line is indented like its neighbours, and that its key is followed by `:`"
    } else {
        ""
    };
    let fault = Diagnostic::new(span, format!("this is not valid YAML: {said}"));
    if help.is_empty() { fault } else { fault.help(help) }
}

/// A value that YAML misreads because of its `first` character.
fn unquoted(text: &str, at: usize, first: char) -> Option<Diagnostic> {
    let rest = text.get(at..).filter(|rest| rest.starts_with(first))?;
    let what = match first {
        '@' => "a group",
        '*' => "a glob",
        _ => "a value",
    };
    let end = rest.find(['\n', '\r', '#', '}']).unwrap_or(rest.len());
    let word = rest.get(..end)?.trim_end();
    let message = format!("in YAML {what} that begins with `{first}` must be quoted");
    Some(Diagnostic::new(at..at + word.len(), message).help(format!("write \"{}\"", word.escape_debug())))
}

/// The error's text without the place at its end, which is shown separately.
fn without_place(said: &str) -> String {
    let said = said.lines().next().unwrap_or_default();
    let end = said.find(" at line ").unwrap_or(said.len());
    said.get(..end).unwrap_or(said).to_owned()
}

/// A tab in the indentation of the error's line, or of the line after it: the parser reports some as an unexpected end
/// of the line before.
fn tab_in_indentation(text: &str, at: usize) -> Option<Range<usize>> {
    let at = at.min(text.len());
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let mut line_start = start;
    for line in text.get(start..)?.split_inclusive('\n').take(2) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line.get(..indent).and_then(|indent| indent.find('\t')) {
            return Some(line_start + tab..line_start + tab + 1);
        }
        line_start += line.len();
    }
    None
}

fn line_of(text: &str, at: usize) -> &str {
    let at = at.min(text.len());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}
