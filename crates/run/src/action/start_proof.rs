//! The proof of a start: RUNNING as another process than before, and staying so.
//!
//! Here lives [`StartProof`], a small state machine over readings of the process. Invariants: the readings decide,
//! never an answer; a start is sent again only where it cannot have been heard; the wait ends, at the latest with the
//! time for the node, which may drop it at any point. Start reading at [`StartProof::wait`].

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::action::process_target::{OBEYED, Outage, ProcessTarget, StateWatch, time_since};
use crate::gate::stable::{CUT, StableGate};
use crate::node::oneshot::{self, OneshotEnd, ProgramPurpose};
use crate::verdict::{ActionVerdict, is_up};
use ctl_event::{FailureKind, Outcome, ProcessState, Stage};
use ctl_supervisor::process::ProcessReading;
use ctl_supervisor::{ProcessInfo, RpcFault, SupervisorError};
use ctl_transport::Transport;

/// How often the state of the process is read.
const POLL: Duration = Duration::from_millis(100);

/// How long a supervisord may not answer: its own restart stops every program first.
const AWAY: Duration = Duration::from_secs(15);

/// How long a process may stay down while a node manager restarts its whole instance, which first stops every program.
const INSTANCE_RESTART: Duration = Duration::from_secs(10);

/// How often a start that was not heard is sent again to a process that is STOPPED.
const RESENDS: u32 = 20;

/// How long supervisord's own further attempts may take: by default it makes three, after 1, 2 and 3 s.
const RETRIES: Duration = Duration::from_secs(10);

/// How long a program whose stop restarts its whole instance is watched: its node manager acts after it.
pub(crate) const CASCADE_WINDOW: Duration = Duration::from_secs(2);

/// The state of the process and its supervisord before, and the error that answered the action, if one did.
pub(crate) struct StateBefore {
    pub(crate) look: ProcessReading,
    pub(crate) note: Option<SupervisorError>,
}

/// The wait for the proof.
pub(crate) struct StartProof<'a, T: Transport> {
    target: &'a ProcessTarget<'a, T>,
    gate: StableGate<'a, T>,
    before: ProcessReading,
    was_up: bool,
    /// The last answer to a request, if it was an error.
    note: Option<SupervisorError>,
    /// Whether a node manager may restart the whole instance meanwhile.
    cascades: bool,
    /// The shortest time to be up that proves anything.
    shortest: Duration,
    away: Outage,
    seen: StateWatch,
    /// The process that is RUNNING, and since when.
    stable: Option<(Instant, ProcessReading)>,
    /// Since when supervisord makes attempts of its own.
    retrying: Option<Instant>,
    resent: u32,
    /// Since when the supervisord answers, and the last start was sent.
    answering: Option<Instant>,
    purpose: Option<ProgramPurpose>,
}

/// How a reading ends the wait: with a verdict, or not yet.
type Judged = ControlFlow<ActionVerdict>;

impl<'a, T: Transport> StartProof<'a, T> {
    /// Of a process that has to stay up for `stable`.
    pub(crate) fn new(target: &'a ProcessTarget<'a, T>, stable: Duration, before: StateBefore) -> Self {
        let StateBefore { look: before, note } = before;
        let is_cascading = target.instance.cascades(&target.listed.group);
        Self {
            target,
            gate: StableGate::new(target.context, "RUNNING", stable),
            was_up: is_up(before.process.state),
            before,
            note,
            // Its own stop, or that of another program of the instance, may make a node manager restart it all.
            cascades: target.instance.may_be_restarted(),
            shortest: if is_cascading { CASCADE_WINDOW } else { Duration::ZERO },
            away: Outage::default(),
            seen: StateWatch::default(),
            stable: None,
            retrying: None,
            resent: 0,
            answering: None,
            purpose: None,
        }
    }

