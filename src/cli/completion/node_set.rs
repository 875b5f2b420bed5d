//! The end of a node set that is being typed: which member the cursor is in. Pure.

/// A node set up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypedNodeSet<'a> {
    /// All before the last member, operator included.
    pub(super) before: &'a str,
    /// The start of the last member; `None` inside of a range, which has no names to complete.
    pub(super) member: Option<&'a str>,
}

impl<'a> TypedNodeSet<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut start = 0;
        let mut is_in_range = false;
        for (at, c) in text.char_indices() {
            match c {
                '[' => is_in_range = true,
                ']' => is_in_range = false,
                ',' | '!' | '&' | '^' | ' ' if !is_in_range => start = at + 1,
                _ => {}
            }
        }
        let (before, member) = text.split_at(start);
        Self { before, member: (!is_in_range).then_some(member) }
    }

    /// Whether a member stands before the last one, under the same name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.before.split([',', '!', '&', '^', ' ']).any(|member| member == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_member_is_completed() {
        for (text, before, member) in [
            ("", "", Some("")),
            ("a6s0", "", Some("a6s0")),
            ("a6s01,", "a6s01,", Some("")),
            ("a6s[01-03,05],d", "a6s[01-03,05],", Some("d")),
            ("@rack1!a6s0", "@rack1!", Some("a6s0")),
            ("@ra", "", Some("@ra")),
            ("db1&@r", "db1&", Some("@r")),
            ("a6s[01,", "", None),
            ("db1,a6s[0", "db1,", None),
            ("é,ü", "é,", Some("ü")),
        ] {
            assert_eq!(TypedNodeSet::parse(text), TypedNodeSet { before, member }, "{text}");
        }
        assert!(TypedNodeSet::parse("a1,a2,").has("a1"));
        assert!(!TypedNodeSet::parse("a10,").has("a1"));
    }
}
