//! The values of INI lines: Python's literals, or else text.

use super::value::AnsibleValue;
use crate::python::{Token, TokenKind, Tokens};

/// A value in an INI inventory: a Python literal, or else text.
pub(super) fn literal(text: &str) -> AnsibleValue {
    let as_text = || AnsibleValue::Text(text.to_owned());
    // A comment behind a literal is Python, behind a word it belongs to the text.
    let mut tokens = Tokens::new(text);
    let Ok(Some(first)) = tokens.next_token() else { return as_text() };
    let negative = first.kind == TokenKind::Sign("-");
    let value = if negative { tokens.next_token().ok().flatten() } else { Some(first) };
    let mut value = match value.map(|token| token.kind) {
        Some(TokenKind::Int(number)) => AnsibleValue::Int(if negative { -number } else { number }),
        Some(TokenKind::Float) => AnsibleValue::Other,
        Some(TokenKind::Text(text)) if !negative => AnsibleValue::Text(text),
        Some(TokenKind::Name(name)) if !negative => match name.as_str() {
            "True" => AnsibleValue::Bool(true),
            "False" => AnsibleValue::Bool(false),
            "None" => AnsibleValue::Null,
            _ => return as_text(),
        },
        _ => return as_text(),
    };
    // Two strings in a row are one.
    loop {
        match tokens.next_token() {
            Ok(None) => return value,
            Ok(Some(Token { kind: TokenKind::Newline, .. })) => {}
            Ok(Some(Token { kind: TokenKind::Text(more), .. })) => {
                let AnsibleValue::Text(text) = &mut value else { return as_text() };
                text.push_str(&more);
            }
            _ => return as_text(),
        }
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
