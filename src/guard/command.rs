//! A command of the operator's on a node: its output gathered, its end made sure of.
//!
//! What always holds: when it is given up, when its time is over and when the connection ends, it is ended on the node,
//! its whole process group; what it had printed is kept, up to [`OUTPUT_LIMIT`] of each stream.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::event::{Failure, FailureKind, Stage};
use crate::remote::script::{READ_AND_RUN, one_line, read_and_run};
use crate::remote::{EnterError, Passage, Sudo, SudoError};
use crate::transport::{Piece, RemoteCommand, Session, TransportError};

/// Longest output kept of each stream, in bytes; what comes after is read and dropped.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// How long a command that was told to end may take: it is killed after two seconds.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// How long the streams of a command that has ended are read on.
const DRAIN: Duration = Duration::from_secs(1);

pub(super) const EXEC: &str = include_str!("exec.sh");

/// What a command printed, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether either was longer than the limit.
    pub truncated: bool,
    /// How it ended.
    pub end: CommandEnd,
}

/// Why a command was not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// sudo did not run it.
    #[error(transparent)]
    Sudo(SudoError),
    /// It could not be started.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Its time was over before it was started.
    #[error("the command was not started: the node did not answer within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// It was given up before it was started.
    #[error("not begun: the run was interrupted")]
    GivenUp,
}

impl RunError {
    /// The same as a failure of a result.
    #[must_use]
    pub fn failure(&self, stage: Stage) -> Failure {
        match self {
            Self::Sudo(error) => error.failure(stage),
            Self::Transport(error) => Failure { stage, ..error.failure() },
            Self::Silent(_) => Failure::new(stage, FailureKind::TimedOut, self.to_string()).with_hint(super::HUNG),
            Self::GivenUp => Failure::new(stage, FailureKind::Interrupted, self.to_string()),
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself, with this code; none: by a signal.
    Exited(Option<u32>),
    /// Its time was over, and it was ended.
    TimedOut,
    /// It was given up, and was ended.
    GivenUp,
    /// The connection was lost: the node ends it.
    #[default]
    Lost,
}

/// Runs `command` in the login shell, through sudo where asked. It is ended when `time` is over, and when `give_up` ends.
///
/// # Errors
/// [`RunError`] if it was not run. A connection lost later is a [`CommandEnd`].
pub async fn run<S: Session>(
    session: &S,
    command: &str,
    sudo: &Sudo,
    time: Duration,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, RunError> {
    // The node's own clock is the last resort: a little behind ours.
    let node_limit = time.as_secs().saturating_add(5).min(86_400 * 30);
    let passage = Passage::new();
    // What sudo asks comes first, and only what is behind it may read the script.
    let shell = if sudo.is_on() { read_and_run(passage.mark()) } else { READ_AND_RUN.to_owned() };
    let line = format!("exec {}/bin/sh -c {shell} ctl-exec {node_limit}", sudo.prefix(&passage));
    let deadline = Instant::now() + time;
    tokio::pin!(give_up);
    let mut running = tokio::select! {
        started = timeout_at(deadline, session.start(&line)) => started.map_err(|_| RunError::Silent(time))??,
        () = &mut give_up => return Err(RunError::GivenUp),
    };
    let mut output = CommandOutput::default();
    if sudo.is_on() {
        let entered = tokio::select! {
            entered = timeout_at(deadline, sudo.enter(&mut running, &passage, time)) => entered,
            () = &mut give_up => {
                running.close().await;
                return Err(RunError::GivenUp);
            }
        };
        let entered = entered.map_err(|_| RunError::Silent(time))?;
        match entered {
            Ok(rest) => output.take_in(Piece::Stdout(rest)),
            Err(error) => {
                running.close().await;
                return match error {
                    EnterError::Sudo(error) => Err(RunError::Sudo(error)),
                    EnterError::Transport(error) => Err(RunError::Transport(error)),
                    // As it is told of a login shell that is none.
                    EnterError::Ended { said, exit } => {
                        output.stderr = said.into_bytes();
                        Ok(CommandOutput { end: CommandEnd::Exited(exit), ..output })
                    }
                };
            }
        }
    }
    let input = format!("{}\n{}\n", one_line(EXEC), command.replace('\n', "\u{1f}"));
    tokio::select! {
        written = timeout_at(deadline, running.write(input.as_bytes())) => written.map_err(|_| RunError::Silent(time))??,
        () = &mut give_up => return Err(RunError::GivenUp),
    }
    loop {
        let next = tokio::select! {
            next = timeout_at(deadline, running.next()) => match next {
                Ok(next) => next,
                Err(_) => return Ok(end(session, running, output, CommandEnd::TimedOut).await),
            },
            () = &mut give_up => return Ok(end(session, running, output, CommandEnd::GivenUp).await),
        };
        match next {
            Some(Piece::Exit(code)) => {
                output.end = CommandEnd::Exited(code);
                // What it leaves behind may hold its streams open.
                while let Ok(Some(piece)) = timeout(DRAIN, running.next()).await {
                    output.take_in(piece);
                }
                return Ok(output);
            }
            Some(piece) => output.take_in(piece),
            None => return Ok(output),
        }
    }
}

/// Ends a command on the node, and hears its last words.
async fn end<S: Session>(
    session: &S,
    mut running: S::Command,
    mut output: CommandOutput,
    how: CommandEnd,
) -> CommandOutput {
    output.end = how;
    let last = async {
        if running.write(b"k\n").await.is_err() {
            return;
        }
        while let Some(piece) = running.next().await {
            if matches!(piece, Piece::Exit(_)) {
                break;
            }
            output.take_in(piece);
        }
    };
    let silent = tokio::select! {
        told = timeout(LAST_WORDS, last) => told.is_err(),
        () = session.falls_silent() => true,
    };
    if silent {
        tracing::debug!("a command that was ended has not told its end");
    }
    output
}

impl CommandOutput {
    fn take_in(&mut self, piece: Piece) {
        let (kept, bytes) = match piece {
            Piece::Stdout(bytes) => (&mut self.stdout, bytes),
            Piece::Stderr(bytes) => (&mut self.stderr, bytes),
            Piece::Exit(_) => return,
        };
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        self.truncated |= bytes.len() > room;
        kept.extend(bytes.into_iter().take(room));
    }
}