    /// The same for a process that was started in another way, and was as good as STOPPED before.
    pub(crate) fn of_started(target: &'a ProcessTarget<'a, T>, stable: Duration) -> Self {
        let process = ProcessInfo { state: ProcessState::Stopped, pid: None, start: None, ..target.listed.clone() };
        let look = ProcessReading { supervisor_pid: None, process };
        Self::new(target, stable, StateBefore { look, note: None })
    }

    /// Waits for the proof.
    pub(crate) async fn wait(mut self) -> ActionVerdict {
        loop {
            match self.target.look().await {
                Ok(now) => {
                    self.away = Outage::default();
                    let waited = time_since(&mut self.answering);
                    if let ControlFlow::Break(verdict) = self.judge(now, waited).await {
                        return verdict;
                    }
                }
                Err(error) => {
                    // Where a node manager restarts the instance, its supervisord is away for as long as that takes.
                    let patience = if self.cascades { Duration::MAX } else { AWAY };
                    if let Err(verdict) = self.away.tolerate(&error, patience) {
                        return *verdict;
                    }
                    // The work that an instance still has once it is back takes its full time, however long it was
                    // away.
                    self.answering = None;
                }
            }
            sleep(POLL).await;
        }
    }

    /// Judges one reading. The arms are tried in order, and each later one relies on those before it.
    async fn judge(&mut self, now: ProcessReading, waited: Duration) -> Judged {
        let process = now.process.clone();
        self.target.show_state(process.state, &mut self.seen).await;
        match process.state {
            ProcessState::Running if self.was_up && !is_new(&process, &self.before.process, self.note.as_ref()) => {
                // The same process still. The request may not have been obeyed yet, so a single reading proves nothing;
                // after this time it was not obeyed, and nothing is sent again to a process that is up.
                if waited >= OBEYED {
                    ControlFlow::Break(self.not_restarted(process))
                } else {
                    ControlFlow::Continue(())
                }
            }
            ProcessState::Running => self.running(now).await,
            // It is on its way, and the next readings decide.
            ProcessState::Starting | ProcessState::Stopping => ControlFlow::Continue(()),
            ProcessState::Stopped if self.resent < RESENDS && self.note.as_ref().is_some_and(was_not_heard) => {
                // The stop is done, and the start was never heard: it is owed, and cannot be under way, since the
                // process is STOPPED. Sending it again therefore starts nothing twice.
                self.resent += 1;
                self.note = self.target.send_start().await.err();
                self.answering = None;
                ControlFlow::Continue(())
            }
            // A node manager may be in the middle of restarting the instance.
            ProcessState::Stopped if self.cascades && waited < INSTANCE_RESTART => ControlFlow::Continue(()),
            ProcessState::Backoff if self.stable.is_none() && !is_spawn_error(&process, self.note.as_ref()) => {
                // supervisord tries again by itself. An attempt of ours would only meet its own.
                if self.retrying.get_or_insert_with(Instant::now).elapsed() >= RETRIES {
                    return ControlFlow::Break(did_not_come_up(process, self.note.as_ref(), false));
                }
                ControlFlow::Continue(())
            }
            // A program that is made to end may have ended already.
            ProcessState::Exited if self.is_spawned_anew(&process) => {
                ControlFlow::Break(match oneshot::end_of(self.target.instance, &process).await {
                    Some(end) => ended(process, end),
                    None => did_not_come_up(process, self.note.as_ref(), self.stable.is_some()),
                })
            }
            ProcessState::Stopped
            | ProcessState::Exited
            | ProcessState::Backoff
            | ProcessState::Fatal
            | ProcessState::Unknown => {
                // A node manager that restarts the instance first stops everything, so a process that was up may be
                // down for a while and come up again.
                if self.cascades && self.stable.is_some() && waited < INSTANCE_RESTART {
                    return ControlFlow::Continue(());
                }
                ControlFlow::Break(did_not_come_up(process, self.note.as_ref(), self.stable.is_some()))
            }
        }
    }

