//! Changes the services of a node: start, stop, restart and update, with the evidence where one ends badly.
//!
//! Invariants: nothing is stopped before the guard is armed to start it again; a stopped service is started,
//! however the work ends; processes of a group are restarted one after the other. Start reading at [`change`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::action::batch::{self, BatchEnd, Chain};
use crate::action::init_service::InitTarget;
use crate::action::job::NodeJob;
use crate::action::obligations::{JobTable, Obligation, TargetContext};
use crate::action::process::ProcessAction;
use crate::action::process_target::ProcessTarget;
use crate::action::recovery::{self, EarlyExitCause, PAYING};
use crate::action::update;
use crate::engine::message::{NodeBatch, TargetKey, WorkItem, WorkItemEnd};
use crate::gate;
use crate::gate::stable::CUT;
use crate::node::connection::LiveInstance;
use crate::node::context::{NodeContext, within};
use crate::node::discovery::DiscoveryCache;
use crate::node::evidence;
use crate::node::lock::NodeLock;
use crate::node::signals::wait_until_set;
use crate::verdict::InitVerdict;
use ctl_event::{ActivityPhase, Outcome, ProcessState, TargetResult, TargetState};
use ctl_plan::policy::ServiceGate;
use ctl_plan::{Action, NodeRecheck};
use ctl_select::ServicePattern;
use ctl_supervisor::ProcessInfo;
use ctl_transport::Transport;

/// Groups of one node that are changed at once; each takes a channel of its own.
const GROUPS_AT_ONCE: usize = 8;

/// Does the work of a batch that changes services.
pub(crate) async fn change<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    discovery: &mut DiscoveryCache<T>,
    lock: &mut NodeLock,
) -> WorkItemEnd {
    let mut give_up = node.signals.give_up.clone();
    let table = JobTable::default();
    let ended = tokio::select! {
        ended = change_in_time(node, node_batch, discovery, lock, &table) => ended,
        () = wait_until_set(&mut give_up) => BatchEnd::Early(EarlyExitCause::GivenUp),
    };
    let end = batch::finish(node, node_batch, &table, lock.is_guarded(), ended).await;
    if table.is_armed() {
        // The guard does the rest: the end of its channel makes it start the service. A lock that is
        // let go here is taken anew by the next batch on this node.
        lock.leave_to_guard();
    }
    end
}

async fn change_in_time<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    discovery: &mut DiscoveryCache<T>,
    lock: &mut NodeLock,
    table: &JobTable<T>,
) -> BatchEnd {
    let item = WorkItem::Batch(node_batch);
    if let Err(end) = lock.make_ready(node, item).await {
        return BatchEnd::Lost(end);
    }
    let task = node.results.task(node_batch);
    let gates = task.map(|task| task.policy.service_gates(node_batch.batched)).unwrap_or_default();
    let time = node.timeout(node_batch) + gates.iter().map(ServiceGate::time_in_action).sum::<Duration>();
    // Only from here on: connecting and locking have times of their own.
    let deadline = Instant::now() + time;
    let work = async {
        let found = discovery.get(node, node_batch).await;
        if let Some(failure) = found.connection_lost() {
            return BatchEnd::Lost(WorkItemEnd::of_failure(failure.clone()));
        }
        let (jobs, results) = batch::open(node, node_batch, &found, table).await;
        let work = ServiceChange { node, node_batch, table, gates: &gates, lock: &*lock };
        // Results that are known already do not wait for the work.
        tokio::join!(node.send_results(item, results), work.do_all(&jobs));
        let again = table.take_put_off();
        if again.is_empty() {
            return BatchEnd::Done;
        }
        // The connection was lost before anything was sent for these, so doing them now does nothing twice. A job is put
        // off at most once: a node that loses each connection does not keep us here.
        match lock.retake(node, item).await {
            Ok(()) => ServiceChange { node, node_batch, table, gates: &gates, lock: &*lock }.do_all(&again).await,
            Err(end) => report_lost(node, node_batch, table, &again, &end).await,
        }
        BatchEnd::Done
    };
    timeout_at(deadline, work).await.unwrap_or(BatchEnd::Early(EarlyExitCause::TimedOut))
}

