//! The JSON Schema of the JSON output, docs/schema/ctl-1.json, made from the types that are serialized and from the
//! tables of docs/json.md.
//!
//! `CTL_SCHEMA=overwrite cargo test --bin ctl json_schema` writes the file; read the difference before you keep it.
//! Invariants: a field is described as on the page, has the type that the page says, and can be null only where the page
//! says when. What a later version may add (fields, lines, values of some enumerations) is valid. Start at [`schema`].

#[path = "../../tests/support/json_schema.rs"]
mod json_schema;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(super) use self::json_schema::assert_valid;
use super::commands::{connections, inventory, runs};
use super::json_page::{EVERY_LINE, Field, NEVER, fields, sections, table};
use super::output::{OutputDocument, PlanDocument};
use super::watch::TaggedChange;
use ctl_event::{CommandRun, Outcome, Summary, TargetResult};

/// Set to `overwrite` to write the schema.
const VARIABLE: &str = "CTL_SCHEMA";

const FILE: &str = "docs/schema/ctl-1.json";

/// The page's section of the fields that only results of `exec` have.
const EXEC: &str = "Result of `exec`";

/// The page's section of the fields that only results of a sequence have.
const ITEM: &str = "Result of a sequence";

/// The objects by name, and the sections of the page that have their fields.
const OBJECTS: &[(&str, &[&str])] = &[
    ("Cap", &["Cap"]),
    ("Change", &["Change"]),
    ("ConnectionListDocument", &["List of connections"]),
    ("ConnectionSetting", &["Connection setting"]),
    ("DiffSummary", &["Summary of a diff"]),
    ("DownService", &["Service that is down"]),
    ("Evidence", &["Evidence"]),
    ("Failure", &["Failure"]),
    ("Finding", &["Finding"]),
    ("Input", &["Input"]),
    ("InventoryCheckDocument", &["Inventory check"]),
    ("InventoryDocument", &["Inventory"]),
    ("InventoryNode", &["Inventory node"]),
    ("InventoryShowDocument", &["Inventory node", "Inventory show"]),
    ("KeptConnection", &["Connection"]),
    ("KeptItem", &["Kept item"]),
    ("LivePlan", &["Live plan"]),
    ("LogResult", &["Result", EXEC, ITEM, "Result of `logs`"]),
    ("Node", &["Node"]),
    ("Origin", &["Origin"]),
    ("PendingUpdate", &["Pending update"]),
    ("Plan", &["Steps"]),
    ("PlanDocument", &["Plan document"]),
    ("RecordedRun", &["Recorded run"]),
    ("Result", &["Result", EXEC, ITEM]),
    ("Run", &["Run"]),
    ("RunListDocument", &["List of runs"]),
    ("RunStarted", &["`run_started`"]),
    ("Selection", &["Selection"]),
    ("SequenceItem", &["Sequence item"]),
    ("SnapshotDiff", &["Snapshot diff"]),
    ("Step", &["Step"]),
    ("Summary", &["Summary"]),
    ("Supervisord", &["Supervisord"]),
    ("UnknownService", &["Unknown service"]),
    ("UnreachableNode", &["Unreachable node"]),
];

/// The lines by name. The sections of their events are those of [`event_sections`].
const LINES: &[&str] = &["DiffLine", "RunLine", "WatchLine"];

/// Enumerations whose values a later version may add to, and the section with a table of the values, where there is one.
const OPEN: &[(&str, Option<&str>)] =
    &[("ChangeKind", None), ("FailureKind", Some("Failure kinds")), ("FindingKind", Some("Finding")), ("Stage", None)];

/// The sections that have the fields of a line besides those of every line.
fn event_sections(event: &str, is_watched: bool) -> &'static [&'static str] {
    match event {
        "run_started" => &["`run_started`"],
        "batch_started" => &["`batch_started`"],
        "result" => &["Result", EXEC, ITEM],
        "node" => &["Node"],
        "log" => &["`log`"],
        "gate" => &["`gate`"],
        "run_finished" => &["`run_finished`"],
        "watch_started" => &["`watch_started`"],
        "change" if is_watched => &["Change", "Watched change"],
        "change" => &["Change"],
        "diff_finished" => &["`diff_finished`"],
        other => panic!("no section of docs/json.md is known for lines {other}"),
    }
}

