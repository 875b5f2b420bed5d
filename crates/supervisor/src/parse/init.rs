//! Reads how a node's init describes a service: `service NAME status`, and `start`, `stop`, `restart`.
//!
//! Here live [`parse_status`] and [`parse_action`], for SysV scripts (EL6, EL7, Debian's LSB functions), upstart and
//! systemd. The file uses its neighbors `problem` (sudo's refusals) and `supervisorctl` (the status line that
//! Contrail's wrappers print) and the leaf module `event`; it does no I/O. Invariants: the text decides, and an
//! exit code only where no line is understood, and then never for "running"; "not running" is never running; reads are
//! bounded, and no text makes it panic. Start reading at [`parse_status`].
//!
//! Sources: EL6's `/etc/rc.d/init.d/functions` (`status()`), Debian's `/lib/lsb/init-functions`
//! (`status_of_proc`), `/usr/sbin/service` of init-system-helpers, initctl(8) of upstart 1.x, systemctl(1) of
//! systemd 208 to 252.

use super::problem::{ControlProblem, sudo_problem};
use super::supervisorctl::status_line;
use super::text::clip;
use ctl_event::ProcessState;

/// So many lines of an output are read.
const MAX_LINES: usize = 2_000;

/// A service as init describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitStatus {
    /// Its state.
    pub state: InitState,
    /// Main process, where init names it and it lives. Of several the first.
    pub pid: Option<u32>,
    /// When systemd saw the service enter this state, as it prints it: to be compared only, never to be read.
    pub since: Option<String>,
    /// The line that names the state, or the first one (untrusted, at most 512 bytes).
    pub text: String,
}

/// State of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitState {
    /// It runs.
    Running,
    /// It is on its way up, or waits to be started again.
    Starting,
    /// It is on its way down.
    Stopping,
    /// It does not run, and nothing is wrong with that.
    Stopped,
    /// It ended with an error, or died and left its pid file.
    Failed,
    /// systemd's `active (exited)`: the start script succeeded, and no process is left of it.
    Exited,
    /// The node has no such service, or it is masked.
    NotFound,
    /// Its state may not be known to this user, or sudo refused.
    Denied,
    /// Nothing was understood.
    Unknown,
}

/// Why an action was not tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitProblem {
    /// The node has no such service, or it is masked.
    #[error("no such service: {text}")]
    NotFound {
        /// The line that says so (untrusted, at most 512 bytes).
        text: String,
    },
    /// The user may not do this.
    #[error("not permitted: {text}")]
    Denied {
        /// The line that says so (untrusted, at most 512 bytes).
        text: String,
    },
    /// sudo refused, or the node has no `service` command.
    #[error("{0}")]
    Command(ControlProblem),
}

/// Reads the output of `service NAME status`.
///
/// In this order: what sudo refuses; systemd's lines; else line by line upstart's form, an unknown service, missing
/// privileges, the words of a SysV script. Among several lines one that says "not running" wins. stderr counts only
/// where stdout says nothing, or says that nothing runs to a user who may not know. `exit` counts only where no
/// line is understood: 3 is stopped (LSB), everything else unknown.
///
/// `name` is the service as the caller named it.
#[must_use]
pub fn parse_status(name: &str, stdout: &str, stderr: &str, exit: Option<u32>) -> InitStatus {
    let out: Vec<String> = lines(stdout).collect();
    let err: Vec<String> = lines(stderr).collect();
    let all = || out.iter().chain(&err);
    // sudo refuses before init runs, so nothing else in the output is about the service.
    if let Some(line) = all().find(|line| is_sudo(line)) {
        return status_from(InitState::Denied, None, line);
    }
    if let Some(status) = systemd(&out).or_else(|| systemd(&err)) {
        return status;
    }
    let (said, complaint) = (by_lines(name, &out), by_lines(name, &err));
    let status = match (said, complaint) {
        // A script that may not read the pid file can call a running service stopped, so the denial on stderr wins.
        (Some(said), Some(complaint)) if said.state == InitState::Stopped && complaint.state == InitState::Denied => {
            Some(complaint)
        }
        (said, complaint) => said.or(complaint),
    };
    status.unwrap_or_else(|| {
        // LSB: status 3 is "program is not running". No other code is used alike by all scripts.
        let state = if exit == Some(3) { InitState::Stopped } else { InitState::Unknown };
        status_from(state, None, all().find(|line| !line.is_empty()).map_or("", String::as_str))
    })
}