    /// Judges a process that is RUNNING and is another than before: it has to stay so for its window.
    async fn running(&mut self, now: ProcessReading) -> Judged {
        let process = now.process.clone();
        let since = match &self.stable {
            // Still the same process, so its window continues.
            Some((since, first)) if !process.is_another_than(&first.process) => *since,
            Some((_, first)) if first.supervisor_pid == now.supervisor_pid => {
                let message = "it came up, but was then replaced by another process";
                let verdict = ActionVerdict::failed(Some(process), Stage::Verify, FailureKind::Unstable, message);
                return ControlFlow::Break(verdict.hinted(LOG_HINT));
            }
            // The first of it, or another supervisord: a whole instance was restarted, and the window starts anew.
            _ => Instant::now(),
        };
        let window = self.window(&process).await;
        if since.elapsed() >= window {
            let is_cut = since.elapsed() < self.gate.time;
            self.gate.ended(is_cut).await;
            let message = self.how_it_came_up(&now);
            let message = if is_cut && message.is_empty() { CUT.to_owned() } else { message };
            return ControlFlow::Break(ActionVerdict::good(Outcome::Changed, process, message));
        }
        self.stable = Some((since, now));
        self.gate.show(&self.target.listed.full_name(), since.elapsed()).await;
        ControlFlow::Continue(())
    }

    /// For how long a process that is RUNNING has to stay so.
    async fn window(&mut self, process: &ProcessInfo) -> Duration {
        let purpose = match self.purpose {
            Some(purpose) => purpose,
            // Found out once: it is a matter of configuration, and asking costs a call.
            None => *self.purpose.insert(oneshot::made_to_end(self.target.instance, process).await),
        };
        match purpose {
            // A signal ends the waiting at gates. What proves the restart is waited for anyway.
            _ if self.target.context.waits_no_more() => self.shortest,
            ProgramPurpose::ToStay => self.shortest.max(self.gate.time),
            ProgramPurpose::MaybeToEnd => self.shortest.max(self.gate.time).max(oneshot::SETTLE),
            // Its work is done when it has ended.
            ProgramPurpose::ToEnd => Duration::MAX,
        }
    }

    fn how_it_came_up(&self, now: &ProcessReading) -> String {
        let (before, after) = (self.before.supervisor_pid, now.supervisor_pid);
        let instance_restarted = before.is_some() && after.is_some() && before != after;
        match (instance_restarted, self.retrying) {
            (true, _) => format!("the instance {} was restarted", self.target.instance.supervisor.name),
            (false, Some(_)) => "it did not come up at the first attempt".to_owned(),
            (false, None) => String::new(),
        }
    }

    /// Whether a process that has EXITED is another than before, or was spawned by this run. The reply does not show
    /// how it ended: of a program that ends at once supervisord reports whatever it sees first.
    fn is_spawned_anew(&self, now: &ProcessInfo) -> bool {
        let spawned = match &self.note {
            None => true,
            Some(SupervisorError::Fault { fault, .. }) => {
                matches!(fault, RpcFault::AbnormalTermination | RpcFault::SpawnError)
            }
            Some(_) => false,
        };
        spawned || now.is_another_than(&self.before.process)
    }

    fn not_restarted(&self, process: ProcessInfo) -> ActionVerdict {
        let kind = self.note.as_ref().map_or(FailureKind::Protocol, |note| note.failure(Stage::Act).kind);
        let said = self.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        ActionVerdict::failed(Some(process), Stage::Verify, kind, format!("it is still the same process{said}"))
    }
}

/// Where a program itself says why it is not up.
pub(crate) const LOG_HINT: &str = "look at its log: `ctl logs {service} --stderr -w {node}`";

/// The verdict on a program that is made to end, and has.
fn ended(process: ProcessInfo, end: OneshotEnd) -> ActionVerdict {
    let how = end.words.map(|words| format!(" ({words})")).unwrap_or_default();
    match end.as_expected {
        Some(true) => ActionVerdict::good(Outcome::Changed, process, ""),
        Some(false) => {
            let message = format!("it exited unexpectedly{how}");
            ActionVerdict::failed(Some(process), Stage::Verify, FailureKind::AbnormalTermination, message)
                .hinted(LOG_HINT)
        }
        None => {
            let message = "it was started and has exited; supervisord does not report how";
            let verdict = ActionVerdict::failed(Some(process), Stage::Verify, FailureKind::Protocol, message);
            ActionVerdict { outcome: Outcome::Unknown, ..verdict }.hinted(LOG_HINT)
        }
    }
}