/// Sends a result for each job that was not started because the node was lost.
async fn report_lost<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    table: &JobTable<T>,
    jobs: &[Arc<NodeJob<T>>],
    end: &WorkItemEnd,
) {
    let WorkItemEnd::Lost(outcome, failure) = end else { return };
    for job in jobs {
        let result = job.result(&node.results, node_batch, *outcome);
        batch::report(node, node_batch, table, TargetResult { failure: Some(failure.clone()), ..result }).await;
        table.mark_reported(&job.key());
    }
}

/// The work of one batch on the services of one node.
struct ServiceChange<'a, T: Transport> {
    node: &'a NodeContext<T>,
    node_batch: NodeBatch,
    table: &'a JobTable<T>,
    gates: &'a [ServiceGate],
    lock: &'a NodeLock,
}

/// Results of a job, and of which of them a process may have left evidence: the index of the result, and the process.
struct JobEnd<'a, T: Transport> {
    results: Vec<TargetResult>,
    suspects: Vec<(usize, &'a Arc<LiveInstance<T>>, ProcessInfo)>,
}

impl<'a, T: Transport> ServiceChange<'a, T> {
    fn action(&self) -> Action {
        self.node.results.action(self.node_batch)
    }

    fn item(&self) -> WorkItem {
        WorkItem::Batch(self.node_batch)
    }

    fn stable_time(&self) -> Duration {
        gate::stable_time(self.gates)
    }

    async fn do_all(&self, jobs: &[Arc<NodeJob<T>>]) {
        let (first, rest) = batch::chains(jobs, true);
        // The stop of such a program restarts its whole instance, so nothing else may be under way on it.
        for chain in first {
            self.do_chain(chain).await;
        }
        stream::iter(rest).for_each_concurrent(GROUPS_AT_ONCE, |chain| self.do_chain(chain)).await;
    }

    async fn do_chain(&self, chain: Chain<'_, T>) {
        let mut down: Option<String> = None;
        for (place, job) in chain.iter().enumerate() {
            if let Some(first) = &down
                && self.action() == Action::Restart
                && !self.is_recheck(&job.key())
            {
                // The service is degraded already: stopping its next process could take it down altogether.
                if let NodeJob::Process { instance, process } = job.as_ref() {
                    let result = self.node.results.sibling_skipped(self.node_batch, instance, process, first);
                    batch::report(self.node, self.node_batch, self.table, result).await;
                }
                continue;
            }
            let Some(results) = self.do_job(job).await else {
                // What comes after it in the chain waits with it, so that the order holds over the next connection too.
                return self.table.put_off(chain.iter().skip(place).copied());
            };
            for result in results {
                if result.outcome.is_bad() {
                    down.clone_from(&result.service);
                }
                batch::report(self.node, self.node_batch, self.table, result).await;
            }
            self.table.mark_reported(&job.key());
        }
    }

