//! What will be done, in which order, as plain data.
//!
//! Here live [`Plan`], [`Step`], [`Batch`] and [`plan`], which makes one from a [`Selection`]. Pure; it uses
//! `select` and `inventory`. What always holds: the batches of a plan name every selected node at least once,
//! each role's nodes in one step, steps in the order of the roles, batches numbered from 1.

use crate::event::Via;
use crate::inventory::{ROLE_ORDER, Role};
use crate::select::Selection;

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Run it.
    Start,
    /// Do not run it.
    Stop,
    /// Run it anew.
    Restart,
    /// Say how it is.
    Status,
    /// Reread the configuration, then add, remove and restart what changed.
    Update,
    /// Say whether its node and its supervisord can be reached.
    Ping,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Status => "status",
            Self::Update => "update",
            Self::Ping => "ping",
        }
    }

    /// Whether it changes a node.
    #[must_use]
    pub const fn changes(self) -> bool {
        match self {
            Self::Start | Self::Stop | Self::Restart | Self::Update => true,
            Self::Status | Self::Ping => false,
        }
    }
}

/// Everything that a run will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The action.
    pub action: Action,
    /// The way to the supervisords that the operator asked for; none leaves it to each node.
    pub via: Option<Via>,
    /// What was selected.
    pub selection: Selection,
    /// In order.
    pub steps: Vec<Step>,
}

/// The action on the nodes of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its role; none where all of a node's roles are visited at once.
    pub role: Option<String>,
    /// In order.
    pub batches: Vec<Batch>,
}

/// Nodes that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// From 1, through the whole plan.
    pub number: u32,
    /// Indexes into the selection's nodes.
    pub nodes: Vec<usize>,
}

impl Plan {
    /// Every batch with the role of its step, in order.
    pub fn batches(&self) -> impl Iterator<Item = (Option<&str>, &Batch)> {
        self.steps.iter().flat_map(|step| step.batches.iter().map(|batch| (step.role.as_deref(), batch)))
    }

    /// The roles of selected node `index` that a batch of `role` visits.
    pub fn roles_in(&self, index: usize, role: Option<&str>) -> Vec<std::sync::Arc<Role>> {
        let Some(node) = self.selection.nodes.get(index) else { return Vec::new() };
        node.roles.iter().filter(|own| role.is_none_or(|role| own.name == role)).cloned().collect()
    }
}

/// The plan for doing `action` on what was selected. Reading is one step over all nodes; a change goes role by
/// role, in the order in which Contrail is upgraded, so that what others depend on is up again first.
#[must_use]
pub fn plan(selection: Selection, action: Action, via: Option<Via>) -> Plan {
    let all: Vec<usize> = (0..selection.nodes.len()).collect();
    let mut groups: Vec<(Option<String>, Vec<usize>)> = Vec::new();
    if action.changes() {
        let mut roles: Vec<&str> = ROLE_ORDER.to_vec();
        let own = selection.nodes.iter().flat_map(|node| node.roles.iter().map(|role| role.name.as_str()));
        for role in own {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        for role in roles {
            let with = |index: &usize| {
                selection.nodes.get(*index).is_some_and(|node| node.roles.iter().any(|own| own.name == role))
            };
            let nodes: Vec<usize> = all.iter().copied().filter(with).collect();
            if !nodes.is_empty() {
                groups.push((Some(role.to_owned()), nodes));
            }
        }
        let idle = |index: &usize| selection.nodes.get(*index).is_some_and(|node| node.roles.is_empty());
        let without: Vec<usize> = all.into_iter().filter(idle).collect();
        if !without.is_empty() {
            groups.push((None, without));
        }
    } else {
        groups.push((None, all));
    }
    let steps = (1..)
        .zip(groups)
        .map(|(number, (role, nodes))| Step { role, batches: vec![Batch { number, nodes }] })
        .collect();
    Plan { action, via, selection, steps }
}
