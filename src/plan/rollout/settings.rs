//! How carefully a step goes: the keys that `defaults` and each step may have.
//!
//! Here live [`RolloutSettings`], what was said, and how they are read. What always holds: what is not said stays unsaid until
//! [`RolloutSettings::policy`], so that a step's own value, its `defaults` and [`Policy`]'s come in this order.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::file::RolloutReader;
use super::variables::RolloutVariables;
use crate::inventory::problem::{Diagnostic, did_you_mean, quoted};
use crate::inventory::raw::{RawValue, Value};
use crate::inventory::values::{self, FieldEntry};
use crate::plan::amount::{AmountError, BatchSizes, CapPolicy, FailureLimit};
use crate::plan::policy::{GATE_TIMEOUT, Gate, Policy};

pub(super) const KEYS: [&str; 11] = [
    "serial",
    "max_failures",
    "max_unavailable",
    "gate",
    "stable",
    "gate_timeout",
    "gate_snapshot",
    "check",
    "pause",
    "timeout",
    "on_failure",
];
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

/// The longest that an amount is looked at, in bytes; what is longer is none.
const MAX_AMOUNT: usize = 1000;

/// What was said; none where nothing was.
#[derive(Debug, Clone, Default)]
pub(super) struct RolloutSettings {
    serial: Option<BatchSizes>,
    max_failures: Option<FailureLimit>,
    caps: Option<CapPolicy>,
    gate: Option<Gate>,
    stable: Option<Duration>,
    gate_timeout: Option<Duration>,
    check: Option<String>,
    /// None in it undoes the default.
    gate_snapshot: Option<Option<PathBuf>>,
    pause: Option<Duration>,
    timeout: Option<Duration>,
    continue_on_failure: Option<bool>,
}

/// The settings of `defaults`.
pub(super) fn defaults(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
) -> RolloutSettings {
    let fields = values::fields(&mut work.reader, field.key, field.value, "`defaults`", &KEYS, &SYNONYMS);
    read(work, vars, &fields.unwrap_or_default())
}