    /// Does one job. None: nothing was sent for it, and it has to be done once more, over another connection.
    async fn do_job(&self, job: &NodeJob<T>) -> Option<Vec<TargetResult>> {
        let started = Instant::now();
        let key = job.key();
        let name = key.service.as_deref().unwrap_or("the configuration");
        let time = self.node.timeout(self.node_batch);
        let doing = if self.is_recheck(&key) { "checking" } else { doing(self.action()) };
        self.node.show(self.item(), within(format!("{doing} {name}"), time)).await;
        let context = TargetContext {
            node: self.node,
            table: self.table,
            key: key.clone(),
            node_batch: self.node_batch,
            guard: self.lock.guard(),
            guard_is_optional: self.lock.is_optional(),
            time: (started, time),
        };
        let JobEnd { mut results, mut suspects } = match job {
            NodeJob::Process { instance, process } => self.act_on_process(instance, process, &context).await,
            NodeJob::Init { role, service, is_instance, named } => {
                let verdict = self.act_on_init(service, *is_instance, &context).await;
                let result = self.node.results.of_init(self.node_batch, role, service, *is_instance, *named, verdict);
                JobEnd { results: vec![result], suspects: Vec::new() }
            }
            NodeJob::Update { instances, .. } => self.update(instances, &context).await,
        };
        if self.table.is_to_be_repeated(&key, &results) {
            return None;
        }
        let took = u64::try_from(started.elapsed().as_millis()).ok();
        for result in &mut results {
            result.duration_ms = took;
        }
        // Only a target that ended badly has evidence worth reading.
        suspects.retain(|(place, ..)| results.get(*place).is_some_and(evidence::is_called_for));
        if !suspects.is_empty() {
            // The outcome is certain here. Should the time for the node end while the evidence is read, these results
            // stand, and none of them becomes `unknown`.
            self.table.finalize(&key, results.clone());
            self.node.show(self.item(), ActivityPhase::work("finding out why it is not up")).await;
            let gathered = suspects.iter().map(|(_, instance, process)| evidence::gather(instance.as_ref(), process));
            let gathered = join_all(gathered).await;
            for ((place, ..), evidence) in suspects.iter().zip(gathered) {
                if let Some(result) = results.get_mut(*place) {
                    result.evidence = evidence;
                }
            }
        }
        Some(results)
    }