fn status_from(state: InitState, pid: Option<u32>, line: &str) -> InitStatus {
    InitStatus { state, pid, since: None, text: clip(line) }
}

/// The first line that says that it does not run, else the first that says that it does.
fn by_lines(name: &str, lines: &[String]) -> Option<InitStatus> {
    let mut running = None;
    for line in lines {
        let Some((state, pid)) = one_line(name, line) else { continue };
        match state {
            InitState::Running | InitState::Starting | InitState::Stopping => {
                // A negative line that follows would win, so the search continues.
                running.get_or_insert(status_from(state, pid, line));
            }
            InitState::Stopped
            | InitState::Failed
            | InitState::Exited
            | InitState::NotFound
            | InitState::Denied
            | InitState::Unknown => return Some(status_from(state, pid, line)),
        }
    }
    running
}

/// The reason why `service NAME start`, `stop` or `restart` was not tried at all, if there is one. Whether it
/// succeeded is not read here: its texts and codes are not to be trusted, the status afterwards is.
#[must_use]
pub fn parse_action(stdout: &str, stderr: &str, exit: Option<u32>) -> Option<InitProblem> {
    for line in lines(stdout).chain(lines(stderr)) {
        if let Some(problem) = sudo_problem(&line) {
            return Some(InitProblem::Command(problem));
        }
        let text = || clip(&line);
        // A script that ended 0 may have complained on its way.
        match refusal(&line).filter(|_| exit != Some(0)) {
            Some(InitState::NotFound) => return Some(InitProblem::NotFound { text: text() }),
            Some(_) => return Some(InitProblem::Denied { text: text() }),
            None => {}
        }
    }
    // 127 is the shell's: there is no `service`. An init script has no reason to end so.
    (exit == Some(127)).then_some(InitProblem::Command(ControlProblem::CommandNotFound))
}

/// The same state in supervisord's words.
#[must_use]
pub const fn process_state(state: InitState) -> ProcessState {
    match state {
        InitState::Running => ProcessState::Running,
        InitState::Starting => ProcessState::Starting,
        InitState::Stopping => ProcessState::Stopping,
        InitState::Stopped => ProcessState::Stopped,
        InitState::Failed => ProcessState::Fatal,
        InitState::Exited => ProcessState::Exited,
        InitState::NotFound | InitState::Denied | InitState::Unknown => ProcessState::Unknown,
    }
}

/// The lines of an output without colors and frames; empty ones stay, since they end systemd's header.
fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().take(MAX_LINES).map(|line| plain(line).trim().to_owned())
}

