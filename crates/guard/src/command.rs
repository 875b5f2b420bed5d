//! Runs a user's command on a node: sends its input, collects its output, and ensures its end.
//!
//! Invariants: a canceled run, a timeout and a lost connection all end the command on the node with its whole process
//! group; it starts only once all of its input has arrived; its output is kept, up to [`OUTPUT_LIMIT`] per stream;
//! output of the login shell before it does not count as its own, and a command counts as started only once its mark
//! has arrived.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Interval, sleep_until, timeout};

use ctl_event::{Failure, FailureKind, Stage};
use ctl_remote::script::{READ_AND_RUN, one_line, quoted, read_and_run};
use ctl_remote::{EnterError, Sudo, SudoError, SudoPrompt};
use ctl_transport::{HUNG, OutputDrain, OutputPiece, RemoteCommand, Session, TransportError};

/// Maximum output to keep per stream, in bytes; the rest is read and dropped.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// How long a stopped command may take to exit: it is killed after two seconds.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// How long to wait for the mark of an exited command: sshd may report the exit before it sends the output.
pub(crate) const MARK_TIME: Duration = Duration::from_secs(10);

/// How long a node may take to accept a sign of life.
const BEAT_TIME: Duration = Duration::from_secs(1);

/// Maximum output of a login shell before the command.
const NOISE_LIMIT: usize = 1024 * 1024;

/// Maximum length of a node's line in a message, in characters.
const SAID_LIMIT: usize = 200;

/// A shell that reads a command and its input, and becomes the command.
pub(super) const READ: &str = concat!(
    include_str!("exec/read.sh"),
    "\n",
    include_str!("exec/env.sh"),
    "\n",
    include_str!("exec/watch.sh"),
    "\n",
    include_str!("exec/run.sh")
);

/// A shell that has the command in its arguments.
pub(super) const WORD: &str = concat!(
    include_str!("exec/word.sh"),
    "\n",
    include_str!("exec/env.sh"),
    "\n",
    include_str!("exec/watch.sh"),
    "\n",
    include_str!("exec/run.sh")
);

/// The watcher of both.
pub(super) const WATCHER: &str = include_str!("exec/watcher.sh");

/// The longest command in the arguments of a shell, encoded; a longer one is read.
const WORD_LIMIT: usize = 16 * 1024;

/// The output of a command, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether either exceeded the limit.
    pub truncated: bool,
    /// Whether it is known to have started.
    pub started: bool,
    /// How it ended.
    pub end: CommandEnd,
}

impl CommandOutput {
    /// The last line of output, from standard error if there is any, clipped.
    #[must_use]
    pub fn last_line(&self) -> Option<String> {
        [&self.stderr, &self.stdout].into_iter().find_map(|stream| {
            let text = String::from_utf8_lossy(stream);
            let line = text.lines().rfind(|line| !line.trim().is_empty())?;
            Some(line.trim().chars().take(SAID_LIMIT).collect())
        })
    }
}

/// Why a command did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// sudo did not run it.
    #[error(transparent)]
    Sudo(SudoError),
    /// It could not be started.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Its time expired before it started.
    #[error("the command was not started: the node did not answer within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The run was canceled before it started.
    #[error("not started: the run was interrupted")]
    GivenUp,
}

