//! A quick command and its answer: its output between marks, and its exit status.
//!
//! A login shell may reject the command, exit before it, or print before it, with or without a final newline. So the
//! shell gets one command, `sh -c`, which prints a random mark on a line of its own, runs the body, and prints the mark
//! again with the exit status. Invariants: only output between the marks is an answer; without the first mark nothing
//! ran, without the second it did not complete. Pure; [`Sudo::ask`](super::Sudo::ask) executes it.

use super::sudo_errors::clip;
use ctl_transport::ExecOutput;

/// Runs `$2` between marks (`$1`) on both streams. It has no backslash, quote or exclamation mark that a login shell
/// (csh, fish) would interpret in single quotes.
const ASK: &str = r#"printf "\n%s\n" "$1"; printf "\n%s\n" "$1" >&2; eval "$2"; printf "\n%s %s\n" "$1" "$?""#;

/// The same, but the command runs to its end even if the connection is lost: the rest of its output is drained. Its
/// stderr is merged into its stdout.
const ASK_TO_THE_END: &str = r#"trap "" HUP; { printf "\n%s\n" "$1"; eval "$2" 2>&1; printf "\n%s %s\n" "$1" "$?"; } | { trap "" PIPE; cat; cat >/dev/null; }"#;

/// How a command is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskMode {
    /// It ends with the connection.
    Attached,
    /// It runs to its end even if the connection is lost; stderr is merged into stdout.
    ToTheEnd,
}

/// The output of a command, and its exit status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandAnswer {
    /// Standard output, unchanged except that invalid UTF-8 is replaced.
    pub stdout: String,
    /// Standard error, the same.
    pub stderr: String,
    /// The exit status of a shell: 128 and more for a signal.
    pub status: u32,
}

/// Advice for a node that does not run commands.
pub const NOT_RUN: &str = "run a command there with ssh; check the account's login shell and its startup files, ForceCommand in sshd_config, and command= in authorized_keys";

/// Why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It did not run.
    #[error("the node did not run the command: it printed {}", quoted(said, *exit))]
    NotRun {
        /// The last line of output instead (untrusted, clipped).
        said: String,
        /// The exit code of the login shell, if reported.
        exit: Option<u32>,
    },
    /// It started, and its shell ended before it completed.
    #[error("the command ended on the node before it answered; its last line was {}", quoted(said, *exit))]
    CutShort {
        /// The last line of its output (untrusted, clipped).
        said: String,
        /// The exit code of the login shell, if reported.
        exit: Option<u32>,
    },
    /// It exited with an unexpected status, and its output does not explain that.
    #[error("`{command}` {}; it printed {}", ending(*status), quoted(said, None))]
    Failed {
        /// The command.
        command: String,
        /// The exit status of a shell.
        status: u32,
        /// The last line of its output (untrusted, clipped).
        said: String,
    },
    /// Its output exceeds the limit.
    #[error("a command printed more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It cannot be sent.
    #[error("the command contains a NUL character")]
    Nul,
}

impl NoAnswer {
    /// Advice for the user.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotRun { .. } => Some(NOT_RUN),
            Self::CutShort { .. } => {
                Some("run a command there with ssh; check the node's memory, its process limits and its kernel log")
            }
            Self::Failed { .. } => Some("run the command on the node to see what is wrong"),
            Self::TooLong { .. } | Self::Nul => None,
        }
    }

    /// Whether it certainly did not run.
    #[must_use]
    pub const fn did_not_run(&self) -> bool {
        matches!(self, Self::NotRun { .. } | Self::Nul)
    }
}

fn quoted(said: &str, exit: Option<u32>) -> String {
    match (said, exit) {
        ("", None) => "nothing".to_owned(),
        ("", Some(code)) => format!("nothing (exit code {code})"),
        (said, _) => format!("`{said}`"),
    }
}

