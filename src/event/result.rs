//! One result, and the words it is made of. The words are those of the JSON output and never change.

use serde::{Deserialize, Serialize};

use super::facts::FailureEvidence;
use super::string_enum::string_enum;

/// What became of one target: one (node, role's supervisord, service).
///
/// For a node that could not be asked there is one for each service as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetResult {
    /// Name of the node in the inventory.
    pub node: String,
    /// The address it was reached at.
    pub address: Option<String>,
    /// The role whose supervisord this is.
    pub role: Option<String>,
    /// Name of the supervisord instance, such as `supervisor-analytics`.
    pub supervisor: Option<String>,
    /// The service as supervisord prints it (`contrail-api:0`), or as it was typed.
    pub service: Option<String>,
    /// What became of our action.
    pub outcome: Outcome,
    /// What supervisord (or init) says of the process.
    pub state: Option<ProcessState>,
    /// Process id on the node.
    pub pid: Option<u32>,
    /// Seconds since the process was started, by the node's clock.
    pub uptime_s: Option<u64>,
    /// How the service does its work: `active`, `initializing`, `backup`, `timeout`, `failed`, `inactive`. None where
    /// it was not asked, or runs and cannot be asked.
    pub functional: Option<String>,
    /// Why it is not active, in its own or supervisord's words. Untrusted text: sinks make it safe.
    pub functional_reason: Option<String>,
    /// Version of the role's package on the node, where it was asked for and is known. Untrusted text: sinks make it
    /// safe.
    pub version: Option<String>,
    /// Something worth telling that is no failure. Untrusted text: sinks make it safe.
    pub message: String,
    /// Present for every outcome that is bad.
    pub failure: Option<Failure>,
    /// Why the service is not up, where an action ended so.
    pub evidence: Option<FailureEvidence>,
    /// How supervisord was reached.
    pub via: Option<Via>,
    /// Number of the batch.
    pub batch: Option<u32>,
    /// Time spent on this target, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What a command did; of `exec` alone.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandRun>,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRun {
    /// Exit code; none if a signal ended it, it did not run or its end is not known.
    pub exit_status: Option<u32>,
    /// The signal that ended it, without `SIG`: `KILL`.
    pub signal: Option<String>,
    /// Standard output, broken UTF-8 replaced. Untrusted text: sinks make it safe.
    pub stdout: String,
    /// Standard error, broken UTF-8 replaced. Untrusted text: sinks make it safe.
    pub stderr: String,
    /// Whether either was longer than what is kept.
    pub truncated: bool,
}

impl TargetResult {
    /// A result for `node` that says nothing yet but its outcome.
    #[must_use]
    pub fn new(node: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            node: node.into(),
            address: None,
            role: None,
            supervisor: None,
            service: None,
            outcome,
            state: None,
            pid: None,
            uptime_s: None,
            functional: None,
            functional_reason: None,
            version: None,
            message: String::new(),
            failure: None,
            evidence: None,
            via: None,
            batch: None,
            duration_ms: None,
            command: None,
        }
    }
}

/// How a program does its work that has done it, as systemd says of a oneshot unit: `active (exited)`.
const ENDED_WELL: &str = "active";

impl TargetResult {
    /// Whether it says that something is down which is to run.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.outcome.is_bad()
            || self.state.is_some_and(|state| state != ProcessState::Running && !self.has_ended_well())
    }

    /// Whether it is of a program that is made to end, and has ended as expected.
    #[must_use]
    pub fn has_ended_well(&self) -> bool {
        self.state == Some(ProcessState::Exited) && self.functional.as_deref() == Some(ENDED_WELL)
    }

    /// The same, of a program that is made to end and has ended as expected.
    #[must_use]
    pub fn ended_well(mut self) -> Self {
        self.functional = Some(ENDED_WELL.to_owned());
        self.functional_reason = Some("ended as expected".to_owned());
        self.message = "ended as expected".to_owned();
        self
    }

    /// The same with the names of the target in its hint.
    #[must_use]
    pub fn with_names_in_hint(mut self) -> Self {
        let names = self.service.as_slice();
        self.failure = self.failure.map(|failure| failure.with_names_in_hint(&self.node, self.role.as_deref(), names));
        self
    }
}

