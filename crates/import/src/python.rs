//! Takes Python apart into tokens, so that values can be read that a text states without being executed.
//!
//! Start reading at [`Tokens::next_token`].

/// A piece of Python's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: TokenKind,
    /// Spaces before it, if it is the first of its line.
    pub(crate) indent: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Name(String),
    Text(String),
    Int(i64),
    Float,
    /// An operator or bracket, one character; `==` and the like are two.
    Sign(&'static str),
    /// The end of a line outside brackets.
    Newline,
}

/// The signs that matter; every other one makes a statement unreadable anyway.
const SIGNS: [&str; 13] = ["[", "]", "(", ")", "{", "}", ",", ":", "=", ".", "+", "-", ";"];

/// Takes Python apart without understanding it.
pub(crate) struct Tokens<'t> {
    rest: &'t str,
    line: usize,
    depth: usize,
    is_line_start: bool,
}

impl<'t> Tokens<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { rest: text, line: 1, depth: 0, is_line_start: true }
    }

    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += skipped.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
    }

    /// The next token; none at the end.
    ///
    /// # Errors
    /// The line of a string that is not closed.
    pub(crate) fn next_token(&mut self) -> Result<Option<Token>, usize> {
        let mut indent = 0;
        loop {
            let Some(c) = self.rest.chars().next() else { return Ok(None) };
            match c {
                '\n' => {
                    let line = self.line;
                    self.skip(1);
                    indent = 0;
                    if self.depth == 0 && !self.is_line_start {
                        self.is_line_start = true;
                        return Ok(Some(Token { line, kind: TokenKind::Newline, indent: 0 }));
                    }
                }
                ' ' | '\t' | '\r' | '\u{c}' => {
                    indent += 1;
                    self.skip(1);
                }
                '#' => self.skip(self.rest.find('\n').unwrap_or(self.rest.len())),
                // A line that goes on.
                '\\' if self.rest.starts_with("\\\n") => self.skip(2),
                '\\' if self.rest.starts_with("\\\r\n") => self.skip(3),
                _ => break,
            }
        }
        let line = self.line;
        let indent = if std::mem::take(&mut self.is_line_start) { indent } else { 0 };
        let kind = self.kind()?;
        if let TokenKind::Sign(sign) = kind {
            match sign {
                "[" | "(" | "{" => self.depth += 1,
                "]" | ")" | "}" => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(Some(Token { line, kind, indent }))
    }

    fn kind(&mut self) -> Result<TokenKind, usize> {
        let first = self.rest.chars().next().unwrap_or_default();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if first == '"' || first == '\'' {
            return self.string(false);
        }
        if is_word(first) {
            let end = self.rest.find(|c: char| !is_word(c)).unwrap_or(self.rest.len());
            let word = self.rest.get(..end).unwrap_or_default().to_owned();
            let next = self.rest.get(end..).and_then(|rest| rest.chars().next());
            let prefix = word.to_ascii_lowercase();
            if matches!(next, Some('"' | '\'')) && matches!(prefix.as_str(), "u" | "r" | "b" | "f" | "br" | "rb" | "ur")
            {
                self.skip(end);
                let text = self.string(prefix.contains('r'))?;
                // Bytes and formatted strings are not text that is written down.
                return Ok(if prefix == "u" || prefix == "r" || prefix == "ur" { text } else { TokenKind::Float });
            }
            if first.is_ascii_digit() {
                return Ok(self.number(&word));
            }
            self.skip(end);
            return Ok(TokenKind::Name(word));
        }
        let doubled =
            ["==", "!=", "<=", ">=", "+=", "-=", "**", "//", "->", ":="].iter().any(|sign| self.rest.starts_with(sign));
        if doubled {
            self.skip(2);
            return Ok(TokenKind::Sign("?"));
        }
        let sign = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign)).unwrap_or("?");
        self.skip(first.len_utf8());
        Ok(TokenKind::Sign(sign))
    }

    /// A number that begins with `word`.
    fn number(&mut self, word: &str) -> TokenKind {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(self.rest.len());
        let whole = self.rest.get(..end).unwrap_or_default();
        let is_plain = whole == word && !word.ends_with('_') && !word.contains("__");
        let digits = word.replace('_', "");
        let radix = |prefix: &str, radix| {
            let digits = digits.to_ascii_lowercase();
            digits.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok())
        };
        let number = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)).or_else(|| {
            // Python has no decimal number that begins with 0, but for 0 itself.
            let has_zeros = digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0');
            if has_zeros { None } else { digits.parse().ok() }
        });
        self.skip(end);
        match number {
            Some(number) if is_plain => TokenKind::Int(number),
            _ if whole.parse::<f64>().is_ok() && whole.contains(['.', 'e', 'E']) => TokenKind::Float,
            // Such as `10.0.0.1` or `007`: no Python at all.
            _ => TokenKind::Sign("?"),
        }
    }

    fn string(&mut self, raw: bool) -> Result<TokenKind, usize> {
        let line = self.line;
        let quote = self.rest.chars().next().unwrap_or_default();
        let triple: String = [quote; 3].iter().collect();
        let (end, is_triple) = if self.rest.starts_with(&triple) { (triple, true) } else { (quote.to_string(), false) };
        self.skip(end.len());
        let mut text = String::new();
        loop {
            if self.rest.starts_with(&end) {
                self.skip(end.len());
                return Ok(TokenKind::Text(text));
            }
            let c = self.rest.chars().next().filter(|c| is_triple || *c != '\n').ok_or(line)?;
            self.skip(c.len_utf8());
            if c != '\\' {
                text.push(c);
                continue;
            }
            let next = self.rest.chars().next().ok_or(line)?;
            self.skip(next.len_utf8());
            match next {
                _ if raw => text.extend(['\\', next]),
                '\n' => {}
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\\' | '\'' | '"' => text.push(next),
                'x' => {
                    let code = self.rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(line)?;
                    self.skip(2);
                    text.push(char::from(code));
                }
                other => text.extend(['\\', other]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_causes_a_panic() {
        for text in ["\\", "'\\", "'''a", "\"\\x", "0x", "é'", "u'", "(((", "1__0", "'\\xé'"] {
            let mut tokens = Tokens::new(text);
            while let Ok(Some(_)) = tokens.next_token() {}
        }
    }
}
