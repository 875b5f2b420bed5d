//! Single values of an inventory: text, numbers, durations, paths, roles, and the keys of a mapping.
//!
//! Here live [`ValueReader`], the context of every reading function, and the functions that convert a [`RawValue`] to a
//! typed value. It uses [`super::raw`], [`super::problem`] and `role_names.rs`. Invariants: a function that returns
//! `None` has reported a fault, so that its caller need not; and no value causes a panic. Start reading at [`fields`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::environment::{PathEnvironment, expand};
use super::model::Role;
use super::problem::{Diagnostic, ProblemReport, listed, nearest, quoted};
use super::raw::{RawValue, Value};
use super::role_names::{ROLE_ALIASES, canonical_role};

/// Maximum duration, so that sums of durations cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Maximum length of the name of a node, role, group, service or user, in bytes: the limit of DNS.
const MAX_NAME: usize = 253;

/// The context for reading a value.
pub struct ValueReader<'a> {
    /// The faults found so far.
    pub report: ProblemReport,
    /// What `~` and variables in paths stand for.
    pub env: &'a PathEnvironment,
    /// The directory of the file, the base of relative paths.
    pub folder: PathBuf,
}

impl ValueReader<'_> {
    /// Reports a fault.
    pub fn fault(&mut self, fault: Diagnostic) {
        self.report.add(fault);
    }

    /// Reports a value of the wrong kind. For an absent value, the place is that of the key.
    pub fn wrong_kind(&mut self, key: &RawValue, value: &RawValue, expected: &str) {
        let name = quoted(key.as_text().unwrap_or_default());
        let (place, message) = match value.value {
            // An absent value has no place: show its key.
            Value::Null => (key.span.clone(), format!("{name} has no value: expected {expected}")),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                (value.place(), format!("{name} must be {expected}, not {}", value.kind()))
            }
        };
        self.fault(Diagnostic::new(place, message).label(format!("expected {expected}")));
    }
}

/// A key and its value.
#[derive(Debug, Clone, Copy)]
pub struct FieldEntry<'r> {
    /// The key, with its place.
    pub key: &'r RawValue,
    /// The text of the key.
    pub name: &'r str,
    /// The value, with its place.
    pub value: &'r RawValue,
}

/// The pairs of a mapping, with readable and unique keys. `what` is the kind of its keys, such as `key` or `node`;
/// `key` is that of the mapping itself.
pub fn pairs<'r>(
    reader: &mut ValueReader<'_>,
    key: &RawValue,
    value: &'r RawValue,
    what: &str,
) -> Option<Vec<FieldEntry<'r>>> {
    mapping(reader, key, value, what, &format!("a mapping, each {what} with its value"))
}

fn mapping<'r>(
    reader: &mut ValueReader<'_>,
    key: &RawValue,
    value: &'r RawValue,
    what: &str,
    expected: &str,
) -> Option<Vec<FieldEntry<'r>>> {
    match &value.value {
        Value::Map(pairs) => Some(distinct(reader, pairs, what)),
        // A key without a value, such as `node1:`, has no settings.
        Value::Null => Some(Vec::new()),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            reader.wrong_kind(key, value, expected);
            None
        }
    }
}

fn distinct<'r>(reader: &mut ValueReader<'_>, pairs: &'r [(RawValue, RawValue)], what: &str) -> Vec<FieldEntry<'r>> {
    let mut first: HashMap<&str, Range<usize>> = HashMap::with_capacity(pairs.len());
    let mut fields = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Some(name) = key.as_text() else {
            let fault = Diagnostic::new(key.place(), format!("a {what} must be text, not {}", key.kind()));
            let is_list = matches!(key.value, Value::List(_));
            // YAML reads such a key as a list.
            let fault = if is_list { fault.help("a key that begins with `[` must be quoted") } else { fault };
            reader.fault(fault);
            continue;
        };
        // The first definition counts; the second one only gets a fault.
        if let Some(before) = first.get(name) {
            let fault = Diagnostic::new(key.span.clone(), format!("the {what} {} is defined twice", quoted(name)))
                .label("defined again here")
                .related(before.clone(), "first defined here");
            reader.fault(fault);
            continue;
        }
        first.insert(name, key.span.clone());
        fields.push(FieldEntry { key, name, value });
    }
    fields
}

