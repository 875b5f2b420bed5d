//! The items of a step's `each`: the work on one node, in order.
//!
//! Here lives [`sequence`]. Invariants: a parsed item does one thing, its name is unique in its step, and what a step
//! sets for gates holds for its items. Start reading at [`sequence`].

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::action::{ACTIONS, command, service_names, title};
use super::reader::RolloutReader;
use super::settings;
use super::variables::RolloutVariables;
use crate::policy::Policy;
use crate::sequence::{ItemPlace, ItemUndo, ItemWork, MAX_ITEMS, Sequence, SequenceItem, UndoEnds};
use ctl_inventory::problem::{Diagnostic, did_you_mean, quoted};
use ctl_inventory::raw::{RawValue, Value};
use ctl_inventory::values::{self, FieldEntry};
use ctl_select::ServicePattern;

/// The settings of a check.
const CHECK_TIMES: [&str; 2] = ["until", "interval"];

/// What an item does: one of these, `action` with `services`.
const ACTS: [&str; 4] = ["exec", "services", "check", "wait"];

/// Every key of an item.
pub(super) const KEYS: [&str; 16] = [
    "name",
    "exec",
    "services",
    "action",
    "check",
    "until",
    "interval",
    "wait",
    "on",
    "timeout",
    "undo",
    "when",
    "renew",
    "gate",
    "stable",
    "gate_timeout",
];
const SYNONYMS: [(&str, &str); 14] = [
    ("command", "exec"),
    ("cmd", "exec"),
    ("shell", "exec"),
    ("run", "exec"),
    ("service", "services"),
    ("state", "action"),
    ("delegate_to", "on"),
    ("host", "on"),
    ("sleep", "wait"),
    ("pause", "wait"),
    ("delay", "interval"),
    ("rollback", "undo"),
    ("revert", "undo"),
    ("always", "undo"),
];

/// The longest undo, in bytes: the guard of a node keeps it.
const MAX_UNDO: usize = 8 * 1024;

/// Between two attempts of a check.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the items of a step. `policy`: the step's.
pub(super) fn sequence(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    policy: &Policy,
    field: FieldEntry<'_>,
) -> Option<Sequence> {
    let Value::List(list) = &field.value.value else {
        work.reader.wrong_kind(field.key, field.value, "a list of items, each with a `-`");
        return None;
    };
    if list.is_empty() {
        let fault = Diagnostic::new(field.key.span.clone(), "`each` is an empty list").label("no items");
        work.reader.fault(fault.help("such as `each: [{name: restart, services: contrail-api, action: restart}]`"));
        return None;
    }
    if let Some(first_over) = list.get(MAX_ITEMS) {
        let message = format!("there are {} items: a step may have at most {MAX_ITEMS}", list.len());
        work.reader.fault(Diagnostic::new(first_over.place(), message).label("the first one too many"));
        return None;
    }
    let faults_before = work.reader.report.count();
    let mut names: HashMap<String, Range<usize>> = HashMap::new();
    let mut items = Vec::with_capacity(list.len());
    for value in list {
        let Some(read) = item(work, vars, policy, field, value) else { continue };
        if let Some(before) = names.get(&read.item.name) {
            let message = format!("two items are named {}", quoted(&read.item.name));
            let fault = Diagnostic::new(read.name_place, message).label("defined again here");
            let fault = fault.related(before.clone(), "first defined here");
            work.reader.fault(fault.help("give each item of a step a name of its own"));
        } else {
            names.insert(read.item.name.clone(), read.name_place);
            items.push(read.item);
        }
    }
    (work.reader.report.count() == faults_before && items.len() == list.len()).then(|| Sequence::new(items))
}

/// An item, and the place of its name.
struct ReadItem {
    item: SequenceItem,
    name_place: Range<usize>,
}

fn item(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    policy: &Policy,
    each: FieldEntry<'_>,
    value: &RawValue,
) -> Option<ReadItem> {
    if !matches!(value.value, Value::Map(_)) {
        let place = if value.place().is_empty() { each.key.span.clone() } else { value.place() };
        let message = format!("an item must be a mapping with a `name`, not {}", value.kind());
        work.reader.fault(Diagnostic::new(place, message).label("not an item"));
        return None;
    }
    let mut fields = values::pairs(&mut work.reader, each.key, value, "key")?;
    let meant = values::keep_known(&mut work.reader, &mut fields, "an item", &KEYS, &SYNONYMS);
    let fields = ItemFields { value, fields: &fields, meant: &meant };
    let name = fields.find("name").and_then(|field| Some((title(work, vars, field)?, field.value.place())));
    if !fields.has("name") {
        let fault = Diagnostic::new(value.place(), "the item has no `name`").label("this item");
        work.reader.fault(fault.help("such as `name: drain`"));
    }
    let place = fields.find("on").map_or(Some(ItemPlace::Node), |field| place(work, vars, field));
    let timeout = fields.find("timeout").map(|field| values::duration(&mut work.reader, field));
    let undo = undo(work, vars, &fields);
    let renew = renew(work, &fields);
    let done = what(work, vars, policy, &fields);
    let (name, name_place) = name?;
    let timeout = match timeout {
        Some(read) => Some(read?),
        None => None,
    };
    Some(ReadItem {
        item: SequenceItem { name, place: place?, work: done?, timeout, undo: undo?, renew: renew? },
        name_place,
    })
}

