//! `wait`: reads a node repeatedly until the condition is true there, or the time is over.
//!
//! Invariants: nothing is changed; a node that cannot be reached yet is tried again until the time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::action::init_service::InitTarget;
use crate::action::job::NodeJob;
use crate::engine::message::{NameCensus, NodeBatch, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate};
use crate::gate::active;
use crate::node::context::NodeContext;
use crate::node::discovery::{DiscoveredNode, VisitPlan};
use crate::node::oneshot;
use crate::node::signals::wait_until_set;
use ctl_event::{
    ActivityPhase, Failure, FailureKind, FunctionalStatus, Outcome, PhaseKind, ProcessState, Stage, TargetResult,
};
use ctl_plan::{Action, WaitCondition, WaitGoal};
use ctl_transport::Transport;

/// Between two readings of a node.
const POLL: Duration = Duration::from_millis(500);

/// What one look shows: a result for each target, and whether it is as wanted.
type WaitReading = Vec<(TargetResult, bool)>;

/// Waits until all is as wanted. A signal ends the waiting, and then the dispatcher says of each target that it was not
/// started.
pub(crate) async fn run<T: Transport>(node: &NodeContext<T>, node_batch: NodeBatch, until: WaitGoal) -> WorkItemEnd {
    let item = WorkItem::Batch(node_batch);
    let mut stop_waiting = node.signals.stop_waiting.clone();
    // A phase that finds the channel full is dropped: the next one replaces it anyway.
    let say =
        |phase: ActivityPhase| drop(node.updates.try_send(WorkerMessage { item, update: WorkerUpdate::Phase(phase) }));
    let results = tokio::select! {
        (results, names) = wait(node, node_batch, until, say) => {
            if let Some(names) = names {
                node.send(item, WorkerUpdate::Names(names)).await;
            }
            results
        }
        () = wait_until_set(&mut stop_waiting) => return WorkItemEnd::Done,
    };
    node.send_results(item, results).await;
    WorkItemEnd::Done
}

/// Waits on one node. Ends with the last results that could be read, by the end of `until.limit`, and with the census of
/// the names of the task.
async fn wait<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    until: WaitGoal,
    say: impl Fn(ActivityPhase) + Send + Sync,
) -> (Vec<TargetResult>, Option<NameCensus>) {
    let mut names = None;
    let began = Instant::now();
    let deadline = began + until.limit;
    let mut last: Option<WaitReading> = None;
    let mut since: Option<(Instant, Vec<Option<u32>>)> = None;
    let mut lost: Option<Failure> = None;
    say(ActivityPhase::work("connecting"));
    loop {
        match timeout_at(deadline, look(node, until.condition, node_batch)).await {
            Ok(Ok((seen, census))) => {
                names = Some(census);
                lost = None;
                let pids: Vec<_> = seen.iter().map(|(result, _)| result.pid).collect();
                if seen.iter().all(|(_, met)| *met) {
                    // A process that was replaced meanwhile has to stay up for the whole time again.
                    let (first, _) = since.take_if(|(_, same)| *same == pids).unwrap_or((Instant::now(), Vec::new()));
                    if first.elapsed() >= until.stable {
                        return (seen.into_iter().map(|(result, _)| result).collect(), names);
                    }
                    since = Some((first, pids));
                } else {
                    since = None;
                }
                let what = seen.iter().find(|(_, met)| !met).map(|(result, _)| describe(result));
                let what =
                    what.unwrap_or_else(|| format!("not yet {} for {:?}", until.condition.as_str(), until.stable));
                say(ActivityPhase::wait(PhaseKind::Gate, what).within(began.elapsed(), until.limit));
                last = Some(seen);
            }
            Ok(Err(failure)) => {
                // A node that cannot be read does not prove that everything stayed as wanted.
                since = None;
                lost = Some(failure);
            }
            // The deadline cut this reading off; the last complete one counts.
            Err(_) => {}
        }
        if Instant::now() + POLL >= deadline {
            break;
        }
        sleep(POLL).await;
    }
    let results = match (last, lost) {
        (_, Some(failure)) => node.results.as_requested(node_batch, failure.outcome(), &failure),
        (Some(seen), None) => seen.into_iter().map(|(result, met)| ended(result, met, until)).collect(),
        (None, None) => {
            let failure =
                Failure::new(Stage::Inspect, FailureKind::TimedOut, "its supervisords did not answer in time");
            node.results.as_requested(
                node_batch,
                Outcome::TimedOut,
                &failure.with_hint("allow more time with --wait-timeout"),
            )
        }
    };
    (results, names)
}

