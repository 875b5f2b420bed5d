//! The plan as text and as data, for `--dry-run`.
//!
//! Pure. Caps are shown as upper bounds: only the nodes know which services are down already, and such nodes go first.

use std::collections::BTreeSet;
use std::fmt::Write;

use nodeset::NodeSet;
use serde::Serialize;

use super::batch;
use super::live::{LiveState, LiveView};
use super::{ItemPlace, Plan, PlanStep, Sequence, SequenceItem, ServiceVerb, StepIndex, Task, Work};
use ctl_inventory::Supervisor;

/// The plan in the form of `--dry-run -o json`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Plan"))]
pub struct PlanView {
    /// The steps, in the order in which they run.
    pub steps: Vec<StepView>,
    /// The state of the nodes; none if they were not read.
    pub live: Option<LiveView>,
}

/// One step of a plan.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Step"))]
pub struct StepView {
    /// Its name in the rollout.
    pub name: Option<String>,
    /// Its role; none if it visits all roles of a node at once.
    pub role: Option<String>,
    /// The action.
    pub action: &'static str,
    /// The services, as typed.
    pub services: Vec<String>,
    /// The command, for `exec`.
    pub command: Option<String>,
    /// The items done on each node, in order; empty for a step without a sequence.
    pub items: Vec<ItemView>,
    /// Nodes that are checked again before the first batch, and not changed: an earlier part of the run failed there, or did
    /// not wait for their gate.
    pub rechecks: Vec<String>,
    /// Names of the nodes in each batch, in order.
    pub batches: Vec<Vec<String>>,
    /// Nodes that are skipped because they are in maintenance.
    pub skipped: Vec<String>,
    /// Nodes that could not be read, and so are in no batch.
    pub unreachable: Vec<String>,
    /// Nodes that would not be started in their present state, because of a cap, the failure limit or an unknown name.
    pub not_started: Vec<String>,
    /// The caps of the roles in this step.
    pub caps: Vec<CapView>,
    /// Services whose stop makes a node manager restart its whole instance: there the whole node is affected.
    pub cascades: Vec<String>,
}

/// An item of a step's sequence.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SequenceItem"))]
pub struct ItemView {
    /// Its name.
    pub name: String,
    /// Where it runs: `node`, `controller`, or the name of another node.
    pub on: String,
    /// What it does: the action on its services, `exec`, `check` or `wait`.
    pub action: &'static str,
    /// The services, as typed.
    pub services: Vec<String>,
    /// The command, for `exec` and `check`.
    pub command: Option<String>,
    /// The command that takes it back.
    pub undo: Option<String>,
    /// The ends of the sequence on which it is taken back; empty without `undo`.
    pub when: Vec<&'static str>,
    /// How often it runs again until it is taken back, in milliseconds.
    pub renew_ms: Option<u64>,
}

/// A cap in a step.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Cap"))]
pub struct CapView {
    /// The role.
    pub role: String,
    /// How many nodes of it may be down at once.
    pub max_unavailable: usize,
    /// The number of its nodes.
    pub nodes: usize,
    /// Those of them that are down now; none if they were not read.
    pub down: Option<Vec<String>>,
}

/// The plan as data. `live`: the state of the nodes, if they were read.
#[must_use]
pub fn view(plan: &Plan, live: Option<&LiveState>) -> PlanView {
    let steps = plan.steps.indexed().filter_map(|(index, step)| view_step(plan, index, step, live)).collect();
    PlanView { steps, live: live.map(LiveState::view) }
}

