//! Matches reasons that differ only in values such as pids, times, addresses and counts.
//!
//! Here lives [`MessageTemplate`]. It uses no other module. Invariants: two texts with one template differ only in such
//! values; the merged text is true for each of them; a single text stays as it is. Start reading at
//! [`MessageTemplate::of`] and [`common`].

/// Replaces a token that differs between the texts.
const ELSE: &str = "…";

/// Tokens without a digit that are part of a date in supervisord's format.
const OF_DATES: [&str; 21] = [
    "AM", "PM", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue",
    "Wed", "Thu", "Fri", "Sat", "Sun",
];

/// After these tokens a number is significant: exit status 1 and exit status 127 are two reasons.
const TELLING: [&str; 5] = ["status", "code", "exit", "errno", "signal"];

/// A text without its variable tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MessageTemplate(Vec<Option<String>>);

impl MessageTemplate {
    /// The template of a text about a node with these names.
    pub(super) fn of(text: &str, names: &[&str]) -> Self {
        let mut before = "";
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let changes = changes(core(word), before, names);
            words.push(if changes { None } else { Some(word.to_owned()) });
            before = core(word);
        }
        Self(words)
    }
}

/// The token without the punctuation around it.
fn core(word: &str) -> &str {
    word.trim_matches(|char: char| matches!(char, '(' | ')' | ',' | ';' | ':' | '.' | '[' | ']' | '\'' | '"' | '`'))
}

fn changes(word: &str, before: &str, names: &[&str]) -> bool {
    let is_name = names.iter().any(|name| !name.is_empty() && word.contains(name));
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    is_name || OF_DATES.contains(&word) || (has_digit && !TELLING.contains(&before))
}

/// Merges texts with one template: `…` replaces each token that differs.
pub(super) fn common(texts: &[&str]) -> String {
    let Some((first, others)) = texts.split_first() else { return String::new() };
    if others.iter().all(|other| other == first) {
        return (*first).to_owned();
    }
    let mut others: Vec<_> = others.iter().map(|text| text.split_whitespace()).collect();
    let mut words: Vec<String> = Vec::new();
    // The punctuation before a gap at the end of the text so far.
    let mut gap: Option<&str> = None;
    for word in first.split_whitespace() {
        // `&`, not `&&`: every iterator must advance, even after a difference.
        if others.iter_mut().fold(true, |same, other| (other.next() == Some(word)) & same) {
            gap = None;
            words.push(word.to_owned());
            continue;
        }
        let (before, after) = word.split_once(core(word)).unwrap_or_default();
        // A bracket that closes inside the token is a part of it, as in `[10.0.0.7]:2222`.
        let before = if core(word).contains(']') { before.trim_end_matches('[') } else { before };
        // Adjacent differences become a single gap.
        if gap.is_some() {
            words.pop();
        }
        let before = *gap.get_or_insert(before);
        words.push(format!("{before}{ELSE}{after}"));
    }
    // Drop a leading subject, and a text that is only a date: the line already names its subject.
    let own = words.first().is_some_and(|word| word == "…:" || (words.len() == 1 && word == ELSE));
    words.get(usize::from(own)..).unwrap_or_default().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_by_node_are_ignored() {
        let same = [
            ("10.0.0.7:22: no answer", "10.0.0.13:22: no answer", "no answer"),
            ("no answer from 10.0.0.7:22 in 5 s", "no answer from 10.0.0.13:22 in 5 s", "no answer from … in 5 s"),
            ("Mar 01 07:12 AM", "Apr 23 08:15 PM", ""),
            ("Mar 01 07:12 AM", "Mar 01 07:13 AM", "Mar 01 … AM"),
            ("pid 4711 exited", "pid 12 exited", "pid … exited"),
            ("alpha: refused (pid 3), again", "beta: refused (pid 4), again", "refused (pid …), again"),
            ("spawn error", "spawn error", "spawn error"),
            ("down (7) at 8; why", "down (6) at 9; why", "down (…) at …; why"),
            ("seen (Mar 1) there", "seen (Apr 2) there", "seen (…) there"),
            ("the key of [10.0.0.7]:22 is new", "the key of [10.0.0.8]:22 is new", "the key of … is new"),
            ("3 core files", "11 core files", "… core files"),
        ];
        for (one, other, wanted) in same {
            assert_eq!(MessageTemplate::of(one, &["alpha"]), MessageTemplate::of(other, &["beta"]), "{one} / {other}");
            assert_eq!(common(&[one, other]), wanted);
        }
        let different = [
            ("exit status 1; not expected", "exit status 127; not expected"),
            ("Database connection down", "Collector connection down"),
            ("no answer in 5 s", "no answer in 5 s at all"),
            ("", "spawn error"),
        ];
        for (one, other) in different {
            assert_ne!(MessageTemplate::of(one, &[]), MessageTemplate::of(other, &[]), "{one} / {other}");
        }
    }
}
