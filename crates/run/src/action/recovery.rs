//! The early end of a batch on a node, by the clock or by a second signal: obligations are fulfilled as far as possible,
//! and every job gets a result.
//!
//! Invariants: nothing is stopped here, at most a start is sent that is still owed; a target that may have been
//! changed and cannot be read is `unknown`. Start reading at [`EarlyExit::results`].

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use crate::action::init_service::InitTarget;
use crate::action::job::NodeJob;
use crate::action::obligations::{JobTable, Obligation};
use crate::engine::message::NodeBatch;
use crate::node::connection::LiveInstance;
use crate::node::context::NodeContext;
use crate::verdict::is_up;
use ctl_event::{Failure, FailureKind, Outcome, ProcessState, Stage, TargetResult};
use ctl_plan::Action;
use ctl_supervisor::ProcessInfo;
use ctl_transport::Transport;

/// Once the time for a node is over, this much is left to read it and to send a start.
const LAST_LOOK: Duration = Duration::from_millis(700);

/// After the wait was given up, a start that is owed is tried for so long: a process that is being stopped cannot
/// be started before it is gone, and supervisord kills it after `stopwaitsecs`, 10 s unless configured otherwise.
pub(crate) const PAYING: Duration = Duration::from_secs(15);

/// Why a batch ends early on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlyExitCause {
    /// The time for the node is over.
    TimedOut,
    /// A second signal came.
    GivenUp,
}

/// A batch that ends early on a node.
pub(crate) struct EarlyExit<'a, T: Transport> {
    pub(crate) node: &'a NodeContext<T>,
    pub(crate) table: &'a JobTable<T>,
    pub(crate) node_batch: NodeBatch,
    pub(crate) cause: EarlyExitCause,
    /// Whether the node's guard lives: then it fulfils the obligations.
    pub(crate) guarded: bool,
}

impl<T: Transport> EarlyExit<'_, T> {
    /// One result for each job that has none yet, after the starts that are owed were sent; for a node that was not yet
    /// read, one for each service as it was typed.
    pub(crate) async fn results(&self) -> Vec<TargetResult> {
        let jobs = self.table.jobs();
        if jobs.is_empty() {
            let (outcome, failure) = match self.cause {
                EarlyExitCause::TimedOut => {
                    (Outcome::TimedOut, self.timed_out("its supervisords did not answer in time"))
                }
                EarlyExitCause::GivenUp => (Outcome::NotStarted, not_begun()),
            };
            return self.node.results.as_requested(self.node_batch, outcome, &failure);
        }
        // After the time for the node only a last reading fits in; after a signal an owed start gets its full time.
        let deadline = Instant::now() + if self.cause == EarlyExitCause::TimedOut { LAST_LOOK } else { PAYING };
        let open: Vec<_> = jobs.iter().filter(|job| !self.table.entry(&job.key()).is_reported).collect();
        // These results are certain, and only their evidence is missing.
        let (settled, open): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|job| !self.table.entry(&job.key()).settled.is_empty());
        let mut results: Vec<TargetResult> =
            settled.iter().flat_map(|job| self.table.entry(&job.key()).settled).collect();
        results.extend(join_all(open.iter().map(|job| self.rescue(job, deadline))).await);
        results
    }

    async fn rescue(&self, job: &NodeJob<T>, deadline: Instant) -> TargetResult {
        let key = job.key();
        let entry = self.table.entry(&key);
        let begun = entry.obligation != Obligation::None;
        let mut now = None;
        let mut paid = false;
        // A look may have to connect first.
        let patience = if self.cause == EarlyExitCause::TimedOut { LAST_LOOK } else { PAYING / 3 };
        // With a guard on the node, giving up means to leave at once.
        // A guard that lives but was not armed for this target would not start it.
        let guarded = self.guarded && (entry.obligation != Obligation::MustStart || entry.is_armed());
        let leaves = self.cause == EarlyExitCause::GivenUp && guarded;
        // A start that is owed is worth a new connection; a mere reading is not.
        if !leaves && (self.node.connection.is_open() || entry.obligation == Obligation::MustStart) {
            let attempt = async {
                match job {
                    NodeJob::Process { instance, process } => {
                        paid = fulfil(instance, process, entry.obligation, patience, &mut now).await
                    }
                    NodeJob::Init { service, is_instance, .. } if entry.obligation == Obligation::MustStart => {
                        let (stable, is_instance) = (Duration::ZERO, *is_instance);
                        let target = InitTarget { link: &self.node.connection, name: service, is_instance, stable };
                        paid = target.act(Action::Start, None).await.is_some_and(|verdict| !verdict.outcome.is_bad());
                    }
                    NodeJob::Update { instances, .. } => {
                        join_all(instances.iter().map(|instance| instance.put_in_owed_groups())).await;
                        paid = true;
                    }
                    // Without an owed start there is nothing to send here.
                    NodeJob::Init { .. } => {}
                }
            };
            // May be dropped at any point: a start that was sent is not sent again, and `now` has the last reading.
            if timeout_at(deadline, attempt).await.is_err() {
                debug!(service = key.service, "no more time");
            }
        }
        let (outcome, mut failure) = match (self.cause, begun) {
            (EarlyExitCause::TimedOut, false) if entry.arming => {
                (Outcome::TimedOut, self.timed_out("its guard did not answer, and nothing was stopped"))
            }
            (EarlyExitCause::TimedOut, false) => (Outcome::TimedOut, self.timed_out("not started")),
            (EarlyExitCause::TimedOut, true) if !self.node.connection.is_open() => (Outcome::Unknown, lost()),
            (EarlyExitCause::TimedOut, true) if now.is_none() && matches!(job, NodeJob::Process { .. }) => {
                (Outcome::Unknown, self.timed_out("the result could not be read"))
            }
            (EarlyExitCause::TimedOut, true) => {
                let (obligation, now) = (entry.obligation, now.as_ref());
                let what = match job {
                    NodeJob::Init { service, .. } => init_after_time(service, obligation, paid),
                    NodeJob::Process { .. } | NodeJob::Update { .. } => after_time(now, obligation, paid),
                };
                (Outcome::TimedOut, self.timed_out(&what))
            }
            (EarlyExitCause::GivenUp, false) => (Outcome::NotStarted, not_begun()),
            (EarlyExitCause::GivenUp, true) if leaves => (Outcome::Unknown, left_to_guard(entry.obligation)),
            (EarlyExitCause::GivenUp, true) => (Outcome::Unknown, given_up(now.as_ref(), entry.obligation, paid)),
        };
        let mut result = match (job, &now) {
            (NodeJob::Process { instance, .. }, Some(now)) => {
                self.node.results.of_process(self.node_batch, instance, now, outcome)
            }
            (NodeJob::Process { .. }, None) | (NodeJob::Init { .. } | NodeJob::Update { .. }, _) => {
                job.result(&self.node.results, self.node_batch, outcome)
            }
        };
        // Without a reading the process may be stopped.
        let stopped = now.as_ref().is_none_or(|process| !is_up(process.state));
        if entry.obligation == Obligation::MustStart && stopped && !paid && !guarded {
            let name = key.service.clone().unwrap_or_default();
            failure.hint =
                Some(format!("it may still be stopped: start it with `ctl service {name} start -w {}`", result.node));
        }
        result.role = key.role;
        result.supervisor = key.supervisor;
        result.service = key.service;
        result.failure = Some(failure);
        result.duration_ms = entry.since.and_then(|since| u64::try_from(since.elapsed().as_millis()).ok());
        result
    }

    fn timed_out(&self, what: &str) -> Failure {
        let message = format!("not finished after {:.1} s: {what}", self.node.access.timeout.as_secs_f64());
        Failure::new(Stage::Act, FailureKind::TimedOut, message)
            .with_hint("check the node first; allow more time with --timeout")
    }
}

