//! The faults that a test can inject, and the set of faults in force on one node.
//!
//! Start at [`Fault`]. Faults are data: the modules that act (network, sshd, supervisord, init) query the set.
//! Invariants: a fault of one program affects no other program; clearing a fault restores a healthy node as far as the
//! fault allows (a process that it killed stays dead until something starts it).

use std::time::Duration;

use crate::LabError;

/// The moment in an action after which [`Fault::DropMidAction`] cuts the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A guard was started, and has not reported that it is ready.
    Lock,
    /// A guard was armed, and has not acknowledged it.
    Arm,
    /// The process has been stopped; no reply was sent and nothing was started yet.
    Stop,
    /// The process has been spawned and is not RUNNING yet.
    Start,
}

/// How a program fails to be spawned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnKind {
    /// `fork` or the log file fails: fault 50, `spawn error`; the process goes to BACKOFF.
    Spawn,
    /// The command does not exist: fault 20, `no such file`; the state does not change.
    NoFile,
    /// The command is not executable: fault 21, `file is not executable`.
    NotExecutable,
}

/// A request that a node never answers, while everything else works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The opening of a channel for a command.
    Session,
    /// The opening of a channel to a socket or a port.
    Forwarding,
    /// The running of a command.
    Command,
    /// The guard's scripts: it starts and prints nothing.
    Guard,
    /// The same, except that it prints half of its first line.
    HalfGuard,
    /// The line that arms the guard.
    Arm,
}

/// One fault of a node. Programs are named `name`, `group` or `group:name`; instances by their init name,
/// `supervisor-analytics`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing listens on the SSH port.
    Refused,
    /// A connect to the SSH port hangs: the listener's queue is full and SYNs are dropped.
    BlackHole,
    /// The connection is accepted, and no byte is ever sent.
    SilentAfterAccept,
    /// The connection is accepted and closed before the banner, as sshd does past MaxStartups.
    CloseBeforeBanner,
    /// The banner is bytes that no SSH client can read.
    GarbageBanner,
    /// The network dies silently: live connections stop moving, new ones hang.
    Freeze,
    /// known_hosts has another key for the node than the one it presents.
    WrongHostKey,
    /// known_hosts has an `@revoked` line for the node's key.
    RevokedHostKey,
    /// known_hosts has no line for the node.
    UnknownHostKey,
    /// Every login is refused.
    AuthRefused,
    /// A login is neither granted nor refused.
    HangOnLogin,
    /// On each connection the node sends nothing from its message of that number on; it keeps reading. Its banner is
    /// message 0.
    SilentAfter(u32),
    /// Requests of that kind are never answered.
    Unanswered(Request),
    /// Channels are opened with a receive window of zero, which never grows.
    NoWindow,
    /// The node answers an exec request with a failure, like an sshd that cannot start a process.
    CommandRefused,
    /// An action never finishes: a stopped process stays STOPPING, a started one STARTING.
    HangAction,
    /// All connections of the node are cut once in the middle of the next action; with `come_back` false nothing
    /// listens afterwards.
    DropMidAction {
        /// When the cut comes.
        after: Moment,
        /// Whether the node accepts connections again at once.
        come_back: bool,
    },
    /// A restart through init ends between its stop and its start, and the node runs no further command.
    HalfRestart,
    /// A restart through init is refused, with the message of the node's init.
    RestartDenied,
    /// A process left behind by a command that runs to its end keeps the streams open: the channel is never closed.
    StreamsHeld,
    /// Every process stays STARTING for this much longer than its `startsecs`.
    SlowStart(Duration),
    /// The program dies soon after each spawn, and stays in BACKOFF until it is started again. Takes effect at once.
    Backoff(String),
    /// The program dies soon after each spawn until its retries are used up: FATAL. Takes effect at once.
    Fatal(String),
    /// The program cannot be spawned (from the next start on).
    SpawnError {
        /// The program.
        program: String,
        /// The cause.
        kind: SpawnKind,
    },
    /// The program becomes RUNNING and dies this long after that, each time (from the next start on).
    Unstable {
        /// The program.
        program: String,
        /// How long it runs after it became RUNNING.
        after: Duration,
    },
    /// The program is meant to end: its `startsecs` is 0, it exits with 0 soon after each spawn, and stays EXITED (from
    /// the next start on).
    MadeToEnd(String),
    /// The RPC connection answers with bytes that are not HTTP.
    GarbageRpc,
    /// RPC replies are HTTP, but their body is not XML-RPC.
    GarbageXml,
    /// RPC replies have a body that never ends.
    EndlessRpc,
    /// Commands print endlessly.
    EndlessExec,
    /// Descriptions, spawn errors and logs hold terminal escape sequences and other control characters.
    ControlCharacters,
    /// Every free text of the node contains this text: descriptions, spawn errors, faults, logs, the banner before a
    /// login, the stderr of each command; and the first instance lists a process of that name.
    Says(String),
    /// All supervisords of the node are dead. Their socket files remain, and connects to them are refused.
    SupervisorDown,
    /// The supervisord of that instance is dead, as in [`Fault::SupervisorDown`].
    InstanceDown(String),
    /// No supervisord was ever installed: no socket, no init service.
    SupervisorMissing,
    /// supervisord is shutting down and answers fault 6 to everything.
    ShutdownState,
    /// sshd forbids forwarding of unix sockets and of TCP: only exec works.
    ForwardingForbidden,
    /// `supervisorctl` is not installed on the node (so the init wrappers cannot call it either).
    NoSupervisorctl,
    /// The node has no `flock`: a guard reports this and ends.
    NoFlock,
    /// The login user has no shell: each command and shell prints one line and exits with 1.
    NoLogin,
    /// The login shell prints two lines of its own to stdout before each command's output.
    ChattyLogin,
    /// The login user may not open the sockets, even as root, though it has its other privileges.
    PermissionDenied,
    /// A stale `/tmp` socket file exists next to the live one and refuses connects (release 3.x).
    StaleTmpSocket,
    /// The action is done, its reply is never sent, and the channel is closed.
    ReplyLost,
    /// Commands exit with the opposite code: 1 for success, 0 for failure.
    LyingExitCode,
    /// `reloadConfig` answers fault 92.
    BadConfig,
    /// The program has left a core file in /var/crashes.
    CoreFile(String),
    /// A configuration file of the supervisord with that short name (`webui`) exists, but no such supervisord runs.
    LeftConfig(String),
    /// The node's Contrail packages have this version instead of that of its release.
    Version(String),
    /// The program is RUNNING at every query, but has just exited for the third time in less than a minute, according
    /// to supervisord's log. Takes effect at once; it exits again every 15 s.
    CrashLoop(String),
    /// The inventory does not list this role (`web-ui`) for the node, though the node has it.
    Unlisted(String),
    /// The node scan never finishes.
    SearchHangs,
    /// The program's introspect says Non-Functional, with this description.
    NonFunctional {
        /// The program.
        program: String,
        /// The reported description.
        description: String,
    },
    /// The program's introspect port accepts connections and never answers.
    IntrospectHang(String),
    /// The program does not open its introspect port (a standby, or one that has just started).
    IntrospectClosed(String),
}

