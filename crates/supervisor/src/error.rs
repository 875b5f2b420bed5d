//! Why a supervisord did not answer, or refused: the same for every backend.

use ctl_event::{Failure, FailureKind, Stage};
use ctl_remote::{AskError, ExecError, NoAnswer, SudoError};
use ctl_transport::TransportError;

/// Fault numbers of supervisord, the same from 3.0 to 4.2.5 (`supervisor/xmlrpc.py`, class Faults).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcFault {
    /// 1: the method is not known.
    UnknownMethod,
    /// 6: supervisord is shutting down or restarting.
    ShutdownState,
    /// 10: no such process or group.
    BadName,
    /// 20: the program's file is missing.
    NoFile,
    /// 21: the program's file is not executable.
    NotExecutable,
    /// 30: failed.
    Failed,
    /// 40: it ended before it was up.
    AbnormalTermination,
    /// 50: it could not be spawned.
    SpawnError,
    /// 60: it runs already.
    AlreadyStarted,
    /// 70: it does not run.
    NotRunning,
    /// 90: the group is there already.
    AlreadyAdded,
    /// 91: processes of the group still run.
    StillRunning,
    /// 92: the configuration cannot be read.
    CantReread,
    /// Any other.
    Other(i32),
}

impl RpcFault {
    /// From the number on the wire.
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        match code {
            1 => Self::UnknownMethod,
            6 => Self::ShutdownState,
            10 => Self::BadName,
            20 => Self::NoFile,
            21 => Self::NotExecutable,
            30 => Self::Failed,
            40 => Self::AbnormalTermination,
            50 => Self::SpawnError,
            60 => Self::AlreadyStarted,
            70 => Self::NotRunning,
            90 => Self::AlreadyAdded,
            91 => Self::StillRunning,
            92 => Self::CantReread,
            other => Self::Other(other),
        }
    }

    /// The failure kind that explains a start or stop which ended badly.
    #[must_use]
    pub const fn kind(self) -> Option<FailureKind> {
        match self {
            Self::NoFile | Self::NotExecutable | Self::SpawnError => Some(FailureKind::SpawnError),
            Self::AbnormalTermination => Some(FailureKind::AbnormalTermination),
            Self::BadName => Some(FailureKind::NoSuchService),
            Self::UnknownMethod
            | Self::ShutdownState
            | Self::Failed
            | Self::AlreadyStarted
            | Self::NotRunning
            | Self::AlreadyAdded
            | Self::StillRunning
            | Self::Other(_) => None,
            Self::CantReread => Some(FailureKind::Config),
        }
    }
}

/// Why a supervisord did not answer a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupervisorError {
    /// The connection to the node failed.
    #[error(transparent)]
    Transport(TransportError),
    /// It answered with a fault.
    #[error("{text}")]
    Fault {
        /// Which.
        fault: RpcFault,
        /// Its text (untrusted).
        text: String,
    },
    /// It is not there to answer: nobody listens, or it is shutting down.
    #[error("{0}")]
    Down(String),
    /// The socket at this path does not exist. Only the relay reports this: for a socket that sshd cannot open, all reasons
    /// look the same.
    #[error("unix://{0} no such file")]
    NoSocket(String),
    /// The user may not ask.
    #[error("{0}")]
    Permission(String),
    /// sudo refused.
    #[error(transparent)]
    Sudo(#[from] SudoError),
    /// The command that was executed did not run, did not come to its end, or failed without a word that is understood.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The program to ask with is not on the node.
    #[error("{0}")]
    CommandMissing(String),
    /// The answer makes no sense, or is too long.
    #[error("{0}")]
    Protocol(String),
    /// The backend in use cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// No answer in time to a question that should take no time.
    #[error("no answer from {0}")]
    Silent(String),
}

impl From<TransportError> for SupervisorError {
    fn from(error: TransportError) -> Self {
        // The connection itself still works: this is one query without an answer, as any other backend may have.
        if let TransportError::Silent { what, .. } = error {
            return Self::Silent(format!("the node to {what}"));
        }
        Self::Transport(error)
    }
}

impl From<ExecError> for SupervisorError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Sudo(error) => Self::Sudo(error),
            ExecError::Transport(error) => error.into(),
        }
    }
}

