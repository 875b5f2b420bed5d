//! One line of a file: its keyword and its words.
//!
//! `ssh` splits a line in two ways, and both live here. [`LineFields`] ends a word at spaces, one `=` and double quotes;
//! it finds the keyword, and the criteria of `Match`. [`arguments`] knows both kinds of quotes, escapes and trailing
//! comments; it finds the values of every other keyword, and no line may break its rules.

use std::borrow::Cow;

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// A line that says something.
#[derive(Debug)]
pub(crate) struct ConfigLine<'a> {
    /// In lower case.
    pub(crate) keyword: String,
    /// All that follows, comments included, from its first character that is not a space; empty if there is none.
    pub(crate) rest: &'a str,
}

/// Finds the keyword; `None` for a line without one: an empty line, a comment, or a keyword whose quote is not closed.
pub(crate) fn split(line: &str) -> Option<ConfigLine<'_>> {
    // Its first character always stays, even if it is a form feed, which then is a bad keyword.
    let first = line.chars().next()?.len_utf8();
    let (head, tail) = line.split_at(first);
    let kept = head.len() + tail.trim_end_matches([' ', '\t', '\r', '\n', '\u{c}']).len();
    let mut fields = LineFields::new(line.get(..kept)?);
    let mut keyword = fields.next()?;
    // Space at the front of a line is a delimiter of strdelim (misc.c), so the first word is empty: the keyword is the
    // next.
    if keyword.is_empty() {
        keyword = fields.next()?;
    }
    // A word in quotes may be empty or a comment too, and such a line says nothing.
    if keyword.is_empty() || keyword.starts_with('#') {
        return None;
    }
    let rest = fields.rest().unwrap_or("").trim_start_matches(SPACE);
    Some(ConfigLine { keyword: keyword.to_ascii_lowercase(), rest })
}

/// The words of a text, separated by spaces and by at most one `=` each.
#[derive(Debug)]
pub(crate) struct LineFields<'a>(Option<&'a str>);

impl<'a> LineFields<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(Some(text))
    }

    /// The text not taken yet; `None` once the text is used up.
    pub(crate) fn rest(&self) -> Option<&'a str> {
        self.0
    }

    /// Takes the rest, which is a comment.
    pub(crate) fn finish(&mut self) {
        self.0 = None;
    }
}

impl<'a> Iterator for LineFields<'a> {
    type Item = Cow<'a, str>;

    /// A word is empty if a delimiter stands where it should begin. A quote may begin within a word, always ends it,
    /// and ends everything if it is not closed.
    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.take()?;
        let delimiter = |c: char| SPACE.contains(&c) || c == '"' || c == '=';
        let Some((at, found)) = text.char_indices().find(|(_, c)| delimiter(*c)) else {
            return Some(Cow::Borrowed(text));
        };
        let (head, tail) = text.split_at(at);
        let tail = tail.get(1..)?;
        if found == '"' {
            // Nothing is left for later words either: `take` above leaves the fields used up.
            let (quoted, rest) = tail.split_once('"')?;
            self.0 = Some(rest.trim_start_matches(SPACE));
            return Some(if head.is_empty() { Cow::Borrowed(quoted) } else { Cow::Owned(format!("{head}{quoted}")) });
        }
        // `Port = 22` and `Port 22` are the same, but a second `=` belongs to the value.
        let mut rest = tail.trim_start_matches(SPACE);
        if found != '='
            && let Some(more) = rest.strip_prefix('=')
        {
            rest = more.trim_start_matches(SPACE);
        }
        self.0 = Some(rest);
        Some(Cow::Borrowed(head))
    }
}

/// The values of a line, without quotes, escapes and a comment at the end; `None` if a quote is not closed.
pub(crate) fn arguments(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        // Only at the beginning of a word does `#` begin a comment: `a#b` is one word.
        if chars.peek().is_none_or(|c| *c == '#') {
            return Some(words);
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next_if(|c| quote.is_some() || !matches!(c, ' ' | '\t')) {
            // Other backslashes stay, as in argv_split (misc.c).
            let escaped = |next: &char| matches!(next, '"' | '\'' | '\\') || quote.is_none() && *next == ' ';
            if c == '\\' {
                word.push(chars.next_if(escaped).unwrap_or('\\'));
            } else if Some(c) == quote {
                quote = None;
            } else if quote.is_none() && matches!(c, '"' | '\'') {
                quote = Some(c);
            } else {
                word.push(c);
            }
        }
        // An open quote would have swallowed the rest of the line, comment included.
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found() {
        let cases: &[(&str, Option<(&str, &str)>)] = &[
            ("", None),
            ("\n", None),
            ("  # User a\n", None),
            ("\"User x\n", None),
            ("User x\n", Some(("user", "x"))),
            ("\tUSER = x \t\r\n", Some(("user", "x"))),
            ("User==x", Some(("user", "=x"))),
            ("  =User x", Some(("user", "x"))),
            ("\"User\" x # c", Some(("user", "x # c"))),
            ("Us\"er\"x", Some(("user", "x"))),
            ("User", Some(("user", ""))),
            ("\u{c}\n", Some(("\u{c}", ""))),
            ("User x\u{c}\n", Some(("user", "x"))),
        ];
        for (text, expected) in cases {
            let line = split(text);
            let found = line.as_ref().map(|line| (line.keyword.as_str(), line.rest));
            assert_eq!(found, *expected, "{text:?}");
        }
    }

    #[test]
    fn fields_end_at_spaces_quotes_and_one_equals_sign() {
        let all = |text| LineFields::new(text).map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(all("host a user=b"), ["host", "a", "user", "b"]);
        assert_eq!(all("host \"a b\"user b"), ["host", "a b", "user", "b"]);
        assert_eq!(all("host 'a b'"), ["host", "'a", "b'"]);
        assert_eq!(all("host = = a"), ["host", "", "a"]);
        assert_eq!(all("host \"a"), ["host"]);
        assert_eq!(all("a "), ["a", ""]);
    }

    #[test]
    fn values_lose_quotes_escapes_and_comments() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("", Some(&[])),
            ("# a", Some(&[])),
            ("a#b c # d", Some(&["a#b", "c"])),
            ("\"a b\" 'c d'e f\\ g", Some(&["a b", "c de", "f g"])),
            ("\"a\\\"b\" 'c\\'d' e\\\\f", Some(&["a\"b", "c'd", "e\\f"])),
            ("\"a\\ b\" c\\d", Some(&["a\\ b", "c\\d"])),
            ("\"\"", Some(&[""])),
            ("a 'b", None),
            ("\"", None),
            ("a\\", Some(&["a\\"])),
        ];
        for (text, expected) in cases {
            assert_eq!(
                arguments(text).as_deref(),
                expected.map(|words| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{text}"
            );
        }
    }
}