/// Reads a process into `seen`; where a start is owed, sends it as soon as the process is gone. Whether the debt is
/// paid. A look may take `patience`. Ends only when that is known, so it is to be given a time; it may be dropped at any
/// point, and `seen` keeps the last reading.
pub(crate) async fn fulfil<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
    obligation: Obligation,
    patience: Duration,
    seen: &mut Option<ProcessInfo>,
) -> bool {
    loop {
        // A node or supervisord that does not answer may come back within the caller's time.
        let Ok(Ok(look)) = timeout(patience, instance.look(&process.group, &process.name)).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let now = seen.insert(look.process);
        // Somebody was faster, the guard for one: a second start would be refused, and nothing is owed any more.
        let another = is_up(now.state) && now.is_another_than(process);
        if obligation != Obligation::MustStart || now.state == ProcessState::Starting || another {
            return true;
        }
        // A process that is still STOPPING takes no start yet: the next round finds it stopped.
        if matches!(now.state, ProcessState::Stopped | ProcessState::Exited | ProcessState::Fatal) {
            // A refused start is tried again in the next round: the state is read anew before each.
            let Ok(client) = instance.client().await else { continue };
            if client.send_start(now).await.is_ok() {
                if let Ok(Ok(look)) = timeout(LAST_LOOK, instance.look(&process.group, &process.name)).await {
                    *seen = Some(look.process);
                }
                return true;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// After something that was not seen to its end.
const STATE_HINT: &str = "run `ctl status {service} -w {node}` to see its current state";

fn after_time(now: Option<&ProcessInfo>, obligation: Obligation, paid: bool) -> String {
    match (now, obligation) {
        (None, _) => "its supervisord does not answer".to_owned(),
        (Some(now), Obligation::MustStart) if paid && !is_up(now.state) => {
            format!("it is {}; a start was sent", now.state)
        }
        (Some(now), _) => format!("it is {}", now.state),
    }
}

/// The same of a service that init runs, of which nothing was read.
fn init_after_time(service: &str, obligation: Obligation, paid: bool) -> String {
    let sent = if obligation == Obligation::MustStart && paid { "; a start was sent" } else { "" };
    format!("`service {service}` does not answer{sent}")
}

fn given_up(now: Option<&ProcessInfo>, obligation: Obligation, paid: bool) -> Failure {
    let state = now.map_or_else(String::new, |now| format!("; it is {}", now.state));
    let message = match (obligation, paid) {
        (Obligation::MustStart, true) => format!("stopped waiting; a start was sent{state}"),
        (Obligation::MustStart, false) => format!("stopped waiting; the start could not be sent{state}"),
        (Obligation::Sent | Obligation::None, _) => format!("stopped waiting{state}"),
    };
    Failure::new(Stage::Act, FailureKind::Interrupted, message).with_hint(STATE_HINT)
}

fn left_to_guard(obligation: Obligation) -> Failure {
    let message = match obligation {
        Obligation::MustStart => "stopped waiting; the guard on the node starts it if it was stopped",
        Obligation::Sent | Obligation::None => "stopped waiting",
    };
    Failure::new(Stage::Act, FailureKind::Interrupted, message).with_hint(STATE_HINT)
}

fn not_begun() -> Failure {
    Failure::new(Stage::Act, FailureKind::Interrupted, "not started: the run was interrupted")
}

fn lost() -> Failure {
    let message = "the connection dropped during the action and could not be restored in time to check the result";
    Failure::new(Stage::Verify, FailureKind::ConnectionLost, message).with_hint(STATE_HINT)
}
