//! The processes of a supervisord as values, whichever backend read them.

use std::time::Duration;

use ctl_event::ProcessState;

/// One process as its supervisord describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Group; equal to `name` for a program that is no group.
    pub group: String,
    /// Process within the group.
    pub name: String,
    /// State.
    pub state: ProcessState,
    /// Process id, while there is one.
    pub pid: Option<u32>,
    /// When it was started, in epoch seconds of the node; `supervisorctl` does not print it.
    pub start: Option<i64>,
    /// Time since then, by the node's own clock.
    pub uptime: Option<Duration>,
    /// Of one that has EXITED: whether it ended as its configuration expects, where the backend reports that.
    pub exited_as_expected: Option<bool>,
    /// supervisord's own words (untrusted).
    pub description: String,
}

impl ProcessInfo {
    /// The name as `supervisorctl` prints it: `group:name`, or just the name where both are equal.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.group == self.name { self.name.clone() } else { format!("{}:{}", self.group, self.name) }
    }

    /// The name that the API takes: always with the group.
    #[must_use]
    pub fn api_name(&self) -> String {
        format!("{}:{}", self.group, self.name)
    }

    /// Whether `self` is known to be another process than `before`: another pid, or another start time.
    #[must_use]
    pub fn is_another_than(&self, before: &Self) -> bool {
        // A pid can be reused and supervisorctl prints no start time, so a difference in either of them is enough.
        let both_known = self.pid.is_some() && before.pid.is_some();
        (both_known && self.pid != before.pid)
            || (self.start.is_some() && before.start.is_some() && self.start != before.start)
    }
}

/// One supervisord as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorReading {
    /// Version of the supervisor package; empty where the backend does not report it.
    pub version: String,
    /// Process id of supervisord itself, where the backend reports it.
    pub pid: Option<u32>,
    /// All its processes.
    pub processes: Vec<ProcessInfo>,
    /// Entries of its list that name no process.
    pub unnamed: usize,
}

impl SupervisorReading {
    /// Of a backend that lists processes and nothing else.
    #[must_use]
    pub const fn of_processes(processes: Vec<ProcessInfo>) -> Self {
        Self { version: String::new(), pid: None, processes, unnamed: 0 }
    }
}

/// One process as it was read, and its supervisord with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessReading {
    /// supervisord's own pid, where it matters and the backend reports it.
    pub supervisor_pid: Option<u32>,
    /// The process.
    pub process: ProcessInfo,
}

impl ProcessReading {
    /// The process in a list.
    pub(super) fn find(listed: Vec<ProcessInfo>, group: &str, name: &str, supervisor_pid: Option<u32>) -> Option<Self> {
        let process = listed.into_iter().find(|process| process.group == group && process.name == name)?;
        Some(Self { supervisor_pid, process })
    }
}

/// An action on a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessVerb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Both, in this order.
    Restart,
}

impl ProcessVerb {
    /// As supervisorctl and init take it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

impl std::fmt::Display for ProcessVerb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The changes that a configuration reload would make, as group names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateSummary {
    /// New in the configuration.
    pub added: Vec<String>,
    /// Changed there.
    pub changed: Vec<String>,
    /// Gone from it.
    pub removed: Vec<String>,
}

/// A state from the word that supervisord uses for it; any other word is [`ProcessState::Unknown`].
#[must_use]
pub(super) fn state_from_word(word: &str) -> ProcessState {
    word.parse().unwrap_or(ProcessState::Unknown)
}

/// A state from its number (`supervisor/states.py`, `ProcessStates`); any other number is [`ProcessState::Unknown`].
#[must_use]
pub(super) const fn state_from_code(code: i64) -> ProcessState {
    match code {
        0 => ProcessState::Stopped,
        10 => ProcessState::Starting,
        20 => ProcessState::Running,
        30 => ProcessState::Backoff,
        40 => ProcessState::Stopping,
        100 => ProcessState::Exited,
        200 => ProcessState::Fatal,
        _ => ProcessState::Unknown,
    }
}
