//! Small readers that every other reader of this directory needs.
//!
//! Pure. Invariants: the part of a node's text that is kept is bounded.

/// Texts are cut to so many bytes.
pub(super) const MAX_TEXT: usize = 512;

/// A decimal number without sign.
pub(super) fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The first 512 bytes of a text, whole characters.
pub(crate) fn clip(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
