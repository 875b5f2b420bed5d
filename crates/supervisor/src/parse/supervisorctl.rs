//! Reads what `supervisorctl` prints, of any version from 3.0 to 4.2.5.
//!
//! Here live the readers of `status`, of the actions, of `pid`, of `tail` and of `reread`. The file uses its neighbors
//! `problem` and `text` and the leaf module `event`, and does no I/O. Invariants: the text decides, since 3.x
//! exits with 0 after any error; reads are bounded, and no text makes it panic. Text from a node is untrusted and kept
//! unchanged. Start reading at [`parse_status`]. The tests are in `supervisorctl_tests.rs`.
//!
//! The texts are those of `supervisor/supervisorctl.py` in supervisor 3.0, 3.1.4, 3.4.0 and 4.2.5.

use std::time::Duration;

use super::problem::{ControlProblem, ControlProblems, MAX_LINES, UnknownLine, classify};
use super::text::{clip, number};
use ctl_event::ProcessState;

/// Both layouts of `status` put the state at this column or behind it (3.0: 33, 3.1 and later: 33 or more).
const STATE_COLUMN: usize = 30;

/// The output of `supervisorctl status`.
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

/// The output of an action.
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
    /// The result.
    pub result: ActionResult,
    /// The line (untrusted, at most 512 bytes).
    pub text: String,
}

/// The result of an action on one process or group.
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

/// The output of `reread`: the groups that differ between the configuration and the running supervisord.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RereadOutput {
    /// New groups.
    pub available: Vec<String>,
    /// Groups that are different.
    pub changed: Vec<String>,
    /// Groups that are no longer there.
    pub disappeared: Vec<String>,
    /// The error in the configuration (untrusted, at most 512 bytes).
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

/// The output of `status` without the lines that sudo's PAM modules print before it (a password that will expire): those in
/// which nothing could be a process, before the first that is one.
#[must_use]
pub fn without_preface(stdout: &str) -> &str {
    let mut rest = stdout;
    while let Some((line, after)) = rest.split_once('\n') {
        if status_line(line).is_some() {
            return rest;
        }
        // A line that could be a process in an unknown state must not be taken for a preface.
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

/// The number that `pid` printed: 0 for a process that does not run.
#[must_use]
pub fn parse_pid(stdout: &str) -> Option<u32> {
    stdout.lines().take(MAX_LINES).find_map(|line| number(line.trim()))
}

/// The output of `tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailOutput {
    /// The end of the log.
    Text(String),
    /// On Python 3: the log is not UTF-8, or a character is cut at the start of the requested part.
    NotText,
    /// The process has no such log.
    NoLog,
    /// supervisord could not read the log: it is not one that can be read from a place on.
    Unreadable,
    /// There is no such process.
    NoProcess,
    /// supervisorctl could not query supervisord; [`parse_status`] reads why.
    Refused,
}

/// Reads the output of `tail -BYTES NAME`. An error of supervisorctl itself is always one line alone, and starts as no log is
/// likely to.
#[must_use]
pub fn parse_tail(name: &str, stdout: &str, stderr: &str) -> TailOutput {
    let text = stdout.strip_suffix('\n').unwrap_or(stdout);
    // Where the node's locale is not UTF-8 (supervisor 4, `check_encoding`).
    let text = match text.split_once('\n').unwrap_or((text, "")) {
        (warning, rest) if warning.starts_with("Warning: sys.stdout.encoding is set to ") => rest,
        _ => text,
    };
    if text.is_empty() {
        // Without a log on stdout, stderr shows whether the log is empty or was not read at all.
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
    // A log may quote such an error, so both its start and its form have to match.
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

/// Reads the output of `reread`. [`parse_status`] reads why it was not even sent.
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
        // A group has no space in its name; a sentence does.
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
            // An unknown word counts as a state only in the column where states stand.
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
    // supervisorctl prints one name where group and process have the same.
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
