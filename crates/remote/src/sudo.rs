//! Runs a command without sudo, or through sudo with or without a password.
//!
//! Invariants: the password is written only after the prompt with this command's random token, at most once per
//! command; until a node's sudo has accepted it once, only one command at a time answers there, and after a rejection
//! none does; sudo's output up to its prompt is not part of the command's output.

use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::question::{self, AskMode, CommandAnswer, NoAnswer};
use super::sudo_errors::{SudoError, clip};
use ctl_transport::{ExecOutput, OutputDrain, OutputPiece, RemoteCommand, Session, TransportError};

/// Maximum number of parallel commands per node that may ask for the password: sshd's MaxSessions is 10 by default.
const COMMANDS_AT_ONCE: usize = 3;

/// An incomplete line on stderr, followed by this much silence, is a question.
const QUIET: Duration = Duration::from_secs(10);

/// Maximum output of a command before its mark.
const NOISE_LIMIT: usize = 1024 * 1024;

/// How commands on a node use sudo. Clones of one value share the state of the password there.
#[derive(Debug, Clone, Default)]
pub enum Sudo {
    /// Without sudo.
    #[default]
    No,
    /// With sudo; there is no password, so sudo must not ask for one.
    Plain,
    /// With sudo, which may ask for a password.
    WithPassword(Arc<SudoPassword>),
}

/// A password, and its state in one node's sudo.
#[derive(Debug)]
pub struct SudoPassword {
    secret: Arc<SecretString>,
    trust: Mutex<PasswordTrust>,
    commands: Semaphore,
}

/// The state of the password on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PasswordTrust {
    /// Not sent yet.
    Untried,
    /// Accepted.
    Accepted,
    /// Rejected, or sent without a known answer.
    Refused,
}

/// Why a command through sudo has no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// sudo did not run it.
    #[error(transparent)]
    Sudo(#[from] SudoError),
    /// The connection to the node failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Why a quick command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It did not run, or did not complete.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// A failure of sudo, or of the connection.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl From<ExecError> for EnterError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Sudo(error) => Self::Sudo(error),
            ExecError::Transport(error) => Self::Transport(error),
        }
    }
}

/// Why a command does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnterError {
    /// sudo did not run it.
    #[error(transparent)]
    Sudo(#[from] SudoError),
    /// The connection to the node failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// It exited before it ran, for another reason.
    #[error("it exited immediately{}", in_quotes(.said))]
    Ended {
        /// Its last line (untrusted).
        said: String,
        /// Its exit code, if reported.
        exit: Option<u32>,
    },
}

fn in_quotes(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" and printed `{words}`") }
}

/// The random tokens of one command through sudo.
#[derive(Debug)]
pub struct SudoPrompt {
    prompt: String,
    mark: String,
}

impl SudoPrompt {
    /// New random tokens.
    #[must_use]
    pub fn new() -> Self {
        let random = || rand::random::<u128>();
        Self { prompt: format!("ctl-ask-{:032x}", random()), mark: format!("ctl-run-{:032x}", random()) }
    }

    /// The command must print this first, as a line of its own.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }
}

impl Default for SudoPrompt {
    fn default() -> Self {
        Self::new()
    }
}

impl Sudo {
    /// Commands use sudo, which may ask for this password. Create one value per node.
    #[must_use]
    pub fn with_password(secret: Arc<SecretString>) -> Self {
        let password = SudoPassword {
            secret,
            trust: Mutex::new(PasswordTrust::Untried),
            commands: Semaphore::new(COMMANDS_AT_ONCE),
        };
        Self::WithPassword(Arc::new(password))
    }

    /// Whether commands use sudo.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Whether there is a password: a process that must outlive the connection then has to be root from its start.
    #[must_use]
    pub fn has_password(&self) -> bool {
        matches!(self, Self::WithPassword(_))
    }

    /// The prefix of a command of this run: empty, or ending in a space. It turns off the translation of sudo's
    /// messages; the rest of the command's environment stays as it is.
    #[must_use]
    pub fn prefix(&self, passage: &SudoPrompt) -> String {
        match self {
            Self::No => String::new(),
            Self::Plain => "env LANGUAGE=C sudo -n ".to_owned(),
            Self::WithPassword(_) => format!("env LANGUAGE=C sudo -S -p {} ", passage.prompt),
        }
    }

