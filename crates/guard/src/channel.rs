//! The channel to a guard: its start, and the lines that it prints.
//!
//! Here live [`GuardChannel`] and [`TakeError`]. Invariants: only lines with the guard's random mark are its own;
//! the output of a login shell before and between them is bounded, and only named in an error.

use std::collections::VecDeque;
use std::time::Duration;

use super::holder::LockHolder;
use super::live::LiveMark;
use ctl_event::{Failure, FailureKind, Stage};
use ctl_remote::script::one_line;
use ctl_remote::{EnterError, Sudo, SudoError, SudoPrompt};
use ctl_transport::{HUNG, OutputPiece, RemoteCommand, Session, TransportError};

/// How long sudo may take to start the guard.
pub(super) const PATIENCE_WITH_SUDO: Duration = Duration::from_secs(30);

/// Maximum length of a guard's line.
const LINE_LIMIT: usize = 64 * 1024;

/// Maximum output of a login shell before the guard.
const NOISE_LIMIT: usize = 1024 * 1024;

/// Why a node's guard could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// Another run holds the node.
    #[error("locked by {0}")]
    Held(LockHolder),
    /// The node lacks a requirement.
    #[error("cannot guard the node: {0}")]
    Unable(String),
    /// Its shell prints without end.
    #[error("cannot guard the node: its shell printed more than {NOISE_LIMIT} bytes")]
    Endless,
    /// It did not start in time.
    #[error("the node did not answer within {} s while taking its lock", .0.as_secs())]
    Silent(Duration),
    /// sudo did not run it.
    #[error(transparent)]
    Sudo(SudoError),
    /// The connection was lost, or sshd rejected the command.
    #[error(transparent)]
    Transport(TransportError),
}

impl TakeError {
    /// Whether the node itself cannot provide a guard, so that a run with an optional guard continues without one.
    #[must_use]
    pub fn is_of_the_node(&self) -> bool {
        match self {
            Self::Unable(_) | Self::Endless | Self::Silent(_) | Self::Sudo(_) => true,
            Self::Transport(error) => {
                matches!(error, TransportError::CommandRefused { .. } | TransportError::Silent { .. })
            }
            Self::Held(_) => false,
        }
    }

    /// The failure for a result.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (kind, hint) = match self {
            Self::Sudo(error) => return error.failure(Stage::Inspect),
            Self::Transport(error) => return error.failure(),
            Self::Held(_) => {
                let hint = "wait for it with --lock-wait, or contact the user that runs it; nothing was changed";
                return Failure::new(Stage::Plan, FailureKind::Locked, self.to_string()).with_hint(hint);
            }
            Self::Silent(_) => (FailureKind::TimedOut, HUNG),
            Self::Unable(_) => (FailureKind::Command, UNGUARDED),
            Self::Endless => (FailureKind::Protocol, UNGUARDED),
        };
        Failure::new(Stage::Inspect, kind, self.to_string()).with_hint(hint)
    }
}

const UNGUARDED: &str = "without a guard, a dropped connection could leave a service stopped and two runs could collide; \
                         use --no-guard to accept that";

pub(super) const LOCK: &str = include_str!("lock.sh");
pub(super) const GUARD: &str = include_str!("guard.sh");

/// Splits output into lines; a line that is too long is dropped.
#[derive(Debug, Default)]
struct GuardLines {
    rest: Vec<u8>,
    whole: VecDeque<String>,
}

impl GuardLines {
    fn take_in(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.whole.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if self.rest.len() > LINE_LIMIT {
            self.rest.clear();
        }
    }
}

/// The channel to a guard.
pub(super) struct GuardChannel<C: RemoteCommand> {
    pub(super) command: C,
    pub(super) mark: String,
    lines: GuardLines,
    /// Bytes received since the guard's last line.
    printed: usize,
    /// Whether its exit was reported; otherwise the connection ended.
    has_ended: bool,
}

impl<C: RemoteCommand> GuardChannel<C> {
    /// Of a command that was just started, and whose own lines start with `mark`.
    pub(super) fn new(command: C, mark: String) -> Self {
        Self { command, mark, lines: GuardLines::default(), printed: 0, has_ended: false }
    }

