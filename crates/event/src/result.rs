//! One result, and the enums it is made of. Their names are those of the JSON output and never change.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::functional::FunctionalStatus;
use super::item::ItemLabel;
use super::log::FailureEvidence;
use super::string_enum::string_enum;

/// Result of one target: one (node, role's supervisord, service).
///
/// A node that could not be asked has one for each service as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Result"))]
pub struct TargetResult {
    /// Name of the node in the inventory.
    pub node: String,
    /// Its address.
    pub address: Option<String>,
    /// The role of the supervisord.
    pub role: Option<String>,
    /// Name of the supervisord instance, such as `supervisor-analytics`.
    pub supervisor: Option<String>,
    /// The service as supervisord prints it (`contrail-api:0`), or as the user typed it.
    pub service: Option<String>,
    /// The outcome of our action.
    pub outcome: Outcome,
    /// The state of the process in supervisord (or init).
    pub state: Option<ProcessState>,
    /// Process id on the node.
    pub pid: Option<u32>,
    /// Seconds since the process started, by the node's clock.
    pub uptime_s: Option<u64>,
    /// The functional state of the service. None if it was not queried, or runs and cannot be queried.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub functional: Option<FunctionalStatus>,
    /// Why it is not active, as the service or supervisord puts it. Untrusted text: sinks make it safe.
    pub functional_reason: Option<String>,
    /// Version of the role's package on the node, if it was queried and is known. Untrusted text: sinks make it safe.
    pub version: Option<String>,
    /// A note that is no failure. Untrusted text: sinks make it safe.
    pub message: String,
    /// Present for every bad outcome.
    pub failure: Option<Failure>,
    /// Why the service is not up after an action.
    pub evidence: Option<FailureEvidence>,
    /// The backend that reached supervisord.
    pub via: Option<Via>,
    /// Number of the batch.
    pub batch: Option<u32>,
    /// Time spent on this target, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The item of a sequence; none for everything else.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemLabel>,
    /// The command of `exec`; none for every other action.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandRun>,
}

/// What a command printed, and how it ended. A command that was not started has none of it: see [`Self::NOT_STARTED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandRun {
    /// Exit code; none if a signal killed it, if it did not run, or if its end is unknown.
    pub exit_status: Option<u32>,
    /// The signal that killed it, without `SIG`: `KILL`.
    pub signal: Option<String>,
    /// Standard output, broken UTF-8 replaced. Untrusted text: sinks make it safe.
    pub stdout: Option<String>,
    /// Standard error, broken UTF-8 replaced. Untrusted text: sinks make it safe.
    pub stderr: Option<String>,
    /// Whether either was longer than what is kept.
    // An absent field is an error here, unlike null: results of other actions are read back without a command.
    #[serde(deserialize_with = "Option::deserialize")]
    pub truncated: Option<bool>,
}

impl CommandRun {
    /// A command that was not started.
    pub const NOT_STARTED: Self = Self { exit_status: None, signal: None, stdout: None, stderr: None, truncated: None };
}

impl TargetResult {
    /// A result for `node` with nothing but its outcome.
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
            item: None,
            command: None,
        }
    }
}

/// The functional state of a program that has done its work, as systemd shows a oneshot unit: `active (exited)`.
const ENDED_WELL: FunctionalStatus = FunctionalStatus::Active;

impl TargetResult {
    /// Whether a service or supervisord that should run is down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.outcome.is_bad()
            // A program that runs once is not down after its expected end, although it no longer runs.
            || self.state.is_some_and(|state| state != ProcessState::Running && !self.has_ended_well())
    }

    /// Whether its program runs once, and has ended as expected.
    #[must_use]
    pub fn has_ended_well(&self) -> bool {
        self.state == Some(ProcessState::Exited) && self.functional == Some(ENDED_WELL)
    }

    /// The same result for a program that runs once and has ended as expected.
    #[must_use]
    pub fn ended_well(mut self) -> Self {
        self.functional = Some(ENDED_WELL);
        self.functional_reason = Some("ended as expected".to_owned());
        self.message = "ended as expected".to_owned();
        self
    }

    /// The name of the target for people: its service, or the item of a sequence that is not about services, or the undo
    /// of an item.
    #[must_use]
    pub fn target_name(&self) -> Option<Cow<'_, str>> {
        self.service.as_deref().map(Cow::Borrowed).or(self.item.as_ref().map(ItemLabel::shown))
    }

    /// The command of `exec`, if it was started: only then it has an output, which may be empty.
    #[must_use]
    pub fn started_command(&self) -> Option<&CommandRun> {
        // A started command has its output, even if empty; only `NOT_STARTED` has none.
        self.command.as_ref().filter(|run| run.stdout.is_some())
    }

    /// The same with the names of the target in its hint.
    #[must_use]
    pub fn with_names_in_hint(mut self) -> Self {
        let names = self.service.as_slice();
        // What there is to do about an item is to be done where it ran.
        let node = self.item.as_ref().and_then(|label| label.on.as_ref()).unwrap_or(&self.node);
        self.failure = self.failure.map(|failure| failure.with_names_in_hint(node, self.role.as_deref(), names));
        self
    }
}

