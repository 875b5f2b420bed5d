//! One item of a node's sequence, done by the worker of the node.
//!
//! Here lives [`act`]; `command.rs` runs the commands of items, on the node or on the controller (`local.rs`), with what
//! `environment.rs` gives them; `scope.rs` arms the guard with an item's undo, `undo.rs` runs it,
//! and `renewal.rs` renews leases. An item that changes services is a batch of its own on this node (`action/change.rs`).
//! Invariants: the node is locked while an item runs; a command runs once, a check until it exits 0; the dispatcher has
//! recorded the start of an item before it comes here. Start reading at [`act`].

mod command;
mod environment;
mod local;
mod renewal;
mod scope;
mod undo;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::command::ItemCommand;
use self::renewal::LeaseRenewal;
pub(crate) use self::scope::RunScopes;
use crate::action::{change, exec};
use crate::engine::message::{ItemVisit, NodeBatch, TargetKey, WorkItem, WorkItemEnd, WorkerUpdate};
use crate::engine::sequence::ItemPart;
use crate::node::context::{ItemReporter, NodeContext, within};
use crate::node::discovery::DiscoveryCache;
use crate::node::lock::NodeLock;
use crate::node::signals::wait_until_set;
use crate::results::{self, ResultBuilder};
use ctl_event::{ActivityPhase, CommandRun, Failure, FailureKind, Outcome, PhaseKind, Stage, TargetResult};
use ctl_plan::{ItemPlace, ItemWork, Plan, SequenceItem};
use ctl_transport::Transport;

/// Makes a node ready for its sequence: connected to, and locked.
pub(crate) async fn prepare<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    lock: &mut NodeLock,
) -> WorkItemEnd {
    let item = WorkItem::Batch(node_batch);
    // Items on other machines alone are taken back although the node may be gone.
    if !node.results.plan.is_needed(node_batch.node) {
        return WorkItemEnd::Done;
    }
    let Err(end) = lock.make_ready(node, item).await else { return WorkItemEnd::Done };
    if let WorkItemEnd::Lost(outcome, failure) = &end {
        node.send_results(item, node.results.as_requested(node_batch, *outcome, failure)).await;
    }
    end
}

/// Does an item. What it sends no result for, the dispatcher has one for.
pub(crate) async fn act<T: Transport>(
    node: &NodeContext<T>,
    visit: ItemVisit,
    lock: &mut NodeLock,
    scopes: &RunScopes,
) -> WorkItemEnd {
    let plan = Arc::clone(&node.results.plan);
    let task = plan.task_of(visit.visit.step);
    let sequence = task.and_then(|task| task.work.sequence());
    let Some(own) = sequence.and_then(|sequence| sequence.items().get(visit.item)) else { return WorkItemEnd::Broken };
    match visit.part {
        ItemPart::Run => {}
        ItemPart::Undo => return undo::undo(node, visit, own, lock, scopes).await,
        ItemPart::Keep => {
            scopes.disarm(visit, lock).await;
            return WorkItemEnd::Done;
        }
    }
    // A connection that was lost between two items took the lock with it. A sequence that has started goes on after a
    // first signal, so that one does not end this.
    if let Err(end) = lock.keep_ready(node, WorkItem::Item(visit)).await {
        return named(end, own);
    }
    if let Err(failure) = open(node, visit, own, lock, scopes).await {
        let result = results::of_item(&plan, visit, Outcome::NotStarted);
        node.send_results(WorkItem::Item(visit), [TargetResult { failure: Some(failure), ..result }]).await;
        return WorkItemEnd::Done;
    }
    let work = ItemRun { node, visit, own, lock: &*lock, plan: &plan };
    match &own.work {
        ItemWork::Exec { command } => {
            if work.exec(command).await
                && let Some(interval) = own.renew
            {
                let renewal = LeaseRenewal::start(work.command(command), interval);
                scopes.renew(visit, &own.name, renewal);
            }
        }
        ItemWork::Check { command, until, interval } => work.check(command, *until, *interval).await,
        ItemWork::Wait(time) => work.wait(*time).await,
        ItemWork::Service { .. } if own.place.helper().is_some() => {
            node.show(WorkItem::Item(visit), ActivityPhase::work(work.shown())).await;
            return named(services_of_helper(node, visit, lock, &plan).await, own);
        }
        ItemWork::Service { .. } => return services(node, visit, lock, &plan).await,
    }
    WorkItemEnd::Done
}

