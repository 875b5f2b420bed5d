//! One step of a rollout: its nodes and its action.
//!
//! Here lives [`read`]. It uses `select` to verify the selection of the step. Invariants: a parsed step selects at least
//! one node of the inventory, and does one thing. Start reading at [`read`].

use std::ops::Range;

use super::action::{ACTIONS, command, service_names, title};
use super::item;
use super::model::{RolloutStep, StepAction};
use super::reader::RolloutReader;
use super::settings::{self, RolloutSettings};
use super::variables::RolloutVariables;
use ctl_inventory::problem::{Diagnostic, quoted};
use ctl_inventory::raw::{RawValue, Value};
use ctl_inventory::values::{self, FieldEntry};
use ctl_select::{NodeQuery, SelectError, select};

/// Keys of a step apart from its settings.
pub(super) const OWN_KEYS: [&str; 8] = ["name", "role", "nodes", "exclude", "exec", "services", "action", "each"];
const OWN_SYNONYMS: [(&str, &str); 15] = [
    ("roles", "role"),
    ("hosts", "nodes"),
    ("node", "nodes"),
    ("targets", "nodes"),
    ("except", "exclude"),
    ("command", "exec"),
    ("cmd", "exec"),
    ("shell", "exec"),
    ("run", "exec"),
    ("service", "services"),
    ("programs", "services"),
    ("state", "action"),
    ("items", "each"),
    ("tasks", "each"),
    ("sequence", "each"),
];

/// The name of a step with its place, if it could be read.
type StepName = Option<(String, Range<usize>)>;

/// Reads a step, which is an item of `steps`. Its name is returned even if the step has other faults.
pub(super) fn read(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    defaults: &RolloutSettings,
    steps: FieldEntry<'_>,
    item: &RawValue,
) -> Option<(StepName, Option<RolloutStep>)> {
    if !matches!(item.value, Value::Map(_)) {
        let place = if item.place().is_empty() { steps.key.span.clone() } else { item.place() };
        let message = format!("a step must be a mapping with a `name`, not {}", item.kind());
        work.reader.fault(Diagnostic::new(place, message).label("not a step"));
        return None;
    }
    let keys: Vec<&str> = OWN_KEYS.into_iter().chain(settings::keys()).collect();
    let synonyms: Vec<(&str, &str)> = OWN_SYNONYMS.iter().chain(&settings::SYNONYMS).copied().collect();
    let mut fields = values::pairs(&mut work.reader, steps.key, item, "key")?;
    let meant = values::keep_known(&mut work.reader, &mut fields, "a step", &keys, &synonyms);
    let step = StepFields { item, fields: &fields, meant: &meant };

    let name = step.find("name").and_then(|field| Some((title(work, vars, field)?, field.value.place())));
    if !step.has("name") {
        let fault = Diagnostic::new(item.place(), "the step has no `name`").label("this step");
        work.reader.fault(fault.help("such as `name: restart the collectors`"));
    }
    let targets = targets(work, vars, &step);
    let settings = settings::read(work, vars, &fields, defaults);
    let what = what(work, vars, &step, &settings);
    let whole = name.clone().zip(targets).zip(what).map(|(((name, _), targets), what)| RolloutStep {
        name,
        roles: targets.roles,
        nodes: targets.nodes,
        exclude: targets.exclude,
        what,
        timeout: settings.timeout,
        continue_on_failure: settings.continue_on_failure,
        policy: settings.policy,
    });
    Some((name, whole))
}

/// The content of a step's mapping.
struct StepFields<'f, 'r> {
    item: &'r RawValue,
    fields: &'f [FieldEntry<'r>],
    /// The keys for which a misspelt one stands: they are not reported as missing.
    meant: &'f [&'f str],
}

impl<'r> StepFields<'_, 'r> {
    fn find(&self, key: &str) -> Option<FieldEntry<'r>> {
        self.fields.iter().copied().find(|field| field.name == key)
    }

    fn has(&self, key: &str) -> bool {
        self.find(key).is_some() || self.meant.contains(&key)
    }
}

/// The node selection.
struct StepTargets {
    roles: Vec<String>,
    nodes: Option<String>,
    exclude: Option<String>,
}

fn targets(work: &mut RolloutReader<'_>, vars: &RolloutVariables, step: &StepFields<'_, '_>) -> Option<StepTargets> {
    let role = step.find("role");
    let found = role.map(|field| roles(work, field));
    let nodes = step.find("nodes").map(|field| (field, settings::text(work, vars, field, "a node set")));
    let exclude = step.find("exclude").map(|field| (field, settings::text(work, vars, field, "a node set")));
    if !step.has("role") && !step.has("nodes") {
        let fault = Diagnostic::new(step.item.place(), "the step has neither `role` nor `nodes`");
        work.reader
            .fault(fault.label("this step").help("for example `role: analytics`; `nodes: \"@*\"` selects all of them"));
    }
    let patterns: Vec<_> =
        nodes.iter().chain(&exclude).filter_map(|(field, text)| Some((*field, text.as_deref()?))).collect();
    // No short circuit: both patterns are checked, so that both faults are reported.
    let are_right =
        patterns.into_iter().fold(true, |so_far, (field, pattern)| pattern_is_right(work, field, pattern) && so_far);
    let place = role.or(step.find("nodes"))?.key.span.clone();
    let given = |text: Option<(FieldEntry<'_>, Option<String>)>| match text {
        Some((_, None)) => None,
        Some((_, Some(text))) => Some(Some(text)),
        None => Some(None),
    };
    let targets =
        StepTargets { roles: found.unwrap_or(Some(Vec::new()))?, nodes: given(nodes)?, exclude: given(exclude)? };
    (are_right && selects(work, &targets, place)).then_some(targets)
}

