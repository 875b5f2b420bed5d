//! Patterns with `*` and `?`, and lists of them with negation.
//!
//! Invariants: they compare bytes, as `ssh` does, so that `?` is half a letter that takes two; matching needs
//! no more steps than the two lengths multiplied.

/// A pattern, made once and matched often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigPattern {
    text: Box<str>,
    /// Without wildcards, which most are.
    plain: bool,
}

impl ConfigPattern {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.into(), plain: !text.contains(['*', '?']) }
    }

    /// The only name that it matches, if it has no wildcards.
    pub(crate) fn name(&self) -> Option<&str> {
        self.plain.then_some(&*self.text)
    }

    /// Whether all of the name is matched; case counts.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if self.plain { *self.text == *name } else { match_pattern(&self.text, name) }
    }
}

/// Whether `text` matches a pattern in which `*` stands for any text and `?` for any one byte
/// (`match.c`, `match_pattern`). Never takes longer than the product of both lengths.
fn match_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                // The star takes nothing at first; the fallback below lets it take one byte more each time.
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // Only the last star is retried: a longer match of an earlier one finds nothing that this one cannot.
                // This is the bound on the number of steps.
                Some((at, taken)) => {
                    p = at + 1;
                    t = taken + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    // The text is used up, so only stars may be left over: they match nothing as well.
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// Patterns joined by commas, some of them negated with `!`, as known_hosts has them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternList(Vec<(bool, ConfigPattern)>);

/// A list with a longer pattern, in bytes, matches nothing (`match.c`, `match_pattern_list`).
pub const MAX_PATTERN_LENGTH: usize = 1022;

impl PatternList {
    /// Reads a list whose names are matched as they stand: case counts.
    pub(crate) fn new(text: &str) -> Self {
        // match_pattern_list (match.c) skips a comma after the last pattern, but takes two in a row for an empty one.
        let text = text.strip_suffix(',').unwrap_or(text);
        let pattern = |one: &str| {
            let (negated, one) = match one.strip_prefix('!') {
                Some(one) => (true, one),
                None => (false, one),
            };
            (negated, ConfigPattern::new(one))
        };
        Self(if text.is_empty() { Vec::new() } else { text.split(',').map(pattern).collect() })
    }

    /// Reads a list in lower case, to be matched with names in lower case.
    pub fn lowercase(text: &str) -> Self {
        Self::new(&text.to_ascii_lowercase())
    }

    /// Whether one pattern matches one of the names, and no negated one does.
    pub fn matches<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> bool {
        let mut positive = false;
        for (negated, pattern) in &self.0 {
            if pattern.text.len() > MAX_PATTERN_LENGTH {
                return false;
            }
            if names.clone().any(|name| pattern.matches(name)) {
                // The answer is final, whatever the other patterns say.
                if *negated {
                    return false;
                }
                // A later pattern may still be negated, so the search does not end here.
                positive = true;
            }
        }
        positive
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use proptest::prelude::*;

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
            ("a?", "a", false),
            ("a*b?c", "axxbyc", true),
            ("a*b?c", "axxbyb", false),
            ("*a*a*a", "aaaa", true),
            ("*.dc1", ".dc1", true),
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
            assert_eq!(match_pattern(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!match_pattern(&"*a".repeat(500), &"b".repeat(100_000)));
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
            assert_eq!(PatternList::new(list).matches(iter::once(name)), expected, "{list} {name}");
        }
        assert!(PatternList::lowercase("A*").matches(iter::once("abc")));
        assert!(!PatternList::new("A*").matches(iter::once("abc")));
        assert!(!PatternList::new("*,!b").matches(["a", "b"].into_iter()));
        let long = format!("{},*", "a".repeat(1023));
        assert!(!PatternList::new(&long).matches(iter::once("b")));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_a_plain_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            fn plain(p: &[u8], t: &[u8]) -> bool {
                match p.split_first() {
                    None => t.is_empty(),
                    Some((b'*', rest)) => (0..=t.len()).any(|n| plain(rest, &t[n..])),
                    Some((b'?', rest)) => !t.is_empty() && plain(rest, &t[1..]),
                    Some((c, rest)) => t.first() == Some(c) && plain(rest, &t[1..]),
                }
            }
            prop_assert_eq!(match_pattern(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