/// A line without terminal sequences (`ESC [ … m`, `ESC ] 8 ; ; URL BEL`) and control characters.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            match c {
                '\t' => out.push(' '),
                c if c.is_control() => {}
                c => out.push(c),
            }
            continue;
        }
        match chars.next() {
            // The last byte of a control sequence is one from `@` to `~` (ECMA-48).
            Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
            Some(']') => {
                while let Some(c) = chars.next() {
                    // An operating system command ends with BEL or with `ESC \`.
                    if c == '\u{7}' || c == '\u{1b}' && chars.next_if_eq(&'\\').is_some() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    out
}

fn is_sudo(line: &str) -> bool {
    matches!(sudo_problem(line), Some(ControlProblem::Sudo(_)))
}

/// Reads systemctl's block, up to the empty line behind which it shows the journal.
fn systemd(lines: &[String]) -> Option<InitStatus> {
    let start = lines.iter().position(|line| line.starts_with("Loaded: ") || line.starts_with("Active: "))?;
    let block = || lines.iter().skip(start).take_while(|line| !line.is_empty());
    let field = |name: &str| block().find_map(|line| Some((line, line.strip_prefix(name)?.trim_start())));
    let loaded = field("Loaded:");
    let active = field("Active:");
    let gone = loaded.is_some_and(|(_, text)| text.starts_with("not-found") || text.starts_with("masked"));
    let state = match active {
        Some((_, text)) => active_state(text),
        None => InitState::Unknown,
    };
    // A unit whose file was removed keeps running.
    let alive = matches!(state, InitState::Running | InitState::Starting | InitState::Stopping | InitState::Exited);
    let (state, line) = match (gone && !alive, loaded, active) {
        (true, Some((line, _)), _) => (InitState::NotFound, line),
        (_, _, Some((line, _))) | (_, Some((line, _)), None) => (state, line),
        (_, None, None) => return None,
    };
    let since = active.and_then(|(_, text)| text.split_once(" since ")).map(|(_, rest)| {
        // The part behind the semicolon (`2h ago`) changes with every query.
        let end = rest.find(';').unwrap_or(rest.len());
        clip(rest.get(..end).unwrap_or_default().trim())
    });
    // systemctl also prints the pid of a process that has ended.
    let pid = field("Main PID:").filter(|_| alive).and_then(|(_, text)| main_pid(text));
    Some(InitStatus { state, pid, since, text: clip(line) })
}

/// `active (running) since …`, `failed (Result: exit-code) since …`
fn active_state(text: &str) -> InitState {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let sub = rest.trim_start().strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or_default();
    match (word, sub) {
        ("active", "running") | ("reloading" | "refreshing", _) => InitState::Running,
        ("active", "exited") => InitState::Exited,
        ("activating", _) => InitState::Starting,
        ("deactivating", _) => InitState::Stopping,
        ("inactive", _) => InitState::Stopped,
        ("failed", _) => InitState::Failed,
        _ => InitState::Unknown,
    }
}

/// `1234 (supervisord)`, but not `1234 (code=exited, status=0/SUCCESS)`
fn main_pid(text: &str) -> Option<u32> {
    let (pid, rest) = text.split_once(' ').unwrap_or((text, ""));
    if rest.trim_start().starts_with("(code=") {
        return None;
    }
    pid.parse().ok().filter(|pid| *pid != 0)
}

/// The state in one line that is not of systemctl's block.
fn one_line(name: &str, line: &str) -> Option<(InitState, Option<u32>)> {
    if line.is_empty() {
        return None;
    }
    if let Some(found) = upstart(name, line) {
        return Some(found);
    }
    if let Some(state) = refusal(line) {
        return Some((state, None));
    }
    // Contrail's wrapper of a program is supervisorctl.
    if let Some(status) = status_line(line) {
        let state = match status.state {
            ProcessState::Running => InitState::Running,
            // supervisord will start a process in BACKOFF again.
            ProcessState::Starting | ProcessState::Backoff => InitState::Starting,
            ProcessState::Stopping => InitState::Stopping,
            ProcessState::Stopped => InitState::Stopped,
            ProcessState::Exited | ProcessState::Fatal => InitState::Failed,
            ProcessState::Unknown => InitState::Unknown,
        };
        return Some((state, status.pid));
    }
    sysv(line)
}

/// `NAME start/running, process 1234`, `NAME (INSTANCE) stop/waiting`: goal, state and process of initctl(8).
fn upstart(name: &str, line: &str) -> Option<(InitState, Option<u32>)> {
    // The name of another job may begin with this one.
    let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(' '))?.trim_start();
    let rest = match rest.strip_prefix('(') {
        Some(instance) => instance.split_once(')')?.1.trim_start(),
        None => rest,
    };
    let (words, process) = rest.split_once(", ").unwrap_or((rest, ""));
    let (goal, state) = words.split_once('/')?;
    let state = match (goal, state) {
        ("start", "running") => InitState::Running,
        ("start", _) => InitState::Starting,
        ("stop", "waiting") => InitState::Stopped,
        ("stop", _) => InitState::Stopping,
        _ => return None,
    };
    let pid = process.strip_prefix("process ").and_then(|pid| pid.trim().parse().ok());
    Some((state, pid))
}

/// A service that init does not know, or may not report on: [`InitState::NotFound`] or [`InitState::Denied`].
fn refusal(line: &str) -> Option<InitState> {
    let lower = line.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let ends = |words: &[&str]| words.iter().any(|word| lower.trim_end_matches('.').ends_with(word));
    // Nothing is known of the service where systemd itself cannot be reached.
    if says(&["d-bus connection", "connect to bus", "not been booted with systemd"]) {
        return None;
    }
    let unit = lower.contains("unit ");
    if ends(&["unrecognized service", "unrecognised service", "unknown service"])
        || unit && ends(&["could not be found", "not found", "is masked", "not loaded"])
        || unit && says(&["failed to load: no such file", "failed to load properly", "is masked"])
        || says(&["unknown job: "])
        || lower.starts_with("failed to issue method call: no such file")
        || says(&["/init.d/"]) && ends(&[": no such file or directory", ": not found"]) && !says(&[" line "])
    {
        return Some(InitState::NotFound);
    }
    (says(&[
        "insufficient privileges",
        "could not access pid file",
        "authentication required",
        "authentication is required",
        "rejected send message",
        "must be root",
        "must be run as root",
        "need to be root",
        "run as root",
        "only root can",
        "you are not root",
    ]) || ends(&["access denied", "permission denied", "operation not permitted", "not authorized"])
        || lower.starts_with("failed to") && says(&["access denied", "permission denied"]))
    .then_some(InitState::Denied)
}

/// The words of a SysV script: `x (pid  32116) is running...`, ` * x is not running`, `[ ok ] x is running.`,
/// `x dead but pid file exists`. Whatever negates wins.
fn sysv(line: &str) -> Option<(InitState, Option<u32>)> {
    let lower = line.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '-' | '_')))
        .filter(|word| !word.is_empty())
        .collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    let phrase = |wanted: &[&str]| words.windows(wanted.len()).any(|found| found == wanted);
    if has(&["dead", "crashed"]) {
        return Some((InitState::Failed, None));
    }
    let negated = has(&[
        "not", "isn't", "no", "never", "nothing", "none", "neither", "cannot", "can't", "longer", "without", "stopped",
        "down", "inactive", "unknown", "unable", "failed", "error", "unless", "until", "whether", "if", "wasn't",
        "aren't",
    ]);
    let stopped = [
        &["is", "stopped"][..],
        &["are", "stopped"],
        &["not", "running"],
        &["isn't", "running"],
        &["aren't", "running"],
        &["not", "started"],
        &["not", "active"],
        &["is", "inactive"],
        &["no", "longer", "running"],
        &["is", "unused"],
    ];
    if stopped.iter().any(|words| phrase(words)) || matches!(words.as_slice(), ["stopped"] | [_, "stopped"]) {
        return Some((InitState::Stopped, None));
    }
    // A negation that is none of the phrases above leaves the state open, since it must never count as running.
    if negated {
        return None;
    }
    let position = words.iter().position(|word| *word == "running")?;
    let before = position.checked_sub(1).and_then(|at| words.get(at)).copied();
    let names_process_or_ends = words.get(position + 1).is_none_or(|word| matches!(*word, "pid" | "pids" | "process"));
    let is_said = match before {
        Some("is" | "are" | "already" | "still" | "currently" | "and") => true,
        // `(pid 12) running`, `x: running`, `running`: nothing else is said.
        Some(word) => word.bytes().all(|byte| byte.is_ascii_digit()) || position == 1 && names_process_or_ends,
        None => names_process_or_ends,
    };
    is_said.then(|| (InitState::Running, first_pid(&words)))
}

