//! One service that init runs: a supervisord instance, or a service outside supervisord.
//!
//! Invariants: running is what init's text says, never its exit code; a restart is proved by another main
//! pid or another start time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::action::obligations::{Obligation, TargetContext};
use crate::gate::stable::{CUT, StableGate};
use crate::node::connection::{NodeConnection, init_service};
use crate::verdict::{InitVerdict, RETRY_HINT, is_up};
use ctl_event::{Failure, FailureKind, Outcome, ProcessState, Stage, TargetState};
use ctl_plan::Action;
use ctl_supervisor::SupervisorError;
use ctl_supervisor::parse::init::{self, InitState, InitStatus};
use ctl_transport::{Transport, TransportError};

const POLL: Duration = Duration::from_millis(250);

/// How long to wait for init's report after its own command has ended.
const SETTLE: Duration = Duration::from_secs(10);

/// A service by its name in init, on a node.
pub(crate) struct InitTarget<'a, T: Transport> {
    pub(crate) link: &'a NodeConnection<T>,
    pub(crate) name: &'a str,
    /// How long it has to stay up.
    pub(crate) stable: Duration,
    /// Whether it is a supervisord, whose status is in the words of its init script.
    pub(crate) is_instance: bool,
}

impl<T: Transport> InitTarget<'_, T> {
    /// Does the action. None: init does not know the service.
    pub(crate) async fn act(&self, action: Action, context: Option<&TargetContext<'_, T>>) -> Option<InitVerdict> {
        let before = match self.status().await {
            Ok(status) => status,
            Err(error) => return Some(self.error(&error, Stage::Inspect)),
        };
        if before.state == InitState::NotFound {
            return None;
        }
        let up = matches!(before.state, InitState::Running | InitState::Starting);
        let verb = match action {
            Action::Status
            | Action::Ping
            | Action::Update
            | Action::Exec
            | Action::Copy
            | Action::Sequence
            | Action::Wait
            | Action::Logs => {
                return Some(self.verdict(Outcome::Ok, &before, None));
            }
            Action::Start if before.state == InitState::Running => {
                return Some(self.verdict(Outcome::Ok, &before, Some("already running")));
            }
            Action::Stop if !up && before.state != InitState::Stopping => {
                return Some(self.verdict(Outcome::Ok, &before, Some("not running")));
            }
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Restart => "restart",
        };
        if let Some(context) = context
            && let Err(failure) = self.owe(action, context).await
        {
            return Some(InitVerdict { failure: Some(failure), ..self.verdict(Outcome::Failed, &before, Some("")) });
        }
        let sent = match init_service(self.link, self.name).await {
            Ok(service) => service.act(verb).await,
            Err(error) => Err(error.into()),
        };
        match sent {
            Ok(()) => {}
            Err(error) if was_refused(&error) => {
                if let Some(context) = context {
                    // The refusal may be the script's own, printed after its stop: only an unchanged state proves that
                    // nothing was stopped.
                    let is_owed = up && !self.status().await.is_ok_and(|now| now.state == before.state);
                    if !is_owed && let Err(failure) = context.set_obligation(Obligation::None, None).await {
                        debug!(failure.message, "not disarmed");
                    }
                }
                return Some(self.error(&error, Stage::Act));
            }
            // The command may have run, so the state that init reports decides.
            Err(error) => debug!(service = self.name, %error, "answered"),
        }
        let mut verdict = self.verify(action, &before).await;
        if let Some(context) = context {
            if action == Action::Restart && is_start_owed(verdict.state) {
                // The start stays owed, and the message says who sends it.
                if let Some(failure) = verdict.failure.as_mut().filter(|_| verdict.state.is_none()) {
                    left_open(failure, context.table.entry(&context.key).is_armed());
                }
            } else if let Err(failure) = context.set_obligation(Obligation::Sent, None).await {
                verdict.failure.get_or_insert(failure);
            }
            if verdict.outcome == Outcome::Changed && action != Action::Stop && !self.stable.is_zero() {
                return Some(self.stay(verdict, context).await);
            }
        }
        Some(verdict)
    }

    /// Arms the guard before the action is sent.
    async fn owe(&self, action: Action, context: &TargetContext<'_, T>) -> Result<(), Failure> {
        // Only a restart owes a start, since it stops a service that is meant to run.
        if action == Action::Restart {
            let rescue = self.link.rescue_of_init(self.name);
            context.set_obligation(Obligation::MustStart, Some(rescue)).await
        } else {
            context.set_obligation(Obligation::Sent, None).await
        }
    }

    /// Resumes a restart that a controller which is gone has started: if it is another process than before, it is done.
    pub(crate) async fn resume_restart(
        &self,
        before: &TargetState,
        context: &TargetContext<'_, T>,
    ) -> Option<InitVerdict> {
        match self.status().await {
            Ok(now) if now.state == InitState::Running && now.pid.is_some() && now.pid != before.pid => {
                let verdict = self.verdict(Outcome::Changed, &now, None);
                Some(if self.stable.is_zero() { verdict } else { self.stay(verdict, context).await })
            }
            _ => self.act(Action::Restart, Some(context)).await,
        }
    }

    /// The proof of an action that an earlier part of the run has sent: the service is read, and nothing is sent.
    pub(crate) async fn recheck(
        &self,
        action: Action,
        before: Option<&TargetState>,
        context: &TargetContext<'_, T>,
    ) -> Option<InitVerdict> {
        let now = match self.status().await {
            Ok(now) => now,
            Err(error) => return Some(self.error(&error, Stage::Inspect)),
        };
        if now.state == InitState::NotFound {
            return None;
        }
        let is_running = now.state == InitState::Running;
        let was_up = before.and_then(|before| before.state).is_some_and(is_up);
        let failed = |message: String| {
            let verdict = self.failed(Outcome::Failed, &now, FailureKind::AbnormalTermination, message);
            let failure = verdict.failure.map(|failure| failure.with_hint(RETRY_HINT));
            Some(InitVerdict { failure, ..verdict })
        };
        let (is_right, message) = if action == Action::Stop {
            (!is_running, "it was to be stopped, and is running".to_owned())
        } else if action == Action::Restart && is_running && was_up {
            let is_another = now.pid.is_some() && before.is_some_and(|before| before.pid != now.pid);
            (is_another, "it is running, but nothing proves that it was restarted".to_owned())
        } else {
            (is_running, format!("it is still not running: {}", now.text))
        };
        if !is_right {
            return failed(message);
        }
        let is_changed = action == Action::Restart || (action == Action::Stop) == was_up;
        let verdict = self.verdict(if is_changed { Outcome::Changed } else { Outcome::Ok }, &now, None);
        let stays = action != Action::Stop && !self.stable.is_zero();
        Some(if stays { self.stay(verdict, context).await } else { verdict })
    }

    /// It has to stay up as the same process for the stable time. Only what init says when that is over ends it: how
    /// long a node may be away meanwhile is bounded by the time for the node.
    async fn stay(&self, first: InitVerdict, context: &TargetContext<'_, T>) -> InitVerdict {
        let since = Instant::now();
        let gate = StableGate::new(context, "running", self.stable);
        gate.start().await;
        loop {
            sleep(POLL).await;
            let is_cut = since.elapsed() < self.stable;
            let is_over = !is_cut || context.waits_no_more();
            let now = match self.status().await {
                Ok(now) => now,
                // The service may carry our connection (a vrouter does): it is read over the next one.
                Err(error) if error.is_connection_lost() => continue,
                Err(error) => return self.error(&error, Stage::Verify),
            };
            // Where init names no pid, its state has to be enough.
            let same = now.pid.is_none() || first.pid.is_none() || now.pid == first.pid;
            if now.state != InitState::Running || !same {
                gate.not_met().await;
                let message = format!("it started but did not stay up: {}", now.text);
                return self.failed(Outcome::Failed, &now, FailureKind::Unstable, message);
            }
            if is_over {
                gate.ended(is_cut).await;
                return if is_cut { InitVerdict { message: CUT.to_owned(), ..first } } else { first };
            }
        }
    }

    async fn status(&self) -> Result<InitStatus, SupervisorError> {
        init_service(self.link, self.name).await?.status().await
    }

    async fn verify(&self, action: Action, before: &InitStatus) -> InitVerdict {
        let mut since = None;
        loop {
            let now = match self.status().await {
                Ok(now) => now,
                // The service may have cut the connection: it is opened again until the time for the node is over.
                Err(error) if error.is_connection_lost() => {
                    sleep(POLL).await;
                    continue;
                }
                Err(error) => return self.error(&error, Stage::Verify),
            };
            // The time counts from the first answer, since the node may be away before it.
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            let down = matches!(now.state, InitState::Stopped | InitState::Failed | InitState::Exited);
            if action == Action::Stop && down {
                return self.verdict(Outcome::Changed, &now, None);
            }
            if action != Action::Stop && now.state == InitState::Running {
                let was_running = matches!(before.state, InitState::Running | InitState::Starting);
                if !was_running || proves_restart(before, &now) {
                    return self.verdict(Outcome::Changed, &now, None);
                }
                // Without a pid and a start time no later reading can prove the restart either.
                if !can_prove(&now) {
                    let message = "init says it is running, but reports neither its pid nor its start time: the restart is not proven";
                    return self.failed(Outcome::Unknown, &now, FailureKind::Protocol, message);
                }
            }
            if waited >= SETTLE || now.state == InitState::Failed {
                let message = match (action, now.state) {
                    (Action::Stop, _) => format!("it still runs after `service {} stop`", self.name),
                    (Action::Restart, InitState::Running) => "it is still the same process".to_owned(),
                    _ => format!("it is not running: {}", now.text),
                };
                return self.failed(Outcome::Failed, &now, FailureKind::AbnormalTermination, message);
            }
            sleep(POLL).await;
        }
    }

    fn verdict(&self, outcome: Outcome, status: &InitStatus, note: Option<&str>) -> InitVerdict {
        let running = status.state == InitState::Running;
        let message = match (self.is_instance && running, status.pid, note) {
            (true, Some(pid), None) => format!("supervisord (pid {pid}) is running..."),
            (true, None, None) => "supervisord is running...".to_owned(),
            (_, _, Some(note)) => note.to_owned(),
            (false, _, None) if running && !self.is_instance => String::new(),
            (_, _, None) => status.text.clone(),
        };
        let state = Some(init::process_state(status.state));
        InitVerdict { outcome, state, pid: status.pid.filter(|_| running), message, failure: None }
    }

    fn failed(
        &self,
        outcome: Outcome,
        status: &InitStatus,
        kind: FailureKind,
        message: impl Into<String>,
    ) -> InitVerdict {
        let failure = Failure::new(Stage::Verify, kind, message)
            .with_hint(format!("look at `service {} status` and the logs on the node", self.name));
        InitVerdict { failure: Some(failure), message: String::new(), ..self.verdict(outcome, status, None) }
    }

    fn error(&self, error: &SupervisorError, stage: Stage) -> InitVerdict {
        let failure = error.failure(stage);
        let outcome = match stage {
            Stage::Inspect => failure.outcome(),
            // It may have been done, and could not be read.
            Stage::Verify => Outcome::Unknown,
            Stage::Plan | Stage::Connect | Stage::Authenticate | Stage::Act => Outcome::Failed,
        };
        InitVerdict { outcome, state: None, pid: None, message: String::new(), failure: Some(failure) }
    }
}

