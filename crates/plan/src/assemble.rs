//! Makes a [`Plan`] of tasks: orders the nodes, divides each task into steps by role, and notes the caps.
//!
//! Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::amount::CapPolicy;
use super::{IndexVec, Plan, PlanStep, RoleCap, ServiceVerb, Task, TaskIndex, TaskSpec, Work};
use ctl_event::Via;
use ctl_inventory::{Inventory, Node, ROLE_ORDER, Role};
use ctl_select::{SelectedNode, catalogue_roles};

/// The plan that runs these tasks one after the other. Reading, and a command, are one step over all nodes; a change of
/// services goes role by role, in the order of a Contrail upgrade, so that a service is up again before those that
/// depend on it.
#[must_use]
pub fn plan(wanted: Vec<TaskSpec>, inventory: &Inventory, via: Option<Via>) -> Plan {
    let mut nodes: Vec<SelectedNode> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for own in wanted.iter().flat_map(|wanted| &wanted.nodes) {
        let place = *places.entry(own.node.name.as_str()).or_insert(nodes.len());
        match nodes.get_mut(place) {
            // Several tasks may select the same node with different roles: the plan has it once, with all of them.
            Some(known) => {
                let new = own.roles.iter().filter(|role| !known.roles.iter().any(|other| other.name == role.name));
                let new: Vec<_> = new.cloned().collect();
                known.roles.extend(new);
                known.roles.sort_by_key(|role| role_rank(&role.name));
            }
            None => nodes.push(own.clone()),
        }
    }
    let order: HashMap<&str, usize> =
        inventory.nodes.iter().enumerate().map(|(rank, node)| (node.name.as_str(), rank)).collect();
    // The order of the inventory, whatever the order of the tasks.
    nodes.sort_by_cached_key(|selected| order.get(selected.node.name.as_str()).copied());
    let mut plan = Plan {
        tasks: IndexVec::default(),
        via,
        selected: nodes.len(),
        nodes,
        steps: IndexVec::default(),
        caps: Vec::new(),
        idle: BTreeSet::new(),
        known_roles: inventory.roles.values().cloned().collect(),
    };
    for (index, TaskSpec { task, nodes }) in wanted.into_iter().enumerate() {
        let task_index = TaskIndex::from(index);
        let names: HashMap<&str, &SelectedNode> =
            nodes.iter().map(|selected| (selected.node.name.as_str(), selected)).collect();
        let meant: Vec<(usize, &SelectedNode)> = (0..plan.selected)
            // Only up to `selected`: behind it are nodes that a cap of an earlier task added.
            .filter_map(|index| Some((index, *names.get(plan.nodes.get(index)?.node.name.as_str())?)))
            .collect();
        plan.steps.extend(steps(task_index, &task, &meant));
        cap(&mut plan, task_index, &task, &meant, inventory);
        plan.tasks.push(task);
    }
    add_helpers(&mut plan, inventory);
    // After all tasks, since it depends on the steps and caps.
    plan.find_batched();
    plan.find_new_names();
    plan
}

/// Adds the nodes that items of other nodes run on, behind all that a step or a cap means.
fn add_helpers(plan: &mut Plan, inventory: &Inventory) {
    let sequences = plan.tasks.iter().filter_map(|task| task.work.sequence());
    let mut missing: BTreeSet<&str> = sequences.flat_map(|sequence| sequence.helpers()).collect();
    if missing.is_empty() {
        return;
    }
    for selected in &plan.nodes {
        missing.remove(selected.node.name.as_str());
    }
    let nodes = inventory.nodes.iter().filter(|node| missing.contains(node.name.as_str()));
    let helper = |node: &Arc<Node>| SelectedNode {
        node: Arc::clone(node),
        roles: node.roles.iter().filter_map(|role| inventory.roles.get(role).cloned()).collect(),
    };
    let helpers: Vec<SelectedNode> = nodes.map(helper).collect();
    plan.nodes.extend(helpers);
}

/// The rank of a role in the order of the steps.
fn role_rank(role: &str) -> usize {
    ROLE_ORDER.iter().position(|name| *name == role).unwrap_or(ROLE_ORDER.len())
}

fn steps(index: TaskIndex, task: &Task, meant: &[(usize, &SelectedNode)]) -> Vec<PlanStep> {
    // Only changes of services follow the order of the roles.
    if task.work.verb().is_none() {
        return vec![PlanStep { task: index, role: None, nodes: meant.iter().map(|(index, _)| *index).collect() }];
    }
    steps_by_role(index, meant)
}

