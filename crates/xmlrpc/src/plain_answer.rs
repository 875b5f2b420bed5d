//! The answers that a supervisord usually gives, read without a general parser: these are most of what ctl reads.
//!
//! Pure. Invariants: a value read here equals that of the general parser; anything written in another way than
//! Python's `xmlrpclib` writes it is none of them, and left to that parser. Start at [`read`].

use std::collections::BTreeMap;

use dxr::Value;

/// Values inside each other that are read, which bounds the recursion: supervisord's own answers have four.
const MOST_LEVELS: usize = 8;

/// The value of an answer; none if it is no plain one.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut rest = PlainText(text);
    // The declaration has one form in all versions of Python.
    rest.0 = rest.0.strip_prefix("<?xml version='1.0'?>").unwrap_or(rest.0);
    for tag in ["<methodResponse>", "<params>", "<param>"] {
        rest.tag(tag)?;
    }
    let value = rest.value(MOST_LEVELS)?;
    for tag in ["</param>", "</params>", "</methodResponse>"] {
        rest.tag(tag)?;
    }
    rest.0.trim_ascii_start().is_empty().then_some(value)
}

/// What is not read yet.
struct PlainText<'t>(&'t str);

impl<'t> PlainText<'t> {
    /// The next tag, if it is this one.
    fn tag(&mut self, tag: &str) -> Option<()> {
        self.0 = self.0.trim_ascii_start().strip_prefix(tag)?;
        Some(())
    }

    /// Everything up to the next tag, which is this one.
    fn until(&mut self, tag: &str) -> Option<&'t str> {
        let (text, _) = self.0.split_once('<')?;
        self.0 = self.0.get(text.len()..)?.strip_prefix(tag)?;
        Some(text)
    }

    fn value(&mut self, levels: usize) -> Option<Value> {
        let inside = levels.checked_sub(1)?;
        self.tag("<value>")?;
        let value = if self.tag("<string>").is_some() {
            Value::String(plain(self.until("</string>")?)?)
        } else if self.tag("<int>").is_some() {
            let number = self.until("</int>")?;
            // A sign, spaces and leading zeros are for the general parser.
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
            Value::Integer(is_plain.then(|| number.parse().ok()).flatten()?)
        } else if self.tag("<boolean>").is_some() {
            Value::Boolean(match self.until("</boolean>")? {
                "0" => false,
                "1" => true,
                _ => return None,
            })
        } else if self.tag("<struct>").is_some() {
            self.members(inside)?
        } else if self.tag("<array>").is_some() {
            self.items(inside)?
        } else {
            return None;
        };
        self.tag("</value>")?;
        Some(value)
    }

    fn items(&mut self, levels: usize) -> Option<Value> {
        self.tag("<data>")?;
        let mut items = Vec::new();
        while self.tag("</data>").is_none() {
            items.push(self.value(levels)?);
        }
        self.tag("</array>")?;
        Some(Value::Array(items))
    }

    fn members(&mut self, levels: usize) -> Option<Value> {
        let mut members = BTreeMap::new();
        while self.tag("</struct>").is_none() {
            self.tag("<member>")?;
            self.tag("<name>")?;
            let name = self.until("</name>")?;
            let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let value = self.value(levels)?;
            // Which of two members of one name counts is for the general parser.
            if !is_plain || members.insert(name.to_owned(), value).is_some() {
                return None;
            }
            self.tag("</member>")?;
        }
        Some(Value::Struct(members))
    }
}

/// A text without its escapes; none if it has control characters or spaces at an end, of which a parser may make something
/// else, or another escape than `xmlrpclib` writes.
fn plain(text: &str) -> Option<String> {
    let is_odd = |text: &str| text.starts_with(' ') || text.ends_with(' ') || text.contains(|c: char| c.is_control());
    if is_odd(text) || text.contains("]]>") {
        return None;
    }
    let mut parts = text.split('&');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_once(';')?;
        plain.push(match escape {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            _ => return None,
        });
        plain.push_str(rest);
    }
    Some(plain)
}