/// Whether an answer to an action says that it was not even tried.
fn was_refused(error: &SupervisorError) -> bool {
    match error {
        SupervisorError::NoAnswer(error) => error.did_not_run(),
        SupervisorError::Sudo(_)
        | SupervisorError::Permission(_)
        | SupervisorError::CommandMissing(_)
        | SupervisorError::Transport(TransportError::CommandRefused { .. }) => true,
        SupervisorError::Transport(_)
        | SupervisorError::Fault { .. }
        | SupervisorError::Down(_)
        | SupervisorError::NoSocket(_)
        | SupervisorError::Protocol(_)
        | SupervisorError::Unsupported(_)
        | SupervisorError::Silent(_) => false,
    }
}

/// Whether a restart may have been cut short between its stop and its start. A service that could not be read may be
/// stopped.
fn is_start_owed(state: Option<ProcessState>) -> bool {
    state.is_none_or(|state| matches!(state, ProcessState::Stopped | ProcessState::Stopping | ProcessState::Unknown))
}

/// Says what becomes of a service that a restart may have left stopped.
fn left_open(failure: &mut Failure, is_guarded: bool) {
    if is_guarded {
        failure.message.push_str("; the guard on the node starts it if it was stopped");
    } else {
        failure.hint =
            Some("it may still be stopped: start it with `ctl service {service} start -w {node}`".to_owned());
    }
}

fn can_prove(status: &InitStatus) -> bool {
    status.pid.is_some() || status.since.is_some()
}

/// Another main pid, or another start time.
fn proves_restart(before: &InitStatus, now: &InitStatus) -> bool {
    (now.pid.is_some() && before.pid.is_some() && now.pid != before.pid)
        || (now.since.is_some() && before.since.is_some() && now.since != before.since)
}