impl RunError {
    /// The failure for a result.
    #[must_use]
    pub fn failure(&self, stage: Stage) -> Failure {
        match self {
            Self::Sudo(error) => error.failure(stage),
            Self::Transport(error) => Failure { stage, ..error.failure() },
            Self::Silent(_) => Failure::new(stage, FailureKind::TimedOut, self.to_string()).with_hint(HUNG),
            Self::GivenUp => Failure::new(stage, FailureKind::Interrupted, self.to_string()),
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited with this code.
    Exited(u32),
    /// A signal with this name killed it, such as `KILL`; `UNKNOWN` if sshd has no name for it.
    Signalled(String),
    /// It ended, but the node did not report how.
    NoStatus,
    /// It did not run: the login shell, or its replacement, exited with this code.
    NotRun(Option<u32>),
    /// Its time expired, and it was stopped.
    TimedOut,
    /// The run was canceled, and it was stopped.
    GivenUp,
    /// The connection was lost: the node stops it.
    #[default]
    Lost,
}

/// A command for a node.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeCommand<'a> {
    /// Text for the login shell.
    pub text: &'a str,
    /// Its standard input, in base64; empty for none.
    pub input: &'a str,
    /// Variables for its environment, by name. They are sent as data, and never become part of the text.
    pub environment: &'a [(&'static str, String)],
}

