//! The lock and the guard of one node: taken before the first change, taken again after a lost connection, let go in the end.
//!
//! Here live [`LockPolicy`] and [`NodeLock`]. It uses the context of the node and `guard`. Invariants: lock and
//! guard are one channel, so a run that has the lock also has a guard on the node that starts stopped services; a run of
//! one command has that command behind the channel instead, and its lock ends with it; a lock of another run is never
//! broken. Start reading at [`NodeLock::take`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::turn::{self, NodeTurn, NodeTurns};
use crate::action::rehearsal;
use crate::engine::message::{WorkItem, WorkItemEnd};
use crate::node::context::{NodeContext, within};
use crate::node::signals::wait_until_set;
use ctl_event::{ActivityPhase, Failure, FailureKind, Outcome, PhaseKind, Stage};
use ctl_guard::{Guard, LockHolder, Rescue, StagedCommand, TakeError};
use ctl_plan::Plan;
use ctl_remote::Sudo;
use ctl_transport::{Transport, TransportError};

/// The guard of a controller that is gone ends after this time at the latest: it notices within 20 s, starts again what
/// it has to for 120 s, and looks a last time.
const OLD_GUARD: Duration = Duration::from_secs(160);

/// The run that changes the nodes, and how they are kept from other runs.
#[derive(Debug)]
pub struct LockPolicy {
    /// Whether nodes are locked and guarded: they are if they are changed.
    is_wanted: bool,
    /// Whether a node that cannot offer it is changed without.
    is_optional: bool,
    /// Shown to others who meet the lock.
    owner: LockHolder,
    /// Until when locks are waited for.
    waits_until: Instant,
    started: Instant,
}

impl LockPolicy {
    /// For a run of `owner`. Locks that others hold are waited for up to `lock_wait`. `is_optional`: a node that has no
    /// shell or no flock is changed anyway.
    #[must_use]
    pub fn new(owner: LockHolder, lock_wait: Duration, is_optional: bool, plan: &Plan) -> Self {
        let started = Instant::now();
        Self { is_wanted: plan.changes(), is_optional, owner, waits_until: started + lock_wait, started }
    }
}

/// What holds the lock of a node.
enum TakenLock {
    Guard(Guard),
    Command(StagedCommand),
}

/// The lock of one node, as far as this run has it.
pub(crate) struct NodeLock {
    policy: Arc<LockPolicy>,
    guard: Option<Guard>,
    /// Whether the node only helps with others, so that other runs may share the lock.
    only_helps: bool,
    /// Held by the one that is inside the node: of this run's items and renewals there, one goes in at a time.
    inside: Arc<Mutex<()>>,
    /// The turn at the node, while its services are changed for another one.
    turn: Option<NodeTurn>,
    /// The lock of a run that has nothing to do on the node but one command.
    staged: Option<StagedCommand>,
    /// Whether the node could not be locked at the last attempt.
    is_unlockable: bool,
}

impl NodeLock {
    /// Not taken yet. `only_helps`: other runs may use the node in the same way meanwhile.
    pub(crate) fn new(policy: Arc<LockPolicy>, only_helps: bool) -> Self {
        let inside = Arc::default();
        Self { policy, guard: None, only_helps, inside, turn: None, staged: None, is_unlockable: false }
    }

