//! `logs`: reads the logs of a node's services, and follows them on request.
//!
//! Invariants: nothing is changed; reading goes no faster than the lines are shown; while following, a node or a
//! service that cannot be reached for a while is reported once and tried again, and reading continues where it was.
//! Start at [`run`]; [`LogPosition`] knows how far a log was read, and what happens to it when it is rotated.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::action::job::NodeJob;
use crate::engine::message::{NodeBatch, TargetKey, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate};
use crate::node::access::NodeAccess;
use crate::node::connection::{LiveInstance, NodeConnection};
use crate::node::context::NodeContext;
use crate::node::discovery::{DiscoveredNode, VisitPlan};
use crate::node::signals::wait_until_set;
use crate::results::{ResultBuilder, node_name};
use ctl_event::{ActivityPhase, Failure, FailureKind, LogLines, Outcome, Stage, TargetResult};
use ctl_plan::{LogTail, TaskIndex};
use ctl_select::ServicePattern;
use ctl_supervisor::backend::may_run_commands;
use ctl_supervisor::logs::reader::{LogEvent, LogReader, LogRequest, NextStep};
use ctl_supervisor::{ProcessInfo, RpcFault, SupervisorError};
use ctl_transport::{Session, Transport, TransportError};

/// Between two looks at logs to which something was written lately, and at quiet ones.
const POLLS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// A log counts as quiet after so long.
const QUIET: Duration = Duration::from_secs(10);

/// Between two attempts at something that does not answer: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Logs of a node that are read at the same time.
const AT_ONCE: usize = 4;

/// Pieces of one log that are read before another one is looked at.
const IN_A_ROW: usize = 16;

/// Does the work of a batch that shows logs. A signal ends it, and its results are complete then.
pub(crate) async fn run<T: Transport>(node: &NodeContext<T>, node_batch: NodeBatch, tail: LogTail) -> WorkItemEnd {
    let mut stop_waiting = node.signals.stop_waiting.clone();
    let mut logs = LogFollower::new(node, node_batch, tail);
    tokio::select! {
        () = logs.show() => {}
        () = wait_until_set(&mut stop_waiting) => {}
    }
    node.send_results(WorkItem::Batch(node_batch), logs.results()).await;
    WorkItemEnd::Done
}

/// The logs of one node.
struct LogFollower<'a, T: Transport> {
    link: &'a Arc<NodeConnection<T>>,
    rows: &'a ResultBuilder,
    access: &'a NodeAccess,
    node_batch: NodeBatch,
    tail: LogTail,
    sender: LogSender<'a>,
    turns: &'a Semaphore,
    followed: Vec<FollowedLog<T>>,
    /// Why the node cannot be read now, and whether that is for good.
    away: Option<Failure>,
    /// Results that were sent at once.
    reported: Vec<TargetResult>,
}

/// Where the lines go.
#[derive(Clone, Copy)]
struct LogSender<'a> {
    item: WorkItem,
    update: &'a mpsc::Sender<WorkerMessage>,
}

impl LogSender<'_> {
    async fn send(&self, update: WorkerUpdate) {
        if matches!(&update, WorkerUpdate::Lines(own) if own.lines.is_empty()) {
            return;
        }
        if self.update.send(WorkerMessage { item: self.item, update }).await.is_err() {
            debug!("the run no longer listens");
        }
    }
}

/// One log.
struct FollowedLog<T: Transport> {
    instance: Arc<LiveInstance<T>>,
    process: ProcessInfo,
    /// Its lines without the words.
    head: LogLines,
    reader: LogReader<<T::Session as Session>::Command>,
    /// When something came last.
    last: Instant,
    /// Why it cannot be read now.
    away: Option<SupervisorError>,
    /// When it is tried again.
    next: Instant,
    end: Option<Result<String, SupervisorError>>,
}

/// The outcome of a turn at a log.
enum LogTurn {
    /// There is more to read.
    Busy,
    /// All that there is was read.
    Idle,
}