/// Runs `command` in the login shell, through sudo if enabled. It is stopped after `time`, and when `give_up` completes.
///
/// # Errors
/// [`RunError`] if it did not run. A connection lost later is a [`CommandEnd`].
pub async fn run<S: Session>(
    session: &S,
    command: NodeCommand<'_>,
    sudo: &Sudo,
    time: Duration,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, RunError> {
    let deadline = Instant::now() + time;
    let stop = async {
        tokio::select! {
            () = sleep_until(deadline) => CommandEnd::TimedOut,
            () = give_up => CommandEnd::GivenUp,
        }
    };
    tokio::pin!(stop);
    let passage = SudoPrompt::new();
    let mark = format!("ctl-out-{:032x}", rand::random::<u128>());
    let mut gathered = GatheredOutput::new(&mark);
    let start = CommandStart::new(command, sudo, &passage, time, &mark);
    let mut running = tokio::select! {
        // Until the node has all of the input, a stop means that nothing ran.
        started = session.start(&start.line) => started?,
        how = &mut stop => return Err(not_started(&how, time)),
    };
    let sent = tokio::select! {
        sent = send(&mut running, sudo, &passage, time, [&start.read, command.input]) => sent,
        // The script reads all of its input before it starts the command, so nothing was started.
        how = &mut stop => {
            running.close().await;
            return Err(not_started(&how, time));
        }
    };
    match sent {
        // Bytes that arrived right after sudo's dialogue are the start of the stream.
        Ok(rest) => gathered.stdout.take_in(&gathered.mark, rest),
        Err(error) => {
            running.close().await;
            return gathered.not_entered(error);
        }
    }
    Ok(gather(session, running, gathered, stop, None).await)
}

/// Collects the output of a command that has all of its input, until it ends or `stop` completes. Sends a sign of life
/// at each tick of `beat`, if there is one.
pub(crate) async fn gather<S: Session>(
    session: &S,
    mut running: S::Command,
    mut gathered: GatheredOutput,
    mut stop: Pin<&mut impl Future<Output = CommandEnd>>,
    mut beat: Option<Interval>,
) -> CommandOutput {
    loop {
        let tick = async {
            match &mut beat {
                Some(beat) => beat.tick().await,
                None => std::future::pending().await,
            }
        };
        let piece = tokio::select! {
            piece = running.next() => piece,
            how = &mut stop => return end(session, running, gathered, how, beat.is_some()).await,
            _ = tick => {
                // A node that takes none has a connection that is lost, which `next` reports, or the watcher notices.
                let sent = timeout(BEAT_TIME, running.write(b".\n")).await;
                tracing::trace!(?sent, "a sign of life");
                continue;
            }
        };
        match piece {
            Some(OutputPiece::Exit(code)) => {
                // The time limit includes output of processes that the command left running.
                let stopped = tokio::select! {
                    () = gathered.drain(&mut running) => None,
                    how = &mut stop => Some(how),
                };
                let how = gathered.end_of(code, running.signal());
                // A stop that interrupted the wait for the mark takes precedence.
                return match stopped.filter(|_| !gathered.has_started()) {
                    Some(stopped) => gathered.ended(stopped),
                    None => gathered.ended(how),
                };
            }
            Some(piece) => gathered.take_in(piece),
            None => return gathered.ended(CommandEnd::Lost),
        }
        // A login shell that prints without end would never show the mark: give up instead of buffering it.
        if gathered.is_only_noise() {
            running.close().await;
            return gathered.ended(CommandEnd::NotRun(None));
        }
    }
}

fn not_started(how: &CommandEnd, time: Duration) -> RunError {
    if *how == CommandEnd::GivenUp { RunError::GivenUp } else { RunError::Silent(time) }
}

/// The command line for the login shell: a shell that reads a script from its input, with these words as arguments.
pub(crate) fn shell_line(sudo: &Sudo, passage: &SudoPrompt, words: &str) -> String {
    // sudo's dialogue comes first: only the shell behind it may read the script.
    let shell = if sudo.is_on() { read_and_run(passage.mark()) } else { READ_AND_RUN.to_owned() };
    format!("exec {}/bin/sh -c {shell} {words}", sudo.prefix(passage))
}

/// The node's own time limit, in seconds: the last resort, a little after ours.
pub(crate) fn node_limit(time: Duration) -> u64 {
    time.as_secs().saturating_add(5).min(86_400 * 30)
}

/// How a command gets to the node.
struct CommandStart {
    /// For the login shell.
    line: String,
    /// What the shell reads before the command's input.
    read: String,
}

impl CommandStart {
    fn new(command: NodeCommand<'_>, sudo: &Sudo, passage: &SudoPrompt, time: Duration, mark: &str) -> Self {
        let input = command.input.len();
        // The mark is not the last argument: a login shell that echoes its command then prints no line that ends with
        // the mark.
        let words = format!("ctl-exec {} {mark} {input} {}", node_limit(time), quoted(WATCHER));
        let environment = environment_words(command.environment);
        match word(command.text) {
            // sshd accepts data for a command only after its start, so nothing to read saves a round trip.
            Some(word) if input == 0 && !sudo.is_on() => Self {
                line: format!("exec /bin/sh -c {} {words} {word}{environment}", quoted(WORD)),
                read: String::new(),
            },
            _ => Self {
                // In place of the command, which is read.
                line: shell_line(sudo, passage, &format!("{words} -{environment}")),
                read: format!("{}\n{}\n", one_line(READ), escaped(command.text)),
            },
        }
    }
}

/// The variables as words behind the command. One that does not fit into a word is left out; callers bound theirs.
pub(crate) fn environment_words(environment: &[(&'static str, String)]) -> String {
    let words = environment.iter().filter_map(|(name, value)| word(&format!("{name}={value}")));
    words.map(|word| format!(" {word}")).collect()
}

/// A command as one word to every login shell; none if it is too long, or contains a NUL character.
pub(crate) fn word(command: &str) -> Option<String> {
    let is_plain = |char: char| !matches!(char, '\'' | '!' | '\\') && (char == '\t' || !char.is_control());
    let word = if command.chars().all(is_plain) {
        format!("'={command}'")
    } else {
        let mut encoded = String::with_capacity(command.len() + 64);
        for char in command.chars() {
            match char {
                _ if is_plain(char) => encoded.push(char),
                _ => char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| encoded.push_str(&format!("\\0{byte:03o}"))),
            }
        }
        format!("'%{encoded}'")
    };
    (word.len() <= WORD_LIMIT && !command.contains('\0')).then_some(word)
}

/// Text as one line for `printf %b`.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// Completes sudo's dialogue, and sends the shell's input. Returns the output after the dialogue.
pub(crate) async fn send<C: RemoteCommand>(
    running: &mut C,
    sudo: &Sudo,
    passage: &SudoPrompt,
    time: Duration,
    parts: [&str; 2],
) -> Result<Vec<u8>, EnterError> {
    let rest = if sudo.is_on() { sudo.enter(running, passage, time).await? } else { Vec::new() };
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        running.write(part.as_bytes()).await?;
    }
    Ok(rest)
}

/// Stops a command on the node, and collects its last output. If its watcher has the lock, waits for its release.
async fn end<S: Session>(
    session: &S,
    mut running: S::Command,
    mut gathered: GatheredOutput,
    how: CommandEnd,
    has_lock: bool,
) -> CommandOutput {
    let last = async {
        // Any line makes the watcher on the node end the process group. A failed write means a lost connection, which
        // the watcher detects itself.
        if running.write(b"k\n").await.is_err() {
            return;
        }
        while let Some(piece) = running.next().await {
            // A watcher that has the lock holds the streams too: their end is the end of the lock.
            if matches!(piece, OutputPiece::Exit(_)) && !has_lock {
                gathered.drain(&mut running).await;
                break;
            }
            gathered.take_in(piece);
        }
    };
    let is_silent = tokio::select! {
        // Bound the wait: a hung node must not hold up the run.
        ended = timeout(LAST_WORDS, last) => ended.is_err(),
        () = session.falls_silent() => true,
    };
    if is_silent {
        tracing::debug!("a command that was stopped did not report its exit");
    }
    gathered.ended(how)
}

/// The output of a command, including the mark.
pub(crate) struct GatheredOutput {
    /// The line before the command's output.
    mark: Vec<u8>,
    /// The same for standard error, in case it is redirected to standard output.
    stderr_mark: Vec<u8>,
    stdout: MarkedStream,
    stderr: MarkedStream,
}

impl GatheredOutput {
    pub(crate) fn new(mark: &str) -> Self {
        let (stdout, stderr) = (MarkedStream::default(), MarkedStream::default());
        let [mark, stderr_mark] = [format!("{mark}\n"), format!("{mark}-2\n")].map(String::into_bytes);
        Self { mark, stderr_mark, stdout, stderr }
    }

    fn has_started(&self) -> bool {
        self.stdout.is_behind || self.stderr.is_behind
    }

    /// Whether the output without a mark exceeds the limit, so that none is expected.
    pub(crate) fn is_only_noise(&self) -> bool {
        !self.has_started() && self.stdout.before.len() + self.stderr.before.len() > NOISE_LIMIT
    }

    pub(crate) fn take_in(&mut self, piece: OutputPiece) {
        match piece {
            OutputPiece::Stdout(bytes) => self.stdout.take_in(&self.mark, bytes),
            OutputPiece::Stderr(bytes) => self.stderr.take_in(&self.stderr_mark, bytes),
            OutputPiece::Exit(_) => {}
        }
    }

    /// Reads after the exit, first for the mark and then for the rest of the output.
    pub(crate) async fn drain<C: RemoteCommand>(&mut self, running: &mut C) {
        let start = |has_started| if has_started { OutputDrain::start() } else { OutputDrain::patient(MARK_TIME) };
        let mut had_started = self.has_started();
        let mut rest = start(had_started);
        while let Some(piece) = rest.next(running).await {
            if self.is_only_noise() {
                return;
            }
            self.take_in(piece);
            if self.has_started() != had_started {
                // The mark has arrived: from now on only the rest of the output is missing, so the shorter wait
                // applies.
                had_started = true;
                rest = start(true);
            }
        }
    }

    /// The result where the shell behind sudo's dialogue did not get all of its input.
    pub(crate) fn not_entered(mut self, error: EnterError) -> Result<CommandOutput, RunError> {
        match error {
            EnterError::Sudo(error) => Err(RunError::Sudo(error)),
            EnterError::Transport(error) => Err(RunError::Transport(error)),
            EnterError::Ended { said, exit } => {
                self.stderr.before = said.into_bytes();
                Ok(self.ended(CommandEnd::NotRun(exit)))
            }
        }
    }

    /// The output of the command itself since the last call.
    pub(crate) fn take_stdout(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stdout.output)
    }

    /// How a command with this exit code or signal ended.
    pub(crate) fn end_of(&self, code: Option<u32>, signal: Option<&str>) -> CommandEnd {
        match (code, signal) {
            // Without the mark, it is unknown whether it ran.
            _ if !self.has_started() => CommandEnd::NotRun(code),
            (Some(code), _) => CommandEnd::Exited(code),
            (None, Some(name)) => CommandEnd::Signalled(name.to_owned()),
            (None, None) => CommandEnd::NoStatus,
        }
    }

    pub(crate) fn ended(self, end: CommandEnd) -> CommandOutput {
        let started = self.has_started();
        let (stdout, more_stdout) = self.stdout.kept(started);
        let (stderr, more_stderr) = self.stderr.kept(started);
        CommandOutput { stdout, stderr, truncated: more_stdout || more_stderr, started, end }
    }
}