fn view_step(plan: &Plan, index: StepIndex, step: &PlanStep, live: Option<&LiveState>) -> Option<StepView> {
    let task = plan.tasks.get(step.task)?;
    let name = |index: &usize| plan.nodes.get(*index).map(|selected| selected.node.name.clone());
    let is_skipped = |index: &usize| plan.nodes.get(*index).is_some_and(|selected| selected.node.maintenance.is_some());
    let (skipped, nodes): (Vec<usize>, Vec<usize>) = step.nodes.iter().partition(|index| is_skipped(index));
    let can_be_done = |index: &usize| live.is_none_or(|live| name(index).is_some_and(|name| live.can_be_done(&name)));
    let (nodes, unreachable): (Vec<usize>, Vec<usize>) = nodes.into_iter().partition(can_be_done);
    let is_recheck = |node: &usize| task.rechecks.get(&(index, *node)).is_some_and(|recheck| !recheck.acts);
    let (rechecks, nodes): (Vec<usize>, Vec<usize>) = nodes.into_iter().partition(is_recheck);
    let mut budgets = plan.budgets(step.task);
    for budget in &mut budgets {
        let is_down = |node: &&usize| {
            let key = name(node).map(|name| (budget.role.clone(), name));
            key.is_some_and(|key| live.is_some_and(|live| live.down.contains(&key)))
        };
        budget.down = budget.members.iter().filter(is_down).copied().collect();
    }
    // Percentages refer to the whole step, including skipped and unreachable nodes, as in the run.
    let size = |index| task.policy.batch_size(index, step.nodes.len());
    // Where nodes go in batches, those that an earlier controller has started go first.
    let has_begun = |node: &usize| {
        let is_rechecked = task.rechecks.contains_key(&(index, *node));
        is_rechecked || name(node).is_some_and(|name| task.in_flight.contains_key(&name))
    };
    let goes_in_batches = task.batched || !budgets.is_empty();
    let (resumed, rest): (Vec<usize>, Vec<usize>) = nodes.iter().partition(|node| goes_in_batches && has_begun(node));
    let batches = if why_none(plan, step, live).is_some() {
        Vec::new()
    } else {
        let mut batches = batch::batches(&resumed, |_| resumed.len(), &budgets);
        let begun = batches.len();
        batches.extend(batch::batches(&rest, |batch| size(batch + begun), &budgets));
        batches
    };
    let here = |role: &str| step.role.as_deref().is_none_or(|own| own == role);
    let caps = plan.caps.iter().filter(|cap| cap.task == step.task && cap.expected && here(&cap.role));
    let mut cascades: Vec<String> = supervisors(plan, step)
        .flat_map(|supervisor| supervisor.cascades.iter().map(move |program| (program, &supervisor.name)))
        .filter(|(program, _)| is_meant(task, program))
        .map(|(program, instance)| format!("{program} ({instance})"))
        .collect();
    cascades.sort();
    // Several nodes have the same instances.
    cascades.dedup();
    // Only stopping a program makes its node manager act.
    if !task.work.verbs().any(ServiceVerb::takes_down) {
        cascades.clear();
    }
    Some(StepView {
        name: task.name.clone(),
        role: step.role.clone(),
        action: task.work.action().as_str(),
        services: task.work.services().iter().map(|service| service.as_str().to_owned()).collect(),
        command: if let Work::Exec { command, .. } = &task.work { Some(command.clone()) } else { None },
        items: task
            .work
            .sequence()
            .map(|sequence| sequence.items().iter().map(view_item).collect())
            .unwrap_or_default(),
        rechecks: rechecks.iter().filter_map(name).collect(),
        batches: batches.iter().map(|batch| batch.iter().filter_map(name).collect()).collect(),
        skipped: skipped.iter().filter_map(name).collect(),
        caps: caps
            .map(|cap| CapView {
                role: cap.role.clone(),
                max_unavailable: cap.limit,
                nodes: cap.members.len(),
                // Without a reading, nothing is known: that is not an empty list.
                down: live.map(|_| {
                    let budget = budgets.iter().find(|budget| budget.role == cap.role);
                    budget.map(|budget| budget.down.iter().filter_map(name).collect()).unwrap_or_default()
                }),
            })
            .collect(),
        unreachable: unreachable.iter().filter_map(name).collect(),
        not_started: if live.is_some() { left(&nodes, &batches).iter().filter_map(name).collect() } else { Vec::new() },
        cascades,
    })
}