    /// Starts the guard with this command line, and waits until it is ready.
    pub(super) async fn open<S: Session<Command = C>>(
        session: &S,
        line: &str,
        mark: String,
        sudo: &Sudo,
        passage: &SudoPrompt,
    ) -> Result<Self, TakeError> {
        let mut command = session.start(line).await.map_err(TakeError::Transport)?;
        if sudo.has_password()
            && let Err(error) = sudo.enter(&mut command, passage, PATIENCE_WITH_SUDO).await
        {
            command.close().await;
            return Err(match error {
                EnterError::Sudo(error) => TakeError::Sudo(error),
                EnterError::Transport(error) => TakeError::Transport(error),
                EnterError::Ended { .. } => TakeError::Unable(error.to_string()),
            });
        }
        let mut channel = Self::new(command, mark);
        // Only after sudo's dialogue: sudo would read the script as the password.
        let scripts = format!("{}\n{}\n", one_line(LOCK), one_line(GUARD));
        channel.command.write(scripts.as_bytes()).await.map_err(TakeError::Transport)?;
        channel.greeting().await?;
        Ok(channel)
    }

    /// The guard's next line, without its mark. `None`: it has ended. Cancel safe.
    pub(super) async fn line(&mut self, noise: &mut String) -> Option<String> {
        loop {
            while let Some(line) = self.lines.whole.pop_front() {
                // The login shell's last line may lack its newline, so the mark may not be at the start of the line.
                match line.split_once(&format!("{} ", self.mark)) {
                    Some((_, said)) => {
                        self.printed = 0;
                        return Some(said.to_owned());
                    }
                    None if noise.len() < 512 && !line.trim().is_empty() => *noise = line,
                    None => {}
                }
            }
            // Stop reading a shell that prints without end; the guard's own lines reset the count.
            if self.printed > NOISE_LIMIT {
                return None;
            }
            match self.command.next().await? {
                OutputPiece::Stdout(bytes) => {
                    self.printed += bytes.len();
                    self.lines.take_in(&bytes);
                }
                OutputPiece::Stderr(bytes) => {
                    self.printed += bytes.len();
                    if noise.is_empty() {
                        String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().clone_into(noise);
                    }
                }
                OutputPiece::Exit(_) => self.has_ended = true,
            }
        }
    }

    /// Waits until the guard is ready, or reports why it cannot be.
    async fn greeting(&mut self) -> Result<(), TakeError> {
        let mut noise = String::new();
        let mut held = false;
        while let Some(line) = self.line(&mut noise).await {
            match line.split_once(' ').unwrap_or((line.as_str(), "")) {
                ("ready", _) => return Ok(()),
                // `by` follows with the holder, if the node can find it.
                ("held", _) => held = true,
                ("own", words) => {
                    // The guard of a lost connection: its lock ends soon, so nothing may run beside it.
                    let holder = words.split(' ').next().unwrap_or_default();
                    // A lock that ends with its command covers no other name of the host: have it released, and take
                    // one that stays.
                    if LiveMark::yields(holder) || !LiveMark::is_live(holder) {
                        return Err(TakeError::Held(LockHolder::read(words)));
                    }
                    // A live guard of this process holds the lock under another name of the host, and covers this one
                    // too.
                    self.command.write(b"beside\n").await.map_err(TakeError::Transport)?;
                }
                ("by", words) => return Err(TakeError::Held(LockHolder::read(words))),
                ("noflock", _) => return Err(TakeError::Unable("`flock` (util-linux) is missing".to_owned())),
                ("ended", code) => return Err(TakeError::Unable(format!("flock exited with {code}: {noise}"))),
                _ => {}
            }
        }
        // The guard has ended without being ready: find the most specific reason.
        if held {
            return Err(TakeError::Held(LockHolder::default()));
        }
        if self.printed > NOISE_LIMIT {
            self.command.close().await;
            return Err(TakeError::Endless);
        }
        if !self.has_ended {
            let reason = "it closed while taking the node's lock".to_owned();
            return Err(TakeError::Transport(TransportError::Lost { reason }));
        }
        let said = if noise.is_empty() { "nothing".to_owned() } else { format!("`{noise}`") };
        Err(TakeError::Unable(format!("its shell exited immediately and printed {said}")))
    }
}