/// Why an outcome is bad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The stage at which it failed.
    pub stage: Stage,
    /// Its kind, a name that scripts may rely on.
    pub kind: FailureKind,
    /// Its description, in a sentence. Untrusted text: sinks make it safe.
    pub message: String,
    /// The next step for the user.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(stage: Stage, kind: FailureKind, message: impl Into<String>) -> Self {
        Self { stage, kind, message: message.into(), hint: None }
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with its placeholders `{node}`, `{service}` and `{role}` in the hint replaced.
    #[must_use]
    pub fn with_names_in_hint(mut self, node: &str, role: Option<&str>, services: &[String]) -> Self {
        // Only a hint with placeholders changes.
        if let Some(hint) = self.hint.as_mut().filter(|hint| hint.contains('{')) {
            // Quoting fails only for a NUL character, which no name contains.
            let quoted = services.iter().map(|name| shlex::try_quote(name).unwrap_or_default());
            let services = quoted.collect::<Vec<_>>().join(" ");
            *hint = match services.as_str() {
                // Without a service, its space goes as well.
                "" => hint.replace("{service} ", ""),
                services => hint.replace("{service}", services),
            };
            *hint = hint.replace("{node}", node).replace("{role}", role.unwrap_or("ROLE"));
        }
        self
    }

    /// The outcome of a target that this failure kept from being read, before anything was changed. A limit of this
    /// machine does not make its node unreachable.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        // No wildcard: a new kind must choose its outcome here.
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
    /// Outcome of an action on one target. The order is from good to bad: the worst of a node stands for the node.
    Outcome {
        /// No supervisord of the node lists the service.
        NotConfigured = "not_configured",
        /// No change was needed, or the status was read.
        Ok = "ok",
        /// The action is done, and verified.
        Changed = "changed",
        /// The node is marked `maintenance`.
        Skipped = "skipped",
        /// Nothing was started.
        NotStarted = "not_started",
        /// No session with the node could be opened.
        Unreachable = "unreachable",
        /// The action exceeded its time limit.
        TimedOut = "timed_out",
        /// The action failed.
        Failed = "failed",
        /// It may have been done, and could not be read again.
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
    /// The stage that failed. Later versions can add values.
    Stage {
        /// Before any connection.
        Plan = "plan",
        /// Resolving the address and opening the connection, up to the host key.
        Connect = "connect",
        /// Logging in.
        Authenticate = "authenticate",
        /// Finding the node's supervisords and reading their process lists.
        Inspect = "inspect",
        /// The action itself.
        Act = "act",
        /// Reading the result.
        Verify = "verify",
    }
}