/// Where the item runs: a word, or the name of a node of the inventory.
fn place(work: &mut RolloutReader<'_>, vars: &RolloutVariables, field: FieldEntry<'_>) -> Option<ItemPlace> {
    let said = settings::text(work, vars, field, "`node`, `controller` or the name of a node")?;
    let name = match said.trim() {
        "node" => return Some(ItemPlace::Node),
        "controller" => return Some(ItemPlace::Controller),
        name => name,
    };
    let nodes = &work.inventory.nodes;
    let fault = match nodes.iter().find(|node| node.name == name) {
        None => {
            let message = format!("{}: the inventory has no node {}", quoted(field.name), quoted(name));
            let names = nodes.iter().map(|node| node.name.as_str()).chain(["node", "controller"]);
            let help = did_you_mean(name, names).unwrap_or_else(|| "`ctl inventory list` lists the nodes".to_owned());
            Diagnostic::new(field.value.place(), message).label("not a node").help(help)
        }
        Some(node) => match &node.maintenance {
            None => return Some(ItemPlace::Helper(name.to_owned())),
            Some(why) => {
                let message = format!("{}: {} is in maintenance: {why}", quoted(field.name), quoted(name));
                Diagnostic::new(field.value.place(), message).label("in maintenance")
            }
        },
    };
    work.reader.fault(fault);
    None
}

/// The content of an item's mapping.
struct ItemFields<'f, 'r> {
    value: &'r RawValue,
    fields: &'f [FieldEntry<'r>],
    /// The keys for which a misspelt one stands: they are not reported as missing.
    meant: &'f [&'f str],
}

impl<'r> ItemFields<'_, 'r> {
    fn find(&self, key: &str) -> Option<FieldEntry<'r>> {
        self.fields.iter().copied().find(|field| field.name == key)
    }

    fn has(&self, key: &str) -> bool {
        self.find(key).is_some() || self.meant.contains(&key)
    }
}

/// What the item does. It does one thing.
fn what(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    policy: &Policy,
    fields: &ItemFields<'_, '_>,
) -> Option<ItemWork> {
    let faults_before = work.reader.report.count();
    let acts: Vec<FieldEntry<'_>> = ACTS.into_iter().filter_map(|key| fields.find(key)).collect();
    if let [first, second, ..] = acts.as_slice() {
        let message = format!("{} cannot be combined with {}", quoted(first.name), quoted(second.name));
        let fault = Diagnostic::new(second.key.span.clone(), message).label("second thing to do");
        let fault = fault.related(first.key.span.clone(), "first thing to do");
        work.reader.fault(fault.help("split it into two items"));
    }
    // Every value is read, so that all faults are reported at once.
    let exec = fields.find("exec").and_then(|field| command(work, vars, field));
    let check = fields.find("check").and_then(|field| command(work, vars, field));
    let wait = fields.find("wait").and_then(|field| values::duration(&mut work.reader, field));
    let services = services(work, vars, policy, fields);
    let until = fields.find("until").and_then(|field| values::duration(&mut work.reader, field));
    let interval = fields.find("interval").and_then(|field| values::duration(&mut work.reader, field));
    misplaced(work, fields, &settings::GATES, "services");
    misplaced(work, fields, &CHECK_TIMES, "check");
    // A wait has its own time, and nothing to run.
    if fields.has("wait") {
        let others = ["on", "timeout"].into_iter().filter_map(|key| fields.find(key));
        for field in others {
            let message = format!("a `wait` has no {}", quoted(field.name));
            work.reader.fault(Diagnostic::new(field.key.span.clone(), message).label("not used"));
        }
    }
    if acts.is_empty() && !ACTS.into_iter().chain(["action"]).any(|key| fields.has(key)) {
        let message = "the item does nothing: it has neither `exec`, `services`, `check` nor `wait`";
        let fault = Diagnostic::new(fields.value.place(), message).label("this item");
        work.reader.fault(fault.help("give it a command, services and an `action`, a check, or a time to wait"));
    }
    if work.reader.report.count() > faults_before {
        return None;
    }
    let check = check.map(|command| ItemWork::Check { command, until, interval: interval.unwrap_or(INTERVAL) });
    services.or(exec.map(|command| ItemWork::Exec { command })).or(check).or(wait.map(ItemWork::Wait))
}

