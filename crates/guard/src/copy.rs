//! Copies a file to a node or from it, over the streams of a command.
//!
//! Here live [`put`] and [`get`]; the scripts for the node are `put.sh` and `get.sh`. It uses `command.rs` for the login
//! shell and sudo. Invariants: dropping the future ends the copy, and the node then removes what it has written; a file
//! on the node has its old content or all of the new one; names reach the node as data, never as words of a shell; no
//! more is kept in memory than a piece of the file.

use std::future::{Future, ready};
use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::command::{
    CommandEnd, CommandOutput, GatheredOutput, MARK_TIME, RunError, escaped, node_limit, send, shell_line,
};
use ctl_remote::script::one_line;
use ctl_remote::{Sudo, SudoPrompt};
use ctl_transport::{OutputPiece, RemoteCommand, Session};

const PUT: &str = include_str!("put.sh");
const GET: &str = include_str!("get.sh");

/// How much of a file is read and sent at once.
const PIECE: usize = 256 * 1024;

/// Maximum length of an answer: a word and two numbers.
const ANSWER_LIMIT: usize = 100;

/// A file for a node.
#[derive(Debug, Clone, Copy)]
pub struct PutRequest<'a> {
    /// Path of the file, or of a directory for it.
    pub target: &'a str,
    /// Its name in a directory.
    pub name: &'a str,
    /// Whether the target must be a directory.
    pub into_directory: bool,
    /// Its size.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: &'a str,
}

/// A file that a node has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedFile {
    /// Its permissions on the node.
    pub mode: u32,
    /// Its size.
    pub size: u64,
    /// Whether the content is the known one, so that none was sent.
    pub is_known: bool,
}

/// Why a file was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The command for it did not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The file of this machine failed.
    #[error(transparent)]
    Local(io::Error),
    /// The node did not do it; its reason is in the output.
    #[error("the node did not copy the file")]
    Node(CommandOutput),
    /// The file on the node had fewer bytes than it announced.
    #[error("the file became shorter while it was copied")]
    Shorter,
    /// The node answered something else.
    #[error("the node sent an unexpected answer")]
    Protocol,
}

/// Writes a file on a node; `read` returns its bytes from an offset, at most so many. Whether the node had to change
/// anything: it may have the same content and permissions already.
///
/// # Errors
/// [`CopyError`]; the node then has its old file, except that after a lost connection it may have the new one.
pub async fn put<S: Session, R: Future<Output = io::Result<Vec<u8>>> + Send>(
    session: &S,
    request: PutRequest<'_>,
    sudo: &Sudo,
    time: Duration,
    read: impl Fn(u64, usize) -> R + Send,
) -> Result<bool, CopyError> {
    let PutRequest { target, name, into_directory, size, mode, sha256 } = request;
    let target = safe_path(target);
    let lines = format!("{}\n{}\n{sha256}\n", escaped(&target), escaped(name));
    let into = if into_directory { "into" } else { "any" };
    let words = |mark: &str| {
        let random = rand::random::<u128>();
        format!("ctl-put {} {mark} {size} {mode:o} {into} {random:032x}", node_limit(time))
    };
    let mut transfer = FileTransfer::start(session, words, [PUT, &lines], sudo, time).await?;
    match transfer.answer().await?.as_str() {
        "same" => return Ok(false),
        // Only its permissions differed.
        "changed" => return Ok(true),
        "send" => {}
        _ => return Err(CopyError::Protocol),
    }
    let mut sent = 0;
    // A node whose disk is full ends early, and its reason comes instead of the answer.
    while sent < size && !transfer.has_ended().await {
        let wanted = usize::try_from(size - sent).unwrap_or(PIECE).min(PIECE);
        let piece = read(sent, wanted).await.map_err(CopyError::Local)?;
        if piece.is_empty() {
            return Err(CopyError::Shorter);
        }
        sent += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if transfer.running.write(&piece).await.is_err() {
            return Err(transfer.failure());
        }
    }
    if transfer.answer().await? == "changed" { Ok(true) } else { Err(CopyError::Protocol) }
}

/// Reads a file of a node; `write` gets its bytes and their offset. `known` is the size and SHA-256 of a content that
/// need not be sent again.
///
/// # Errors
/// [`CopyError`].
pub async fn get<S: Session, W: Future<Output = io::Result<()>> + Send>(
    session: &S,
    source: &str,
    known: Option<(u64, &str)>,
    sudo: &Sudo,
    time: Duration,
    write: impl Fn(u64, Vec<u8>) -> W + Send,
) -> Result<ReceivedFile, CopyError> {
    let (size, sha256) = known.map_or(("-".to_owned(), "-"), |(size, sha256)| (size.to_string(), sha256));
    let lines = format!("{}\n{sha256}\n", escaped(&safe_path(source)));
    let words = |mark: &str| format!("ctl-get {mark} {size}");
    let mut transfer = FileTransfer::start(session, words, [GET, &lines], sudo, time).await?;
    let file = announced(&transfer.answer().await?).ok_or(CopyError::Protocol)?;
    let mut received = 0;
    while received < file.size && !file.is_known {
        let mut bytes = std::mem::take(&mut transfer.stdout);
        if bytes.is_empty() {
            match transfer.more().await {
                Err(CopyError::Node(CommandOutput { end: CommandEnd::Exited(0), .. })) => {
                    return Err(CopyError::Shorter);
                }
                more => more?,
            }
            continue;
        }
        // No more than announced is written, whatever the node sends.
        bytes.truncate(usize::try_from(file.size - received).unwrap_or(usize::MAX));
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        write(received, bytes).await.map_err(CopyError::Local)?;
        received += count;
    }
    Ok(file)
}

