//! YAML and JSON files of other tools as a tree with line numbers.
//!
//! Unlike our own inventory, such a file follows YAML 1.1 (`yes` is true), may repeat keys (the last counts) and has tags. Invariant: the tree is
//! bounded in depth and in size, even with nested anchors.

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
        strict_booleans: false,
        reject_unsupported_tags: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<YamlVariant>>(text, options) {
        Ok(tree) => Ok(placed(tree)),
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
    Bool(bool),
    Int(i64),
    Float,
    Text(String),
    List(Vec<Spanned<YamlVariant>>),
    Map(Vec<(Spanned<YamlVariant>, Spanned<YamlVariant>)>),
}

fn placed(node: Spanned<YamlVariant>) -> TreeValue {
    let line = to_line(&node.defined);
    let kind = match node.value {
        YamlVariant::Null => TreeKind::Null,
        YamlVariant::Bool(value) => TreeKind::Bool(value),
        YamlVariant::Int(value) => TreeKind::Int(value),
        YamlVariant::Float => TreeKind::Float,
        YamlVariant::Text(text) => TreeKind::Text(text),
        YamlVariant::List(items) => TreeKind::List(items.into_iter().map(placed).collect()),
        YamlVariant::Map(pairs) => {
            TreeKind::Map(pairs.into_iter().map(|(key, value)| (placed(key), placed(value))).collect())
        }
    };
    TreeValue { line, kind }
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

    fn visit_bool<E>(self, value: bool) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<YamlVariant, E> {
        Ok(i64::try_from(value).map_or(YamlVariant::Float, YamlVariant::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<YamlVariant, E> {
        Ok(YamlVariant::Float)
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