/// The schema, from the types and the page.
fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut parts = ctl_sink::schema::documents(&mut generator);
    parts.push(document::<PlanDocument>(&mut generator));
    parts.push(document::<runs::RunListing>(&mut generator));
    parts.push(document::<connections::ConnectionListing<'_>>(&mut generator));
    parts.push(document::<inventory::InventoryListing<'_>>(&mut generator));
    parts.push(document::<inventory::ShownInventory<'_>>(&mut generator));
    parts.push(document::<inventory::InventoryCheck>(&mut generator));
    parts.extend(ctl_sink::schema::lines(&mut generator));
    parts.push(generator.subschema_for::<TaggedChange<'_>>());
    let mut parts: Vec<Value> = parts.into_iter().map(Value::from).collect();
    parts.push(json!({"$ref": "#/$defs/OtherLine"}));
    let log_result = Value::from(ctl_sink::schema::log_result(&mut generator));

    let mut definitions = generator.take_definitions(true);
    definitions.values_mut().for_each(tidy);
    require_command_fields(&mut definitions, &log_result);
    let events = Page { sections: sections(), types: definitions.clone() }.describe(&mut definitions);
    definitions.insert(
        "OtherLine".to_owned(),
        json!({
            "description": "A line that a later version may add: scripts must accept it.",
            "type": "object",
            "properties": {"schema": {"const": "ctl/1"}, "event": {"type": "string", "not": {"enum": events}}},
            "required": ["schema", "event"],
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "JSON output of ctl, ctl/1",
        "description": "One document of `-o json`, or one line of `-o jsonl`. docs/json.md describes both. Later versions \
            can add fields, lines, and values of `kind`, `stage`, `change` and `event`.",
        "anyOf": parts,
        "$defs": definitions,
    })
}

/// A document with these fields, described as they are.
fn document<T: JsonSchema + Serialize>(generator: &mut SchemaGenerator) -> Schema {
    let part = generator.subschema_for::<OutputDocument<'_, T>>();
    let description = T::json_schema(generator).get("description").cloned();
    generator.definitions_mut()[OutputDocument::<'_, T>::schema_name().as_ref()]["description"] = json!(description);
    part
}

/// Removes what matters only in Rust: the names of its integer types, defaults for reading, enumerations of one value.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let is_integer = object.get("format").and_then(Value::as_str).is_some_and(|name| name.contains("int"));
            if is_integer {
                object.remove("format");
            }
            object.remove("default");
            if let Some([only]) = object.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) {
                let only = only.clone();
                object.remove("oneOf");
                object.insert("const".to_owned(), only["const"].clone());
                object.insert("type".to_owned(), only["type"].clone());
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fields of a command are there all or none, and all in a run of `exec`, as are those of a sequence; results of `logs` have their lines.
fn require_command_fields(definitions: &mut Map<String, Value>, log_result: &Value) {
    let names: Vec<&str> = fields(sections()[EXEC]).into_iter().map(|field| field.name).collect();
    let of_item: Vec<&str> = fields(sections()[ITEM]).into_iter().map(|field| field.name).collect();
    let others = |names: &Vec<&'static str>| {
        let of = |name: &&'static str| names.iter().filter(|other| *other != name).copied().collect::<Vec<_>>();
        names.iter().map(|name| (*name, of(name))).collect::<Vec<_>>()
    };
    let all_or_none: BTreeMap<&str, Vec<&str>> = [others(&names), others(&of_item)].concat().into_iter().collect();
    for result in ["Result", "LogResult"] {
        definitions[result]["dependentRequired"] = json!(all_or_none);
    }
    let in_run_of = |command: &str, items: &Value| {
        json!({
            "if": {"properties": {"command": {"const": command}}},
            "then": {"properties": {"results": {"items": items}}},
        })
    };
    definitions["Run"]["allOf"] =
        json!([in_run_of("exec", &json!({"required": names})), in_run_of("logs", log_result)]);
}

/// The tables of the page, and the definitions as the types have them.
struct Page {
    sections: BTreeMap<&'static str, &'static str>,
    types: Map<String, Value>,
}

impl Page {
    /// Puts the words of the page into the definitions; returns the events.
    fn describe(&self, definitions: &mut Map<String, Value>) -> BTreeSet<String> {
        let mut events = BTreeSet::new();
        for (name, definition) in definitions {
            if let Some((_, headings)) = OBJECTS.iter().find(|(own, _)| own == name) {
                match definition.get_mut("oneOf").and_then(Value::as_array_mut) {
                    Some(variants) => variants.iter_mut().for_each(|variant| self.fields(name, variant, headings)),
                    None => self.fields(name, definition, headings),
                }
            } else if LINES.contains(&name.as_str()) {
                self.fields(name, definition, &[EVERY_LINE]);
                for variant in definition["oneOf"].as_array_mut().expect("events") {
                    let event = variant["properties"]["event"]["const"].as_str().expect("an event").to_owned();
                    let headings = [&[EVERY_LINE], event_sections(&event, name == "WatchLine")].concat();
                    self.fields(&format!("{name}, {event}"), variant, &headings);
                    events.insert(event);
                }
            } else {
                self.enumeration(name, definition);
            }
        }
        events
    }

    /// Describes the fields of an object.
    fn fields(&self, name: &str, object: &mut Value, headings: &[&'static str]) {
        let rows: Vec<Field> = headings.iter().flat_map(|heading| fields(self.sections[heading])).collect();
        let is_complete = object.get("$ref").is_none() && object.get("oneOf").is_none() && headings != [EVERY_LINE];
        let properties = object["properties"].as_object_mut().unwrap_or_else(|| panic!("{name} has no fields"));
        for (field, property) in &mut *properties {
            let row = rows.iter().find(|row| row.name == field);
            let Field { json_type, null, meaning, .. } =
                row.unwrap_or_else(|| panic!("{name}: docs/json.md has no row for {field} in {headings:?}"));
            let types = self.types_of(property);
            assert_eq!(types.contains("null"), *null != NEVER, "{name}: is {field} null? {property}");
            assert!(types.contains(*json_type), "{name}: {field} is not {json_type}: {property}");
            let when = if *null == NEVER { String::new() } else { format!(" (null {})", plain(null)) };
            // An event is one value, and each has a schema of its own.
            if field != "event" {
                property["description"] = json!(plain(meaning) + &when);
            }
        }
        let is_printed = |row: &Field| properties.contains_key(row.name) || headings.contains(&EVERY_LINE);
        if is_complete && let Some(row) = rows.iter().find(|row| !is_printed(row)) {
            panic!("{name}: {} of docs/json.md is no field of the type", row.name);
        }
    }

    /// The types that a schema allows.
    fn types_of(&self, schema: &Value) -> BTreeSet<String> {
        let mut types = BTreeSet::new();
        match &schema["type"] {
            Value::String(own) => drop(types.insert(own.clone())),
            Value::Array(own) => types.extend(own.iter().filter_map(Value::as_str).map(str::to_owned)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
        }
        for several in ["anyOf", "oneOf"] {
            let parts = schema[several].as_array().into_iter().flatten();
            types.extend(parts.flat_map(|part| self.types_of(part)));
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            types.extend(self.types_of(&self.types[name]));
        }
        types
    }

    /// Opens an enumeration to later values if it is one of those, and describes its values as the page does.
    fn enumeration(&self, name: &str, definition: &mut Value) {
        let values = definition["oneOf"].as_array_mut();
        let values = values.unwrap_or_else(|| panic!("{name} is neither an object of the page nor an enumeration"));
        let Some((_, heading)) = OPEN.iter().find(|(own, _)| *own == name) else { return };
        for row in heading.map(|heading| table(self.sections[heading], "kind")).unwrap_or_default() {
            let kind = row[0].trim_matches('`');
            let value = values.iter_mut().find(|value| value["const"] == kind);
            value.unwrap_or_else(|| panic!("{name} has no {kind}"))["description"] = json!(plain(row[1]));
        }
        *definition = json!({
            "description": definition["description"],
            "type": "string",
            "anyOf": [{"oneOf": definition["oneOf"]}, {"type": "string"}],
        });
    }
}

/// Markdown without its links. A link in parentheses is left out.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let (label, after) = link.split_once("](").expect("a link");
        let after = after.split_once(')').expect("the end of a link").1;
        (rest, text) = match (before.strip_suffix(" ("), after.strip_prefix(')')) {
            (Some(before), Some(after)) => (after, text + before),
            _ => (after, text + before + label),
        };
    }
    text + rest
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let schema = schema();
    if env::var_os(VARIABLE).is_some_and(|value| value == "overwrite") {
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        fs::write(&path, text).expect("the schema is written");
        return;
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    let published: Value = serde_json::from_str(&published).unwrap_or_default();
    assert!(
        published == schema,
        "{FILE} differs from the types and docs/json.md; `{VARIABLE}=overwrite cargo test --bin ctl json_schema` writes it"
    );
}

/// The document of a run of this command with one result that has these fields besides its own.
fn run_of(command: &str, fields: Value) -> Value {
    let mut result = serde_json::to_value(TargetResult::new("a1", Outcome::Ok)).expect("JSON");
    result.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({
        "schema": "ctl/1", "run": "20260301-080000-abcd", "command": command, "action": command, "services": [],
        "selection": {"roles": [], "nodes": null, "exclude": null}, "started": "2026-03-01T08:00:00Z",
        "elapsed_ms": 812, "exit_code": 0, "results": [result], "nodes": null, "kept": null, "summary": Summary::default(),
    })
}

#[test]
fn what_later_versions_may_add_is_valid() {
    let published = jsonschema::validator_for(&schema()).expect("a schema");
    let failure = |kind: &str, stage: &str| json!({"stage": stage, "kind": kind, "message": "x", "hint": null});
    for (valid, document) in [
        (true, run_of("status", json!({}))),
        (true, run_of("status", json!({"later": 1}))),
        (true, run_of("status", json!({"failure": failure("later", "later")}))),
        (true, json!({"schema": "ctl/1", "event": "later"})),
        (false, run_of("status", json!({"failure": {"kind": "refused"}}))),
        (false, run_of("status", json!({"failure": failure("refused", "connect"), "outcome": "later"}))),
        (false, run_of("status", json!({"message": null}))),
        (false, run_of("status", json!({"pid": "7"}))),
        (false, run_of("status", json!({"truncated": null}))),
        (false, run_of("exec", json!({}))),
        (true, run_of("exec", json!(CommandRun::NOT_STARTED))),
        (false, run_of("logs", json!({}))),
        (false, run_of("logs", json!({"stream": null, "lines": null}))),
        (true, run_of("logs", json!({"stream": null, "lines": []}))),
        (false, json!({"schema": "ctl/1", "event": "run_finished"})),
        (false, json!({"schema": "ctl/2", "event": "later"})),
        (false, json!({"schema": "ctl/1"})),
    ] {
        assert_eq!(published.is_valid(&document), valid, "{document}");
    }
}

#[test]
fn every_definition_is_used_and_has_its_section() {
    let schema = schema();
    let text = schema.to_string();
    let definitions = schema["$defs"].as_object().expect("definitions");
    for name in definitions.keys() {
        assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{name} is not used");
    }
    let named = OBJECTS.iter().map(|(name, _)| name).chain(LINES).chain(OPEN.iter().map(|(name, _)| name));
    for name in named {
        assert!(definitions.contains_key(*name), "no type is named {name}");
    }
    for outcome in Outcome::ALL {
        let outcomes = definitions["Outcome"]["oneOf"].as_array().expect("outcomes");
        assert!(outcomes.iter().any(|value| value["const"] == outcome.as_str()), "{outcome}");
    }
}
