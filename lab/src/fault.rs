//! The faults a test may order, and the set of them that is in force on one node.
//!
//! Start at [`Fault`]. Faults are data: the modules that act (network, sshd, supervisord, init) ask the set.
//! Always holds: an order to break one program touches no other; clearing a fault gives back a well node as
//! far as the fault allows (a process it killed stays dead until something starts it).

use std::time::Duration;

use crate::LabError;

/// The moment in an action after which [`Fault::DropMidAction`] cuts the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A guard was started, and has not said that it is ready.
    Lock,
    /// A guard was armed, and has not said so.
    Arm,
    /// The process has been stopped, nothing has been answered and nothing started yet.
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

/// What a node never answers to, though all else goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The opening of a channel for a command.
    Session,
    /// The opening of a channel to a socket or a port.
    Forwarding,
    /// The running of a command.
    Command,
    /// The guard's scripts: it is started and says nothing.
    Guard,
    /// The same, but for half of its first line.
    HalfGuard,
    /// The line that arms the guard.
    Arm,
}

/// One thing that is wrong with a node. Programs are named `name`, `group` or `group:name`; instances by
/// their init name, `supervisor-analytics`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing listens on the SSH port.
    Refused,
    /// A connect to the SSH port hangs: the listener's queue is full and SYNs are dropped.
    BlackHole,
    /// The connection is accepted, and no byte is ever sent.
    SilentAfterAccept,
    /// The connection is accepted and closed before the greeting, as sshd does past MaxStartups.
    CloseBeforeBanner,
    /// The greeting is bytes that no SSH client can read.
    GarbageBanner,
    /// The network dies without a word: live connections stop moving, new ones hang.
    Freeze,
    /// known_hosts names another key for the node than the one it shows.
    WrongHostKey,
    /// known_hosts has an `@revoked` line for the node's key.
    RevokedHostKey,
    /// known_hosts has no line for the node.
    UnknownHostKey,
    /// Every login is refused.
    AuthRefused,
    /// A login is neither granted nor refused.
    HangOnLogin,
    /// From its message of that number on the node says nothing, on each connection; it goes on reading. Its greeting is
    /// number 0.
    SilentAfter(u32),
    /// Requests of that kind are never answered.
    Unanswered(Request),
    /// Channels are opened with no room for what is written to them, and never get any.
    NoWindow,
    /// The node answers the request for a command with a failure, as sshd does that cannot start a process.
    CommandRefused,
    /// An action never answers: a stopped process stays STOPPING, a started one STARTING.
    HangAction,
    /// All connections of the node are cut once in the middle of the next action; with `come_back` false
    /// nothing listens any more afterwards.
    DropMidAction {
        /// When the cut comes.
        after: Moment,
        /// Whether the node accepts connections again at once.
        come_back: bool,
    },
    /// A restart through init ends between its stop and its start, and the node runs no further command.
    HalfRestart,
    /// A restart through init is refused, in the words of the node's init.
    RestartDenied,
    /// What a command that goes on to its end leaves behind keeps its streams open: its channel is never closed.
    StreamsHeld,
    /// Every process stays STARTING for this much longer than its `startsecs`.
    SlowStart(Duration),
    /// The program dies soon after each spawn, and is retried for ever: BACKOFF. Takes effect at once.
    Backoff(String),
    /// The program dies soon after each spawn until its retries are spent: FATAL. Takes effect at once.
    Fatal(String),
    /// The program cannot be spawned (from the next start on).
    SpawnError {
        /// The program.
        program: String,
        /// Why not.
        kind: SpawnKind,
    },
    /// The program becomes RUNNING and dies this long after that, each time (from the next start on).
    Unstable {
        /// The program.
        program: String,
        /// How long it runs after it became RUNNING.
        after: Duration,
    },
    /// The program is made to end: its `startsecs` is 0, and it ends with 0 soon after each spawn, and stays EXITED (from
    /// the next start on).
    MadeToEnd(String),
    /// The RPC connection answers bytes that are not HTTP.
    GarbageRpc,
    /// RPC replies are HTTP, their body is not XML-RPC.
    GarbageXml,
    /// RPC replies have a body that never ends.
    EndlessRpc,
    /// Commands print without end.
    EndlessExec,
    /// Descriptions, spawn errors and logs hold terminal escape sequences and other control characters.
    ControlCharacters,
    /// Whatever the node says in words of its own holds this text: descriptions, spawn errors, faults, logs, the banner
    /// before a login, what each command prints to stderr; and the first instance lists a process of that name.
    Says(String),
    /// All supervisords of the node are dead; their socket files are left behind and refuse.
    SupervisorDown,
    /// The supervisord of that instance is dead, as in [`Fault::SupervisorDown`].
    InstanceDown(String),
    /// No supervisord was ever installed: no socket, no init service.
    SupervisorMissing,
    /// supervisord is shutting down and answers fault 6 to everything.
    ShutdownState,
    /// sshd forbids forwarding, of unix sockets and of TCP: only exec works.
    ForwardingForbidden,
    /// `supervisorctl` is not on the node (nor can the init wrappers call it).
    NoSupervisorctl,
    /// The node has no `flock`: a guard says so and ends.
    NoFlock,
    /// The login user has no shell: each command and shell prints one line and ends 1.
    NoLogin,
    /// The login shell prints two lines of its own to stdout before each command's output.
    ChattyLogin,
    /// The login user may not open the sockets, though it has the rights elsewhere (even as root).
    PermissionDenied,
    /// A stale `/tmp` socket file lies beside the live one and refuses (release 3.x).
    StaleTmpSocket,
    /// The action is done, its reply never sent; the channel is closed.
    ReplyLost,
    /// Commands end with the opposite exit code: 1 for success, 0 for failure.
    LyingExitCode,
    /// `reloadConfig` answers fault 92.
    BadConfig,
    /// The program has left a core file in /var/crashes.
    CoreFile(String),
    /// The configuration file of the supervisord of that short name (`webui`) lies there, without one that runs.
    LeftConfig(String),
    /// The node's Contrail packages have this version, and not that of its release.
    Version(String),
    /// The program is RUNNING whenever one looks, and has just ended for the third time in less than a minute: supervisord's
    /// log says so. Takes effect at once; it ends again every 15 s.
    CrashLoop(String),
    /// The inventory does not give the node this role (`web-ui`), though the node has it.
    Unlisted(String),
    /// Searching the node comes to no end.
    SearchHangs,
    /// The program's introspect says Non-Functional, with this description.
    NonFunctional {
        /// The program.
        program: String,
        /// What is said to be wrong.
        description: String,
    },
    /// The program's introspect port accepts and never answers.
    IntrospectHang(String),
    /// The program does not open its introspect port (a standby, or one that has just begun).
    IntrospectClosed(String),
}

