//! The end of a node set that is being typed: which member the cursor is in. Pure.

/// A node set up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypedNodeSet<'a> {
    /// All before the last member, operator included.
    pub(super) before: &'a str,
    /// The start of the last member; `None` inside of a range, which has no names to complete.
    pub(super) member: Option<&'a str>,
    /// The range that the cursor is in, if its end or all of it is to be typed next.
    pub(super) range: Option<TypedRange<'a>>,
}

/// `a6s[`, or `a6s[01-` with the first digits of its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypedRange<'a> {
    /// What the names begin with.
    name: &'a str,
    first: Option<&'a str>,
    digits: &'a str,
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
        let range = if is_in_range { TypedRange::parse(member) } else { None };
        Self { before, member: (!is_in_range).then_some(member), range }
    }

    /// Whether a member stands before the last one, under the same name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.before.split([',', '!', '&', '^', ' ']).any(|member| member == name)
    }
}

impl<'a> TypedRange<'a> {
    /// None for a second range in a name, and behind a comma: there any number can follow.
    fn parse(member: &'a str) -> Option<Self> {
        let (name, inside) = member.split_once('[')?;
        let (first, digits) = match inside.split_once('-') {
            Some((first, digits)) => (Some(first), digits),
            None => (None, inside),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_valid = first.map_or(digits.is_empty(), is_number) && (digits.is_empty() || is_number(digits));
        is_valid.then_some(Self { name, first, digits })
    }

    /// The ranges of these names that begin like this one: up to each of them, or over all of them.
    pub(super) fn complete<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        let number = |digits: &str| digits.parse::<u64>().ok();
        let mut ends: Vec<(u64, &str)> = names
            .filter_map(|name| name.strip_prefix(self.name))
            .filter_map(|rest| {
                // The names of one width only: the others are of another range.
                let is_wide = self.first.is_none_or(|first| !first.starts_with('0') || first.len() == rest.len());
                is_wide.then_some((rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| number(rest))??, rest))
            })
            .collect();
        ends.sort_unstable();
        let Some(first) = self.first else {
            let range = ends.first().zip(ends.last()).filter(|(first, last)| first.1.len() <= last.1.len());
            let count = u64::try_from(ends.len()).unwrap_or(u64::MAX);
            // Only where no number is missing, since all of them would be named.
            let range = range.filter(|(first, last)| first.0 != last.0 && last.0 - first.0 + 1 == count);
            return range.map(|(first, last)| format!("{}[{}-{}]", self.name, first.1, last.1)).into_iter().collect();
        };
        let begin = number(first).unwrap_or(u64::MAX);
        let after = ends.into_iter().filter(|(end, digits)| *end > begin && digits.starts_with(self.digits));
        after.map(|(_, digits)| format!("{}[{first}-{digits}]", self.name)).collect()
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
            let typed = TypedNodeSet::parse(text);
            assert_eq!((typed.before, typed.member), (before, member), "{text}");
        }
        let names = ["a6s01", "a6s02", "a6s03", "a6s1", "db1", "c8", "c9", "c10", "c12"];
        for (text, ranges) in [
            ("a6s[01-", &["a6s[01-02]", "a6s[01-03]"][..]),
            ("db1,a6s[01-", &["a6s[01-02]", "a6s[01-03]"]),
            ("a6s[02-0", &["a6s[02-03]"]),
            ("c[8-", &["c[8-9]", "c[8-10]", "c[8-12]"]),
            ("c[8-1", &["c[8-10]", "c[8-12]"]),
            ("c[", &[]),
            ("a6s[03-", &[]),
            ("a6s[01,", &[]),
            ("a6s[0", &[]),
            ("a6s[01-02,", &[]),
            ("a[1]b[1-", &[]),
            ("a6s[-", &[]),
            ("x[99999999999999999999-", &[]),
        ] {
            let range = TypedNodeSet::parse(text).range;
            let found = range.map(|range| range.complete(names.into_iter())).unwrap_or_default();
            assert_eq!(found, ranges, "{text}");
        }
        let all = |text| TypedNodeSet::parse(text).range.map(|range| range.complete(["n08", "n09", "n10"].into_iter()));
        assert_eq!(all("n["), Some(vec!["n[08-10]".to_owned()]));
        assert!(TypedNodeSet::parse("a1,a2,").has("a1"));
        assert!(!TypedNodeSet::parse("a10,").has("a1"));
    }
}
