//! YAML and JSON files of other tools as a tree with line numbers.
//!
//! Unlike our own inventory, such a file follows YAML 1.1 (`yes` is true), may repeat keys (the last counts) and has tags. Invariants: the tree is
//! bounded in depth and in size, even with nested anchors.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{NonFiniteFloatPolicy, Spanned};

/// Maximum nesting.
const MAX_DEPTH: usize = 64;
/// Maximum number of values.
const MAX_VALUES: usize = 5_000_000;
/// Maximum repetition by anchors.
const MAX_REPEATED: usize = 250_000;

/// A value and its line.
#[derive(Debug, Clone)]
pub(crate) struct TreeValue {
    pub(crate) line: usize,
    pub(crate) kind: TreeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum TreeKind {
    Null,
    Bool(bool),
    Int(i64),
    Float,
    Text(String),
    List(Vec<TreeValue>),
    Map(Vec<(TreeValue, TreeValue)>),
}

impl TreeValue {
    /// The pairs of a mapping whose keys are text.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Self, &Self)> {
        let pairs = if let TreeKind::Map(pairs) = &self.kind { pairs.as_slice() } else { &[] };
        pairs.iter().filter_map(|(key, value)| Some((key.text()?, key, value)))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let TreeKind::Text(text) = &self.kind { Some(text) } else { None }
    }

    pub(crate) const fn is_map(&self) -> bool {
        matches!(self.kind, TreeKind::Map(_))
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.kind, TreeKind::Null)
    }
}

/// Parses a text; the error has its line and its message.
pub(crate) fn read(text: &str) -> Result<TreeValue, (usize, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_VALUES,
            max_events: 2 * MAX_VALUES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        strict_booleans: true,
        reject_unsupported_tags: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<YamlVariant>>(text, options) {
        Ok(tree) => Ok(placed(text, tree)),
        Err(error) => {
            let line = error.location().map_or(0, |location| to_line(&location));
            let said = error.to_string();
            let said = said.lines().next().unwrap_or_default();
            Err((line, said.split(" at line ").next().unwrap_or(said).to_owned()))
        }
    }
}

fn to_line(location: &serde_saphyr::Location) -> usize {
    usize::try_from(location.line()).unwrap_or(0)
}

/// The value of the YAML library.
enum YamlVariant {
    Null,
    /// A boolean or a number to the library.
    Plain,
    Text(String),
    List(Vec<Spanned<YamlVariant>>),
    Map(Vec<(Spanned<YamlVariant>, Spanned<YamlVariant>)>),
}

fn placed(source: &str, node: Spanned<YamlVariant>) -> TreeValue {
    let line = to_line(&node.defined);
    let span = node.defined.span();
    let written = || {
        let start = usize::try_from(span.byte_offset()?).ok()?;
        source.get(start..start.checked_add(usize::try_from(span.byte_len()?).ok()?)?)
    };
    let kind = match node.value {
        YamlVariant::Null => TreeKind::Null,
        YamlVariant::Plain => plain(written().unwrap_or_default()),
        // Text that is written without quotes can be something else in YAML 1.1.
        YamlVariant::Text(text) if written() == Some(text.as_str()) => plain(&text),
        YamlVariant::Text(text) => TreeKind::Text(text),
        YamlVariant::List(items) => TreeKind::List(items.into_iter().map(|item| placed(source, item)).collect()),
        YamlVariant::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(key, value)| (placed(source, key), placed(source, value)));
            TreeKind::Map(last_of_each_key(pairs.collect()))
        }
    };
    TreeValue { line, kind }
}

/// The pairs of a mapping without those that a later one with the same text as its key replaces, as in Python's dictionaries.
fn last_of_each_key(pairs: Vec<(TreeValue, TreeValue)>) -> Vec<(TreeValue, TreeValue)> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
    let mut kept: Vec<(TreeValue, TreeValue)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let place = key.text().and_then(|name| places.insert(name.to_owned(), kept.len()));
        match place.and_then(|place| kept.get_mut(place).map(|slot| (place, slot))) {
            Some((place, slot)) => {
                places.extend(key.text().map(|name| (name.to_owned(), place)));
                *slot = (key, value);
            }
            None => kept.push((key, value)),
        }
    }
    kept
}

