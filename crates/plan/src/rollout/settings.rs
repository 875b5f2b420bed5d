//! The settings of a step: the keys that `defaults` and each step may have.
//!
//! Here live [`RolloutSettings`], the explicit values, and their reader. Invariants: an absent value stays absent until
//! [`RolloutSettings::policy`], so that a step's own value, its `defaults` and [`Policy`]'s apply in this order.

use std::path::PathBuf;
use std::slice;
use std::time::Duration;

use super::reader::RolloutReader;
use super::variables::RolloutVariables;
use crate::options::{POLICY_OPTIONS, ParseFn, PolicySetter};
use crate::policy::Policy;
use ctl_inventory::problem::{Diagnostic, did_you_mean, quoted};
use ctl_inventory::raw::{RawValue, Value};
use ctl_inventory::values::{self, FieldEntry};

/// The keys that are no policy options.
const OWN_KEYS: [&str; 2] = ["timeout", "on_failure"];

/// The gates of each service, which an item of a sequence may set too.
pub(super) const GATES: [&str; 3] = ["gate", "stable", "gate_timeout"];

/// Keys that people know from other tools, and ours.
pub(super) const SYNONYMS: [(&str, &str); 12] = [
    ("batch", "serial"),
    ("batches", "serial"),
    ("batch_size", "serial"),
    ("max_fail", "max_failures"),
    ("max_fail_percentage", "max_failures"),
    ("until", "check"),
    ("verify", "check"),
    ("snapshot", "gate_snapshot"),
    ("no_worse_than", "gate_snapshot"),
    ("wait", "pause"),
    ("delay", "pause"),
    ("any_errors_fatal", "on_failure"),
];

/// Maximum length in bytes of a value that is parsed; an error about a longer one would fill the screen.
const MAX_PARSED: usize = 1000;

/// The explicit values; none for absent ones.
#[derive(Debug, Clone, Default)]
pub(super) struct RolloutSettings {
    pub(super) policy: Policy,
    /// Time for the action on one node; none is the command line's.
    pub(super) timeout: Option<Duration>,
    /// Whether a failure does not end the rollout.
    pub(super) continue_on_failure: bool,
}

/// Every key that may be set in `defaults` and in a step.
pub(super) fn keys() -> Vec<&'static str> {
    POLICY_OPTIONS.iter().map(|option| option.key).chain(OWN_KEYS).collect()
}

/// The settings of `defaults`.
pub(super) fn defaults(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
) -> RolloutSettings {
    let fields = values::fields(&mut work.reader, field.key, field.value, "`defaults`", &keys(), &SYNONYMS);
    read(work, vars, &fields.unwrap_or_default(), &RolloutSettings::default())
}

