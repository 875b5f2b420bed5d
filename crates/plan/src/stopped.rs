//! Targets that the run itself has stopped: their being down is no failure.
//!
//! Pure.

use super::{Plan, ServiceVerb, TargetFilter, Task, TaskIndex};
use ctl_select::ServicePattern;

/// The names of a target that may have been stopped.
#[derive(Debug, Clone, Copy)]
pub struct StoppedTarget<'a> {
    /// Its role.
    pub role: Option<&'a str>,
    /// Its supervisord; none for an init service.
    pub supervisor: Option<&'a str>,
    /// The service in supervisord's notation; none for the supervisord itself.
    pub service: Option<&'a str>,
}

impl StoppedTarget<'_> {
    fn is_meant_by(&self, patterns: &[ServicePattern]) -> bool {
        let is_meant = |pattern: &ServicePattern| {
            let instance = self.supervisor.is_some_and(|name| pattern.matches_instance(name));
            let service = self.service.is_some_and(|name| {
                // supervisord puts a program outside any group into a group of its own name.
                let (group, process) = name.split_once(':').unwrap_or((name, name));
                match self.supervisor {
                    Some(_) => pattern.matches_process(group, process),
                    None => pattern.matches_init_service(name),
                }
            });
            instance || service
        };
        // No pattern means all services, but not the instance itself.
        (patterns.is_empty() && self.service.is_some()) || patterns.iter().any(is_meant)
    }
}

impl Plan {
    /// Whether, of the tasks up to `task`, the last one that acted on a target of node `index` stopped it.
    #[must_use]
    pub fn has_stopped(&self, task: TaskIndex, index: usize, target: &StoppedTarget<'_>) -> bool {
        let Some(node) = self.nodes.get(index) else { return false };
        let acts = |(number, own): &(TaskIndex, &Task)| {
            let here = self.steps.iter().any(|step| {
                let of_role = step.role.is_none() || step.role.as_deref() == target.role;
                step.task == *number && step.nodes.contains(&index) && of_role
            });
            let name = |service: Option<&str>| (target.role.map(str::to_owned), service.map(str::to_owned));
            // Work that an earlier controller of the run has done there still counts, though it is not repeated.
            let done = match &own.targets {
                TargetFilter::Except(done) => done.get(&node.node.name).is_some_and(|done| {
                    let instance = target.supervisor.is_some() && done.contains(&name(target.supervisor));
                    instance || done.contains(&name(target.service))
                }),
                TargetFilter::All | TargetFilter::Only(_) => false,
            };
            let meant = own.targets.contains(&node.node.name, target.role, target.service);
            own.work.verb().is_some() && ((here && meant && target.is_meant_by(own.work.services())) || done)
        };
        // The last task that acts on the target decides: a later start cancels a stop.
        let last = self.tasks.indexed().rev().skip_while(|(number, _)| *number > task).find(acts);
        last.is_some_and(|(_, task)| task.work.verb() == Some(ServiceVerb::Stop))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::{TaskSpec, Work, plan};
    use ctl_inventory::{PathEnvironment, parse};
    use ctl_select::{NodeQuery, select};

    /// One task each: verb, role, services.
    fn made(tasks: &[(ServiceVerb, &str, &[&str])]) -> Plan {
        let text = "version: 1\nnodes: {n1: {roles: [analytics, config, database]}, n2: {roles: [config]}}";
        let inventory = parse(text, Path::new("inventory.yaml"), &PathEnvironment::default()).expect("an inventory");
        let wanted = tasks.iter().map(|(verb, role, services)| {
            let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
            let roles = [(*role).to_owned()];
            let query = NodeQuery { roles: &roles, services: &services, ..NodeQuery::default() };
            let selection = select(&inventory, &query).expect("a selection");
            TaskSpec::new(selection, |services| Work::Service { verb: *verb, services })
        });
        plan(wanted.collect(), &inventory, None)
    }

    fn target<'a>(role: &'a str, supervisor: Option<&'a str>, service: Option<&'a str>) -> StoppedTarget<'a> {
        StoppedTarget { role: Some(role), supervisor, service }
    }

    #[test]
    fn targets_stopped_by_the_last_task_are_down_on_purpose() {
        let plan = made(&[
            (ServiceVerb::Stop, "analytics", &["contrail-collector"]),
            (ServiceVerb::Stop, "config", &["contrail-api"]),
            (ServiceVerb::Restart, "analytics", &["contrail-*"]),
            (ServiceVerb::Stop, "database", &["contrail-database", "supervisor-database"]),
        ]);
        let (analytics, config, database) =
            (Some("supervisor-analytics"), Some("supervisor-config"), Some("supervisor-database"));
        let table = [
            (0, 0, target("analytics", analytics, Some("contrail-collector")), true),
            (0, 0, target("analytics", analytics, Some("contrail-query-engine")), false),
            (0, 0, target("config", config, Some("contrail-collector")), false),
            // Not before its task, and on no other node.
            (0, 0, target("config", config, Some("contrail-api:0")), false),
            (1, 0, target("config", config, Some("contrail-api:0")), true),
            (1, 1, target("config", config, Some("contrail-api:1")), true),
            (1, 1, target("analytics", analytics, Some("contrail-collector")), false),
            (1, 0, target("config", config, None), false),
            // A later task started it again.
            (1, 0, target("analytics", analytics, Some("contrail-collector")), true),
            (2, 0, target("analytics", analytics, Some("contrail-collector")), false),
            (2, 0, target("config", config, Some("contrail-api:0")), true),
            // A whole instance, and its programs; init services.
            (3, 0, target("database", database, None), true),
            (3, 0, target("database", database, Some("kafka")), true),
            (3, 0, target("database", None, Some("contrail-database")), true),
            (2, 0, target("database", None, Some("contrail-database")), false),
            (3, 9, target("database", None, Some("contrail-database")), false),
        ];
        for (task, node, target, expected) in table {
            assert_eq!(plan.has_stopped(TaskIndex::from(task), node, &target), expected, "{task} {node} {target:?}");
        }
        let all = made(&[(ServiceVerb::Stop, "analytics", &["all"])]);
        assert!(all.has_stopped(TaskIndex::from(0), 0, &target("analytics", analytics, Some("contrail-topology"))));
        assert!(!all.has_stopped(TaskIndex::from(0), 0, &target("analytics", analytics, None)));
    }

    #[test]
    fn targets_stopped_by_an_earlier_controller_count() {
        let mut plan = made(&[
            (ServiceVerb::Stop, "analytics", &["contrail-collector"]),
            (ServiceVerb::Restart, "analytics", &["contrail-topology"]),
        ]);
        let collector = target("analytics", Some("supervisor-analytics"), Some("contrail-collector"));
        plan.steps.retain(|step| step.task == TaskIndex::from(1));
        assert!(!plan.has_stopped(TaskIndex::from(1), 0, &collector));
        let done = [(Some("analytics".to_owned()), Some("contrail-collector".to_owned()))];
        plan.tasks[0].targets = TargetFilter::Except(BTreeMap::from([("n1".to_owned(), done.into())]));
        assert!(plan.has_stopped(TaskIndex::from(1), 0, &collector));
        assert!(!plan.has_stopped(TaskIndex::from(1), 1, &collector), "on that node");
    }
}