fn did_not_come_up(process: ProcessInfo, note: Option<&SupervisorError>, was_up: bool) -> ActionVerdict {
    // The description of a stopped process is a date.
    let stopped = matches!(process.state, ProcessState::Stopped | ProcessState::Exited);
    let said = match (&process.description, note) {
        (words, _) if !words.is_empty() && !stopped => words.clone(),
        (_, Some(note)) => note.to_string(),
        (words, None) if !words.is_empty() => words.clone(),
        (_, None) => "supervisord gives no reason".to_owned(),
    };
    let (kind, message) = match process.state {
        _ if is_spawn_error(&process, note) => (FailureKind::SpawnError, format!("it could not be spawned: {said}")),
        ProcessState::Fatal => (FailureKind::Fatal, format!("supervisord gave up starting it: {said}")),
        ProcessState::Exited => (FailureKind::Unstable, format!("it started and exited: {said}")),
        _ if was_up => (FailureKind::Unstable, format!("it started but did not stay up: {said}")),
        ProcessState::Backoff => (FailureKind::AbnormalTermination, format!("it keeps exiting during startup: {said}")),
        state @ (ProcessState::Stopped
        | ProcessState::Starting
        | ProcessState::Running
        | ProcessState::Stopping
        | ProcessState::Unknown) => match note.and_then(fault_of).and_then(RpcFault::kind) {
            Some(kind) => (kind, said),
            None => (FailureKind::AbnormalTermination, format!("it is {state} after the start: {said}")),
        },
    };
    let hint = if process.state == ProcessState::Exited {
        "look at its log: `ctl logs {service} --stderr -w {node}`; if it is meant to exit, say so in the inventory: `roles: {{role}: {oneshot: [{service}]}}`"
    } else {
        LOG_HINT
    };
    ActionVerdict::failed(Some(process), Stage::Verify, kind, message).hinted(hint)
}

/// Whether a process is another than before. Where neither pid nor start time is known of the one before
/// (`supervisorctl` reports none of one that is STARTING), an answer without an error has to do.
fn is_new(now: &ProcessInfo, before: &ProcessInfo, note: Option<&SupervisorError>) -> bool {
    now.is_another_than(before) || (before.pid.is_none() && before.start.is_none() && note.is_none())
}

fn fault_of(error: &SupervisorError) -> Option<RpcFault> {
    if let SupervisorError::Fault { fault, .. } = error { Some(*fault) } else { None }
}

/// Whether an answer says that the request did not reach supervisord, or leaves it open.
fn was_not_heard(error: &SupervisorError) -> bool {
    match error {
        SupervisorError::Transport(_)
        | SupervisorError::Down(_)
        | SupervisorError::NoSocket(_)
        | SupervisorError::Protocol(_)
        | SupervisorError::NoAnswer(_)
        | SupervisorError::Silent(_) => true,
        SupervisorError::Fault { .. }
        | SupervisorError::Permission(_)
        | SupervisorError::Sudo(_)
        | SupervisorError::CommandMissing(_)
        | SupervisorError::Unsupported(_) => false,
    }
}

/// Whether the program never ran at all. supervisord answers SPAWN_ERROR also for one that ended too early, and the two
/// differ only in its words (supervisor 3.0 to 4.2.5, `process.py`, `finish`).
fn is_spawn_error(process: &ProcessInfo, note: Option<&SupervisorError>) -> bool {
    match note.and_then(fault_of) {
        Some(RpcFault::NoFile | RpcFault::NotExecutable) => true,
        Some(RpcFault::SpawnError) => !process.description.starts_with("Exited too quickly"),
        _ => false,
    }
}
