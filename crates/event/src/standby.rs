//! Finds services that run active-standby, and have standbys but no active instance.
//!
//! Pure. Invariants: it reports this only if every configured node of the service was read; an unread one may be active.

use std::collections::BTreeMap;

use super::{FailureKind, FunctionalStatus, Outcome, ProcessState, RunScope, TargetResult};

/// The instances of a service of one role.
#[derive(Debug, Default)]
struct StandbyState {
    read: usize,
    backups: Vec<usize>,
    /// One is active, or may be.
    may_be_active: bool,
}

/// Gives every standby without an active instance a reason, which [`TargetResult::stands_by_for_none`] recognizes.
pub(super) fn judge(results: &mut [TargetResult], scope: &RunScope) {
    // The active instance may run on a node outside the selection.
    if scope.nodes.is_some() || scope.exclude.is_some() {
        return;
    }
    let mut services: BTreeMap<(Option<String>, String), StandbyState> = BTreeMap::new();
    for (index, result) in results.iter().enumerate() {
        let Some(service) = result.service.as_deref().filter(|_| result.outcome == Outcome::Ok) else { continue };
        // All processes of a program (`contrail-schema:0`) are instances of one service.
        let group = service.split(':').next().unwrap_or(service).to_owned();
        let standing = services.entry((result.role.clone(), group)).or_default();
        standing.read += 1;
        match &result.functional {
            // Keep the index, not the result: the reason is written only after all results are counted.
            Some(FunctionalStatus::Backup) => standing.backups.push(index),
            // Neither state can be the active one.
            Some(FunctionalStatus::Inactive | FunctionalStatus::Failed) => {}
            // A process that does not run is not active, whatever its service last reported.
            None if result.state != Some(ProcessState::Running) => {}
            // A running process that cannot be queried, or is still initializing, may be the active one.
            None | Some(_) => standing.may_be_active = true,
        }
    }
    for ((role, _), standing) in services {
        // An unread target without a role may belong to any role.
        let is_unread = |result: &TargetResult| is_unread(result) && (result.role.is_none() || result.role == role);
        if standing.may_be_active || standing.backups.is_empty() || results.iter().any(is_unread) {
            continue;
        }
        // A standby is known by its closed port alone, so the reason names that: a program that is not Contrail's own, or
        // that hangs before it listens, looks the same.
        let who = match (standing.backups.len(), standing.read) {
            (_, 1) => "the one node with this service runs it".to_owned(),
            (1, read) => format!("1 of {read} nodes runs this service"),
            (backups, read) => format!("{backups} of {read} nodes run this service"),
        };
        let reason = format!("no node is active: {who}, but nothing listens on its introspect port");
        for index in standing.backups {
            if let Some(result) = results.get_mut(index) {
                result.functional_reason = Some(reason.clone());
            }
        }
    }
}

/// Whether a service of the target may be active although this result does not show it.
fn is_unread(result: &TargetResult) -> bool {
    let kind = result.failure.as_ref().map(|failure| failure.kind);
    // Without a supervisord, none of its services runs there, so none can be active.
    let is_away = matches!(kind, Some(FailureKind::SupervisorDown | FailureKind::SupervisorMissing));
    !matches!(result.outcome, Outcome::Ok | Outcome::Changed | Outcome::NotConfigured) && !is_away
}

impl TargetResult {
    /// Whether the service is a standby, and no node of the cluster is active.
    #[must_use]
    pub fn stands_by_for_none(&self) -> bool {
        let is_given = self.functional_reason.as_deref().is_some_and(|reason| !reason.is_empty());
        self.functional == Some(FunctionalStatus::Backup) && is_given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Stage};

    fn of(node: &str, functional: Option<&str>, state: ProcessState) -> TargetResult {
        TargetResult {
            role: Some("config".to_owned()),
            service: Some("contrail-schema".to_owned()),
            state: Some(state),
            functional: functional.map(FunctionalStatus::from),
            ..TargetResult::new(node, Outcome::Ok)
        }
    }

    fn running(functional: &str) -> TargetResult {
        of("n", Some(functional), ProcessState::Running)
    }

    fn bad(role: Option<&str>, outcome: Outcome, kind: FailureKind) -> TargetResult {
        TargetResult {
            role: role.map(str::to_owned),
            failure: Some(Failure::new(Stage::Inspect, kind, "")),
            ..TargetResult::new("m", outcome)
        }
    }

    #[test]
    fn none_is_active_only_if_all_were_read() {
        use FailureKind as K;
        use Outcome as O;
        let backup = || running("backup");
        let all = RunScope::default();
        let some = RunScope { nodes: Some("cfg1".to_owned()), ..RunScope::default() };
        let but_one = RunScope { exclude: Some("cfg1".to_owned()), ..RunScope::default() };
        let role = RunScope { roles: vec!["config".to_owned()], ..RunScope::default() };
        let table = [
            (
                vec![backup()],
                &all,
                Some(
                    "no node is active: the one node with this service runs it, but nothing listens on its introspect port",
                ),
            ),
            (
                vec![backup(), backup()],
                &all,
                Some("no node is active: 2 of 2 nodes run this service, but nothing listens on its introspect port"),
            ),
            (
                vec![backup(), backup()],
                &role,
                Some("no node is active: 2 of 2 nodes run this service, but nothing listens on its introspect port"),
            ),
            (
                vec![backup(), of("n", Some("inactive"), ProcessState::Stopped)],
                &all,
                Some("no node is active: 1 of 2 nodes runs this service, but nothing listens on its introspect port"),
            ),
            (
                vec![backup(), bad(Some("config"), O::Failed, K::SupervisorDown)],
                &all,
                Some(
                    "no node is active: the one node with this service runs it, but nothing listens on its introspect port",
                ),
            ),
            (
                vec![backup(), bad(Some("compute"), O::Unreachable, K::Refused)],
                &all,
                Some(
                    "no node is active: the one node with this service runs it, but nothing listens on its introspect port",
                ),
            ),
            (vec![backup(), backup()], &some, None),
            (vec![backup(), backup()], &but_one, None),
            (vec![backup(), running("active")], &all, None),
            (vec![backup(), running("initializing")], &all, None),
            (vec![backup(), running("timeout")], &all, None),
            (vec![backup(), of("n", None, ProcessState::Running)], &all, None),
            (vec![backup(), bad(Some("config"), O::Unreachable, K::Refused)], &all, None),
            (vec![backup(), bad(None, O::Unreachable, K::Refused)], &all, None),
            (vec![backup(), bad(Some("config"), O::Failed, K::Command)], &all, None),
            (
                vec![backup(), TargetResult { role: Some("config".to_owned()), ..TargetResult::new("m", O::Skipped) }],
                &all,
                None,
            ),
        ];
        for (mut results, scope, wanted) in table {
            judge(&mut results, scope);
            assert_eq!(results[0].functional_reason.as_deref(), wanted, "{results:?}");
            assert_eq!(results[0].stands_by_for_none(), wanted.is_some());
        }
        let mut others =
            vec![backup(), TargetResult { service: Some("contrail-svc-monitor".to_owned()), ..running("active") }];
        judge(&mut others, &all);
        assert!(others[0].stands_by_for_none() && others[1].functional_reason.is_none());
    }
}