    /// The prefix of a command that the guard runs later on its own: with a password the guard is root already.
    #[must_use]
    pub fn unattended_words(&self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["sudo", "-n"],
            Self::No | Self::WithPassword(_) => &[],
        }
    }

    /// Executes a quick command without standard input, and reads its answer: at most `limit` bytes per stream. `body`
    /// builds the command, for a POSIX shell, from its prefix.
    ///
    /// # Errors
    /// [`NoAnswer`] if it did not run or did not complete. [`ExecError::Sudo`] only for failures in the dialogue: a
    /// rejected password, an unknown question; any other message of sudo is in the answer. [`ExecError::Transport`] as
    /// [`Session::exec`].
    pub async fn ask<S: Session>(
        &self,
        session: &S,
        body: impl FnOnce(&str) -> String,
        limit: usize,
    ) -> Result<CommandAnswer, AskError> {
        self.ask_as(session, body, limit, AskMode::Attached).await
    }

    /// The same for a command that runs to its end even if the connection is lost: the node drains the rest of its
    /// output. Its stderr is merged into its stdout. A process that it leaves running may keep its streams open (a
    /// daemon of an init script): they are read up to its status.
    ///
    /// # Errors
    /// As [`Sudo::ask`].
    pub async fn ask_to_the_end<S: Session>(
        &self,
        session: &S,
        body: impl FnOnce(&str) -> String,
        limit: usize,
    ) -> Result<CommandAnswer, AskError> {
        self.ask_as(session, body, limit, AskMode::ToTheEnd).await
    }

    async fn ask_as<S: Session>(
        &self,
        session: &S,
        body: impl FnOnce(&str) -> String,
        limit: usize,
        mode: AskMode,
    ) -> Result<CommandAnswer, AskError> {
        let passage = SudoPrompt::new();
        let line = question::line_of(passage.mark(), &body(&self.prefix(&passage)), mode)?;
        let is_whole = |stdout: &[u8]| mode == AskMode::ToTheEnd && question::has_status(stdout, passage.mark());
        let output = self.exec(session, &passage, &line, limit, is_whole).await?;
        Ok(question::read(passage.mark(), &output, limit)?)
    }

    /// Runs a command line to its end, or until its standard output `is_whole`.
    async fn exec<S: Session>(
        &self,
        session: &S,
        passage: &SudoPrompt,
        line: &str,
        limit: usize,
        is_whole: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<ExecOutput, ExecError> {
        debug!(command = line, "executing");
        // Without a password there is no dialogue: any message of sudo is part of the answer.
        let Self::WithPassword(password) = self else { return Ok(session.exec(line, limit, is_whole).await?) };
        let lost = |what: &str| TransportError::Lost { reason: what.to_owned() };
        let _permit = password.commands.acquire().await.map_err(|_| lost("its command channels are closed"))?;
        let mut command = session.start(line).await?;
        let ended = password.gather(&mut command, passage, limit, is_whole).await;
        // Closing the input ends a sudo that still asks.
        command.close().await;
        ended
    }

    /// Waits for the mark of a command that was just started, and answers sudo meanwhile. Returns the output after the
    /// mark. Only then may the caller write to it.
    ///
    /// # Errors
    /// [`EnterError`]; the caller then closes the command.
    pub async fn enter<C: RemoteCommand>(
        &self,
        command: &mut C,
        passage: &SudoPrompt,
        time: Duration,
    ) -> Result<Vec<u8>, EnterError> {
        let password = if let Self::WithPassword(password) = self { Some(password.as_ref()) } else { None };
        let mut dialogue = SudoDialogue { password, passage, held: None, is_answered: false };
        let mut streams = CommandStreams::default();
        let mark = format!("{}\n", passage.mark);
        let deadline = Instant::now() + time;
        let mut exit = None;
        loop {
            let wait = deadline.min(Instant::now() + QUIET);
            match timeout_at(wait, command.next()).await {
                Ok(Some(OutputPiece::Exit(code))) => exit = code,
                Ok(Some(piece)) => {
                    streams.take_in(piece);
                    dialogue.answer(command, &mut streams).await?;
                    // The mark proves that the command runs, so sudo accepted the answer, or asked for none.
                    if let Some(end) = find(&streams.stdout, mark.as_bytes(), 0) {
                        dialogue.accepted();
                        return Ok(streams.stdout.split_off(end));
                    }
                    // A login shell that prints without end would never show the mark.
                    if streams.len() > NOISE_LIMIT {
                        return Err(EnterError::Ended { said: "more than 1 MiB".to_owned(), exit });
                    }
                }
                Ok(None) => {
                    let text = streams.text();
                    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                    let ended = EnterError::Ended { said: clip(last.trim()), exit };
                    // sudo's own reason is more precise than the last line.
                    return Err(dialogue.refusal(&text).map_or(ended, EnterError::Sudo));
                }
                Err(_) => {
                    if let Some(question) = dialogue.question(&streams) {
                        return Err(question.into());
                    }
                    if Instant::now() >= deadline {
                        let text = streams.text();
                        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                        let last = if last.is_empty() { String::new() } else { format!(": `{}`", clip(last.trim())) };
                        return Err(SudoError::Silent(last).into());
                    }
                }
            }
        }
    }
}

