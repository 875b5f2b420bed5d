//! Patterns with `*` and `?`, and lists of them with negation.
//!
//! What always holds: they compare bytes, as `ssh` does, so that `?` is half a letter that takes two; matching needs
//! no more steps than the two lengths multiplied.

use crate::transport::known_hosts::wildcard;

/// A pattern, made once and matched often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigPattern {
    text: Box<str>,
    /// Without wildcards, which most are.
    plain: bool,
}

impl ConfigPattern {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into(), plain: !text.contains(['*', '?']) }
    }

    /// Whether all of the name is matched; case counts.
    pub(super) fn matches(&self, name: &str) -> bool {
        if self.plain { *self.text == *name } else { wildcard(&self.text, name) }
    }
}

/// Patterns joined by commas, some of them negated with `!`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PatternList(Vec<(bool, ConfigPattern)>);

/// A pattern of a list that is this long, in bytes, makes the list match nothing.
const LONGEST: usize = 1022;

impl PatternList {
    /// `lower` makes the patterns lower case, to be matched with what is.
    pub(super) fn new(text: &str, lower: bool) -> Self {
        let text = text.strip_suffix(',').unwrap_or(text);
        let pattern = |one: &str| {
            let (negated, one) = match one.strip_prefix('!') {
                Some(one) => (true, one),
                None => (false, one),
            };
            (negated, if lower { ConfigPattern::new(&one.to_ascii_lowercase()) } else { ConfigPattern::new(one) })
        };
        Self(if text.is_empty() { Vec::new() } else { text.split(',').map(pattern).collect() })
    }

    /// Whether one pattern matches one of the names, and no negated one does.
    pub(super) fn matches<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> bool {
        let mut positive = false;
        for (negated, pattern) in &self.0 {
            if pattern.text.len() > LONGEST {
                return false;
            }
            if names.clone().any(|name| pattern.matches(name)) {
                if *negated {
                    return false;
                }
                positive = true;
            }
        }
        positive
    }
}

/// Whether a list that is needed only once matches.
pub(super) fn list_matches(list: &str, name: &str, lower: bool) -> bool {
    PatternList::new(list, lower).matches(std::iter::once(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "abc", true),
            ("?", "", false),
            ("?", "a", true),
            ("?", "ä", false),
            ("??", "ä", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*b*b", "abab", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*?", "a", true),
            ("?*", "", false),
            ("A", "a", false),
            ("a*", "b", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(ConfigPattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
        let long = "a".repeat(5000);
        assert!(!ConfigPattern::new(&"*a".repeat(200).replace("*a*a", "*aab")).matches(&long));
    }

    #[test]
    fn lists() {
        let cases = [
            ("a,b", "b", true),
            ("a,!b", "b", false),
            ("!b,*", "b", false),
            ("!b", "a", false),
            ("*,!b", "a", true),
            ("a,", "", false),
            (",a", "", true),
            ("", "", false),
        ];
        for (list, name, expected) in cases {
            assert_eq!(list_matches(list, name, false), expected, "{list} {name}");
        }
        assert!(list_matches("A*", "abc", true));
        assert!(!PatternList::new("*,!b", false).matches(["a", "b"].into_iter()));
        let long = format!("{},*", "a".repeat(1023));
        assert!(!list_matches(&long, "b", false));
    }
}
