//! One task of a run: its work with exactly the data that this work needs, and the rules under which it runs.
//!
//! Pure. Start at [`Work`]. Invariants: a task that makes no sense cannot be written, such as a wait without a goal or
//! a command on a service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::policy::Policy;
use super::sequence::{Sequence, SequenceProgress};
use super::{Action, CommandInput, FileCopy, FinishedNode, NodeRecheck, ServiceVerb, StepIndex, TargetFilter};
#[cfg(any(test, feature = "test-util"))]
use super::{ItemPlace, ItemUndo, ItemWork, SequenceItem, UndoEnds};
use ctl_event::{LogStream, TargetState};
use ctl_select::{SelectedNode, Selection, ServicePattern};
use ctl_snapshot::Snapshot;

/// What a task does, and to which services; no services means all of them.
#[derive(Debug, Clone)]
pub enum Work {
    /// Change services.
    Service {
        /// How.
        verb: ServiceVerb,
        /// Which.
        services: Vec<ServicePattern>,
    },
    /// Run a command on the node.
    Exec {
        /// Text for the login shell.
        command: String,
        /// Its standard input; none leaves it empty.
        input: Option<CommandInput>,
    },
    /// Copy files to the node, or from it.
    Copy(Arc<FileCopy>),
    /// Read the state of services.
    Status {
        /// Which.
        services: Vec<ServicePattern>,
        /// Services of which it also reports what an update would change now; nothing is applied.
        update_preview: Vec<ServicePattern>,
        /// Whether it also asks services for their functional state, and looks for other problems of the node: `ctl status`.
        deep: bool,
    },
    /// Wait until services have reached a goal.
    Wait {
        /// Which.
        services: Vec<ServicePattern>,
        /// The goal.
        goal: WaitGoal,
    },
    /// Show the logs of services.
    Logs {
        /// Which.
        services: Vec<ServicePattern>,
        /// The part of the log.
        tail: LogTail,
    },
    /// Check whether the node and its supervisords can be reached.
    Ping,
    /// Do the items of a sequence, in order.
    Sequence(Arc<Sequence>),
}

impl Work {
    /// Reads the state of services as supervisord and init report it.
    #[must_use]
    pub const fn status(services: Vec<ServicePattern>) -> Self {
        Self::Status { services, update_preview: Vec::new(), deep: false }
    }

    /// Reads everything that `ctl status` shows.
    #[must_use]
    pub const fn deep_status(services: Vec<ServicePattern>) -> Self {
        Self::Status { services, update_preview: Vec::new(), deep: true }
    }

    /// Its name.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Service { verb, .. } => verb.action(),
            Self::Exec { .. } => Action::Exec,
            Self::Copy(_) => Action::Copy,
            Self::Status { .. } => Action::Status,
            Self::Wait { .. } => Action::Wait,
            Self::Logs { .. } => Action::Logs,
            Self::Ping => Action::Ping,
            Self::Sequence(_) => Action::Sequence,
        }
    }

    /// The change of services; none for everything else.
    #[must_use]
    pub const fn verb(&self) -> Option<ServiceVerb> {
        if let Self::Service { verb, .. } = self { Some(*verb) } else { None }
    }

    /// The changes of services that it makes, those of the items of a sequence included.
    pub fn verbs(&self) -> impl Iterator<Item = ServiceVerb> {
        self.verb().into_iter().chain(self.sequence().into_iter().flat_map(Sequence::verbs))
    }

    /// The sequence that it does, if it does one.
    #[must_use]
    pub fn sequence(&self) -> Option<&Sequence> {
        if let Self::Sequence(sequence) = self { Some(sequence) } else { None }
    }

    /// Whether it changes a node.
    #[must_use]
    pub const fn changes(&self) -> bool {
        self.action().changes()
    }

    /// Whether it leaves anything on a node that was not there before: a copy from the nodes does not.
    #[must_use]
    pub fn changes_nodes(&self) -> bool {
        self.changes() && !matches!(self, Self::Copy(copy) if copy.is_from_nodes())
    }

    /// The services that the user named; empty where all are meant, and for a command.
    #[must_use]
    pub fn services(&self) -> &[ServicePattern] {
        match self {
            Self::Service { services, .. }
            | Self::Status { services, .. }
            | Self::Wait { services, .. }
            | Self::Logs { services, .. } => services,
            Self::Sequence(sequence) => sequence.services(),
            Self::Exec { .. } | Self::Copy(_) | Self::Ping => &[],
        }
    }

    /// Whether it means every service.
    #[must_use]
    pub fn means_all_services(&self) -> bool {
        // A command, a copy and a sequence of such items concern no services, so their empty list does not mean all of them.
        self.services().is_empty() && !matches!(self, Self::Exec { .. } | Self::Copy(_) | Self::Sequence(_))
    }

    /// Services of which it reports what an update would change.
    #[must_use]
    pub fn update_preview(&self) -> &[ServicePattern] {
        if let Self::Status { update_preview, .. } = self { update_preview } else { &[] }
    }

    /// Whether it reads everything that `ctl status` shows.
    #[must_use]
    pub const fn is_deep(&self) -> bool {
        matches!(self, Self::Status { deep: true, .. })
    }

    /// The part of the logs that it shows, if it shows logs.
    #[must_use]
    pub const fn tail(&self) -> Option<LogTail> {
        if let Self::Logs { tail, .. } = self { Some(*tail) } else { None }
    }

    /// Work of this kind for a test that needs no more than the kind.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn example(action: Action, services: Vec<ServicePattern>) -> Self {
        let service = |verb, services| Self::Service { verb, services };
        match action {
            Action::Start => service(ServiceVerb::Start, services),
            Action::Stop => service(ServiceVerb::Stop, services),
            Action::Restart => service(ServiceVerb::Restart, services),
            Action::Update => service(ServiceVerb::Update, services),
            Action::Status => Self::status(services),
            Action::Ping => Self::Ping,
            Action::Exec => Self::Exec { command: "uptime".to_owned(), input: None },
            Action::Copy => Self::Copy(Arc::new(FileCopy::FromNodes {
                source: "/etc/hosts".to_owned(),
                name: "hosts".to_owned(),
                directory: "copies".into(),
            })),
            Action::Sequence => {
                let item = |work: ItemWork, name: &str| SequenceItem {
                    name: name.to_owned(),
                    place: ItemPlace::Node,
                    work,
                    timeout: None,
                    undo: None,
                    renew: None,
                };
                let mut items = vec![item(ItemWork::Exec { command: "uptime".to_owned() }, "look")];
                let undo = ItemUndo { command: "true".to_owned(), ends: UndoEnds::ALL };
                items.iter_mut().for_each(|item| item.undo = Some(undo.clone()));
                items.iter_mut().for_each(|item| item.renew = Some(Duration::from_secs(60)));
                if !services.is_empty() {
                    let verb = ServiceVerb::Restart;
                    items.push(item(ItemWork::Service { verb, services, policy: Policy::default() }, "restart"));
                }
                Self::Sequence(Arc::new(Sequence::new(items)))
            }
            Action::Wait => {
                let limit = Duration::from_secs(60);
                let goal = WaitGoal { condition: WaitCondition::Running, stable: Duration::ZERO, limit };
                Self::Wait { services, goal }
            }
            Action::Logs => {
                Self::Logs { services, tail: LogTail { stream: LogStream::Stdout, lines: 10, follow: false } }
            }
        }
    }
}

