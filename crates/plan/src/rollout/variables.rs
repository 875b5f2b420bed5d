//! The variables of a rollout, and `{{ name }}` in its values.
//!
//! Here lives [`RolloutVariables`]. Invariants: a variable's value is never parsed again, neither as YAML nor for
//! further variables, so no value can add a step or a key; no value grows past [`MAX_FILLED`] bytes; and a function
//! that returns `None` has reported a fault, or its cause has.

use std::collections::BTreeMap;
use std::ops::Range;

use super::reader::RolloutReader;
use ctl_inventory::problem::{Diagnostic, did_you_mean, listed, quoted};
use ctl_inventory::raw::{RawValue, Value};
use ctl_inventory::values::{self, FieldEntry};

/// Maximum length of a value with its variables expanded: Linux's limit for one argument of a program, which a command
/// becomes for the shell (`MAX_ARG_STRLEN`).
pub(super) const MAX_FILLED: usize = 128 * 1024;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The values by name.
pub(super) struct RolloutVariables {
    /// The values by name; none if the value is invalid or missing, which is reported already.
    values: BTreeMap<String, Option<String>>,
    /// Whether every name could be read, so that an absent name is a fault.
    is_complete: bool,
}

impl RolloutVariables {
    /// Reads `vars`; the values `given` on the command line replace those of the file.
    pub(super) fn read(
        work: &mut RolloutReader<'_>,
        field: Option<FieldEntry<'_>>,
        given: &[(String, String)],
        is_complete: bool,
    ) -> Self {
        let mut variables = Self { values: BTreeMap::new(), is_complete };
        let mut place = 0..0;
        if let Some(field) = field {
            place = field.key.span.clone();
            match values::pairs(&mut work.reader, field.key, field.value, "variable") {
                Some(fields) => {
                    for field in fields {
                        variables.declare(work, field, given);
                    }
                }
                None => variables.is_complete = false,
            }
        }
        for (name, _) in given {
            if variables.is_complete && !variables.values.contains_key(name) {
                variables.undeclared(work, place.clone(), name);
            }
        }
        variables
    }

    fn declare(&mut self, work: &mut RolloutReader<'_>, field: FieldEntry<'_>, given: &[(String, String)]) {
        if let Err(flaw) = values::check_name(field.name, "_-") {
            work.reader.fault(flaw.fault(field.key, "variable", field.name));
            self.is_complete = false;
            return;
        }
        let over = given.iter().rev().find(|(name, _)| name == field.name).map(|(_, value)| value.clone());
        let value = match &field.value.value {
            Value::List(_) | Value::Map(_) => {
                work.reader.wrong_kind(field.key, field.value, "text");
                None
            }
            Value::Null if over.is_none() => {
                let message = format!("the variable {} needs a value", quoted(field.name));
                let fault = Diagnostic::new(field.key.span.clone(), message)
                    .label("no default")
                    .help(format!("set it with `-e {}=VALUE`", field.name));
                work.reader.fault(fault);
                None
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                over.or_else(|| field.value.as_text().map(str::to_owned))
            }
        };
        self.values.insert(field.name.to_owned(), value);
    }

    fn undeclared(&self, work: &mut RolloutReader<'_>, place: Range<usize>, name: &str) {
        let help = self.near(work, name).unwrap_or_else(|| match self.values.len() {
            0 => "it has none".to_owned(),
            _ => format!("its variables are {}", listed(self.names())),
        });
        let message = format!("`-e` sets {}, which is not a variable of this rollout", quoted(name));
        work.reader.fault(Diagnostic::new(place, message).help(help));
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn near(&self, work: &mut RolloutReader<'_>, name: &str) -> Option<String> {
        if work.reader.report.affords(self.values.len()) { did_you_mean(name, self.names()) } else { None }
    }

    /// The text of a scalar with its variables expanded, for the key `key`. `None` also for a value that is not a
    /// scalar.
    pub(super) fn fill(&self, work: &mut RolloutReader<'_>, key: &str, value: &RawValue) -> Option<String> {
        let mut rest = value.as_text()?;
        let mut filled = String::new();
        let mut is_right = true;
        for number in 0.. {
            let Some((before, inner)) = rest.split_once(OPEN) else { break };
            let closed = inner.split_once(CLOSE).filter(|(name, _)| !name.contains(OPEN));
            let Some((name, after)) = closed else {
                let place = place(work.text, value, number, OPEN);
                let fault = Diagnostic::new(place, format!("a `{{{{` in {} is never closed", quoted(key)));
                work.reader.fault(fault.label("begins here").help("write `{{ name }}`"));
                return None;
            };
            match self.value(work, name, value, number) {
                Some(value) => filled.extend([before, value]),
                // Continue with the rest, to report all unknown variables together.
                None => is_right = false,
            }
            if filled.len() > MAX_FILLED {
                break;
            }
            rest = after;
        }
        filled.push_str(rest);
        if filled.len() > MAX_FILLED {
            let message = format!("{} is longer than {} KiB", quoted(key), MAX_FILLED >> 10);
            work.reader.fault(Diagnostic::new(value.place(), message).label("once its variables are expanded"));
            return None;
        }
        is_right.then_some(filled)
    }

    /// The value of the variable between the `number`th pair of braces of a value.
    fn value(&self, work: &mut RolloutReader<'_>, name: &str, within: &RawValue, number: usize) -> Option<&str> {
        let trimmed = name.trim();
        if let Some(value) = self.values.get(trimmed) {
            return value.as_deref();
        }
        if self.is_complete {
            let place = place(work.text, within, number, &[OPEN, name, CLOSE].concat());
            let (message, help) = if trimmed.is_empty() {
                ("there is no name between the braces".to_owned(), "write `{{ name }}`".to_owned())
            } else {
                let help = self.near(work, trimmed).unwrap_or_else(|| match self.values.len() {
                    0 => "declare it: `vars: {name: value}`".to_owned(),
                    _ => format!("the variables are {}", listed(self.names())),
                });
                (format!("no variable {}", quoted(trimmed)), help)
            };
            work.reader.fault(Diagnostic::new(place, message).label("unknown variable").help(help));
        }
        None
    }
}

/// The place of the `number`th `{{` of a value, with the text after it to the end of the match; the whole value if the
/// source has it in another form.
fn place(text: &str, value: &RawValue, number: usize, words: &str) -> Range<usize> {
    let source = text.get(value.span.clone()).unwrap_or_default();
    let found = source.match_indices(OPEN).nth(number).map(|(at, _)| at);
    match found.filter(|at| source.get(*at..).is_some_and(|source| source.starts_with(words))) {
        Some(at) => value.span.start + at..value.span.start + at + words.len(),
        None => value.place(),
    }
}
