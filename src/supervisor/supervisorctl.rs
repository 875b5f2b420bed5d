//! Reads what `supervisorctl` prints, of any version from 3.0 to 4.2.5.
//!
//! Here live the readers of `status`, of the actions, of `pid` and of `reread`, and [`ControlProblem`]: what kept
//! the command from doing its work, whether supervisorctl, the shell or sudo says so. The file uses the leaf
//! `event` and does no I/O. What always holds: the text decides, since 3.x ends 0 whatever happened; an exit code
//! only tells apart what the text leaves open; what is read is bounded, and no text makes it panic. What a node
//! prints is untrusted and kept as it came. Start reading at [`parse_status`].
//!
//! The texts are those of `supervisor/supervisorctl.py` in supervisor 3.0, 3.1.4, 3.4.0 and 4.2.5.

use std::fmt;
use std::time::Duration;

use crate::event::ProcessState;
use crate::remote::SudoError;

/// So many lines of an output are read.
const MAX_LINES: usize = 20_000;
/// So many problems of an output are kept.
const MAX_PROBLEMS: usize = 64;
/// Texts are cut to so many bytes.
const MAX_TEXT: usize = 512;
/// Both layouts of `status` put the state at this column or behind it (3.0: 33, 3.1 and later: 33 or more).
const STATE_COLUMN: usize = 30;

/// What `supervisorctl status` printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusOutput {
    /// The processes, in the order printed.
    pub processes: Vec<StatusLine>,
    /// Everything else, each once.
    pub problems: Vec<ControlProblem>,
}

/// One process as `status` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine {
    /// The name as printed: `group:process`, or just the name where both are equal.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its name within the group.
    pub process: String,
    /// Its state; a word that supervisord does not use is [`ProcessState::Unknown`].
    pub state: ProcessState,
    /// Its process id, if it is RUNNING.
    pub pid: Option<u32>,
    /// How long it has been running, if it is RUNNING.
    pub uptime: Option<Duration>,
    /// The rest of the line (untrusted, at most 512 bytes).
    pub description: String,
}

/// What kept a command from doing its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlProblem {
    /// Nothing listens at the address.
    Refused {
        /// As supervisorctl prints it; empty where it does not.
        address: String,
    },
    /// The socket does not exist.
    NoSuchFile {
        /// As supervisorctl prints it; empty where it does not.
        address: String,
    },
    /// The user may not use the socket, or not execute supervisorctl.
    PermissionDenied,
    /// supervisord has no such process.
    NoSuchProcess {
        /// As it was asked for.
        name: String,
    },
    /// supervisord has no such group.
    NoSuchGroup {
        /// As it was asked for.
        name: String,
    },
    /// supervisord is shutting down or restarting.
    ShuttingDown,
    /// supervisord ended the connection before it had answered: it went away in the middle.
    HungUp,
    /// supervisord wants a user name and a password.
    Unauthorized,
    /// supervisorctl failed with an exception that is none of the above.
    PythonError {
        /// Its text (untrusted, at most 512 bytes).
        text: String,
    },
    /// sudo did not run it.
    Sudo(SudoError),
    /// The node has no such command.
    CommandNotFound,
    /// A line that says none of this.
    Unrecognised {
        /// The line (untrusted, at most 512 bytes).
        line: String,
    },
}

impl fmt::Display for ControlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { address } if address.is_empty() => f.write_str("the control address refused connection"),
            Self::Refused { address } => write!(f, "{address} refused connection"),
            Self::NoSuchFile { address } if address.is_empty() => f.write_str("the control socket does not exist"),
            Self::NoSuchFile { address } => write!(f, "{address} no such file"),
            Self::PermissionDenied => f.write_str("permission denied"),
            Self::NoSuchProcess { name } => write!(f, "no such process {name}"),
            Self::NoSuchGroup { name } => write!(f, "no such group {name}"),
            Self::ShuttingDown => f.write_str("supervisord is shutting down"),
            Self::HungUp => f.write_str("supervisord went away before it had answered"),
            Self::Unauthorized => f.write_str("server requires authentication"),
            Self::PythonError { text } => write!(f, "supervisorctl failed: {text}"),
            Self::Sudo(error) => error.fmt(f),
            Self::CommandNotFound => f.write_str("command not found"),
            Self::Unrecognised { line } => f.write_str(line),
        }
    }
}

/// What an action printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionOutput {
    /// The results, in the order printed. A restart prints two for each process.
    pub lines: Vec<ActionLine>,
    /// Everything else, each once.
    pub problems: Vec<ControlProblem>,
}

/// The result for one process or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionLine {
    /// The name as printed. For groups and `all`, 3.0 prints only the process part (`0` for `contrail-api:0`);
    /// empty where a line names nothing.
    pub name: String,
    /// What became of it.
    pub result: ActionResult,
    /// The line (untrusted, at most 512 bytes).
    pub text: String,
}

/// What became of an action on one process or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionResult {
    /// `started`
    Started,
    /// `stopped`
    Stopped,
    /// `signalled` (3.2 and later)
    Signalled,
    /// `cleared`
    Cleared,
    /// `added process group`
    Added,
    /// `removed process group`
    Removed,
    /// `updated process group`
    Updated,
    /// `ERROR (already started)`
    AlreadyStarted,
    /// `ERROR (not running)`
    NotRunning,
    /// `ERROR (spawn error)`
    SpawnError,
    /// `ERROR (abnormal termination)`
    AbnormalTermination,
    /// `ERROR (no such process)`
    NoSuchProcess,
    /// `ERROR (no such group)`, `ERROR: no such process/group: NAME`, `ERROR: no such group: NAME`
    NoSuchGroup,
    /// `ERROR (no such file)`
    NoSuchFile,
    /// `ERROR (file is not executable)`
    NotExecutable,
    /// `ERROR (bad signal name)`
    BadSignal,
    /// `ERROR: process group already active`
    AlreadyAdded,
    /// `ERROR: process/group still running: NAME`, `has problems; not removing`
    StillRunning,
    /// `ERROR (failed)`, `FAILED: …`
    Failed,
    /// Another `ERROR (…)`.
    Other,
}

