//! Runs the commands of `Match exec`.
//!
//! Invariants: a command sees no input and is not shown; it runs once for each text, however many nodes ask;
//! one that cannot be run, dies by a signal or does not end in time has no result, which is an error.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::ConfigProblem;
use super::operator::OperatorEnv;

/// The longest that a command may run.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs commands in the operator's shell and remembers whether they succeeded.
#[derive(Debug)]
pub struct ExecRunner {
    shell: PathBuf,
    limit: Duration,
    known: Mutex<HashMap<String, Result<bool, String>>>,
}

impl ExecRunner {
    /// With the shell of the operator, `$SHELL` or `/bin/sh`, and a limit of ten seconds for each command.
    pub fn new(operator: &OperatorEnv) -> Self {
        let shell = operator.variables.get("SHELL").map_or("/bin/sh", String::as_str);
        // execv(3) of `ssh` does not search $PATH; a path with a slash keeps `Command` from doing so.
        Self {
            shell: if shell.contains('/') { PathBuf::from(shell) } else { Path::new(".").join(shell) },
            limit: LIMIT,
            known: Mutex::default(),
        }
    }

    /// Whether the command ends with 0.
    ///
    /// # Errors
    /// [`ConfigProblem::Exec`] if it cannot be run, is ended by a signal, or does not end in time.
    pub fn run(&self, command: &str) -> Result<bool, ConfigProblem> {
        // The lock is held while the command runs: another node with the same text waits for the result instead of
        // running it again. A panic cannot leave half an entry, so a poisoned lock is still good.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let result = known.entry(command.to_owned()).or_insert_with(|| {
            let result = self.execute(command);
            tracing::debug!(command, ?result, "Match exec");
            result
        });
        result.clone().map_err(|reason| ConfigProblem::Exec { command: command.to_owned(), reason })
    }

    /// As execute_in_shell (readconf.c): only a command that exits has a result.
    fn execute(&self, command: &str) -> Result<bool, String> {
        // Errors of the command stay visible, as in execute_in_shell (readconf.c), which redirects only input and
        // output.
        let child = Command::new(&self.shell).arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("cannot run the shell {:?}: {error}", self.shell.display()))?;
        // `ssh` waits without a limit. Without a result the block may not quietly be left out.
        let status =
            wait(&mut child, self.limit).ok_or_else(|| format!("it did not end within {} s", self.limit.as_secs()))?;
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(code == 0),
            (None, Some(signal)) => Err(format!("it was ended by signal {signal}")),
            (None, None) => Err("it did not exit".to_owned()),
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
        assert!(runner.run("true").expect("a result"));
        assert!(!runner.run("false").expect("a result"));
        assert!(!runner.run("read line").expect("a result"));
        let mark = directory.path().join("mark");
        let command = format!("echo >> {}", mark.display());
        assert!(runner.run(&command).expect("a result") && runner.run(&command).expect("a result"));
        assert_eq!(std::fs::read(&mark).expect("written"), b"\n");
        runner.limit = Duration::from_millis(50);
        assert!(runner.run("exec sleep 60").is_err());
    }

    #[test]
    fn a_command_without_an_exit_code_is_an_error() {
        let reason = |runner: &ExecRunner, command: &str| runner.run(command).expect_err(command).to_string();
        let runner = ExecRunner::new(&OperatorEnv::default());
        let mark = tempfile::NamedTempFile::new().expect("temporary file");
        let killed = format!("echo >> {}; kill -9 $$", mark.path().display());
        for _ in 0..2 {
            assert!(reason(&runner, &killed).ends_with("it was ended by signal 9"), "{}", reason(&runner, &killed));
        }
        // The error is remembered too.
        assert_eq!(std::fs::read(mark.path()).expect("written"), b"\n");
        // A command that the shell does not find has an exit code.
        assert!(!runner.run("no-such-command-here 2>/dev/null").expect("a result"));
        for shell in ["", "/nonexistent/shell", "/etc/passwd", "/", "sh"] {
            let variables = [("SHELL".to_owned(), shell.to_owned())].into();
            let runner = ExecRunner::new(&OperatorEnv { variables, ..OperatorEnv::default() });
            assert!(reason(&runner, "true").contains("cannot run the shell"), "{shell}: {}", reason(&runner, "true"));
        }
    }
}
