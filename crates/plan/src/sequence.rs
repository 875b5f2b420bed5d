//! A node's own sequence, as data: what `each:` of a rollout step lists.
//!
//! Here live [`Sequence`] and [`SequenceItem`]. Pure. Invariants: the names of the items of a rollout file's sequence
//! differ, and there is at least one. An item that changes services is done as a step of services is: `item_plan.rs` makes
//! the plan for that.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use humantime::format_duration;

use super::action::ServiceVerb;
use super::policy::Policy;
use super::targets::TargetName;
use ctl_event::TargetState;
use ctl_select::ServicePattern;

/// Most items of a sequence.
pub const MAX_ITEMS: usize = 100;

/// The work on one node, in order, before it counts as done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    items: Vec<SequenceItem>,
    /// The services of all items that change the node itself.
    services: Vec<ServicePattern>,
}

impl Sequence {
    /// A sequence of these items.
    #[must_use]
    pub fn new(items: Vec<SequenceItem>) -> Self {
        let mut services: Vec<ServicePattern> = Vec::new();
        // Those of a helper are no services of the node.
        let own = items.iter().filter(|item| item.place.helper().is_none());
        for service in own.flat_map(|item| item.work.services()) {
            if !services.contains(service) {
                services.push(service.clone());
            }
        }
        Self { items, services }
    }

    /// Its items, in order.
    #[must_use]
    pub fn items(&self) -> &[SequenceItem] {
        &self.items
    }

    /// The services of all items that change the node itself.
    #[must_use]
    pub fn services(&self) -> &[ServicePattern] {
        &self.services
    }

    /// The verbs of its items that change the node itself.
    pub fn verbs(&self) -> impl Iterator<Item = ServiceVerb> {
        let own = self.items.iter().filter(|item| item.place.helper().is_none());
        own.filter_map(|item| if let ItemWork::Service { verb, .. } = item.work { Some(verb) } else { None })
    }

    /// The names of the other nodes that its items run on.
    pub fn helpers(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| item.place.helper())
    }
}

/// One item of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceItem {
    /// Its name, in one line; unique in the sequence.
    pub name: String,
    /// Where it runs.
    pub place: ItemPlace,
    /// What it does.
    pub work: ItemWork,
    /// Its time; none leaves it to the step, the node and the program.
    pub timeout: Option<Duration>,
    /// How it is taken back; none if it is not.
    pub undo: Option<ItemUndo>,
    /// How often it runs again while its scope is open; none runs it once.
    pub renew: Option<Duration>,
}

/// How an item is taken back. From before it runs until then, its *scope* is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemUndo {
    /// A command that runs where the item does, and that may run several times.
    pub command: String,
    /// On which ends of the sequence it runs.
    pub ends: UndoEnds,
}

/// Ends of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoEnds {
    /// Every item has succeeded.
    pub success: bool,
    /// An item has not.
    pub failure: bool,
    /// The controller is gone.
    pub lost: bool,
}

impl UndoEnds {
    /// Every end.
    pub const ALL: Self = Self { success: true, failure: true, lost: true };

    /// Their names in a rollout file.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let all = [(self.success, "success"), (self.failure, "failure"), (self.lost, "lost")];
        all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
    }
}

/// Where an item runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ItemPlace {
    /// On the node that the sequence is of.
    #[default]
    Node,
    /// On the machine that `ctl` runs on.
    Controller,
    /// On the node with this name: a *helper* of the one that the sequence is of.
    Helper(String),
}

impl ItemPlace {
    /// Its name in a rollout file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Node => "node",
            Self::Controller => "controller",
            Self::Helper(name) => name,
        }
    }

    /// The name of the helper that it is, if it is one.
    #[must_use]
    pub fn helper(&self) -> Option<&str> {
        if let Self::Helper(name) = self { Some(name) } else { None }
    }
}

/// What an item does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemWork {
    /// Change services of the node.
    Service {
        /// How.
        verb: ServiceVerb,
        /// Which; at least one.
        services: Vec<ServicePattern>,
        /// Its gates.
        policy: Policy,
    },
    /// Run a command once.
    Exec {
        /// Text for the shell.
        command: String,
    },
    /// Run a command until it exits 0.
    Check {
        /// Text for the shell.
        command: String,
        /// For how long; none runs it once.
        until: Option<Duration>,
        /// Between two attempts.
        interval: Duration,
    },
    /// Wait.
    Wait(Duration),
}

impl ItemWork {
    /// Its name in a plan.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Service { verb, .. } => verb.as_str(),
            Self::Exec { .. } => "exec",
            Self::Check { .. } => "check",
            Self::Wait(_) => "wait",
        }
    }

    /// Whether it changes something, so that it must not be repeated once it is done. The others only hold up what comes
    /// after them.
    #[must_use]
    pub const fn acts(&self) -> bool {
        matches!(self, Self::Service { .. } | Self::Exec { .. })
    }

    /// The services that it changes.
    #[must_use]
    pub fn services(&self) -> &[ServicePattern] {
        if let Self::Service { services, .. } = self { services } else { &[] }
    }

    /// The command that it runs.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        match self {
            Self::Exec { command } | Self::Check { command, .. } => Some(command),
            Self::Service { .. } | Self::Wait(_) => None,
        }
    }
}

/// How far a node came in its sequence before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SequenceProgress {
    /// Items that are done, and must not be done again.
    pub done: BTreeSet<usize>,
    /// An item that changes services and was in flight: what it has done is read from the node.
    pub in_flight: Option<InFlightItem>,
    /// The first item that did not succeed: nothing runs after it.
    pub failed: Option<usize>,
    /// Scopes that are open and are closed at the end, in the order in which they were opened.
    pub open: Vec<usize>,
    /// Scopes that are taken back first, in this order: nobody knows whether they were.
    pub undo_first: Vec<usize>,
}

/// An item that was in flight when its controller ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlightItem {
    /// Its place in the sequence.
    pub item: usize,
    /// Its targets that have a result.
    pub done: BTreeSet<TargetName>,
    /// Its targets as they were before.
    pub before: Vec<TargetState>,
}

impl fmt::Display for ItemWork {
    /// As a plan shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { verb, services, .. } => {
                f.write_str(verb.as_str())?;
                services.iter().try_for_each(|service| write!(f, " {}", service.as_str()))
            }
            Self::Exec { command } => write!(f, "exec: {command}"),
            Self::Check { command, until: None, .. } => write!(f, "check: {command}"),
            Self::Check { command, until: Some(until), interval } => {
                let (until, interval) = (format_duration(*until), format_duration(*interval));
                write!(f, "check: {command} (every {interval}, for up to {until})")
            }
            Self::Wait(time) => write!(f, "wait {}", format_duration(*time)),
        }
    }
}
