//! Commands on a node, through sudo where the inventory says so, and the relay that is started the same way.
//!
//! Here lives [`NodeShell`], the one thing that backends, `init_service` and `node_scan` share. Invariants: each
//! word is quoted, so that no name is ever a command; output is read up to [`OUTPUT_LIMIT`]; a query has a time limit, an
//! action runs to its end even if the connection is lost. Start at `NodeShell::run`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::SupervisorError;
use super::relay::Relay;
use ctl_remote::{CommandAnswer, Sudo};
use ctl_transport::Session;

/// Longest output read of one command, each of stdout and stderr.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// A query has to start a Python, on a busy node, and hangs if it takes longer than this.
const QUERY_TIME: Duration = Duration::from_secs(60);

/// The words as one line for a shell.
pub(super) fn quote_words(words: &[&str]) -> Result<String, SupervisorError> {
    let quote = |word: &&str| {
        let quoted = shlex::try_quote(word).map(std::borrow::Cow::into_owned);
        quoted.map_err(|_| SupervisorError::Unsupported(format!("`{}` contains a NUL character", word.escape_debug())))
    };
    Ok(words.iter().map(quote).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// Runs commands on a node, through sudo where it is on. Clones are the same shell.
pub struct NodeShell<S: Session> {
    inner: Arc<ShellState<S>>,
}

struct ShellState<S: Session> {
    session: Arc<S>,
    sudo: Sudo,
    relay: Mutex<Option<Arc<Relay>>>,
}

impl<S: Session> Clone for NodeShell<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Session> NodeShell<S> {
    /// A shell on `session`.
    pub fn new(session: Arc<S>, sudo: Sudo) -> Self {
        Self { inner: Arc::new(ShellState { session, sudo, relay: Mutex::default() }) }
    }

    /// The session that it is on.
    pub fn session(&self) -> &Arc<S> {
        &self.inner.session
    }

    /// Whether and how it goes through sudo.
    pub fn sudo(&self) -> &Sudo {
        &self.inner.sudo
    }

    /// The node's relay, started now unless it runs already.
    pub(super) async fn relay(&self) -> Result<Arc<Relay>, SupervisorError> {
        // The lock is held while the relay starts, so that calls which come at the same time share one relay.
        let mut current = self.inner.relay.lock().await;
        // A relay ends with its channel, and a closed one cannot be reopened, so the next call starts another.
        if let Some(relay) = current.as_ref().filter(|relay| relay.is_alive()) {
            return Ok(Arc::clone(relay));
        }
        let relay = Arc::new(Relay::start(self.session().as_ref(), self.sudo()).await?);
        *current = Some(Arc::clone(&relay));
        Ok(relay)
    }

    /// Runs the words as one command, through sudo where it is on: a query, which is answered in [`QUERY_TIME`].
    pub(super) async fn run(&self, words: &[&str]) -> Result<CommandAnswer, SupervisorError> {
        let line = quote_words(words)?;
        // The unquoted words only name the command in an error; the quoted line is what runs.
        self.query_in_time(&words.join(" "), |sudo| format!("{sudo}{line}")).await
    }

    /// Runs a query that is answered in [`QUERY_TIME`].
    pub(super) async fn query_in_time(
        &self,
        what: &str,
        body: impl FnOnce(&str) -> String,
    ) -> Result<CommandAnswer, SupervisorError> {
        match timeout(QUERY_TIME, self.query(body)).await {
            Ok(answer) => answer,
            // A query changes nothing, so it is safe to give up on one that may still run on the node.
            Err(_) => Err(SupervisorError::Silent(what.to_owned())),
        }
    }

    /// Runs the words as one command that runs to its end even if the connection is lost meanwhile. Without that it
    /// would be killed by its next word to a closed pipe, and `supervisorctl restart` prints between its stop and its
    /// start. stderr is read as stdout.
    pub(super) async fn run_to_its_end(&self, words: &[&str]) -> Result<CommandAnswer, SupervisorError> {
        let words = quote_words(words)?;
        // sudo may read a password from standard input, so it stays open there; otherwise nothing may wait for
        // input.
        let input = if self.sudo().has_password() { "" } else { " </dev/null" };
        let body = |sudo: &str| format!("{sudo}{words}{input}");
        Ok(self.sudo().ask_to_the_end(self.session().as_ref(), body, OUTPUT_LIMIT).await?)
    }

    pub(super) async fn query(&self, body: impl FnOnce(&str) -> String) -> Result<CommandAnswer, SupervisorError> {
        self.query_within(body, OUTPUT_LIMIT).await
    }

    /// The same for a command that is to print no more than `limit` bytes.
    pub(super) async fn query_within(
        &self,
        body: impl FnOnce(&str) -> String,
        limit: usize,
    ) -> Result<CommandAnswer, SupervisorError> {
        Ok(self.sudo().ask(self.session().as_ref(), body, limit).await?)
    }

    /// Runs a script of a POSIX shell as it is, without sudo.
    pub(super) async fn script(&self, script: &str) -> Result<CommandAnswer, SupervisorError> {
        Ok(Sudo::No.ask(self.session().as_ref(), |_| script.to_owned(), OUTPUT_LIMIT).await?)
    }

    /// At most `length` bytes of a file from `offset` on, read by a command, through sudo where it is on.
    ///
    /// # Errors
    /// [`SupervisorError::Permission`] or [`SupervisorError::CommandMissing`] with the node's own message, and
    /// every error
    /// of running a command.
    pub async fn read_file(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, SupervisorError> {
        let path = shlex::try_quote(path)
            .map_err(|_| SupervisorError::Unsupported("a path contains a NUL character".to_owned()))?;
        // `tail -c +N` counts from 1 (POSIX).
        let first = offset.saturating_add(1);
        // base64 keeps the bytes as they are: output is read as text, where invalid UTF-8 would be replaced.
        let output = self.query(|sudo| format!("{sudo}tail -c +{first} -- {path} | head -c {length} | base64")).await?;
        // base64 breaks its output into lines of 76 characters.
        let text: String = output.stdout.split_ascii_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        // The exit status is that of base64, the last command, so only stderr shows why tail or sudo failed.
        match output.stderr.lines().find(|line| !line.trim().is_empty()) {
            // `tail` may also complain that `head` closed the pipe; bytes that were read count more than that.
            Some(said) if bytes.as_ref().is_ok_and(Vec::is_empty) => {
                let said: String = said.chars().take(200).collect();
                // The first letter is left out because its case differs between tools and the kernel's message.
                let denied = said.contains("ermission denied") || said.contains("password is required");
                Err(if denied { SupervisorError::Permission(said) } else { SupervisorError::CommandMissing(said) })
            }
            _ => bytes.map_err(|_| SupervisorError::Protocol("unexpected answer while reading the log".to_owned())),
        }
    }

    /// The size of a file, read by a command, through sudo where it is on.
    ///
    /// # Errors
    /// As [`NodeShell::read_file`].
    pub async fn file_size(&self, path: &str) -> Result<u64, SupervisorError> {
        let path = shlex::try_quote(path)
            .map_err(|_| SupervisorError::Unsupported("a path contains a NUL character".to_owned()))?;
        // `-L` follows symbolic links: the size of the link itself would be the length of its target's path.
        let output = self.query(|sudo| format!("{sudo}stat -L -c %s -- {path}")).await?;
        output.stdout.trim().parse().map_err(|_| {
            // stat explains a failure on stderr only, and its exit code is the same for all of them.
            let said: String = output.stderr.trim().chars().take(200).collect();
            SupervisorError::CommandMissing(format!("cannot read the size of its log: {said}"))
        })
    }
}
