//! Round after round over nodes that do not wait for each other: for `ctl status --watch` and `ctl top`.
//!
//! It uses `run` and `snapshot`. Invariants: a node has one connection and at most one round in progress; the
//! picture never waits for a late node, and shows its last answer instead; a node that does not answer is tried again
//! at a pace of its own. Start reading at [`NodeRounds::next_state`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use nodeset::NodeSet;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::limits::FileBudget;
use crate::read_only;
use crate::session::run_round;
use crate::unmatched::unmatched_globs;
use ctl_args::settings::Settings;
use ctl_connections::NodeTransport;
use ctl_event::{EventKind, Failure, Ledger, NodeFacts, Outcome, RunEvent, RunHead, RunScope, TargetResult};
use ctl_plan::{Plan, Task};
use ctl_run::{JournalAck, MissingName, NameCensus, NodeAccess, WorkerPool, missing_names};
use ctl_sink::text;
use ctl_snapshot::{ChangeVerdict, Snapshot, SnapshotDiff, WatchRounds};

/// After this time a node is late: neither the picture nor the other nodes, which need its fork, wait for it.
const LATE: Duration = Duration::from_secs(1);

/// Answers of late nodes that come within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(200);

/// The longest pause between two attempts at a node that does not answer, unless the interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The cluster as it is known at one moment.
pub struct ClusterState {
    /// Everything that was read last of each node.
    pub ledger: Ledger,
    /// What has changed since the picture before.
    pub changes: SnapshotDiff,
    /// Nodes that have not answered, for how long, and what depends on them: lines that are safe to show.
    pub late: Vec<String>,
    /// Names that were typed and that no node has, each with the reason.
    pub mistakes: Vec<Failure>,
}

/// The rounds of all nodes.
pub struct NodeRounds {
    head: RunHead,
    /// The plan of all nodes, if it names services.
    named: Option<Plan>,
    /// Whether it is known which of the names that were typed the nodes have.
    is_judged: bool,
    nodes: Vec<WatchedNode>,
    running: JoinSet<(usize, Box<WorkerPool<NodeTransport>>, Ledger)>,
    forks: Arc<Semaphore>,
    /// Whether there are open files enough for a late node beside those that have a fork.
    has_room: bool,
    notices: mpsc::Receiver<String>,
    interval: Duration,
    /// When the last round began.
    began: Instant,
    /// When the next round begins.
    next: Instant,
    /// Until when the round in progress is waited for; none once it was shown.
    deadline: Option<Instant>,
    /// When an answer of a late node is shown.
    answered: Option<Instant>,
    took: Duration,
    changes: Vec<(usize, SnapshotDiff)>,
}

/// One node.
struct WatchedNode {
    name: String,
    /// None: its round is in progress.
    pool: Option<Box<WorkerPool<NodeTransport>>>,
    /// When the round in progress began, or the last.
    began: Instant,
    /// When it was its turn in that round: empty while it waits for a fork.
    asked: Arc<OnceLock<Instant>>,
    /// What it has of the names that were typed.
    census: Option<NameCensus>,
    /// Not before this is it asked again.
    due: Instant,
    /// Rounds without an answer, one after the other.
    failures: u32,
    /// The last results, and when they came.
    last: Option<(Vec<TargetResult>, Option<NodeFacts>, Instant)>,
    rounds: WatchRounds,
}

