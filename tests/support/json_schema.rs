//! Checks the JSON output of `ctl` against the published schema: docs/schema/ctl-1.json.
//!
//! Scripts must accept additions of later versions. Here that part of the schema is removed, so that a new line or kind
//! that is not in the schema is a failure.

use std::path::Path;
use std::sync::OnceLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

/// Asserts that a document or a line matches the schema.
#[track_caller]
pub(crate) fn assert_valid(document: &Value) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/ctl-1.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut schema: Value = serde_json::from_str(&text).expect("the schema is not valid JSON");
        close(&mut schema);
        jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is not valid")
    });
    let errors = causes(&validator.iter_errors(document).collect::<Vec<_>>());
    assert!(errors.is_empty(), "does not match docs/schema/ctl-1.json:\n{}\n{document:#}", errors.join("\n"));
}

/// Restricts the schema to this version's output: no lines with other events, and no other values of open enumerations.
fn close(schema: &mut Value) {
    let others = serde_json::json!({"$ref": "#/$defs/OtherLine"});
    schema["anyOf"]
        .as_array_mut()
        .expect("no documents and lines in the schema")
        .retain(|document| *document != others);
    for definition in schema["$defs"].as_object_mut().expect("definitions").values_mut() {
        if definition["type"] == "string"
            && let Some(values) = definition.get_mut("anyOf").and_then(Value::as_array_mut)
        {
            values.truncate(1);
        }
    }
}

/// The most useful errors. Where one of several schemas must match, those of the closest one.
fn causes(errors: &[ValidationError<'_>]) -> Vec<String> {
    let cause = |error: &ValidationError<'_>| {
        if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } = error.kind() {
            // If the error is below the value, the schema itself is the right one: the fields that distinguish the
            // documents match.
            let misfit = |branch: &&Vec<ValidationError<'_>>| {
                let own = branch.iter().filter(|below| below.instance_path() == error.instance_path());
                (own.count(), branch.len())
            };
            context.iter().min_by_key(misfit).map(|branch| causes(branch)).unwrap_or_default()
        } else {
            vec![format!("{}: {}", error.instance_path(), error.masked())]
        }
    };
    errors.iter().flat_map(cause).collect()
}
