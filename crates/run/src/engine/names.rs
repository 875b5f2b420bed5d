//! Typed names that no selected node has: a mistake, which is reported before anything is changed.
//!
//! Pure; the dispatcher keeps one [`NameBook`] a run and puts the census of each node into it ([`NameCensus`]).
//! Invariants: a name is called a mistake only when every selected node was read and every supervisord that may run
//! it has answered; globs never are one; results that wait for the verdict are given in the end, each node's once.

use std::collections::{BTreeMap, BTreeSet};

use nodeset::NodeSet;

use crate::engine::message::{NameCensus, NodeBatch};
use ctl_event::{Failure, FailureKind, Outcome, Stage, TargetResult};
use ctl_inventory::Role;
use ctl_plan::{IndexVec, Plan, TargetFilter, Task, TaskIndex};

/// Most names of services that are remembered for suggestions.
const MAX_LISTED: usize = 4096;

/// Most names that are suggested for one.
const SUGGESTIONS: usize = 3;

/// The names of each task, found or missing.
pub(crate) struct NameBook<'a> {
    plan: &'a Plan,
    tasks: IndexVec<TaskIndex, TaskNames>,
    /// The names that any node lists.
    listed: BTreeSet<String>,
    /// Results that say a node does not have a name, while it is open whether any has it; by batch and node.
    held: BTreeMap<NodeBatch, Vec<TargetResult>>,
    /// Batches that are over on their node, except for held results.
    ended: BTreeSet<NodeBatch>,
}

#[derive(Default)]
struct TaskNames {
    /// Found on any node.
    found: BTreeSet<String>,
    /// Typed, no globs, and found nowhere yet.
    missing: BTreeSet<String>,
    /// Nodes that were read.
    read: BTreeSet<usize>,
    /// Nodes where a supervisord that may run it did not answer.
    unsure: BTreeSet<usize>,
}

/// The verdict on a name that is still missing.
#[derive(Debug, Clone, PartialEq)]
pub enum MissingName {
    /// No selected node has it.
    Mistake(Failure),
    /// No node that answered has it; the message names the others.
    Unsure(String),
}

/// The verdicts on the names of a plan's first task that were found nowhere. Its nodes were read by a [`WorkerPool`]
/// each: `census` has the index of each in `plan`, and its answer ([`WorkerPool::census`]).
///
/// [`WorkerPool`]: crate::WorkerPool
/// [`WorkerPool::census`]: crate::WorkerPool::census
#[must_use]
pub fn missing_names<'c>(plan: &Plan, census: impl IntoIterator<Item = (usize, &'c NameCensus)>) -> Vec<MissingName> {
    let mut book = NameBook::new(plan);
    for (node, census) in census {
        book.note(node, census.clone());
    }
    book.verdicts(TaskIndex::default()).into_iter().map(|(_, verdict)| verdict).collect()
}