/// A change of services, with the gates of the step unless the item sets its own.
fn services(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    policy: &Policy,
    fields: &ItemFields<'_, '_>,
) -> Option<ItemWork> {
    let (services, action) = (fields.find("services"), fields.find("action"));
    if let Some(action) = action.filter(|_| !fields.has("services")) {
        let fault = Diagnostic::new(action.key.span.clone(), "the item has an `action` but no `services`");
        work.reader.fault(fault.help("such as `services: contrail-collector`, or `services: all`"));
    } else if let Some(services) = services.filter(|_| !fields.has("action")) {
        let fault = Diagnostic::new(services.key.span.clone(), "the item has `services` but no `action`");
        work.reader.fault(fault.help("such as `action: restart`"));
    }
    if let Some(place) = fields.find("on").filter(|_| services.is_some())
        && place.value.as_text().is_some_and(|said| said.trim() == "controller")
    {
        let message = "services are changed on a node, not on the controller";
        work.reader.fault(Diagnostic::new(place.value.place(), message).label("not with `services`"));
    }
    let names = services.map(|field| service_names(work, vars, field));
    let verb = action.map(|field| settings::one_of(work, field, &ACTIONS));
    let gates = settings::gates(work, vars, fields.fields, policy);
    // Checked already: a name that is not valid is a fault.
    let services = names??.iter().map(|name| ServicePattern::parse(name).ok()).collect::<Option<_>>()?;
    Some(ItemWork::Service { verb: verb??, services, policy: gates })
}

/// How the item is taken back. None of it is a fault; it may have none.
fn undo(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    fields: &ItemFields<'_, '_>,
) -> Option<Option<ItemUndo>> {
    misplaced(work, fields, &["when"], "undo");
    let ends = fields.find("when").map_or(Some(UndoEnds::ALL), |field| ends(work, field));
    let Some(field) = fields.find("undo") else { return Some(None) };
    if !fields.has("exec") && !fields.has("services") {
        let message = "`undo` cannot be used with `check` or `wait`";
        let fault = Diagnostic::new(field.key.span.clone(), message).label("needs `exec` or `services`");
        work.reader.fault(fault);
    }
    let command = command(work, vars, field)?;
    if command.len() > MAX_UNDO {
        let message = format!("`undo` is longer than {} KiB", MAX_UNDO >> 10);
        work.reader.fault(Diagnostic::new(field.value.place(), message).help("put it into a script"));
        return None;
    }
    Some(Some(ItemUndo { command, ends: ends? }))
}

/// How often the item runs again. None of it is a fault; it may not be renewed.
fn renew(work: &mut RolloutReader<'_>, fields: &ItemFields<'_, '_>) -> Option<Option<Duration>> {
    let Some(field) = fields.find("renew") else { return Some(None) };
    misplaced(work, fields, &["renew"], "exec");
    misplaced(work, fields, &["renew"], "undo");
    values::duration(&mut work.reader, field).map(Some)
}

/// The ends of a sequence on which something is taken back.
fn ends(work: &mut RolloutReader<'_>, field: FieldEntry<'_>) -> Option<UndoEnds> {
    let items = match &field.value.value {
        Value::List(items) => items.as_slice(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
            std::slice::from_ref(field.value)
        }
    };
    if items.is_empty() {
        let fault = Diagnostic::new(field.value.place(), "`when` is an empty list").label("no value");
        let help = "leave out `when` to undo in every case, or leave out `undo` to keep the item";
        work.reader.fault(fault.help(help));
        return None;
    }
    let none = UndoEnds { success: false, failure: false, lost: false };
    let names = [
        ("success", UndoEnds { success: true, ..none }),
        ("failure", UndoEnds { failure: true, ..none }),
        ("lost", UndoEnds { lost: true, ..none }),
    ];
    let mut ends = none;
    let mut is_right = true;
    for value in items {
        match settings::one_of(work, FieldEntry { value, ..field }, &names) {
            Some(UndoEnds { success, failure, lost }) => {
                ends.success |= success;
                ends.failure |= failure;
                ends.lost |= lost;
            }
            None => is_right = false,
        }
    }
    is_right.then_some(ends)
}

/// Settings that do not belong to what the item does.
fn misplaced(work: &mut RolloutReader<'_>, fields: &ItemFields<'_, '_>, keys: &[&str], owner: &str) {
    if fields.has(owner) {
        return;
    }
    for field in keys.iter().filter_map(|key| fields.find(key)) {
        let message = format!("{} needs {}", quoted(field.name), quoted(owner));
        work.reader.fault(Diagnostic::new(field.key.span.clone(), message).label("without effect"));
    }
}
