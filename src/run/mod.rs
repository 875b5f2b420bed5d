//! Runs a plan: one dispatcher that decides, one task a node that works, one stream of events that leaves.
//!
//! It uses `plan`, `select`, `transport`, `supervisor` and the leaf `event`; never a sink, never the command line.
//! What always holds: every selected node ends with results, whatever is thrown at the run; nothing is started
//! after the first signal. Start at [`run`]; what is decided is in `dispatcher.rs`, what is done in `node_task.rs`.

mod dispatcher;
mod init_target;
mod job;
mod link;
mod message;
mod node_task;
mod rows;
mod salvage;
mod target;
mod update;
mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tracing::{Instrument, debug, error, info_span};

use self::dispatcher::{Dispatcher, Input, Order};
use self::message::{Visit, VisitEnd};
use self::node_task::NodeTask;
use crate::event::{CancelReason, Event, EventKind, RunHead, Via};
use crate::plan::Plan;
use crate::transport::{Endpoint, Transport};

/// How one selected node is worked on.
#[derive(Debug, Clone)]
pub struct NodeAccess {
    /// How to connect.
    pub endpoint: Endpoint,
    /// Whether commands go through sudo.
    pub sudo: bool,
    /// The way to its supervisords that the inventory names; none is `auto`.
    pub via: Option<Via>,
    /// Time for the action, from the moment the session is there.
    pub timeout: Duration,
}

/// News of node tasks that wait to be handled; past this a task waits.
const NEWS_LIMIT: usize = 1024;

/// Runs `plan` to its end, with at most `forks` nodes worked on at once. `access` has one entry for each selected
/// node. Each event is given to `observe` before anything that follows from it is done. Returns the reason for
/// which the run was given up, if it was.
pub async fn run<T: Transport>(
    plan: Arc<Plan>,
    head: RunHead,
    access: Vec<NodeAccess>,
    forks: usize,
    transport: Arc<T>,
    mut signals: mpsc::Receiver<CancelReason>,
    mut observe: impl FnMut(&Event),
) -> Option<CancelReason> {
    let mut recorder = Recorder { began: Instant::now(), seq: 0, observe: &mut observe };
    let (news, mut inbox) = mpsc::channel(NEWS_LIMIT);
    let (give_up, given_up) = watch::channel(false);
    let mut tasks: Vec<Option<NodeTask<T>>> = access
        .into_iter()
        .enumerate()
        .map(|(index, access)| {
            let (plan, transport) = (Arc::clone(&plan), Arc::clone(&transport));
            Some(NodeTask::new(plan, index, access, transport, news.clone(), given_up.clone()))
        })
        .collect();
    let mut dispatcher = Dispatcher::new(&plan, forks);
    let mut working: JoinSet<(Visit, NodeTask<T>, VisitEnd)> = JoinSet::new();
    let mut visits: HashMap<Id, Visit> = HashMap::new();

    recorder.record(EventKind::RunStarted(head));
    let mut orders = VecDeque::from(dispatcher.handle(Input::Begin));
    loop {
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Record(kind) => recorder.record(kind),
                Order::Grant(visit) => match tasks.get_mut(visit.node).and_then(Option::take) {
                    Some(mut task) => {
                        let name = plan.selection.nodes.get(visit.node).map(|selected| selected.node.name.as_str());
                        let span = info_span!("node", name, batch = visit.batch);
                        let work = async move {
                            let end = Box::pin(task.visit(visit)).await;
                            (visit, task, end)
                        };
                        visits.insert(working.spawn(work.instrument(span)).id(), visit);
                    }
                    None => orders.extend(dispatcher.handle(Input::Ended(visit, VisitEnd::Broken))),
                },
                Order::GiveUp => {
                    if give_up.send(true).is_err() {
                        debug!("no task is left to give up");
                    }
                }
                Order::Abandon => working.abort_all(),
                Order::Finish => {
                    let elapsed_ms = u64::try_from(recorder.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    recorder.record(EventKind::RunFinished { elapsed_ms });
                    return dispatcher.cancel();
                }
            }
        }
        let input = tokio::select! {
            biased;
            Some(reason) = signals.recv() => Input::Signal(reason),
            Some(message) = inbox.recv() => Input::Message(message),
            Some(joined) = working.join_next_with_id() => {
                // What the task told before it ended may have come in since the inbox was looked at.
                while let Ok(message) = inbox.try_recv() {
                    orders.extend(dispatcher.handle(Input::Message(message)));
                }
                match joined {
                Ok((id, (visit, task, end))) => {
                    visits.remove(&id);
                    if let Some(place) = tasks.get_mut(visit.node) {
                        *place = Some(task);
                    }
                    Input::Ended(visit, end)
                }
                Err(broken) => {
                    let Some(visit) = visits.remove(&broken.id()) else { continue };
                    if broken.is_panic() {
                        error!(%broken, "a node task ended by a defect");
                    }
                    Input::Ended(visit, VisitEnd::Broken)
                }
                }
            },
            else => return dispatcher.cancel(),
        };
        orders.extend(dispatcher.handle(input));
    }
}

/// Numbers events and hands them out.
struct Recorder<'a, F: FnMut(&Event)> {
    began: Instant,
    seq: u64,
    observe: &'a mut F,
}

impl<F: FnMut(&Event)> Recorder<'_, F> {
    fn record(&mut self, kind: EventKind) {
        let kept = !matches!(kind, EventKind::Progress { .. });
        let event = Event { seq: self.seq, at: jiff::Timestamp::now(), elapsed: self.began.elapsed(), kind };
        (self.observe)(&event);
        if kept {
            self.seq += 1;
        }
    }
}
