//! The problems that kept a command from doing its work, whether supervisorctl, the login shell or sudo reports them.
//!
//! Here lives [`ControlProblem`], and the reading of single lines for it. Pure; uses its neighbor `text` and
//! `remote::SudoError`. Invariants: the text decides, since supervisorctl 3.x exits with 0 after any error; an exit
//! code only decides where the text leaves it open. Start reading at `classify`.

use std::fmt;

use super::text::clip;
use ctl_remote::SudoError;

/// So many lines of an output are read.
pub(super) const MAX_LINES: usize = 20_000;
/// So many problems of an output are kept.
pub(super) const MAX_PROBLEMS: usize = 64;

/// The reason why a command did not do its work.
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
        /// As it was given to the command.
        name: String,
    },
    /// supervisord has no such group.
    NoSuchGroup {
        /// As it was given to the command.
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

/// How to treat a line that is not recognized.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownLine {
    Keep,
    Drop,
}

/// Collects problems from the lines of an output.
pub(super) struct ControlProblems {
    exit: Option<u32>,
    found: Vec<ControlProblem>,
    in_traceback: bool,
}

impl ControlProblems {
    pub(super) fn new(exit: Option<u32>) -> Self {
        Self { exit, found: Vec::new(), in_traceback: false }
    }

    fn push(&mut self, problem: ControlProblem) {
        if self.found.len() < MAX_PROBLEMS && !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    pub(super) fn read(&mut self, raw: &str, unknown: UnknownLine) {
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
        // A command that exited with 0 was found, whatever a script within it missed.
        classify(line).or_else(|| shell_problem(line).filter(|_| self.exit != Some(0)))
    }

    /// Reads stderr too. Unknown lines there (a warning, a greeting) count only where nothing else was printed.
    pub(super) fn finish(mut self, stderr: &str, answered: bool) -> Vec<ControlProblem> {
        for line in stderr.lines().take(MAX_LINES) {
            self.read(line, UnknownLine::Drop);
        }
        // A traceback that was cut short does not name its exception.
        if self.in_traceback {
            self.push(ControlProblem::PythonError { text: "an exception".to_owned() });
        }
        let recognised = self.found.iter().any(|problem| !matches!(problem, ControlProblem::Unrecognised { .. }));
        if !answered && !recognised {
            // The codes of the shell itself: 127 for a command that it did not find, 126 for one that it may not
            // execute (POSIX).
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

/// The problem that a line of supervisorctl or of sudo reports.
pub(super) fn classify(line: &str) -> Option<ControlProblem> {
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

/// The problem behind an exception that supervisorctl did not foresee: Python 2 writes `socket.error` where Python 3 writes
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
    // ECONNREFUSED is 111 on Linux and 61 on BSD.
    if of_socket && says(&["[Errno 111]", "(111, ", "[Errno 61]", "(61, "]) {
        return ControlProblem::Refused { address: String::new() };
    }
    // With a file's name behind it, it is not the socket that is missing.
    if of_socket && says(&["[Errno 2] No such file or directory: file: ", "(2, 'No such file or directory')"]) {
        return ControlProblem::NoSuchFile { address: String::new() };
    }
    // ECONNRESET is 104 on Linux and 54 on BSD; EPIPE is 32 on both.
    let reset = ["[Errno 104]", "(104, ", "[Errno 32]", "(32, ", "[Errno 54]"];
    let of_connection = of_socket || says(&["ConnectionResetError", "BrokenPipeError", "ConnectionAbortedError"]);
    // An answer that ends early: no status line, half a body, or no element in it.
    let cut_short = ["RemoteDisconnected", "BadStatusLine", "IncompleteRead", "ExpatError'>, no element found"];
    if of_connection && says(&reset) || says(&cut_short) {
        return ControlProblem::HungUp;
    }
    ControlProblem::PythonError { text: clip(text) }
}

/// The problem that a line of sudo reports when it does not run the command.
pub(super) fn sudo_problem(line: &str) -> Option<ControlProblem> {
    if let Some(error) = SudoError::of_line(line) {
        return Some(ControlProblem::Sudo(error));
    }
    let lower = line.to_ascii_lowercase();
    let of_sudo = lower.starts_with("sudo:") || lower.starts_with("sudo-rs:");
    (of_sudo && lower.contains("command not found")).then_some(ControlProblem::CommandNotFound)
}

/// The problem that the login shell reports when it cannot run the command: sh (dash), bash, ksh, zsh and csh, and `env`.
fn shell_problem(line: &str) -> Option<ControlProblem> {
    const SHELLS: &[&str] =
        &["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "csh", "tcsh", "fish", "busybox", "env"];
    let lower = line.to_ascii_lowercase();
    let (teller, rest) = lower.split_once(':')?;
    // A login shell calls itself `-bash`.
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