/// The canonical names. `None` if one of them is invalid.
fn roles(work: &mut RolloutReader<'_>, field: FieldEntry<'_>) -> Option<Vec<String>> {
    let faults_before = work.reader.report.count();
    let names = values::role_names(&mut work.reader, field, &work.inventory.roles)?;
    if names.is_empty() && work.reader.report.count() == faults_before {
        let fault = Diagnostic::new(field.key.span.clone(), "`role` is an empty list").label("no role");
        work.reader.fault(fault.help("leave the key out and use `nodes`"));
    }
    (work.reader.report.count() == faults_before).then_some(names)
}

/// Checks a pattern alone.
fn pattern_is_right(work: &mut RolloutReader<'_>, field: FieldEntry<'_>, pattern: &str) -> bool {
    let key = quoted(field.name);
    let nodes = [pattern.to_owned()];
    let fault = match select(work.inventory, &NodeQuery { nodes: &nodes, ..NodeQuery::default() }) {
        Ok(_) => return true,
        Err(SelectError::Pattern { error, .. }) => {
            // Variables shift the text after them, so the span applies only without them.
            let place = if field.value.as_text() == Some(pattern) { field.value.part(error.span()) } else { 0..0 };
            let place = if place.is_empty() { field.value.place() } else { place };
            Diagnostic::new(place, format!("{key}: {}", error.message())).help_if(error.hint().map(str::to_owned))
        }
        Err(SelectError::Nodes { nodes, hint, .. }) => {
            let help = hint.unwrap_or_else(|| "`ctl inventory list` lists the nodes".to_owned());
            Diagnostic::new(field.value.place(), format!("{key}: the inventory has no node {nodes}")).help(help)
        }
        // Whether anything remains is checked once the step's other keys are known.
        Err(SelectError::Nothing { .. }) => return true,
        Err(
            error @ (SelectError::Role { .. }
            | SelectError::EmptyService
            | SelectError::Service { .. }
            | SelectError::NotAService { .. }),
        ) => Diagnostic::new(field.value.place(), format!("{key}: {error}")),
    };
    work.reader.fault(fault);
    false
}

fn selects(work: &mut RolloutReader<'_>, targets: &StepTargets, place: Range<usize>) -> bool {
    let query = NodeQuery {
        roles: &targets.roles,
        nodes: targets.nodes.as_slice(),
        exclude: targets.exclude.as_slice(),
        services: &[],
    };
    // Without services: an update or a command of an earlier step may add them.
    let Err(error) = select(work.inventory, &query) else { return true };
    let reason = if let SelectError::Nothing { reason } = error { reason } else { error.to_string() };
    work.reader.fault(Diagnostic::new(place, format!("the step selects no node: {reason}")).label("selects nothing"));
    false
}

fn what(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    step: &StepFields<'_, '_>,
    settings: &RolloutSettings,
) -> Option<StepAction> {
    let (exec, services, action) = (step.find("exec"), step.find("services"), step.find("action"));
    if let Some(each) = step.find("each") {
        if let Some(other) = exec.or(services).or(action) {
            let message = format!("`each` cannot be combined with {}", quoted(other.name));
            let fault = Diagnostic::new(other.key.span.clone(), message).label("second thing to do");
            let fault = fault.related(each.key.span.clone(), "first thing to do");
            work.reader.fault(fault.help("make it an item of `each`"));
        }
        return item::sequence(work, vars, &settings.policy, each).map(StepAction::Each);
    }
    if let Some(exec) = exec {
        if let Some(other) = services.or(action) {
            let message = format!("`exec` cannot be combined with {}", quoted(other.name));
            let fault = Diagnostic::new(other.key.span.clone(), message).label("second thing to do");
            let fault = fault.related(exec.key.span.clone(), "first thing to do");
            work.reader.fault(fault.help("split it into two steps"));
        }
    } else if !["services", "action", "exec", "each"].into_iter().any(|key| step.has(key)) {
        let message = "the step does nothing: it has neither `exec`, `services` nor `each`";
        let fault = Diagnostic::new(step.item.place(), message);
        work.reader
            .fault(fault.label("this step").help("give it a command, services and an `action`, or a list of items"));
    } else if let Some(action) = action.filter(|_| !step.has("services")) {
        let fault = Diagnostic::new(action.key.span.clone(), "the step has an `action` but no `services`");
        work.reader.fault(fault.help("such as `services: contrail-collector`, or `services: all`"));
    } else if let Some(services) = services.filter(|_| !step.has("action")) {
        let fault = Diagnostic::new(services.key.span.clone(), "the step has `services` but no `action`");
        work.reader.fault(fault.help("such as `action: restart`"));
    }
    // Read all of them even after a fault, to report every fault at once.
    let command = exec.map(|field| command(work, vars, field));
    let names = services.map(|field| service_names(work, vars, field));
    let action = action.map(|field| settings::one_of(work, field, &ACTIONS));
    match (command, names, action) {
        (Some(command), None, None) => Some(StepAction::Exec { command: command? }),
        (None, Some(services), Some(action)) => Some(StepAction::Service { services: services?, verb: action? }),
        _ => None,
    }
}
