//! The JSON Schemas of what sinks write, for the tests that publish and check them.
//!
//! They are made from the types that are serialized. Used by the tests of `cli`, which put all documents together.

use schemars::{Schema, SchemaGenerator};

use super::json::{RunDocument, TaggedEvent};
use super::logs::WithLines;
use super::snapshot_diff::{ChangeDocument, ChangeEvent};
use ctl_event::TargetResult;

/// The documents of a run and of a snapshot diff.
#[must_use]
pub fn documents(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![generator.subschema_for::<RunDocument<'_, &[TargetResult]>>(), generator.subschema_for::<ChangeDocument<'_>>()]
}

/// The lines of a run and of a snapshot diff.
#[must_use]
pub fn lines(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![generator.subschema_for::<TaggedEvent<'_>>(), generator.subschema_for::<ChangeEvent<'_>>()]
}

/// A result in the document of `logs`, in place of that of other runs.
#[must_use]
pub fn log_result(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<WithLines<'_>>()
}
