//! A log that `supervisorctl tail -f` follows: for nodes where only that works.
//!
//! It starts with the last 1,024 bytes of the log without their offset; [`TailFollower::join`] finds their place in the
//! end of the log, read once more. Invariants: the command ends with the channel; the buffers are bounded.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::error::SupervisorError;
use ctl_remote::script::{one_line, read_and_run};
use ctl_remote::{EnterError, NoAnswer, Sudo, SudoPrompt};
use ctl_transport::{OutputPiece, RemoteCommand, Session};

/// The line that supervisorctl prints before the log.
const GREETING: &[u8] = b"==> Press Ctrl-C to exit <==\n";

/// The line that supervisord inserts into a log when its file has become shorter.
pub const TRUNCATED: &str = "==> File truncated <==";

/// How long it may take to start: a Python has to start, and sudo may have to be answered.
const START_TIME: Duration = Duration::from_secs(30);

/// After the first bytes nothing more for so long: that was the end of the log at the start.
const QUIET: Duration = Duration::from_millis(400);

/// After such a silence the log may have been rotated, which supervisord before 3.1.1 does not notice.
const DOUBTFUL: Duration = Duration::from_secs(10);

/// Most that is read as the start.
const HEAD_LIMIT: usize = 64 * 1024;

const TAIL: &str = include_str!("tail.sh");

/// A log that is being followed. Dropping it ends that.
#[derive(Debug)]
pub struct TailFollower<C: RemoteCommand> {
    command: C,
    /// The first bytes.
    head: Vec<u8>,
    /// Bytes that will follow and are known already.
    skip: usize,
    /// When output last arrived, or the log was last compared with it.
    heard: Instant,
    /// Whether supervisord follows the old file after a rotation; none if that is not known yet.
    keeps_old_file: Option<bool>,
}

impl<C: RemoteCommand> TailFollower<C> {
    /// Starts the command, quoted for a shell, and waits until it follows.
    pub(crate) async fn start<S: Session<Command = C>>(
        session: &S,
        sudo: &Sudo,
        line: &str,
    ) -> Result<Self, SupervisorError> {
        match timeout(START_TIME, Self::begin(session, sudo, line)).await {
            Ok(started) => started,
            Err(_) => Err(SupervisorError::Silent("supervisorctl tail -f".to_owned())),
        }
    }

    async fn begin<S: Session<Command = C>>(session: &S, sudo: &Sudo, line: &str) -> Result<Self, SupervisorError> {
        let passage = SudoPrompt::new();
        let shell = read_and_run(passage.mark());
        // Words with a NUL were refused before.
        let quoted = shlex::try_quote(line).unwrap_or_default();
        let all = format!("exec {}/bin/sh -c {shell} ctl-tail {quoted}", sudo.prefix(&passage));
        debug!(command = all, "following");
        let mut command = session.start(&all).await?;
        let head = match sudo.enter(&mut command, &passage, START_TIME).await {
            Ok(rest) => rest,
            Err(error) => {
                command.close().await;
                return Err(match error {
                    // Without sudo there is no password prompt, so the silence is the login shell's.
                    EnterError::Sudo(_) if !sudo.is_on() => SupervisorError::Silent("the login shell".to_owned()),
                    EnterError::Sudo(error) => SupervisorError::Sudo(error),
                    EnterError::Transport(error) => error.into(),
                    EnterError::Ended { said, exit } => NoAnswer::NotRun { said, exit }.into(),
                });
            }
        };
        // The script is sent only now, because sudo reads its password from the same standard input.
        command.write(format!("{}\n", one_line(TAIL)).as_bytes()).await?;
        let mut tailed = Self { command, head, skip: 0, heard: Instant::now(), keeps_old_file: None };
        tailed.greet().await?;
        Ok(tailed)
    }

