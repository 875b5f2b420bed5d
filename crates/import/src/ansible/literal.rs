//! The values of INI lines: Python's literals, or else text.

use super::value::AnsibleValue;
use crate::python::{Token, TokenKind, Tokens};

/// Maximum nesting of a literal.
const MAX_DEPTH: usize = 32;

/// A value in an INI inventory: a Python literal, or else text.
pub(super) fn literal(text: &str) -> AnsibleValue {
    // A comment behind a literal is Python, behind a word it belongs to the text.
    let read = || {
        let mut tokens = Tokens::new(text);
        let mut list = Vec::new();
        while let Some(token) = tokens.next_token().ok()? {
            if token.kind != TokenKind::Newline {
                list.push(token);
            }
        }
        let mut reader = LiteralTokens { tokens: &list, depth: 0 };
        let value = reader.value()?;
        reader.tokens.is_empty().then_some(value)
    };
    read().unwrap_or_else(|| AnsibleValue::Text(text.to_owned()))
}

/// The tokens of a literal that are left.
struct LiteralTokens<'t> {
    tokens: &'t [Token],
    depth: usize,
}

impl LiteralTokens<'_> {
    fn next(&mut self) -> Option<TokenKind> {
        let (token, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(token.kind.clone())
    }

    fn take(&mut self, sign: &'static str) -> bool {
        let is_next = self.tokens.first().is_some_and(|token| token.kind == TokenKind::Sign(sign));
        if is_next {
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        is_next
    }

    /// A literal; none for anything that would have to be executed.
    fn value(&mut self) -> Option<AnsibleValue> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = match self.next()? {
            TokenKind::Int(number) => AnsibleValue::Int(number),
            TokenKind::Float => AnsibleValue::Other,
            TokenKind::Sign(sign @ ("-" | "+")) => match self.next()? {
                TokenKind::Int(number) => AnsibleValue::Int(if sign == "-" { -number } else { number }),
                TokenKind::Float => AnsibleValue::Other,
                TokenKind::Name(_) | TokenKind::Text(_) | TokenKind::Sign(_) | TokenKind::Newline => return None,
            },
            TokenKind::Name(name) => match name.as_str() {
                "True" => AnsibleValue::Bool(true),
                "False" => AnsibleValue::Bool(false),
                "None" => AnsibleValue::Null,
                _ => return None,
            },
            // Two strings in a row are one.
            TokenKind::Text(mut text) => {
                while let Some(TokenKind::Text(more)) = self.tokens.first().map(|token| token.kind.clone()) {
                    text.push_str(&more);
                    self.next();
                }
                AnsibleValue::Text(text)
            }
            TokenKind::Sign("(") => self.items(")")?,
            TokenKind::Sign("[") => self.items("]").map(|_| AnsibleValue::Other)?,
            TokenKind::Sign("{") => self.items("}").map(|_| AnsibleValue::Other)?,
            TokenKind::Sign(_) | TokenKind::Newline => return None,
        };
        self.depth -= 1;
        Some(value)
    }

    /// Items up to a closing bracket; one without a comma is itself, as in parentheses.
    fn items(&mut self, close: &'static str) -> Option<AnsibleValue> {
        let mut first = None;
        while !self.take(close) {
            let value = self.value()?;
            // A key of a dictionary.
            if close == "}" && self.take(":") {
                self.value()?;
            }
            if !self.take(",") {
                self.take(close).then_some(())?;
                return Some(if first.is_none() { value } else { AnsibleValue::Other });
            }
            first = Some(value);
        }
        Some(AnsibleValue::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_as_ansible_reads_them() {
        let text = |text: &str| AnsibleValue::Text(text.to_owned());
        for (written, value) in [
            ("2222", AnsibleValue::Int(2222)),
            ("2222 # note", AnsibleValue::Int(2222)),
            ("-1", AnsibleValue::Int(-1)),
            ("0x16", AnsibleValue::Int(22)),
            ("2_222", AnsibleValue::Int(2222)),
            ("022", text("022")),
            ("1.5", AnsibleValue::Other),
            ("True", AnsibleValue::Bool(true)),
            ("true", text("true")),
            ("None", AnsibleValue::Null),
            ("'2222'", text("2222")),
            ("'a' \"b\"", text("ab")),
            ("'a", text("'a")),
            ("[1, 'a', {'b': (2,)}]", AnsibleValue::Other),
            ("[::1]", text("[::1]")),
            ("{{ port }}", text("{{ port }}")),
            ("(22)", AnsibleValue::Int(22)),
            ("+22", AnsibleValue::Int(22)),
            ("1+2", text("1+2")),
            ("root", text("root")),
            ("root # admin", text("root # admin")),
            ("10.0.0.1", text("10.0.0.1")),
            ("2001:db8::1", text("2001:db8::1")),
            ("~/.ssh/id", text("~/.ssh/id")),
            ("-J bastion", text("-J bastion")),
            ("", text("")),
            ("é", text("é")),
        ] {
            assert_eq!(literal(written), value, "{written}");
        }
    }
}