impl<'a, T: Transport> LogFollower<'a, T> {
    fn new(node: &'a NodeContext<T>, node_batch: NodeBatch, tail: LogTail) -> Self {
        let sender = LogSender { item: WorkItem::Batch(node_batch), update: &node.updates };
        Self {
            link: &node.connection,
            rows: &node.results,
            access: &node.access,
            node_batch,
            tail,
            sender,
            turns: &node.signals.turns,
            followed: Vec::new(),
            away: None,
            reported: Vec::new(),
        }
    }

    /// Shows the logs: to their ends, or without an end. May be dropped at any point; [`LogFollower::results`] has the outcome.
    async fn show(&mut self) {
        if self.tail.follow {
            self.open_at_last().await;
            self.follow().await;
        } else {
            let time = self.access.timeout;
            let work = async {
                self.away = self.open().await.err().map(|(failure, _)| failure);
                let sender = self.sender;
                let logs: Vec<_> = self.followed.iter_mut().map(|log| log.read_out(sender)).collect();
                stream::iter(logs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
            };
            if timeout(time, work).await.is_err() {
                // Lines that were shown stay shown; only the logs that did not end are late.
                for log in self.followed.iter_mut().filter(|log| log.end.is_none()) {
                    log.end = Some(Err(late(time)));
                }
                if self.followed.is_empty() && self.away.is_none() {
                    self.away = Some(late(time).failure(Stage::Inspect));
                }
            }
        }
    }

    /// The results of the targets that have none yet.
    fn results(self) -> Vec<TargetResult> {
        let rows = self.rows;
        let mut results = self.reported;
        // The node was never read, so the results go by the services as they were requested.
        if let (Some(failure), true) = (&self.away, self.followed.is_empty()) {
            results.extend(rows.as_requested(self.node_batch, failure.outcome(), failure));
        }
        for log in self.followed {
            let mut result = rows.of_process(self.node_batch, &log.instance, &log.process, Outcome::Ok);
            match (log.end, log.away) {
                (Some(Err(error)), _) | (None, Some(error)) => {
                    let failure = failure_of(&error);
                    result.outcome = failure.outcome();
                    result.failure = Some(failure);
                }
                (Some(Ok(message)), _) => result.message = message,
                // Only a signal ends the following, so this is its regular end.
                (None, None) if self.tail.follow => {}
                (None, None) => {
                    result.outcome = Outcome::NotStarted;
                    let message = "not read completely: the run was interrupted";
                    result.failure = Some(Failure::new(Stage::Inspect, FailureKind::Interrupted, message));
                }
            }
            results.push(result);
        }
        results
    }

    /// Connects and finds the logs; an error says why not, and whether trying again may help.
    async fn open(&mut self) -> Result<(), (Failure, bool)> {
        // Following stays on all nodes at once, but only as many as there are forks may connect at the same time.
        let _turn = self.turns.acquire().await;
        self.sender.send(WorkerUpdate::Phase(ActivityPhase::work("connecting"))).await;
        self.link.session().await.map_err(|error| (error.failure(), error.may_come_back()))?;
        self.sender.send(WorkerUpdate::Phase(ActivityPhase::work("querying supervisord"))).await;
        let time = self.access.timeout;
        let Ok(view) = timeout(time, DiscoveredNode::take(self.link, self.rows.clone(), self.access)).await else {
            return Err((late(time).failure(Stage::Inspect), true));
        };
        if let Some(failure) = view.connection_lost() {
            return Err((failure.clone(), true));
        }
        let task = self.rows.plan.steps.get(self.node_batch.step).map_or_else(TaskIndex::default, |step| step.task);
        self.sender.send(WorkerUpdate::Names(view.names(task).await)).await;
        let VisitPlan { jobs, results } = view.agenda(self.node_batch);
        let is_down = |result: &TargetResult| {
            result.failure.as_ref().filter(|failure| failure.kind == FailureKind::SupervisorDown).cloned()
        };
        // While following, a supervisord that is down may come back, so the logs are looked for again.
        if self.tail.follow
            && jobs.is_empty()
            && let Some(failure) = results.iter().find_map(is_down)
        {
            return Err((failure, true));
        }
        let found = jobs.iter().map(|job| job.key()).chain(results.iter().map(TargetKey::of)).collect();
        self.sender.send(WorkerUpdate::Targets(found)).await;
        self.reported.extend(results);
        let node = node_name(&self.rows.plan, self.rows.index);
        let globs = self.rows.services(self.node_batch).iter().any(ServicePattern::is_glob);
        let among_others = globs || jobs.len() > 1;
        let via = self.rows.plan.via.or(self.access.via);
        for job in jobs {
            match job {
                NodeJob::Process { instance, process } => {
                    let head = LogLines {
                        node: node.clone(),
                        role: instance.role.name.clone(),
                        supervisor: instance.supervisor.name.clone(),
                        service: process.full_name(),
                        stream: self.tail.stream,
                        among_others,
                        lines: Vec::new(),
                    };
                    let LogTail { lines, follow, .. } = self.tail;
                    let request = LogRequest { stream: self.tail.stream, lines, follow };
                    let reader = LogReader::new(request, may_run_commands(via));
                    self.followed.push(FollowedLog::new(instance, process, head, reader));
                }
                NodeJob::Init { role, service, is_instance, .. } => {
                    let mut result = self.rows.empty(self.node_batch, Outcome::Failed);
                    result.role = Some(role.name.clone());
                    result.supervisor = is_instance.then(|| service.clone());
                    let message = format!("init runs {service}, so supervisord has no log for it");
                    result.service = Some(service);
                    let failure = Failure::new(Stage::Inspect, FailureKind::NoLog, message).with_hint(
                        "look at its log files on the node, such as those in /var/log/contrail, with `ctl exec`",
                    );
                    result.failure = Some(failure);
                    self.reported.push(result);
                }
                NodeJob::Update { .. } => {}
            }
        }
        // Results that do not depend on the reading are sent at once.
        for result in std::mem::take(&mut self.reported) {
            self.sender.send(WorkerUpdate::Result(Box::new(result))).await;
        }
        Ok(())
    }

    /// Connects and finds the logs; a transient failure is retried.
    async fn open_at_last(&mut self) {
        let node = node_name(&self.rows.plan, self.rows.index);
        let mut back_off = BackOff::default();
        loop {
            match self.open().await {
                Ok(()) => {
                    if self.away.take().is_some() {
                        self.sender.send(WorkerUpdate::Notice(format!("{node}: answering again"))).await;
                    }
                    return;
                }
                Err((failure, false)) => {
                    self.away = Some(failure);
                    return;
                }
                Err((failure, true)) => {
                    // Reported once, not at every attempt.
                    if self.away.is_none() {
                        let message = format!("{node}: {}; trying again", failure.message);
                        self.sender.send(WorkerUpdate::Notice(message)).await;
                    }
                    self.away = Some(failure);
                }
            }
            sleep(back_off.next()).await;
        }
    }

    /// Follows the logs. Ends only when none is left that may be written to.
    async fn follow(&mut self) {
        let node = node_name(&self.rows.plan, self.rows.index);
        let sender = self.sender;
        let mut back_off = BackOff::default();
        while self.followed.iter().any(|log| log.end.is_none()) {
            let is_open = self.link.is_open();
            let was_lost = !is_open && self.away.is_none();
            let session = {
                // Only a new connection needs a turn.
                let _turn = if is_open { None } else { self.turns.acquire().await.ok() };
                self.link.session().await
            };
            if let Err(error) = session {
                if self.away.is_none() {
                    sender.send(WorkerUpdate::Notice(format!("{node}: {error}; trying again"))).await;
                }
                self.away = Some(error.failure());
                // A refused login or host key will be refused again, so no log of the node can be read any more.
                if !error.may_come_back() {
                    for log in self.followed.iter_mut().filter(|log| log.end.is_none()) {
                        log.end = Some(Err(SupervisorError::Transport(error.clone())));
                    }
                    return;
                }
                sleep(back_off.next()).await;
                continue;
            }
            if was_lost {
                sender.send(WorkerUpdate::Notice(format!("{node}: the connection was lost and restored"))).await;
            }
            let open = self.followed.iter_mut().filter(|log| log.end.is_none() && log.next <= Instant::now());
            let steps: Vec<_> = open.map(|log| log.step(sender)).collect();
            let turns: Vec<TurnOutcome> = stream::iter(steps).buffer_unordered(AT_ONCE).collect().await;
            if let Some(reason) = turns.iter().find_map(TurnOutcome::lost) {
                if self.away.is_none() {
                    sender.send(WorkerUpdate::Notice(format!("{node}: {}; trying again", reason.message))).await;
                }
                self.away = Some(reason.clone());
                sleep(back_off.next()).await;
                continue;
            }
            if self.away.take().is_some() {
                sender.send(WorkerUpdate::Notice(format!("{node}: connected again"))).await;
            }
            back_off = BackOff::default();
            // The lower bound keeps a log that is due at once from keeping the node busy.
            if !turns.iter().any(|turned| matches!(turned, TurnOutcome::Busy)) {
                let next = self.followed.iter().filter(|log| log.end.is_none()).map(|log| log.next).min();
                tokio::time::sleep_until(next.unwrap_or_else(Instant::now).max(Instant::now() + POLLS.0 / 2)).await;
            }
        }
    }
}

/// The outcome of a turn for the node.
enum TurnOutcome {
    Busy,
    Idle,
    /// The connection is gone.
    Lost(Failure),
}

impl TurnOutcome {
    const fn lost(&self) -> Option<&Failure> {
        if let Self::Lost(failure) = self { Some(failure) } else { None }
    }
}

impl<T: Transport> FollowedLog<T> {
    fn new(
        instance: Arc<LiveInstance<T>>,
        process: ProcessInfo,
        head: LogLines,
        reader: LogReader<<T::Session as Session>::Command>,
    ) -> Self {
        let now = Instant::now();
        Self { instance, process, head, reader, last: now, away: None, next: now, end: None }
    }