    /// The guard; none where the operator does without, and before it is taken.
    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// Whether the guard lives.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_alive) || self.staged.as_ref().is_some_and(StagedCommand::is_alive)
    }

    /// The run's only command, if the lock was taken together with it.
    pub(crate) fn take_staged(&mut self) -> Option<StagedCommand> {
        self.staged.take().filter(StagedCommand::is_alive)
    }

    /// Whether the operator does without a guard where it would not work.
    pub(crate) fn is_optional(&self) -> bool {
        self.policy.is_optional
    }

    /// The way into the node for work that is for another one.
    pub(crate) fn turns(&self) -> NodeTurns {
        NodeTurns { inside: Arc::clone(&self.inside), door: self.guard.as_ref().map(Guard::door) }
    }

    /// Goes into the node, and stays there until [`leave`](Self::leave), whatever becomes of the connection.
    pub(crate) async fn enter(&mut self) -> Result<(), Failure> {
        self.turn = Some(self.turns().enter(turn::PATIENCE).await?);
        Ok(())
    }

    /// Leaves the node again.
    pub(crate) async fn leave(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.leave().await;
        }
    }

    /// Drops the guard without disarming it. The end of its channel makes it start the services that it is armed for.
    pub(crate) fn leave_to_guard(&mut self) {
        self.guard = None;
    }

    /// Takes the guard of the node, and with it its lock, within the time for the node.
    pub(crate) async fn take<T: Transport>(
        &mut self,
        node: &NodeContext<T>,
        item: WorkItem,
    ) -> Result<(), WorkItemEnd> {
        let taken = self.try_take(node, item).await;
        // Remembered for the rehearsal, which has no guard to try anything with on such a node.
        self.is_unlockable = matches!(taken, Err(WorkItemEnd::Lost(Outcome::Failed, _)));
        taken
    }

    async fn try_take<T: Transport>(&mut self, node: &NodeContext<T>, item: WorkItem) -> Result<(), WorkItemEnd> {
        // A guard that lives still has the lock: taking it again would meet our own.
        if self.is_guarded() || !self.policy.is_wanted {
            return Ok(());
        }
        let connect =
            async || node.connection.session().await.map_err(|error| WorkItemEnd::of_failure(error.failure()));
        let session = connect().await?;
        node.show(item, within("taking the lock", node.access.timeout)).await;
        let deadline = Instant::now() + node.access.timeout;
        let mut taken = self.ask(node, &session, deadline).await;
        if let Err(TakeError::Transport(TransportError::Lost { reason })) = &taken {
            // Nothing was changed over the first connection, so a second one is all that this costs. A guard that did
            // start on the node ends with the first connection, and the deadline covers both attempts.
            debug!(reason, "the connection dropped while taking the lock; reconnecting");
            node.connection.hang_up().await;
            let session = connect().await?;
            taken = self.ask(node, &session, deadline).await;
        }
        match taken {
            Ok(TakenLock::Guard(guard)) => {
                self.guard = Some(guard);
                // The turn has ended with the guard before.
                if self.turn.take().is_some() {
                    self.enter().await.map_err(WorkItemEnd::of_failure)?;
                }
                Ok(())
            }
            Ok(TakenLock::Command(staged)) => {
                self.staged = Some(staged);
                Ok(())
            }
            Err(TakeError::Held(holder)) => {
                let end = self.held(node, holder);
                // Only a lock that is waited for is shown as a phase; any other ends the attempt.
                if let (WorkItemEnd::Held(failure, true), WorkItem::Lock(_)) = (&end, item) {
                    node.show(item, self.wait_phase(node, failure)).await;
                }
                Err(end)
            }
            // With --no-guard a node without shell or flock is changed anyway. Any other error, a lock of another run
            // included, still stops us.
            Err(error) if self.policy.is_optional && error.is_of_the_node() => {
                debug!(%error, "continuing without a guard");
                Ok(())
            }
            // `Failed` makes the dispatcher refuse changes only: a node that cannot be locked can still be read.
            Err(TakeError::Sudo(error)) => Err(WorkItemEnd::Lost(Outcome::Failed, error.failure(Stage::Inspect))),
            Err(error) => Err(WorkItemEnd::of_failure(error.failure())),
        }
    }

    async fn ask<T: Transport>(
        &self,
        node: &NodeContext<T>,
        session: &Arc<T::Session>,
        deadline: Instant,
    ) -> Result<TakenLock, TakeError> {
        let taken = async {
            // Through sudo a command runs as another user than the guard; that case is rare, and goes its own way.
            if let (Some((task, command)), Sudo::No) =
                (node.results.plan.sole_command(node.results.index), &node.access.sudo)
            {
                let time = task.timeout.unwrap_or(node.access.timeout);
                if let Some(staged) = StagedCommand::take(session, &self.policy.owner, command, time).await? {
                    return Ok(TakenLock::Command(staged));
                }
            }
            let owner = LockHolder { is_helped: self.only_helps, ..self.policy.owner.clone() };
            Guard::take(session.as_ref(), &owner, &node.access.sudo).await.map(TakenLock::Guard)
        };
        timeout_at(deadline, taken).await.unwrap_or(Err(TakeError::Silent(node.access.timeout)))
    }

    /// The end of an attempt that met the lock of another run.
    fn held<T: Transport>(&self, node: &NodeContext<T>, holder: LockHolder) -> WorkItemEnd {
        // The guard of a dead controller of this very run ends by itself, so its lock is waited for without --lock-wait.
        let ends_soon = holder.run == self.policy.owner.run && self.policy.started.elapsed() < OLD_GUARD;
        let again = ends_soon || self.policy.waits_until > Instant::now();
        let failure = TakeError::Held(holder).failure();
        WorkItemEnd::Held(Failure { message: format!("{} is {}", node.name(), failure.message), ..failure }, again)
    }

    /// Shown while another run has the node.
    fn wait_phase<T: Transport>(&self, node: &NodeContext<T>, failure: &Failure) -> ActivityPhase {
        let why = failure.message.strip_prefix(&format!("{} is ", node.name())).unwrap_or(&failure.message);
        let (waited, wait) = (self.policy.started.elapsed(), self.policy.waits_until - self.policy.started);
        ActivityPhase::wait(PhaseKind::Lock, why).within(waited, if waited < wait { wait } else { OLD_GUARD })
    }

    /// Connects to a node that a batch changes, and takes its lock. A signal ends that: nothing was changed yet.
    pub(crate) async fn make_ready<T: Transport>(
        &mut self,
        node: &NodeContext<T>,
        item: WorkItem,
    ) -> Result<(), WorkItemEnd> {
        let mut stop_waiting = node.signals.stop_waiting.clone();
        let ready = async {
            node.connect(item).await?;
            self.take(node, item).await
        };
        let ended = tokio::select! {
            // A node that is ready is worked on, whichever came first: the dispatcher has recorded its start already.
            biased;
            ready = ready => ready,
            () = wait_until_set(&mut stop_waiting) => {
                let failure = Failure::new(Stage::Plan, FailureKind::Interrupted, "not started: the run was interrupted");
                Err(WorkItemEnd::Lost(Outcome::NotStarted, failure))
            }
        };
        // Another run may have got the node while our connection was lost.
        ended.map_err(not_started)
    }

    /// The run that has the lock.
    pub(crate) fn owner(&self) -> &LockHolder {
        &self.policy.owner
    }

    /// Connects to a node that is in the middle of its sequence, and takes its lock, if either was lost. No signal ends
    /// that: the sequence goes on to its end.
    pub(crate) async fn keep_ready<T: Transport>(
        &mut self,
        node: &NodeContext<T>,
        item: WorkItem,
    ) -> Result<(), WorkItemEnd> {
        node.connect(item).await?;
        self.take(node, item).await.map_err(not_started)
    }

    /// Connects to the node again and takes its lock, after both were lost.
    pub(crate) async fn retake<T: Transport>(
        &mut self,
        node: &NodeContext<T>,
        item: WorkItem,
    ) -> Result<(), WorkItemEnd> {
        debug!("the connection dropped before everything was started; reconnecting");
        // We do not check whether the guard lives: it may not have noticed the loss yet. If it does, closing its
        // channel makes it start the services that it is armed for and release the lock, and only then can the next
        // lock be had.
        self.guard = None;
        self.take(node, item).await.map_err(not_started)
    }

    /// Lets the guard try the commands that it may have to run. A node that could not be locked is only read; the
    /// dispatcher has the reason.
    pub(crate) async fn rehearse<T: Transport>(
        &mut self,
        node: &NodeContext<T>,
        rescues: &[Rescue],
    ) -> Result<(), WorkItemEnd> {
        if self.policy.is_optional || self.is_unlockable {
            return Ok(());
        }
        // A guard ends with its connection, so the rehearsal may need a new one.
        self.take(node, WorkItem::Inspect(node.results.index)).await?;
        let Some(guard) = &self.guard else { return Ok(()) };
        let Err(failure) = rehearsal::rehearse(guard, rescues, Stage::Inspect).await else {
            return Ok(());
        };
        if failure.kind == FailureKind::ConnectionLost {
            // A guard whose channel is gone can do nothing more; the next attempt takes another one.
            self.guard = None;
        }
        let is_lost = matches!(failure.kind, FailureKind::ConnectionLost | FailureKind::TimedOut);
        // A node that does not answer is lost; any other refusal concerns changes only, and the node can still be read.
        Err(if is_lost { WorkItemEnd::of_failure(failure) } else { WorkItemEnd::Lost(Outcome::Failed, failure) })
    }

    /// Releases the lock.
    pub(crate) async fn release<T: Transport>(&mut self, node: &NodeContext<T>) {
        let (guard, staged) = (self.guard.take(), self.staged.take());
        if guard.is_none() && staged.is_none() {
            return;
        }
        let release = async {
            if let Some(guard) = guard {
                guard.release().await;
            }
            if let Some(staged) = staged {
                staged.release().await;
            }
        };
        tokio::select! {
            () = release => {}
            // A guard that hears nothing ends by itself, so a node that hangs does not hold up the end of the run.
            () = node.connection.falls_silent() => debug!("the node hangs: not waiting for its guard to exit"),
        }
    }
}

/// A node that another run has got is not started.
fn not_started(end: WorkItemEnd) -> WorkItemEnd {
    if let WorkItemEnd::Held(failure, _) = end { WorkItemEnd::Lost(Outcome::NotStarted, failure) } else { end }
}
