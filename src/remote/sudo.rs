//! A command through sudo: with none, without a password, or with one.
//!
//! What always holds: the password is written only after the prompt with this command's random word has come, at most
//! once a command; until a node's sudo has accepted it once, one command at a time is answered there, and after a
//! refusal none is; what sudo printed up to its prompt is not part of what the command printed.

use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::question::{self, AskMode, CommandAnswer, NoAnswer};
use super::sudo_errors::{SudoError, clip};
use crate::transport::{ExecOutput, OutputDrain, OutputPiece, RemoteCommand, Session, TransportError};

/// Commands that run at once on a node, of those that may ask for the password: sshd's MaxSessions is 10 by default.
const COMMANDS_AT_ONCE: usize = 3;

/// A line without an end on stderr, and nothing more for so long, is a question.
const QUIET: Duration = Duration::from_secs(10);

/// Most that is read of a command before it says that it runs.
const NOISE_LIMIT: usize = 1024 * 1024;

/// Whether and how commands on a node go through sudo. Clones of one value share what is known of the password there.
#[derive(Debug, Clone, Default)]
pub enum Sudo {
    /// They do not.
    #[default]
    No,
    /// They do; no password is known, so it must not ask for one.
    Plain,
    /// They do, and a password may be asked for.
    WithPassword(Arc<SudoPassword>),
}

/// A password, and what one node's sudo made of it.
#[derive(Debug)]
pub struct SudoPassword {
    secret: Arc<SecretString>,
    trust: Mutex<PasswordTrust>,
    commands: Semaphore,
}

/// What is known of the password on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PasswordTrust {
    /// It was not sent yet.
    Untried,
    /// It was accepted.
    Accepted,
    /// It was not, or was sent without an answer.
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

/// Why an executed question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It did not run, or did not come to its end.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// What sudo said, or the connection.
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
    /// It ended before it ran, for another reason.
    #[error("it exited immediately{}", in_quotes(.said))]
    Ended {
        /// Its last words (untrusted).
        said: String,
        /// Its exit code, if that was told.
        exit: Option<u32>,
    },
}

fn in_quotes(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" and printed `{words}`") }
}

/// The random words of one command through sudo.
#[derive(Debug)]
pub struct SudoPrompt {
    prompt: String,
    mark: String,
}

impl SudoPrompt {
    /// Words that nobody has seen before.
    #[must_use]
    pub fn new() -> Self {
        let random = || rand::random::<u128>();
        Self { prompt: format!("ctl-ask-{:032x}", random()), mark: format!("ctl-run-{:032x}", random()) }
    }

    /// What the command has to print as a line of its own, first of all.
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
    /// Commands go through sudo, which may ask for this password. One value for each node.
    #[must_use]
    pub fn with_password(secret: Arc<SecretString>) -> Self {
        let password = SudoPassword {
            secret,
            trust: Mutex::new(PasswordTrust::Untried),
            commands: Semaphore::new(COMMANDS_AT_ONCE),
        };
        Self::WithPassword(Arc::new(password))
    }

    /// Whether commands go through sudo.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Whether a password is known: then what is to go on without the controller has to be root from its start.
    #[must_use]
    pub fn has_password(&self) -> bool {
        matches!(self, Self::WithPassword(_))
    }

    /// What stands before a command of this run: empty, or words with a blank behind them. sudo is told not to translate
    /// its words; the rest of the command's surroundings stays as it is.
    #[must_use]
    pub fn prefix(&self, passage: &SudoPrompt) -> String {
        match self {
            Self::No => String::new(),
            Self::Plain => "env LANGUAGE=C sudo -n ".to_owned(),
            Self::WithPassword(_) => format!("env LANGUAGE=C sudo -S -p {} ", passage.prompt),
        }
    }

