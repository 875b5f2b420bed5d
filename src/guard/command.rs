//! A command of the operator's on a node: its output gathered, its end made sure of.
//!
//! What always holds: when it is given up, when its time is over and when the connection ends, it is ended on the node,
//! its whole process group; what it had printed is kept, up to [`OUTPUT_LIMIT`] of each stream.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{READ_AND_RUN, one_line};
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
/// [`TransportError`] if it could not be started. A connection lost later is a [`CommandEnd`].
pub async fn run<S: Session>(
    session: &S,
    command: &str,
    sudo: bool,
    time: Duration,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, TransportError> {
    let sudo = if sudo { "sudo -n " } else { "" };
    // The node's own clock is the last resort: a little behind ours.
    let node_limit = time.as_secs().saturating_add(5).min(86_400 * 30);
    let line = format!("exec {sudo}/bin/sh -c {READ_AND_RUN} ctl-exec {node_limit}");
    let mut running = session.start(&line).await?;
    let input = format!("{}\n{}\n", one_line(EXEC), command.replace('\n', "\u{1f}"));
    running.write(input.as_bytes()).await?;
    let mut output = CommandOutput::default();
    let deadline = Instant::now() + time;
    tokio::pin!(give_up);
    loop {
        let next = tokio::select! {
            next = timeout_at(deadline, running.next()) => match next {
                Ok(next) => next,
                Err(_) => return Ok(end(running, output, CommandEnd::TimedOut).await),
            },
            () = &mut give_up => return Ok(end(running, output, CommandEnd::GivenUp).await),
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
            Some(Piece::Refused) => {
                return Err(TransportError::CommandRefused { reason: "the request was denied".to_owned() });
            }
            Some(piece) => output.take_in(piece),
            None => return Ok(output),
        }
    }
}

/// Ends a command on the node, and hears its last words.
async fn end<C: RemoteCommand>(mut running: C, mut output: CommandOutput, how: CommandEnd) -> CommandOutput {
    output.end = how;
    if running.write(b"k\n").await.is_err() {
        return output;
    }
    let last = async {
        while let Some(piece) = running.next().await {
            if matches!(piece, Piece::Exit(_)) {
                break;
            }
            output.take_in(piece);
        }
    };
    if timeout(LAST_WORDS, last).await.is_err() {
        tracing::debug!("a command that was ended has not told its end");
    }
    output
}

impl CommandOutput {
    fn take_in(&mut self, piece: Piece) {
        let (kept, bytes) = match piece {
            Piece::Stdout(bytes) => (&mut self.stdout, bytes),
            Piece::Stderr(bytes) => (&mut self.stderr, bytes),
            Piece::Exit(_) | Piece::Refused => return,
        };
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        self.truncated |= bytes.len() > room;
        kept.extend(bytes.into_iter().take(room));
    }
}