/// Why a target's outcome is bad: for the person on call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// What went wrong, as one word that scripts may rely on.
    pub kind: FailureKind,
    /// What went wrong, in a sentence. Untrusted text: sinks make it safe.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(stage: Stage, kind: FailureKind, message: impl Into<String>) -> Self {
        Self { stage, kind, message: message.into(), hint: None }
    }

    /// The same failure with what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with names in its hint: the code that writes a hint puts `{node}`, `{service}`, `{role}` there.
    #[must_use]
    pub fn with_names_in_hint(mut self, node: &str, role: Option<&str>, services: &[String]) -> Self {
        if let Some(hint) = self.hint.as_mut().filter(|hint| hint.contains('{')) {
            let quoted = services.iter().map(|name| shlex::try_quote(name).unwrap_or_default());
            let services = quoted.collect::<Vec<_>>().join(" ");
            *hint = match services.as_str() {
                "" => hint.replace("{service} ", ""),
                services => hint.replace("{service}", services),
            };
            *hint = hint.replace("{node}", node).replace("{role}", role.unwrap_or("ROLE"));
        }
        self
    }

    /// The outcome of a target that could not be read because of it, before anything was changed. A limit of this
    /// machine does not make its node unreachable.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        use FailureKind as K;
        match self.kind {
            K::Dns
            | K::Refused
            | K::UnreachableNetwork
            | K::ConnectTimeout
            | K::Banner
            | K::Negotiation
            | K::HostKeyUnknown
            | K::HostKeyChanged
            | K::HostKeyRevoked
            | K::Auth
            | K::KeyFile
            | K::Agent
            | K::Proxy
            | K::ConnectionLost => Outcome::Unreachable,
            K::TimedOut => Outcome::TimedOut,
            K::Controller
            | K::Sudo
            | K::Permission
            | K::SupervisorDown
            | K::SupervisorMissing
            | K::NoSuchService
            | K::SpawnError
            | K::AbnormalTermination
            | K::Fatal
            | K::Unstable
            | K::Gate
            | K::Limit
            | K::MaxUnavailable
            | K::Locked
            | K::Interrupted
            | K::Protocol
            | K::Command
            | K::Config
            | K::NoLog => Outcome::Failed,
        }
    }
}

string_enum! {
    /// What became of an action on one target. The order is from good to bad: the worst of a node stands for the node.
    Outcome {
        /// Its node's supervisords do not list the service.
        NotConfigured = "not_configured",
        /// Nothing needed changing, or the status was read.
        Ok = "ok",
        /// The action was done, and proved.
        Changed = "changed",
        /// The node is marked `maintenance`.
        Skipped = "skipped",
        /// Nothing was begun.
        NotStarted = "not_started",
        /// No session with the node could be had.
        Unreachable = "unreachable",
        /// The action did not end in time.
        TimedOut = "timed_out",
        /// The action failed.
        Failed = "failed",
        /// It may have begun, and could not be read again.
        Unknown = "unknown",
    }
}

impl Outcome {
    /// Whether a result with this outcome carries a [`Failure`].
    #[must_use]
    pub const fn is_bad(self) -> bool {
        match self {
            Self::NotConfigured | Self::Ok | Self::Changed | Self::Skipped => false,
            Self::NotStarted | Self::Unreachable | Self::TimedOut | Self::Failed | Self::Unknown => true,
        }
    }
}

string_enum! {
    /// What was being done when something failed.
    Stage {
        /// Nothing yet.
        Plan = "plan",
        /// Finding the address and opening the connection, up to the host key.
        Connect = "connect",
        /// Logging in.
        Authenticate = "authenticate",
        /// Finding the node's supervisords and reading what they list.
        Inspect = "inspect",
        /// Doing what was asked.
        Act = "act",
        /// Reading what became of it.
        Verify = "verify",
    }
}

string_enum! {
    /// What went wrong. More may come.
    FailureKind {
        /// The name has no address.
        Dns = "dns",
        /// Nothing listens there.
        Refused = "refused",
        /// There is no way to that network or host.
        UnreachableNetwork = "unreachable_network",
        /// No authenticated session in time.
        ConnectTimeout = "connect_timeout",
        /// What listens there does not greet as an SSH server.
        Banner = "banner",
        /// No common algorithm, or the key exchange failed.
        Negotiation = "negotiation",
        /// No known_hosts file holds the host's key.
        HostKeyUnknown = "host_key_unknown",
        /// known_hosts holds another key for this host.
        HostKeyChanged = "host_key_changed",
        /// The host's key is marked `@revoked`.
        HostKeyRevoked = "host_key_revoked",
        /// The node refused the user or every key.
        Auth = "auth",
        /// A key file could not be used.
        KeyFile = "key_file",
        /// The SSH agent could not be used.
        Agent = "agent",
        /// A bastion or proxy command failed.
        Proxy = "proxy",
        /// The connection was lost.
        ConnectionLost = "connection_lost",
        /// This machine, not the node, is out of something: open files, ports, memory.
        Controller = "controller",
        /// sudo refused.
        Sudo = "sudo",
        /// The user may not use the control socket.
        Permission = "permission",
        /// The instance exists on the node, and nothing answers on its address.
        SupervisorDown = "supervisor_down",
        /// The node has no such instance.
        SupervisorMissing = "supervisor_missing",
        /// None of the node's supervisords lists the service.
        NoSuchService = "no_such_service",
        /// The program could not be spawned.
        SpawnError = "spawn_error",
        /// The program ended before it counted as started.
        AbnormalTermination = "abnormal_termination",
        /// supervisord gave up on it.
        Fatal = "fatal",
        /// It came up and did not stay up.
        Unstable = "unstable",
        /// The time for the action on one node was over.
        TimedOut = "timed_out",
        /// A gate was not met.
        Gate = "gate",
        /// The limit on failures was reached.
        Limit = "limit",
        /// The role's cap leaves no room.
        MaxUnavailable = "max_unavailable",
        /// Another run holds the node.
        Locked = "locked",
        /// A signal came.
        Interrupted = "interrupted",
        /// The node's answer makes no sense.
        Protocol = "protocol",
        /// A command ended with another code than 0.
        Command = "command",
        /// supervisord cannot read its configuration.
        Config = "config",
        /// The service has no such log, or none that can be read this way.
        NoLog = "no_log",
    }
}