    /// What stands before a command that the guard runs later, by itself: with a password the guard is root already.
    #[must_use]
    pub fn unattended_words(&self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["sudo", "-n"],
            Self::No | Self::WithPassword(_) => &[],
        }
    }

    /// Executes a question that reads no standard input, and reads its answer: at most `limit` bytes of each stream.
    /// `body` makes the command, for a POSIX shell, of what stands before it.
    ///
    /// # Errors
    /// [`NoAnswer`] if it did not run or was cut short. [`ExecError::Sudo`] only for what the dialogue shows: a refused
    /// password, a strange question; whatever else sudo says stands in the answer. [`ExecError::Transport`] as
    /// [`Session::exec`].
    pub async fn ask<S: Session>(
        &self,
        session: &S,
        body: impl FnOnce(&str) -> String,
        limit: usize,
    ) -> Result<CommandAnswer, AskError> {
        self.ask_as(session, body, limit, AskMode::Attached).await
    }

    /// The same for a command that goes on to its end even if the connection is lost meanwhile: what it prints then is
    /// drained on the node. Its stderr is read as its stdout. A process that it leaves behind may keep its streams open
    /// (a daemon of an init script): they are read up to its status.
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
        let Self::WithPassword(password) = self else { return Ok(session.exec(line, limit, is_whole).await?) };
        let lost = |what: &str| TransportError::Lost { reason: what.to_owned() };
        let _permit = password.commands.acquire().await.map_err(|_| lost("its command channels are closed"))?;
        let mut command = session.start(line).await?;
        let ended = password.gather(&mut command, passage, limit, is_whole).await;
        // A sudo that still asks reads the end of its input, and ends.
        command.close().await;
        ended
    }

    /// Waits until a command that was just started says that it runs, with its mark, and answers sudo meanwhile. Returns
    /// what it printed behind the mark. Only now may something be written to it.
    ///
    /// # Errors
    /// [`EnterError`]; the command is then to be closed.
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
                    if let Some(end) = find(&streams.stdout, mark.as_bytes(), 0) {
                        dialogue.accepted();
                        return Ok(streams.stdout.split_off(end));
                    }
                    if streams.len() > NOISE_LIMIT {
                        return Err(EnterError::Ended { said: "more than 1 MiB".to_owned(), exit });
                    }
                }
                Ok(None) => {
                    let text = streams.text();
                    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                    let ended = EnterError::Ended { said: clip(last.trim()), exit };
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
                Ok(None) if rest.is_none() => {
                    let reason = "it closed while a command was running".to_owned();
                    return Err(TransportError::Lost { reason }.into());
                }
                Ok(None) => break,
                Err(_) => {
                    if let Some(question) = dialogue.question(&streams) {
                        return Err(question.into());
                    }
                }
            }
            if streams.stdout.len() > limit || streams.stderr.len() > limit {
                output.truncated = true;
                break;
            }
            if is_whole(&streams.stdout) {
                break;
            }
        }
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

/// What a command has printed.
#[derive(Debug, Default)]
struct CommandStreams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// How much of each was looked through for the prompt.
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

    /// Both, stderr first: there is what sudo says.
    fn text(&self) -> String {
        format!("{}\n{}", String::from_utf8_lossy(&self.stderr), String::from_utf8_lossy(&self.stdout))
    }

    /// Whether the prompt has come. It is taken out, with all that sudo said before it; what a login shell said up to the
    /// mark of a question stays. A command that goes on to its end has its stderr in its stdout.
    fn take_prompt(&mut self, passage: &SudoPrompt) -> bool {
        let prompt = passage.prompt.as_bytes();
        for (stream, searched) in [&mut self.stderr, &mut self.stdout].into_iter().zip(&mut self.searched) {
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

/// The end of the first `wanted` in `bytes`, looked for from `start` on.
fn find(bytes: &[u8], wanted: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|at| start + at + wanted.len())
}

/// What is said between one command's sudo and us.
struct SudoDialogue<'a> {
    password: Option<&'a SudoPassword>,
    passage: &'a SudoPrompt,
    /// Held while the first answer on this node is on trial.
    held: Option<MutexGuard<'a, PasswordTrust>>,
    is_answered: bool,
}

impl SudoDialogue<'_> {
    /// Answers the prompt, if it has come: once.
    async fn answer<C: RemoteCommand>(
        &mut self,
        command: &mut C,
        streams: &mut CommandStreams,
    ) -> Result<(), ExecError> {
        let Some(password) = self.password else { return Ok(()) };
        if !streams.take_prompt(self.passage) {
            return Ok(());
        }
        if std::mem::replace(&mut self.is_answered, true) {
            self.refused().await;
            return Err(SudoError::WrongPassword.into());
        }
        let mut trust = password.trust.lock().await;
        match *trust {
            PasswordTrust::Refused => return Err(SudoError::WrongPassword.into()),
            PasswordTrust::Accepted => drop(trust),
            PasswordTrust::Untried => {
                // Until the opposite is proved: if this is given up now, nobody knows.
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

    /// The command ran: the answer was right, if there was one.
    fn accepted(&mut self) {
        if let Some(mut trust) = self.held.take() {
            *trust = PasswordTrust::Accepted;
        }
    }

    /// The answer was wrong.
    async fn refused(&mut self) {
        if self.held.take().is_none()
            && let Some(password) = self.password
        {
            *password.trust.lock().await = PasswordTrust::Refused;
        }
    }

    /// What sudo said of a command that did not run.
    fn refusal(&mut self, text: &str) -> Option<SudoError> {
        let error = SudoError::of_text(text)?;
        if error != SudoError::PasswordWanted || !self.is_answered {
            // It says so only to whom it has authenticated.
            self.accepted();
            return Some(error);
        }
        Some(SudoError::WrongPassword)
    }

    /// A line without an end, which nobody answers.
    fn question(&self, streams: &CommandStreams) -> Option<SudoError> {
        let text = String::from_utf8_lossy(&streams.stderr);
        let last = text.rsplit('\n').next().unwrap_or_default().trim();
        (self.password.is_some() && !self.is_answered && !last.is_empty()).then(|| SudoError::Question(clip(last)))
    }
}

#[cfg(test)]
mod tests;
