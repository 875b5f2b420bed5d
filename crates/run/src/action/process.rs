//! One process: start, stop, restart.
//!
//! Here lives [`ProcessAction`]. The proof that a start happened is in `start_proof.rs`. Invariants: the state read
//! afterwards decides, not the reply; an action that may have started is never sent twice; for every stop of a restart
//! that was sent a start is owed, and [`Obligation`] remembers it until it is sent.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::action::obligations::Obligation;
use crate::action::process_target::{OBEYED, Outage, ProcessTarget, StateWatch, time_since};
use crate::action::start_proof::{CASCADE_WINDOW, LOG_HINT, StartProof, StateBefore};
use crate::verdict::{ActionVerdict, RETRY_HINT, is_up};
use ctl_event::{FailureKind, Outcome, ProcessState, Stage, TargetState};
use ctl_plan::Action;
use ctl_supervisor::process::{ProcessReading, ProcessVerb};
use ctl_supervisor::{ProcessInfo, RpcFault, SupervisorError};
use ctl_transport::Transport;

/// What to do where supervisord cannot stop a process that it tries to start.
const BACKOFF_HINT: &str = "supervisord before 3.1.0 cannot stop a process between two attempts to start it: try again, or wait until it gives up (FATAL)";

/// How often the state of a process that is to stop is read.
const POLL: Duration = Duration::from_millis(100);

/// The work on one process.
pub(crate) struct ProcessAction<'a, T: Transport> {
    pub(crate) target: ProcessTarget<'a, T>,
    /// How long it has to stay up.
    pub(crate) stable: Duration,
    /// Its state before a controller that is gone started to work on it.
    pub(crate) before: Option<&'a TargetState>,
}