/// The end of an item that could not run: on a helper it says where.
fn named(end: WorkItemEnd, item: &SequenceItem) -> WorkItemEnd {
    match (end, item.place.helper()) {
        (WorkItemEnd::Lost(outcome, failure), Some(helper)) if !failure.message.starts_with(helper) => {
            WorkItemEnd::Lost(outcome, Failure { message: format!("{helper}: {}", failure.message), ..failure })
        }
        (end, _) => end,
    }
}

/// Before an item runs: what it stands behind still holds, and its own scope is armed. An error keeps it from running.
async fn open<T: Transport>(
    node: &NodeContext<T>,
    visit: ItemVisit,
    own: &SequenceItem,
    lock: &NodeLock,
    scopes: &RunScopes,
) -> Result<(), Failure> {
    if let Some(why) = scopes.lost(visit.visit) {
        return Err(Failure::new(Stage::Act, FailureKind::ConnectionLost, format!("not started: {why}")));
    }
    if let Some((name, said)) = scopes.lapsing(visit.visit) {
        let message = format!("not started: {name} could not be renewed: {said}");
        return Err(Failure::new(Stage::Act, FailureKind::Command, message));
    }
    let Some(undo) = own.undo.as_ref().filter(|undo| undo.ends.lost && own.place != ItemPlace::Controller) else {
        // On the controller the journal alone knows of the scope.
        return Ok(());
    };
    scopes.arm(visit, own, &ItemCommand::of(node, visit, own, &undo.command, lock), lock).await
}

/// An item that is running.
struct ItemRun<'a, T: Transport> {
    node: &'a NodeContext<T>,
    visit: ItemVisit,
    own: &'a SequenceItem,
    lock: &'a NodeLock,
    plan: &'a Plan,
}

impl<T: Transport> ItemRun<'_, T> {
    fn item(&self) -> WorkItem {
        WorkItem::Item(self.visit)
    }

    fn result(&self, outcome: Outcome) -> TargetResult {
        results::of_item(self.plan, self.visit, outcome)
    }

    /// Time for one run of its command.
    fn time(&self) -> Duration {
        self.own.timeout.unwrap_or(self.node.timeout(self.visit.visit))
    }

    async fn send(&self, began: Instant, mut result: TargetResult) {
        result.duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
        self.node.send_results(self.item(), [result]).await;
    }

    /// From here on it may have changed something.
    async fn begin(&self) {
        let key = TargetKey::of(&self.result(Outcome::Ok));
        self.node.send(self.item(), WorkerUpdate::Begun(key)).await;
    }

    /// Its description while it runs.
    fn shown(&self) -> String {
        let on = self.own.place.helper().map(|helper| format!(" on {helper}")).unwrap_or_default();
        format!("{}{on}", self.own.name)
    }

    fn command(&self, text: &str) -> ItemCommand<T> {
        ItemCommand::of(self.node, self.visit, self.own, text, self.lock)
    }

    /// Runs a command. Whether it succeeded.
    async fn exec(&self, text: &str) -> bool {
        let began = Instant::now();
        self.begin().await;
        self.node.show(self.item(), within(self.shown(), self.time())).await;
        let mut give_up = self.node.signals.give_up.clone();
        let command = self.command(text);
        let ended = command.run(wait_until_set(&mut give_up)).await;
        let mut result = self.result(Outcome::Changed);
        match ended {
            Ok(ended) => result = exec::judged(result, ended, &command.access),
            Err(failure) => {
                // It did not run: it did not get its turn at its helper, or there is no shell on the controller.
                let is_locked = matches!(failure.kind, FailureKind::Locked | FailureKind::ConnectionLost);
                result.outcome = if is_locked { Outcome::NotStarted } else { Outcome::Failed };
                result.failure = Some(failure);
            }
        }
        result.command.get_or_insert(CommandRun::NOT_STARTED);
        let is_good = !result.outcome.is_bad();
        self.send(began, result).await;
        is_good
    }

    /// Runs a check until it exits 0, its time is over, or the run gives up.
    async fn check(&self, text: &str, until: Option<Duration>, interval: Duration) {
        let began = Instant::now();
        let limit = until.unwrap_or_default();
        self.begin().await;
        self.node.show(self.item(), within(self.shown(), until.unwrap_or(self.time()))).await;
        let mut give_up = self.node.signals.give_up.clone();
        let command = self.command(text);
        let said = loop {
            let Some(said) = command.failure("check", wait_until_set(&mut give_up)).await else {
                return self.send(began, self.result(Outcome::Ok)).await;
            };
            // The last attempt may begin when the time is over, but none after it.
            if began.elapsed() >= limit || *self.node.signals.give_up.borrow() {
                break said;
            }
            let phase = ActivityPhase::wait(PhaseKind::Gate, said).within(began.elapsed(), limit);
            self.node.show(self.item(), phase).await;
            tokio::select! {
                () = sleep(interval.min(limit.saturating_sub(began.elapsed()))) => {}
                () = wait_until_set(&mut give_up) => {}
            }
        };
        let tried = until.map(|_| format!(" for {:.1} s", began.elapsed().as_secs_f64())).unwrap_or_default();
        let message = format!("{said}{}", if tried.is_empty() { tried } else { format!(" (tried{tried})") });
        let failure = Failure::new(Stage::Verify, FailureKind::Gate, message)
            .with_hint("run the check by hand; a longer `until` gives it more time");
        self.send(began, TargetResult { failure: Some(failure), ..self.result(Outcome::Failed) }).await;
    }

    async fn wait(&self, time: Duration) {
        let began = Instant::now();
        let phase = ActivityPhase::wait(PhaseKind::Pause, self.own.name.as_str()).within(Duration::ZERO, time);
        self.node.show(self.item(), phase).await;
        let mut give_up = self.node.signals.give_up.clone();
        let result = tokio::select! {
            () = sleep(time) => self.result(Outcome::Ok),
            () = wait_until_set(&mut give_up) => {
                let failure = Failure::new(Stage::Act, FailureKind::Interrupted, "the run was interrupted while it waited");
                TargetResult { failure: Some(failure), ..self.result(Outcome::Unknown) }
            }
        };
        self.send(began, result).await;
    }
}

