//! `logs`: reads what a node's services have written, and goes on with it where that was asked for.
//!
//! What always holds: nothing is changed; what is read goes on only as fast as it is shown; while following, what cannot
//! be reached for a while is told once and tried again, and reading goes on where it was. Start at [`LogFollower::show`]; how
//! far a log was read, and what becomes of it when it is rotated, is known to [`LogPosition`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::NodeAccess;
use super::job::NodeJob;
use super::link::{LiveInstance, NodeConnection};
use super::message::{NodeBatch, TargetKey, WorkItem, WorkerMessage, WorkerUpdate};
use super::rows::{ResultBuilder, node_name};
use super::view::{DiscoveredNode, VisitPlan};
use crate::event::{ActivityPhase, Failure, FailureKind, LogLines, Outcome, Stage, TargetResult, Via};
use crate::plan::LogTail;
use crate::select::ServicePattern;
use crate::supervisor::command::TAIL_LIMIT;
use crate::supervisor::follow::{LogPosition, RpcLog};
use crate::supervisor::lines::LineBuffer;
use crate::supervisor::log::no_logs_by_init;
use crate::supervisor::tailed::{TRUNCATED, TailFollower, after_last};
use crate::supervisor::{ProcessInfo, RpcFault, SupervisorClient, SupervisorError};
use crate::transport::{Session, Transport, TransportError};

/// Between two looks at logs to which something was written lately, and at quiet ones.
const POLLS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// A log counts as quiet after so long.
const QUIET: Duration = Duration::from_secs(10);

/// Between two attempts at something that is away: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Logs of a node that are read at the same time.
const AT_ONCE: usize = 4;

/// Pieces of one log that are read before another one is looked at.
const IN_A_ROW: usize = 16;

/// The logs of one node.
pub(super) struct LogFollower<'a, T: Transport> {
    link: &'a Arc<NodeConnection<T>>,
    rows: &'a ResultBuilder,
    access: &'a NodeAccess,
    visit: NodeBatch,
    tail: LogTail,
    teller: LogSender<'a>,
    turns: &'a Semaphore,
    followed: Vec<FollowedLog<T>>,
    /// Why the node cannot be read now, and whether that is for good.
    away: Option<Failure>,
    /// What was told at once.
    told: Vec<TargetResult>,
}

/// Where the lines go.
#[derive(Clone, Copy)]
struct LogSender<'a> {
    duty: WorkItem,
    news: &'a mpsc::Sender<WorkerMessage>,
}