/// A status as text: `ended with exit code 7`, `was killed by signal 9`.
#[must_use]
pub fn ending(status: u32) -> String {
    match status {
        // Shells report 128 plus the signal (POSIX only demands more than 128), and Linux has 64 signals.
        129..=192 => format!("was killed by signal {}", status - 128),
        _ => format!("ended with exit code {status}"),
    }
}

/// The last line that is not empty, clipped.
#[must_use]
pub fn last_line(text: &str) -> String {
    clip(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim())
}

/// The command line, which every login shell parses the same way.
pub(super) fn line_of(mark: &str, body: &str, mode: AskMode) -> Result<String, NoAnswer> {
    let (script, name) = match mode {
        AskMode::Attached => (ASK, "ctl-ask"),
        AskMode::ToTheEnd => (ASK_TO_THE_END, "ctl-act"),
    };
    let body = shlex::try_quote(body).map_err(|_| NoAnswer::Nul)?;
    Ok(format!("sh -c '{script}' {name} {mark} {body}"))
}

/// The answer between the marks.
pub(super) fn read(mark: &str, output: &ExecOutput, limit: usize) -> Result<CommandAnswer, NoAnswer> {
    let exit = output.exit;
    let Some(begun) = behind_mark(&output.stdout, mark) else {
        // The mark may lie beyond the limit, so it is unknown whether the command ran.
        if output.truncated {
            return Err(NoAnswer::TooLong { limit });
        }
        // A shell that rejects a command says so on stderr.
        let said = last_line(&output.stderr);
        return Err(NoAnswer::NotRun { said: if said.is_empty() { last_line(&output.stdout) } else { said }, exit });
    };
    // If stderr is merged into stdout, its mark follows the first one.
    let begun = behind_mark(begun, mark).filter(|_| begun.trim_start().starts_with(mark)).unwrap_or(begun);
    let stderr = behind_mark(&output.stderr, mark).unwrap_or_default();
    if output.truncated {
        return Err(NoAnswer::TooLong { limit });
    }
    // The last mark counts: the output itself may contain an echo of the command line with the mark.
    let end = begun.rmatch_indices(mark).find_map(|(at, _)| {
        let before = begun.get(..at)?.strip_suffix('\n')?;
        let (status, _) = begun.get(at + mark.len()..)?.strip_prefix(' ')?.split_once('\n')?;
        Some((before, status.trim_end().parse().ok()?))
    });
    let Some((stdout, status)) = end else {
        let said = last_line(begun);
        return Err(NoAnswer::CutShort { said: if said.is_empty() { last_line(stderr) } else { said }, exit });
    };
    Ok(CommandAnswer { stdout: stdout.to_owned(), stderr: stderr.to_owned(), status })
}

/// Whether the line with the exit status has arrived.
pub(super) fn has_status(stdout: &[u8], mark: &str) -> bool {
    let mark = mark.as_bytes();
    stdout.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).any(|(at, _)| {
        // The script prints a line end before its mark; a mark inside a line is an echo of the command line.
        let is_first = at.checked_sub(1).and_then(|before| stdout.get(before)) == Some(&b'\n');
        let rest = stdout.get(at + mark.len()..).and_then(|rest| rest.strip_prefix(b" "));
        let line = rest.and_then(|rest| rest.split_inclusive(|byte| *byte == b'\n').next());
        let status = line.and_then(|line| line.strip_suffix(b"\n")).map(<[u8]>::trim_ascii_end);
        is_first && status.is_some_and(|status| !status.is_empty() && status.iter().all(u8::is_ascii_digit))
    })
}

/// The text after the first line that consists of the mark.
fn behind_mark<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.match_indices(mark).find_map(|(at, _)| {
        let is_first = text.get(..at)?.chars().next_back().is_none_or(|before| before == '\n');
        let rest = text.get(at + mark.len()..)?;
        rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\r\n")).filter(|_| is_first)
    })
}

