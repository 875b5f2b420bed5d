//! The holder of a lock, encoded in the arguments of the guard.
//!
//! Pure. Invariants: the encoding is one line of plain characters for every shell; text from a node is untrusted.

/// The holder of a node's lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockHolder {
    /// The unique key of the controller: a lock that it holds under one name of a host is its own under every name.
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

/// Keeps letters, digits and a few signs, and encodes the rest as `%XX`: a single argument in every shell.
fn encode(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes().take(512) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'@' | b'+' | b',' | b'-' => {
                word.push(char::from(byte));
            }
            other => word.push_str(&format!("%{other:02X}")),
        }
    }
    word
}

fn decode(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        let pair = if byte == b'%' { rest.as_slice_pair() } else { None };
        match pair {
            Some(value) => {
                bytes.push(value);
                rest.next();
                rest.next();
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Peeks at the next two hexadecimal digits.
trait HexPair {
    fn as_slice_pair(&self) -> Option<u8>;
}

impl HexPair for std::str::Bytes<'_> {
    fn as_slice_pair(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let digits = [ahead.next()?, ahead.next()?];
        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
    }
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
        };
        let words = holder.words();
        assert!(words.chars().all(|c| c.is_ascii_alphanumeric() || " =%._:@+,-".contains(c)), "{words}");
        assert_eq!(LockHolder::read(&words), holder);
        assert_eq!(
            holder.to_string(),
            "run 20261123-002634-muat of o'neil@c1 since 2026-11-23T00:26:34Z (upgrade; rm -rf / `x` $(y) \"z\" 100% ünïcode\n!)"
        );
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