fn view_item(item: &SequenceItem) -> ItemView {
    ItemView {
        name: item.name.clone(),
        on: item.place.as_str().to_owned(),
        action: item.work.as_str(),
        services: item.work.services().iter().map(|service| service.as_str().to_owned()).collect(),
        command: item.work.command().map(str::to_owned),
        undo: item.undo.as_ref().map(|undo| undo.command.clone()),
        when: item.undo.as_ref().map(|undo| undo.ends.names()).unwrap_or_default(),
        renew_ms: item.renew.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Why no node of a step would be started in the present state, if so.
fn why_none(plan: &Plan, step: &PlanStep, live: Option<&LiveState>) -> Option<&'static str> {
    let (task, live) = (plan.tasks.get(step.task)?, live?);
    // The run then halts before its first step.
    if task.work.changes() && !live.mistakes.is_empty() {
        return Some("a service name is unknown");
    }
    let mut helpers = task.work.sequence().into_iter().flat_map(Sequence::helpers);
    if !helpers.all(|helper| live.can_be_done(helper)) {
        return Some("a node that its items run on cannot be reached");
    }
    // The failure limit applies to the whole task, not to this step.
    let of_task = plan.steps.iter().filter(|other| other.task == step.task);
    let nodes: BTreeSet<usize> = of_task.flat_map(|step| step.nodes.iter().copied()).collect();
    let is_away = |node: &&usize| {
        let selected = plan.nodes.get(**node);
        // A node in maintenance is skipped, which is no failure.
        selected.is_some_and(|own| own.node.maintenance.is_none() && live.unreachable.contains_key(&own.node.name))
    };
    let earlier = task.finished.values().filter(|node| node.failed.is_some()).count();
    let failed = nodes.iter().filter(is_away).count() + earlier;
    let limit = task.policy.failure_limit(task.batched);
    limit
        .is_exceeded(failed, nodes.len() + task.finished.len())
        .then_some("too many nodes have failed already (--max-failures)")
}

/// The nodes that are in no batch.
fn left(nodes: &[usize], batches: &[Vec<usize>]) -> Vec<usize> {
    nodes.iter().copied().filter(|node| !batches.iter().flatten().any(|other| other == node)).collect()
}

/// The supervisords of a step, each once.
fn supervisors<'a>(plan: &'a Plan, step: &'a PlanStep) -> impl Iterator<Item = &'a Supervisor> {
    let roles = step.nodes.iter().filter_map(|index| plan.nodes.get(*index)).flat_map(|selected| &selected.roles);
    // Many nodes share a role: each counts once.
    let mut seen = std::collections::BTreeSet::new();
    roles
        .filter(|role| step.role.as_deref().is_none_or(|own| role.name == own))
        .filter(move |role| seen.insert(role.name.as_str()))
        .flat_map(|role| &role.supervisors)
}

/// The plan as text. `live`: the state of the nodes, if they were read.
#[must_use]
pub fn text(plan: &Plan, live: Option<&LiveState>) -> String {
    let mut text = String::new();
    for (number, (index, step)) in (1..).zip(plan.steps.indexed()) {
        // A step of which an earlier part of the run has left nothing.
        if step.nodes.is_empty() {
            continue;
        }
        let (Some(view), Some(task)) = (view_step(plan, index, step, live), plan.tasks.get(step.task)) else {
            continue;
        };
        let why = why_none(plan, step, live).unwrap_or("limited by a cap");
        // Writing to a `String` does not fail, so there is no error to report.
        if explain_step(&mut text, plan, number, step, task, (&view, why)).is_err() {
            break;
        }
    }
    if let Some(live) = live
        && live.text(&mut text).is_err()
    {
        return text;
    }
    text
}

fn explain_step(
    text: &mut String,
    plan: &Plan,
    number: usize,
    step: &PlanStep,
    task: &Task,
    (view, why): (&StepView, &str),
) -> std::fmt::Result {
    let what = match (&view.command, view.services.as_slice()) {
        (Some(command), _) => format!("exec: {command}"),
        (None, []) if let Work::Copy(copy) = &task.work => format!("copy {}", copy.description()),
        (None, _) if !view.items.is_empty() => {
            format!("{} on each node", count(view.items.len(), "item", "items"))
        }
        (None, []) => format!("{} all services", view.action),
        (None, services) => format!("{} {}", view.action, services.join(" ")),
    };
    let role = view.role.as_ref().map(|role| format!(", role {role}")).unwrap_or_default();
    let name = view.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    writeln!(
        text,
        "step {number}{name}: {what}{role} ({}, {})",
        count(step.nodes.len(), "node", "nodes"),
        count(view.batches.len(), "batch", "batches")
    )?;
    if !view.rechecks.is_empty() {
        writeln!(text, "  checked again first, and not changed: {}", fold(&view.rechecks))?;
    }
    for (number, batch) in (1..).zip(&view.batches) {
        writeln!(text, "  batch {number}: {} ({})", fold(batch), batch.len())?;
    }
    if !view.not_started.is_empty() {
        writeln!(text, "  not started ({why}): {}", fold(&view.not_started))?;
    }
    if !view.unreachable.is_empty() {
        writeln!(text, "  cannot be reached: {}", fold(&view.unreachable))?;
    }
    if !view.skipped.is_empty() {
        writeln!(text, "  skipped (maintenance): {}", fold(&view.skipped))?;
    }
    let roleless = roleless(plan, step, task);
    if !roleless.is_empty() {
        writeln!(text, "  fails: {}: no role in the inventory, so no supervisord is queried", fold(&roleless))?;
    }
    explain_items(text, task)?;
    for line in requests(plan, step, task) {
        writeln!(text, "  request: {line}")?;
    }
    explain_caps(text, plan, step, task, view)?;
    for program in &view.cascades {
        writeln!(text, "  one unit: stopping {program} can make its node manager restart the whole instance")?;
    }
    let nodes_not_in_snapshot = plan.nodes_not_in_snapshot(step.task);
    // Of a node that is not acted on, nothing needs checking.
    let nodes_not_in_snapshot: Vec<String> =
        view.batches.iter().flatten().filter(|name| nodes_not_in_snapshot.contains(&name.as_str())).cloned().collect();
    if !nodes_not_in_snapshot.is_empty() {
        writeln!(text, "  not in the snapshot, and not checked: {}", fold(&nodes_not_in_snapshot))?;
    }
    if task.work.changes() {
        writeln!(text, "  {}", rules(task, task.batched || view.batches.len() > 1))?;
    }
    Ok(())
}

/// The items of a sequence, and how each is taken back.
fn explain_items(text: &mut String, task: &Task) -> std::fmt::Result {
    for (number, item) in (1..).zip(task.work.sequence().into_iter().flat_map(Sequence::items)) {
        let place = match &item.place {
            ItemPlace::Node => String::new(),
            ItemPlace::Controller => " (on the controller)".to_owned(),
            ItemPlace::Helper(name) => format!(" (on {name})"),
        };
        writeln!(text, "  item {number} \"{}\": {}{place}", item.name, item.work)?;
        if let Some(undo) = &item.undo {
            writeln!(text, "    undo: {} (when: {})", undo.command, undo.ends.names().join(", "))?;
            if let Some(renew) = item.renew {
                writeln!(text, "    renewed every {}", humantime::format_duration(renew))?;
            }
        }
    }
    Ok(())
}

/// How many nodes of each role may be down, and whether that refuses the step.
fn explain_caps(text: &mut String, plan: &Plan, step: &PlanStep, task: &Task, view: &StepView) -> std::fmt::Result {
    for cap in &view.caps {
        writeln!(
            text,
            "  cap: at most {} of {} {} nodes may be down at once (max_unavailable){}",
            cap.max_unavailable,
            cap.nodes,
            cap.role,
            match &cap.down {
                None => ", including nodes already down".to_owned(),
                Some(down) if down.is_empty() => "; none is down now".to_owned(),
                Some(down) => format!("; down now: {}", fold(down)),
            }
        )?;
    }
    if let Some(cap) = broken_by_stop(plan, step, task, view) {
        writeln!(
            text,
            "  refused: the stop would leave more than {} {} nodes down (max_unavailable); --max-unavailable allows more",
            cap.max_unavailable, cap.role
        )?;
    }
    Ok(())
}

/// The cap for which a run would refuse the step's stop as a whole: more nodes would be down after it than the cap allows.
/// Without a reading, every node counts as up.
fn broken_by_stop<'v>(plan: &Plan, step: &PlanStep, task: &Task, view: &'v StepView) -> Option<&'v CapView> {
    if task.work.verb() != Some(ServiceVerb::Stop) {
        return None;
    }
    let rests = |node: &&usize| plan.nodes.get(**node).is_some_and(|own| own.node.maintenance.is_some());
    let going: Vec<String> = (step.nodes.iter().filter(|node| !rests(node)))
        .filter_map(|node| Some(plan.nodes.get(*node)?.node.name.clone()))
        .collect();
    view.caps.iter().find(|cap| {
        let down = cap.down.as_deref().unwrap_or_default();
        let going = going.iter().filter(|name| !down.contains(name)).count();
        going > 0 && down.len() + going > cap.max_unavailable
    })
}