/// A scalar without quotes, as PyYAML resolves it (YAML 1.1), which Ansible uses.
fn plain(text: &str) -> TreeKind {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return TreeKind::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return TreeKind::Bool(false),
        "~" | "null" | "Null" | "NULL" | "" => return TreeKind::Null,
        _ => {}
    }
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = |digits: &str, radix| i64::from_str_radix(&digits.replace('_', ""), radix).ok();
    let is_of = |digits: &str, allowed: fn(u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| allowed(byte) || byte == b'_')
    };
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_digit());
    let found = if let Some(hex) = digits.strip_prefix("0x").filter(|hex| is_of(hex, |byte| byte.is_ascii_hexdigit())) {
        number(hex, 16)
    } else if let Some(bits) = digits.strip_prefix("0b").filter(|bits| is_of(bits, |byte| matches!(byte, b'0' | b'1')))
    {
        number(bits, 2)
    } else if let Some(octal) = digits.strip_prefix('0').filter(|rest| is_of(rest, |byte| matches!(byte, b'0'..=b'7')))
    {
        number(octal, 8)
    } else if digits == "0"
        || (starts_with_digit && !digits.starts_with('0') && is_of(digits, |byte| byte.is_ascii_digit()))
    {
        number(digits, 10)
    } else if starts_with_digit && digits.contains(':') && !digits.starts_with('0') {
        base_60(digits)
    } else {
        return if is_float(digits) { TreeKind::Float } else { TreeKind::Text(text.to_owned()) };
    };
    match found {
        Some(number) => TreeKind::Int(if is_negative { number.saturating_neg() } else { number }),
        // Too large, or no number of base 60 after all.
        None if digits.contains(':') => TreeKind::Text(text.to_owned()),
        None => TreeKind::Float,
    }
}

/// `12:30:45`, a number of seconds in YAML 1.1.
fn base_60(digits: &str) -> Option<i64> {
    let mut parts = digits.split(':');
    let mut sum: i64 = parts.next()?.replace('_', "").parse().ok()?;
    for part in parts {
        let value: i64 = part.parse().ok().filter(|value| *value < 60 && part.len() <= 2 && !part.starts_with('+'))?;
        sum = sum.checked_mul(60)?.checked_add(value)?;
    }
    Some(sum)
}

/// A fraction: with a point, and with a sign in its exponent.
fn is_float(digits: &str) -> bool {
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = digits.split_once('.') else { return false };
    let (fraction, exponent) =
        rest.split_once(['e', 'E']).map_or((rest, None), |(fraction, exponent)| (fraction, Some(exponent)));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']);
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let has_digit = whole.starts_with(|c: char| c.is_ascii_digit())
        || (whole.is_empty() && fraction.starts_with(|c: char| c.is_ascii_digit()));
    has_digit && are_digits(whole) && are_digits(fraction) && exponent.is_none_or(is_exponent)
}

impl<'de> Deserialize<'de> for YamlVariant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VariantVisitor)
    }
}

struct VariantVisitor;

impl<'de> Visitor<'de> for VariantVisitor {
    type Value = YamlVariant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Null)
    }

    fn visit_none<E>(self) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Plain)
    }

    fn visit_str<E>(self, value: &str) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<YamlVariant, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(YamlVariant::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<YamlVariant, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            map.push(pair);
        }
        Ok(YamlVariant::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_of_yaml_1_1() {
        let shown = |text: &str| match plain(text) {
            TreeKind::Int(number) => format!("int {number}"),
            TreeKind::Bool(value) => format!("bool {value}"),
            TreeKind::Float => "float".to_owned(),
            TreeKind::Null => "null".to_owned(),
            TreeKind::Text(text) => format!("text {text}"),
            TreeKind::List(_) | TreeKind::Map(_) => "a collection".to_owned(),
        };
        for (text, expected) in [
            ("22", "int 22"),
            ("-22", "int -22"),
            ("+22", "int 22"),
            ("2_222", "int 2222"),
            ("010", "int 8"),
            ("08", "text 08"),
            ("0o17", "text 0o17"),
            ("0x16", "int 22"),
            ("0b11", "int 3"),
            ("12:30:45", "int 45045"),
            ("12:99", "text 12:99"),
            ("1.5", "float"),
            ("1.5e+3", "float"),
            ("1e3", "text 1e3"),
            (".inf", "float"),
            (".", "text ."),
            ("10.0.0.1", "text 10.0.0.1"),
            ("2001:db8::1", "text 2001:db8::1"),
            ("99999999999999999999", "float"),
            ("Yes", "bool true"),
            ("y", "text y"),
            ("~", "null"),
            ("root", "text root"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let tree = read("a: 'yes'\nb: yes\nc: \"22\"\nd: |\n  22\n").expect("valid");
        let kinds: Vec<bool> = tree.pairs().map(|(_, _, value)| value.text().is_some()).collect();
        assert_eq!(kinds, [true, false, true, true]);
    }
}
