//! The three standard streams, and whether each of them is a terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::ValueEnum;
use indicatif::ProgressBar;
use rustix::termios::{QueueSelector, tcflush};

use ctl_sink::text;

/// When output has colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// At a terminal, unless NO_COLOR is set
    Auto,
    /// Even if the output is not a terminal
    Always,
    /// Not even at a terminal
    Never,
}

/// Whether stdout is a terminal.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether something that moves may be drawn on stderr.
pub fn stderr_can_animate() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a question can be asked and answered: where standard input is something else, at the terminal of the process, as
/// `ssh` does it.
pub fn can_ask() -> bool {
    // The question goes to stderr and must be seen, wherever the answer comes from.
    io::stderr().is_terminal() && (stdin_is_terminal() || open_terminal().is_ok())
}

/// Whether stdin is a terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The terminal that the process belongs to.
pub(crate) fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// Columns and rows of the terminal at stdout.
pub fn stdout_size() -> (Option<u16>, Option<u16>) {
    let size = stdout_is_terminal().then(|| console::Term::stdout().size_checked()).flatten();
    (size.map(|(_, columns)| columns), size.map(|(rows, _)| rows))
}

/// Columns of the terminal at stdout.
pub fn stdout_width() -> Option<u16> {
    stdout_is_terminal().then(|| console::Term::stdout().size_checked().map(|(_, columns)| columns)).flatten()
}

/// Rows of the terminal at stdout, where stderr goes to a terminal too.
pub fn height_shared_with_stderr() -> Option<u16> {
    let size = || console::Term::stdout().size_checked();
    (stdout_is_terminal() && io::stderr().is_terminal()).then(size).flatten().map(|(rows, _)| rows)
}

/// Whether stdout gets colour.
pub fn color(when: ColorChoice) -> bool {
    match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            stdout_is_terminal()
                // An empty NO_COLOR does not count (no-color.org).
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Columns of the terminal at stderr.
pub fn stderr_width() -> Option<u16> {
    console::Term::stderr().size_checked().map(|(_, columns)| columns)
}

/// Whether stderr gets colour.
pub fn stderr_color(when: ColorChoice) -> bool {
    match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => stderr_can_animate() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// Messages on stderr, where a display may be drawn: it makes room for them.
#[derive(Clone, Default)]
pub struct StderrMessages {
    display: Option<ProgressBar>,
}

impl StderrMessages {
    /// Beside `display`.
    pub fn beside(display: ProgressBar) -> Self {
        Self { display: Some(display) }
    }

    /// Says something on stderr.
    pub fn say(&self, text: &str) {
        match &self.display {
            Some(display) => display.suspend(|| say(text)),
            None => say(text),
        }
    }
}

/// Says something on stderr, line by line made safe for a terminal: it may quote a file or a node. A closed stderr is
/// nobody's loss.
pub fn say(text: &str) {
    // Nothing can be reported about stderr but on stderr.
    drop(writeln!(io::stderr().lock(), "{}", text::visible_lines(text)));
}

/// Asks on stderr and reads a line. Input typed before the question is thrown away.
///
/// # Errors
/// If nothing can be written or read there.
pub fn ask(question: &str) -> io::Result<String> {
    if stdin_is_terminal() {
        return ask_at(io::stdin(), io::stdin().lock(), question);
    }
    let terminal = open_terminal()?;
    ask_at(&terminal, BufReader::new(&terminal), question)
}

fn ask_at(terminal: impl AsFd, mut reader: impl BufRead, question: &str) -> io::Result<String> {
    // A line typed ahead must not confirm a question that nobody has read.
    tcflush(terminal, QueueSelector::IFlush)?;
    let mut stderr = io::stderr().lock();
    write!(stderr, "{}", text::visible_lines(question))?;
    stderr.flush()?;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Whether a signal was ignored when the process began (proc(5), `SigIgn`); where that cannot be read, not.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // An unreadable mask is an empty one: then nothing is ignored, and signals work as usual.
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
}