/// The first line of `get.sh`.
fn announced(line: &str) -> Option<ReceivedFile> {
    let mut words = line.split(' ');
    let is_known = match words.next()? {
        "same" => true,
        "file" => false,
        _ => return None,
    };
    let mode = u32::from_str_radix(words.next()?, 8).ok().filter(|mode| *mode <= 0o7777)?;
    let size = words.next()?.parse().ok()?;
    words.next().is_none().then_some(ReceivedFile { mode, size, is_known })
}

/// A path that no program takes for an option. `~` is the directory in which the login begins.
fn safe_path(path: &str) -> String {
    match path.strip_prefix("~/").or_else(|| path.strip_prefix('~').filter(|rest| rest.is_empty())) {
        Some(below_home) => format!("./{}", below_home.trim_start_matches('/')),
        None if path.starts_with('/') => path.to_owned(),
        None => format!("./{path}"),
    }
}

/// The command of a copy, and what it has sent.
struct FileTransfer<C> {
    running: C,
    gathered: GatheredOutput,
    /// Its standard output that nobody has read yet.
    stdout: Vec<u8>,
    /// Its exit code, once it has ended.
    exit: Option<Option<u32>>,
}

impl<C: RemoteCommand> FileTransfer<C> {
    /// Starts a shell with these arguments, and sends it a script and its lines.
    async fn start<S: Session<Command = C>>(
        session: &S,
        words: impl FnOnce(&str) -> String,
        [script, lines]: [&str; 2],
        sudo: &Sudo,
        time: Duration,
    ) -> Result<Self, CopyError> {
        let passage = SudoPrompt::new();
        let mark = format!("ctl-out-{:032x}", rand::random::<u128>());
        let line = shell_line(sudo, &passage, &words(&mark));
        let running = session.start(&line).await.map_err(RunError::Transport)?;
        let gathered = GatheredOutput::new(&mark);
        let mut transfer = Self { running, gathered, stdout: Vec::new(), exit: None };
        let script = format!("{}\n", one_line(script));
        match send(&mut transfer.running, sudo, &passage, time, [&script, lines]).await {
            // Bytes that arrived right after sudo's dialogue are the start of the stream.
            Ok(rest) => transfer.take_in(OutputPiece::Stdout(rest)),
            Err(error) => {
                transfer.running.close().await;
                return Err(match transfer.gathered.not_entered(error) {
                    Ok(output) => CopyError::Node(output),
                    Err(error) => CopyError::Run(error),
                });
            }
        }
        Ok(transfer)
    }

    /// The next line of the script.
    async fn answer(&mut self) -> Result<String, CopyError> {
        loop {
            if let Some(end) = self.stdout.iter().position(|byte| *byte == b'\n') {
                let rest = self.stdout.split_off(end + 1);
                let line = std::mem::replace(&mut self.stdout, rest);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.stdout.len() > ANSWER_LIMIT {
                return Err(CopyError::Protocol);
            }
            self.more().await?;
        }
    }

    /// Waits for more output.
    async fn more(&mut self) -> Result<(), CopyError> {
        let piece = match self.exit {
            None => self.running.next().await,
            // sshd may report the exit before it sends the output.
            Some(Some(0)) => timeout(MARK_TIME, self.running.next()).await.ok().flatten(),
            Some(_) => {
                self.gathered.drain(&mut self.running).await;
                None
            }
        };
        let Some(piece) = piece else { return Err(self.failure()) };
        self.take_in(piece);
        // A login shell that prints without end would never show the mark.
        if self.gathered.is_only_noise() {
            self.exit = Some(None);
            return Err(self.failure());
        }
        Ok(())
    }

    /// Whether the command has ended, as far as is known without waiting.
    async fn has_ended(&mut self) -> bool {
        loop {
            let piece = tokio::select! {
                biased;
                piece = self.running.next() => piece,
                () = ready(()) => return self.exit.is_some(),
            };
            match piece {
                Some(piece) => self.take_in(piece),
                None => return true,
            }
        }
    }

    fn take_in(&mut self, piece: OutputPiece) {
        if let OutputPiece::Exit(code) = piece {
            self.exit = Some(code);
        } else {
            self.gathered.take_in(piece);
            // Taken out at once, so that the limit on kept output is never reached.
            self.stdout.append(&mut self.gathered.take_stdout());
        }
    }

    /// Why it has ended without the answer that was waited for.
    fn failure(&mut self) -> CopyError {
        let gathered = std::mem::replace(&mut self.gathered, GatheredOutput::new(""));
        let end = self.exit.map_or(CommandEnd::Lost, |code| gathered.end_of(code, self.running.signal()));
        CopyError::Node(gathered.ended(end))
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