/// The settings among the fields of a step; other fields are ignored.
pub(super) fn read(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    fields: &[FieldEntry<'_>],
    defaults: &RolloutSettings,
) -> RolloutSettings {
    // The step's own values replace those of `defaults`.
    let mut settings = defaults.clone();
    for field in fields.iter().copied() {
        if let Some(option) = POLICY_OPTIONS.iter().find(|option| option.key == field.name) {
            set(work, vars, field, option.set, &mut settings.policy);
        } else if field.name == "timeout" {
            settings.timeout = values::duration(&mut work.reader, field).or(settings.timeout);
        } else if field.name == "on_failure"
            && let Some(continues) = one_of(work, field, &[("stop", false), ("continue", true)])
        {
            settings.continue_on_failure = continues;
        }
    }
    settings
}

/// The gates of each service among the fields of an item: its own, else those of its step.
pub(super) fn gates(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    fields: &[FieldEntry<'_>],
    of_step: &Policy,
) -> Policy {
    let Policy { gate, stable, gate_timeout, .. } = of_step.clone();
    let mut policy = Policy { gate, stable, gate_timeout, ..Policy::default() };
    for field in fields.iter().copied().filter(|field| GATES.contains(&field.name)) {
        if let Some(option) = POLICY_OPTIONS.iter().find(|option| option.key == field.name) {
            set(work, vars, field, option.set, &mut policy);
        }
    }
    policy
}

/// Puts the value of a field into a policy, unless there is something wrong with it, which is reported.
fn set(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
    setter: PolicySetter,
    policy: &mut Policy,
) {
    match setter {
        PolicySetter::Parsed { expected, set } => {
            parsed(work, field, slice::from_ref(field.value), expected, set, policy);
        }
        PolicySetter::ParsedList { item, expected, set } => match &field.value.value {
            Value::List(items) if items.is_empty() => {
                let message = format!("{} is an empty list", quoted(field.name));
                work.reader.fault(Diagnostic::new(field.value.place(), message).label(format!("no {item}")));
            }
            Value::List(items) => parsed(work, field, items, expected, set, policy),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                parsed(work, field, slice::from_ref(field.value), expected, set, policy);
            }
        },
        PolicySetter::Duration(set) => put(set, policy, values::duration(&mut work.reader, field)),
        PolicySetter::DurationOrZero(set) => put(set, policy, values::duration_or_zero(&mut work.reader, field)),
        PolicySetter::Choice(choices) => {
            let choices: Vec<_> = choices.iter().map(|choice| (choice.name, choice.set)).collect();
            if let Some(set) = one_of(work, field, &choices) {
                set(policy);
            }
        }
        PolicySetter::Text { noun, set } => {
            let said = text(work, vars, field, &format!("a {noun}"));
            put(set, policy, said.and_then(|said| without_nul(work, field, said, noun)));
        }
        PolicySetter::File { expected, set } => put(set, policy, file(work, vars, field, expected)),
    }
}

fn put<T>(set: fn(&mut Policy, T), policy: &mut Policy, value: Option<T>) {
    if let Some(value) = value {
        set(policy, value);
    }
}

/// A file, relative to the directory of the rollout file; or `none`.
fn file(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
    expected: &str,
) -> Option<Option<PathBuf>> {
    let said = text(work, vars, field, expected)?;
    // A NUL ends a path for the kernel.
    let said = without_nul(work, field, said, "path")?;
    Some((said != "none").then(|| work.reader.folder.join(said)))
}

/// Puts a value that its setter parses into a policy: one text, or several in the command line's form.
fn parsed(
    work: &mut RolloutReader<'_>,
    field: FieldEntry<'_>,
    items: &[RawValue],
    expected: &str,
    set: ParseFn,
    policy: &mut Policy,
) {
    // Parse each item alone, so that the error points to it; only then all of them, joined.
    let read: Vec<_> = items.iter().map(|item| accepted(work, field, item, expected, set)).collect();
    let Some(typed) = read.into_iter().collect::<Option<Vec<_>>>() else { return };
    if let Err(reason) = set(policy, &typed.join(",")) {
        work.reader.fault(Diagnostic::new(field.value.place(), reason).label(format!("expected {expected}")));
    }
}

/// The text of a value, if a policy accepts it.
fn accepted<'r>(
    work: &mut RolloutReader<'_>,
    field: FieldEntry<'r>,
    value: &'r RawValue,
    expected: &str,
    set: ParseFn,
) -> Option<&'r str> {
    let field = FieldEntry { value, ..field };
    let said = values::text(&mut work.reader, field, expected)?;
    if said.len() > MAX_PARSED {
        values::wrong_value(&mut work.reader, field, expected);
        return None;
    }
    let said = said.trim();
    match set(&mut Policy::default(), said) {
        Ok(()) => Some(said),
        Err(reason) => {
            work.reader.fault(Diagnostic::new(value.place(), reason).label(format!("expected {expected}")));
            None
        }
    }
}

/// One of a few names.
pub(super) fn one_of<T: Copy>(work: &mut RolloutReader<'_>, field: FieldEntry<'_>, choices: &[(&str, T)]) -> Option<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let expected = match words.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    };
    let said = values::text(&mut work.reader, field, &expected)?.trim();
    let found = choices.iter().find(|(word, _)| *word == said).map(|(_, choice)| *choice);
    if found.is_none() {
        let message = format!("invalid value {} for {}: expected {expected}", quoted(said), quoted(field.name));
        let fault = Diagnostic::new(field.value.place(), message).label(format!("expected {expected}"));
        work.reader.fault(fault.help_if(did_you_mean(said, words)));
    }
    found
}

/// Text for a shell: a command, or the `expected` kind.
pub(super) fn command(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
    expected: &str,
) -> Option<String> {
    let filled = text(work, vars, field, expected)?;
    without_nul(work, field, filled, "command")
}

/// The text, unless it contains a NUL, which cannot be part of an argument. `noun` names its kind.
fn without_nul(work: &mut RolloutReader<'_>, field: FieldEntry<'_>, said: String, noun: &str) -> Option<String> {
    if !said.contains('\0') {
        return Some(said);
    }
    let message = format!("the {noun} in {} contains a NUL character", quoted(field.name));
    work.reader.fault(Diagnostic::new(field.value.place(), message));
    None
}

/// Text that is not empty, with its variables expanded.
pub(super) fn text(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
    expected: &str,
) -> Option<String> {
    // To YAML, `{{` without quotes begins a mapping within a mapping.
    if is_unquoted_variable(work.text, field.value) {
        let message = format!("YAML reads the braces of {} as a mapping", quoted(field.name));
        let fault = Diagnostic::new(field.value.place(), message).label("not quoted");
        work.reader.fault(fault.help("quote a value that begins with `{{`: \"{{ name }}\""));
        return None;
    }
    // Check the written text first: the error about an empty value then names the right cause.
    values::text(&mut work.reader, field, expected)?;
    let filled = vars.fill(work, field.name, field.value)?;
    if filled.trim().is_empty() {
        let message = format!("{} is empty once its variables are expanded", quoted(field.name));
        work.reader.fault(Diagnostic::new(field.value.place(), message).label(format!("expected {expected}")));
        return None;
    }
    Some(filled)
}

/// Whether a value is YAML's reading of `{{ name }}` without quotes: a mapping whose only key is a mapping.
fn is_unquoted_variable(text: &str, value: &RawValue) -> bool {
    matches!(value.value, Value::Map(_)) && text.get(value.span.start..).is_some_and(|rest| rest.starts_with("{{"))
}