    async fn act_on_process<'job>(
        &self,
        instance: &'job Arc<LiveInstance<T>>,
        process: &ProcessInfo,
        context: &TargetContext<'_, T>,
    ) -> JobEnd<'job, T> {
        let before = self.state_before(&context.key);
        let target = ProcessTarget { instance, listed: process, context };
        let work = ProcessAction { target, stable: self.stable_time(), before };
        let action = self.action();
        let mut verdict = match action {
            _ if self.is_recheck(&context.key) => work.recheck(action).await,
            Action::Start => work.start().await,
            Action::Stop => work.stop().await,
            Action::Restart => work.restart().await,
            Action::Status
            | Action::Update
            | Action::Ping
            | Action::Exec
            | Action::Copy
            | Action::Sequence
            | Action::Wait
            | Action::Logs => {
                // No batch of these acts on a process, and if one did, reading changes nothing.
                let result = self.node.results.read(self.node_batch, instance, process);
                return JobEnd { results: vec![result], suspects: Vec::new() };
            }
        };
        verdict.was_begun(before);
        // However the work ended: a service that this run has stopped is
        // started, if that is still possible. The guard stays armed meanwhile.
        if self.table.entry(&context.key).obligation == Obligation::MustStart && verdict.leaves_it_down() {
            let mut seen = None;
            let fulfil = recovery::fulfil(instance, process, Obligation::MustStart, PAYING, &mut seen);
            let paid = timeout(PAYING, fulfil).await.unwrap_or(false);
            verdict.was_mended(seen, paid);
        }
        let has_ended = verdict.process.as_ref().is_some_and(|process| process.state == ProcessState::Exited);
        if has_ended && action != Action::Stop && matches!(verdict.outcome, Outcome::Changed | Outcome::Ok) {
            // It was made to end and has: it meets no gate.
            let result = self.node.results.acted_on(self.node_batch, instance, process, verdict);
            return JobEnd { results: vec![result.ended_well()], suspects: Vec::new() };
        }
        let mut functional = None;
        // A stopped service has no gate to meet, and one that failed already has its reason.
        if action != Action::Stop && !verdict.outcome.is_bad() {
            let end = gate::wait_at_service_gates(instance, process, self.gates, context).await;
            functional = end.functional;
            if end.is_cut && verdict.message.is_empty() {
                CUT.clone_into(&mut verdict.message);
            }
            if let Some(failure) = end.failure {
                verdict.outcome = Outcome::Failed;
                verdict.failure = Some(failure);
            }
        }
        let mut result = self.node.results.acted_on(self.node_batch, instance, process, verdict);
        result.functional = functional;
        let suspects = if action == Action::Stop { Vec::new() } else { vec![(0, instance, process.clone())] };
        JobEnd { results: vec![result], suspects }
    }

    async fn act_on_init(
        &self,
        service: &str,
        is_instance: bool,
        context: &TargetContext<'_, T>,
    ) -> Option<InitVerdict> {
        let target = InitTarget { link: &self.node.connection, name: service, stable: self.stable_time(), is_instance };
        match self.state_before(&context.key) {
            before if self.is_recheck(&context.key) => target.recheck(self.action(), before, context).await,
            Some(before) if self.action() == Action::Restart => target.resume_restart(before, context).await,
            _ => target.act(self.action(), Some(context)).await,
        }
    }

    async fn update<'job>(
        &self,
        instances: &'job [Arc<LiveInstance<T>>],
        context: &TargetContext<'_, T>,
    ) -> JobEnd<'job, T> {
        let services = self.node.results.services(self.node_batch);
        let (mut results, mut suspects) = (Vec::new(), Vec::new());
        for instance in instances {
            let verdicts = if self.is_recheck(&context.key) {
                update::recheck(instance, services, self.gates, context).await
            } else {
                update::update(instance, services, self.gates, context).await
            };
            for (group, verdict) in verdicts {
                suspects.extend(verdict.process.clone().map(|process| (results.len(), instance, process)));
                results.push(self.node.results.updated(self.node_batch, instance, group, verdict));
            }
        }
        let concerns = |service: &ServicePattern, result: &TargetResult| {
            result.service.as_deref().is_some_and(|name| name == service.as_str() || service.matches_group(name))
        };
        // A group that the earlier part of the run removed is nowhere now.
        let earlier = self.rechecked().map(|recheck| recheck.results.as_slice()).unwrap_or_default();
        let listed = results.len();
        for gone in earlier.iter().filter(|own| !own.outcome.is_bad()) {
            if !results.iter().take(listed).any(|result| result.service == gone.service) {
                results.push(TargetResult { batch: Some(self.node_batch.batch), ..gone.clone() });
            }
        }
        for service in services {
            if !results.iter().any(|result| concerns(service, result)) {
                results.push(self.node.results.not_in_any_configuration(self.node_batch, service));
            }
        }
        JobEnd { results, suspects }
    }

    /// The state of a target before a controller that is gone started to work on it.
    fn state_before(&self, key: &TargetKey) -> Option<&'a TargetState> {
        let results = &self.node.results;
        let task = results.task(self.node_batch)?;
        let in_flight = || task.in_flight.get(&results.plan.nodes.get(results.index)?.node.name);
        let states = self.rechecked().map(|recheck| &recheck.before).or_else(in_flight)?;
        states
            .iter()
            .find(|state| state.role == key.role && state.supervisor == key.supervisor && state.service == key.service)
    }

    fn rechecked(&self) -> Option<&'a NodeRecheck> {
        let results = &self.node.results;
        results.task(self.node_batch)?.rechecks.get(&(self.node_batch.step, results.index))
    }

    /// Whether a target is only read: what an earlier part of the run did on it has ended.
    fn is_recheck(&self, key: &TargetKey) -> bool {
        let result = |recheck: &NodeRecheck| {
            recheck.result(key.role.as_deref(), key.supervisor.as_deref(), key.service.as_deref()).is_some()
        };
        self.rechecked().is_some_and(|recheck| !recheck.acts || result(recheck))
    }
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Update => "updating",
        Action::Status
        | Action::Ping
        | Action::Exec
        | Action::Copy
        | Action::Sequence
        | Action::Wait
        | Action::Logs => "reading",
    }
}