    /// Shows what there is, and no more.
    async fn read_out(&mut self, sender: LogSender<'_>) {
        let end = loop {
            match self.turn(sender).await {
                Ok(LogTurn::Busy) => {}
                Ok(LogTurn::Idle) => {
                    // The last line of a log may have no end yet.
                    let rest = self.reader.finish();
                    sender.send(self.update(rest)).await;
                    break Ok(if self.reader.was_empty() { "nothing was written to it yet" } else { "" }.to_owned());
                }
                Err(error) => break Err(error),
            }
        };
        self.end = Some(end);
    }

    /// Reads on for one turn.
    async fn turn(&mut self, sender: LogSender<'_>) -> Result<LogTurn, SupervisorError> {
        let client = self.instance.client().await?;
        for _ in 0..IN_A_ROW {
            let step = client.read_log(&self.process, &mut self.reader).await?;
            if step.has_grown {
                self.last = Instant::now();
            }
            for event in step.events {
                let update = match event {
                    LogEvent::Lines(lines) => self.update(lines),
                    LogEvent::Notice(what) => self.notice(what),
                };
                sender.send(update).await;
            }
            match step.next {
                NextStep::Now => {}
                NextStep::Soon => return Ok(LogTurn::Busy),
                NextStep::Later => return Ok(LogTurn::Idle),
            }
        }
        Ok(LogTurn::Busy)
    }