impl Fault {
    /// Parses a fault as written on a command line: `refused`, `slow-start=800ms`, `fatal=contrail-collector`,
    /// `drop-mid-action=stop` (`stop,gone` if it does not come back), `spawn-error=contrail-api:0` (also `no-file=`,
    /// `not-executable=`), `unstable=contrail-collector,300ms`.
    ///
    /// # Errors
    /// [`LabError::UnknownFault`] for an unknown fault name, or a missing or unreadable parameter.
    pub fn parse(text: &str) -> Result<Self, LabError> {
        let unknown = || LabError::UnknownFault(text.to_owned());
        let (word, arg) = match text.split_once('=') {
            Some((word, arg)) => (word, Some(arg)),
            None => (text, None),
        };
        let arg = || arg.filter(|a| !a.is_empty()).ok_or_else(unknown);
        let two = |default: &'static str| -> Result<(String, String), LabError> {
            let arg = arg()?;
            let (a, b) = arg.split_once(',').unwrap_or((arg, default));
            Ok((a.to_owned(), b.to_owned()))
        };
        let spawn = |kind| -> Result<Self, LabError> { Ok(Self::SpawnError { program: arg()?.to_owned(), kind }) };
        Ok(match word {
            "refused" => Self::Refused,
            "black-hole" => Self::BlackHole,
            "silent-after-accept" => Self::SilentAfterAccept,
            "close-before-banner" => Self::CloseBeforeBanner,
            "garbage-banner" => Self::GarbageBanner,
            "freeze" => Self::Freeze,
            "wrong-host-key" => Self::WrongHostKey,
            "revoked-host-key" => Self::RevokedHostKey,
            "unknown-host-key" => Self::UnknownHostKey,
            "auth-refused" => Self::AuthRefused,
            "hang-on-login" => Self::HangOnLogin,
            "silent-after" => Self::SilentAfter(arg()?.parse().map_err(|_| unknown())?),
            "unanswered" => Self::Unanswered(match arg()? {
                "session" => Request::Session,
                "forwarding" => Request::Forwarding,
                "command" => Request::Command,
                "guard" => Request::Guard,
                "half-guard" => Request::HalfGuard,
                "arm" => Request::Arm,
                _ => return Err(unknown()),
            }),
            "no-window" => Self::NoWindow,
            "command-refused" => Self::CommandRefused,
            "hang-action" => Self::HangAction,
            "drop-mid-action" => {
                let (after, back) = two("back")?;
                Self::DropMidAction {
                    after: match after.as_str() {
                        "lock" => Moment::Lock,
                        "arm" => Moment::Arm,
                        "stop" => Moment::Stop,
                        "start" => Moment::Start,
                        _ => return Err(unknown()),
                    },
                    come_back: match back.as_str() {
                        "back" => true,
                        "gone" => false,
                        _ => return Err(unknown()),
                    },
                }
            }
            "half-restart" => Self::HalfRestart,
            "streams-held" => Self::StreamsHeld,
            "restart-denied" => Self::RestartDenied,
            "slow-start" => Self::SlowStart(duration(arg()?).ok_or_else(unknown)?),
            "backoff" => Self::Backoff(arg()?.to_owned()),
            "fatal" => Self::Fatal(arg()?.to_owned()),
            "spawn-error" => spawn(SpawnKind::Spawn)?,
            "no-file" => spawn(SpawnKind::NoFile)?,
            "not-executable" => spawn(SpawnKind::NotExecutable)?,
            "unstable" => {
                let (program, after) = two("300ms")?;
                Self::Unstable { program, after: duration(&after).ok_or_else(unknown)? }
            }
            "made-to-end" => Self::MadeToEnd(arg()?.to_owned()),
            "garbage-rpc" => Self::GarbageRpc,
            "garbage-xml" => Self::GarbageXml,
            "endless-rpc" => Self::EndlessRpc,
            "endless-exec" => Self::EndlessExec,
            "control-characters" => Self::ControlCharacters,
            "says" => Self::Says(arg()?.to_owned()),
            "supervisor-down" => Self::SupervisorDown,
            "instance-down" => Self::InstanceDown(arg()?.to_owned()),
            "supervisor-missing" => Self::SupervisorMissing,
            "shutdown-state" => Self::ShutdownState,
            "forwarding-forbidden" => Self::ForwardingForbidden,
            "no-supervisorctl" => Self::NoSupervisorctl,
            "no-flock" => Self::NoFlock,
            "nologin" => Self::NoLogin,
            "chatty-login" => Self::ChattyLogin,
            "permission-denied" => Self::PermissionDenied,
            "stale-tmp-socket" => Self::StaleTmpSocket,
            "reply-lost" => Self::ReplyLost,
            "lying-exit-code" => Self::LyingExitCode,
            "bad-config" => Self::BadConfig,
            "core-file" => Self::CoreFile(arg()?.to_owned()),
            "left-config" => Self::LeftConfig(arg()?.to_owned()),
            "version" => Self::Version(arg()?.to_owned()),
            "crash-loop" => Self::CrashLoop(arg()?.to_owned()),
            "unlisted" => Self::Unlisted(arg()?.to_owned()),
            "search-hangs" => Self::SearchHangs,
            "non-functional" => {
                let (program, description) = two("Database:Global connection down")?;
                Self::NonFunctional { program, description }
            }
            "introspect-hang" => Self::IntrospectHang(arg()?.to_owned()),
            "introspect-closed" => Self::IntrospectClosed(arg()?.to_owned()),
            _ => return Err(unknown()),
        })
    }
}

