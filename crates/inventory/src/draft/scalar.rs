//! Text as YAML: scalars that read back as they are, and comments that stay in their line.

use std::net::Ipv4Addr;

/// Longest comment, in characters: a value from elsewhere could be of any length.
const MAX_COMMENT: usize = 500;

/// A scalar, quoted unless every YAML reader takes it for the same text.
pub(super) fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// The key of a line of its own: brackets need no quotes there.
pub(super) fn block_key(text: &str) -> String {
    let is_pattern = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.contains('[');
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._-[],".contains(c);
    if is_pattern && text.chars().all(is_safe) { text.to_owned() } else { scalar(text) }
}

/// A list in one line.
pub(super) fn flow_list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| scalar(item)).collect::<Vec<_>>().join(", "))
}

/// One line of a comment, without the `#`.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_COMMENT {
            out.push('…');
            break;
        }
        if is_shown(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    out.trim_end().to_owned()
}

/// Whether text without quotes is that text, in block and flow style, to readers of YAML 1.1 and 1.2.
fn is_plain(text: &str) -> bool {
    // Without `:` and `#`, whose meaning depends on their neighbours, and without all that ends a plain scalar in a flow.
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._-/@+$~%\\".contains(c);
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || "/_$".contains(c))
        || text.starts_with("~/")
        || text.parse::<Ipv4Addr>().is_ok();
    let word = text.to_ascii_lowercase();
    let is_reserved = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "inf", "nan"].contains(&&*word);
    is_name && !is_reserved && text.chars().all(is_safe)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if is_shown(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push('"');
    out
}

/// Whether a character shows as itself: no control character, and none that changes the order or the place of others.
fn is_shown(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric()) || "…–—’“”„«»€£°".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_quoted_where_a_reader_could_differ() {
        for plain in ["a6s01", "10.0.0.1", "~/.ssh/id_ed25519", "/srv/$KEYS/id", "ops@bastion", "web-ui"] {
            assert_eq!(scalar(plain), plain);
        }
        for (text, written) in [
            ("", "\"\""),
            ("001", "\"001\""),
            ("1e3", "\"1e3\""),
            ("No", "\"No\""),
            ("y", "\"y\""),
            ("~", "\"~\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("a6s[01-03]", "\"a6s[01-03]\""),
            ("@rack1", "\"@rack1\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("Größe\n\u{1b}\u{202e}\u{1f600}", "\"Größe\\x0a\\x1b\\u202e\\U0001f600\""),
        ] {
            assert_eq!(scalar(text), written, "{text:?}");
        }
        assert_eq!(flow_list(&["a".to_owned(), "b,c".to_owned()]), "[a, \"b,c\"]");
    }

    #[test]
    fn a_comment_stays_in_its_line() {
        assert_eq!(comment("a\nnodes: {}\u{2028}b\u{1b}[2J "), "a\\nnodes: {}\\u{2028}b\\u{1b}[2J");
        assert_eq!(comment(&"x".repeat(600)).chars().count(), 501);
    }
}