/// Changes services of a helper, which nobody else uses meanwhile.
async fn services_of_helper<T: Transport>(
    node: &NodeContext<T>,
    visit: ItemVisit,
    lock: &mut NodeLock,
    whole: &Plan,
) -> WorkItemEnd {
    let mut give_up = node.signals.give_up.clone();
    let entered = tokio::select! {
        entered = lock.enter() => entered,
        () = wait_until_set(&mut give_up) => {
            Err(Failure::new(Stage::Plan, FailureKind::Interrupted, "not started: the run was interrupted"))
        }
    };
    if let Err(failure) = entered {
        let result = results::of_item(whole, visit, Outcome::NotStarted);
        node.send_results(WorkItem::Item(visit), [TargetResult { failure: Some(failure), ..result }]).await;
        return WorkItemEnd::Done;
    }
    let end = services(node, visit, lock, whole).await;
    lock.leave().await;
    end
}

/// Changes services as a batch does, one role after the other.
async fn services<T: Transport>(
    node: &NodeContext<T>,
    visit: ItemVisit,
    lock: &mut NodeLock,
    whole: &Plan,
) -> WorkItemEnd {
    let NodeBatch { step, batch, node: index, batched } = visit.visit;
    let helped = whole.nodes.get(index).filter(|_| visit.is_on_helper());
    let helped = helped.map(|selected| (selected.node.name.clone(), Some(selected.node.address.clone())));
    let task = whole.steps.get(step).map(|step| step.task).unwrap_or_default();
    let Some(plan) = whole.of_item(task, visit.item, index).map(Arc::new) else { return WorkItemEnd::Broken };
    let label = results::of_item(whole, visit, Outcome::Ok).item;
    let is_bad = Arc::new(AtomicBool::new(false));
    let reporter = ItemReporter { item: WorkItem::Item(visit), label, is_bad: Arc::clone(&is_bad), helped };
    // The item's plan has this node alone.
    let own = node.of_item(ResultBuilder { plan: Arc::clone(&plan), index: 0 }, reporter);
    // The items before it may have changed what the supervisords list.
    let mut discovery = DiscoveryCache::default();
    for step in plan.steps.indexed().map(|(step, _)| step) {
        let end = change::change(&own, NodeBatch { step, batch, node: 0, batched }, &mut discovery, lock).await;
        // The next role depends on the one before it.
        if end != WorkItemEnd::Done || is_bad.load(Relaxed) {
            return end;
        }
    }
    WorkItemEnd::Done
}