impl NodeRounds {
    /// Of the nodes of `plan`, which changes nothing. Connects to nothing yet.
    pub fn new(
        plan: &Plan,
        services: &[String],
        access: &[NodeAccess],
        settings: &Settings,
        (transport, notices): (&Arc<NodeTransport>, mpsc::Receiver<String>),
        (budget, interval): (FileBudget, Duration),
    ) -> Self {
        let now = Instant::now();
        let head = read_only::head(plan, services, settings);
        let node = |(index, access): (usize, &NodeAccess)| {
            let own = plan.of_node(index);
            let name = own.nodes.first().map(|selected| selected.node.name.clone()).unwrap_or_default();
            // What concerns more than one node comes from the transport, once.
            // The sender ends with this closure, so no round waits for the receiver.
            let (_none, no_notices) = mpsc::channel(1);
            let setup = read_only::setup(own, head.clone(), vec![access.clone()], budget, transport, no_notices);
            let pool = Some(Box::new(WorkerPool::new(setup)));
            WatchedNode {
                name,
                pool,
                began: now,
                asked: Arc::default(),
                census: None,
                due: now,
                failures: 0,
                last: None,
                rounds: WatchRounds::default(),
            }
        };
        let nodes = access.iter().enumerate().take(plan.selected).map(node).collect();
        let names_services = |task: &Task| !task.work.services().is_empty();
        Self {
            named: plan.tasks.iter().any(names_services).then(|| plan.clone()),
            is_judged: false,
            head,
            nodes,
            running: JoinSet::new(),
            // `max(1)`: a semaphore without permits would stop every round.
            forks: Arc::new(Semaphore::new(budget.forks.max(1))),
            has_room: !budget.hangs_up,
            notices,
            interval,
            began: now,
            next: now,
            deadline: None,
            answered: None,
            took: Duration::ZERO,
            changes: Vec::new(),
        }
    }

