//! The plan of one item of a sequence that changes services: one node, one task, the same caps.
//!
//! Pure. Such an item is done as a step of services is, with the same reading of the node, the same proofs and the same
//! guard; only its plan is smaller.

use std::collections::{BTreeMap, BTreeSet};

use super::assemble::steps_by_role;
use super::model::{Plan, RoleCap};
use super::sequence::ItemWork;
use super::targets::TargetName;
use super::{TargetFilter, Task, TaskIndex, Work};

impl Plan {
    /// The plan of item `item` in the sequence of node `node`: the node that the item runs on is the only one there. None if
    /// that item changes no services.
    #[must_use]
    pub fn of_item(&self, index: TaskIndex, item: usize, node: usize) -> Option<Self> {
        let whole = self.tasks.get(index)?;
        let own = whole.work.sequence()?.items().get(item)?;
        let ItemWork::Service { verb, services, policy } = &own.work else { return None };
        let place = self.place_of(own, node)?;
        let selected = self.nodes.get(place)?;
        let name = &selected.node.name;
        let progress = whole.progress.get(&self.nodes.get(node)?.node.name);
        let in_flight = progress.and_then(|progress| progress.in_flight.clone());
        let in_flight = in_flight.filter(|in_flight| in_flight.item == item);
        let of_node = |done: BTreeSet<TargetName>| TargetFilter::Except(BTreeMap::from([(name.clone(), done)]));
        let task = Task {
            name: Some(own.name.clone()),
            timeout: own.timeout.or(whole.timeout),
            batched: whole.batched,
            policy: policy.clone(),
            may_be_new: whole.may_be_new.clone(),
            targets: in_flight.as_ref().map_or(TargetFilter::All, |in_flight| of_node(in_flight.done.clone())),
            in_flight: in_flight.map(|in_flight| (name.clone(), in_flight.before)).into_iter().collect(),
            ..Task::new(Work::Service { verb: *verb, services: services.clone() }, whole.explicit)
        };
        let first = TaskIndex::default();
        let caps = self.caps.iter().filter(|cap| cap.task == index && cap.members.contains(&place));
        Some(Self {
            tasks: vec![task].into(),
            via: self.via,
            nodes: vec![selected.clone()],
            selected: 1,
            steps: steps_by_role(first, &[(0, selected)]).into(),
            caps: caps.map(|cap| RoleCap { task: first, members: vec![0], ..cap.clone() }).collect(),
            idle: BTreeSet::new(),
            known_roles: self.known_roles.clone(),
        })
    }
}
