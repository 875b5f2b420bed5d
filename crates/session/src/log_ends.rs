//! The end of a service's log, read again and again: for `ctl top`.
//!
//! It uses `run`. Invariants: one log is open at a time, and reading it again costs no new connection. Start reading at
//! [`LogEndReader::read`].

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::limits::FileBudget;
use crate::read_only;
use crate::session::run_round;
use ctl_args::settings::Settings;
use ctl_connections::NodeTransport;
use ctl_console::error::CliError;
use ctl_event::{EventKind, LogStream, RunEvent, RunHead};
use ctl_inventory::Inventory;
use ctl_plan::{Action, LogTail, TaskSpec, Work, plan};
use ctl_run::{JournalAck, NodeAccess, WorkerPool};
use ctl_select::{NodeQuery, select};

/// Lines of a log that are read.
const LOG_LINES: usize = 100;

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOwner {
    /// The node.
    pub node: String,
    /// Its role; none if unknown.
    pub role: Option<String>,
    /// The service; none means all of the node.
    pub service: Option<String>,
}

/// A log that is read, and what reads it.
type OpenLog = (LogOwner, WorkerPool<NodeTransport>, RunHead);

/// Reads the ends of logs.
pub struct LogEndReader {
    transport: Arc<NodeTransport>,
    access: HashMap<String, NodeAccess>,
    settings: Settings,
    budget: FileBudget,
    inventory: Inventory,
    /// The same log is read again and again over one connection.
    open: Option<OpenLog>,
}

impl LogEndReader {
    /// Of the nodes that `access` names. Connects to nothing yet.
    pub fn new(
        transport: &Arc<NodeTransport>,
        access: HashMap<String, NodeAccess>,
        settings: Settings,
        budget: FileBudget,
        inventory: Inventory,
    ) -> Self {
        Self { transport: Arc::clone(transport), access, settings, budget, inventory, open: None }
    }

    /// The last lines: of stderr, or of stdout where nothing is on stderr; where there are none, why not.
    ///
    /// Boxed, or each crate that waits for it would compile the engine again.
    pub fn read(&mut self, owner: LogOwner) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            // Another log needs a plan of its own; the old pool is dropped with its connection.
            let same = self.open.take().filter(|(of, ..)| *of == owner);
            let ready = same.map_or_else(|| self.open(&owner), Ok);
            match ready {
                Ok((of, mut pool, head)) => {
                    let lines = end_of_log(&mut pool, &head).await;
                    self.open = Some((of, pool, head));
                    lines
                }
                Err(error) => vec![error.message().to_owned()],
            }
        })
    }

    /// Both logs of a service.
    fn open(&self, target: &LogOwner) -> Result<OpenLog, CliError> {
        let services: Vec<String> = target.service.clone().into_iter().collect();
        let roles: Vec<String> = target.role.clone().into_iter().collect();
        let query =
            NodeQuery { roles: &roles, nodes: std::slice::from_ref(&target.node), exclude: &[], services: &services };
        let of = |stream| {
            let tail = LogTail { stream, lines: LOG_LINES, follow: false };
            let selection = select(&self.inventory, &query)?;
            let mut wanted = TaskSpec::new(selection, |services| Work::Logs { services, tail });
            wanted.task.continue_on_failure = true;
            Ok::<_, CliError>(wanted)
        };
        let wanted = vec![of(LogStream::Stderr)?, of(LogStream::Stdout)?];
        let plan = plan(wanted, &self.inventory, self.settings.via);
        let access = plan.nodes.iter().filter_map(|node| self.access.get(&node.node.name).cloned()).collect();
        // The transport's notices go to the rounds; dropping the sender keeps this receiver from waiting.
        let (_quiet, notices) = mpsc::channel(1);
        let action = Some(Action::Logs.as_str().to_owned());
        let head = read_only::head(&plan, &services, &self.settings);
        let head = RunHead { command: Action::Logs.as_str().to_owned(), action, ..head };
        let setup = read_only::setup(plan, head.clone(), access, self.budget, &self.transport, notices);
        Ok((target.clone(), WorkerPool::new(setup), head))
    }
}

/// The last lines: of stderr, or of stdout where nothing is on stderr; where there are none, why not.
async fn end_of_log(pool: &mut WorkerPool<NodeTransport>, head: &RunHead) -> Vec<String> {
    // No signal ever comes: the sender only keeps the receiver open until the round is over.
    let (_silent, mut signals) = mpsc::channel(1);
    let (mut stderr, mut stdout, mut failure) = (Vec::new(), Vec::new(), None);
    let mut observe = |events: &[RunEvent]| {
        for event in events {
            match &event.kind {
                EventKind::LogLines(more) => match more.stream {
                    LogStream::Stderr => stderr.extend(more.lines.iter().cloned()),
                    LogStream::Stdout => stdout.extend(more.lines.iter().cloned()),
                },
                // The last failure explains best why there are no lines.
                EventKind::Result(result) => failure = result.failure.clone().or(failure.take()),
                EventKind::RunStarted(_)
                | EventKind::BatchStarted { .. }
                | EventKind::NodeStarted { .. }
                | EventKind::Inspected { .. }
                | EventKind::NodeFacts(_)
                | EventKind::Notice { .. }
                | EventKind::Item(_)
                | EventKind::Gate { .. }
                | EventKind::Progress { .. }
                | EventKind::NodeFinished { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::PendingUpdate(_)
                | EventKind::RunFinished { .. } => {}
            }
        }
        JournalAck::Yes
    };
    run_round(pool, head.clone(), &mut signals, &mut observe).await;
    match (stderr.is_empty(), stdout.is_empty(), failure) {
        (false, ..) => stderr,
        (true, true, Some(failure)) => vec![failure.message],
        (true, ..) => stdout,
    }
}