    /// The next picture: when a round is over but for those that are late, and when those answer. Nothing is lost if it
    /// is not waited for to its end.
    ///
    /// Boxed, or each crate that waits for it would compile it again.
    pub fn next_state(&mut self) -> BoxFuture<'_, ClusterState> {
        Box::pin(self.wait_for_state())
    }

    async fn wait_for_state(&mut self) -> ClusterState {
        loop {
            // A notice has no place in the picture, so it goes to the log only.
            while let Ok(message) = self.notices.try_recv() {
                tracing::debug!(message = text::single_line(&message), "a notice");
            }
            let now = Instant::now();
            // Not while a round is waited for, even if the interval is shorter than the nodes need.
            if self.deadline.is_none() && now >= self.next {
                self.start_round(now);
            }
            // Whichever comes first; while a round is waited for, the next one cannot start.
            let wake = self.deadline.unwrap_or(self.next).min(self.answered.unwrap_or(self.next));
            tokio::select! {
                Some(joined) = self.running.join_next() => {
                    self.take(joined);
                    if self.deadline.is_some() && !self.is_waiting() {
                        // The last one that was waited for has answered; late ones do not hold the picture up.
                        return self.round_over();
                    }
                }
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    if self.deadline.is_some_and(|deadline| now >= deadline) {
                        return self.round_over();
                    }
                    // Only between rounds: the end of a round shows the answers of late nodes as well.
                    if self.deadline.is_none() && self.answered.take_if(|due| now >= *due).is_some() {
                        return self.picture();
                    }
                }
            }
        }
    }

    fn start_round(&mut self, now: Instant) {
        (self.began, self.next, self.deadline) = (now, now + self.interval, Some(now + LATE));
        // A node that does not answer has a pace of its own, so it may sit out a round.
        for (index, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.due <= now) {
            // Its last round is still in progress, and one at a time is enough.
            let Some(pool) = node.pool.take() else { continue };
            (node.began, node.asked) = (now, Arc::default());
            // What it takes the others to judge is judged where they are together.
            let selection = RunScope { nodes: Some(node.name.clone()), ..self.head.selection.clone() };
            let head = RunHead { started: jiff::Timestamp::now(), selection, ..self.head.clone() };
            let forks = (Arc::clone(&self.forks), self.has_room);
            self.running.spawn(read(index, pool, head, Arc::clone(&node.asked), forks));
        }
    }

    /// Whether a node of this round has not answered yet. One that was late before is not waited for.
    fn is_waiting(&self) -> bool {
        self.nodes.iter().any(|node| node.pool.is_none() && node.began >= self.began)
    }

    fn round_over(&mut self) -> ClusterState {
        (self.deadline, self.took) = (None, self.began.elapsed());
        self.picture()
    }

    /// Takes in what a node has answered.
    fn take(&mut self, joined: Result<(usize, Box<WorkerPool<NodeTransport>>, Ledger), JoinError>) {
        let (index, pool, ledger) = match joined {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a node is no longer read because of an internal error");
                // The node stays without a pool and looks late; the others are read on.
                return;
            }
        };
        let Some(node) = self.nodes.get_mut(index) else { return };
        let now = Instant::now();
        let mut changes = node.rounds.take(Snapshot::of(&ledger));
        if node.last.is_none() {
            // Nothing was known before: only problems are news.
            changes.changes.retain(|change| change.verdict == ChangeVerdict::Worse);
        }
        self.changes.push((index, changes));
        node.take(pool, &ledger, self.interval, now);
        if self.deadline.is_none() {
            // Not moved by later answers, so that a picture comes even if they never cease.
            self.answered.get_or_insert(now + TOGETHER);
        }
    }

    fn picture(&mut self) -> ClusterState {
        self.answered = None;
        let mut changes = std::mem::take(&mut self.changes);
        // In the order of the inventory, not of the answers.
        changes.sort_by_key(|(index, _)| *index);
        let changes = SnapshotDiff::of_nodes(changes.into_iter().map(|(_, changes)| changes));
        let (mut late, mut mistakes) = (self.late(), Vec::new());
        for missing in self.missing_names() {
            match missing {
                MissingName::Mistake(failure) => mistakes.push(failure),
                MissingName::Unsure(message) => late.push(text::visible(&message).into_owned()),
            }
        }
        ClusterState { ledger: self.ledger(), changes, late, mistakes }
    }

    /// The names that were typed and found nowhere. Each node has a plan of its own and knows nothing of
    /// the others: they are judged here, until every node has answered once.
    fn missing_names(&mut self) -> Vec<MissingName> {
        let Some(plan) = &self.named else { return Vec::new() };
        let (mut missing, was_judged) = (Vec::new(), self.is_judged);
        if !was_judged {
            let census = self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.census.as_ref()?)));
            missing = missing_names(plan, census);
            // Judged for good once every node has answered for sure.
            self.is_judged = self.nodes.iter().all(|node| node.census.as_ref().is_some_and(NameCensus::is_sure));
        }
        if self.nodes.iter().all(|node| node.last.is_some()) {
            let results = self.nodes.iter().filter_map(|node| node.last.as_ref()).flat_map(|(results, ..)| results);
            let unmatched = unmatched_globs(plan, results).into_iter();
            missing.extend(unmatched.map(|failure| MissingName::Unsure(failure.message)));
        }
        missing
    }

    /// The last results of each node, as if they came from one run.
    fn ledger(&self) -> Ledger {
        let nodes = self.nodes.iter().map(|node| node.name.clone()).collect();
        let unread: Vec<&str> =
            self.nodes.iter().filter(|node| node.last.is_none()).map(|node| node.name.as_str()).collect();
        let mut head = self.head.clone();
        if !unread.is_empty() {
            head.selection.exclude = Some(NodeSet::from_names(unread).to_string());
        }
        let mut kinds = vec![
            EventKind::RunStarted(head),
            EventKind::BatchStarted { batch: 1, step: 0, role: None, nodes, rechecks: false },
        ];
        for (results, facts, _) in self.nodes.iter().filter_map(|node| node.last.as_ref()) {
            kinds.extend(results.iter().cloned().map(EventKind::Result));
            kinds.extend(facts.iter().cloned().map(EventKind::NodeFacts));
        }
        let elapsed_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        kinds.push(EventKind::RunFinished { elapsed_ms });
        let mut ledger = Ledger::default();
        for (seq, kind) in (0..).zip(kinds) {
            apply(&mut ledger, &RunEvent { seq, at: jiff::Timestamp::now(), elapsed: self.took, kind });
        }
        ledger
    }

    /// A line for those that were never read, and one for those of which the last state is shown.
    fn late(&self) -> Vec<String> {
        let now = Instant::now();
        let late = |node: &&WatchedNode| node.pool.is_none() && node.is_late(now);
        let (known, unknown): (Vec<_>, Vec<_>) = self.nodes.iter().filter(late).partition(|node| node.last.is_some());
        let names = |nodes: &[&WatchedNode]| NodeSet::from_names(nodes.iter().map(|node| &node.name)).to_string();
        // A node that waits for a fork is not late itself: the limit holds it up.
        let is_queued = |node: &&WatchedNode| {
            node.pool.is_none() && node.asked.get().is_none() && now.duration_since(node.began) >= LATE
        };
        let queued: Vec<&WatchedNode> =
            self.nodes.iter().filter(is_queued).filter(|node| node.last.is_none()).collect();
        let longest = |since: &mut dyn Iterator<Item = Instant>| {
            since.min().map_or(0, |since| now.duration_since(since).as_secs())
        };
        let mut lines = Vec::new();
        if !unknown.is_empty() {
            let waited = longest(&mut unknown.iter().filter_map(|node| node.asked.get().copied()));
            lines.push(format!("connecting to {} for {waited} s: no answer yet", names(&unknown)));
        }
        if !queued.is_empty() {
            lines.push(format!("not read yet: {} (--forks limits how many are read at once)", names(&queued)));
        }
        if !known.is_empty() {
            let age = longest(&mut known.iter().filter_map(|node| node.last.as_ref().map(|(.., at)| *at)));
            lines.push(format!("no answer from {}: showing data up to {age} s old", names(&known)));
        }
        lines.iter().map(|line| text::visible(line).into_owned()).collect()
    }
}