/// What `reread` printed: the groups that differ between the configuration and the running supervisord.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RereadOutput {
    /// New groups.
    pub available: Vec<String>,
    /// Groups that are different.
    pub changed: Vec<String>,
    /// Groups that are no longer there.
    pub disappeared: Vec<String>,
    /// What is wrong with the configuration (untrusted, at most 512 bytes).
    pub error: Option<String>,
    /// Whether it said what differs, or that nothing does.
    pub is_understood: bool,
}

/// Reads the output of `status`.
///
/// Token 1 is the name, token 2 the state, the rest its description: so in all versions, whose columns differ.
/// `exit` is used for one thing only: to know that the shell did not find the command.
#[must_use]
pub fn parse_status(stdout: &str, stderr: &str, exit: Option<u32>) -> StatusOutput {
    let mut problems = ControlProblems::new(exit);
    let mut processes = Vec::new();
    for line in stdout.lines().take(MAX_LINES) {
        match status_line(line) {
            Some(process) => processes.push(process),
            None => problems.read(line, UnknownLine::Keep),
        }
    }
    let problems = problems.finish(stderr, !processes.is_empty());
    StatusOutput { processes, problems }
}

/// The output of `status` without what sudo's PAM modules print before it (a password that will expire): lines in which nothing
/// could be a process, before the first that is one.
#[must_use]
pub fn without_preface(stdout: &str) -> &str {
    let mut rest = stdout;
    while let Some((line, after)) = rest.split_once('\n') {
        if status_line(line).is_some() {
            return rest;
        }
        let like_a_state = |word: &str| word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        if classify(line.trim()).is_some() || line.split_whitespace().any(like_a_state) {
            return stdout;
        }
        rest = after;
    }
    stdout
}

/// Reads the output of `start`, `stop`, `restart`, `signal`, `clear`, `add`, `remove` and `update`.
#[must_use]
pub fn parse_action(stdout: &str, stderr: &str, exit: Option<u32>) -> ActionOutput {
    let mut problems = ControlProblems::new(exit);
    let mut lines = Vec::new();
    for line in stdout.lines().take(MAX_LINES) {
        match action_line(line.trim()) {
            Some(line) => lines.push(line),
            None => problems.read(line, UnknownLine::Keep),
        }
    }
    let problems = problems.finish(stderr, !lines.is_empty());
    ActionOutput { lines, problems }
}

/// The number that `pid` printed; 0 is said of a process that does not run.
#[must_use]
pub fn parse_pid(stdout: &str) -> Option<u32> {
    stdout.lines().take(MAX_LINES).find_map(|line| number(line.trim()))
}

/// What `tail` printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailOutput {
    /// The end of the log.
    Text(String),
    /// On Python 3: the log is not UTF-8, or a character is cut at the beginning of what was asked for.
    NotText,
    /// The process has no such log.
    NoLog,
    /// supervisord could not read the log: it is not one that can be read from a place on.
    Unreadable,
    /// There is no such process.
    NoProcess,
    /// supervisorctl could not ask; [`parse_status`] tells why.
    Refused,
}

/// Reads the output of `tail -BYTES NAME`. What supervisorctl itself has to say is always one line alone, and begins as no
/// log is likely to.
#[must_use]
pub fn parse_tail(name: &str, stdout: &str, stderr: &str) -> TailOutput {
    let text = stdout.strip_suffix('\n').unwrap_or(stdout);
    // Where the node's locale is not UTF-8 (supervisor 4, `check_encoding`).
    let text = match text.split_once('\n').unwrap_or((text, "")) {
        (warning, rest) if warning.starts_with("Warning: sys.stdout.encoding is set to ") => rest,
        _ => text,
    };
    if text.is_empty() {
        let problems = parse_status("", stderr, None).problems;
        let said = problems.iter().any(|problem| !matches!(problem, ControlProblem::Unrecognised { .. }));
        return if said { TailOutput::Refused } else { TailOutput::Text(String::new()) };
    }
    let only = (!text.contains('\n')).then_some(text);
    if let Some(what) = only.and_then(|line| line.strip_prefix(name)).and_then(|rest| rest.strip_prefix(": ERROR ")) {
        match what {
            "(no log file)" => return TailOutput::NoLog,
            "(no such process name)" => return TailOutput::NoProcess,
            "(unknown error reading log)" => return TailOutput::Unreadable,
            _ => {}
        }
    }
    let own = |line: &str| {
        let begins = ["unix://", "http://", "error: <class ", "Server requires authentication"];
        begins.iter().any(|begin| line.starts_with(begin)) && classify(line).is_some()
    };
    match only {
        Some(line)
            if line.starts_with("error: <class ") && line.contains("ProtocolError") && line.contains(" 500 ") =>
        {
            TailOutput::NotText
        }
        Some(line) if own(line) => TailOutput::Refused,
        _ => TailOutput::Text(text.to_owned()),
    }
}

/// Reads the output of `reread`. For what kept it from being asked at all see [`parse_status`].
#[must_use]
pub fn parse_reread(stdout: &str) -> RereadOutput {
    let mut read = RereadOutput::default();
    let mut lines = stdout.lines().take(MAX_LINES).map(str::trim).filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let cannot = line.strip_prefix("ERROR: ").filter(|_| classify(line).is_none());
        if cannot.is_some() || line.contains("CANT_REREAD") {
            // A configuration error of Python's parser has several lines.
            let mut text = cannot.unwrap_or(line).to_owned();
            for more in lines.by_ref().take(8) {
                text.push(' ');
                text.push_str(more);
            }
            read.error = Some(clip(&text));
            break;
        }
        read.is_understood |= line == "No config updates to processes";
        let Some((name, what)) = line.rsplit_once(": ") else {
            continue;
        };
        let list = match what {
            "available" => &mut read.available,
            "changed" => &mut read.changed,
            "disappeared" => &mut read.disappeared,
            _ => continue,
        };
        if !name.contains(char::is_whitespace) {
            list.push(clip(name));
            read.is_understood = true;
        }
    }
    read
}

/// Reads `3 days, 2:07:44`, `1 day, 0:00:01` or `0:00:07`: Python's `str(timedelta)`, as it stands behind `uptime`.
/// `None` for anything else, also for the negative times that 3.0 prints when a clock was set back.
#[must_use]
pub fn parse_uptime(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once(", ") {
        Some((days, clock)) => {
            let (count, unit) = days.split_once(' ')?;
            matches!(unit, "day" | "days").then_some(())?;
            (u64::from(number(count)?), clock)
        }
        None => (0, text),
    };
    let mut parts = clock.split(':').map(number);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let clock = u64::from(hours) * 3600 + u64::from(minutes) * 60 + u64::from(seconds);
    Some(Duration::from_secs(days * 86_400 + clock))
}