/// The settings among the fields of a step; other fields are passed over.
pub(super) fn read(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    fields: &[FieldEntry<'_>],
) -> RolloutSettings {
    let mut settings = RolloutSettings::default();
    for field in fields.iter().copied() {
        let reader = &mut work.reader;
        match field.name {
            "serial" => settings.serial = serial(work, field),
            "max_failures" => {
                settings.max_failures = amount(work, field, field.value, "a number of nodes, or a percentage");
            }
            "max_unavailable" => {
                settings.caps = amount(work, field, field.value, "a number of nodes, a percentage, or none");
            }
            "gate" => {
                let gates = [("running", Gate::Running), ("active", Gate::Active), ("none", Gate::None)];
                settings.gate = one_of(work, field, &gates);
            }
            "stable" => settings.stable = values::duration_or_zero(reader, field),
            "gate_timeout" => settings.gate_timeout = values::duration(reader, field),
            "check" => settings.check = command(work, vars, field, "a command"),
            "gate_snapshot" => settings.gate_snapshot = snapshot(work, vars, field),
            "pause" => settings.pause = values::duration_or_zero(reader, field),
            "timeout" => settings.timeout = values::duration(reader, field),
            "on_failure" => settings.continue_on_failure = one_of(work, field, &[("stop", false), ("continue", true)]),
            _ => {}
        }
    }
    settings
}

impl RolloutSettings {
    /// These, and the `defaults` where they say nothing.
    pub(super) fn or(self, defaults: &Self) -> Self {
        Self {
            serial: self.serial.or_else(|| defaults.serial.clone()),
            max_failures: self.max_failures.or(defaults.max_failures),
            caps: self.caps.or(defaults.caps),
            gate: self.gate.or(defaults.gate),
            stable: self.stable.or(defaults.stable),
            gate_timeout: self.gate_timeout.or(defaults.gate_timeout),
            check: self.check.or_else(|| defaults.check.clone()),
            gate_snapshot: self.gate_snapshot.or_else(|| defaults.gate_snapshot.clone()),
            pause: self.pause.or(defaults.pause),
            timeout: self.timeout.or(defaults.timeout),
            continue_on_failure: self.continue_on_failure.or(defaults.continue_on_failure),
        }
    }

    /// Time for the action on one node.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether a failure does not end the rollout.
    pub(super) fn continue_on_failure(&self) -> bool {
        self.continue_on_failure.unwrap_or(false)
    }

    /// All the rest.
    pub(super) fn policy(self) -> Policy {
        Policy {
            serial: self.serial,
            max_failures: self.max_failures,
            caps: self.caps.unwrap_or_default(),
            pause: self.pause.unwrap_or_default(),
            gate: self.gate,
            stable: self.stable,
            gate_timeout: self.gate_timeout.unwrap_or(GATE_TIMEOUT),
            check: self.check,
            gate_snapshot: self.gate_snapshot.flatten(),
        }
    }
}

/// The file of a snapshot, which counts from the folder of the rollout file; or `none`.
fn snapshot(work: &mut RolloutReader<'_>, vars: &RolloutVariables, field: FieldEntry<'_>) -> Option<Option<PathBuf>> {
    let said = text(work, vars, field, "the file of a snapshot, or none")?;
    if said.contains('\0') {
        let message = format!("the path in {} contains a NUL character", quoted(field.name));
        work.reader.fault(Diagnostic::new(field.value.place(), message));
        return None;
    }
    Some((said != "none").then(|| work.reader.folder.join(said)))
}

/// Sizes of batches: one amount, several with commas between, or a list of such.
fn serial(work: &mut RolloutReader<'_>, field: FieldEntry<'_>) -> Option<BatchSizes> {
    const EXPECTED: &str = "a number of nodes, a percentage, or several";
    let items = match &field.value.value {
        Value::List(items) if items.is_empty() => {
            work.reader.fault(Diagnostic::new(field.value.place(), "`serial` is an empty list").label("no size"));
            return None;
        }
        Value::List(items) => items.as_slice(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
            std::slice::from_ref(field.value)
        }
    };
    // Each by itself, so that the one that is wrong is shown; then as the command line takes them.
    let read =
        items.iter().map(|item| amount::<BatchSizes>(work, field, item, EXPECTED).map(|serial| serial.to_string()));
    let said = read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?.join(",");
    said.parse().ok()
}

/// A number of nodes in one of its forms.
fn amount<T: FromStr<Err = AmountError>>(
    work: &mut RolloutReader<'_>,
    field: FieldEntry<'_>,
    value: &RawValue,
    expected: &str,
) -> Option<T> {
    let field = FieldEntry { value, ..field };
    let said = values::text(&mut work.reader, field, expected)?;
    if said.len() > MAX_AMOUNT {
        values::wrong_value(&mut work.reader, field, expected);
        return None;
    }
    match said.trim().parse() {
        Ok(amount) => Some(amount),
        Err(error) => {
            work.reader.fault(Diagnostic::new(value.place(), error.to_string()).label(format!("expected {expected}")));
            None
        }
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(work: &mut RolloutReader<'_>, field: FieldEntry<'_>, choices: &[(&str, T)]) -> Option<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let expected = match words.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    };
    let said = values::text(&mut work.reader, field, &expected)?.trim();
    let found = choices.iter().find(|(word, _)| *word == said).map(|(_, choice)| *choice);
    if found.is_none() {
        let message = format!("{} is {}: expected {expected}", quoted(field.name), quoted(said));
        let fault = Diagnostic::new(field.value.place(), message).label(format!("expected {expected}"));
        work.reader.fault(fault.help_if(did_you_mean(said, words)));
    }
    found
}

/// Text that a shell can be given: a command, or what else is `expected`.
pub(super) fn command(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
    expected: &str,
) -> Option<String> {
    let filled = text(work, vars, field, expected)?;
    if !filled.contains('\0') {
        return Some(filled);
    }
    let message = format!("the command in {} contains a NUL character", quoted(field.name));
    work.reader.fault(Diagnostic::new(field.value.place(), message));
    None
}

/// Text that is not empty, with its variables filled in.
pub(super) fn text(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    field: FieldEntry<'_>,
    expected: &str,
) -> Option<String> {
    if is_unquoted_variable(work.text, field.value) {
        let message = format!("YAML reads the braces of {} as a mapping", quoted(field.name));
        let fault = Diagnostic::new(field.value.place(), message).label("not quoted");
        work.reader.fault(fault.help("quote a value that begins with `{{`: \"{{ name }}\""));
        return None;
    }
    values::text(&mut work.reader, field, expected)?;
    let filled = vars.fill(work, field.name, field.value)?;
    if filled.trim().is_empty() {
        let message = format!("{} is empty once its variables are expanded", quoted(field.name));
        work.reader.fault(Diagnostic::new(field.value.place(), message).label(format!("expected {expected}")));
        return None;
    }
    Some(filled)
}

/// Whether a value is what YAML makes of `{{ name }}` without quotes: a mapping whose only key is a mapping.
fn is_unquoted_variable(text: &str, value: &RawValue) -> bool {
    matches!(value.value, Value::Map(_)) && text.get(value.span.start..).is_some_and(|rest| rest.starts_with("{{"))
}
