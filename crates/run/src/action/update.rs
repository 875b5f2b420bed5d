//! `update`: rereads a supervisord's configuration, and applies it to the groups that were named and no others.
//!
//! Invariants: a changed group that was taken out is noted in the instance until it is in again; the processes that
//! an update starts must meet the gates of the batch. Start reading at [`update`].

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::action::obligations::{Obligation, TargetContext};
use crate::action::process::ProcessAction;
use crate::action::process_target::ProcessTarget;
use crate::action::recovery::PAYING;
use crate::engine::message::TargetKey;
use crate::gate;
use crate::node::connection::LiveInstance;
use crate::node::oneshot;
use crate::verdict::{ActionVerdict, RETRY_HINT};
use ctl_event::{Failure, FailureKind, Outcome, ProcessState, Stage};
use ctl_plan::policy::ServiceGate;
use ctl_select::ServicePattern;
use ctl_supervisor::{ProcessInfo, RpcFault, SupervisorError};
use ctl_transport::Transport;

const POLL: Duration = Duration::from_millis(100);

/// How often a request is sent when the connection is lost meanwhile.
const ATTEMPTS: u32 = 5;

/// Applies what changed of the named groups; one verdict for each of them that the instance lists or is to list. The
/// processes that it has started must meet the gates.
pub(crate) async fn update<T: Transport>(
    instance: &LiveInstance<T>,
    services: &[ServicePattern],
    gates: &[ServiceGate],
    context: &TargetContext<'_, T>,
) -> Vec<(String, ActionVerdict)> {
    let all_failed = |error: &SupervisorError| {
        services
            .iter()
            .map(|service| (service.as_str().to_owned(), ActionVerdict::error(error, Stage::Inspect)))
            .collect()
    };
    let client = match instance.client().await {
        Ok(client) => client,
        Err(error) => return all_failed(&error.into()),
    };
    let summary = match client.reload_config().await {
        Ok(summary) => summary,
        Err(error) => return all_failed(&error),
    };
    let named = |group: &&String| services.iter().any(|service| service.matches_group(group));
    let mut verdicts = Vec::new();
    let mut started = Vec::new();
    // The order of supervisorctl's own `update` (`supervisorctl.py`, `do_update`).
    for group in summary.removed.iter().filter(named) {
        verdicts.push((group.clone(), apply_removed(instance, group, context).await));
    }
    for group in summary.changed.iter().filter(named) {
        verdicts.push((group.clone(), apply_changed(instance, group, context, &mut started).await));
    }
    for group in summary.added.iter().filter(named) {
        verdicts.push((group.clone(), apply_added(instance, group, context, &mut started).await));
    }
    // All at once, and only now: the time for the node has room for one stable time, and no gate keeps the next group
    // out of service.
    let held = join_all(started.iter().map(|process| hold(instance, process, gates, context))).await;
    for end in held {
        let group = end.process.as_ref().map(|process| &process.group);
        let verdict = verdicts.iter_mut().find(|(name, _)| Some(name) == group).map(|(_, verdict)| verdict);
        // A group that failed already keeps its own reason.
        if let Some(verdict) = verdict.filter(|verdict| !verdict.outcome.is_bad()) {
            keep(verdict, end);
        }
    }
    let known = |name: &str| verdicts.iter().any(|(group, _)| group == name);
    let mut unchanged: Vec<String> = Vec::new();
    for process in &instance.snapshot.processes {
        if named(&&process.group) && !known(&process.group) && !unchanged.contains(&process.group) {
            unchanged.push(process.group.clone());
        }
    }
    verdicts
        .extend(unchanged.into_iter().map(|group| (group, plain(Outcome::Ok, "its configuration has not changed"))));
    verdicts
}

