//! Times and numbers as `ssh` reads them.
//!
//! Invariants: no value passes i32::MAX, and none is negative.

const MOST: i64 = i32::MAX as i64;

/// Seconds of a time such as `90`, `1m30s` or `2W`; `None` if it is none.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (count, after) = leading_number(rest)?;
        let mut chars = after.chars();
        let unit = match chars.next() {
            None | Some('s' | 'S') => 1,
            Some('m' | 'M') => 60,
            Some('h' | 'H') => 60 * 60,
            Some('d' | 'D') => 24 * 60 * 60,
            Some('w' | 'W') => 7 * 24 * 60 * 60,
            Some(_) => return None,
        };
        // Each part is checked, not the sum alone: convtime (misc.c) refuses `-1s2m` although the sum is positive.
        let count = count.checked_mul(unit).filter(|count| (0..=MOST).contains(count))?;
        total = total.checked_add(count).filter(|total| *total <= MOST)?;
        // Without a unit the number counts as seconds, and the text is used up.
        rest = chars.as_str();
    }
    u64::try_from(total).ok()
}

/// A whole number from 0 to `most`, with nothing behind it; spaces and a sign before it pass.
pub(crate) fn number(text: &str, most: i64) -> Option<i64> {
    let (value, rest) = leading_number(text)?;
    (rest.is_empty() && (0..=most).contains(&value)).then_some(value)
}

/// A whole number from 0 to i32::MAX.
pub(crate) fn integer(text: &str) -> Option<i64> {
    number(text, MOST)
}

/// The number at the front and what follows it, as strtol(3) takes it; `None` if it is out of range.
fn leading_number(text: &str) -> Option<(i64, &str)> {
    // The characters of isspace(3) in the C locale, which strtol(3) skips.
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let value: i64 = digits.parse().ok()?;
    Some((if negative { -value } else { value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("0", Some(0)),
            ("90", Some(90)),
            ("1m30s", Some(90)),
            ("1m30", Some(90)),
            ("1h30M", Some(5400)),
            ("1W2d", Some(777_600)),
            ("+5", Some(5)),
            (" 5", Some(5)),
            ("1m 5", Some(65)),
            ("-0", Some(0)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("3551w", None),
            ("99999999999999999999", None),
            ("-1", None),
            ("", None),
            ("m", None),
            ("5 ", None),
            ("5x", None),
            ("1.5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("022", Some(22)),
            (" 22", Some(22)),
            ("+22", Some(22)),
            ("0x16", None),
            ("-1", None),
            ("22 ", None),
            ("", None),
            ("65536", None),
        ] {
            assert_eq!(number(text, 65535), expected, "{text:?}");
        }
    }
}
