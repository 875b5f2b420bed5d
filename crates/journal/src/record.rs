//! The journal's input and output for a run.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunController;
use ctl_event::{EventKind, InputDigest, RunEvent, RunHead};

/// The request of a run, recorded before anything happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// Name of the run, such as `20261123-002634-muat`. Unique in the journal.
    pub run: String,
    /// The command line without the program's name.
    pub words: Vec<String>,
    /// The working directory: relative paths start there.
    pub directory: PathBuf,
    /// The inventory.
    pub inventory: SavedFile,
    /// The rollout file, if there was one.
    pub rollout: Option<SavedFile>,
    /// Its first controller.
    pub controller: RunController,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// Its start.
    pub started: Timestamp,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`; none for commands without actions.
    pub action: Option<String>,
    /// The services as typed.
    pub services: Vec<String>,
    /// Number of nodes selected.
    pub nodes: u32,
    /// A digest of its command's standard input, which is not recorded itself.
    pub input: Option<InputDigest>,
    /// The run that this one derives from, if any.
    pub origin: Option<RunOrigin>,
}

/// A file as it was read at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

/// The run that another comes from, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Origin"))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunOrigin {
    /// Repeats the parts of that run that did not succeed.
    Retry {
        /// Name of that run.
        run: String,
    },
    /// Starts the services again that the run stopped.
    Undo {
        /// Name of that run.
        run: String,
    },
}

/// State of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its controller is running, or cannot be checked from here.
    Running,
    /// It ended early, or its controller is gone.
    Interrupted,
    /// Everything was done.
    Finished,
}

impl RunState {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Finished => "finished",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What ended a run before everything was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// More nodes failed than it allows.
    FailureLimit,
    /// A gate was not met.
    Gate,
    /// No more nodes of a role may be down.
    MaxUnavailable,
    /// Another run held a lock.
    Locked,
    /// A signal.
    Signal,
    /// The journal could not be written.
    Journal,
    /// Its controller is gone, and recorded no end.
    ControllerGone,
}

impl StopCause {
    /// What it is called in the list of runs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureLimit => "failure limit",
            Self::Gate => "gate",
            Self::MaxUnavailable => "max_unavailable",
            Self::Locked => "locked",
            Self::Signal => "signal",
            Self::Journal => "journal",
            Self::ControllerGone => "killed",
        }
    }

    /// Whether the run stopped by itself.
    const fn is_own(self) -> bool {
        match self {
            Self::FailureLimit | Self::Gate | Self::MaxUnavailable | Self::Locked => true,
            Self::Signal | Self::Journal | Self::ControllerGone => false,
        }
    }
}

/// The state of a run for people: a run that stopped by itself was not interrupted.
#[must_use]
pub fn state_text(state: RunState, stopped_by: Option<StopCause>) -> String {
    match stopped_by {
        Some(cause) if cause.is_own() => format!("stopped ({})", cause.as_str()),
        Some(cause) => format!("{state} ({})", cause.as_str()),
        None => state.to_string(),
    }
}

/// A run in the list of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RecordedRun"))]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// Its start.
    pub started: Timestamp,
    /// Its end, if it has ended.
    pub ended: Option<Timestamp>,
    /// Its state.
    pub state: RunState,
    /// What ended it early, if something did and it is known.
    pub stopped_by: Option<StopCause>,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`.
    // Only runs that change nodes are listed, and all of those have an action.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub action: Option<String>,
    /// The services as typed.
    pub services: Vec<String>,
    /// Number of nodes selected.
    pub nodes: u32,
    /// The user of its latest controller.
    pub user: String,
    /// Host of that controller.
    pub host: String,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// Its exit code, if it recorded one.
    pub exit_code: Option<u8>,
    /// The run that this one derives from, if any.
    pub origin: Option<RunOrigin>,
}

/// The whole record of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its request, with its first controller.
    pub request: RunRequest,
    /// Its state.
    pub state: RunState,
    /// What ended it early, if something did and it is known.
    pub stopped_by: Option<StopCause>,
    /// Its end, if it has ended.
    pub ended: Option<Timestamp>,
    /// Its exit code, if it recorded one.
    pub exit_code: Option<u8>,
    /// Its takeovers, in order.
    pub takeovers: Vec<RunTakeover>,
    /// Its kept events, in order.
    pub events: Vec<RunEvent>,
}

impl RunRecord {
    /// Its latest controller.
    #[must_use]
    pub fn controller(&self) -> &RunController {
        self.takeovers.last().map_or(&self.request.controller, |takeover| &takeover.controller)
    }

    /// The digest of its command's standard input. A journal of an older `ctl` has it only in the first event.
    #[must_use]
    pub fn input(&self) -> Option<&InputDigest> {
        self.request.input.as_ref().or_else(|| self.head()?.input.as_ref())
    }

    /// The head of the run, if it got that far.
    #[must_use]
    pub fn head(&self) -> Option<&RunHead> {
        self.events
            .iter()
            .find_map(|event| if let EventKind::RunStarted(head) = &event.kind { Some(head) } else { None })
    }
}

/// A change of controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTakeover {
    /// The time.
    pub at: Timestamp,
    /// The new controller.
    pub controller: RunController,
}
