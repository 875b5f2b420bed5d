//! `ProxyCommand`: a command of the operator whose standard input and output are the connection.
//!
//! Invariants: the command ends with its connection; its stderr is kept for the error, bounded; a Ctrl-C
//! at the terminal does not reach it, so that actions in flight can end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, Join, join};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::error::TransportError;

/// How much of its stderr is kept, in bytes.
const MOST_STDERR: usize = 2048;

/// How long a command that has closed its output is given to end.
const ENDING: Duration = Duration::from_millis(500);

/// Where commands run, if not where this process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProxyEnvironment {
    /// The working directory.
    pub directory: PathBuf,
    /// The variables.
    pub variables: Vec<(OsString, OsString)>,
}

impl ProxyEnvironment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        // A directory that is gone has no name; commands that need none still run.
        let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        Self { directory, variables: std::env::vars_os().collect() }
    }

    fn shell(&self) -> Option<OsString> {
        self.variables.iter().find(|(name, _)| name == "SHELL").map(|(_, value)| value.clone())
    }
}

/// A command that runs. It is killed when this is dropped.
pub(super) struct ProxyChild {
    stderr: Arc<Mutex<Vec<u8>>>,
    end: Mutex<Option<JoinHandle<Option<std::process::ExitStatus>>>>,
}

impl Drop for ProxyChild {
    fn drop(&mut self) {
        // Aborting the task drops the child, which kills it (`kill_on_drop`).
        if let Some(end) = self.end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            end.abort();
        }
    }
}

/// Starts the command as `ssh` does: by the user's shell, which it replaces.
///
/// # Errors
/// [`TransportError::Proxy`] if there is no shell.
pub(super) fn start(
    command: &str,
    environment: Option<&ProxyEnvironment>,
) -> Result<(Arc<ProxyChild>, Join<ChildStdout, ChildStdin>), TransportError> {
    let failed = |reason: String| TransportError::Proxy { proxy: format!("`{command}`"), reason };
    // As ssh_proxy_connect in sshconnect.c: the operator's shell, and `exec`, so that the kill reaches the command
    // itself.
    let shell = environment.map_or_else(|| std::env::var_os("SHELL"), ProxyEnvironment::shell);
    let shell = shell.filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let mut running = Command::new(&shell);
    if let Some(ProxyEnvironment { directory, variables }) = environment {
        running.current_dir(directory).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    }
    let mut child = running
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own keeps Ctrl-C at the terminal away from it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            // A fork that fails for lack of processes is a problem of this machine, not of the command.
            let own = TransportError::of_controller(&error);
            own.unwrap_or_else(|| failed(format!("{}: {error}", shell.display())))
        })?;
    let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("it has no standard streams".to_owned()));
    };
    let stderr = Arc::new(Mutex::new(Vec::new()));
    let end = tokio::spawn(attend(child, errors, Arc::clone(&stderr)));
    Ok((Arc::new(ProxyChild { stderr, end: Mutex::new(Some(end)) }), join(output, input)))
}

/// Reads its stderr, so that it never waits for a reader, and waits for its end.
async fn attend(
    mut child: Child,
    mut errors: ChildStderr,
    stderr: Arc<Mutex<Vec<u8>>>,
) -> Option<std::process::ExitStatus> {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer).await {
        let mut stderr = stderr.lock().unwrap_or_else(PoisonError::into_inner);
        // Text beyond the bound is read and dropped, so that the command never blocks on its stderr.
        let room = MOST_STDERR.saturating_sub(stderr.len()).min(count);
        stderr.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    child.wait().await.ok()
}

impl ProxyChild {
    /// Why it ended; none if it still runs, or ended successfully and printed nothing.
    pub(super) async fn end(&self) -> Option<String> {
        // Taken, because the end can be awaited only once.
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let stop = end.abort_handle();
        let ended = tokio::time::timeout(ENDING, end).await;
        // A command that still runs after that time is killed: its connection is of no use.
        stop.abort();
        let status = ended.ok().and_then(Result::ok).flatten();
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stderr = String::from_utf8_lossy(&stderr).trim().escape_debug().to_string();
        let status = match status {
            Some(status) if status.success() && stderr.is_empty() => return None,
            Some(status) => match status.code() {
                // The shell's own code for a command that it does not find.
                Some(127) => "no such command (exit code 127)".to_owned(),
                Some(code) => format!("it ended with exit code {code}"),
                None => format!("it was ended ({status})"),
            },
            None if stderr.is_empty() => return None,
            None => "it did not connect".to_owned(),
        };
        Some(if stderr.is_empty() { status } else { format!("{status}: {stderr}") })
    }
}