/// The result of a target when the time is over.
fn ended(mut result: TargetResult, met: bool, until: WaitGoal) -> TargetResult {
    let over = |what: &str| {
        let message = format!("not {} after {} s: {what}", until.condition.as_str(), until.limit.as_secs());
        Failure::new(Stage::Verify, FailureKind::TimedOut, message).with_hint("allow more time with --wait-timeout")
    };
    if result.failure.is_none() {
        let what = if met { format!("not yet for {:?}", until.stable) } else { describe(&result) };
        result.failure = Some(over(&what));
        result.outcome = Outcome::TimedOut;
    }
    result
}

fn describe(result: &TargetResult) -> String {
    let name = result.service.as_deref().unwrap_or("it");
    let state = result.state.map_or_else(|| "not known".to_owned(), |state| state.to_string());
    match (&result.failure, &result.functional) {
        (Some(failure), _) => format!("{name}: {}", failure.message),
        (None, Some(functional)) => format!("{name} is {state}, {functional}"),
        (None, None) => format!("{name} is {state}"),
    }
}

async fn look<T: Transport>(
    node: &NodeContext<T>,
    condition: WaitCondition,
    node_batch: NodeBatch,
) -> Result<(WaitReading, NameCensus), Failure> {
    let NodeContext { results: rows, connection: link, access, .. } = node;
    link.session().await.map_err(|error| error.failure())?;
    let view = DiscoveredNode::take(link, rows.clone(), access).await;
    if let Some(failure) = view.connection_lost() {
        return Err(failure.clone());
    }
    let names = view.names(node.task_index(node_batch)).await;
    let VisitPlan { jobs, results } = view.agenda(node_batch);
    let mut seen: WaitReading = results
        .into_iter()
        .map(|result| {
            let kind = result.failure.as_ref().map(|failure| failure.kind);
            let down = kind == Some(FailureKind::SupervisorDown);
            // A service that is not there is not waited for: a supervisord lists all that it may run.
            let absent = result.outcome == Outcome::NotConfigured || kind == Some(FailureKind::NoSuchService);
            // A supervisord that is down runs none of its processes.
            let met = absent || (down && condition == WaitCondition::Stopped);
            (result, met)
        })
        .collect();
    for job in &jobs {
        let mut result = match job {
            NodeJob::Process { instance, process } => {
                let mut result = rows.read(node_batch, instance, process);
                if oneshot::is_well(instance, process).await {
                    result = result.ended_well();
                }
                if condition == WaitCondition::Active && process.state == ProcessState::Running {
                    result.functional = active::functional(instance, process).await;
                }
                result
            }
            NodeJob::Init { role, service, is_instance, named } => {
                let (stable, is_instance) = (Duration::ZERO, *is_instance);
                let target = InitTarget { link, name: service, is_instance, stable };
                let verdict = target.act(Action::Status, None).await;
                rows.of_init(node_batch, role, service, is_instance, *named, verdict)
            }
            NodeJob::Update { .. } => continue,
        };
        let running = result.state == Some(ProcessState::Running) || result.has_ended_well();
        let met = match condition {
            WaitCondition::Running => running,
            WaitCondition::Active => running && result.functional.as_ref().is_none_or(FunctionalStatus::is_healthy),
            WaitCondition::Stopped => {
                matches!(result.state, Some(ProcessState::Stopped | ProcessState::Exited | ProcessState::Fatal))
            }
        };
        if result.outcome == Outcome::Ok {
            result.message.clear();
        }
        seen.push((result, met));
    }
    Ok((seen, names))
}