string_enum! {
    /// How a supervisord is reached.
    Via {
        /// XML-RPC over a forwarded socket.
        Rpc = "rpc",
        /// `supervisorctl`, executed on the node.
        Supervisorctl = "supervisorctl",
        /// The init wrapper `service NAME VERB`.
        Service = "service",
    }
}

string_enum! {
    /// State of a process, in supervisord's words (supervisor 3.0 to 4.2.5, `supervisor/states.py`).
    /// What init says of a service is put into the same words.
    ProcessState {
        /// Stopped by request, or never started.
        Stopped = "STOPPED",
        /// Spawned, and not yet up for `startsecs`.
        Starting = "STARTING",
        /// Up for `startsecs`.
        Running = "RUNNING",
        /// Ended too early; supervisord will try again.
        Backoff = "BACKOFF",
        /// Told to stop, and not yet gone.
        Stopping = "STOPPING",
        /// Ended by itself.
        Exited = "EXITED",
        /// supervisord gave up starting it.
        Fatal = "FATAL",
        /// A word that supervisord does not use, or its own UNKNOWN.
        Unknown = "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_have_the_names_of_their_target() {
        let hint = |service: Option<&str>, role: Option<&str>, hint: &str| {
            let failure = Failure::new(Stage::Act, FailureKind::Fatal, "x").with_hint(hint);
            let result = TargetResult {
                service: service.map(str::to_owned),
                role: role.map(str::to_owned),
                failure: Some(failure),
                ..TargetResult::new("a1", Outcome::Failed)
            };
            result.with_names_in_hint().failure.and_then(|failure| failure.hint).unwrap_or_default()
        };
        let log = "`ctl logs {service} --stderr -w {node}`";
        assert_eq!(hint(Some("contrail-api:0"), None, log), "`ctl logs contrail-api:0 --stderr -w a1`");
        assert_eq!(hint(None, None, log), "`ctl logs --stderr -w a1`");
        assert_eq!(hint(Some("x; reboot"), None, log), "`ctl logs 'x; reboot' --stderr -w a1`");
        let role = "`roles: {{role}: {oneshot: [{service}]}}`";
        assert_eq!(hint(Some("x"), Some("analytics"), role), "`roles: {analytics: {oneshot: [x]}}`");
        assert_eq!(hint(Some("x"), None, "wait"), "wait");
    }

    #[test]
    fn only_what_kept_from_the_node_makes_it_unreachable() {
        let table = [
            (FailureKind::Refused, Outcome::Unreachable),
            (FailureKind::Auth, Outcome::Unreachable),
            (FailureKind::ConnectionLost, Outcome::Unreachable),
            (FailureKind::TimedOut, Outcome::TimedOut),
            (FailureKind::Controller, Outcome::Failed),
            (FailureKind::SupervisorDown, Outcome::Failed),
            (FailureKind::Command, Outcome::Failed),
        ];
        for (kind, outcome) in table {
            assert_eq!(Failure::new(Stage::Connect, kind, "x").outcome(), outcome, "{kind}");
        }
    }

    #[test]
    fn what_has_ended_well_is_not_down() {
        let exited = || TargetResult { state: Some(ProcessState::Exited), ..TargetResult::new("a1", Outcome::Ok) };
        assert!(exited().is_down() && !exited().ended_well().is_down());
        assert!(!TargetResult { state: Some(ProcessState::Running), ..exited() }.is_down());
        assert!(TargetResult::new("a1", Outcome::Unreachable).is_down());
    }
}