/// The proof of an update that an earlier part of the run has made: nothing is left to apply to the named groups, and
/// their processes meet the gates. Nothing is applied.
pub(crate) async fn recheck<T: Transport>(
    instance: &LiveInstance<T>,
    services: &[ServicePattern],
    gates: &[ServiceGate],
    context: &TargetContext<'_, T>,
) -> Vec<(String, ActionVerdict)> {
    let read = async {
        let client = instance.client().await.map_err(SupervisorError::from)?;
        Ok((client.reload_config().await?, client.list().await?))
    };
    let (summary, listed) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let failed =
                |service: &ServicePattern| (service.as_str().to_owned(), ActionVerdict::error(&error, Stage::Inspect));
            return services.iter().map(failed).collect();
        }
    };
    let named = |group: &str| services.iter().any(|service| service.matches_group(group));
    let is_left = |group: &&String| named(group.as_str());
    let left: Vec<&String> =
        summary.removed.iter().chain(&summary.changed).chain(&summary.added).filter(is_left).collect();
    let not_applied = |group: &&String| {
        let failure = Failure::new(Stage::Verify, FailureKind::Protocol, "its new configuration is not in effect");
        (group.to_string(), not_started(failure.with_hint(RETRY_HINT)))
    };
    let mut verdicts: Vec<(String, ActionVerdict)> = left.iter().map(not_applied).collect();
    for process in listed.iter().filter(|process| named(&process.group) && !left.contains(&&process.group)) {
        // A program that does not start by itself stays STOPPED, as configured.
        let verdict = if process.state == ProcessState::Stopped {
            ActionVerdict { process: Some(process.clone()), ..plain(Outcome::Changed, "") }
        } else {
            hold(instance, process, gates, context).await
        };
        match verdicts.iter_mut().find(|(group, _)| *group == process.group) {
            Some((_, known)) if !known.outcome.is_bad() => keep(known, verdict),
            Some(_) => {}
            None => verdicts.push((process.group.clone(), verdict)),
        }
    }
    verdicts
}

async fn apply_removed<T: Transport>(
    instance: &LiveInstance<T>,
    group: &str,
    context: &TargetContext<'_, T>,
) -> ActionVerdict {
    match context.set_obligation(Obligation::Sent, None).await {
        Ok(()) => match remove(instance, group).await {
            Ok(()) => plain(Outcome::Changed, "removed: it is no longer in the configuration"),
            Err(error) => ActionVerdict::error(&error, Stage::Act),
        },
        Err(failure) => not_started(failure),
    }
}

/// Takes a group out and in again, with its new configuration.
async fn apply_changed<T: Transport>(
    instance: &LiveInstance<T>,
    group: &str,
    context: &TargetContext<'_, T>,
    started: &mut Vec<ProcessInfo>,
) -> ActionVerdict {
    // The guard adds the group again if we cannot: it is armed before the group is taken out.
    if let Err(failure) = context.set_obligation(Obligation::MustStart, instance.rescue_group(group)).await {
        return not_started(failure);
    }
    // Noted before it is sent: an early end in between adds a group that is still in, which supervisord refuses.
    instance.owe_group(group);
    let verdict = match remove(instance, group).await {
        Ok(()) => add(instance, group, "restarted with its new configuration", started).await,
        Err(error) => ActionVerdict::error(&error, Stage::Act),
    };
    let verdict = if verdict.outcome.is_bad() && timeout(PAYING, instance.put_in_owed_groups()).await.is_err() {
        verdict.hinted(format!("it may still be stopped: add it again with `supervisorctl add {group}` on the node"))
    } else {
        verdict
    };
    // A group that may be down stays with the guard.
    if !verdict.leaves_it_down()
        && let Err(failure) = context.set_obligation(Obligation::Sent, None).await
    {
        // The guard then adds a group that is in, which supervisord refuses: no harm is done.
        tracing::debug!(failure.message, "not disarmed");
    }
    verdict
}

async fn apply_added<T: Transport>(
    instance: &LiveInstance<T>,
    group: &str,
    context: &TargetContext<'_, T>,
    started: &mut Vec<ProcessInfo>,
) -> ActionVerdict {
    // Another group that is still out stays with the guard: `Sent` would disarm it.
    if !context.table.is_armed()
        && let Err(failure) = context.set_obligation(Obligation::Sent, None).await
    {
        return not_started(failure);
    }
    add(instance, group, "added: it is new in the configuration", started).await
}

/// Takes a group out. A connection that is lost meanwhile is opened again to continue: stopping a process that is stopped
/// and taking out a group that is out change nothing more.
async fn remove<T: Transport>(instance: &LiveInstance<T>, group: &str) -> Result<(), SupervisorError> {
    let mut attempts = 0;
    loop {
        let removed = match instance.client().await {
            Ok(client) => client.remove_group(group).await,
            Err(error) => Err(error.into()),
        };
        attempts += 1;
        match removed {
            Err(error) if error.is_connection_lost() && attempts < ATTEMPTS => sleep(POLL).await,
            // An earlier attempt was obeyed, only its answer was lost. At the first attempt it is a mistake.
            Err(SupervisorError::Fault { fault: RpcFault::BadName, .. }) if attempts > 1 => return Ok(()),
            removed => return removed,
        }
    }
}