impl<'a> NameBook<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let names =
            |task: &Task| TaskNames { missing: sought(task).map(str::to_owned).collect(), ..TaskNames::default() };
        Self {
            plan,
            tasks: plan.tasks.iter().map(names).collect(),
            listed: BTreeSet::new(),
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Notes the names of a task that a node has. Whether one of them was missing until now.
    pub(crate) fn note(&mut self, node: usize, census: NameCensus) -> bool {
        let mut is_new = false;
        if let Some(task) = self.tasks.get_mut(census.task) {
            task.read.insert(node);
            if census.unsure {
                task.unsure.insert(node);
            }
            let missing = task.missing.len();
            task.missing.retain(|name| !census.found.contains(name));
            is_new = task.missing.len() < missing;
            task.found.extend(census.found);
        }
        // The names only serve as suggestions, so some of them may be left out.
        let room = MAX_LISTED.saturating_sub(self.listed.len());
        self.listed.extend(census.listed.into_iter().take(room));
        is_new
    }

    /// The names of the first task that all nodes together have; none if no node was read.
    pub(crate) fn census(&self) -> Option<NameCensus> {
        let names = self.tasks.first().filter(|names| !names.read.is_empty())?;
        let (found, unsure) = (names.found.iter().cloned().collect(), !names.unsure.is_empty());
        Some(NameCensus { task: TaskIndex::default(), found, unsure, listed: self.listed.clone() })
    }

    /// Whether a result has to wait: its name may be a mistake, and only the last node decides.
    pub(crate) fn is_open(&self, node_batch: NodeBatch, result: &TargetResult) -> bool {
        let Some(task) = self.plan.steps.get(node_batch.step).map(|step| step.task) else { return false };
        // A run that changes nodes checks all names before its first change, so no result has to wait there.
        let reads = self.plan.tasks.get(task).is_some_and(|task| !task.work.changes());
        let names = self.tasks.get(task);
        reads
            && result.outcome == Outcome::NotConfigured
            && names.is_some_and(|names| result.service.as_ref().is_some_and(|name| names.missing.contains(name)))
    }

    pub(crate) fn hold(&mut self, node_batch: NodeBatch, result: TargetResult) {
        self.held.entry(node_batch).or_default().push(result);
    }

    /// Whether the end of a batch on a node has to wait for results that are held of it.
    pub(crate) fn holds_end(&mut self, node_batch: NodeBatch) -> bool {
        self.held.contains_key(&node_batch) && self.ended.insert(node_batch)
    }

    /// The results that need not wait any longer, unchanged, by batch and node; and whether the batch is over with
    /// them.
    pub(crate) fn release_found(&mut self) -> Vec<(NodeBatch, Vec<TargetResult>, bool)> {
        let (plan, tasks) = (self.plan, &self.tasks);
        let mut released = Vec::new();
        self.held.retain(|node_batch, results| {
            let task = plan.steps.get(node_batch.step).and_then(|step| tasks.get(step.task));
            let is_missing = |result: &TargetResult| {
                task.is_some_and(|task| result.service.as_ref().is_some_and(|name| task.missing.contains(name)))
            };
            let (open, found): (Vec<_>, Vec<_>) = std::mem::take(results).into_iter().partition(is_missing);
            *results = open;
            if !found.is_empty() {
                released.push((*node_batch, found, results.is_empty()));
            }
            !results.is_empty()
        });
        for (node_batch, _, is_last) in &mut released {
            *is_last = *is_last && self.ended.remove(node_batch);
        }
        released
    }

    /// Everything that is still held. A mistake becomes one failed result a node; the rest stays as it was.
    pub(crate) fn release_all(&mut self) -> Vec<(NodeBatch, Vec<TargetResult>, bool)> {
        let mut verdicts: BTreeMap<TaskIndex, BTreeMap<String, Failure>> = BTreeMap::new();
        for task in self.tasks.indexes() {
            verdicts.insert(task, self.mistakes(task));
        }
        let mut released = Vec::new();
        for (node_batch, results) in std::mem::take(&mut self.held) {
            let task = self.plan.steps.get(node_batch.step).map_or_else(TaskIndex::default, |step| step.task);
            let mut reported: BTreeSet<String> = BTreeSet::new();
            let mut given = Vec::new();
            for mut result in results {
                let name = result.service.clone().unwrap_or_default();
                match verdicts.get(&task).and_then(|mistakes| mistakes.get(&name)) {
                    // One result a node is enough for a name that exists nowhere.
                    Some(_) if !reported.insert(name) => continue,
                    Some(failure) => {
                        result.outcome = Outcome::Failed;
                        result.failure = Some(failure.clone());
                        result.message.clear();
                        // The name belongs to no role, so the result must not claim one.
                        (result.role, result.supervisor, result.via) = (None, None, None);
                    }
                    None => {}
                }
                given.push(result);
            }
            let is_last = self.ended.remove(&node_batch);
            released.push((node_batch, given, is_last));
        }
        released
    }

    /// The names of a task that are certainly mistakes, each with its failure.
    pub(crate) fn mistakes(&self, task: TaskIndex) -> BTreeMap<String, Failure> {
        let verdicts = self.verdicts(task).into_iter();
        verdicts
            .filter_map(|(name, verdict)| match verdict {
                MissingName::Mistake(failure) => Some((name, failure)),
                MissingName::Unsure(_) => None,
            })
            .collect()
    }

    /// The verdict on each name of a task that was found nowhere.
    pub(crate) fn verdicts(&self, task: TaskIndex) -> Vec<(String, MissingName)> {
        let Some(names) = self.tasks.get(task) else { return Vec::new() };
        let steps = self.plan.steps.iter().filter(|step| step.task == task);
        let nodes: BTreeSet<usize> = steps.flat_map(|step| step.nodes.iter().copied()).collect();
        // A node in maintenance is never read, so it leaves no doubt either.
        let rests = |node: &usize| self.plan.nodes.get(*node).is_some_and(|own| own.node.maintenance.is_some());
        let asked = nodes.iter().filter(|node| !rests(node));
        let doubtful: Vec<usize> =
            asked.clone().filter(|node| !names.read.contains(node) || names.unsure.contains(node)).copied().collect();
        // Without any answer nothing can be said about a name.
        if asked.clone().count() == doubtful.len() {
            return Vec::new();
        }
        let verdict = |name: &String| {
            // Without a role nothing is read there, whatever the name.
            let roleless = asked.clone().all(|node| self.plan.has_no_role(*node));
            let near = match self.nearest(name, &nodes, doubtful.is_empty()) {
                _ if roleless => {
                    Some("the selected nodes have no role in the inventory; add `roles` to them".to_owned())
                }
                near => near,
            };
            if doubtful.is_empty() {
                let message = format!("no selected node has a service '{name}'");
                let failure = Failure::new(Stage::Inspect, FailureKind::NoSuchService, message);
                let hint = near.unwrap_or_else(|| "`ctl status --all` lists the services".to_owned());
                return (name.clone(), MissingName::Mistake(failure.with_hint(hint)));
            }
            let away = doubtful.iter().filter_map(|node| self.plan.nodes.get(*node));
            let away = NodeSet::from_names(away.map(|selected| selected.node.name.as_str()));
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            let message = format!("no node that answered has a service '{name}'; no answer from {away}{near}");
            (name.clone(), MissingName::Unsure(message))
        };
        names.missing.iter().map(verdict).collect()
    }

    /// The likeliest names that were meant: of those that nodes list, else of those that the catalogue knows. `all_answer`:
    /// every supervisord that a node has to have was read.
    fn nearest(&self, typed: &str, nodes: &BTreeSet<usize>, all_answer: bool) -> Option<String> {
        let selected = nodes.iter().filter_map(|node| self.plan.nodes.get(*node)).flat_map(|node| &node.roles);
        let selected: BTreeMap<&str, &Role> = selected.map(|role| (role.name.as_str(), role.as_ref())).collect();
        let group = typed.split(':').next().unwrap_or(typed);
        let mut instances = selected.values().flat_map(|role| &role.supervisors);
        // The catalogue knows the program, so its spelling is right.
        if let Some(owner) = instances.find(|instance| instance.services.iter().any(|name| name == group)) {
            let name = &owner.name;
            return Some(if all_answer && !owner.optional {
                format!(
                    "{name} is running, but its configuration has no such program: add it there, then run `ctl service {group} update`"
                )
            } else {
                format!("{name} runs it: check that with `ctl service {name} status`")
            });
        }
        let meant = suggestions(typed, self.listed.iter().map(String::as_str));
        if !meant.is_empty() {
            return Some(format!("did you mean {}?", meant.join(" or ")));
        }
        let roles = &self.plan.known_roles;
        let elsewhere =
            roles.iter().filter(|role| role.has_service(typed) && !selected.contains_key(role.name.as_str()));
        let elsewhere: Vec<&str> = elsewhere.map(|role| role.name.as_str()).collect();
        if !elsewhere.is_empty() {
            return Some(format!("it belongs to role {}, which was not selected", elsewhere.join(" or ")));
        }
        let known: BTreeSet<&str> = roles.iter().flat_map(|role| names_of(role)).collect();
        let meant = suggestions(typed, known.into_iter());
        (!meant.is_empty()).then(|| format!("did you mean {}?", meant.join(" or ")))
    }
}