/// A line of `status`, or `None` if it is something else.
pub(super) fn status_line(line: &str) -> Option<StatusLine> {
    let line = line.trim_end();
    let (name, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (word, description) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let description = description.trim();
    if name.is_empty() || word.is_empty() {
        return None;
    }
    let state = match word.parse::<ProcessState>() {
        Ok(state) => state,
        Err(_) => {
            let column = line.len() - rest.len();
            let like_a_state = (4..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase());
            (like_a_state && column >= STATE_COLUMN).then_some(ProcessState::Unknown)?
        }
    };
    let (pid, uptime) = match state {
        ProcessState::Running => pid_and_uptime(description),
        ProcessState::Stopped
        | ProcessState::Starting
        | ProcessState::Backoff
        | ProcessState::Stopping
        | ProcessState::Exited
        | ProcessState::Fatal
        | ProcessState::Unknown => (None, None),
    };
    let (group, process) = name.split_once(':').unwrap_or((name, name));
    Some(StatusLine {
        name: clip(name),
        group: clip(group),
        process: clip(process),
        state,
        pid,
        uptime,
        description: clip(description),
    })
}

/// `pid 4121, uptime 3 days, 2:07:44` (`supervisor/rpcinterface.py`, `_interpretProcessInfo`).
fn pid_and_uptime(description: &str) -> (Option<u32>, Option<Duration>) {
    let Some(rest) = description.strip_prefix("pid ") else {
        return (None, None);
    };
    let (pid, uptime) = rest.split_once(", uptime ").unwrap_or((rest, ""));
    (number(pid).filter(|pid| *pid != 0), parse_uptime(uptime))
}

fn action_line(line: &str) -> Option<ActionLine> {
    use ActionResult as R;
    let found = |name: &str, result| Some(ActionLine { name: clip(name), result, text: clip(line) });
    if let Some(rest) = line.strip_prefix("ERROR: ") {
        if rest == "process group already active" {
            return found("", R::AlreadyAdded);
        }
        let (what, name) = rest.split_once(": ")?;
        return match what {
            "no such process/group" | "no such group" => found(name, R::NoSuchGroup),
            "process/group still running" => found(name, R::StillRunning),
            _ => None,
        };
    }
    if line.starts_with("FAILED:") {
        return found("", R::Failed);
    }
    let (name, what) = line.rsplit_once(": ")?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let reason = what.strip_prefix("ERROR (").and_then(|rest| rest.strip_suffix(')'));
    let result = match (reason, what) {
        (Some(reason), _) => match reason {
            "already started" => R::AlreadyStarted,
            "not running" => R::NotRunning,
            "spawn error" => R::SpawnError,
            "abnormal termination" => R::AbnormalTermination,
            "no such process" | "no such process name" => R::NoSuchProcess,
            "no such group" => R::NoSuchGroup,
            "no such file" => R::NoSuchFile,
            "file is not executable" => R::NotExecutable,
            "bad signal name" => R::BadSignal,
            "failed" => R::Failed,
            _ => R::Other,
        },
        (None, "started") => R::Started,
        (None, "stopped") => R::Stopped,
        (None, "signalled") => R::Signalled,
        (None, "cleared") => R::Cleared,
        (None, "added process group") => R::Added,
        (None, "removed process group") => R::Removed,
        (None, "updated process group") => R::Updated,
        (None, "has problems; not removing") => R::StillRunning,
        (None, _) => return None,
    };
    found(name, result)
}

/// What to do with a line that is not recognised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnknownLine {
    Keep,
    Drop,
}

/// Gathers problems from the lines of an output.
struct ControlProblems {
    exit: Option<u32>,
    found: Vec<ControlProblem>,
    in_traceback: bool,
}

impl ControlProblems {
    fn new(exit: Option<u32>) -> Self {
        Self { exit, found: Vec::new(), in_traceback: false }
    }