/// One step for each role of the nodes, in their order.
pub(super) fn steps_by_role(index: TaskIndex, meant: &[(usize, &SelectedNode)]) -> Vec<PlanStep> {
    let step = |role: Option<&str>, nodes: Vec<usize>| PlanStep { task: index, role: role.map(str::to_owned), nodes };
    let mut roles: Vec<&str> = ROLE_ORDER.to_vec();
    // Roles that only the inventory has come last, in the order of the nodes.
    for role in meant.iter().flat_map(|(_, node)| &node.roles) {
        if !roles.contains(&role.name.as_str()) {
            roles.push(&role.name);
        }
    }
    let with = |role: &str| -> Vec<usize> {
        let has = |node: &SelectedNode| node.roles.iter().any(|own| own.name == role);
        meant.iter().filter(|(_, node)| has(node)).map(|(index, _)| *index).collect()
    };
    let mut steps: Vec<PlanStep> = roles.into_iter().map(|role| step(Some(role), with(role))).collect();
    // Nodes without roles come last, in a step of their own.
    steps.push(step(None, meant.iter().filter(|(_, node)| node.roles.is_empty()).map(|(index, _)| *index).collect()));
    steps.retain(|step| !step.nodes.is_empty());
    steps
}

/// Adds the caps that a task has to keep, and watches all nodes of the roles that have one.
fn cap(plan: &mut Plan, task_index: TaskIndex, task: &Task, meant: &[(usize, &SelectedNode)], inventory: &Inventory) {
    let takes_down = match &task.work {
        Work::Service { verb, .. } => verb.takes_down(),
        // A command may take down anything, and a file that is copied may be reread.
        Work::Exec { .. } | Work::Copy(_) => true,
        Work::Sequence(sequence) => {
            sequence.verbs().any(ServiceVerb::takes_down) || matches!(task.policy.caps, CapPolicy::Each(_))
        }
        Work::Status { .. } | Work::Wait { .. } | Work::Logs { .. } | Work::Ping => false,
    };
    if !takes_down || task.policy.caps == CapPolicy::Off {
        return;
    }
    let mut roles: Vec<&Arc<Role>> = Vec::new();
    for role in meant.iter().flat_map(|(_, node)| &node.roles) {
        if !roles.iter().any(|known| known.name == role.name) {
            roles.push(role);
        }
    }
    roles.sort_by_key(|role| role_rank(&role.name));
    // The roles that run the services; none if they may be in any role.
    let touched =
        if task.work.verb().is_some() { catalogue_roles(inventory, task.work.services()) } else { Vec::new() };
    let known = plan.nodes.iter().enumerate();
    let mut places: HashMap<String, usize> = known.map(|(index, known)| (known.node.name.clone(), index)).collect();
    for role in roles {
        let amount = match (task.policy.caps, role.max_unavailable) {
            (CapPolicy::Each(amount), _) => amount,
            // Nothing shows that a command takes a service of the role down, so only an explicit cap limits it.
            (CapPolicy::Inventory, Some(cap)) if task.work.verbs().any(ServiceVerb::takes_down) => cap.into(),
            (CapPolicy::Inventory | CapPolicy::Off, _) => continue,
        };
        let expected = touched.is_empty() || touched.contains(&role.name);
        // A cap concerns the whole role: nodes outside the selection count as well.
        let with: Vec<_> = inventory.nodes.iter().filter(|node| node.roles.contains(&role.name)).collect();
        let limit = amount.of(with.len());
        let mut members = Vec::new();
        for node in with {
            // Where the task touches nothing, the other nodes of the role need not be locked and read.
            if !expected && places.get(&node.name).is_none_or(|index| *index >= plan.selected) {
                continue;
            }
            let index = *places.entry(node.name.clone()).or_insert(plan.nodes.len());
            if index == plan.nodes.len() {
                // Behind the selected nodes, so that no step acts on it.
                plan.nodes.push(SelectedNode { node: Arc::clone(node), roles: Vec::new() });
            }
            // A selected node keeps the roles that the user selected.
            if let Some(watched) = plan.nodes.get_mut(index)
                && !watched.roles.iter().any(|own| own.name == role.name)
                && index >= plan.selected
            {
                watched.roles.push(Arc::clone(role));
            }
            members.push(index);
        }
        plan.caps.push(RoleCap { task: task_index, role: role.name.clone(), amount, limit, members, expected });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::Action;
    use crate::amount::NodeAmount;
    use ctl_inventory::InventorySsh;
    use ctl_select::SelectedNode;

    const CHANGES: [Action; 4] = [Action::Start, Action::Stop, Action::Restart, Action::Update];
    const QUESTIONS: [Action; 2] = [Action::Status, Action::Ping];

    fn role(name: &str) -> Arc<Role> {
        Arc::new(Role {
            name: name.to_owned(),
            supervisors: Vec::new(),
            init_services: Vec::new(),
            max_unavailable: None,
            introspect: BTreeMap::new(),
            oneshot: Vec::new(),
        })
    }

    /// One node for each of these, with its roles.
    fn inventory(nodes: &[&[&str]]) -> Inventory {
        let node = |(index, roles): (usize, &&[&str])| {
            Arc::new(Node {
                name: format!("n{index:02}"),
                address: format!("10.0.0.{index}"),
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                ssh: InventorySsh::default(),
                sudo: false,
                via: None,
                timeout: None,
                maintenance: None,
            })
        };
        Inventory {
            path: "inventory.yaml".into(),
            nodes: nodes.iter().enumerate().map(node).collect(),
            roles: nodes.iter().copied().flatten().map(|name| ((*name).to_owned(), role(name))).collect(),
            groups: BTreeMap::new(),
            source_notes: Vec::new(),
        }
    }

    /// Those of its nodes, with all their roles.
    fn wanted(inventory: &Inventory, action: Action, nodes: &[usize]) -> TaskSpec {
        let select = |index: &usize| {
            let node = Arc::clone(&inventory.nodes[*index]);
            let roles = node.roles.iter().map(|name| Arc::clone(&inventory.roles[name])).collect();
            SelectedNode { node, roles }
        };
        TaskSpec {
            task: Task::new(Work::example(action, Vec::new()), false),
            nodes: nodes.iter().map(select).collect(),
        }
    }

    fn plan_all(nodes: &[&[&str]], action: Action, via: Option<Via>) -> Plan {
        let inventory = inventory(nodes);
        let all: Vec<usize> = (0..nodes.len()).collect();
        plan(vec![wanted(&inventory, action, &all)], &inventory, via)
    }

    fn steps(plan: &Plan) -> Vec<String> {
        plan.steps.iter().map(|step| format!("{}: {:?}", step.role.as_deref().unwrap_or("-"), step.nodes)).collect()
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
            let plan = plan_all(&nodes, action, None);
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
            let plan = plan_all(&nodes, action, Some(Via::Rpc));
            assert_eq!(steps(&plan), ["-: [0, 1, 2]"]);
            assert_eq!((plan.action(), plan.via), (Some(action), Some(Via::Rpc)));
        }
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
            let plan = plan_all(&slices, CHANGES[change], None);
            let mut visits: Vec<(usize, String)> = Vec::new();
            for step in &plan.steps {
                prop_assert!(!step.nodes.is_empty() && step.nodes.is_sorted());
                for index in &step.nodes {
                    match &step.role {
                        Some(role) => visits.push((*index, role.clone())),
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
            let place = |role: &str| ROLE_ORDER.iter().position(|name| *name == role);
            let known: Vec<usize> = plan.steps.iter().filter_map(|step| place(step.role.as_deref()?)).collect();
            prop_assert!(known.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_command_is_run_once_on_a_node() {
        let plan = plan_all(&[&["config", "database"], &["config"]], Action::Exec, None);
        assert_eq!(steps(&plan), ["-: [0, 1]"]);
    }

    #[test]
    fn a_capped_role_is_watched_whole() {
        let mut inventory = inventory(&[&["database"], &["database", "config"], &["config"], &["compute"]]);
        let capped =
            Role { max_unavailable: Some(ctl_inventory::UnavailableCap::Nodes(1)), ..(*role("database")).clone() };
        inventory.roles.insert("database".to_owned(), Arc::new(capped));
        let of = |action, caps, nodes: &[usize]| {
            let mut wanted = wanted(&inventory, action, nodes);
            wanted.task.policy.caps = caps;
            let plan = plan(vec![wanted], &inventory, None);
            let caps: Vec<_> = plan.caps.iter().map(|cap| (cap.role.clone(), cap.limit, cap.members.clone())).collect();
            (plan.selected, plan.nodes.len(), caps)
        };
        let database = |members: &[usize]| vec![("database".to_owned(), 1, members.to_vec())];
        assert_eq!(of(Action::Restart, CapPolicy::Inventory, &[1]), (1, 2, database(&[1, 0])));
        assert_eq!(of(Action::Restart, CapPolicy::Inventory, &[2]), (1, 1, Vec::new()));
        assert_eq!(of(Action::Restart, CapPolicy::Off, &[1]), (1, 1, Vec::new()));
        assert_eq!(of(Action::Start, CapPolicy::Inventory, &[1]), (1, 1, Vec::new()), "a start takes nothing down");
        assert_eq!(of(Action::Exec, CapPolicy::Inventory, &[1]), (1, 1, Vec::new()));
        let each = CapPolicy::Each(NodeAmount::Nodes(1));
        assert_eq!(of(Action::Exec, each, &[0]), (1, 2, database(&[0, 1])));
    }

    /// Only `config` and `database` have a cap.
    #[test]
    fn a_cap_expects_only_the_roles_that_run_the_services() {
        let text = "version: 1\nnodes: {'n[1-2]': {roles: [config, control]}, n3: {roles: [config]}}";
        let path = std::path::Path::new("inventory.yaml");
        let inventory = ctl_inventory::parse(text, path, &ctl_inventory::PathEnvironment::default()).expect("one");
        let caps = |services: &str| {
            let services = words(services);
            let query = ctl_select::NodeQuery { nodes: &["n1".to_owned()], services: &services, ..Default::default() };
            let selection = ctl_select::select(&inventory, &query).expect("a selection");
            let wanted = TaskSpec::new(selection, |services| Work::example(Action::Stop, services));
            let plan = plan(vec![wanted], &inventory, None);
            let counted = |cap: &RoleCap| plan.budgets(cap.task).iter().filter(|budget| budget.counts(0)).count();
            plan.caps.iter().map(|cap| (cap.expected, cap.members.len(), counted(cap))).collect::<Vec<_>>()
        };
        let (whole, unexpected) = (vec![(true, 3, 1)], vec![(false, 1, 0)]);
        for services in ["contrail-dns", "contrail-dns contrail-control", "supervisor-control"] {
            assert_eq!(caps(services), unexpected, "{services}");
        }
        // What the inventory does not know may run anywhere, and so may what a glob matches.
        for services in ["contrail-api", "contrail-api:0", "contrail-dns contrail-api", "nonesuch", "contrail-d*", ""] {
            assert_eq!(caps(services), whole, "{services}");
        }
    }

    /// A node that items of others run on is in the plan once, and nothing is done for itself.
    #[test]
    fn a_helper_comes_last_and_is_not_selected() {
        let mut inventory = inventory(&[&["config"], &["database"], &["database"], &[]]);
        let capped =
            Role { max_unavailable: Some(ctl_inventory::UnavailableCap::Nodes(1)), ..(*role("database")).clone() };
        inventory.roles.insert("database".to_owned(), Arc::new(capped));
        let item = |on: &str, verb: Option<ServiceVerb>| crate::SequenceItem {
            name: format!("{on} {verb:?}"),
            place: crate::ItemPlace::Helper(on.to_owned()),
            work: match verb {
                Some(verb) => crate::ItemWork::Service {
                    verb,
                    services: vec![ctl_select::ServicePattern::parse("x").expect("a name")],
                    policy: crate::policy::Policy::default(),
                },
                None => crate::ItemWork::Exec { command: "true".to_owned() },
            },
            timeout: None,
            undo: None,
            renew: None,
        };
        let items = vec![item("n03", None), item("n00", Some(ServiceVerb::Stop)), item("n01", None), item("n00", None)];
        let mut wanted = wanted(&inventory, Action::Exec, &[1, 2]);
        wanted.task = Task::new(Work::Sequence(Arc::new(crate::Sequence::new(items.clone()))), true);
        let plan = plan(vec![wanted], &inventory, None);
        let names: Vec<&str> = plan.nodes.iter().map(|selected| selected.node.name.as_str()).collect();
        assert_eq!((names, plan.selected), (vec!["n01", "n02", "n00", "n03"], 2));
        assert!(plan.caps.is_empty(), "a service of a helper is none of the role");
        assert_eq!(plan.helpers(), BTreeSet::from([0, 2, 3]));
        assert_eq!((0..4).map(|node| plan.only_helps(node)).collect::<Vec<_>>(), [false, false, true, true]);
        let places: Vec<_> = items.iter().map(|item| plan.place_of(item, 1)).collect();
        assert_eq!(places, [Some(3), Some(2), Some(0), Some(2)]);
        let of_item = plan.of_item(TaskIndex::default(), 1, 0).expect("a plan");
        assert_eq!(of_item.nodes[0].node.name, "n00");
        assert_eq!(of_item.steps[0].role.as_deref(), Some("config"));
    }

    #[test]
    fn a_rollout_has_the_steps_of_all_its_tasks() {
        let inventory = inventory(&[&["database"], &["config"], &["compute"]]);
        let tasks = vec![
            wanted(&inventory, Action::Stop, &[1]),
            wanted(&inventory, Action::Exec, &[0, 1]),
            wanted(&inventory, Action::Start, &[1, 0]),
        ];
        let plan = plan(tasks, &inventory, None);
        let steps: Vec<_> =
            plan.steps.iter().map(|step| (usize::from(step.task), step.role.clone(), step.nodes.clone())).collect();
        let role = |name: &str| Some(name.to_owned());
        assert_eq!(
            steps,
            [
                (0, role("config"), vec![1]),
                (1, None, vec![0, 1]),
                (2, role("database"), vec![0]),
                (2, role("config"), vec![1])
            ]
        );
        assert_eq!(plan.selected, 2);
    }
}