    /// Waits for the greeting, and for the bytes right behind it.
    async fn greet(&mut self) -> Result<(), SupervisorError> {
        loop {
            // sudo or the login shell may print something first, so the greeting may stand anywhere.
            let is_there = self.head.windows(GREETING.len()).position(|window| window == GREETING);
            if let Some(start) = is_there {
                self.head.drain(..start + GREETING.len());
                break;
            }
            match self.command.next().await {
                Some(OutputPiece::Stdout(bytes)) if self.head.len() < HEAD_LIMIT => self.head.extend(bytes),
                Some(OutputPiece::Stderr(bytes)) => {
                    debug!(said = %String::from_utf8_lossy(&bytes).trim(), "message from supervisorctl");
                }
                _ => return Err(self.ended()),
            }
        }
        // supervisord sends the end of the log at once, so a pause means that it is complete.
        while self.head.len() < HEAD_LIMIT {
            match timeout(QUIET, self.command.next()).await {
                Ok(Some(OutputPiece::Stdout(bytes))) => self.head.extend(bytes),
                Ok(Some(OutputPiece::Stderr(_))) => {}
                Ok(Some(OutputPiece::Exit(_)) | None) => return Err(self.ended()),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn ended(&self) -> SupervisorError {
        let said = String::from_utf8_lossy(&self.head);
        let said: String = said.lines().last().unwrap_or_default().chars().take(200).collect();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        SupervisorError::Down(format!("supervisorctl tail -f has exited{said}"))
    }

    /// Takes the end of the log in, read after this was started: its bytes are not returned again.
    pub fn join(&mut self, end: &[u8]) {
        self.skip = known_of(&std::mem::take(&mut self.head), end);
    }

    /// The next bytes; empty if none were written within `patience`.
    ///
    /// # Errors
    /// [`SupervisorError::Down`] when it has ended.
    pub async fn next(&mut self, patience: Duration) -> Result<Vec<u8>, SupervisorError> {
        match timeout(patience, self.command.next()).await {
            Ok(Some(OutputPiece::Stdout(mut bytes))) => {
                // These bytes were in the end of the log that `join` took, and are shown already.
                let known = self.skip.min(bytes.len());
                self.skip -= known;
                bytes.drain(..known);
                self.heard = Instant::now();
                Ok(bytes)
            }
            // Nothing new is no error: the caller has other logs to read meanwhile.
            Ok(Some(OutputPiece::Stderr(_))) | Err(_) => Ok(Vec::new()),
            Ok(Some(OutputPiece::Exit(_)) | None) => Err(self.ended()),
        }
    }

    /// Whether nothing came for so long that another file may be the log by now.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.keeps_old_file != Some(false) && self.heard.elapsed() >= DOUBTFUL
    }

    /// Notes that the log was compared with the output, so the next comparison waits as long again.
    pub(crate) fn compare(&mut self) {
        self.heard = Instant::now();
    }

    /// Whether supervisord follows the old file after a rotation, if that is known.
    pub(crate) fn keeps_old_file(&mut self) -> &mut Option<bool> {
        &mut self.keeps_old_file
    }
}

/// Whether supervisord of this version follows the old file after a rotation: before 3.1.1 `tail_f_producer` (http.py) never
/// looks at the path again. None for a text that is no version.
#[must_use]
pub(crate) fn keeps_old_file(version: &str) -> Option<bool> {
    let number = |part: Option<&str>| {
        let part = part.unwrap_or_default();
        // `3.0b2`, `3.0a3`.
        part.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u32>().ok())
    };
    let mut parts = version.trim().split('.');
    let (major, minor, patch) = (number(parts.next()), number(parts.next()), number(parts.next()));
    Some((major?, minor?, patch.unwrap_or(0)) < (3, 1, 1))
}

/// How many bytes of `end` follow `head` there: the follower will print them too. 0 if `head` is not in it.
fn known_of(head: &[u8], end: &[u8]) -> usize {
    after_last(head, end).map_or(0, <[u8]>::len)
}

/// The part of `text` behind the last place where `wanted` is; none if it is not there.
#[must_use]
pub fn after_last<'a>(wanted: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    if wanted.is_empty() {
        return Some(text);
    }
    let place = text.windows(wanted.len()).rposition(|window| window == wanted)?;
    text.get(place + wanted.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_known_by_what_came_first() {
        assert_eq!(known_of(b"two\n", b"one\ntwo\n"), 0);
        assert_eq!(known_of(b"two\n", b"one\ntwo\nthree\n"), 6);
        assert_eq!(known_of(b"", b"all of it is still to come"), 26);
        assert_eq!(known_of(b"rotated\n", b"another file\n"), 0);
        assert_eq!(after_last(b"a", b"a b a c"), Some(b" c".as_slice()));
        assert_eq!(after_last(b"longer than all", b"a"), None);
    }

    #[test]
    fn old_versions_keep_the_old_file() {
        for old in ["3.0", "3.0b2\n", "3.0.1", "3.1.0", "3.1", "2.2"] {
            assert_eq!(keeps_old_file(old), Some(true), "{old}");
        }
        for new in ["3.1.1", "3.1.3\n", "3.3.1", "4.0.0", "4.3.0.dev0", "10.0"] {
            assert_eq!(keeps_old_file(new), Some(false), "{new}");
        }
        for other in ["", "3", "unix:///x.sock no such file"] {
            assert_eq!(keeps_old_file(other), None, "{other}");
        }
    }
}