/// One stream: output of the login shell, then the mark, then the output of the command.
#[derive(Default)]
struct MarkedStream {
    /// The output before the mark; empty once that has arrived.
    before: Vec<u8>,
    is_behind: bool,
    output: Vec<u8>,
    truncated: bool,
}

impl MarkedStream {
    fn take_in(&mut self, mark: &[u8], bytes: Vec<u8>) {
        if self.is_behind {
            return self.keep(&bytes);
        }
        // The mark may be split between two pieces, so search its length back.
        let searched = self.before.len().saturating_sub(mark.len());
        self.before.extend(bytes);
        let found = self.before.get(searched..).and_then(|new| new.windows(mark.len()).position(|part| part == mark));
        if let Some(at) = found {
            let behind = self.before.split_off(searched + at + mark.len());
            self.before.clear();
            self.is_behind = true;
            self.keep(&behind);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = OUTPUT_LIMIT.saturating_sub(self.output.len());
        self.truncated |= bytes.len() > room;
        self.output.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// The kept output, and whether there was more. Without a start it is the output of the login shell.
    fn kept(mut self, started: bool) -> (Vec<u8>, bool) {
        if !started {
            let before = std::mem::take(&mut self.before);
            self.keep(&before);
        }
        (self.output, self.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(pieces: &[(bool, &str)]) -> GatheredOutput {
        let mut gathered = GatheredOutput::new("MARK");
        for (is_stderr, text) in pieces {
            let bytes = text.as_bytes().to_vec();
            gathered.take_in(if *is_stderr { OutputPiece::Stderr(bytes) } else { OutputPiece::Stdout(bytes) });
        }
        gathered
    }

    fn text(output: &CommandOutput) -> (&str, &str) {
        (std::str::from_utf8(&output.stdout).unwrap_or("?"), std::str::from_utf8(&output.stderr).unwrap_or("?"))
    }

    #[test]
    fn output_before_the_mark_is_not_the_commands() {
        type Pieces = [(bool, &'static str)];
        let table: [(&Pieces, (&str, &str)); 6] = [
            (&[(false, "MARK\nout\n"), (true, "MARK-2\nerr\n")], ("out\n", "err\n")),
            (&[(false, "Welcome\nno end MA"), (false, "RK"), (false, "\nout")], ("out", "")),
            (&[(true, "warning\nMARK-2\n"), (false, "+ sh ctl-exec MARK 0\nMARK\n")], ("", "")),
            // Both streams are one, or one of them is discarded.
            (&[(false, "Welcome\nMARK-2\nMARK\nout\n")], ("out\n", "")),
            (&[(true, "MARK-2\nerr\n")], ("", "err\n")),
            (&[(false, "closed\n"), (true, "for repairs\n")], ("closed\n", "for repairs\n")),
        ];
        for (pieces, wanted) in table {
            let output = gathered(pieces).ended(CommandEnd::Exited(0));
            assert_eq!(text(&output), wanted, "{pieces:?}");
            assert_eq!(output.started, pieces.iter().any(|(_, text)| text.contains("MA")), "{pieces:?}");
        }
    }

    #[test]
    fn output_and_noise_are_bounded() {
        let much = "x".repeat(OUTPUT_LIMIT + 1);
        let output = gathered(&[(false, "MARK\n"), (false, &much), (false, "y")]).ended(CommandEnd::Exited(0));
        assert_eq!((output.stdout.len(), output.truncated), (OUTPUT_LIMIT, true));
        let pieces: Vec<(bool, &str)> = (0..5).map(|_| (false, much.as_str())).collect();
        assert!(gathered(&pieces).is_only_noise() && !gathered(&pieces[..2]).is_only_noise());
    }

    #[test]
    fn the_last_line_is_of_stderr_first() {
        let of = |stdout: &str, stderr: &str| {
            let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
            CommandOutput { stdout, stderr, ..CommandOutput::default() }.last_line()
        };
        assert_eq!(of("a\n b \n\n", "  \n").as_deref(), Some("b"));
        assert_eq!(of("a\n", "no\n").as_deref(), Some("no"));
        assert_eq!(of("", ""), None);
        assert_eq!(of(&"x".repeat(500), "").map(|line| line.len()), Some(SAID_LIMIT));
    }

    #[test]
    fn a_command_is_one_line_of_any_text() {
        assert_eq!(escaped("a\\n\nb"), "a\\\\n\\nb");
        let line = |text: &str, input, sudo: &Sudo| {
            let command = NodeCommand { text, input, environment: &[] };
            CommandStart::new(command, sudo, &SudoPrompt::new(), Duration::from_secs(9), "MARK")
        };
        // A command without input is in the line; any other is read.
        let start = line("a\nb", "", &Sudo::No);
        assert!(start.read.is_empty() && start.line.ends_with(" '%a\\0012b'"), "{}", start.line);
        let long = "x".repeat(WORD_LIMIT);
        for (command, input, sudo) in [("a\nb", "eHh4", &Sudo::No), ("a\nb", "", &Sudo::Plain), (&long, "", &Sudo::No)]
        {
            let start = line(command, input, sudo);
            assert!(start.read.ends_with(&format!("\n{}\n", escaped(command))), "{}", start.read);
            assert_eq!(start.read.lines().count(), 2);
        }
        assert_eq!(word("a\0"), None);
    }

    /// The environment arrives as it was given, whatever is in it, and nothing of it is run.
    #[test]
    fn an_environment_is_data() {
        let value = "a'b \"$(touch /nowhere/x)\" \\n `id` !x\n\ttwo ü".to_owned();
        let words = environment_words(&[("CTL_REASON", value.clone()), ("CTL_NODE", "a6s01".to_owned())]);
        let script = quoted(&format!("{}\nprintf %s \"$CTL_NODE:$CTL_REASON\"", include_str!("exec/env.sh")));
        for shell in ["dash", "bash"] {
            let line = format!("{shell} -c {script} ctl-exec 1 2 3 4 '=true'{words}");
            let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("a6s01:{value}"), "{line}");
        }
    }

    /// The words as a shell of the node gets them.
    #[test]
    fn a_command_is_one_word_to_every_shell() {
        for command in ["true", "echo 'it'\\''s' \"$HOME\" !x \\0101 100%s\n\ttwo\u{1} ü ~ ^ `x`", "%", ""] {
            let word = word(command).expect("a short command");
            assert!(!word.contains(['!', '\n']) && word.matches('\'').count() == 2 && !word.contains("\\\\"), "{word}");
            let decode = quoted(&format!("{}\nprintf %s \"$command\"", include_str!("exec/word.sh")));
            for shell in ["dash", "bash"] {
                let line = format!("{shell} -c {decode} ctl-exec 1 2 3 4 {word}");
                let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
                assert_eq!(String::from_utf8_lossy(&output.stdout), command, "{line}");
            }
        }
    }
}