/// The number behind the first `pid`, `pids` or `process`.
fn first_pid(words: &[&str]) -> Option<u32> {
    words
        .windows(2)
        .filter(|pair| pair.first().is_some_and(|word| matches!(*word, "pid" | "pids" | "process")))
        .find_map(|pair| pair.get(1)?.parse().ok())
        .filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::InitState as S;
    use super::*;
    use ctl_remote::SudoError;

    type Case = (&'static str, &'static str, &'static str, Option<u32>, InitState, Option<u32>);

    fn check(flavour: &str, cases: &[Case]) {
        for (name, stdout, stderr, exit, state, pid) in cases {
            let status = parse_status(name, stdout, stderr, *exit);
            assert_eq!((status.state, status.pid), (*state, *pid), "{flavour}: {stdout}{stderr} as {status:?}");
        }
    }

    #[test]
    fn el6() {
        check(
            "EL6",
            &[
                (
                    "supervisor-analytics",
                    "supervisord (pid  32116) is running...\n",
                    "",
                    Some(0),
                    S::Running,
                    Some(32116),
                ),
                (
                    "supervisor-analytics",
                    "supervisord (pid  32116 32117 5) is running...\n",
                    "",
                    Some(0),
                    S::Running,
                    Some(32116),
                ),
                ("supervisor-analytics", "supervisord dead but pid file exists\n", "", Some(1), S::Failed, None),
                ("supervisor-analytics", "supervisord dead but subsys locked\n", "", Some(2), S::Failed, None),
                ("supervisor-analytics", "supervisord is stopped\n", "", Some(3), S::Stopped, None),
                (
                    "supervisor-analytics",
                    "supervisord status unknown due to insufficient privileges.\n",
                    "",
                    Some(4),
                    S::Denied,
                    None,
                ),
                ("nosuch", "", "nosuch: unrecognized service\n", Some(1), S::NotFound, None),
                ("x", "x (pid 12) is running...\ny is stopped\n", "", Some(3), S::Stopped, None),
                ("x", "x is stopped\ny (pid 12) is running...\n", "", Some(0), S::Stopped, None),
                ("x", "supervisord (pid  1) is running...\r\n", "", Some(0), S::Running, Some(1)),
            ],
        );
    }

    #[test]
    fn debian_lsb() {
        check(
            "LSB",
            &[
                ("redis-server", "redis-server is running\n", "", Some(0), S::Running, None),
                ("redis-server", "redis-server is not running\n", "", Some(3), S::Stopped, None),
                ("redis-server", "[ ok ] redis-server is running.\n", "", Some(0), S::Running, None),
                ("redis-server", "[FAIL] redis-server is not running ... failed!\n", "", Some(3), S::Stopped, None),
                (
                    "redis-server",
                    "[\u{1b}[32m ok \u{1b}[39;49m] redis-server is running.\n",
                    "",
                    Some(0),
                    S::Running,
                    None,
                ),
                ("rabbitmq-server", " * rabbitmq-server is running\n", "", Some(0), S::Running, None),
                ("rabbitmq-server", " * rabbitmq-server is not running\n", "", Some(3), S::Stopped, None),
                ("x", "", "could not access PID file for x\n", Some(4), S::Denied, None),
                ("cassandra", " * Cassandra is running\n", "", Some(0), S::Running, None),
                ("haproxy", "haproxy dead, but /var/run/haproxy.pid exists.\n", "", Some(1), S::Failed, None),
                ("haproxy", "haproxy not running.\n", "", Some(3), S::Stopped, None),
                ("nosuch", "", "nosuch: unrecognized service\n", Some(1), S::NotFound, None),
            ],
        );
    }

    #[test]
    fn upstart_lines() {
        check(
            "upstart",
            &[
                (
                    "supervisor-analytics",
                    "supervisor-analytics start/running, process 1234\n",
                    "",
                    Some(0),
                    S::Running,
                    Some(1234),
                ),
                ("supervisor-analytics", "supervisor-analytics start/running\n", "", Some(0), S::Running, None),
                ("supervisor-analytics", "supervisor-analytics stop/waiting\n", "", Some(0), S::Stopped, None),
                ("x", "x start/starting\n", "", Some(0), S::Starting, None),
                ("x", "x start/post-start, process 12\n\tpost-start process 13\n", "", Some(0), S::Starting, Some(12)),
                ("x", "x start/post-stop, process 12\n", "", Some(0), S::Starting, Some(12)),
                ("x", "x stop/killed, process 12\n", "", Some(0), S::Stopping, Some(12)),
                ("x", "x stop/pre-stop, process 12\n", "", Some(0), S::Stopping, Some(12)),
                ("x", "x (one) start/running, process 12\n", "", Some(0), S::Running, Some(12)),
                ("x", "", "status: Unknown job: x\n", Some(1), S::NotFound, None),
                ("x", "", "initctl: Unknown job: x\n", Some(1), S::NotFound, None),
                ("x", "", "unknown job: x\n", Some(1), S::NotFound, None),
                ("x", "y start/running, process 5\n", "", Some(0), S::Unknown, None),
            ],
        );
    }

    const RUNNING: &str = "\
\u{1b}[0;1;32m●\u{1b}[0m supervisor-analytics.service - LSB: Contrail analytics
     Loaded: loaded (\u{1b}]8;;file://n1/etc/init.d/supervisor-analytics\u{7}/etc/rc.d/init.d/supervisor-analytics\u{1b}]8;;\u{7}; bad; vendor preset: disabled)
     Active: \u{1b}[0;1;32mactive (running)\u{1b}[0m since Mon 2016-05-02 12:00:00 UTC; 3 days ago
       Docs: man:systemd-sysv-generator(8)
    Process: 1100 ExecStart=/etc/rc.d/init.d/supervisor-analytics start (code=exited, status=0/SUCCESS)
   Main PID: 1234 (supervisord)
      Tasks: 57 (limit: 4915)
     CGroup: /system.slice/supervisor-analytics.service
             ├─1234 /usr/bin/python /usr/bin/supervisord
             └─1240 /usr/bin/contrail-collector

May 02 12:00:00 n1 x[1]:    Active: failed (Result: exit-code)
May 02 12:00:00 n1 x[1]: supervisord is stopped
";

    #[test]
    fn systemd_blocks() {
        let status = parse_status("supervisor-analytics", RUNNING, "", Some(0));
        assert_eq!(
            status,
            InitStatus {
                state: S::Running,
                pid: Some(1234),
                since: Some("Mon 2016-05-02 12:00:00 UTC".to_owned()),
                text: "Active: active (running) since Mon 2016-05-02 12:00:00 UTC; 3 days ago".to_owned(),
            }
        );

        let block = |loaded: &str, active: &str, more: &str| {
            let text = format!("● x.service - X\n   Loaded: {loaded}\n   Active: {active}\n{more}\n");
            let status = parse_status("x", &text, "", Some(3));
            (status.state, status.pid)
        };
        let loaded = "loaded (/lib/systemd/system/x.service; enabled)";
        let since = "since Mon 2016-05-02 12:00:00 UTC; 1min ago";
        let live = " Main PID: 77 (x)\n";
        let dead = " Main PID: 77 (code=exited, status=1/FAILURE)\n";
        let cases = [
            (loaded, "active (running)", live, S::Running, Some(77)),
            (loaded, "active (running)", dead, S::Running, None),
            (loaded, "active (running)", " Main PID: 77\n", S::Running, Some(77)),
            (loaded, "active (running)", "", S::Running, None),
            (loaded, "reloading (reload)", live, S::Running, Some(77)),
            (loaded, "active (exited)", dead, S::Exited, None),
            (loaded, "active (waiting)", "", S::Unknown, None),
            (loaded, "activating (start)", live, S::Starting, Some(77)),
            (loaded, "activating (auto-restart) (Result: exit-code)", dead, S::Starting, None),
            (loaded, "deactivating (stop-sigterm)", live, S::Stopping, Some(77)),
            (loaded, "failed (Result: exit-code)", dead, S::Failed, None),
            (loaded, "failed (Result: exit-code)", live, S::Failed, None),
            (loaded, "inactive (dead)", "", S::Stopped, None),
            (loaded, "inactive (dead) (Result: exec-condition)", dead, S::Stopped, None),
            (loaded, "maintenance", "", S::Unknown, None),
            ("not-found (Reason: No such file or directory)", "inactive (dead)", "", S::NotFound, None),
            ("not-found (Reason: No such file or directory)", "active (running)", live, S::Running, Some(77)),
            ("not-found (Reason: No such file or directory)", "failed (Result: exit-code)", dead, S::NotFound, None),
            ("masked (/dev/null; bad)", "inactive (dead)", "", S::NotFound, None),
            ("masked (Reason: Unit x.service is masked.)", "inactive (dead)", "", S::NotFound, None),
            ("error (Reason: Invalid argument)", "inactive (dead)", "", S::Stopped, None),
        ];
        for (loaded, active, more, state, pid) in cases {
            assert_eq!(block(loaded, &format!("{active} {since}"), more), (state, pid), "{loaded} {active}");
            assert_eq!(block(loaded, active, more), (state, pid), "{loaded} {active}, without time");
        }
        check(
            "systemd",
            &[
                ("x", "", "Unit x.service could not be found.\n", Some(4), S::NotFound, None),
                (
                    "x",
                    "",
                    "Redirecting to /bin/systemctl status  x.service\nUnit x.service could not be found.\n",
                    Some(4),
                    S::NotFound,
                    None,
                ),
                (
                    "x",
                    "",
                    "System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed to connect to bus: Host is down\n",
                    Some(1),
                    S::Unknown,
                    None,
                ),
                ("x", "", "Failed to get D-Bus connection: Operation not permitted\n", Some(1), S::Unknown, None),
                ("x", "", "Failed to get properties: Access denied\n", Some(1), S::Denied, None),
            ],
        );
        let redirected = format!("Redirecting to /bin/systemctl status  x.service\n{RUNNING}");
        assert_eq!(parse_status("x", &redirected, "", Some(0)).state, S::Running);
        let warned =
            parse_status("x", RUNNING, "Warning: x.service changed on disk. Run 'systemctl daemon-reload'\n", Some(0));
        assert_eq!(warned.state, S::Running);
    }

    #[test]
    fn texts_that_mislead() {
        check(
            "misleading",
            &[
                ("x", "x is not running\n", "", Some(0), S::Stopped, None),
                ("x", "It is probably not running.\n", "", Some(1), S::Stopped, None),
                ("x", "no x process is running\n", "", Some(0), S::Unknown, None),
                ("x", "cannot tell whether x is running\n", "", Some(0), S::Unknown, None),
                ("x", "x is no longer running\n", "", Some(0), S::Stopped, None),
                ("running", "running is stopped\n", "", Some(3), S::Stopped, None),
                ("x", "{running_applications,[{rabbit,\"RabbitMQ\"}]}\n", "", Some(0), S::Unknown, None),
                ("x", "Checking for running process\n", "", Some(0), S::Unknown, None),
                ("x", "Runlevel 3, long-running\n", "", Some(0), S::Unknown, None),
                ("x", "", "", Some(0), S::Unknown, None),
                ("x", "", "", Some(3), S::Stopped, None),
                ("x", "", "", Some(4), S::Unknown, None),
                ("x", "", "", Some(1), S::Unknown, None),
                ("x", "", "", None, S::Unknown, None),
                ("x", "odd\n", "", Some(3), S::Stopped, None),
                ("x", "odd\n", "", Some(0), S::Unknown, None),
                ("x", "x is running\n", "", Some(3), S::Running, None),
                ("x", "x is stopped\n", "", Some(0), S::Stopped, None),
                ("x", "x is not running\n", "cat: /var/run/x.pid: Permission denied\n", Some(3), S::Denied, None),
                ("x", "x is running\n", "cat: /var/run/x.pid: Permission denied\n", Some(0), S::Running, None),
                ("x", "x is running\n", "another thing is dead\n", Some(0), S::Running, None),
                ("x", "x is already running (pid: 77)\n", "", Some(0), S::Running, Some(77)),
                ("x", "x running\n", "", Some(0), S::Running, None),
                ("x", "running\n", "", Some(0), S::Running, None),
                ("x", "x: running, process 9\n", "", Some(0), S::Running, Some(9)),
                ("x", "", "sudo: a password is required\n", Some(1), S::Denied, None),
                ("x", "", "sudo: service: command not found\n", Some(1), S::Unknown, None),
                ("x", "", "bash: service: command not found\n", Some(127), S::Unknown, None),
            ],
        );
    }

    /// A wrapper of a program prints supervisorctl's line.
    #[test]
    fn contrail_wrappers() {
        check(
            "wrapper",
            &[
                (
                    "contrail-collector",
                    "contrail-collector               RUNNING    pid 4123, uptime 0:00:07\n",
                    "",
                    Some(0),
                    S::Running,
                    Some(4123),
                ),
                (
                    "contrail-collector",
                    "contrail-collector               FATAL      Exited too quickly (process log may have details)\n",
                    "",
                    Some(0),
                    S::Failed,
                    None,
                ),
                (
                    "contrail-collector",
                    "contrail-collector               STOPPED    Not started\n",
                    "",
                    Some(0),
                    S::Stopped,
                    None,
                ),
                (
                    "contrail-collector",
                    "contrail-collector               BACKOFF    Exited too quickly\n",
                    "",
                    Some(0),
                    S::Starting,
                    None,
                ),
                ("contrail-collector", "unix:///tmp/x.sock refused connection\n", "", Some(0), S::Unknown, None),
            ],
        );
    }

    #[test]
    fn actions() {
        let found = |text: &str| Some(InitProblem::NotFound { text: text.to_owned() });
        let denied = |text: &str| Some(InitProblem::Denied { text: text.to_owned() });
        let command = |problem| Some(InitProblem::Command(problem));
        for text in [
            "x: unrecognized service",
            "Failed to start x.service: Unit x.service not found.",
            "Failed to start x.service: Unit not found.",
            "Failed to restart x.service: Unit x.service failed to load: No such file or directory.",
            "Failed to issue method call: Unit x.service failed to load: No such file or directory. See system logs and 'systemctl status x.service' for details.",
            "Failed to stop x.service: Unit x.service not loaded.",
            "Failed to start x.service: Unit x.service is masked.",
            "start: Unknown job: x",
            "env: /etc/init.d/x: No such file or directory",
        ] {
            assert_eq!(parse_action("", &format!("{text}\n"), Some(1)), found(text));
        }
        for text in [
            "Failed to start x.service: Access denied",
            "Failed to start x.service: Interactive authentication required.",
            "start: Rejected send message, 1 matched rules; type=\"method_call\", sender=\":1.7\"",
            "start-stop-daemon: unable to stat /usr/bin/x (Permission denied): Permission denied",
            "You need to be root to run this script",
        ] {
            assert_eq!(parse_action("", &format!("{text}\n"), Some(1)), denied(text));
        }
        assert_eq!(
            parse_action("", "sudo: a password is required\n", Some(1)),
            command(ControlProblem::Sudo(SudoError::PasswordWanted))
        );
        assert_eq!(
            parse_action("", "sudo: sorry, you must have a tty to run sudo\n", Some(1)),
            command(ControlProblem::Sudo(SudoError::Terminal))
        );
        assert_eq!(
            parse_action("", "sudo: service: command not found\n", Some(1)),
            command(ControlProblem::CommandNotFound)
        );
        assert_eq!(parse_action("", "", Some(127)), command(ControlProblem::CommandNotFound));
        for (stdout, exit) in [
            ("", 0),
            ("Starting supervisord: [  OK  ]\n", 0),
            ("Starting supervisord: [FAILED]\n", 1),
            ("x start/running, process 12\n", 0),
            ("start: Job is already running: x\n", 1),
            ("stop: Unknown instance: \n", 1),
            (
                "Job for x.service failed because the control process exited with error code. See \"systemctl status x.service\" and \"journalctl -xe\" for details.\n",
                1,
            ),
            ("/etc/init.d/x: line 30: lsof: command not found\n", 1),
            ("cat: /var/run/x.pid: No such file or directory\n", 1),
        ] {
            assert_eq!(parse_action(stdout, "", Some(exit)), None, "{stdout}");
        }
    }

    #[test]
    fn states_in_supervisord_words() {
        assert_eq!(process_state(S::Running), ProcessState::Running);
        assert_eq!(process_state(S::Exited), ProcessState::Exited);
        assert_eq!(process_state(S::Failed), ProcessState::Fatal);
        assert_eq!(process_state(S::Denied), ProcessState::Unknown);
    }

    #[test]
    fn texts_are_bounded() {
        let long = "é".repeat(5_000);
        assert!(parse_status("x", &format!("{long} is running"), "", None).text.len() <= 512);
        let block = format!("Loaded: loaded\nActive: active (running) since {long}\n");
        assert!(parse_status("x", &block, "", None).since.is_some_and(|since| since.len() <= 512));
    }

    fn words() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec![
                "x",
                " ",
                "\n",
                "is",
                " not ",
                "running",
                "running",
                "stopped",
                "(pid ",
                "12",
                ")",
                "start/",
                "stop/",
                ", process ",
                "Loaded: ",
                "Active: ",
                "active",
                " (running)",
                " (exited)",
                " since ",
                ";",
                "Main PID: ",
                "(code=",
                "\u{1b}[",
                "\u{1b}]",
                "\u{1b}",
                "m",
                "dead",
                "Unit ",
                "Unknown job: ",
                "é",
                "sudo: ",
                "RUNNING",
            ]),
            0..30,
        )
        .prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn no_text_panics(name in "\\PC{0,10}", stdout in "\\PC{0,200}", stderr in "\\PC{0,100}", exit: Option<u32>) {
            let _status = parse_status(&name, &stdout, &stderr, exit);
            let _action = parse_action(&stdout, &stderr, exit);
        }

        #[test]
        fn no_likely_text_panics(stdout in words(), stderr in words(), exit: Option<u32>) {
            let _status = parse_status("x", &stdout, &stderr, exit);
            let _action = parse_action(&stdout, &stderr, exit);
        }

        /// No line that says "not running" is running, whatever stands around it and whatever the code is.
        #[test]
        fn not_running_is_never_running(before in "[a-z (*\\[\\]]{0,20}", after in "[a-z .!(]{0,20}", exit: Option<u32>) {
            let status = parse_status("x", &format!("{before} not running {after}\n"), "", exit);
            prop_assert!(status.state != S::Running && status.pid.is_none());
        }

        /// No exit code alone makes anything run.
        #[test]
        fn a_code_never_says_running(exit: Option<u32>, text in "[a-q ]{0,40}") {
            let status = parse_status("x", &text, "", exit);
            prop_assert!(status.state != S::Running);
        }
    }
}