impl Fault {
    /// Whether known_hosts depends on it.
    pub(crate) fn is_host_key(&self) -> bool {
        matches!(self, Self::WrongHostKey | Self::RevokedHostKey | Self::UnknownHostKey)
    }

    /// Whether it kills the supervisord of that name, and if so, whether its socket file remains.
    pub(crate) fn downs(&self, service: &str) -> Option<bool> {
        if *self == Self::SupervisorDown {
            return Some(true);
        }
        if *self == Self::SupervisorMissing {
            return Some(false);
        }
        matches!(self, Self::InstanceDown(name) if name == service).then_some(true)
    }

    /// Whether it makes a process exit repeatedly.
    pub(crate) fn loops(&self, group: &str, name: &str) -> bool {
        matches!(self, Self::CrashLoop(program) if names(program, group, name))
    }

    /// Whether it makes a process die too soon after each spawn, and if so, whether the process ends up FATAL.
    pub(crate) fn breaks(&self, group: &str, name: &str) -> Option<bool> {
        let (program, fatal) = if let Self::Fatal(program) = self {
            (program, true)
        } else if let Self::Backoff(program) = self {
            (program, false)
        } else {
            return None;
        };
        names(program, group, name).then_some(fatal)
    }
}

/// `300ms`, `2s` or a bare number of seconds.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let value: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(value * unit).ok()
}

/// Whether a program named as in a [`Fault`] is this process.
pub(crate) fn names(program: &str, group: &str, name: &str) -> bool {
    match program.split_once(':') {
        Some((g, n)) => g == group && (n == name || n == "*"),
        None => program == group || program == name || program == "all",
    }
}

