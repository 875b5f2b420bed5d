//! The errors of an expression.
//!
//! What lives here: [`ParseError`]. What it may use: nothing of ours. Invariants: the span lies
//! within the text that was read, on character boundaries. Where to start reading: [`ParseError`].

use std::ops::Range;

/// An expression that means nothing here: where, why, and often what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    span: Range<usize>,
    message: String,
    hint: Option<Box<str>>,
    unknown_group: Option<Box<str>>,
    needs_inventory: bool,
}

impl ParseError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None, unknown_group: None, needs_inventory: false }
    }

    pub(crate) fn for_unknown_group(span: Range<usize>, name: &str) -> Self {
        Self { unknown_group: Some(name.into()), ..Self::new(span, format!("unknown group `@{name}`")) }
    }

    pub(crate) fn for_missing_inventory(span: Range<usize>, message: String) -> Self {
        Self { needs_inventory: true, ..Self::new(span, message) }
    }

    /// The same error with another hint; for callers who know more than the parser.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into().into()), ..self }
    }

    /// The bytes of the text that are at fault.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The problem: lower case, no full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead, when there is something to say.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The group (without `@`) that the resolver does not know, if that is the problem.
    pub fn unknown_group(&self) -> Option<&str> {
        self.unknown_group.as_deref()
    }

    /// Whether the expression has a group or glob, and was read without a resolver.
    pub fn needs_inventory(&self) -> bool {
        self.needs_inventory
    }
}