impl Fault {
    /// Reads a fault as written on a command line: `refused`, `slow-start=800ms`, `fatal=contrail-collector`,
    /// `drop-mid-action=stop` (`stop,gone` if it does not come back), `spawn-error=contrail-api:0` (also
    /// `no-file=`, `not-executable=`), `unstable=contrail-collector,300ms`.
    ///
    /// # Errors
    /// [`LabError::UnknownFault`] for a word that names no fault, or a missing or unreadable parameter.
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

    /// Whether it kills the supervisord of that name; if so, whether its socket file stays.
    pub(crate) fn downs(&self, service: &str) -> Option<bool> {
        if *self == Self::SupervisorDown {
            return Some(true);
        }
        if *self == Self::SupervisorMissing {
            return Some(false);
        }
        matches!(self, Self::InstanceDown(name) if name == service).then_some(true)
    }

    /// Whether it makes a process end again and again.
    pub(crate) fn loops(&self, group: &str, name: &str) -> bool {
        matches!(self, Self::CrashLoop(program) if names(program, group, name))
    }

    /// Whether it makes a process die too soon after each spawn; if so, whether that is fatal in the end.
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

    /// How many messages a connection has before it falls silent.
    pub(crate) fn silent_after(&self) -> Option<u32> {
        self.0.iter().find_map(|fault| if let Fault::SilentAfter(number) = fault { Some(*number) } else { None })
    }

    /// Programs that have left core files.
    pub(crate) fn cores(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter_map(|fault| if let Fault::CoreFile(program) = fault { Some(program.as_str()) } else { None })
    }

    /// The text that everything the node says must hold.
    pub(crate) fn says(&self) -> Option<String> {
        self.0.iter().find_map(|fault| if let Fault::Says(text) = fault { Some(text.clone()) } else { None })
    }

    /// The version of the packages, if it is another than the release's.
    pub(crate) fn version(&self) -> Option<String> {
        self.0.iter().find_map(|fault| if let Fault::Version(version) = fault { Some(version.clone()) } else { None })
    }

    /// Why a process cannot be spawned.
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

    /// When a process that is up in `up` dies, counted from its spawn.
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

    /// Whether a process is made to end.
    pub(crate) fn ends(&self, group: &str, name: &str) -> bool {
        self.0.iter().any(|f| matches!(f, Fault::MadeToEnd(program) if names(program, group, name)))
    }

    /// How much longer than `startsecs` a start takes.
    pub(crate) fn slow_start(&self) -> Duration {
        let more = |f: &Fault| if let Fault::SlowStart(d) = f { *d } else { Duration::ZERO };
        self.0.iter().map(more).sum()
    }

    /// Whether a process is tried again for ever.
    pub(crate) fn stays_in_backoff(&self, group: &str, name: &str) -> bool {
        self.0.iter().any(|f| f.breaks(group, name) == Some(false))
    }

    /// What a program says is wrong with it.
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

    /// Takes the order to cut connections at this moment, if there is one; it holds only once.
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