/// The faults in force on one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultSet(Vec<Fault>);

impl FaultSet {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    pub(crate) fn has(&self, fault: &Fault) -> bool {
        self.0.contains(fault)
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        if !self.has(&fault) {
            self.0.push(fault);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn remove(&mut self, fault: &Fault) {
        self.0.retain(|f| f != fault);
    }

    /// The number of messages that a connection sends before it falls silent.
    pub(crate) fn silent_after(&self) -> Option<u32> {
        self.0.iter().find_map(|fault| if let Fault::SilentAfter(number) = fault { Some(*number) } else { None })
    }

    /// Programs that have left core files.
    pub(crate) fn cores(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter_map(|fault| if let Fault::CoreFile(program) = fault { Some(program.as_str()) } else { None })
    }

    /// The text that every message of the node must contain.
    pub(crate) fn says(&self) -> Option<String> {
        self.0.iter().find_map(|fault| if let Fault::Says(text) = fault { Some(text.clone()) } else { None })
    }

    /// The version of the packages, if it differs from the release's.
    pub(crate) fn version(&self) -> Option<String> {
        self.0.iter().find_map(|fault| if let Fault::Version(version) = fault { Some(version.clone()) } else { None })
    }

    /// The reason why a process cannot be spawned.
    pub(crate) fn spawn(&self, group: &str, name: &str) -> Option<SpawnKind> {
        self.0.iter().find_map(|f| {
            if let Fault::SpawnError { program, kind } = f
                && names(program, group, name)
            {
                Some(*kind)
            } else {
                None
            }
        })
    }

    /// The time from its spawn after which a process dies that needs `up` to be up.
    pub(crate) fn death(&self, group: &str, name: &str, up: Duration) -> Option<Duration> {
        self.0.iter().find_map(|f| {
            if f.breaks(group, name).is_some() {
                Some((up / 4).min(Duration::from_millis(50)))
            } else if matches!(f, Fault::MadeToEnd(program) if names(program, group, name)) {
                Some(up + Duration::from_millis(10))
            } else if f.loops(group, name) {
                Some(up + Duration::from_secs(15))
            } else if let Fault::Unstable { program, after } = f
                && names(program, group, name)
            {
                Some(up + *after)
            } else {
                None
            }
        })
    }

    /// Whether a process is meant to end.
    pub(crate) fn ends(&self, group: &str, name: &str) -> bool {
        self.0.iter().any(|f| matches!(f, Fault::MadeToEnd(program) if names(program, group, name)))
    }

    /// The time that a start takes in addition to `startsecs`.
    pub(crate) fn slow_start(&self) -> Duration {
        let more = |f: &Fault| if let Fault::SlowStart(d) = f { *d } else { Duration::ZERO };
        self.0.iter().map(more).sum()
    }

    /// Whether a process stays in BACKOFF after it died.
    pub(crate) fn stays_in_backoff(&self, group: &str, name: &str) -> bool {
        self.0.iter().any(|f| f.breaks(group, name) == Some(false))
    }

    /// The description that a Non-Functional program reports.
    pub(crate) fn non_functional(&self, group: &str, name: &str) -> Option<&str> {
        self.0.iter().find_map(|f| {
            if let Fault::NonFunctional { program, description } = f
                && names(program, group, name)
            {
                Some(description.as_str())
            } else {
                None
            }
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// Returns the pending order to cut connections at this moment, if any, and removes it: it applies once.
    pub(crate) fn take_drop(&mut self, moment: Moment) -> Option<bool> {
        let at = self.0.iter().position(|f| matches!(f, Fault::DropMidAction { after, .. } if *after == moment))?;
        let Fault::DropMidAction { come_back, .. } = self.0.remove(at) else {
            return None;
        };
        Some(come_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_a_command_line() {
        let parse = |t| Fault::parse(t).ok();
        assert_eq!(parse("refused"), Some(Fault::Refused));
        assert_eq!(parse("slow-start=800ms"), Some(Fault::SlowStart(Duration::from_millis(800))));
        assert_eq!(
            parse("drop-mid-action=stop,gone"),
            Some(Fault::DropMidAction { after: Moment::Stop, come_back: false })
        );
        assert_eq!(
            parse("unstable=contrail-collector"),
            Some(Fault::Unstable { program: "contrail-collector".into(), after: Duration::from_millis(300) })
        );
        for bad in ["", "refusd", "fatal", "fatal=", "slow-start=x", "slow-start=-1s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_program_is_named_by_process_group_or_both() {
        assert!(names("contrail-api", "contrail-api", "0"));
        assert!(names("contrail-api:0", "contrail-api", "0"));
        assert!(!names("contrail-api:1", "contrail-api", "0"));
        assert!(!names("contrail", "contrail-api", "0"));
    }
}