impl WatchedNode {
    /// Whether its answer is overdue. What waits for a fork was not asked yet.
    fn is_late(&self, now: Instant) -> bool {
        self.asked.get().is_some_and(|asked| now.duration_since(*asked) >= LATE)
    }

    fn take(&mut self, pool: Box<WorkerPool<NodeTransport>>, ledger: &Ledger, interval: Duration, now: Instant) {
        // A round that failed early knows no names, and the earlier census still holds.
        self.census = pool.census().cloned().or(self.census.take());
        self.pool = Some(pool);
        self.last = Some((ledger.results().to_vec(), ledger.facts().first().cloned(), now));
        let is_away = |result: &TargetResult| matches!(result.outcome, Outcome::Unreachable | Outcome::TimedOut);
        if ledger.results().iter().any(is_away) {
            // Doubled each time, so that nodes which stay away cost ever fewer attempts.
            let pause = interval.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
            self.failures = self.failures.saturating_add(1);
            self.due = now + pause;
        } else {
            (self.failures, self.due) = (0, now);
        }
    }
}

/// One round of one node. It holds a fork only while it is not late: a node that hangs must not keep others from theirs.
async fn read(
    index: usize,
    mut pool: Box<WorkerPool<NodeTransport>>,
    head: RunHead,
    asked: Arc<OnceLock<Instant>>,
    (forks, has_room): (Arc<Semaphore>, bool),
) -> (usize, Box<WorkerPool<NodeTransport>>, Ledger) {
    // `acquire_owned` fails only on a closed semaphore; without a permit the round simply runs.
    let fork = forks.acquire_owned().await;
    // Set once: the instant at which the node had its turn.
    let _first = asked.set(Instant::now());
    let mut ledger = Ledger::default();
    // Ending the view ends the runtime, so a round needs no signal.
    let (_silent, mut signals) = mpsc::channel(1);
    {
        let mut observe = |events: &[RunEvent]| {
            events.iter().for_each(|event| apply(&mut ledger, event));
            JournalAck::Yes
        };
        let mut round = run_round(&mut pool, head, &mut signals, &mut observe);
        tokio::select! {
            _ = &mut round => {}
            // Giving the fork back needs open files beyond the limit that the forks were counted for.
            () = sleep(LATE), if has_room => {
                drop(fork);
                round.await;
            }
        }
    }
    (index, pool, ledger)
}

fn apply(ledger: &mut Ledger, event: &RunEvent) {
    if let Err(error) = ledger.apply(event) {
        tracing::error!(%error, "an event that does not fit");
    }
}
