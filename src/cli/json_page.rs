//! docs/json.md as data, for the tests that compare it with the output and with the JSON Schema.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/json.md");

/// The section of the fields that every line has.
pub(super) const EVERY_LINE: &str = "Every line";

/// What a row says when its field is never null.
pub(super) const NEVER: &str = "never";

/// The texts below the headings.
pub(super) fn sections() -> BTreeMap<&'static str, &'static str> {
    let mut sections = BTreeMap::new();
    for part in PAGE.split("\n## ").skip(1).flat_map(|part| part.split("\n### ")) {
        let (heading, text) = part.split_once('\n').expect("a line with a heading");
        assert!(sections.insert(heading, text).is_none(), "docs/json.md has two sections {heading}");
    }
    sections
}

/// The rows of the table whose first column has this title, as cells.
pub(super) fn table(text: &'static str, title: &str) -> Vec<Vec<&'static str>> {
    let head = format!("| {title} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// A row of a table of fields.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// The first word of its type.
    pub(super) json_type: &'static str,
    pub(super) null: &'static str,
    pub(super) meaning: &'static str,
}

pub(super) fn fields(text: &'static str) -> Vec<Field> {
    let field = |cells: Vec<&'static str>| match cells.as_slice() {
        [name, json_type, null, meaning] => {
            let json_type = json_type.split([' ', ',']).next().unwrap_or_default();
            Field { name: name.trim_matches('`'), json_type, null, meaning }
        }
        other => panic!("a field has four cells: {other:?}"),
    };
    table(text, "field").into_iter().map(field).collect()
}