/// The fields of a mapping whose keys are `known`. `owner` is their owner, such as `a node`; `synonyms` are keys of
/// other tools, with ours.
pub fn fields<'r>(
    reader: &mut ValueReader<'_>,
    key: &RawValue,
    value: &'r RawValue,
    owner: &str,
    known: &[&str],
    synonyms: &[(&str, &str)],
) -> Option<Vec<FieldEntry<'r>>> {
    let expected = format!("a mapping such as {{{}: …}}", known.first().copied().unwrap_or_default());
    let mut fields = mapping(reader, key, value, "key", &expected)?;
    keep_known(reader, &mut fields, owner, known, synonyms);
    Some(fields)
}

/// Removes the fields whose keys are not `known`, each with a fault. Returns the keys that they were probably meant to
/// be.
pub fn keep_known<'k>(
    reader: &mut ValueReader<'_>,
    fields: &mut Vec<FieldEntry<'_>>,
    owner: &str,
    known: &[&'k str],
    synonyms: &[(&str, &'k str)],
) -> Vec<&'k str> {
    let mut meant = Vec::new();
    fields.retain(|field| {
        let is_known = known.contains(&field.name);
        if !is_known {
            let ours = synonyms.iter().find(|(theirs, _)| *theirs == field.name).map(|(_, ours)| *ours);
            let ours = ours.filter(|ours| known.contains(ours));
            // A known synonym is certain, a similar name only a guess.
            let near = ours.or_else(|| nearest(field.name, known.iter().copied()));
            // `key:value` without a space is a single key to YAML.
            let glued = field.name.split_once(':').and_then(|(name, _)| known.iter().find(|key| **key == name));
            let help = match (glued, near) {
                (Some(name), _) => format!("put a space after the colon: `{name}: …`"),
                (None, Some(near)) => format!("did you mean {near}?"),
                (None, None) => format!("the keys are {}", known.join(", ")),
            };
            meant.extend(glued.copied().or(near));
            let message = format!("unknown key {} in {owner}", quoted(field.name));
            reader.fault(Diagnostic::new(field.key.span.clone(), message).label("unknown key").help(help));
        }
        is_known
    });
    meant
}

/// Any scalar, as text.
pub fn text<'r>(reader: &mut ValueReader<'_>, field: FieldEntry<'r>, expected: &str) -> Option<&'r str> {
    match field.value.as_text() {
        Some(text) if !text.trim().is_empty() => Some(text),
        Some(_) => {
            let message = format!("{} is empty: expected {expected}", quoted(field.name));
            reader.fault(Diagnostic::new(field.value.place(), message));
            None
        }
        None => {
            reader.wrong_kind(field.key, field.value, expected);
            None
        }
    }
}

/// A scalar or a list of scalars; any other item adds a fault.
pub fn texts<'r>(reader: &mut ValueReader<'_>, field: FieldEntry<'r>, expected: &str) -> Option<Vec<FieldEntry<'r>>> {
    let items: Vec<&RawValue> = match &field.value.value {
        Value::List(items) => items.iter().collect(),
        // A single value is a list of one.
        Value::Text(_) | Value::Number(_) | Value::Bool(_) => vec![field.value],
        Value::Null | Value::Map(_) => {
            reader.wrong_kind(field.key, field.value, &format!("{expected}, or a list of them"));
            return None;
        }
    };
    let mut texts = Vec::with_capacity(items.len());
    for value in items {
        let item = FieldEntry { value, ..field };
        if text(reader, item, expected).is_some() {
            texts.push(item);
        }
    }
    Some(texts)
}

/// A boolean in any spelling of YAML 1.1, or a fault.
pub fn boolean(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<bool> {
    let said = field.value.as_text().map(str::to_lowercase);
    // The spellings of YAML 1.1, too, which the parser leaves as text.
    match said.as_deref() {
        Some("true" | "yes" | "on") => Some(true),
        Some("false" | "no" | "off") => Some(false),
        _ => {
            wrong_value(reader, field, "true or false");
            None
        }
    }
}

/// A TCP port.
pub fn port(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<u16> {
    let port = number(field.value).and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    if port.is_none() {
        wrong_value(reader, field, "a port from 1 to 65535");
    }
    port
}

/// A non-negative integer in decimal.
pub fn number(value: &RawValue) -> Option<u64> {
    digits(value.as_text()?)
}

/// Only decimal digits: no sign, no space, no `0x`.
pub fn digits<T: FromStr>(text: &str) -> Option<T> {
    // `parse` alone would accept a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A duration: `5s`, `2m`, `500ms`; a bare number means seconds.
pub fn duration(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<Duration> {
    time(reader, field, Duration::from_nanos(1), "more than 0 and at most 7 days")
}

/// A duration as for [`duration`], or zero.
pub fn duration_or_zero(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<Duration> {
    time(reader, field, Duration::ZERO, "at most 7 days")
}

fn time(reader: &mut ValueReader<'_>, field: FieldEntry<'_>, least: Duration, bounds: &str) -> Option<Duration> {
    const EXPECTED: &str = "a time such as 5s, 2m or 500ms";
    let parsed = field.value.as_text().map(str::trim).and_then(|said| {
        // humantime requires a unit; a bare number means seconds.
        if said.starts_with(|c: char| c.is_ascii_digit()) && said.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
            // Rejects a number that is too large for a duration.
            said.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        } else {
            humantime::parse_duration(said).ok()
        }
    });
    match parsed {
        Some(duration) if duration < least || duration > MAX_DURATION => {
            let message = format!("{} must be {bounds}", quoted(field.name));
            reader.fault(Diagnostic::new(field.value.place(), message));
            None
        }
        Some(duration) => Some(duration),
        None => {
            wrong_value(reader, field, EXPECTED);
            None
        }
    }
}

/// A path on this machine, with `~` and `$VAR` expanded; a relative one starts at the directory of the file.
pub fn path(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<PathBuf> {
    let said = text(reader, field, "a path")?;
    if said.chars().any(char::is_control) {
        let message = format!("the path {} contains a control character", quoted(said));
        reader.fault(Diagnostic::new(field.value.span.clone(), message));
        return None;
    }
    match expand(said, reader.env) {
        // `join` keeps an absolute path.
        Ok(path) => Some(reader.folder.join(path)),
        Err(error) => {
            let place = field.value.part(error.span);
            reader.fault(Diagnostic::new(place, error.message).help_if(error.help));
            None
        }
    }
}

/// The roles' canonical names, without duplicates. `roles: analytics` and `roles: analytics, config` are lists too.
pub fn role_names(
    reader: &mut ValueReader<'_>,
    field: FieldEntry<'_>,
    roles: &BTreeMap<String, Arc<Role>>,
) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for item in texts(reader, field, "the name of a role")? {
        let said = item.value.as_text().unwrap_or_default();
        let mut start = 0;
        // Accept commas inside a text, too, as `--role` does.
        for part in said.split(',') {
            let trimmed = part.trim();
            let at = start + (part.len() - part.trim_start().len());
            start += part.len() + 1;
            let name = canonical_role(trimmed);
            if trimmed.is_empty() {
                reader.fault(Diagnostic::new(item.value.place(), format!("an empty role name in {}", quoted(said))));
            } else if !roles.contains_key(name) {
                let place = item.value.part(at..at + trimmed.len());
                unknown_role(reader, place, trimmed, roles);
            } else if known.insert(name.to_owned()) {
                names.push(name.to_owned());
            }
        }
    }
    Some(names)
}

fn unknown_role(reader: &mut ValueReader<'_>, place: Range<usize>, said: &str, roles: &BTreeMap<String, Arc<Role>>) {
    let all = || roles.keys().map(String::as_str);
    let candidates = all().chain(ROLE_ALIASES.map(|(alias, _)| alias));
    let near = if reader.report.affords(roles.len()) { nearest(said, candidates) } else { None };
    let help = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the roles are {}", listed(all())),
    };
    reader.fault(Diagnostic::new(place, format!("unknown role {}", quoted(said))).label("unknown role").help(help));
}

/// A name that is safe in a command line and at a terminal. `what` is the kind of its owner.
pub fn name(reader: &mut ValueReader<'_>, field: FieldEntry<'_>, what: &str) -> Option<String> {
    let said = text(reader, field, &format!("the name of a {what}"))?;
    match check_name(said, "._-:@") {
        Ok(()) => Some(said.to_owned()),
        Err(flaw) => {
            reader.fault(flaw.fault(field.value, what, said));
            None
        }
    }
}

/// A login name, checked as strictly as OpenSSH checks one on its command line (`valid_ruser` in its ssh.c).
pub fn check_user(said: &str) -> Result<(), ValueError> {
    // A leading dash would be an option on a command line.
    if said.starts_with('-') {
        return Err(ValueError { part: 0..1, why: "it begins with `-`".to_owned() });
    }
    // The characters that OpenSSH rejects , and besides them `$` and every space.
    if let Some(found) =
        said.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control() || "'`\";&<>|(){}$".contains(*c))
    {
        return Err(strange(found));
    }
    if said.ends_with('\\') {
        return Err(ValueError { part: said.len() - 1..said.len(), why: "it ends with a backslash".to_owned() });
    }
    length(said)
}

/// A name of letters, digits and `signs`, which starts with neither `-` nor `@`.
pub fn check_name(said: &str, signs: &str) -> Result<(), ValueError> {
    // A leading dash would be an option on a command line, a leading `@` a group in a node set.
    if said.starts_with(['-', '@']) {
        return Err(ValueError { part: 0..1, why: format!("it begins with `{}`", said.get(..1).unwrap_or_default()) });
    }
    match said.char_indices().find(|(_, c)| !c.is_ascii_alphanumeric() && !signs.contains(*c)) {
        Some(found) => Err(strange(found)),
        None => length(said),
    }
}

fn strange((at, c): (usize, char)) -> ValueError {
    let what = if c.is_whitespace() { "a space".to_owned() } else { quoted(&c.to_string()) };
    ValueError { part: at..at + c.len_utf8(), why: format!("it contains {what}") }
}

fn length(said: &str) -> Result<(), ValueError> {
    match said.len() {
        0 => Err(ValueError { part: 0..0, why: "it is empty".to_owned() }),
        1..=MAX_NAME => Ok(()),
        _ => Err(ValueError { part: 0..said.len(), why: format!("it is longer than {MAX_NAME} bytes") }),
    }
}

/// Why a name is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// The invalid bytes of the name.
    pub part: Range<usize>,
    /// Such as ``it begins with `-` ``.
    pub why: String,
}

impl ValueError {
    /// The fault for a report: `said` is not a valid name of a `what`.
    #[must_use]
    pub fn fault(self, raw: &RawValue, what: &str, said: &str) -> Diagnostic {
        let place = raw.part(self.part);
        let place = if place.is_empty() { raw.place() } else { place };
        let message = if said.is_empty() {
            format!("the {what} name is empty")
        } else {
            format!("{} is not a valid {what} name: {}", quoted(said), self.why)
        };
        Diagnostic::new(place, message)
    }
}

/// Checks the `version` of a document: `expected` is the only one that this ctl supports. The field, if its value is not a number.
pub fn format_version<'r>(
    reader: &mut ValueReader<'_>,
    field: Option<FieldEntry<'r>>,
    document: &str,
    expected: u64,
) -> Option<FieldEntry<'r>> {
    let Some(field) = field else {
        let missing = format!("the {document} has no `version`");
        reader.fault(Diagnostic::new(0..0, missing).help("begin the file with `version: 1`"));
        return None;
    };
    match number(field.value) {
        Some(version) if version == expected => None,
        Some(other) => {
            let message = format!("unsupported format version {other}: this ctl supports version {expected}");
            let help = if other > expected { "this file was written for a newer ctl" } else { "write `version: 1`" };
            reader.fault(Diagnostic::new(field.value.place(), message).label("unknown version").help(help));
            None
        }
        None => Some(field),
    }
}

/// Reports a value of another kind than `expected`.
pub fn wrong_value(reader: &mut ValueReader<'_>, field: FieldEntry<'_>, expected: &str) {
    match field.value.as_text() {
        Some(said) => {
            let message = format!("invalid value {} for {}: expected {expected}", quoted(said), quoted(field.name));
            let fault = Diagnostic::new(field.value.place(), message).label(format!("expected {expected}"));
            reader.fault(fault);
        }
        None => reader.wrong_kind(field.key, field.value, expected),
    }
}