    /// A turn, and its outcome for the node.
    async fn step(&mut self, sender: LogSender<'_>) -> TurnOutcome {
        let turn = self.turn(sender).await;
        self.tolerate(turn, sender).await
    }

    /// Handles the outcome of a turn: a transient failure is reported once.
    async fn tolerate(&mut self, turn: Result<LogTurn, SupervisorError>, sender: LogSender<'_>) -> TurnOutcome {
        let now = Instant::now();
        match turn {
            Ok(turn) => {
                if self.away.take().is_some() {
                    sender.send(self.notice("its log is readable again")).await;
                }
                if let LogTurn::Busy = turn {
                    self.next = now;
                    return TurnOutcome::Busy;
                }
                // A log that was written to recently is read more often.
                self.next = now + if self.last.elapsed() < QUIET { POLLS.0 } else { POLLS.1 };
                TurnOutcome::Idle
            }
            // The connection belongs to the node, which reports the loss once for all of its logs.
            Err(error) if error.is_connection_lost() => TurnOutcome::Lost(error.failure(Stage::Inspect)),
            Err(error) if comes_back(&error) => {
                if self.away.is_none() {
                    sender.send(self.notice(&format!("{error}; trying again"))).await;
                }
                self.away = Some(error);
                self.next = now + POLLS.1;
                TurnOutcome::Idle
            }
            Err(error) => {
                // Any other error lasts, so this log is given up.
                sender.send(self.notice(&failure_of(&error).message)).await;
                self.end = Some(Err(error));
                TurnOutcome::Idle
            }
        }
    }