/// The nodes of a step on services that have no role in the inventory: a run finds no service there.
fn roleless(plan: &Plan, step: &PlanStep, task: &Task) -> Vec<String> {
    let nodes = step.nodes.iter().filter(|index| task.work.verb().is_some() && plan.has_no_role(**index));
    let nodes = nodes.filter_map(|index| plan.nodes.get(*index));
    nodes.filter(|own| own.node.maintenance.is_none()).map(|own| own.node.name.clone()).collect()
}

/// The requests to the supervisords, as far as the catalogue knows their services.
fn requests(plan: &Plan, step: &PlanStep, task: &Task) -> Vec<String> {
    let Some(verb) = task.work.verb() else { return Vec::new() };
    let verbs = match verb {
        ServiceVerb::Start => "startProcess",
        ServiceVerb::Stop => "stopProcess",
        ServiceVerb::Restart => "stopProcess, startProcess",
        ServiceVerb::Update => "reloadConfig, removeProcessGroup, addProcessGroup",
    };
    let mut lines = Vec::new();
    for supervisor in supervisors(plan, step) {
        for service in task.work.services() {
            if service.matches_instance(&supervisor.name) {
                lines.push(format!("service {} {}", supervisor.name, verb.as_str()));
            }
        }
        let known = supervisor.services.iter().map(String::as_str).filter(|name| is_meant(task, name));
        let known: Vec<&str> = known.collect();
        if !known.is_empty() {
            let addresses: Vec<String> = supervisor.addresses.iter().map(ToString::to_string).collect();
            lines.push(format!("{verbs} of {} at {} ({})", known.join(", "), supervisor.name, addresses.join(" or ")));
        }
    }
    lines
}

