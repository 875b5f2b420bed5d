//! YAML as a tree of values with their places.
//!
//! Here live [`RawValue`] and [`read`], which parses text with the YAML library as `yaml.rs` sets it up.
//! Mappings are lists of pairs, so that a duplicate key keeps both places. `syntax.rs` explains its errors. Invariants: the tree is
//! bounded in depth and in size, even with nested anchors, and `<<` is expanded. Start reading at [`RawValue`].

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::{Diagnostic, ProblemReport};
use super::syntax::syntax_fault;
use super::yaml::{bytes, options};

/// A value and its place.
#[derive(Debug, Clone)]
pub struct RawValue {
    /// The bytes of its source. For a mapping or list only the first byte, or nothing.
    pub span: Range<usize>,
    /// The start of `value`'s characters in the text, if they appear there unchanged.
    content: Option<usize>,
    /// The value itself.
    pub value: Value,
}

/// A YAML value as written, before anything is known of its meaning.
#[derive(Debug, Clone)]
pub enum Value {
    /// Absent, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// Any other scalar.
    Text(String),
    /// The items, in order.
    List(Vec<RawValue>),
    /// Keys may be duplicated.
    Map(Vec<(RawValue, RawValue)>),
}

impl RawValue {
    /// The place of a part of the scalar; of the whole scalar if the text has it in another form.
    pub fn part(&self, part: Range<usize>) -> Range<usize> {
        match self.content {
            Some(start) => {
                let end = (start + part.end).min(self.span.end);
                (start + part.start).min(end)..end
            }
            None => self.span.clone(),
        }
    }

    /// The place of a value for a caret: that of its first key or item if it has no characters of its own.
    pub fn place(&self) -> Range<usize> {
        if !self.span.is_empty() {
            return self.span.clone();
        }
        // A collection without a span of its own begins at its first element.
        match &self.value {
            Value::List(items) => items.first().map(Self::place),
            Value::Map(pairs) => pairs.first().map(|(key, _)| key.place()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => None,
        }
        .unwrap_or_else(|| self.span.clone())
    }

    /// A scalar's text, whatever its YAML type; none for `~`, absent values, lists and mappings.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The kind of the value, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Parses one YAML document.
///
/// `None` if it is not well-formed; `report` then has the reason: only the first syntax error is known. The text must
/// have no byte order mark; `owner` is its kind, such as `an inventory`.
pub fn read(text: &str, owner: &str, report: &mut ProblemReport) -> Option<RawValue> {
    match serde_saphyr::from_str_with_options::<Spanned<ParsedYaml>>(text, options()) {
        Ok(tree) => Some(raw(text, tree, report)),
        Err(error) => {
            report.add(syntax_fault(text, owner, &error));
            None
        }
    }
}

/// The value of the YAML library, before its places are converted.
enum ParsedYaml {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<ParsedYaml>>),
    Map(Vec<(Spanned<ParsedYaml>, Spanned<ParsedYaml>)>),
}

impl<'de> Deserialize<'de> for ParsedYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = ParsedYaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Null)
    }

    fn visit_none<E>(self) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<ParsedYaml, E> {
        Ok(ParsedYaml::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ParsedYaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ParsedYaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ParsedYaml, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            map.push(pair);
        }
        Ok(ParsedYaml::Map(map))
    }
}

fn raw(text: &str, node: Spanned<ParsedYaml>, report: &mut ProblemReport) -> RawValue {
    let span = bytes(text, &node.defined);
    let source = text.get(span.clone()).unwrap_or_default();
    let mut content = None;
    let value = match node.value {
        ParsedYaml::Null => Value::Null,
        ParsedYaml::Bool(value) => Value::Bool(value),
        // A plain number keeps its text: `001` must stay `001`.
        ParsedYaml::Number => {
            content = Some(span.start);
            Value::Number(source.to_owned())
        }
        ParsedYaml::Text(value) => {
            // The text is unchanged if it equals the source, or the source without its quotes; otherwise it has escapes
            // or folded lines, and its parts have no place of their own.
            let inner = source.get(1..source.len().saturating_sub(1));
            if source == value {
                content = Some(span.start);
            } else if inner == Some(value.as_str()) {
                content = Some(span.start + 1);
            }
            Value::Text(value)
        }
        ParsedYaml::List(items) => Value::List(items.into_iter().map(|item| raw(text, item, report)).collect()),
        ParsedYaml::Map(pairs) => Value::Map(merged(text, pairs, report)),
    };
    RawValue { span, content, value }
}

/// The pairs of a mapping, with `<<` expanded: keys of the mapping itself come first and win, then earlier sources win
/// over later ones.
fn merged(
    text: &str,
    pairs: Vec<(Spanned<ParsedYaml>, Spanned<ParsedYaml>)>,
    report: &mut ProblemReport,
) -> Vec<(RawValue, RawValue)> {
    let mut own = Vec::with_capacity(pairs.len());
    let mut sources = Vec::new();
    for (key, value) in pairs {
        let (key, value) = (raw(text, key, report), raw(text, value, report));
        // Only the plain key merges: a quoted `"<<"` is an ordinary one.
        if text.get(key.span.clone()) != Some("<<") {
            own.push((key, value));
            continue;
        }
        let given = match value.value {
            Value::List(items) => items,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => vec![value],
        };
        for source in given {
            match source.value {
                Value::Map(pairs) => sources.extend(pairs),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                    let message = format!("`<<` must be a mapping or a list of mappings, not {}", source.kind());
                    let place = if source.span.is_empty() { key.span.clone() } else { source.span.clone() };
                    report.add(Diagnostic::new(place, message).help("write `<<: *name`, with `&name` at that mapping"));
                }
            }
        }
    }
    if !sources.is_empty() {
        // `retain` keeps the first key, so own keys win over sources, and earlier sources over later ones.
        let mut known: HashSet<String> = own.iter().filter_map(|(key, _)| key.as_text()).map(str::to_owned).collect();
        sources.retain(|(key, _)| key.as_text().is_none_or(|key| known.insert(key.to_owned())));
        own.append(&mut sources);
    }
    own
}
