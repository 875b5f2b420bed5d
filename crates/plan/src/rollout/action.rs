//! What a step and an item of a sequence have in common: their names, commands and services.
//!
//! It uses `select` to check the names of services. Start reading at [`command`] and [`service_names`].

use std::collections::HashSet;

use super::reader::RolloutReader;
use super::settings;
use super::variables::RolloutVariables;
use crate::ServiceVerb;
use ctl_inventory::problem::{Diagnostic, quoted};
use ctl_inventory::raw::{RawValue, Value};
use ctl_inventory::values::FieldEntry;
use ctl_select::{SelectError, ServicePattern};

pub(super) const ACTIONS: [(&str, ServiceVerb); 4] = [
    ("restart", ServiceVerb::Restart),
    ("start", ServiceVerb::Start),
    ("stop", ServiceVerb::Stop),
    ("update", ServiceVerb::Update),
];

/// A one-line name of the rollout or of a step.
pub(super) fn title(work: &mut RolloutReader<'_>, vars: &RolloutVariables, field: FieldEntry<'_>) -> Option<String> {
    let title = settings::text(work, vars, field, "a name")?;
    let title = title.trim();
    if title.contains(char::is_control) {
        let message = format!("the name {} has a control character in it", quoted(title));
        work.reader.fault(Diagnostic::new(field.value.place(), message).label("a name must be one line"));
        return None;
    }
    Some(title.to_owned())
}

/// A text is a command as it is; each item of a list is quoted as one argument.
pub(super) fn command(work: &mut RolloutReader<'_>, vars: &RolloutVariables, field: FieldEntry<'_>) -> Option<String> {
    let Value::List(items) = &field.value.value else {
        return settings::command(work, vars, field, "a command");
    };
    let mut words = Vec::with_capacity(items.len());
    let mut is_right = true;
    for value in items {
        // An argument may be empty.
        if value.as_text().is_some_and(str::is_empty) && !words.is_empty() {
            words.push(String::new());
            continue;
        }
        match settings::command(work, vars, FieldEntry { value, ..field }, "a word of a command") {
            Some(word) => words.push(word),
            None => is_right = false,
        }
    }
    if items.is_empty() {
        work.reader.fault(Diagnostic::new(field.value.place(), "`exec` is an empty list").label("no command"));
    }
    if !is_right || words.is_empty() {
        return None;
    }
    // Quoting fails only for a NUL.
    shlex::try_join(words.iter().map(String::as_str)).ok()
}

pub(super) fn service_names(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
) -> Option<Vec<String>> {
    let items = match &field.value.value {
        Value::List(items) => items.as_slice(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
            std::slice::from_ref(field.value)
        }
    };
    if items.is_empty() {
        let fault = Diagnostic::new(field.value.place(), "`services` is an empty list").label("no service");
        work.reader.fault(fault.help("`services: all` selects everything the nodes have"));
        return None;
    }
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    let mut known = HashSet::new();
    let mut is_right = true;
    for value in items {
        let name = settings::text(work, vars, FieldEntry { value, ..field }, "the name of a service");
        match name.filter(|name| service_is_right(work, value, name)) {
            Some(name) => {
                if known.insert(name.clone()) {
                    names.push(name);
                }
            }
            None => is_right = false,
        }
    }
    is_right.then_some(names)
}

fn service_is_right(work: &mut RolloutReader<'_>, value: &RawValue, name: &str) -> bool {
    let is_several = name.contains([',', ' ']);
    let invalid = |reason: &str| format!("{} is not a valid service name: {reason}", quoted(name));
    let message = match ServicePattern::parse(name) {
        Err(SelectError::Service { reason, .. }) => invalid(&reason),
        Err(error) => error.to_string(),
        Ok(_) if is_several => invalid("a service name cannot contain commas"),
        Ok(_) => return true,
    };
    let fault = Diagnostic::new(value.place(), message);
    let help = is_several.then(|| "write several services as a list: `[contrail-api, contrail-schema]`".to_owned());
    work.reader.fault(fault.help_if(help));
    false
}
