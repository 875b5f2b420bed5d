//! Makes untrusted text safe for a terminal: the only place that does.
//!
//! Here live [`single_line`] for text within a line, [`visible`] for text that must be complete, [`printed_line`] for
//! the output of commands, [`cut`] and [`wrap`] for text that must fit. They use no other module. Invariants, for any
//! input: the result has no control characters and nothing invisible that changes the display (bidirectional overrides,
//! zero-width characters, line separators), so that it is one line and cannot move a cursor. Such characters become
//! escapes: `\n`, `\x1b`, `\u{202e}`. Start reading at [`visible`].
//!
//! A backslash stays a backslash: the escapes are for people, and cannot be reversed.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Maximum columns of [`single_line`], without the note about the cut part.
pub const LINE_LIMIT: usize = 400;

/// Columns between two tab stops.
const TAB: usize = 8;

/// Maximum combining marks on one character; more would reach into the lines above and below.
const MARKS_LIMIT: usize = 3;

/// The text with every character made visible that a terminal acts on or hides.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    // Nearly all text is printable ASCII, and needs neither a copy nor a table of widths.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    let mut marks = MARKS_LIMIT;
    for char in text.chars() {
        let zero_width = char.width().is_none_or(|width| width == 0);
        // `marks` starts at the limit, since a mark at the start has no character of its own to stand on.
        marks = if zero_width { marks.saturating_add(1) } else { 0 };
        if is_unsafe(char) || marks > MARKS_LIMIT {
            push_escape(&mut safe, char);
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

/// Text of several lines, each made [`visible`]; the newlines stay.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(visible).collect::<Vec<_>>().join("\n"))
}

/// The text as one line that is safe to show: trimmed, made [`visible`], and at most [`LINE_LIMIT`] columns long,
/// followed by the length of the cut part.
#[must_use]
pub fn single_line(text: &str) -> String {
    // Bounds the work on huge texts: apart from combining marks, each character takes at least one column.
    let text = text.trim();
    let near = text.char_indices().nth(LINE_LIMIT * (MARKS_LIMIT + 1)).map_or(text.len(), |(end, _)| end);
    let (near, far) = text.split_at(near);
    let safe = visible(near);
    if far.is_empty() && width(&safe) <= LINE_LIMIT {
        return safe.into_owned();
    }
    let head = head(&safe, LINE_LIMIT);
    let lost = safe.chars().count() - head.chars().count() + far.chars().count();
    format!("{head}… (+{lost} characters)")
}

/// A log line that is safe to show, in at most `columns` columns, without the note about the cut part. It keeps its
/// leading spaces, and its tabs advance to the next tab stop, as in the original.
#[must_use]
pub fn log_line(line: &str, columns: usize) -> String {
    let mut safe = String::with_capacity(line.len());
    // Bounds the work on a huge line, as in `single_line`.
    let near = line.char_indices().nth(columns.saturating_mul(MARKS_LIMIT + 1)).map_or(line.len(), |(end, _)| end);
    let (near, far) = line.split_at(near);
    let mut taken = 0;
    for (place, part) in near.split('\t').enumerate() {
        if place > 0 {
            // Tab stops count from the start of the line, so expand before anything precedes it.
            let room = TAB - taken % TAB;
            safe.extend(std::iter::repeat_n(' ', room));
            taken += room;
        }
        let part = visible(part);
        taken += width(&part);
        safe.push_str(&part);
    }
    if far.is_empty() && taken <= columns {
        return safe;
    }
    format!("{}…", head(&safe, columns))
}

/// A line of a command's output, safe to show: characters that a terminal acts on or hides become visible, everything
/// else stays, including tabs.
#[must_use]
pub fn printed_line(line: &str) -> Cow<'_, str> {
    if !line.contains('\t') {
        return visible(line);
    }
    let parts: Vec<_> = line.split('\t').map(visible).collect();
    Cow::Owned(parts.join("\t"))
}

/// As [`single_line`], for arbitrary bytes: invalid UTF-8 becomes U+FFFD.
#[must_use]
pub fn single_line_bytes(bytes: &[u8]) -> String {
    single_line(&String::from_utf8_lossy(bytes))
}

/// Columns of safe text on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Safe text in at most `columns` columns: a text that is too long ends in `…`.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    // Not even the ellipsis fits.
    let Some(room) = columns.checked_sub(1) else { return Cow::Borrowed("") };
    Cow::Owned(format!("{}…", head(text, room)))
}

