//! Text that a peer sent, made safe to show.
//!
//! Here live [`printable`] and [`NODE_ENDED`]. Invariants: the text is cut, and has no control characters.

/// Characters of a peer's text that are kept.
const MOST_CHARS: usize = 200;

/// How a connection is said to have ended that the node closed.
pub(super) const NODE_ENDED: &str = "the node closed it";

/// A peer's text, cut, its control characters escaped.
pub(super) fn printable(text: &str) -> String {
    let mut chars = text.trim().chars();
    let mut safe = String::new();
    for char in chars.by_ref().take(MOST_CHARS) {
        // `escape_debug` would put a backslash before quotes, which are harmless here.
        if matches!(char, '"' | '\'' | '\\') {
            safe.push(char);
        } else {
            safe.extend(char.escape_debug());
        }
    }
    if chars.next().is_some() {
        safe.push('…');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_made_visible() {
        assert_eq!(printable(" Password for 'x':\n"), "Password for 'x':");
        assert_eq!(printable("a\u{1b}[2Jb\rc"), "a\\u{1b}[2Jb\\rc");
        assert_eq!(printable(&"x".repeat(300)), format!("{}…", "x".repeat(200)));
    }
}