/// The names of a task that are checked: none of a run that is resumed, since the nodes that have one may be done; and
/// none that an earlier task may bring, since it is not there yet.
fn sought(task: &Task) -> impl Iterator<Item = &str> {
    let is_whole = task.targets == TargetFilter::All;
    let names = task.work.services().iter().filter(move |service| is_whole && !service.is_glob());
    names.map(|service| service.as_str()).filter(|name| !task.may_be_new.contains(*name))
}

fn names_of(role: &Role) -> impl Iterator<Item = &str> {
    let instances = role.supervisors.iter().map(|supervisor| supervisor.name.as_str());
    let services = role.supervisors.iter().flat_map(|supervisor| &supervisor.services);
    instances.chain(services.chain(&role.init_services).map(String::as_str))
}

/// The names nearest to the typed one, if any is near enough.
fn suggestions<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut near: Vec<(usize, &str)> = known
        .filter(|name| *name != typed)
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 4).max(1))
        .collect();
    near.sort_unstable();
    let Some(best) = near.first().map(|(distance, _)| *distance) else { return Vec::new() };
    near.into_iter().filter(|(distance, _)| *distance == best).map(|(_, name)| name).take(SUGGESTIONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["contrail-api", "contrail-collector", "contrail-dns", "contrail-schema", "kafka", "kafkb"];
        let table: [(&str, &[&str]); 7] = [
            ("contrail-colector", &["contrail-collector"]),
            ("contrail-shcema", &["contrail-schema"]),
            ("contrail-ap", &["contrail-api"]),
            ("kafkc", &["kafka", "kafkb"]),
            ("contrail-collector", &[]),
            ("cassandra", &[]),
            ("", &[]),
        ];
        for (typed, expected) in table {
            assert_eq!(suggestions(typed, known.into_iter()), expected, "{typed}");
        }
    }
}