/// The part of a log that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTail {
    /// Which log.
    pub stream: LogStream,
    /// How many of its last lines.
    pub lines: usize,
    /// Whether new output is shown as well, without an end.
    pub follow: bool,
}

/// The goal of `ctl wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitGoal {
    /// What has to be true of every service.
    pub condition: WaitCondition,
    /// For how long, with the same pid.
    pub stable: Duration,
    /// How long to wait.
    pub limit: Duration,
}

/// A condition of a service to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// RUNNING.
    Running,
    /// RUNNING, and functional if it reports its functional state.
    Active,
    /// Not running.
    Stopped,
}

impl WaitCondition {
    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Active => "active",
            Self::Stopped => "stopped",
        }
    }
}

/// One task: a command line has one, a rollout has several.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name in the rollout.
    pub name: Option<String>,
    /// What it does.
    pub work: Work,
    /// Time for the work on one node; none leaves it to the node's own.
    pub timeout: Option<Duration>,
    /// Whether the user named the nodes or roles, so that a node without the service is a failure.
    pub explicit: bool,
    /// Whether it runs in more than one batch, or the user asked for a gate. [`plan`](super::plan()) finds out; a resumed run
    /// keeps it, however few nodes are left.
    pub batched: bool,
    /// Names of services that an earlier task may bring: it is no mistake that no node has them before.
    pub may_be_new: BTreeSet<String>,
    /// Batches, limits and gates.
    pub policy: Policy,
    /// The content of the file of [`Policy::gate_snapshot`]. Plans are made without I/O, so the caller reads the file.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Whether the tasks after it run although its failure limit, a cap or a gate stopped it.
    pub continue_on_failure: bool,
    /// Which of the targets that are found are meant.
    pub targets: TargetFilter,
    /// How far an earlier controller, or the run that is retried, came with the sequence of each node.
    pub progress: BTreeMap<String, SequenceProgress>,
    /// The targets in flight when an earlier controller of this run ended, by the node's name, as they were before: a target
    /// that has another state now is done.
    pub in_flight: BTreeMap<String, Vec<TargetState>>,
    /// The nodes of each step that are read again, by their index in the plan.
    pub rechecks: BTreeMap<(StepIndex, usize), NodeRecheck>,
    /// The nodes that an earlier part of this run has finished, by name: they count for the failure limit.
    pub finished: BTreeMap<String, FinishedNode>,
}

impl Task {
    /// A task with the default policy.
    #[must_use]
    pub fn new(work: Work, explicit: bool) -> Self {
        Self {
            name: None,
            work,
            timeout: None,
            explicit,
            batched: false,
            may_be_new: BTreeSet::new(),
            policy: Policy::default(),
            snapshot: None,
            continue_on_failure: false,
            targets: TargetFilter::All,
            progress: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            rechecks: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }
}

/// A task, and the nodes selected for it.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// The task.
    pub task: Task,
    /// Its nodes.
    pub nodes: Vec<SelectedNode>,
}

impl TaskSpec {
    /// `work` on the services and the nodes of a selection.
    #[must_use]
    pub fn new(selection: Selection, work: impl FnOnce(Vec<ServicePattern>) -> Work) -> Self {
        Self { task: Task::new(work(selection.services), selection.explicit), nodes: selection.nodes }
    }
}
