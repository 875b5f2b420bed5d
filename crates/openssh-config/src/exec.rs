//! Runs the commands of `Match exec`.
//!
//! What always holds: a command sees no input and is not shown; it runs once for each text, however many nodes ask;
//! one that does not end in time counts as failed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::operator::OperatorEnv;

/// The longest that a command may run.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs commands in the operator's shell and remembers whether they succeeded.
#[derive(Debug)]
pub struct ExecRunner {
    shell: PathBuf,
    limit: Duration,
    known: Mutex<HashMap<String, bool>>,
}

impl ExecRunner {
    /// With the shell of the operator, `$SHELL` or `/bin/sh`, and a limit of ten seconds for each command.
    pub fn new(operator: &OperatorEnv) -> Self {
        let shell = operator.variables.get("SHELL").map_or("/bin/sh", String::as_str);
        Self { shell: PathBuf::from(shell), limit: LIMIT, known: Mutex::default() }
    }

    /// Whether the command ends with 0.
    pub fn run(&self, command: &str) -> bool {
        // The lock is held while the command runs: another node with the same text waits for the result instead of
        // running it again. A panic cannot leave half an entry, so a poisoned lock is still good.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(succeeded) = known.get(command) {
            return *succeeded;
        }
        let succeeded = self.execute(command);
        tracing::debug!(command, succeeded, "Match exec");
        known.insert(command.to_owned(), succeeded);
        succeeded
    }

    fn execute(&self, command: &str) -> bool {
        // Errors of the command stay visible, as in execute_in_shell (readconf.c), which redirects only input and
        // output.
        let child = Command::new(&self.shell).arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        match child {
            Ok(mut child) => wait(&mut child, self.limit).is_some_and(|status| status.success()),
            Err(error) => {
                // Treated as a command that fails, so that the `Match` does not apply; `ssh` ends here.
                tracing::warn!(command, shell = %self.shell.display(), %error, "cannot run Match exec");
                false
            }
        }
    }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    // The standard library has no wait with a limit. Most commands end within milliseconds, hence the short first
    // pause.
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(pause),
            Ok(None) | Err(_) => break,
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    tracing::warn!("a command of Match exec did not end in time");
    // Waiting after the kill keeps the child from staying behind as a zombie.
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::debug!(%error, "cannot end the command");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_run_once_and_not_for_ever() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut runner = ExecRunner::new(&OperatorEnv::default());
        assert!(runner.run("true"));
        assert!(!runner.run("false"));
        assert!(!runner.run("read line"));
        let mark = directory.path().join("mark");
        let command = format!("echo >> {}", mark.display());
        assert!(runner.run(&command) && runner.run(&command));
        assert_eq!(std::fs::read(&mark).expect("written"), b"\n");
        runner.limit = Duration::from_millis(50);
        assert!(!runner.run("exec sleep 60"));
    }
}