impl SudoPassword {
    async fn gather<C: RemoteCommand>(
        &self,
        command: &mut C,
        passage: &SudoPrompt,
        limit: usize,
        is_whole: impl Fn(&[u8]) -> bool,
    ) -> Result<ExecOutput, ExecError> {
        let mut dialogue = SudoDialogue { password: Some(self), passage, held: None, is_answered: false };
        let mut streams = CommandStreams::default();
        let mut output = ExecOutput::default();
        let mut rest: Option<OutputDrain> = None;
        loop {
            let next = match rest {
                // After its exit, wait only briefly: a process it left behind may keep the streams open.
                Some(rest) => Ok(rest.next(command).await),
                None => timeout(QUIET, command.next()).await,
            };
            match next {
                Ok(Some(OutputPiece::Exit(code))) => {
                    output.exit = code;
                    rest = Some(OutputDrain::start());
                }
                Ok(Some(piece)) => {
                    streams.take_in(piece);
                    dialogue.answer(command, &mut streams).await?;
                }
                // The command reported no exit code, so the connection ended and not the command.
                Ok(None) if rest.is_none() => {
                    let reason = "it closed while a command was running".to_owned();
                    return Err(TransportError::Lost { reason }.into());
                }
                Ok(None) => break,
                Err(_) => {
                    // Silence without a question is a command that takes its time.
                    if let Some(question) = dialogue.question(&streams) {
                        return Err(question.into());
                    }
                }
            }
            // More output cannot make the answer valid: the reader rejects a truncated one.
            if streams.stdout.len() > limit || streams.stderr.len() > limit {
                output.truncated = true;
                break;
            }
            if is_whole(&streams.stdout) {
                break;
            }
        }
        // Without an answer of ours, such a message is output of the command.
        if dialogue.is_answered
            && let Some(error @ SudoError::WrongPassword) = dialogue.refusal(&streams.text())
        {
            return Err(error.into());
        }
        dialogue.accepted();
        streams.stdout.truncate(limit);
        streams.stderr.truncate(limit);
        output.stdout = String::from_utf8_lossy(&streams.stdout).into_owned();
        output.stderr = String::from_utf8_lossy(&streams.stderr).into_owned();
        Ok(output)
    }
}

/// The output of a command.
#[derive(Debug, Default)]
struct CommandStreams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// How much of each stream was searched for the prompt.
    searched: [usize; 2],
}

impl CommandStreams {
    fn take_in(&mut self, piece: OutputPiece) {
        match piece {
            OutputPiece::Stdout(bytes) => self.stdout.extend(bytes),
            OutputPiece::Stderr(bytes) => self.stderr.extend(bytes),
            OutputPiece::Exit(_) => {}
        }
    }

    fn len(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }

    /// Both streams, stderr first, since sudo writes there.
    fn text(&self) -> String {
        format!("{}\n{}", String::from_utf8_lossy(&self.stderr), String::from_utf8_lossy(&self.stdout))
    }