impl<T: Transport> ProcessAction<'_, T> {
    pub(crate) async fn start(&self) -> ActionVerdict {
        let look = match self.read_before().await {
            Ok(look) => look,
            Err(verdict) => return *verdict,
        };
        match look.process.state {
            ProcessState::Running => return ActionVerdict::good(Outcome::Ok, look.process, "already running"),
            ProcessState::Backoff => {
                // A start would only meet supervisord's own attempts.
                let message = format!(
                    "supervisord is already trying to start it, but it does not come up: {}",
                    look.process.description
                );
                return ActionVerdict::failed(
                    Some(look.process),
                    Stage::Act,
                    FailureKind::AbnormalTermination,
                    message,
                )
                .hinted(LOG_HINT);
            }
            ProcessState::Starting => {
                let verdict = self.verify(StateBefore { look, note: None }).await;
                // It was on its way before us: whatever the proof says, nothing was changed by this run.
                return ActionVerdict {
                    outcome: if verdict.outcome == Outcome::Changed { Outcome::Ok } else { verdict.outcome },
                    ..verdict
                };
            }
            ProcessState::Stopping => {
                // supervisord takes no start before the stop is over.
                if let Err(verdict) = self.until_stopped(&look, false).await {
                    return *verdict;
                }
            }
            ProcessState::Stopped | ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown => {}
        }
        // Recorded before it is sent: should the run end in between, the result is `unknown`, never `not_started`.
        if let Err(verdict) = self.set_obligation(Obligation::Sent).await {
            return *verdict;
        }
        let note = self.target.send_start().await.err();
        self.verify(StateBefore { look, note }).await
    }

    pub(crate) async fn stop(&self) -> ActionVerdict {
        let look = match self.read_before().await {
            Ok(look) => look,
            Err(verdict) => return *verdict,
        };
        match look.process.state {
            ProcessState::Stopped | ProcessState::Exited | ProcessState::Fatal => {
                return ActionVerdict::good(Outcome::Ok, look.process, "not running");
            }
            // supervisord stops only processes that it knows to be running.
            ProcessState::Unknown => {
                let message = format!("cannot stop it in an unknown state: {}", look.process.description);
                return ActionVerdict::failed(Some(look.process), Stage::Act, FailureKind::Protocol, message)
                    .hinted("look at the process on the node");
            }
            ProcessState::Running | ProcessState::Starting | ProcessState::Backoff | ProcessState::Stopping => {}
        }
        if let Err(verdict) = self.set_obligation(Obligation::Sent).await {
            return *verdict;
        }
        // A stop that is under way is not sent a second time, it is only watched to its end.
        let note =
            if look.process.state == ProcessState::Stopping { None } else { self.target.send_stop().await.err() };
        match self.until_stopped(&look, note.is_some()).await {
            Ok(now) if is_up(now.process.state) => self.restarted_by_others(&look, now, note.as_ref()),
            Ok(now) if self.target.instance.cascades(&self.target.listed.group) => self.watch_stopped(&look, now).await,
            Ok(now) => ActionVerdict::good(Outcome::Changed, now.process, ""),
            Err(verdict) => *verdict,
        }
    }

    pub(crate) async fn restart(&self) -> ActionVerdict {
        let look = match self.read_before().await {
            Ok(look) => look,
            Err(verdict) => return *verdict,
        };
        if let Some(before) = self.before.map(|before| as_recorded(before, &look.process))
            && is_up(look.process.state)
            && (look.process.is_another_than(&before) || !is_up(before.state))
        {
            // The controller that is gone, or its guard, has restarted it: a second restart would be one too many, and
            // only the proof is missing.
            let before = ProcessReading { supervisor_pid: None, process: before };
            return self.verify(StateBefore { look: before, note: None }).await;
        }
        if self.target.instance.was_restarted(&look) {
            // The stop of another program of the instance has restarted this one with it. It is another process than
            // when the node was read, so the requested restart is done.
            let before = ProcessReading {
                supervisor_pid: self.target.instance.snapshot.pid,
                process: self.target.listed.clone(),
            };
            return self.verify(StateBefore { look: before, note: None }).await;
        }
        // From here on the guard starts the process if we cannot. It is armed before the stop is sent, so at no moment is
        // the process stopped with nobody to start it; without a guard nothing is sent.
        if let Err(verdict) = self.set_obligation(Obligation::MustStart).await {
            return *verdict;
        }
        if self.target.instance.capabilities().restarts {
            // One command for both: what stops it also starts it again, also if we lose the connection meanwhile.
            let sent = self.target.send(ProcessVerb::Restart).await;
            return self.restarted(look, sent.err()).await;
        }
        if is_up(look.process.state) || look.process.state == ProcessState::Stopping {
            let note =
                if look.process.state == ProcessState::Stopping { None } else { self.target.send_stop().await.err() };
            match self.until_stopped(&look, note.is_some()).await {
                Ok(now) if is_up(now.process.state) => {
                    // Somebody else started it again (a node manager), or the stop was never obeyed. Either way the proof
                    // decides, and a start sent to a process that is up would be refused.
                    return self.verify(StateBefore { look, note }).await;
                }
                Ok(_) => {}
                // The start stays owed: `change.rs` sends it, and the guard if that does not work either.
                Err(verdict) => return *verdict,
            }
        }
        let sent = self.target.send_start().await;
        self.restarted(look, sent.err()).await
    }

    async fn verify(&self, before: StateBefore) -> ActionVerdict {
        StartProof::new(&self.target, self.stable, before).wait().await
    }

    /// The proof of an action that an earlier part of the run has sent: the process is read, and nothing is sent.
    pub(crate) async fn recheck(&self, action: Action) -> ActionVerdict {
        let now = match self.target.look().await {
            Ok(look) => look.process,
            Err(error) => return ActionVerdict::error(&error, Stage::Inspect),
        };
        let before = self.before.map(|before| as_recorded(before, &now));
        let was_up = before.as_ref().is_none_or(|before| is_up(before.state));
        if action == Action::Stop {
            let outcome = if was_up { Outcome::Changed } else { Outcome::Ok };
            return if is_up(now.state) || now.state == ProcessState::Stopping {
                let message = format!("it was to be stopped, and is {}", now.state);
                ActionVerdict::failed(Some(now), Stage::Verify, FailureKind::Protocol, message).hinted(RETRY_HINT)
            } else {
                ActionVerdict::good(outcome, now, "")
            };
        }
        if !is_up(now.state) && now.state != ProcessState::Exited {
            let kind =
                if now.state == ProcessState::Fatal { FailureKind::Fatal } else { FailureKind::AbnormalTermination };
            // The description of a stopped process is a date.
            let why = if now.state == ProcessState::Stopped { String::new() } else { format!(": {}", now.description) };
            let message = format!("it is still {}{why}", now.state);
            return ActionVerdict::failed(Some(now), Stage::Verify, kind, message).hinted(RETRY_HINT);
        }
        match before {
            Some(before) if action == Action::Restart => {
                // The process of before proves that nothing was restarted, by any controller.
                if is_up(before.state) && is_up(now.state) && !now.is_another_than(&before) {
                    let message = "it is running, but was not restarted";
                    return ActionVerdict::failed(Some(now), Stage::Verify, FailureKind::Protocol, message)
                        .hinted(RETRY_HINT);
                }
                let look = ProcessReading { supervisor_pid: None, process: before };
                self.verify(StateBefore { look, note: None }).await.hinted(RETRY_HINT)
            }
            None if action == Action::Restart => {
                let message = "its process before the restart is not known, so the restart is not proven";
                ActionVerdict::failed(Some(now), Stage::Verify, FailureKind::Protocol, message).hinted(RETRY_HINT)
            }
            before => {
                let verdict = self.verify_started().await.hinted(RETRY_HINT);
                let was_up = before.is_some_and(|before| is_up(before.state));
                let is_changed = verdict.outcome == Outcome::Changed && !was_up;
                let outcome = if verdict.outcome.is_bad() || is_changed { verdict.outcome } else { Outcome::Ok };
                ActionVerdict { outcome, ..verdict }
            }
        }
    }

    /// Waits for the proof of a start that was made in another way.
    pub(crate) async fn verify_started(&self) -> ActionVerdict {
        StartProof::of_started(&self.target, self.stable).wait().await
    }

    /// After a restart was sent: the start, if the connection was lost before it could be, then the proof.
    async fn restarted(&self, look: ProcessReading, note: Option<SupervisorError>) -> ActionVerdict {
        let verdict = self.verify(StateBefore { look, note }).await;
        // The guard is disarmed only once the process is known not to be STOPPED any more. A program that cannot be
        // spawned was tried, and will not come up by being tried again.
        let tried = verdict.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::SpawnError);
        let settled = verdict.process.as_ref().is_some_and(|process| process.state != ProcessState::Stopped);
        if (settled || tried)
            && let Err(unsettled) = self.set_obligation(Obligation::Sent).await
        {
            return *unsettled;
        }
        verdict
    }

    /// Sets the obligation from now on; a verdict if it cannot be set, and then nothing may be sent.
    async fn set_obligation(&self, obligation: Obligation) -> Result<(), Box<ActionVerdict>> {
        let rescue = (obligation == Obligation::MustStart)
            .then(|| self.target.instance.rescue(&self.target.listed.group, &self.target.listed.name))
            .flatten();
        self.target.context.set_obligation(obligation, rescue).await.map_err(|failure| {
            let (process, message) = (Some(self.target.listed.clone()), String::new());
            Box::new(ActionVerdict { outcome: Outcome::Failed, process, message, failure: Some(failure) })
        })
    }

    /// The state before anything is done: read anew, since other work may have come between.
    async fn read_before(&self) -> Result<ProcessReading, Box<ActionVerdict>> {
        if self.target.instance.capabilities().acts_on_programs {
            // The action may have been sent for a sibling already, so a reading now could show its effect: the state
            // before is the one that was listed.
            return Ok(ProcessReading { supervisor_pid: None, process: self.target.listed.clone() });
        }
        self.target.look().await.map_err(|error| Box::new(ActionVerdict::error(&error, Stage::Inspect)))
    }

    /// Waits until the process is neither up nor stopping. Also ends when it is up as another process, or, if the
    /// reply to the stop was lost (`doubtful`), when it is simply still up.
    async fn until_stopped(
        &self,
        before: &ProcessReading,
        doubtful: bool,
    ) -> Result<ProcessReading, Box<ActionVerdict>> {
        let mut away = Outage::default();
        let mut seen = StateWatch::default();
        let mut answering = None;
        loop {
            match self.target.look().await {
                Ok(now) => {
                    away = Outage::default();
                    let waited = time_since(&mut answering);
                    let another =
                        now.process.is_another_than(&before.process) || now.supervisor_pid != before.supervisor_pid;
                    // A stop whose answer was lost may never have arrived. The same process after this time is taken for
                    // that; the stop is not sent again, since it may yet be obeyed.
                    let still_up = is_up(now.process.state) && !another && (!doubtful || waited < OBEYED);
                    if now.process.state != ProcessState::Stopping && !still_up {
                        return Ok(now);
                    }
                    self.target.show_state(now.process.state, &mut seen).await;
                }
                Err(error) => {
                    // The stop may have cut the connection or restarted the supervisord. The time for the node bounds this.
                    away.tolerate(&error, Duration::MAX)?;
                    // A supervisord that is away obeys nothing: the time counts from its next answer.
                    answering = None;
                }
            }
            sleep(POLL).await;
        }
    }

    /// A stop that did not last.
    fn restarted_by_others(
        &self,
        before: &ProcessReading,
        now: ProcessReading,
        note: Option<&SupervisorError>,
    ) -> ActionVerdict {
        // Before 3.1.0, supervisord refuses to stop a process in BACKOFF (process.py, kill), and its next attempt is another
        // process.
        let is_refused = matches!(note, Some(SupervisorError::Fault { fault: RpcFault::Failed, .. }));
        // The same process is still there, so the stop was never obeyed.
        if is_refused || !now.process.is_another_than(&before.process) {
            let (kind, said) = note.map_or((FailureKind::Protocol, String::new()), |note| {
                (note.failure(Stage::Act).kind, format!(": {note}"))
            });
            let verdict =
                ActionVerdict::failed(Some(now.process), Stage::Verify, kind, format!("it was not stopped{said}"));
            return if is_refused { verdict.hinted(BACKOFF_HINT) } else { verdict };
        }
        let message = "it was stopped, but something on the node started it again";
        let verdict = ActionVerdict::failed(Some(now.process), Stage::Verify, FailureKind::Unstable, message);
        if self.target.instance.cascades(&self.target.listed.group) {
            let instance = &self.target.instance.supervisor.name;
            return verdict.hinted(format!(
                "Contrail's node manager restarts {instance} when this program stops; to keep it down, stop {instance}"
            ));
        }
        verdict
    }

    /// A stopped program whose node manager may start it again: it has to stay down for a while.
    async fn watch_stopped(&self, before: &ProcessReading, first: ProcessReading) -> ActionVerdict {
        let end = Instant::now() + CASCADE_WINDOW;
        let mut last = first;
        let mut away = Outage::default();
        loop {
            sleep(POLL).await;
            match self.target.look().await {
                Ok(now) if is_up(now.process.state) => return self.restarted_by_others(before, now, None),
                // Only under the supervisord that obeyed the stop: another one has yet to start the programs with
                // `autostart`.
                Ok(now) if Instant::now() >= end && now.supervisor_pid == before.supervisor_pid => {
                    return ActionVerdict::good(Outcome::Changed, now.process, "");
                }
                Ok(now) => {
                    away = Outage::default();
                    last = now;
                }
                Err(error) => {
                    if let Err(verdict) = away.tolerate(&error, Duration::MAX) {
                        return ActionVerdict { process: Some(last.process), ..*verdict };
                    }
                }
            }
        }
    }
}

/// A process as it was recorded before it was touched.
fn as_recorded(before: &TargetState, now: &ProcessInfo) -> ProcessInfo {
    ProcessInfo {
        group: now.group.clone(),
        name: now.name.clone(),
        state: before.state.unwrap_or(ProcessState::Unknown),
        pid: before.pid,
        start: before.start,
        uptime: None,
        exited_as_expected: None,
        description: String::new(),
    }
}
