//! Names of what a run does: [`ServiceVerb`] for the changes of a service, [`Action`] for everything.
//!
//! Pure. A task holds a [`Work`](super::Work), which knows its action; `Action` alone stands where only the name counts, as
//! in JSON, in the journal and for the exit code.

/// The name of what a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a service.
    Start,
    /// Stop a service.
    Stop,
    /// Stop a service and start it again.
    Restart,
    /// Read the state of a service.
    Status,
    /// Reread the configuration, then add, remove and restart what changed.
    Update,
    /// Check whether a node and its supervisords can be reached.
    Ping,
    /// Run a command on the node.
    Exec,
    /// Copy files to the node, or from it.
    Copy,
    /// Wait until a service is in a given state.
    Wait,
    /// Show the log of a service.
    Logs,
    /// Do the items of a sequence.
    Sequence,
}

impl Action {
    /// Its name on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Status => "status",
            Self::Update => "update",
            Self::Ping => "ping",
            Self::Exec => "exec",
            Self::Copy => "cp",
            Self::Wait => "wait",
            Self::Logs => "logs",
            Self::Sequence => "sequence",
        }
    }

    /// Whether it changes a node.
    #[must_use]
    pub const fn changes(self) -> bool {
        match self {
            // A command may change anything.
            Self::Start | Self::Stop | Self::Restart | Self::Update | Self::Exec | Self::Copy | Self::Sequence => true,
            Self::Status | Self::Ping | Self::Wait | Self::Logs => false,
        }
    }
}

/// A change of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceVerb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop it and start it again.
    Restart,
    /// Reread its configuration, then add, remove or restart it if that changed.
    Update,
}

impl ServiceVerb {
    /// The action of a task with this verb.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Start => Action::Start,
            Self::Stop => Action::Stop,
            Self::Restart => Action::Restart,
            Self::Update => Action::Update,
        }
    }

    /// Its name on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.action().as_str()
    }

    /// Whether it can take a service down that was up.
    #[must_use]
    pub const fn takes_down(self) -> bool {
        match self {
            // An update stops the programs that it changes or removes.
            Self::Stop | Self::Restart | Self::Update => true,
            Self::Start => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_their_words() {
        let verbs = [ServiceVerb::Start, ServiceVerb::Stop, ServiceVerb::Restart, ServiceVerb::Update];
        assert_eq!(verbs.map(ServiceVerb::as_str), ["start", "stop", "restart", "update"]);
        assert!(verbs.into_iter().all(|verb| verb.action().changes()));
        assert!(![Action::Status, Action::Ping].into_iter().any(Action::changes));
    }
}