    /// Whether the prompt has arrived. Removes it, with sudo's output before it; output of a login shell up to the
    /// command's mark stays. A command that runs to its end has its stderr in its stdout.
    fn take_prompt(&mut self, passage: &SudoPrompt) -> bool {
        let prompt = passage.prompt.as_bytes();
        for (stream, searched) in [&mut self.stderr, &mut self.stdout].into_iter().zip(&mut self.searched) {
            // The prompt may be split between two pieces, so search its length back.
            if let Some(end) = find(stream, prompt, searched.saturating_sub(prompt.len())) {
                let start = question::end_of_mark(stream, passage.mark.as_bytes()).filter(|start| *start < end);
                stream.drain(start.unwrap_or_default()..end);
                *searched = 0;
                return true;
            }
            *searched = stream.len();
        }
        false
    }
}

/// The end of the first `wanted` in `bytes`, searched from `start`.
fn find(bytes: &[u8], wanted: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|at| start + at + wanted.len())
}

/// The dialogue with the sudo of one command.
struct SudoDialogue<'a> {
    password: Option<&'a SudoPassword>,
    passage: &'a SudoPrompt,
    /// Locked while the first answer on this node has no result.
    held: Option<MutexGuard<'a, PasswordTrust>>,
    is_answered: bool,
}

impl SudoDialogue<'_> {
    /// Answers the prompt, at most once.
    async fn answer<C: RemoteCommand>(
        &mut self,
        command: &mut C,
        streams: &mut CommandStreams,
    ) -> Result<(), ExecError> {
        let Some(password) = self.password else { return Ok(()) };
        if !streams.take_prompt(self.passage) {
            return Ok(());
        }
        // A second prompt means that sudo rejected the answer: never send it twice, since failures can lock the
        // account.
        if std::mem::replace(&mut self.is_answered, true) {
            self.refused().await;
            return Err(SudoError::WrongPassword.into());
        }
        let mut trust = password.trust.lock().await;
        match *trust {
            // A second attempt could lock the account, so no command tries again.
            PasswordTrust::Refused => return Err(SudoError::WrongPassword.into()),
            // Release the lock, so that the commands of this node can answer in parallel.
            PasswordTrust::Accepted => drop(trust),
            PasswordTrust::Untried => {
                // Rejected until proven otherwise: if this command is canceled now, the result stays unknown.
                *trust = PasswordTrust::Refused;
                self.held = Some(trust);
            }
        }
        debug!("answering sudo's prompt");
        let mut line = Zeroizing::new(Vec::with_capacity(password.secret.expose_secret().len() + 1));
        line.extend_from_slice(password.secret.expose_secret().as_bytes());
        line.push(b'\n');
        Ok(command.write(&line).await?)
    }

    /// The command ran: the answer, if there was one, was right.
    fn accepted(&mut self) {
        if let Some(mut trust) = self.held.take() {
            *trust = PasswordTrust::Accepted;
        }
    }

    /// The answer was wrong.
    async fn refused(&mut self) {
        // While the lock is held, the state is `Refused` already: releasing it is enough.
        if self.held.take().is_none()
            && let Some(password) = self.password
        {
            *password.trust.lock().await = PasswordTrust::Refused;
        }
    }

    /// sudo's reason for not running the command.
    fn refusal(&mut self, text: &str) -> Option<SudoError> {
        let error = SudoError::of_text(text)?;
        if error != SudoError::PasswordWanted || !self.is_answered {
            // sudo reports this only to an authenticated user.
            self.accepted();
            return Some(error);
        }
        Some(SudoError::WrongPassword)
    }

    /// An incomplete line that nobody answers.
    fn question(&self, streams: &CommandStreams) -> Option<SudoError> {
        // After our answer, or without a password, an incomplete line is the command's own output.
        let text = String::from_utf8_lossy(&streams.stderr);
        let last = text.rsplit('\n').next().unwrap_or_default().trim();
        (self.password.is_some() && !self.is_answered && !last.is_empty()).then(|| SudoError::Question(clip(last)))
    }
}

#[cfg(test)]
mod tests;