impl From<AskError> for SupervisorError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NoAnswer(error) => Self::NoAnswer(error),
            AskError::Exec(error) => error.into(),
        }
    }
}

impl SupervisorError {
    /// Whether the connection to the node itself is gone.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        // A channel or command that sshd refuses leaves the connection usable (RFC 4254, 5.1 and 5.4).
        let refused = |error: &TransportError| {
            matches!(error, TransportError::ChannelRefused { .. } | TransportError::CommandRefused { .. })
        };
        matches!(self, Self::Transport(error) if !refused(error))
    }

    /// The same as a failure of a result.
    #[must_use]
    pub fn failure(&self, stage: Stage) -> Failure {
        let (kind, hint) = match self {
            // sshd refuses a channel the same way whether the socket is missing, dead or forbidden: no more than "down"
            // is known.
            Self::Transport(TransportError::ChannelRefused { .. }) => (FailureKind::SupervisorDown, None),
            // The transport's failure already has the better kind and hint; only the stage is known here.
            Self::Transport(error) => return Failure { stage, ..error.failure() },
            Self::Fault { fault: RpcFault::CantReread, text } => return cannot_reread(stage, text),
            // A fault that explains no failure by itself is an answer that the call did not expect.
            Self::Fault { fault, .. } => (fault.kind().unwrap_or(FailureKind::Protocol), None),
            Self::Down(_) | Self::NoSocket(_) => (FailureKind::SupervisorDown, None),
            Self::Permission(text) if asks_for_password(text) => (
                FailureKind::Permission,
                Some(
                    "set both in the inventory: `roles: {{role}: {username: NAME, password_file: FILE}}`; \
                     only `--via rpc` uses them"
                        .to_owned(),
                ),
            ),
            Self::Permission(_) => (
                FailureKind::Permission,
                Some("log in as root, or set `sudo: true` for the node (or --sudo)".to_owned()),
            ),
            Self::Sudo(error) => return error.failure(stage),
            Self::CommandMissing(_) => (FailureKind::Command, None),
            // Endless output comes from a broken peer, not from a command that failed.
            Self::NoAnswer(NoAnswer::TooLong { .. }) => (FailureKind::Protocol, None),
            Self::NoAnswer(error) => (FailureKind::Command, error.hint().map(str::to_owned)),
            Self::Protocol(_) | Self::Unsupported(_) => (FailureKind::Protocol, None),
            Self::Silent(_) => (FailureKind::TimedOut, None),
        };
        Failure { stage, kind, message: self.to_string(), hint }
    }
}

/// Whether it was refused for want of a password: no right on the node would help.
#[must_use]
pub fn asks_for_password(text: &str) -> bool {
    text.contains("asks for a user name and a password") || text.contains("requires authentication")
}

/// A configuration that supervisord cannot read: its processes keep running.
fn cannot_reread(stage: Stage, text: &str) -> Failure {
    // The fault's name stands before its text, and behind what supervisorctl makes of it.
    let said = text.split_once("CANT_REREAD: ").map_or(text, |(_, said)| said).trim();
    let said = if said.is_empty() { "no reason given" } else { said };
    Failure::new(stage, FailureKind::Config, format!("supervisord cannot read its configuration: {said}")).with_hint(
        "nothing was changed; fix the file on the node, then update again: `ctl service {service} update -w {node}`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_be_read_has_its_own_kind() {
        let of = |text: &str| {
            let error = SupervisorError::Fault { fault: RpcFault::CantReread, text: text.to_owned() };
            let failure = error.failure(Stage::Inspect);
            assert_eq!(failure.kind, FailureKind::Config);
            assert!(failure.hint.is_some_and(|hint| hint.contains("ctl service {service} update -w {node}")));
            failure.message
        };
        let said = "supervisord cannot read its configuration: ";
        for text in [
            "CANT_REREAD: no section headers. file: 'x.conf', line: 1",
            "error: <class 'xmlrpclib.Fault'>, <Fault 92: 'CANT_REREAD: no section headers. file: 'x.conf', line: 1",
            "no section headers. file: 'x.conf', line: 1",
        ] {
            assert_eq!(of(text), format!("{said}no section headers. file: 'x.conf', line: 1"));
        }
        assert_eq!(of("CANT_REREAD: "), format!("{said}no reason given"));
    }
}
