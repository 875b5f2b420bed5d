//! What will be done, in which order, as plain data.
//!
//! Here live [`Plan`], [`Step`], [`Batch`] and [`plan`], which makes one from a [`Selection`]. Pure; it uses
//! `select` and `inventory`. What always holds: the batches of a plan name every selected node at least once,
//! each role's nodes in one step, steps in the order of the roles, batches numbered from 1.

pub mod amount;
pub mod policy;
pub mod rollout;

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::inventory::{Node, SshSettings};
    use crate::select::SelectedNode;

    const CHANGES: [Action; 4] = [Action::Start, Action::Stop, Action::Restart, Action::Update];
    const QUESTIONS: [Action; 2] = [Action::Status, Action::Ping];

    fn role(name: &str) -> Arc<Role> {
        Arc::new(Role {
            name: name.to_owned(),
            supervisors: Vec::new(),
            init_services: Vec::new(),
            max_unavailable: None,
            introspect: std::collections::BTreeMap::new(),
        })
    }

    /// One node for each of these, with its roles.
    fn selection(nodes: &[&[&str]]) -> Selection {
        let node = |(index, roles): (usize, &&[&str])| SelectedNode {
            node: Arc::new(Node {
                name: format!("n{index}"),
                address: format!("10.0.0.{index}"),
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                ssh: SshSettings::default(),
                sudo: false,
                via: None,
                timeout: None,
                maintenance: None,
            }),
            roles: roles.iter().map(|name| role(name)).collect(),
        };
        Selection {
            nodes: nodes.iter().enumerate().map(node).collect(),
            services: Vec::new(),
            by_hand: false,
            whole_inventory: true,
        }
    }

    /// The steps as `role: nodes`, the batch numbers left to [`numbers`].
    fn steps(plan: &Plan) -> Vec<String> {
        plan.batches().map(|(role, batch)| format!("{}: {:?}", role.unwrap_or("-"), batch.nodes)).collect()
    }

    fn numbers(plan: &Plan) -> Vec<u32> {
        plan.batches().map(|(_, batch)| batch.number).collect()
    }

    #[test]
    fn a_change_goes_role_by_role() {
        let nodes: [&[&str]; 7] = [
            &["compute"],
            &["analytics", "config"],
            &["database"],
            &["billing"],
            &["web-ui", "control"],
            &["config"],
            &[],
        ];
        for action in CHANGES {
            let plan = plan(selection(&nodes), action, None);
            assert_eq!(
                steps(&plan),
                [
                    "database: [2]",
                    "config: [1, 5]",
                    "analytics: [1]",
                    "control: [4]",
                    "web-ui: [4]",
                    "compute: [0]",
                    "billing: [3]",
                    "-: [6]"
                ]
            );
            assert_eq!(numbers(&plan), [1, 2, 3, 4, 5, 6, 7, 8]);
            let of = |index, role| plan.roles_in(index, role).iter().map(|role| role.name.clone()).collect::<Vec<_>>();
            assert_eq!((of(1, Some("config")), of(1, None)), (words("config"), words("analytics config")));
            assert_eq!((of(1, Some("compute")), of(6, None), of(99, None)), (Vec::new(), Vec::new(), Vec::new()));
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_question_goes_to_all_at_once() {
        let nodes: [&[&str]; 3] = [&["compute"], &["analytics", "config"], &["database"]];
        for action in QUESTIONS {
            let plan = plan(selection(&nodes), action, Some(Via::Rpc));
            assert_eq!((steps(&plan), numbers(&plan)), (vec!["-: [0, 1, 2]".to_owned()], vec![1]));
            assert_eq!((plan.action, plan.via), (action, Some(Via::Rpc)));
        }
    }

    #[test]
    fn actions_have_their_words() {
        let words = ["start", "stop", "restart", "update"];
        assert_eq!(CHANGES.map(Action::as_str), words);
        assert!(CHANGES.into_iter().all(Action::changes) && !QUESTIONS.into_iter().any(Action::changes));
    }

    proptest! {
        /// Every role of every node is visited exactly once, steps are in the order of the roles, batches are counted.
        #[test]
        fn every_role_of_every_node_is_visited_once(
            nodes in prop::collection::vec(prop::sample::subsequence(
                vec!["database", "config", "analytics", "control", "web-ui", "compute", "billing", "mail"], 0..4), 1..20),
            change in 0_usize..4,
        ) {
            let slices: Vec<&[&str]> = nodes.iter().map(Vec::as_slice).collect();
            let plan = plan(selection(&slices), CHANGES[change], None);
            let mut visits: Vec<(usize, String)> = Vec::new();
            for (role, batch) in plan.batches() {
                prop_assert!(!batch.nodes.is_empty() && batch.nodes.is_sorted());
                for index in &batch.nodes {
                    match role {
                        Some(role) => visits.push((*index, role.to_owned())),
                        None => prop_assert!(nodes[*index].is_empty()),
                    }
                }
            }
            visits.sort();
            let mut expected: Vec<(usize, String)> = nodes.iter().enumerate()
                .flat_map(|(index, roles)| roles.iter().map(move |role| (index, (*role).to_owned())))
                .collect();
            expected.sort();
            prop_assert_eq!(visits, expected);
            let numbers = numbers(&plan);
            prop_assert!(numbers.iter().copied().eq(1..=u32::try_from(numbers.len()).expect("few")));
            let place = |role: &str| ROLE_ORDER.iter().position(|name| *name == role);
            let known: Vec<usize> = plan.steps.iter().filter_map(|step| place(step.role.as_deref()?)).collect();
            prop_assert!(known.is_sorted_by(|a, b| a < b));
        }
    }
}