    /// A notice about the log.
    fn notice(&self, what: &str) -> WorkerUpdate {
        let LogLines { node, service, .. } = &self.head;
        WorkerUpdate::Notice(format!("{node} {service}: {what}"))
    }

    /// Lines of the log.
    fn update(&self, lines: impl IntoIterator<Item = String>) -> WorkerUpdate {
        WorkerUpdate::Lines(LogLines { lines: lines.into_iter().collect(), ..self.head.clone() })
    }
}

/// Times between attempts: each twice as long as the one before, and never quite the same on two nodes.
#[derive(Debug, Default)]
struct BackOff {
    attempts: u32,
}

impl BackOff {
    fn next(&mut self) -> Duration {
        let time = BACK_OFF.0.saturating_mul(2_u32.saturating_pow(self.attempts)).min(BACK_OFF.1);
        self.attempts = self.attempts.saturating_add(1);
        // Nodes that lost their connections together must not all come back at the same moment.
        time.mul_f64(rand::random_range(0.8..1.2))
    }
}

/// The time for the node is over.
fn late(time: Duration) -> SupervisorError {
    SupervisorError::Silent(format!("the node within {:.1} s", time.as_secs_f64()))
}

/// Whether a supervisord, or a process of it, may be back later.
fn comes_back(error: &SupervisorError) -> bool {
    match error {
        SupervisorError::Down(_) | SupervisorError::NoSocket(_) | SupervisorError::Silent(_) => true,
        SupervisorError::Transport(error) => matches!(error, TransportError::ChannelRefused { .. }),
        SupervisorError::Fault { fault, .. } => *fault == RpcFault::BadName,
        SupervisorError::Permission(_)
        | SupervisorError::Sudo(_)
        | SupervisorError::NoAnswer(_)
        | SupervisorError::CommandMissing(_)
        | SupervisorError::Protocol(_)
        | SupervisorError::Unsupported(_) => false,
    }
}

fn failure_of(error: &SupervisorError) -> Failure {
    if let SupervisorError::Fault { fault: RpcFault::NoFile, text } = error {
        return Failure::new(Stage::Inspect, FailureKind::NoLog, text.clone()).with_hint(
            "it may log to syslog, to supervisord's own output, or nowhere: check its stdout_logfile, stderr_logfile and redirect_stderr",
        );
    }
    if let SupervisorError::Unsupported(text) = error {
        return Failure::new(Stage::Inspect, FailureKind::NoLog, text.clone());
    }
    if let SupervisorError::Fault { fault: RpcFault::Failed, .. } = error {
        return Failure::new(Stage::Inspect, FailureKind::NoLog, "supervisord cannot read its log")
            .with_hint("check the file on the node");
    }
    error.failure(Stage::Inspect)
}