impl LogSender<'_> {
    async fn tell(&self, news: WorkerUpdate) {
        if matches!(&news, WorkerUpdate::Lines(own) if own.lines.is_empty()) {
            return;
        }
        if self.news.send(WorkerMessage { duty: self.duty, news }).await.is_err() {
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
    reader: LogPosition,
    lines: LineBuffer,
    /// Where supervisorctl follows it.
    tailed: Option<TailFollower<<T::Session as Session>::Command>>,
    /// The last bytes that were told of it, where no offset is known.
    seen: Vec<u8>,
    /// Whether the place to begin at was found.
    begun: bool,
    /// Where to end; none: nowhere.
    goal: Option<u64>,
    /// When something came last.
    last: Instant,
    /// Why it cannot be read now.
    away: Option<SupervisorError>,
    /// When it is tried again.
    next: Instant,
    end: Option<Result<String, SupervisorError>>,
}

/// Bytes by which a log is known again where no offset is known.
const SEEN: usize = 512;

/// So much of the end of a log is read to find them.
const END: usize = 64 * 1024;

/// What a turn at a log came to.
enum LogTurn {
    /// There is more to read.
    Busy,
    /// All that there is was read.
    Idle,
}

impl<'a, T: Transport> LogFollower<'a, T> {
    pub(super) fn new(
        link: &'a Arc<NodeConnection<T>>,
        rows: &'a ResultBuilder,
        access: &'a NodeAccess,
        visit: NodeBatch,
        tail: LogTail,
        news: &'a mpsc::Sender<WorkerMessage>,
        turns: &'a Semaphore,
    ) -> Self {
        let teller = LogSender { duty: WorkItem::Visit(visit), news };
        Self { link, rows, access, visit, tail, teller, turns, followed: Vec::new(), away: None, told: Vec::new() }
    }

    /// Shows the logs: to their ends, or on and on. May be dropped at any point; [`LogFollower::results`] tells what came of it.
    pub(super) async fn show(&mut self) {
        if self.tail.follow {
            self.open_at_last().await;
            self.follow().await;
        } else {
            let time = self.access.timeout;
            let work = async {
                self.away = self.open().await.err().map(|(failure, _)| failure);
                let (tail, teller) = (self.tail, self.teller);
                let logs: Vec<_> = self.followed.iter_mut().map(|log| log.read_out(tail, teller)).collect();
                stream::iter(logs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
            };
            if timeout(time, work).await.is_err() {
                for log in self.followed.iter_mut().filter(|log| log.end.is_none()) {
                    log.end = Some(Err(late(time)));
                }
                if self.followed.is_empty() && self.away.is_none() {
                    self.away = Some(late(time).failure(Stage::Inspect));
                }
            }
        }
    }

    /// What is to be said of each target that was not told yet.
    pub(super) fn results(self) -> Vec<TargetResult> {
        let rows = self.rows;
        let mut results = self.told;
        if let (Some(failure), true) = (&self.away, self.followed.is_empty()) {
            results.extend(rows.typed(self.visit, failure.outcome(), failure));
        }
        for log in self.followed {
            let mut result = rows.of_process(self.visit, &log.instance, &log.process, Outcome::Ok);
            match (log.end, log.away) {
                (Some(Err(error)), _) | (None, Some(error)) => {
                    let failure = failure_of(&error);
                    result.outcome = failure.outcome();
                    result.failure = Some(failure);
                }
                (Some(Ok(message)), _) => result.message = message,
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
        let _turn = self.turns.acquire().await;
        self.teller.tell(WorkerUpdate::Phase(ActivityPhase::work("connecting"))).await;
        self.link.session().await.map_err(|error| (error.failure(), error.may_come_back()))?;
        self.teller.tell(WorkerUpdate::Phase(ActivityPhase::work("querying supervisord"))).await;
        let time = self.access.timeout;
        let Ok(view) = timeout(time, DiscoveredNode::take(self.link, self.rows.clone(), self.access)).await else {
            return Err((late(time).failure(Stage::Inspect), true));
        };
        if let Some(failure) = view.connection_lost() {
            return Err((failure.clone(), true));
        }
        let task = self.rows.plan.steps.get(self.visit.step).map_or(0, |step| step.task);
        self.teller.tell(WorkerUpdate::Names(view.names(task).await)).await;
        let VisitPlan { jobs, results } = view.agenda(self.visit);
        let is_down = |result: &TargetResult| {
            result.failure.as_ref().filter(|failure| failure.kind == FailureKind::SupervisorDown).cloned()
        };
        if self.tail.follow
            && jobs.is_empty()
            && let Some(failure) = results.iter().find_map(is_down)
        {
            return Err((failure, true));
        }
        let found = jobs.iter().map(|job| job.key()).chain(results.iter().map(TargetKey::of)).collect();
        self.teller.tell(WorkerUpdate::Targets(found)).await;
        self.told.extend(results);
        let node = node_name(&self.rows.plan, self.rows.index);
        let globs = self.rows.services(self.visit).iter().any(ServicePattern::is_glob);
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
                    self.followed.push(FollowedLog::new(instance, process, head, via != Some(Via::Rpc)));
                }
                NodeJob::Init { role, service, is_instance, .. } => {
                    let mut result = self.rows.empty(self.visit, Outcome::Failed);
                    result.role = Some(role.name.clone());
                    result.supervisor = is_instance.then(|| service.clone());
                    let message = format!("init runs {service}, so supervisord has no log for it");
                    result.service = Some(service);
                    let failure = Failure::new(Stage::Inspect, FailureKind::NoLog, message).with_hint(
                        "look at its log files on the node, such as those in /var/log/contrail, with `ctl exec`",
                    );
                    result.failure = Some(failure);
                    self.told.push(result);
                }
                NodeJob::Update { .. } => {}
            }
        }
        // What does not depend on how the reading goes is told at once.
        for result in std::mem::take(&mut self.told) {
            self.teller.tell(WorkerUpdate::Result(Box::new(result))).await;
        }
        Ok(())
    }

    /// Connects and finds the logs; what may pass is tried again and again.
    async fn open_at_last(&mut self) {
        let node = node_name(&self.rows.plan, self.rows.index);
        let mut back_off = BackOff::default();
        loop {
            match self.open().await {
                Ok(()) => {
                    if self.away.take().is_some() {
                        self.teller.tell(WorkerUpdate::Notice(format!("{node}: answering again"))).await;
                    }
                    return;
                }
                Err((failure, false)) => {
                    self.away = Some(failure);
                    return;
                }
                Err((failure, true)) => {
                    if self.away.is_none() {
                        let message = format!("{node}: {}; trying again", failure.message);
                        self.teller.tell(WorkerUpdate::Notice(message)).await;
                    }
                    self.away = Some(failure);
                }
            }
            sleep(back_off.next()).await;
        }
    }

    /// Reads on and on. Ends only when there is nothing left that may be written to.
    async fn follow(&mut self) {
        let node = node_name(&self.rows.plan, self.rows.index);
        let (tail, teller) = (self.tail, self.teller);
        let mut back_off = BackOff::default();
        while self.followed.iter().any(|log| log.end.is_none()) {
            let is_open = self.link.is_open();
            let was_lost = !is_open && self.away.is_none();
            let session = {
                let _turn = if is_open { None } else { self.turns.acquire().await.ok() };
                self.link.session().await
            };
            if let Err(error) = session {
                if self.away.is_none() {
                    teller.tell(WorkerUpdate::Notice(format!("{node}: {error}; trying again"))).await;
                }
                self.away = Some(error.failure());
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
                teller.tell(WorkerUpdate::Notice(format!("{node}: the connection was lost and restored"))).await;
            }
            let open = self.followed.iter_mut().filter(|log| log.end.is_none() && log.next <= Instant::now());
            let steps: Vec<_> = open.map(|log| log.step(tail, teller)).collect();
            let turns: Vec<TurnOutcome> = stream::iter(steps).buffer_unordered(AT_ONCE).collect().await;
            if let Some(reason) = turns.iter().find_map(TurnOutcome::lost) {
                if self.away.is_none() {
                    teller.tell(WorkerUpdate::Notice(format!("{node}: {}; trying again", reason.message))).await;
                }
                self.away = Some(reason.clone());
                sleep(back_off.next()).await;
                continue;
            }
            if self.away.take().is_some() {
                teller.tell(WorkerUpdate::Notice(format!("{node}: connected again"))).await;
            }
            back_off = BackOff::default();
            if !turns.iter().any(|turned| matches!(turned, TurnOutcome::Busy)) {
                let next = self.followed.iter().filter(|log| log.end.is_none()).map(|log| log.next).min();
                tokio::time::sleep_until(next.unwrap_or_else(Instant::now).max(Instant::now() + POLLS.0 / 2)).await;
            }
        }
    }
}

/// What a turn came to, as the node sees it.
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
    fn new(instance: Arc<LiveInstance<T>>, process: ProcessInfo, head: LogLines, may_run: bool) -> Self {
        Self {
            instance,
            process,
            head,
            reader: LogPosition::new(may_run),
            lines: LineBuffer::default(),
            tailed: None,
            seen: Vec::new(),
            begun: false,
            goal: None,
            last: Instant::now(),
            away: None,
            next: Instant::now(),
            end: None,
        }
    }

    /// Shows what there is, and no more.
    async fn read_out(&mut self, tail: LogTail, teller: LogSender<'_>) {
        let end = loop {
            match self.turn(tail, teller).await {
                Ok(LogTurn::Busy) => {}
                Ok(LogTurn::Idle) => {
                    let rest = self.lines.finish();
                    teller.tell(self.news(rest)).await;
                    let nothing = self.goal == Some(0);
                    break Ok(if nothing { "nothing was written to it yet" } else { "" }.to_owned());
                }
                Err(error) => break Err(error),
            }
        };
        self.end = Some(end);
    }

    /// Reads some of what was not read yet.
    async fn turn(&mut self, tail: LogTail, teller: LogSender<'_>) -> Result<LogTurn, SupervisorError> {
        let client = self.instance.client().await?;
        match client.as_ref() {
            SupervisorClient::Rpc(rpc) => {
                let name = self.process.api_name();
                let source = RpcLog { rpc, name: &name, stream: tail.stream };
                if !self.begun {
                    let size = self.reader.begin(&source, tail.lines).await?;
                    self.begun = true;
                    self.goal = (!tail.follow).then_some(size);
                }
                for _ in 0..IN_A_ROW {
                    if self.goal.is_some_and(|goal| self.reader.offset() >= goal) {
                        return Ok(LogTurn::Idle);
                    }
                    let news = self.reader.next(&source).await?;
                    if !news.bytes.is_empty() {
                        self.last = Instant::now();
                        let lines = self.lines.feed(&news.bytes);
                        teller.tell(self.news(lines)).await;
                    }
                    if news.rotated {
                        let rest = self.lines.finish();
                        teller.tell(self.news(rest)).await;
                        let what = if news.missing {
                            "its log was rotated or cleared: the last lines before that may be missing"
                        } else {
                            "its log was rotated"
                        };
                        teller.tell(self.notice(what)).await;
                    }
                    if !news.more || (news.rotated && self.goal.is_some()) {
                        return Ok(LogTurn::Idle);
                    }
                }
                Ok(LogTurn::Busy)
            }
            SupervisorClient::Supervisorctl(control) => {
                let name = self.process.full_name();
                let mut bytes = tail.lines.saturating_mul(256).clamp(4096, TAIL_LIMIT);
                if !tail.follow {
                    let (read, lines) = loop {
                        let read = control.tail(&name, tail.stream, bytes).await?;
                        let is_part = read.len() >= bytes;
                        let lines = LineBuffer::last_of(&read, is_part, tail.lines);
                        // The lines are longer than was thought.
                        if !is_part || lines.len() >= tail.lines || bytes >= TAIL_LIMIT {
                            break (read, lines);
                        }
                        bytes = bytes.saturating_mul(4).min(TAIL_LIMIT);
                    };
                    self.goal = Some(u64::try_from(read.len()).unwrap_or_default());
                    teller.tell(self.news(lines)).await;
                    return Ok(LogTurn::Idle);
                }
                let mut tailed = match self.tailed.take() {
                    Some(tailed) => tailed,
                    None => {
                        // Of a log that is kept nowhere, following tells nothing at all.
                        if !self.begun {
                            control.tail(&name, tail.stream, SEEN).await?;
                        }
                        let mut tailed = control.follow(&name, tail.stream).await?;
                        // What was written before is read after the other has begun, so that nothing falls between.
                        let end = control.tail(&name, tail.stream, bytes.max(END)).await?;
                        tailed.join(&end);
                        self.join(&end, tail.lines, teller).await;
                        tailed
                    }
                };
                let bytes = tailed.next(POLLS.0).await?;
                self.tailed = Some(tailed);
                if bytes.is_empty() {
                    return Ok(LogTurn::Idle);
                }
                self.take(&bytes, teller).await;
                Ok(LogTurn::Busy)
            }
            SupervisorClient::Service(_) => Err(no_logs_by_init()),
        }
    }

    /// Takes the end of a log in that is followed from there on: its last lines at first, later what is new in it.
    async fn join(&mut self, end: &[u8], lines: usize, teller: LogSender<'_>) {
        if !self.begun {
            self.begun = true;
            let start = LineBuffer::start_of_last(end, lines);
            self.seen = end.get(..start).unwrap_or_default().to_vec();
            self.take(end.get(start..).unwrap_or_default(), teller).await;
            return;
        }
        match after_last(&self.seen, end) {
            Some(new) => self.take(new, teller).await,
            None => {
                teller.tell(self.notice("its log was rotated, or written too fast: lines may be missing")).await;
                self.take(end, teller).await;
            }
        }
    }

    /// Tells what was written.
    async fn take(&mut self, bytes: &[u8], teller: LogSender<'_>) {
        self.last = Instant::now();
        self.seen.extend_from_slice(bytes);
        let spare = self.seen.len().saturating_sub(SEEN);
        self.seen.drain(..spare);
        let mut lines = self.lines.feed(bytes);
        if lines.iter().any(|line| line == TRUNCATED) {
            lines.retain(|line| line != TRUNCATED);
            teller.tell(self.notice("its log was rotated")).await;
        }
        teller.tell(self.news(lines)).await;
    }

    /// A turn, and what came of it.
    async fn step(&mut self, tail: LogTail, teller: LogSender<'_>) -> TurnOutcome {
        let turn = self.turn(tail, teller).await;
        self.bear(turn, teller).await
    }

    /// Takes what a turn came to: what may pass is told once.
    async fn bear(&mut self, turn: Result<LogTurn, SupervisorError>, teller: LogSender<'_>) -> TurnOutcome {
        let now = Instant::now();
        match turn {
            Ok(turn) => {
                if self.away.take().is_some() {
                    teller.tell(self.notice("its log is readable again")).await;
                }
                if let LogTurn::Busy = turn {
                    self.next = now;
                    return TurnOutcome::Busy;
                }
                self.next = now + if self.last.elapsed() < QUIET { POLLS.0 } else { POLLS.1 };
                TurnOutcome::Idle
            }
            Err(error) if error.is_connection_lost() => TurnOutcome::Lost(error.failure(Stage::Inspect)),
            Err(error) if comes_back(&error) => {
                if self.away.is_none() {
                    teller.tell(self.notice(&format!("{error}; trying again"))).await;
                }
                self.away = Some(error);
                self.next = now + POLLS.1;
                TurnOutcome::Idle
            }
            Err(error) => {
                teller.tell(self.notice(&failure_of(&error).message)).await;
                self.end = Some(Err(error));
                TurnOutcome::Idle
            }
        }
    }

    /// Something to be told of it at once.
    fn notice(&self, what: &str) -> WorkerUpdate {
        let LogLines { node, service, .. } = &self.head;
        WorkerUpdate::Notice(format!("{node} {service}: {what}"))
    }

    /// Lines to be told.
    fn news(&self, lines: impl IntoIterator<Item = String>) -> WorkerUpdate {
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
        SupervisorError::Down(_) | SupervisorError::Silent(_) => true,
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
