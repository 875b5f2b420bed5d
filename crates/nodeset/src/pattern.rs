//! A name taken apart into its text and its numbers, and put together again.
//!
//! What lives here: [`split`], which finds the pattern of a name, and [`PatternPieces`], which fills numbers
//! into a pattern. What it may use: `range`. Invariants: two names have one pattern exactly
//! when they differ only in the digits of their numbers; the number of `%s` in a pattern is the number
//! of its axes, at most [`MAX_AXES`]. Where to start reading: [`split`].
//!
//! A pattern is kept as ClusterShell writes it, `rack%s-node%s` with `%%` for a percent sign, since
//! sets are printed in the order of these texts.

use super::range::{IndexSet, PaddedNumber};
use std::{fmt, sync::Arc};

/// The most numbers of a name that are kept apart from its text; those further right are text.
pub(crate) const MAX_AXES: usize = 16;

/// Takes a name apart: its pattern is appended to `pattern`, the ordinals of its numbers to `indexes`.
/// Numbers of more than 19 digits, and those past [`MAX_AXES`] in `indexes`, are text.
pub(crate) fn split(name: &str, pattern: &mut String, indexes: &mut Vec<u64>) {
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.bytes().position(|byte| byte.is_ascii_digit()).unwrap_or(rest.len());
        push_text(&rest[..text_end], pattern);
        rest = &rest[text_end..];
        let digits_end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        // Only at the end of a name: every other text ends at a digit.
        if digits_end == 0 {
            continue;
        }
        // `None`: too many digits for a number, so they are text.
        match PaddedNumber::parse(&rest[..digits_end]) {
            Some(digits) if indexes.len() < MAX_AXES => {
                pattern.push_str("%s");
                indexes.push(digits.ordinal());
            }
            Some(_) | None => pattern.push_str(&rest[..digits_end]),
        }
        rest = &rest[digits_end..];
    }
}

/// Appends text without numbers to a pattern.
fn push_text(text: &str, pattern: &mut String) {
    // `%s` marks a number, so a percent sign is doubled. Most names have none: copy those directly.
    if text.contains('%') {
        pattern.push_str(&text.replace('%', "%%"));
    } else {
        pattern.push_str(text);
    }
}

/// A pattern ready to be filled in: one more text than there are axes.
#[derive(Clone, Debug)]
pub(crate) struct PatternPieces {
    texts: Vec<String>,
}

impl PatternPieces {
    /// Cuts a pattern at its numbers.
    pub(crate) fn of(pattern: &str) -> Self {
        let mut texts = Vec::new();
        let mut text = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            if let Some(after_axis) = after.strip_prefix('s') {
                texts.push(std::mem::take(&mut text));
                rest = after_axis;
            } else {
                text.push('%');
                // `%%`; a lone `%` does not occur, since `push_text` doubles each.
                rest = after.strip_prefix('%').unwrap_or(after);
            }
        }
        text.push_str(rest);
        texts.push(text);
        Self { texts }
    }

    /// The name with these ordinals for its numbers.
    pub(crate) fn name(&self, ordinals: impl IntoIterator<Item = u64>) -> String {
        let mut ordinals = ordinals.into_iter();
        // Room for six digits per number avoids a second allocation for most names.
        let mut name = String::with_capacity(self.texts.iter().map(|text| text.len() + 6).sum());
        for text in &self.texts {
            name.push_str(text);
            // The last text has no number behind it.
            if let Some(ordinal) = ordinals.next() {
                PaddedNumber::from_ordinal(ordinal).push_to(&mut name);
            }
        }
        name
    }

    /// Writes the names of one box: `rack[1-2]-node7`, brackets only around more than one number.
    pub(crate) fn write_folded(&self, sides: &[Arc<IndexSet>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sides = sides.iter();
        for text in &self.texts {
            f.write_str(text)?;
            match sides.next() {
                Some(side) if side.count() == 1 => write!(f, "{side}")?,
                Some(side) => write!(f, "[{side}]")?,
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_and_together() {
        let long = "n12345678901234567890";
        let many = "a1".repeat(MAX_AXES + 2);
        let table = [
            ("node", "node", 0),
            ("node1", "node%s", 1),
            ("007", "%s", 1),
            ("rack1-node02-ib0", "rack%s-node%s-ib%s", 3),
            ("10.0.0.1", "%s.%s.%s.%s", 4),
            ("a%s1%%", "a%%s%s%%%%", 1),
            ("é1ß", "é%sß", 1),
            (long, long, 0),
            (&many, &format!("{}a1a1", "a%s".repeat(MAX_AXES)), MAX_AXES),
        ];
        for (name, expected, axes) in table {
            let (mut pattern, mut indexes) = (String::new(), Vec::new());
            split(name, &mut pattern, &mut indexes);
            assert_eq!((pattern.as_str(), indexes.len()), (expected, axes), "{name}");
            assert_eq!(PatternPieces::of(&pattern).name(indexes), name);
        }
    }
}
