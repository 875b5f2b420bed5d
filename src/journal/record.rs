//! What goes into the journal of a run, and what comes out.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunController;
use crate::event::{EventKind, InputDigest, RunEvent, RunHead};

/// What a run was asked, as it is noted before anything of it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// Name of the run, such as `20261123-002634-muat`. Unique in the journal.
    pub run: String,
    /// The command line after the program's name.
    pub words: Vec<String>,
    /// Where it was typed: relative paths in it count from there.
    pub directory: PathBuf,
    /// The inventory.
    pub inventory: SavedFile,
    /// The rollout file, if there was one.
    pub rollout: Option<SavedFile>,
    /// Who began it.
    pub controller: RunController,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`; none for commands that have none.
    pub action: Option<String>,
    /// The services as they were typed.
    pub services: Vec<String>,
    /// Number of nodes selected.
    pub nodes: u32,
    /// The standard input of its command, which is not kept itself.
    pub input: Option<InputDigest>,
    /// The run that this one came from, if any.
    pub origin: Option<RunOrigin>,
}

/// A file as it was read at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Where it was.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// The run that another came from, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunOrigin {
    /// Does again what that run did not get done.
    Retry {
        /// Name of that run.
        run: String,
    },
    /// Takes back what that run did.
    Undo {
        /// Name of that run.
        run: String,
    },
}

/// How it stands with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its controller lives, or is where nobody here can tell.
    Running,
    /// It ended early, or its controller is gone.
    Interrupted,
    /// Everything it was to do was done.
    Finished,
}

impl RunState {
    /// The fixed word for it.
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

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub state: RunState,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`.
    pub action: Option<String>,
    /// The services as they were typed.
    pub services: Vec<String>,
    /// Number of nodes selected.
    pub nodes: u32,
    /// Who works at it, or did last.
    pub user: String,
    /// Host of that controller.
    pub host: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// The exit code it ended with, if it said so.
    pub exit_code: Option<u8>,
    /// The run that this one came from, if any.
    pub origin: Option<RunOrigin>,
}

/// All that the journal has of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// What it was asked; its controller is the one that began it.
    pub request: RunRequest,
    /// How it stands.
    pub state: RunState,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// The exit code it ended with, if it said so.
    pub exit_code: Option<u8>,
    /// Who took it over, in order.
    pub takeovers: Vec<RunTakeover>,
    /// Its kept events, in the order of their numbers.
    pub events: Vec<RunEvent>,
}

impl RunRecord {
    /// Who works at it, or did last.
    #[must_use]
    pub fn controller(&self) -> &RunController {
        self.takeovers.last().map_or(&self.request.controller, |takeover| &takeover.controller)
    }

    /// The standard input of its command. A journal of an older `ctl` has it in the first event only.
    #[must_use]
    pub fn input(&self) -> Option<&InputDigest> {
        self.request.input.as_ref().or_else(|| self.head()?.input.as_ref())
    }

    /// What it was as it began, if it came so far.
    #[must_use]
    pub fn head(&self) -> Option<&RunHead> {
        self.events
            .iter()
            .find_map(|event| if let EventKind::RunStarted(head) = &event.kind { Some(head) } else { None })
    }
}

/// A controller that went on with a run of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTakeover {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub controller: RunController,
}