string_enum! {
    /// Cause of a failure. Later versions can add values.
    FailureKind {
        /// The name does not resolve.
        Dns = "dns",
        /// Nothing listens on the port.
        Refused = "refused",
        /// No route to the network or host.
        UnreachableNetwork = "unreachable_network",
        /// No authenticated session within the time limit.
        ConnectTimeout = "connect_timeout",
        /// The peer does not send an SSH banner.
        Banner = "banner",
        /// No common algorithm, or the key exchange failed.
        Negotiation = "negotiation",
        /// No known_hosts file has the host's key.
        HostKeyUnknown = "host_key_unknown",
        /// known_hosts has a different key for this host.
        HostKeyChanged = "host_key_changed",
        /// The host's key is marked `@revoked`.
        HostKeyRevoked = "host_key_revoked",
        /// The node rejected the user or every key.
        Auth = "auth",
        /// A key file could not be used.
        KeyFile = "key_file",
        /// The SSH agent could not be used.
        Agent = "agent",
        /// A bastion or proxy command failed.
        Proxy = "proxy",
        /// The connection was lost.
        ConnectionLost = "connection_lost",
        /// This machine, not the node, has run out of a resource: open files, ports, memory.
        Controller = "controller",
        /// sudo failed.
        Sudo = "sudo",
        /// The user may not use the control socket.
        Permission = "permission",
        /// The instance exists on the node, but does not answer.
        SupervisorDown = "supervisor_down",
        /// The node has no such instance.
        SupervisorMissing = "supervisor_missing",
        /// No supervisord of the node lists the service.
        NoSuchService = "no_such_service",
        /// The program could not be spawned.
        SpawnError = "spawn_error",
        /// The program exited before it counted as started.
        AbnormalTermination = "abnormal_termination",
        /// supervisord stopped trying.
        Fatal = "fatal",
        /// It came up and did not stay up.
        Unstable = "unstable",
        /// The action on one node exceeded its time limit.
        TimedOut = "timed_out",
        /// A gate did not pass.
        Gate = "gate",
        /// The failure limit was reached.
        Limit = "limit",
        /// The role's cap allows no more nodes down.
        MaxUnavailable = "max_unavailable",
        /// Another run holds the node.
        Locked = "locked",
        /// A signal arrived.
        Interrupted = "interrupted",
        /// The node's answer is invalid.
        Protocol = "protocol",
        /// A command exited with a code other than 0.
        Command = "command",
        /// supervisord cannot read its configuration.
        Config = "config",
        /// The service has no such log, or none that this backend can read.
        NoLog = "no_log",
    }
}

string_enum! {
    /// The backend that reaches a supervisord.
    Via {
        /// XML-RPC over a forwarded socket.
        Rpc = "rpc",
        /// `supervisorctl`, executed on the node.
        Supervisorctl = "supervisorctl",
        /// The init wrapper `service NAME VERB`.
        Service = "service",
    }
}

impl Via {
    /// What it is, in a few words for help texts.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Rpc => "XML-RPC over a forwarded socket",
            Self::Supervisorctl => "The supervisorctl command on the node",
            Self::Service => "The init script of the service",
        }
    }
}

string_enum! {
    /// State of a process, in supervisord's words (supervisor 3.0 to 4.2.5, `supervisor/states.py`).
    /// The state of a service that init runs is mapped to the same words.
    ProcessState {
        /// Stopped by request, or never started.
        Stopped = "STOPPED",
        /// Spawned, and up for less than `startsecs`.
        Starting = "STARTING",
        /// Up for `startsecs`.
        Running = "RUNNING",
        /// Exited too early; supervisord will retry.
        Backoff = "BACKOFF",
        /// Asked to stop, and still there.
        Stopping = "STOPPING",
        /// Exited on its own.
        Exited = "EXITED",
        /// supervisord gave up starting it.
        Fatal = "FATAL",
        /// A state that supervisord does not define, or its own UNKNOWN.
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
    fn only_connection_failures_make_a_node_unreachable() {
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
    fn only_results_of_exec_have_the_fields_of_a_command() {
        let other = TargetResult::new("a1", Outcome::Unreachable);
        let ran = CommandRun { exit_status: Some(1), stdout: Some("x".to_owned()), ..CommandRun::NOT_STARTED };
        for command in [None, Some(CommandRun::NOT_STARTED), Some(ran)] {
            let result = TargetResult { command, ..other.clone() };
            let json = serde_json::to_value(&result).expect("JSON");
            for field in ["exit_status", "signal", "stdout", "stderr", "truncated"] {
                assert_eq!(json.get(field).is_some(), result.command.is_some(), "{field} of {json}");
            }
            assert_eq!(serde_json::from_value::<TargetResult>(json).expect("a result"), result);
        }
    }

    #[test]
    fn a_finished_oneshot_is_not_down() {
        let exited = || TargetResult { state: Some(ProcessState::Exited), ..TargetResult::new("a1", Outcome::Ok) };
        assert!(exited().is_down() && !exited().ended_well().is_down());
        assert!(!TargetResult { state: Some(ProcessState::Running), ..exited() }.is_down());
        assert!(TargetResult::new("a1", Outcome::Unreachable).is_down());
    }
}
