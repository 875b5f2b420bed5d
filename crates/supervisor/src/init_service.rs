//! A service that init runs: a supervisord instance, or a service outside supervisord.
//!
//! Here lives [`InitService`]. It is no backend: it controls what a backend talks to. Invariants: the text of init
//! decides, never its exit code.

use super::command_answer::{failed, problems_of, refuse};
use super::error::SupervisorError;
use super::parse::init::{self, InitProblem, InitState, InitStatus};
use super::shell::NodeShell;
use ctl_transport::Session;

/// A service that init runs: a supervisord instance, or one outside supervisord.
pub struct InitService<S: Session> {
    shell: NodeShell<S>,
    name: String,
}

impl<S: Session> InitService<S> {
    /// The service of this name.
    pub fn new(shell: NodeShell<S>, name: String) -> Self {
        Self { shell, name }
    }

    /// Its state. Where init says running but not which process, the pid file of the usual name is read.
    ///
    /// # Errors
    /// [`SupervisorError::Transport`] and [`SupervisorError::Protocol`]; what sudo refuses.
    pub async fn status(&self) -> Result<InitStatus, SupervisorError> {
        let output = self.shell.run(&["service", &self.name, "status"]).await?;
        let mut status = init::parse_status(&self.name, &output.stdout, &output.stderr, Some(output.status));
        if status.state == InitState::Denied {
            // Denied also covers a refusal by sudo, which has a remedy of its own.
            refuse(&problems_of(&output))?;
            return Err(SupervisorError::Permission(status.text));
        }
        if status.state == InitState::Unknown {
            // A known problem, such as a missing command, explains more than the exit code.
            refuse(&problems_of(&output))?;
            return Err(failed(&format!("service {} status", self.name), &output));
        }
        if status.state == InitState::Running && status.pid.is_none() {
            status.pid = self.pid_file().await?;
        }
        Ok(status)
    }

    async fn pid_file(&self) -> Result<Option<u32>, SupervisorError> {
        let Ok(name) = shlex::try_quote(&self.name) else { return Ok(None) };
        // Either file may be missing; cat still prints the other one.
        let output = self.shell.script(&format!("cat /var/run/{name}.pid /var/run/{name}/{name}.pid")).await?;
        Ok(output.stdout.lines().find_map(|line| line.trim().parse().ok()))
    }

    /// `start`, `stop` or `restart`. Its truth is the status read afterwards.
    ///
    /// # Errors
    /// [`SupervisorError`] where it was not even tried: sudo refused, init does not know the service.
    pub async fn act(&self, verb: &str) -> Result<(), SupervisorError> {
        // The action must finish even if the connection drops, or a restart could end between its stop and its start.
        let output = self.shell.run_to_its_end(&["service", &self.name, verb]).await?;
        match init::parse_action(&output.stdout, &output.stderr, Some(output.status)) {
            None => Ok(()),
            Some(InitProblem::Command(problem)) => refuse(&[problem]),
            Some(problem @ InitProblem::Denied { .. }) => Err(SupervisorError::Permission(problem.to_string())),
            Some(problem @ InitProblem::NotFound { .. }) => Err(SupervisorError::CommandMissing(problem.to_string())),
        }
    }
}