    fn push(&mut self, problem: ControlProblem) {
        if self.found.len() < MAX_PROBLEMS && !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    fn read(&mut self, raw: &str, unknown: UnknownLine) {
        let line = raw.trim();
        if line.is_empty() {
            return;
        }
        if line.starts_with("Traceback (most recent call last)") {
            self.in_traceback = true;
        } else if self.in_traceback {
            // Its frames are indented; the first line that is not names the exception.
            if !raw.starts_with(char::is_whitespace) {
                self.in_traceback = false;
                self.push(exception(line));
            }
        } else if let Some(problem) = self.recognise(line) {
            self.push(problem);
        } else if unknown == UnknownLine::Keep {
            self.push(ControlProblem::Unrecognised { line: clip(line) });
        }
    }

    fn recognise(&self, line: &str) -> Option<ControlProblem> {
        // A command that ended 0 was found, whatever a script within it missed.
        classify(line).or_else(|| shell_problem(line).filter(|_| self.exit != Some(0)))
    }

    /// Reads stderr too. Lines there that nobody knows (a warning, a greeting) count only where nothing else
    /// was said at all.
    fn finish(mut self, stderr: &str, answered: bool) -> Vec<ControlProblem> {
        for line in stderr.lines().take(MAX_LINES) {
            self.read(line, UnknownLine::Drop);
        }
        if self.in_traceback {
            self.push(ControlProblem::PythonError { text: "an exception".to_owned() });
        }
        let recognised = self.found.iter().any(|problem| !matches!(problem, ControlProblem::Unrecognised { .. }));
        if !answered && !recognised {
            match self.exit {
                Some(127) => self.push(ControlProblem::CommandNotFound),
                Some(126) => self.push(ControlProblem::PermissionDenied),
                _ => {}
            }
            if self.found.is_empty() {
                for line in stderr.lines().filter(|line| !is_warning(line)).take(MAX_PROBLEMS) {
                    self.push(ControlProblem::Unrecognised { line: clip(line.trim()) });
                }
            }
        }
        self.found
    }
}

/// A line of stderr that says nothing of the answer: a warning of Python (`FILE:LINE: DeprecationWarning: …`, and the
/// indented line of source behind it), of a shell or of sudo.
fn is_warning(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    line.trim().is_empty()
        || line.starts_with(char::is_whitespace)
        || lower.contains("warning: ")
        || lower.starts_with("sudo: unable to resolve host")
}

/// What a line of supervisorctl or of sudo says went wrong.
fn classify(line: &str) -> Option<ControlProblem> {
    if let Some(problem) = sudo_problem(line) {
        return Some(problem);
    }
    if let Some(text) = line.strip_prefix("error: ") {
        // Controller.onecmd: `error: %s, %s: file: %s line: %s`
        return (text.contains(": file: ") && text.contains(" line: ")).then(|| exception(text));
    }
    if let Some(name) = line.strip_prefix("No such process ") {
        return Some(ControlProblem::NoSuchProcess { name: clip(name) });
    }
    if line == "Server requires authentication" {
        return Some(ControlProblem::Unauthorized);
    }
    let text = line.strip_prefix("ERROR: ").unwrap_or(line);
    if text.len() < line.len() {
        if matches!(text, "already shutting down" | "supervisor shutting down" | "shutting down") {
            return Some(ControlProblem::ShuttingDown);
        }
        for kind in ["no such process/group: ", "no such group: "] {
            if let Some(name) = text.strip_prefix(kind) {
                return Some(ControlProblem::NoSuchGroup { name: clip(name) });
            }
        }
    }
    let text = text.strip_suffix(" (already shut down?)").unwrap_or(text);
    if text.starts_with("unix://") || text.starts_with("http://") || text.starts_with("https://") {
        if let Some(address) = text.strip_suffix(" refused connection") {
            return Some(ControlProblem::Refused { address: clip(address) });
        }
        if let Some(address) = text.strip_suffix(" no such file") {
            return Some(ControlProblem::NoSuchFile { address: clip(address) });
        }
    }
    let (name, what) = line.rsplit_once(": ")?;
    match what {
        "ERROR (no such process)" | "ERROR (no such process name)" => {
            Some(ControlProblem::NoSuchProcess { name: clip(name) })
        }
        "ERROR (no such group)" => Some(ControlProblem::NoSuchGroup { name: clip(name) }),
        _ => None,
    }
}

/// What an exception that supervisorctl did not foresee means: Python 2 writes `socket.error` where Python 3 writes
/// `PermissionError`, and 2.4 `(13, 'Permission denied')` for `[Errno 13] Permission denied`.
fn exception(text: &str) -> ControlProblem {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["ProtocolError"]) && says(&[" 401 "]) {
        return ControlProblem::Unauthorized;
    }
    if says(&["SHUTDOWN_STATE", "<Fault 6:", "Unknown result code 6 for "]) {
        return ControlProblem::ShuttingDown;
    }
    // An unknown group is not foreseen by 3.0.
    if let Some((_, rest)) = text.split_once("BAD_NAME: ") {
        let name = rest.split(['\'', '"', '>']).next().unwrap_or_default();
        return ControlProblem::NoSuchGroup { name: clip(name.trim_end_matches(":*")) };
    }
    let of_socket =
        says(&["socket.error", "PermissionError", "ConnectionRefusedError", "FileNotFoundError", "OSError"]);
    if of_socket && says(&["[Errno 13]", "(13, ", "[Errno 1]", "(1, "]) {
        return ControlProblem::PermissionDenied;
    }
    if of_socket && says(&["[Errno 111]", "(111, ", "[Errno 61]", "(61, "]) {
        return ControlProblem::Refused { address: String::new() };
    }
    // With a file's name behind it, it is not the socket that is missing.
    if of_socket && says(&["[Errno 2] No such file or directory: file: ", "(2, 'No such file or directory')"]) {
        return ControlProblem::NoSuchFile { address: String::new() };
    }
    let reset = ["[Errno 104]", "(104, ", "[Errno 32]", "(32, ", "[Errno 54]"];
    let of_connection = of_socket || says(&["ConnectionResetError", "BrokenPipeError", "ConnectionAbortedError"]);
    // An answer that ends early: no status line, half a body, or no element in what came of it.
    let cut_short = ["RemoteDisconnected", "BadStatusLine", "IncompleteRead", "ExpatError'>, no element found"];
    if of_connection && says(&reset) || says(&cut_short) {
        return ControlProblem::HungUp;
    }
    ControlProblem::PythonError { text: clip(text) }
}

/// What sudo says when it does not run the command.
pub(super) fn sudo_problem(line: &str) -> Option<ControlProblem> {
    if let Some(error) = SudoError::of_line(line) {
        return Some(ControlProblem::Sudo(error));
    }
    let lower = line.to_ascii_lowercase();
    let of_sudo = lower.starts_with("sudo:") || lower.starts_with("sudo-rs:");
    (of_sudo && lower.contains("command not found")).then_some(ControlProblem::CommandNotFound)
}