/// The end of the first line that consists of the mark.
pub(super) fn end_of_mark(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let found = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
    found.map(|(at, _)| (at, at + mark.len())).find_map(|(at, end)| {
        let is_first = at == 0 || bytes.get(at - 1) == Some(&b'\n');
        (is_first && bytes.get(end) == Some(&b'\n')).then_some(end + 1)
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const MARK: &str = "ctl-run-0123";

    fn output(stdout: &str, stderr: &str, exit: u32) -> ExecOutput {
        ExecOutput { stdout: stdout.to_owned(), stderr: stderr.to_owned(), exit: Some(exit), truncated: false }
    }

    fn answer(stdout: &str, stderr: &str, status: u32) -> Result<CommandAnswer, NoAnswer> {
        Ok(CommandAnswer { stdout: stdout.to_owned(), stderr: stderr.to_owned(), status })
    }

    #[test]
    fn only_output_between_the_marks_is_an_answer() {
        let table = [
            ("\nM\none\ntwo\n\nM 0\n", "\nM\nwarning\n", answer("one\ntwo\n", "warning\n", 0)),
            ("\nM\n\nM 0\n", "\nM\n", answer("", "", 0)),
            ("\nM\nno end\nM 3\n", "rc noise\nM\n", answer("no end", "", 3)),
            ("Authorized use only. \nM\na RUNNING\n\nM 0\n", "", answer("a RUNNING\n", "", 0)),
            ("\u{1b}]0;title\u{7}\nM\nx\n\nM 0\n", "", answer("x\n", "", 0)),
            ("10%\r100%\r\nM\nx\n\nM 0\n", "", answer("x\n", "", 0)),
            // A wrapper that echoes its command, and one that merges stderr into stdout.
            ("running sh -c ' M x'\n\nM\nx\n\nM 0\nbye\n", "", answer("x\n", "", 0)),
            ("\nM\n\nM\nx\n\nM 0\n", "", answer("x\n", "", 0)),
            ("\r\nM\r\nx\r\n\r\nM 0\r\n", "", answer("x\r\n\r", "", 0)),
            ("\nM\nx\n\nM 137\n", "\nM\nKilled\n", answer("x\n", "Killed\n", 137)),
            ("\nM\n\nM 5\nthe log says M 7\n\nM 0\n", "", answer("\nM 5\nthe log says M 7\n", "", 0)),
        ];
        for (stdout, stderr, wanted) in table {
            let marked = |text: &str| text.replace('M', MARK);
            let wanted = wanted.map(|answer| CommandAnswer { stdout: marked(&answer.stdout), ..answer });
            assert_eq!(read(MARK, &output(&marked(stdout), &marked(stderr), 0), 99), wanted, "{stdout:?}");
        }
    }

    #[test]
    fn the_status_is_known_once_its_line_has_come() {
        let whole = "noise\n\nM\nx\n\nM 137\n".replace('M', MARK);
        for end in 0..whole.len() {
            assert!(!has_status(&whole.as_bytes()[..end], MARK), "{:?}", &whole[..end]);
        }
        assert!(has_status(whole.as_bytes(), MARK));
        for text in ["\nM\nsh -c x M 0\n", "\nM\n\nM x\n", "\nM\n\nM \n", "M 0\n"] {
            assert!(!has_status(text.replace('M', MARK).as_bytes(), MARK), "{text:?}");
        }
    }

    #[test]
    fn commands_that_did_not_run_or_complete_are_errors() {
        let not_run = |said: &str, exit| Err(NoAnswer::NotRun { said: said.to_owned(), exit: Some(exit) });
        let cut = |said: &str, exit| Err(NoAnswer::CutShort { said: said.to_owned(), exit: Some(exit) });
        let table = [
            (
                "This account is currently not available.\n",
                "",
                1,
                not_run("This account is currently not available.", 1),
            ),
            ("hello\n", "closed\n\n", 1, not_run("closed", 1)),
            ("", "", 0, not_run("", 0)),
            // Only echoed, never run.
            ("would run: sh -c x ctl-ask M 'y'\n", "", 0, not_run("would run: sh -c x ctl-ask ctl-run-0123 'y'", 0)),
            ("\nM\na RUNNING\n", "", 255, cut("a RUNNING", 255)),
            ("\nM\n", "\nM\nsh: out of memory\n", 137, cut("sh: out of memory", 137)),
            ("\nM\nx\nM \n", "", 0, cut("M", 0)),
            ("\nM\nx\nM 1x\n", "", 0, cut("M 1x", 0)),
        ];
        for (stdout, stderr, exit, wanted) in table {
            let marked = |text: &str| text.replace('M', MARK);
            let wanted = wanted.map_err(|error| {
                if let NoAnswer::CutShort { said, exit } = error {
                    NoAnswer::CutShort { said: marked(&said), exit }
                } else {
                    error
                }
            });
            assert_eq!(read(MARK, &output(&marked(stdout), &marked(stderr), exit), 99), wanted, "{stdout:?}");
        }
        let cut = ExecOutput { truncated: true, ..output("\nctl-run-0123\nmuch", "", 0) };
        assert_eq!(read(MARK, &cut, 99), Err(NoAnswer::TooLong { limit: 99 }));
    }

    /// The line in a real shell: the local sh is the login shell.
    #[test]
    fn the_line_runs() {
        let table = [
            ("printf 'a b\\n'; echo \"$HOME\" >/dev/null", "a b\n", 0),
            ("exit_code() { return 7; }; exit_code", "", 7),
            ("sh -c 'kill -9 $$' >/dev/null", "", 137),
            ("echo it\\'s \\\\ '!'", "it's \\ !\n", 0),
        ];
        for mode in [AskMode::Attached, AskMode::ToTheEnd] {
            for (body, stdout, status) in table {
                let line = line_of(MARK, body, mode).expect("no NUL");
                let run = Command::new("sh").args(["-c", &line]).output().expect("a shell");
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let read = read(MARK, &output(&text(&run.stdout), &text(&run.stderr), 0), 4096).expect("an answer");
                // The shell reports a signal on stderr.
                let printed = read.stdout.strip_prefix("Killed\n").unwrap_or(&read.stdout);
                assert_eq!((printed, read.status), (stdout, status), "{line}");
            }
        }
        assert_eq!(line_of(MARK, "a\0b", AskMode::Attached), Err(NoAnswer::Nul));
    }

    #[test]
    fn the_scripts_are_one_word_for_every_shell() {
        for script in [ASK, ASK_TO_THE_END] {
            assert!(!script.contains(['\'', '!']) && !script.contains("\\\\"), "{script}");
        }
    }

    #[test]
    fn messages_name_the_end() {
        let failed = |status, said: &str| NoAnswer::Failed { command: "x".to_owned(), status, said: said.to_owned() };
        assert_eq!(failed(7, "").to_string(), "`x` ended with exit code 7; it printed nothing");
        assert_eq!(failed(137, "a").to_string(), "`x` was killed by signal 9; it printed `a`");
        let not_run = NoAnswer::NotRun { said: String::new(), exit: Some(1) };
        assert_eq!(not_run.to_string(), "the node did not run the command: it printed nothing (exit code 1)");
    }

    proptest! {
        #[test]
        fn noise_around_is_never_read(before in "[ -~\r\n\u{1b}é]{0,40}", inside in "[ -~\r\n]{0,40}", after in "[ -~\n]{0,20}") {
            let text = format!("{before}\n{MARK}\n{inside}\n{MARK} 3\n{after}");
            let read = read(MARK, &output(&text, "", 0), 4096).expect("an answer");
            prop_assert_eq!((read.stdout, read.status), (inside, 3));
        }

        #[test]
        fn no_text_panics(stdout in "(\\PC|\n|ctl-run-0123){0,9}", stderr in "(\n|ctl-run-0123|x){0,9}") {
            drop(read(MARK, &output(&stdout, &stderr, 0), 4096));
            let _end = end_of_mark(stdout.as_bytes(), MARK.as_bytes());
        }
    }
}