/// Whether a task means a program.
fn is_meant(task: &Task, program: &str) -> bool {
    let services = task.work.services();
    services.is_empty() || services.iter().any(|service| service.matches_group(program))
}

fn rules(task: &Task, batched: bool) -> String {
    let policy = &task.policy;
    let mut rules = vec![format!("failure limit {}", policy.failure_limit(batched))];
    // A stopped service has no state to wait for.
    if task.work.verb().is_some_and(|verb| verb != ServiceVerb::Stop) {
        let words: Vec<String> = policy.service_gates(batched).iter().map(ToString::to_string).collect();
        rules.push(if words.is_empty() { "no gate".to_owned() } else { format!("gate: {}", words.join(" and ")) });
    }
    rules.extend(policy.node_gates().iter().map(ToString::to_string));
    if !policy.pause.is_zero() {
        rules.push(format!("pause {}", humantime::format_duration(policy.pause)));
    }
    rules.join("; ")
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn fold(names: &[String]) -> String {
    NodeSet::from_names(names.iter().map(String::as_str)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::{Action, TaskSpec, plan};
    use ctl_inventory::{PathEnvironment, parse};
    use ctl_select::{NodeQuery, select};

    fn made(action: Action, services: &[&str], edit: impl Fn(&mut Policy)) -> Plan {
        let text = "version: 1\nnodes:\n  cfg[1-3]: {roles: [config]}\n  a[1-4]: {roles: [analytics]}\n  a5: {roles: [analytics], maintenance: new disks}\n";
        let inventory =
            parse(text, std::path::Path::new("inventory.yaml"), &PathEnvironment::default()).expect("an inventory");
        let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
        let roles = ["analytics".to_owned(), "config".to_owned()];
        let query = NodeQuery { roles: &roles, services: &services, ..NodeQuery::default() };
        let mut wanted =
            TaskSpec::new(select(&inventory, &query).expect("a selection"), |services| Work::example(action, services));
        edit(&mut wanted.task.policy);
        plan(vec![wanted], &inventory, None)
    }

    #[test]
    fn a_plan_shows_its_batches_and_caps() {
        let plan = made(Action::Restart, &["contrail-api", "contrail-collector"], |policy| {
            policy.serial = Some("1,2".parse().expect("a list"));
            policy.check = Some("true".to_owned());
            policy.gate_snapshot = Some("before.json".into());
        });
        insta::assert_snapshot!(text(&plan, None), @r#"
        step 1: restart contrail-api contrail-collector, role config (3 nodes, 3 batches)
          batch 1: cfg1 (1)
          batch 2: cfg2 (1)
          batch 3: cfg3 (1)
          request: stopProcess, startProcess of contrail-api at supervisor-config (unix:///var/run/supervisord_config.sock or unix:///tmp/supervisord_config.sock or http://localhost:9004)
          cap: at most 1 of 3 config nodes may be down at once (max_unavailable), including nodes already down
          one unit: stopping contrail-api (supervisor-config) can make its node manager restart the whole instance
          failure limit 0; gate: RUNNING for 5s; check: true; no worse than before.json, within 2m
        step 2: restart contrail-api contrail-collector, role analytics (5 nodes, 3 batches)
          batch 1: a1 (1)
          batch 2: a[2-3] (2)
          batch 3: a4 (1)
          skipped (maintenance): a5
          request: stopProcess, startProcess of contrail-collector at supervisor-analytics (unix:///var/run/supervisord_analytics.sock or unix:///tmp/supervisord_analytics.sock or http://localhost:9002)
          failure limit 0; gate: RUNNING for 5s; check: true; no worse than before.json, within 2m
        "#);
        let live = LiveState { down: [("config".to_owned(), "cfg2".to_owned())].into(), ..LiveState::default() };
        let view = view(&plan, Some(&live));
        assert_eq!(view.steps[0].batches, [["cfg2"], ["cfg1"], ["cfg3"]], "what is down goes first, and alone");
        assert!(view.steps[0].not_started.is_empty());
        assert_eq!(view.steps[0].caps[0].down.as_deref(), Some(["cfg2".to_owned()].as_slice()));
        assert_eq!(view.steps[1].skipped, ["a5"]);
    }

    #[test]
    fn a_node_without_a_role_is_shown_as_failing() {
        let text_of = |action| {
            let inventory = "version: 1\nnodes: {a1: {roles: [analytics]}, bare: {}}";
            let inventory = parse(inventory, std::path::Path::new("i"), &PathEnvironment::default()).expect("one");
            let selection = select(&inventory, &NodeQuery::default()).expect("a selection");
            text(&plan(vec![TaskSpec::new(selection, |all| Work::example(action, all))], &inventory, None), None)
        };
        assert!(text_of(Action::Stop).contains("  fails: bare: no role in the inventory"), "{}", text_of(Action::Stop));
        assert!(!text_of(Action::Exec).contains("no role"), "a command needs none");
    }

    #[test]
    fn a_stop_that_a_cap_refuses_is_shown_as_refused() {
        let refused = |services: &[&str], down: &[&str], edit: fn(&mut Policy)| {
            let plan = made(Action::Stop, services, edit);
            let down = down.iter().map(|node| ("config".to_owned(), (*node).to_owned())).collect();
            let live = LiveState { down, ..LiveState::default() };
            text(&plan, Some(&live)).matches("  refused: ").count()
        };
        assert_eq!(refused(&["contrail-api"], &[], |_| {}), 1);
        assert_eq!(refused(&["contrail-api"], &["cfg1", "cfg2", "cfg3"], |_| {}), 0, "nothing more goes down");
        assert_eq!(refused(&["contrail-collector"], &[], |policy| policy.caps = "none".parse().expect("none")), 0);
    }

    #[test]
    fn a_live_plan_shows_the_state_of_the_nodes() {
        use ctl_event::{Failure, FailureKind, Outcome, PendingUpdate, ProcessState, Stage, TargetResult};
        let plan = made(Action::Update, &["contrail-collector"], |policy| {
            policy.max_failures = Some("9".parse().expect("a limit"));
        });
        let mut live = LiveState::default();
        let failure = Failure::new(Stage::Connect, FailureKind::Refused, "nothing\nis listening");
        let unreachable = |node: &str| TargetResult {
            failure: Some(failure.clone()),
            ..TargetResult::new(node, Outcome::Unreachable)
        };
        let down = |node: &str| TargetResult {
            role: Some("analytics".to_owned()),
            supervisor: Some("supervisor-analytics".to_owned()),
            service: Some("contrail-collector".to_owned()),
            state: Some(ProcessState::Fatal),
            ..TargetResult::new(node, Outcome::Ok)
        };
        for result in [unreachable("a1"), down("a2"), down("a3"), TargetResult::new("a4", Outcome::NotStarted)] {
            live.result(&plan, &result);
        }
        for node in ["a2", "a3"] {
            live.update(PendingUpdate {
                node: node.to_owned(),
                role: "analytics".to_owned(),
                supervisor: "supervisor-analytics".to_owned(),
                added: Vec::new(),
                changed: vec!["contrail-collector".to_owned()],
                removed: Vec::new(),
                failure: None,
            });
        }
        let text = text(&plan, Some(&live));
        let said: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("cannot")).collect();
        assert_eq!(
            said,
            [
                "cannot be reached: a1 (refused: nothing is listening)",
                "not read: a4 (interrupted)",
                "down now: a[2-3] (contrail-collector is FATAL)",
                "an update now: a[2-3] (supervisor-analytics: restarts contrail-collector)",
            ]
        );
        let view = view(&plan, Some(&live));
        let analytics = view.steps.iter().find(|step| step.role.as_deref() == Some("analytics")).expect("the step");
        assert_eq!(
            (&analytics.batches, &analytics.unreachable),
            (&vec![vec!["a2".to_owned(), "a3".to_owned()]], &vec!["a1".to_owned(), "a4".to_owned()])
        );
    }

    #[test]
    fn a_command_is_one_step() {
        let plan = made(Action::Exec, &[], |_| {});
        insta::assert_snapshot!(text(&plan, None), @r#"
        step 1: exec: uptime (8 nodes, 1 batch)
          batch 1: a[1-4],cfg[1-3] (7)
          skipped (maintenance): a5
          failure limit unlimited
        "#);
    }
}