/// What the login shell says when it cannot run the command: sh (dash), bash, ksh, zsh and csh, and `env`.
fn shell_problem(line: &str) -> Option<ControlProblem> {
    const SHELLS: &[&str] =
        &["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "csh", "tcsh", "fish", "busybox", "env"];
    let lower = line.to_ascii_lowercase();
    let (teller, rest) = lower.split_once(':')?;
    let teller = teller.trim_start_matches('-');
    let of_shell = SHELLS.contains(&teller.rsplit('/').next().unwrap_or(teller));
    // csh names only the command: `supervisorctl: Command not found.`
    let of_csh = rest.trim() == "command not found." || rest.trim() == "command not found";
    let missing = [": command not found", ": not found", ": no such file or directory", "bad interpreter"];
    if of_csh
        || of_shell
            && (missing.iter().any(|end| lower.ends_with(end))
                || lower.contains("command not found: ")
                || lower.contains(":  not found ["))
    {
        return Some(ControlProblem::CommandNotFound);
    }
    (of_shell && lower.ends_with(": permission denied")).then_some(ControlProblem::PermissionDenied)
}

/// A decimal number without sign.
fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The first 512 bytes of a text, whole characters.
pub(super) fn clip(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ActionResult as R;
    use super::ControlProblem as P;
    use super::*;

    const DAY: u64 = 86_400;

    fn short(output: &StatusOutput) -> Vec<(&str, ProcessState, Option<u32>, Option<u64>)> {
        output.processes.iter().map(|p| (p.name.as_str(), p.state, p.pid, p.uptime.map(|u| u.as_secs()))).collect()
    }

    #[test]
    fn a_tail_is_the_log_or_a_word_of_supervisorctl() {
        let text = |text: &str| TailOutput::Text(text.to_owned());
        let table = [
            ("", "", text("")),
            ("\n", "", text("")),
            ("one\ntwo\n\n", "", text("one\ntwo\n")),
            ("api:0: ERROR (no log file)\n", "", TailOutput::NoLog),
            ("api:0: ERROR (no such process name)\n", "", TailOutput::NoProcess),
            ("api:0: ERROR (unknown error reading log)\n", "", TailOutput::Unreadable),
            ("Warning: sys.stdout.encoding is set to ascii, so Unicode output may fail.\n", "", text("")),
            ("Warning: sys.stdout.encoding is set to ascii, so x.\none\n", "", text("one")),
            ("a line\napi:0: ERROR (no log file)\n", "", text("a line\napi:0: ERROR (no log file)")),
            ("unix:///tmp/x.sock refused connection\n", "", TailOutput::Refused),
            ("unix:///tmp/x.sock no such file\n", "", TailOutput::Refused),
            ("", "bash: supervisorctl: command not found\n", TailOutput::Refused),
            ("", "a warning of Python\n", text("")),
            (
                "error: <class 'xmlrpc.client.ProtocolError'>, <ProtocolError for 127.0.0.1/RPC2: 500 Internal Server \
                 Error>: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 539\n",
                "",
                TailOutput::NotText,
            ),
        ];
        for (stdout, stderr, wanted) in table {
            assert_eq!(parse_tail("api:0", stdout, stderr), wanted, "{stdout:?} {stderr:?}");
        }
    }

    #[test]
    fn a_preface_is_no_process() {
        let list = "contrail-api:0   RUNNING   pid 7, uptime 0:00:01\n";
        assert_eq!(without_preface(&format!("Your password expires in 3 days.\n\n{list}")), list);
        for text in
            ["", list, "Hello\n", "Hello: contrail-api FATAL x\ncontrail-b RUNNING\n", "unix:///x no such file\n"]
        {
            assert_eq!(without_preface(text), text);
        }
    }

    #[test]
    fn status_of_3_0() {
        // '%(name)-32s %(state)-10s %(desc)s'
        let text = "\
contrail-analytics-api           RUNNING    pid 4121, uptime 3 days, 2:07:44
contrail-analytics-nodemgr       RUNNING    pid 4122, uptime 1 day, 0:00:01
contrail-collector               RUNNING    pid 4123, uptime 0:00:07
contrail-query-engine            STARTING   
contrail-api:0                   BACKOFF    Exited too quickly (process log may have details)
contrail-schema                  STOPPED    May 03 04:55 PM
contrail-svc-monitor             STOPPED    Not started
contrail-snmp-collector          STOPPING   
contrail-topology                EXITED     May 03 04:55 PM
contrail-alarm-gen               FATAL      unknown error (try \"tail contrail-alarm-gen\")
contrail-a-name-of-more-than-thirty-two-characters RUNNING    pid 9, uptime 0:01:00
";
        let output = parse_status(text, "", Some(0));
        assert_eq!(output.problems, []);
        use ProcessState as S;
        assert_eq!(
            short(&output),
            [
                ("contrail-analytics-api", S::Running, Some(4121), Some(3 * DAY + 7664)),
                ("contrail-analytics-nodemgr", S::Running, Some(4122), Some(DAY + 1)),
                ("contrail-collector", S::Running, Some(4123), Some(7)),
                ("contrail-query-engine", S::Starting, None, None),
                ("contrail-api:0", S::Backoff, None, None),
                ("contrail-schema", S::Stopped, None, None),
                ("contrail-svc-monitor", S::Stopped, None, None),
                ("contrail-snmp-collector", S::Stopping, None, None),
                ("contrail-topology", S::Exited, None, None),
                ("contrail-alarm-gen", S::Fatal, None, None),
                ("contrail-a-name-of-more-than-thirty-two-characters", S::Running, Some(9), Some(60)),
            ]
        );
        let api = &output.processes[4];
        assert_eq!((api.group.as_str(), api.process.as_str()), ("contrail-api", "0"));
        assert_eq!(api.description, "Exited too quickly (process log may have details)");
        assert_eq!(output.processes[9].description, "unknown error (try \"tail contrail-alarm-gen\")");
    }

    #[test]
    fn status_of_3_1_and_later() {
        // '%(namespec)-' + str(maxlen+3) + 's%(state)-10s%(desc)s'
        let text = "\
contrail-api:0                   RUNNING   pid 20071, uptime 23:59:59
contrail-discovery:0             UNKNOWN   
kafka                            SLEEPING  odd
";
        let output = parse_status(text, "", Some(3));
        assert_eq!(output.problems, []);
        assert_eq!(
            short(&output),
            [
                ("contrail-api:0", ProcessState::Running, Some(20071), Some(86_399)),
                ("contrail-discovery:0", ProcessState::Unknown, None, None),
                ("kafka", ProcessState::Unknown, None, None),
            ]
        );
    }

    #[test]
    fn uptimes() {
        let cases = [
            ("0:00:07", Some(7)),
            ("23:59:59", Some(86_399)),
            ("1 day, 0:00:00", Some(DAY)),
            ("400 days, 1:02:03", Some(400 * DAY + 3723)),
            ("-1 day, 23:59:50", None),
            ("4000000000 days, 0:00:00", Some(4_000_000_000 * DAY)),
            ("99999999999 days, 0:00:00", None),
            ("1 week, 0:00:00", None),
            ("24:00:00", None),
            ("0:60:00", None),
            ("0:00", None),
            ("0:00:00:00", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_uptime(text).map(|uptime| uptime.as_secs()), expected, "{text}");
        }
        let output = parse_status(
            "a  RUNNING  pid 7, uptime -1 day, 23:59:50\nb  RUNNING  pid 0, uptime 0:00:01\nc RUNNING",
            "",
            None,
        );
        assert_eq!(
            short(&output),
            [
                ("a", ProcessState::Running, Some(7), None),
                ("b", ProcessState::Running, None, Some(1)),
                ("c", ProcessState::Running, None, None),
            ]
        );
    }

    #[test]
    fn problems() {
        let url = |address: &str| address.to_owned();
        let unrecognised = |line: &str| P::Unrecognised { line: line.to_owned() };
        let python = |text: &str| P::PythonError { text: text.to_owned() };
        let named = |name: &str| name.to_owned();
        let cases: Vec<(&str, &str, Option<u32>, Vec<P>)> = vec![
            // supervisor 3.0 to 4.2.5, upcheck()
            (
                "unix:///var/run/supervisord_analytics.sock refused connection\n",
                "",
                Some(0),
                vec![P::Refused { address: url("unix:///var/run/supervisord_analytics.sock") }],
            ),
            (
                "unix:///tmp/supervisord_analytics.sock no such file\n",
                "",
                Some(4),
                vec![P::NoSuchFile { address: url("unix:///tmp/supervisord_analytics.sock") }],
            ),
            (
                "http://localhost:9002 refused connection\n",
                "",
                Some(0),
                vec![P::Refused { address: url("http://localhost:9002") }],
            ),
            (
                "ERROR: unix:///x.sock no such file (already shut down?)\n",
                "",
                Some(1),
                vec![P::NoSuchFile { address: url("unix:///x.sock") }],
            ),
            // do_status, do_pid
            ("No such process contrail-api\n", "", Some(0), vec![P::NoSuchProcess { name: named("contrail-api") }]),
            (
                "contrail-api: ERROR (no such process)\n",
                "",
                Some(4),
                vec![P::NoSuchProcess { name: named("contrail-api") }],
            ),
            (
                "contrail-api:7: ERROR (no such process)\n",
                "",
                Some(4),
                vec![P::NoSuchProcess { name: named("contrail-api:7") }],
            ),
            ("x: ERROR (no such process name)\n", "", Some(1), vec![P::NoSuchProcess { name: named("x") }]),
            ("nosuch: ERROR (no such group)\n", "", Some(4), vec![P::NoSuchGroup { name: named("nosuch") }]),
            (
                "ERROR: no such group: x\nERROR: no such process/group: y\n",
                "",
                Some(1),
                vec![P::NoSuchGroup { name: named("x") }, P::NoSuchGroup { name: named("y") }],
            ),
            // onecmd()
            ("Server requires authentication\n", "", Some(1), vec![P::Unauthorized]),
            (
                "error: <class 'xmlrpclib.ProtocolError'>, <ProtocolError for localhost/RPC2: 401 Unauthorized>: file: /usr/lib/python2.7/site-packages/supervisor/xmlrpc.py line: 461\n",
                "",
                Some(2),
                vec![P::Unauthorized],
            ),
            (
                "error: <class 'PermissionError'>, [Errno 13] Permission denied: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 560\n",
                "",
                Some(1),
                vec![P::PermissionDenied],
            ),
            (
                "error: <class 'socket.error'>, [Errno 13] Permission denied: file: <string> line: 1\n",
                "",
                Some(2),
                vec![P::PermissionDenied],
            ),
            (
                "error: socket.error, (13, 'Permission denied'): file: <string> line: 1\n",
                "",
                Some(2),
                vec![P::PermissionDenied],
            ),
            (
                "error: <class 'ConnectionRefusedError'>, [Errno 111] Connection refused: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 560\n",
                "",
                Some(1),
                vec![P::Refused { address: url("") }],
            ),
            (
                "error: <class 'FileNotFoundError'>, [Errno 2] No such file or directory: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 560\n",
                "",
                Some(1),
                vec![P::NoSuchFile { address: url("") }],
            ),
            (
                "error: <class 'xmlrpclib.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>: file: /usr/lib64/python2.6/xmlrpclib.py line: 838\n",
                "",
                Some(2),
                vec![P::ShuttingDown],
            ),
            (
                "error: <class 'xmlrpc.client.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>: file: /usr/lib/python3.11/xmlrpc/client.py line: 668\n",
                "",
                Some(1),
                vec![P::ShuttingDown],
            ),
            (
                "error: <class 'ValueError'>, Unknown result code 6 for foo: file: /usr/lib/python3/dist-packages/supervisor/supervisorctl.py line: 782\n",
                "",
                Some(1),
                vec![P::ShuttingDown],
            ),
            (
                "error: <class 'xmlrpclib.Fault'>, <Fault 10: 'BAD_NAME: nosuch'>: file: /usr/lib64/python2.6/xmlrpclib.py line: 838\n",
                "",
                Some(2),
                vec![P::NoSuchGroup { name: named("nosuch") }],
            ),
            (
                "error: <class 'ConnectionResetError'>, [Errno 104] Connection reset by peer: file: /usr/lib/python3.11/socket.py line: 706\n",
                "",
                Some(1),
                vec![P::HungUp],
            ),
            (
                "error: <class 'BrokenPipeError'>, [Errno 32] Broken pipe: file: /usr/lib/python3.11/http/client.py line: 1040\n",
                "",
                Some(1),
                vec![P::HungUp],
            ),
            (
                "error: <class 'http.client.RemoteDisconnected'>, Remote end closed connection without response: file: /usr/lib/python3.11/http/client.py line: 294\n",
                "",
                Some(1),
                vec![P::HungUp],
            ),
            (
                "error: <class 'httplib.BadStatusLine'>, '': file: /usr/lib64/python2.6/httplib.py line: 355\n",
                "",
                Some(2),
                vec![P::HungUp],
            ),
            (
                "error: <class 'socket.error'>, [Errno 104] Connection reset by peer: file: /usr/lib64/python2.7/socket.py line: 476\n",
                "",
                Some(2),
                vec![P::HungUp],
            ),
            (
                "error: <class 'OSError'>, [Errno 99] odd: file: x line: 1\n",
                "",
                Some(1),
                vec![python("<class 'OSError'>, [Errno 99] odd: file: x line: 1")],
            ),
            ("ERROR: supervisor shutting down\nERROR: already shutting down\n", "", Some(1), vec![P::ShuttingDown]),
            (
                "",
                "Traceback (most recent call last):\n  File \"/usr/bin/supervisorctl\", line 5, in <module>\n    from pkg_resources import load_entry_point\npkg_resources.DistributionNotFound: meld3>=0.6.5\n",
                Some(1),
                vec![python("pkg_resources.DistributionNotFound: meld3>=0.6.5")],
            ),
            ("", "Traceback (most recent call last):\n", Some(1), vec![python("an exception")]),
            // sudo
            ("", "sudo: a password is required\n", Some(1), vec![P::Sudo(SudoError::PasswordWanted)]),
            (
                "",
                "sudo: no tty present and no askpass program specified\n",
                Some(1),
                vec![P::Sudo(SudoError::PasswordWanted)],
            ),
            (
                "",
                "sudo: a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper\nsudo: a password is required\n",
                Some(1),
                vec![P::Sudo(SudoError::PasswordWanted)],
            ),
            (
                "",
                "Sorry, try again.\nsudo: 1 incorrect password attempt\n",
                Some(1),
                vec![P::Sudo(SudoError::PasswordWanted)],
            ),
            ("", "sudo: sorry, you must have a tty to run sudo\n", Some(1), vec![P::Sudo(SudoError::Terminal)]),
            (
                "",
                "admin is not in the sudoers file.  This incident will be reported.\n",
                Some(1),
                vec![P::Sudo(SudoError::NotSudoer)],
            ),
            (
                "",
                "Sorry, user admin is not allowed to execute '/usr/bin/supervisorctl status' as root on a6s01.\n",
                Some(1),
                vec![P::Sudo(SudoError::NotAllowed)],
            ),
            (
                "",
                "admin is not allowed to run sudo on a6s01.  This incident will be reported.\n",
                Some(1),
                vec![P::Sudo(SudoError::NotSudoer)],
            ),
            ("", "sudo: supervisorctl: command not found\n", Some(1), vec![P::CommandNotFound]),
            ("", "sudo: unable to resolve host a6s01: Name or service not known\n", Some(0), vec![]),
            // shells
            ("", "bash: supervisorctl: command not found\n", Some(127), vec![P::CommandNotFound]),
            ("", "-bash: line 1: supervisorctl: command not found\n", Some(127), vec![P::CommandNotFound]),
            ("", "sh: 1: supervisorctl: not found\n", Some(127), vec![P::CommandNotFound]),
            ("", "bash: /usr/bin/supervisorctl: No such file or directory\n", Some(127), vec![P::CommandNotFound]),
            (
                "",
                "bash: /usr/bin/supervisorctl: /usr/bin/python: bad interpreter: No such file or directory\n",
                Some(126),
                vec![P::CommandNotFound],
            ),
            ("", "supervisorctl: Command not found.\n", Some(1), vec![P::CommandNotFound]),
            ("", "ksh: supervisorctl:  not found [No such file or directory]\n", Some(127), vec![P::CommandNotFound]),
            ("", "zsh:1: command not found: supervisorctl\n", Some(127), vec![P::CommandNotFound]),
            ("", "/usr/bin/env: supervisorctl: No such file or directory\n", Some(127), vec![P::CommandNotFound]),
            ("", "bash: /usr/bin/supervisorctl: Permission denied\n", Some(126), vec![P::PermissionDenied]),
            ("", "", Some(127), vec![P::CommandNotFound]),
            ("", "", Some(126), vec![P::PermissionDenied]),
            // Nothing of ours.
            ("", "", Some(0), vec![]),
            ("Error: something\n", "", Some(2), vec![unrecognised("Error: something")]),
            (
                "",
                "This account is currently not available.\n",
                Some(1),
                vec![unrecognised("This account is currently not available.")],
            ),
            (
                "",
                "/etc/init.d/x: line 7: lsof: command not found\n",
                Some(0),
                vec![unrecognised("/etc/init.d/x: line 7: lsof: command not found")],
            ),
        ];
        for (stdout, stderr, exit, expected) in cases {
            let output = parse_status(stdout, stderr, exit);
            assert_eq!(output.processes, [], "{stdout}{stderr}");
            assert_eq!(output.problems, expected, "{stdout}{stderr}");
            assert_eq!(parse_action("", &format!("{stdout}{stderr}"), exit).lines, []);
        }
    }

    #[test]
    fn stderr_does_not_spoil_an_answer() {
        let warning = "/usr/lib/python2.7/site-packages/supervisor/options.py:296: UserWarning: Supervisord is running as root\n  'Supervisord is running as root and it is searching '\nsudo: unable to resolve host x\n";
        let output =
            parse_status("kafka                            RUNNING    pid 5, uptime 0:00:05\n", warning, Some(0));
        assert_eq!((output.processes.len(), output.problems), (1, vec![]));
        let output = parse_action("kafka: started\n", "lsof: not found\nsh: x: not found\n", Some(0));
        assert_eq!((output.lines.len(), output.problems), (1, vec![]));
    }

    #[test]
    fn actions() {
        let cases = [
            ("contrail-collector: started", "contrail-collector", R::Started),
            ("contrail-api:0: stopped", "contrail-api:0", R::Stopped),
            ("0: stopped", "0", R::Stopped),
            ("x: signalled", "x", R::Signalled),
            ("x: cleared", "x", R::Cleared),
            ("x: added process group", "x", R::Added),
            ("x: removed process group", "x", R::Removed),
            ("x: updated process group", "x", R::Updated),
            ("x: has problems; not removing", "x", R::StillRunning),
            ("contrail-api:0: ERROR (already started)", "contrail-api:0", R::AlreadyStarted),
            ("x: ERROR (not running)", "x", R::NotRunning),
            ("x: ERROR (spawn error)", "x", R::SpawnError),
            ("x: ERROR (abnormal termination)", "x", R::AbnormalTermination),
            ("x: ERROR (no such process)", "x", R::NoSuchProcess),
            ("x: ERROR (no such group)", "x", R::NoSuchGroup),
            ("x: ERROR (no such file)", "x", R::NoSuchFile),
            ("x: ERROR (file is not executable)", "x", R::NotExecutable),
            ("x: ERROR (bad signal name)", "x", R::BadSignal),
            ("x: ERROR (failed)", "x", R::Failed),
            ("x: ERROR (something new)", "x", R::Other),
            ("ERROR: no such process/group: stopped", "stopped", R::NoSuchGroup),
            ("ERROR: no such group: x", "x", R::NoSuchGroup),
            ("ERROR: process/group still running: x", "x", R::StillRunning),
            ("ERROR: process group already active", "", R::AlreadyAdded),
            ("FAILED: unknown problem killing x (77):Traceback", "", R::Failed),
        ];
        for (line, name, result) in cases {
            let output = parse_action(&format!("{line}\n"), "", Some(0));
            assert_eq!(output.lines, [ActionLine { name: name.to_owned(), result, text: line.to_owned() }], "{line}");
            assert_eq!(output.problems, [], "{line}");
        }
        let restart =
            parse_action("contrail-collector: ERROR (not running)\ncontrail-collector: started\n", "", Some(0));
        let results: Vec<R> = restart.lines.iter().map(|line| line.result).collect();
        assert_eq!(results, [R::NotRunning, R::Started]);
        let refused = parse_action("unix:///tmp/x.sock refused connection\n", "", Some(0));
        assert_eq!(refused.problems, [P::Refused { address: "unix:///tmp/x.sock".to_owned() }]);
        for noise in ["Starting the thing: stopped", ": started", "started", "x: startedd", "x:started"] {
            assert_eq!(parse_action(noise, "", Some(0)).lines, [], "{noise}");
        }
    }

    #[test]
    fn pids() {
        let cases = [
            ("4121\n", Some(4121)),
            ("0\n", Some(0)),
            ("", None),
            ("No such process x\n", None),
            ("unix:///tmp/x.sock no such file\n", None),
            ("99999999999\n", None),
            ("-5\n", None),
            ("noise\n 17 \n", Some(17)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_pid(text), expected, "{text}");
        }
    }

    #[test]
    fn rereads() {
        let read = parse_reread("a: available\nb: changed\nc: disappeared\nd: changed\n");
        assert_eq!(
            (read.available, read.changed, read.disappeared),
            (vec!["a".to_owned()], vec!["b".to_owned(), "d".to_owned()], vec!["c".to_owned()])
        );
        assert!(read.is_understood);
        let nothing = RereadOutput { is_understood: true, ..RereadOutput::default() };
        assert_eq!(parse_reread("No config updates to processes\n"), nothing);
        assert_eq!(parse_reread("ERROR: supervisor shutting down\n"), RereadOutput::default());
        assert_eq!(parse_reread("unix:///x no such file\n"), RereadOutput::default());
        let error = |text: &str| parse_reread(text).error;
        assert_eq!(
            error("ERROR: CANT_REREAD: File contains no section headers.\nfile: '/etc/x.conf', line: 1\n'bad\\n'\n")
                .as_deref(),
            Some("CANT_REREAD: File contains no section headers. file: '/etc/x.conf', line: 1 'bad\\n'")
        );
        assert_eq!(
            error("error: <class 'xmlrpclib.Fault'>, <Fault 92: 'CANT_REREAD: x'>: file: y line: 1\n").as_deref(),
            Some("error: <class 'xmlrpclib.Fault'>, <Fault 92: 'CANT_REREAD: x'>: file: y line: 1")
        );
    }

    #[test]
    fn sizes_are_bounded() {
        let long = "é".repeat(10_000);
        let output = parse_status(&format!("{long} FATAL {long}\n{long}\n"), "", None);
        assert!(output.processes.iter().all(|p| p.name.len() <= MAX_TEXT && p.description.len() <= MAX_TEXT));
        let output = parse_status(&(0..100_000).map(|n| format!("odd {n}\n")).collect::<String>(), "", None);
        assert_eq!(output.problems.len(), MAX_PROBLEMS);
    }

    /// Words from which outputs are made, right and wrong.
    fn words() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec![
                "contrail-api:0",
                ":",
                ": ",
                " ",
                "   ",
                "RUNNING",
                "FATAL",
                "pid ",
                "4121",
                ", uptime ",
                "3 days, ",
                "2:07:44",
                "ERROR (",
                ")",
                "ERROR: ",
                "error: ",
                "no such process",
                "BAD_NAME: ",
                "CANT_REREAD",
                "unix://",
                " no such file",
                "Traceback (most recent call last)",
                "sudo:",
                "\n",
                "\r",
                "\u{1b}[0m",
                "é",
                ": file: ",
                " line: ",
                "started",
                "bash:",
            ]),
            0..30,
        )
        .prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn no_text_panics(stdout in "\\PC{0,200}", stderr in "\\PC{0,100}", exit: Option<u32>) {
            let _status = parse_status(&stdout, &stderr, exit);
            let _action = parse_action(&stdout, &stderr, exit);
            let _read = (parse_pid(&stdout), parse_reread(&stdout), parse_uptime(&stdout));
        }

        #[test]
        fn no_likely_text_panics(stdout in words(), stderr in words(), exit: Option<u32>) {
            let _status = parse_status(&stdout, &stderr, exit);
            let _action = parse_action(&stdout, &stderr, exit);
            let _read = (parse_pid(&stdout), parse_reread(&stdout), parse_uptime(&stdout));
        }

        #[test]
        fn every_status_line_is_read_back(
            name in "[a-z][a-z0-9-]{0,40}(:[0-9]{1,2})?",
            state in prop::sample::select(ProcessState::ALL.to_vec()),
            pid in 1..u32::MAX,
            days in 0..5000u64,
            seconds in 0..86_400u64,
            old: bool,
        ) {
            let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            let uptime = match days { 0 => clock, 1 => format!("1 day, {clock}"), n => format!("{n} days, {clock}") };
            let running = state == ProcessState::Running;
            let description = if running { format!("pid {pid}, uptime {uptime}") } else { "May 03 04:55 PM".to_owned() };
            let line = if old {
                format!("{name:<32} {state:<10} {description}")
            } else {
                format!("{name:<width$}{state:<10}{description}", width = name.len().max(30) + 3)
            };
            let output = parse_status(&line, "", None);
            prop_assert_eq!(output.problems.len(), 0);
            let read = &output.processes[0];
            prop_assert_eq!(&read.name, &name);
            prop_assert_eq!(read.state, state);
            prop_assert_eq!(read.pid, running.then_some(pid));
            prop_assert_eq!(read.uptime, running.then(|| Duration::from_secs(days * DAY + seconds)));
        }
    }
}