/// Safe text in lines of at most `columns` columns (at least 1), broken after a space or a comma if there is one.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<&str> {
    // At least one column, so that each turn makes progress.
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > columns {
        let fits = match head(rest, columns).len() {
            // A character wider than the line gets a line of its own.
            0 => rest.chars().next().map_or(rest.len(), char::len_utf8),
            length => length,
        };
        let (line, after) = rest.split_at(fits);
        // Break at a space or comma; a token longer than the line breaks anywhere.
        let end = if after.starts_with(' ') { fits } else { line.rfind([' ', ',']).map_or(fits, |place| place + 1) };
        let (line, after) = rest.split_at(end);
        lines.push(line.trim_end());
        rest = after.trim_start();
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest);
    }
    lines
}

/// JSON text with the characters escaped that a terminal acts on or hides, as JSON allows. A parser gets the same
/// values: such characters occur only inside strings.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    // Between its values, JSON may have line ends; inside strings they are escapes.
    if json.chars().all(|char| matches!(char, '\n' | ' '..='~') || !is_unsafe(char)) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 64);
    for char in json.chars() {
        if char != '\n' && is_unsafe(char) {
            let mut units = [0; 2];
            // JSON escapes are UTF-16 units: a character outside the BMP needs two.
            for unit in char.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

/// YAML with every string value quoted, and with the same characters escaped as YAML allows between double quotes. A
/// parser gets the same values. The exception is a key without quotes, which cannot be escaped; it is made visible.
pub(super) fn escape_quoted_yaml(yaml: &str) -> String {
    let mut safe = String::with_capacity(yaml.len() + 64);
    let mut rest = yaml.chars().peekable();
    let mut is_token_start = true;
    while let Some(char) = rest.next() {
        match char {
            // Only a quote at the start of a token opens a string; within a plain scalar it is an ordinary character.
            '"' if is_token_start => {
                safe.push('"');
                while let Some(char) = rest.next() {
                    push_in_double_quotes(&mut safe, char);
                    match char {
                        // Copy the escaped character too, so that `\"` does not end the string.
                        '\\' => safe.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '\'' if is_token_start => {
                safe.push('"');
                while let Some(char) = rest.next() {
                    match char {
                        // A doubled quote is an escaped quote; a single one ends the string.
                        '\'' if rest.next_if_eq(&'\'').is_none() => break,
                        '"' | '\\' => safe.extend(['\\', char]),
                        _ => push_in_double_quotes(&mut safe, char),
                    }
                }
                safe.push('"');
            }
            '\n' => safe.push('\n'),
            _ if is_unsafe(char) => push_escape(&mut safe, char),
            _ => safe.push(char),
        }
        is_token_start = matches!(char, ' ' | '\n');
    }
    safe
}

/// Appends a character of a double-quoted YAML scalar.
fn push_in_double_quotes(yaml: &mut String, char: char) {
    if !is_unsafe(char) {
        yaml.push(char);
        // YAML has `\u` with four digits and `\U` with eight (YAML 1.2, section 5.7).
    } else if let Ok(unit) = u16::try_from(u32::from(char)) {
        yaml.push_str(&format!("\\u{unit:04x}"));
    } else {
        yaml.push_str(&format!("\\U{:08x}", u32::from(char)));
    }
}

/// Whether the text has no character that a terminal acts on or hides, apart from newlines.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars().all(|char| char == '\n' || !is_unsafe(char))
}

/// The longest prefix that takes at most `columns` columns.
fn head(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    for (place, char) in text.char_indices() {
        // Control characters have no width; those that matter are escapes by now.
        taken += char.width().unwrap_or(0);
        if taken > columns {
            return &text[..place];
        }
    }
    text
}

fn push_escape(text: &mut String, char: char) {
    match char {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\0'..='\u{ff}' => text.push_str(&format!("\\x{:02x}", u32::from(char))),
        _ => text.push_str(&format!("\\u{{{:x}}}", u32::from(char))),
    }
}

/// Whether a terminal acts on the character, or hides it.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'                        // soft hyphen
            | '\u{34f}'                     // grapheme joiner
            | '\u{61c}'                     // Arabic letter mark
            | '\u{115f}'..='\u{1160}'       // Hangul fillers
            | '\u{17b4}'..='\u{17b5}'       // invisible Khmer vowels
            | '\u{180b}'..='\u{180f}'       // Mongolian selectors and separator
            | '\u{200b}'..='\u{200f}'       // zero-width characters, direction marks
            | '\u{2028}'..='\u{202e}'       // line and paragraph separators, bidirectional overrides
            | '\u{2060}'..='\u{206f}'       // joiners, isolates, deprecated format characters
            | '\u{3164}' | '\u{ffa0}'       // Hangul fillers
            | '\u{fe00}'..='\u{fe0f}'       // variation selectors
            | '\u{feff}'                    // byte order mark
            | '\u{fff0}'..='\u{fffb}'       // annotations
            | '\u{1bca0}'..='\u{1bca3}'     // shorthand controls
            | '\u{1d173}'..='\u{1d17a}'     // musical controls
            | '\u{e0000}'..='\u{e0fff}'     // tags, more variation selectors
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_made_visible() {
        let table = [
            ("contrail-api:0", "contrail-api:0"),
            ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
            ("one\ntwo\r\nthree\tfour", r"one\ntwo\r\nthree\tfour"),
            ("\0\x07\x7f\u{9b}2J", r"\x00\x07\x7f\x9b2J"),
            ("\u{202e}gnp.exe\u{2069}", r"\u{202e}gnp.exe\u{2069}"),
            ("a\u{200b}b\u{feff}c\u{2028}d", r"a\u{200b}b\u{feff}c\u{2028}d"),
            ("Zürich 東京 e\u{301}", "Zürich 東京 e\u{301}"),
            ("\u{301}", r"\u{301}"),
            ("e\u{301}\u{301}\u{301}\u{301}\u{301}", "e\u{301}\u{301}\u{301}\\u{301}\\u{301}"),
            (r"C:\n", r"C:\n"),
        ];
        for (given, wanted) in table {
            assert_eq!(visible(given), wanted);
        }
    }

    #[test]
    fn a_line_is_trimmed_and_bounded() {
        assert_eq!(single_line("  no such process\n"), "no such process");
        assert_eq!(single_line(&"x".repeat(LINE_LIMIT)), "x".repeat(LINE_LIMIT));
        assert_eq!(single_line(&"x".repeat(1_000_000)), format!("{}… (+999600 characters)", "x".repeat(LINE_LIMIT)));
        assert_eq!(single_line_bytes(b"\xffls: \x1b"), "\u{fffd}ls: \\x1b");
    }

    #[test]
    fn a_line_of_a_log_keeps_its_shape() {
        assert_eq!(log_line("  a\tb\x1b\t東\tc ", 400), "  a     b\\x1b   東      c ");
        assert_eq!(log_line("abcdef", 3), "abc…");
        assert_eq!(log_line("", 3), "");
        let tabs = log_line(&"\t".repeat(64 * 1024), usize::MAX);
        assert_eq!(tabs.len(), TAB * 64 * 1024);
    }

    #[test]
    fn a_printed_line_is_not_changed() {
        assert_eq!(printed_line("  a\tb \t c  "), "  a\tb \t c  ");
        assert_eq!(printed_line("\x1b[1m\tx\r"), "\\x1b[1m\tx\\r");
        let long = " x\t".repeat(10_000);
        assert_eq!(printed_line(&long), long);
    }

    #[test]
    fn cut_and_wrapped_text_fits() {
        assert_eq!(cut("contrail", 8), "contrail");
        assert_eq!(cut("contrail", 5), "cont…");
        assert_eq!(cut("contrail", 0), "");
        assert_eq!(cut("東京都", 4), "東…");
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a6s[01,03],db1", 8), ["a6s[01,", "03],db1"]);
        assert_eq!(wrap("unbreakable", 4), ["unbr", "eaka", "ble"]);
        assert_eq!(wrap("東京", 1), ["東", "京"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn json_is_escaped_as_json_does() {
        let json = "{\n  \"a\": \"\u{9b}\u{202e}\u{7f}\u{e0001}ü\"\n}";
        let safe = escape_json(json);
        assert_eq!(safe, "{\n  \"a\": \"\\u009b\\u202e\\u007f\\udb40\\udc01ü\"\n}");
        let [before, after]: [serde_json::Value; 2] =
            [json, &safe].map(|json| serde_json::from_str(json).expect("it is JSON"));
        assert_eq!(before, after);
    }

    fn is_safe(text: &str) -> bool {
        !text.chars().any(|char| char.is_control() || is_unsafe(char))
    }

    proptest! {
        #[test]
        fn nothing_that_comes_in_reaches_the_terminal(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let lossy = String::from_utf8_lossy(&bytes);
            prop_assert!(is_safe(&visible(&lossy)));
            let line = single_line_bytes(&bytes);
            prop_assert!(is_safe(&line));
            prop_assert!(is_safe(&printed_line(&lossy).replace('\t', " ")));
            prop_assert!(width(&line) <= LINE_LIMIT + 30);
        }

        #[test]
        fn no_character_gets_through_that_should_not(text in any::<String>(), columns in 0..60_usize) {
            let safe = visible(&text);
            prop_assert!(is_safe(&safe));
            prop_assert_eq!(visible(&safe), safe.as_ref(), "what is safe stays as it is");
            prop_assert!(width(&cut(&safe, columns)) <= columns);
            for line in wrap(&safe, columns) {
                prop_assert!(width(line) <= columns.max(2));
            }
        }
    }
}
