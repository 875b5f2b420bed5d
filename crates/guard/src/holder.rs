//! The holder of a lock, as words in the arguments of the guard.
//!
//! Pure. Invariants: the words are one line of plain characters to every shell, and words from a node are untrusted.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The holder of a node's lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockHolder {
    /// The controller itself, by a word that no other has: a node that it holds under one name it holds under all.
    pub key: String,
    /// The run; empty if unknown.
    pub run: String,
    /// The controller's user.
    pub user: String,
    /// The controller's host.
    pub host: String,
    /// When it took the lock, by the controller's clock.
    pub since: String,
    /// The reason that the user gave.
    pub reason: String,
    /// Whether the node only helps with other nodes: then other runs may have the same use of it.
    pub is_helped: bool,
}

impl LockHolder {
    /// The guard's arguments, which another run can read.
    pub(super) fn words(&self) -> String {
        let fields = [
            ("key", &self.key),
            ("run", &self.run),
            ("user", &self.user),
            ("host", &self.host),
            ("since", &self.since),
            ("reason", &self.reason),
        ];
        let mut words = String::new();
        for (name, value) in fields {
            words.push_str(&format!(" {name}={}", encode(value)));
        }
        if self.is_helped {
            words.push_str(" use=helper");
        }
        words
    }

    /// Decodes such arguments. Untrusted: unknown fields are ignored.
    pub(super) fn read(words: &str) -> Self {
        let mut holder = Self::default();
        for (name, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
            let field = match name {
                "key" => &mut holder.key,
                "run" => &mut holder.run,
                "user" => &mut holder.user,
                "host" => &mut holder.host,
                "since" => &mut holder.since,
                "reason" => &mut holder.reason,
                "use" => {
                    holder.is_helped = value == "helper";
                    continue;
                }
                _ => continue,
            };
            *field = decode(value);
        }
        holder
    }
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.run.is_empty() {
            return f.write_str("an unknown run");
        }
        write!(f, "run {} of {}@{} since {}", self.run, self.user, self.host, self.since)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

/// Everything but the letters, digits and signs that are plain to every shell.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b':').remove(b'@').remove(b'+').remove(b',').remove(b'-');

/// Bytes of a value that are kept.
const MOST_BYTES: usize = 512;

/// Plain signs as they are, everything else as `%XX`: one word to every shell.
fn encode(text: &str) -> String {
    let kept = text.as_bytes().get(..MOST_BYTES).unwrap_or(text.as_bytes());
    percent_encode(kept, ENCODED).to_string()
}

fn decode(word: &str) -> String {
    percent_decode_str(word).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_holder_is_one_line_for_every_shell() {
        let holder = LockHolder {
            key: "0123456789abcdef".to_owned(),
            run: "20261123-002634-muat".to_owned(),
            user: "o'neil".to_owned(),
            host: "c1".to_owned(),
            since: "2026-11-23T00:26:34Z".to_owned(),
            reason: "upgrade; rm -rf / `x` $(y) \"z\" 100% ünïcode\n!".to_owned(),
            is_helped: true,
        };
        let words = holder.words();
        assert!(words.chars().all(|c| c.is_ascii_alphanumeric() || " =%._:@+,-".contains(c)), "{words}");
        assert!(words.ends_with(" use=helper"), "lock.sh looks for these words: {words}");
        assert_eq!(LockHolder::read(&words), holder);
        assert_eq!(
            holder.to_string(),
            "run 20261123-002634-muat of o'neil@c1 since 2026-11-23T00:26:34Z (upgrade; rm -rf / `x` $(y) \"z\" 100% ünïcode\n!)"
        );
    }

    /// Guards of other versions read these words.
    #[test]
    fn the_encoding_is_fixed() {
        assert_eq!(encode("aZ9._:@+,-"), "aZ9._:@+,-");
        assert_eq!(encode(" %=/~*'\"\n\u{0}ü"), "%20%25%3D%2F%7E%2A%27%22%0A%00%C3%BC");
        assert_eq!(encode(&"ü".repeat(300)), "%C3%BC".repeat(256));
        assert_eq!(decode("%c3%BC%zz%4"), "ü%zz%4");
    }

    proptest! {
        #[test]
        fn words_come_back(text in "\\PC{0,60}") {
            let word = encode(&text);
            prop_assert!(!word.contains(char::is_whitespace));
            prop_assert_eq!(decode(&word), text);
        }

        #[test]
        fn no_words_panic(words in "\\PC{0,80}") {
            let holder = LockHolder::read(&words);
            prop_assert!(holder.run.len() <= words.len() * 3);
        }
    }
}