/// Takes a group in, and waits until each of its processes is up, or stopped as configured. Those that are up are added
/// to `started`.
async fn add<T: Transport>(
    instance: &LiveInstance<T>,
    group: &str,
    message: &str,
    started: &mut Vec<ProcessInfo>,
) -> ActionVerdict {
    let mut attempts = 0;
    loop {
        let added = match instance.client().await {
            Ok(client) => client.add_group(group).await,
            Err(error) => Err(error.into()),
        };
        attempts += 1;
        match added {
            // Already in: an earlier attempt was obeyed, or the guard was faster. Its processes decide.
            Ok(()) | Err(SupervisorError::Fault { fault: RpcFault::AlreadyAdded, .. }) => break,
            Err(error) if error.is_connection_lost() && attempts < ATTEMPTS => sleep(POLL).await,
            Err(error) => return ActionVerdict::error(&error, Stage::Act),
        }
    }
    instance.group_is_in(group);
    loop {
        let listed = match instance.client().await {
            Ok(client) => client.list().await,
            Err(error) => Err(error.into()),
        };
        let mine: Vec<ProcessInfo> = match listed {
            Ok(listed) => listed.into_iter().filter(|process| process.group == group).collect(),
            // A lost connection is no verdict, and the next round reads over a new one.
            Err(error) if error.is_connection_lost() => Vec::new(),
            Err(error) => return ActionVerdict::error(&error, Stage::Verify),
        };
        let mut ended = Vec::new();
        for process in mine.iter().filter(|process| process.state == ProcessState::Exited) {
            if oneshot::has_ended_well(instance, process).await {
                ended.push(process.name.clone());
            }
        }
        let bad = mine.iter().find(|process| {
            matches!(
                process.state,
                ProcessState::Backoff | ProcessState::Fatal | ProcessState::Exited | ProcessState::Unknown
            ) && !ended.contains(&process.name)
        });
        if let Some(process) = bad {
            let kind = if process.state == ProcessState::Fatal {
                FailureKind::Fatal
            } else {
                FailureKind::AbnormalTermination
            };
            let text = format!("{} is {}: {}", process.full_name(), process.state, process.description);
            let failure = Some(
                Failure::new(Stage::Verify, kind, text)
                    .with_hint("look at its log: `ctl logs {service} --stderr -w {node}`"),
            );
            return ActionVerdict {
                outcome: Outcome::Failed,
                process: Some(process.clone()),
                message: String::new(),
                failure,
            };
        }
        // A program that does not start by itself stays STOPPED, as configured.
        let settled = |process: &ProcessInfo| {
            matches!(process.state, ProcessState::Running | ProcessState::Stopped | ProcessState::Exited)
        };
        // An empty list may only mean that the connection was lost.
        if !mine.is_empty() && mine.iter().all(settled) {
            started.extend(mine.iter().filter(|process| process.state == ProcessState::Running).cloned());
            return ActionVerdict { process: mine.into_iter().next(), ..plain(Outcome::Changed, message) };
        }
        sleep(POLL).await;
    }
}

/// Waits until a process that was just started meets the gates of its batch, as after a restart. The verdict has its
/// process.
async fn hold<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
    gates: &[ServiceGate],
    context: &TargetContext<'_, T>,
) -> ActionVerdict {
    let key = TargetKey { service: Some(process.full_name()), ..context.key.clone() };
    let context = TargetContext { key, ..*context };
    let target = ProcessTarget { instance, listed: process, context: &context };
    let work = ProcessAction { target, stable: gate::stable_time(gates), before: None };
    let mut verdict = work.verify_started().await;
    let is_up = verdict.process.as_ref().is_some_and(|now| now.state == ProcessState::Running);
    if is_up && !verdict.outcome.is_bad() {
        let end = gate::wait_at_service_gates(instance, process, gates, &context).await;
        if end.failure.is_some() {
            verdict = ActionVerdict { outcome: Outcome::Failed, failure: end.failure, ..verdict };
        }
    }
    ActionVerdict { process: verdict.process.or_else(|| Some(process.clone())), ..verdict }
}

/// Merges the end of one of its processes into the verdict on a group.
fn keep(verdict: &mut ActionVerdict, end: ActionVerdict) {
    let is_first = |process: &ProcessInfo| end.process.as_ref().is_some_and(|now| now.name == process.name);
    if end.outcome.is_bad() {
        *verdict = end;
    } else if verdict.process.as_ref().is_some_and(is_first) {
        verdict.process = end.process;
    }
}

fn not_started(failure: Failure) -> ActionVerdict {
    ActionVerdict { failure: Some(failure), ..plain(Outcome::Failed, "") }
}

fn plain(outcome: Outcome, message: &str) -> ActionVerdict {
    ActionVerdict { outcome, process: None, message: message.to_owned(), failure: None }
}
