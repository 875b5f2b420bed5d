//! One process: start, stop, restart, and the proof that it happened.
//!
//! What always holds: the state read afterwards decides, not the reply; an action that may have started is never
//! sent twice; a start is owed for every stop that was sent, and [`Obligation`] remembers it until it is paid.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::connection::LiveInstance;
use super::job::TargetContext;
use super::oneshot::{self, OneshotEnd, ProgramPurpose};
use crate::event::{ActivityPhase, Failure, FailureKind, Outcome, PhaseKind, ProcessState, Stage, TargetState};
use crate::supervisor::process::{ProcessReading, ProcessVerb};
use crate::supervisor::{ProcessInfo, RpcFault, SupervisorError};
use crate::transport::Transport;

/// How often a state that is on its way is read.
const POLL: Duration = Duration::from_millis(100);

/// How often the state is read while an action's answer is waited for.
const WATCH: Duration = Duration::from_secs(1);

/// How long a supervisord may be away before the wait for it is given up: its own restart stops every program first.
const AWAY: Duration = Duration::from_secs(15);

/// How long a process may stay as it was before a request without a reply counts as not obeyed.
const OBEYED: Duration = Duration::from_secs(1);

/// How long a process may stay down while a node manager restarts its whole instance, which first stops every program.
const INSTANCE_RESTART: Duration = Duration::from_secs(10);

/// How often a start that was not heard is sent again to a process that is STOPPED.
const RESENDS: u32 = 20;

/// How long supervisord's own further attempts are waited for: by default it makes three, after 1, 2 and 3 s.
const RETRIES: Duration = Duration::from_secs(10);

/// How long a program whose stop restarts its whole instance is watched: its node manager acts after it.
const CASCADE_WINDOW: Duration = Duration::from_secs(2);

/// What became of a target, without its names.
#[derive(Debug, Clone)]
pub(super) struct ActionVerdict {
    pub(super) outcome: Outcome,
    pub(super) process: Option<ProcessInfo>,
    pub(super) message: String,
    pub(super) failure: Option<Failure>,
}

impl ActionVerdict {
    fn good(outcome: Outcome, process: ProcessInfo, message: impl Into<String>) -> Self {
        Self { outcome, process: Some(process), message: message.into(), failure: None }
    }

    fn failed(process: Option<ProcessInfo>, stage: Stage, kind: FailureKind, message: impl Into<String>) -> Self {
        let failure = Some(Failure::new(stage, kind, message));
        Self { outcome: Outcome::Failed, process, message: String::new(), failure }
    }

    pub(super) fn error(error: &SupervisorError, stage: Stage) -> Self {
        let failure = error.failure(stage);
        let unread = failure.outcome();
        // Past the first reading, something may have been sent.
        let outcome = if unread == Outcome::Unreachable && stage != Stage::Inspect { Outcome::Failed } else { unread };
        Self { outcome, process: None, message: String::new(), failure: Some(failure) }
    }

    /// Whether the work ended badly, and the process is not known to be up.
    pub(super) fn leaves_it_down(&self) -> bool {
        let down = |process: &ProcessInfo| matches!(process.state, ProcessState::Stopped | ProcessState::Stopping);
        self.outcome.is_bad() && self.process.as_ref().is_none_or(down)
    }

    /// What was done by a controller that is gone is done, though nothing was left to do.
    pub(super) fn was_begun(&mut self, before: Option<&TargetState>) {
        let differs = before.is_some_and(|before| {
            let now = self.process.as_ref().map(|process| process.state);
            before.state.is_some_and(is_up) != now.is_some_and(is_up)
        });
        if self.outcome == Outcome::Ok && differs {
            self.outcome = Outcome::Changed;
        }
    }

    /// Notes what was seen when the start that was owed was sent after all.
    pub(super) fn was_mended(&mut self, seen: Option<ProcessInfo>, paid: bool) {
        if let Some(failure) = &mut self.failure {
            if paid {
                failure.message.push_str("; the start was sent again");
            } else {
                failure.hint = Some("it may still be stopped: start it, and check the node".to_owned());
            }
        }
        self.process = seen.or(self.process.take());
    }

    pub(super) fn hinted(mut self, hint: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.hint = Some(hint.into());
        }
        self
    }
}

/// What this run owes a target, should the work on it end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Obligation {
    /// Nothing was sent.
    #[default]
    None,
    /// Something was sent; nothing is owed.
    Sent,
    /// A stop was sent that a start must follow.
    MustStart,
}

/// The work on one process.
pub(super) struct ProcessAction<'a, T: Transport> {
    pub(super) instance: &'a LiveInstance<T>,
    /// As listed when the node was first asked.
    pub(super) listed: &'a ProcessInfo,
    /// Informed before anything is sent.
    pub(super) context: &'a TargetContext<'a, T>,
    /// How long it has to stay up.
    pub(super) stable: Duration,
    /// What it was before a controller that is gone began with it.
    pub(super) begun: Option<&'a TargetState>,
}

/// What the process and its supervisord were before, and what was said on the way.
struct StateBefore {
    look: ProcessReading,
    note: Option<SupervisorError>,
}

impl<T: Transport> ProcessAction<'_, T> {
    pub(super) async fn start(&self) -> ActionVerdict {
        let look = match self.read_before().await {
            Ok(look) => look,
            Err(verdict) => return *verdict,
        };
        match look.process.state {
            ProcessState::Running => return ActionVerdict::good(Outcome::Ok, look.process, "already running"),
            ProcessState::Backoff => {
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
                .hinted("look at its log: `ctl logs {service} --stderr -w {node}`");
            }
            ProcessState::Starting => {
                let verdict = self.verify(StateBefore { look, note: None }).await;
                // It was on its way before us.
                return ActionVerdict {
                    outcome: if verdict.outcome == Outcome::Changed { Outcome::Ok } else { verdict.outcome },
                    ..verdict
                };
            }
            ProcessState::Stopping => {
                if let Err(verdict) = self.until_stopped(&look, false).await {
                    return *verdict;
                }
            }
            ProcessState::Stopped | ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown => {}
        }
        if let Err(verdict) = self.set_obligation(Obligation::Sent).await {
            return *verdict;
        }
        let note = self.send_start().await.err();
        self.verify(StateBefore { look, note }).await
    }

    pub(super) async fn stop(&self) -> ActionVerdict {
        let look = match self.read_before().await {
            Ok(look) => look,
            Err(verdict) => return *verdict,
        };
        match look.process.state {
            ProcessState::Stopped | ProcessState::Exited | ProcessState::Fatal => {
                return ActionVerdict::good(Outcome::Ok, look.process, "not running");
            }
            // supervisord stops only what it knows to run.
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
        let note = if look.process.state == ProcessState::Stopping { None } else { self.send_stop().await.err() };
        match self.until_stopped(&look, note.is_some()).await {
            Ok(now) if is_up(now.process.state) => self.restarted_by_others(&look, now, note.as_ref()),
            Ok(now) if self.instance.cascades(&self.listed.group) => self.watch_stopped(&look, now).await,
            Ok(now) => ActionVerdict::good(Outcome::Changed, now.process, ""),
            Err(verdict) => *verdict,
        }
    }

    pub(super) async fn restart(&self) -> ActionVerdict {
        let look = match self.read_before().await {
            Ok(look) => look,
            Err(verdict) => return *verdict,
        };
        if let Some(before) = self.begun.map(|before| as_recorded(before, &look.process))
            && is_up(look.process.state)
            && (look.process.is_another_than(&before) || !is_up(before.state))
        {
            // The controller that is gone, or its guard, has done it: only the proof is missing.
            let before = ProcessReading { supervisor_pid: None, process: before };
            return self.verify(StateBefore { look: before, note: None }).await;
        }
        if self.instance.was_restarted(&look) {
            // The stop of another program of the instance has restarted this one with it: once is enough.
            let before = ProcessReading { supervisor_pid: self.instance.snapshot.pid, process: self.listed.clone() };
            return self.verify(StateBefore { look: before, note: None }).await;
        }
        if let Err(verdict) = self.set_obligation(Obligation::MustStart).await {
            return *verdict;
        }
        if self.instance.capabilities().restarts {
            // One command for both: what stops it also starts it again, whatever becomes of us.
            let sent = self.send(ProcessVerb::Restart).await;
            return self.restarted(look, sent.err()).await;
        }
        if is_up(look.process.state) || look.process.state == ProcessState::Stopping {
            let note = if look.process.state == ProcessState::Stopping { None } else { self.send_stop().await.err() };
            match self.until_stopped(&look, note.is_some()).await {
                Ok(now) if is_up(now.process.state) => {
                    // Somebody else started it again (a node manager), or the stop was never obeyed.
                    return self.verify(StateBefore { look, note }).await;
                }
                Ok(_) => {}
                Err(verdict) => return *verdict,
            }
        }
        let sent = self.send_start().await;
        self.restarted(look, sent.err()).await
    }

    /// After a restart was sent: the start, if the connection was lost before it could be, then the proof.
    async fn restarted(&self, look: ProcessReading, note: Option<SupervisorError>) -> ActionVerdict {
        let verdict = self.verify(StateBefore { look, note }).await;
        // A program that cannot be spawned was tried, and will not come up by being tried again.
        let tried = verdict.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::SpawnError);
        let settled = verdict.process.as_ref().is_some_and(|process| process.state != ProcessState::Stopped);
        if (settled || tried)
            && let Err(unsettled) = self.set_obligation(Obligation::Sent).await
        {
            return *unsettled;
        }
        verdict
    }

    /// Notes what is owed from now on; a verdict if it cannot be, and then nothing may be sent.
    async fn set_obligation(&self, obligation: Obligation) -> Result<(), Box<ActionVerdict>> {
        let rescue =
            (obligation == Obligation::MustStart).then(|| self.instance.rescue(&self.listed.group, &self.listed.name));
        self.context.set_obligation(obligation, rescue).await.map_err(|failure| {
            let (process, message) = (Some(self.listed.clone()), String::new());
            Box::new(ActionVerdict { outcome: Outcome::Failed, process, message, failure: Some(failure) })
        })
    }

    async fn look(&self) -> Result<ProcessReading, SupervisorError> {
        self.instance.look(&self.listed.group, &self.listed.name).await
    }

    /// The state before anything is done: read anew, since other work may have come between.
    async fn read_before(&self) -> Result<ProcessReading, Box<ActionVerdict>> {
        if self.instance.capabilities().acts_on_programs {
            // The action may have been sent for a sibling already: the list is older than it.
            return Ok(ProcessReading { supervisor_pid: None, process: self.listed.clone() });
        }
        self.look().await.map_err(|error| Box::new(ActionVerdict::error(&error, Stage::Inspect)))
    }

    async fn send_stop(&self) -> Result<(), SupervisorError> {
        self.send(ProcessVerb::Stop).await
    }

    async fn send_start(&self) -> Result<(), SupervisorError> {
        self.send(ProcessVerb::Start).await
    }

    /// Sends it, and shows the state of the process while the answer is waited for: it comes when the action is over.
    async fn send(&self, verb: ProcessVerb) -> Result<(), SupervisorError> {
        tokio::select! {
            sent = self.request(verb) => sent,
            never = self.watch() => match never {},
        }
    }

    /// Shows the state that the process is in, without an end. A look that fails says nothing: the action's own answer does.
    async fn watch(&self) -> Infallible {
        if self.instance.capabilities().acts_on_programs {
            // The command that reads must not run beside the one that acts: they are the same script.
            return std::future::pending().await;
        }
        let mut seen = StateWatch::from(Instant::now());
        loop {
            sleep(WATCH).await;
            if let Ok(now) = self.look().await {
                self.say_state(now.process.state, &mut seen).await;
            }
        }
    }

    async fn request(&self, verb: ProcessVerb) -> Result<(), SupervisorError> {
        let client = self.instance.client().await?;
        if client.capabilities().acts_on_programs && !self.instance.is_first_of_program(&self.listed.group) {
            return Ok(());
        }
        let sent = client.act(verb, self.listed).await;
        if let Err(error) = &sent {
            debug!(service = self.listed.full_name(), %verb, %error, "answered");
        }
        sent
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
            match self.look().await {
                Ok(now) => {
                    away = Outage::default();
                    let waited = time_since(&mut answering);
                    let another =
                        now.process.is_another_than(&before.process) || now.supervisor_pid != before.supervisor_pid;
                    let still_up = is_up(now.process.state) && !another && (!doubtful || waited < OBEYED);
                    if now.process.state != ProcessState::Stopping && !still_up {
                        return Ok(now);
                    }
                    self.say_state(now.process.state, &mut seen).await;
                }
                Err(error) => {
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
        if !now.process.is_another_than(&before.process) {
            let (kind, said) = note.map_or((FailureKind::Protocol, String::new()), |note| {
                (note.failure(Stage::Act).kind, format!(": {note}"))
            });
            return ActionVerdict::failed(Some(now.process), Stage::Verify, kind, format!("it was not stopped{said}"));
        }
        let message = "it was stopped, but something on the node started it again";
        let verdict = ActionVerdict::failed(Some(now.process), Stage::Verify, FailureKind::Unstable, message);
        if self.instance.cascades(&self.listed.group) {
            let instance = &self.instance.supervisor.name;
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
            match self.look().await {
                Ok(now) if is_up(now.process.state) => return self.restarted_by_others(before, now, None),
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

    /// The same proof for a process that was started in another way, and was as good as STOPPED before.
    pub(super) async fn verify_started(&self) -> ActionVerdict {
        let process = ProcessInfo { state: ProcessState::Stopped, pid: None, start: None, ..self.listed.clone() };
        self.verify(StateBefore { look: ProcessReading { supervisor_pid: None, process }, note: None }).await
    }

    /// Waits for the proof of a start: RUNNING as another process than before, and staying so.
    async fn verify(&self, before: StateBefore) -> ActionVerdict {
        let StateBefore { look: before, mut note } = before;
        // Its own stop, or that of another program of the instance, may make a node manager restart it all.
        let cascades = self.instance.may_be_restarted();
        let was_up = is_up(before.process.state);
        let proof = if self.instance.cascades(&self.listed.group) { CASCADE_WINDOW } else { Duration::ZERO };
        let mut said: Option<u64> = None;
        let mut away = Outage::default();
        let mut seen = StateWatch::default();
        let mut stable: Option<(Instant, ProcessReading)> = None;
        let mut retrying: Option<Instant> = None;
        let mut resent = 0_u32;
        let mut answering = None;
        let mut made: Option<ProgramPurpose> = None;
        loop {
            let now = match self.look().await {
                Ok(now) => now,
                Err(error) => {
                    let patience = if cascades { Duration::MAX } else { AWAY };
                    if let Err(verdict) = away.tolerate(&error, patience) {
                        return *verdict;
                    }
                    // What an instance has to do once it is back takes its full time, whatever the outage took.
                    answering = None;
                    sleep(POLL).await;
                    continue;
                }
            };
            away = Outage::default();
            let waited = time_since(&mut answering);
            let instance_restarted = before.supervisor_pid.is_some()
                && now.supervisor_pid.is_some()
                && before.supervisor_pid != now.supervisor_pid;
            let process = now.process.clone();
            self.say_state(process.state, &mut seen).await;
            match process.state {
                ProcessState::Running if was_up && !is_new(&process, &before.process, note.as_ref()) => {
                    // The same process still: nothing was done, or the lost request is not obeyed yet.
                    if waited >= OBEYED {
                        return self.not_restarted(process, note.as_ref());
                    }
                }
                ProcessState::Running => {
                    let since = match &stable {
                        Some((since, first)) if !process.is_another_than(&first.process) => *since,
                        Some((_, first)) if first.supervisor_pid == now.supervisor_pid => {
                            let message = "it came up, but was then replaced by another process";
                            return ActionVerdict::failed(Some(process), Stage::Verify, FailureKind::Unstable, message)
                                .hinted("look at its log: `ctl logs {service} --stderr -w {node}`");
                        }
                        _ => Instant::now(),
                    };
                    let made = match made {
                        Some(made) => made,
                        None => *made.insert(oneshot::made_to_end(self.instance, &process).await),
                    };
                    let no_more = self.context.waits_no_more();
                    let window = match made {
                        _ if no_more => proof,
                        ProgramPurpose::ToStay => proof.max(self.stable),
                        ProgramPurpose::MaybeToEnd => proof.max(self.stable).max(oneshot::SETTLE),
                        // What it was started for is done when it has ended.
                        ProgramPurpose::ToEnd => Duration::MAX,
                    };
                    if since.elapsed() >= window {
                        if !self.stable.is_zero() {
                            let short = if window < self.stable { ", not waited for to the end" } else { "" };
                            self.context.gate(Some(true), format!("RUNNING for {:?}{short}", self.stable)).await;
                        }
                        let name = &self.instance.supervisor.name;
                        let message = match (instance_restarted, retrying) {
                            (true, _) => format!("the instance {name} was restarted"),
                            (false, Some(_)) => "it did not come up at the first attempt".to_owned(),
                            (false, None) => String::new(),
                        };
                        return ActionVerdict::good(Outcome::Changed, process, message);
                    }
                    stable = Some((since, now));
                    self.say_stable(since.elapsed(), &mut said).await;
                }
                ProcessState::Starting | ProcessState::Stopping => {}
                ProcessState::Stopped if resent < RESENDS && note.as_ref().is_some_and(was_not_heard) => {
                    // The stop is done and the start was never heard: it is owed, and it was not obeyed.
                    resent += 1;
                    note = self.send_start().await.err();
                    answering = None;
                }
                ProcessState::Stopped if cascades && waited < INSTANCE_RESTART => {}
                ProcessState::Backoff if stable.is_none() && !is_spawn_error(&process, note.as_ref()) => {
                    if retrying.get_or_insert_with(Instant::now).elapsed() >= RETRIES {
                        return did_not_come_up(process, note.as_ref(), false);
                    }
                }
                ProcessState::Exited if self.is_spawned_anew(&process, &before.process, note.as_ref()) => {
                    if let Some(end) = oneshot::end_of(self.instance, &process).await {
                        return self.ended(process, end);
                    }
                    return did_not_come_up(process, note.as_ref(), stable.is_some());
                }
                ProcessState::Stopped
                | ProcessState::Exited
                | ProcessState::Backoff
                | ProcessState::Fatal
                | ProcessState::Unknown => {
                    // A node manager that restarts the instance first stops everything.
                    if cascades && stable.is_some() && waited < INSTANCE_RESTART {
                        sleep(POLL).await;
                        continue;
                    }
                    return did_not_come_up(process, note.as_ref(), stable.is_some());
                }
            }
            sleep(POLL).await;
        }
    }

    /// Whether a process that has EXITED is another than before, or was spawned by what this run has sent. The reply does
    /// not tell how it ended: to a program that ends at once supervisord says whatever it sees first.
    fn is_spawned_anew(&self, now: &ProcessInfo, before: &ProcessInfo, note: Option<&SupervisorError>) -> bool {
        let spawned = match note {
            None => true,
            Some(SupervisorError::Fault { fault, .. }) => {
                matches!(fault, RpcFault::AbnormalTermination | RpcFault::SpawnError)
            }
            Some(_) => false,
        };
        spawned || now.is_another_than(before)
    }

    /// The verdict on a program that is made to end, and has.
    fn ended(&self, process: ProcessInfo, end: OneshotEnd) -> ActionVerdict {
        let how = end.words.map(|words| format!(" ({words})")).unwrap_or_default();
        match end.as_expected {
            Some(true) => ActionVerdict::good(Outcome::Changed, process, ""),
            Some(false) => {
                let message = format!("it exited unexpectedly{how}");
                ActionVerdict::failed(Some(process), Stage::Verify, FailureKind::AbnormalTermination, message)
                    .hinted("look at its log: `ctl logs {service} --stderr -w {node}`")
            }
            None => {
                let message = "it was started and has exited; supervisord does not report how";
                let verdict = ActionVerdict::failed(Some(process), Stage::Verify, FailureKind::Protocol, message);
                ActionVerdict { outcome: Outcome::Unknown, ..verdict }
                    .hinted("look at its log: `ctl logs {service} --stderr -w {node}`")
            }
        }
    }

    /// Shows the state that is waited for to end, each second once it has lasted for one.
    async fn say_state(&self, state: ProcessState, seen: &mut StateWatch) {
        let doing = match state {
            ProcessState::Stopping => "stopping",
            ProcessState::Starting | ProcessState::Backoff => "starting",
            ProcessState::Running
            | ProcessState::Stopped
            | ProcessState::Exited
            | ProcessState::Fatal
            | ProcessState::Unknown => return,
        };
        let Some(lasts) = seen.lasts(state, Instant::now()) else { return };
        let doing = format!("{doing} {}", self.listed.full_name());
        self.context.phase(self.context.work_in_state(doing, state, lasts)).await;
    }

    /// Shows how long it has been up, each second.
    async fn say_stable(&self, up: Duration, said: &mut Option<u64>) {
        if self.stable.is_zero() || *said == Some(up.as_secs()) {
            return;
        }
        if said.is_none() {
            self.context.gate(None, format!("RUNNING for {:?}", self.stable)).await;
        }
        *said = Some(up.as_secs());
        let name = self.listed.full_name();
        self.context
            .phase(ActivityPhase::wait(PhaseKind::Gate, "RUNNING").of_service(name).within(up, self.stable))
            .await;
    }

    fn not_restarted(&self, process: ProcessInfo, note: Option<&SupervisorError>) -> ActionVerdict {
        let kind = note.map_or(FailureKind::Protocol, |note| note.failure(Stage::Act).kind);
        let said = note.map(|note| format!(": {note}")).unwrap_or_default();
        ActionVerdict::failed(Some(process), Stage::Verify, kind, format!("it is still the same process{said}"))
    }
}

/// A process as it was noted before it was touched.
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

/// Whether supervisord counts the state as running (`supervisor/states.py`, RUNNING_STATES).
pub(super) fn is_up(state: ProcessState) -> bool {
    match state {
        ProcessState::Running | ProcessState::Starting | ProcessState::Backoff => true,
        ProcessState::Stopped
        | ProcessState::Stopping
        | ProcessState::Exited
        | ProcessState::Fatal
        | ProcessState::Unknown => false,
    }
}

fn did_not_come_up(process: ProcessInfo, note: Option<&SupervisorError>, was_up: bool) -> ActionVerdict {
    // What supervisord says of a stopped process is a date.
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
        "look at its log: `ctl logs {service} --stderr -w {node}`"
    };
    ActionVerdict::failed(Some(process), Stage::Verify, kind, message).hinted(hint)
}

/// Whether a process is another than before. Where neither pid nor start time is known of the one before
/// (`supervisorctl` prints none of one that is STARTING), the answer to the restart has to do.
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

/// Whether the program never ran at all. supervisord answers SPAWN_ERROR also for one that ended too early, and
/// distinguishes the two only in its text (supervisor 3.0 to 4.2.5, `process.py`, `finish`).
fn is_spawn_error(process: &ProcessInfo, note: Option<&SupervisorError>) -> bool {
    match note.and_then(fault_of) {
        Some(RpcFault::NoFile | RpcFault::NotExecutable) => true,
        Some(RpcFault::SpawnError) => !process.description.starts_with("Exited too quickly"),
        _ => false,
    }
}

/// For how long a process has been in its state.
#[derive(Debug, Default)]
struct StateWatch {
    /// The state, since when, and the seconds that were reported.
    seen: Option<(ProcessState, Instant, u64)>,
    /// When the first state began, if that was before it was seen.
    began: Option<Instant>,
}

impl StateWatch {
    /// The first state is what an action of this moment made.
    fn from(began: Instant) -> Self {
        Self { seen: None, began: Some(began) }
    }

    /// For how long it has lasted, each second once.
    fn lasts(&mut self, state: ProcessState, now: Instant) -> Option<Duration> {
        let (_, since, said) = match &mut self.seen {
            Some(seen) if seen.0 == state => seen,
            seen => seen.insert((state, self.began.take().unwrap_or(now), 0)),
        };
        let lasts = now.duration_since(*since);
        (lasts.as_secs() > *said).then(|| {
            *said = lasts.as_secs();
            lasts
        })
    }
}

/// The time since a reading was noted first; notes this one if there is none.
fn time_since(first: &mut Option<Instant>) -> Duration {
    first.get_or_insert_with(Instant::now).elapsed()
}

/// For how long a supervisord has not answered.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
}

impl Outage {
    /// Takes an error of a look. While the action may still be under way, that is waited for, up to `patience`;
    /// what no waiting can fix ends the wait.
    fn tolerate(&mut self, error: &SupervisorError, patience: Duration) -> Result<(), Box<ActionVerdict>> {
        let passes = match error {
            SupervisorError::Down(_) | SupervisorError::NoSocket(_) | SupervisorError::Silent(_) => true,
            SupervisorError::Transport(crate::transport::TransportError::ChannelRefused { .. }) => true,
            SupervisorError::Transport(error) if error.may_come_back() => return Ok(()),
            // A login or a host key that is refused will be refused again, and each attempt counts against us.
            SupervisorError::Transport(_) => false,
            // A name that an instance which just came up does not know yet.
            SupervisorError::Fault { fault, .. } => *fault == RpcFault::BadName && patience == Duration::MAX,
            SupervisorError::Permission(_)
            | SupervisorError::Sudo(_)
            | SupervisorError::CommandMissing(_)
            | SupervisorError::NoAnswer(_)
            | SupervisorError::Protocol(_)
            | SupervisorError::Unsupported(_) => false,
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if passes && since.elapsed() < patience {
            return Ok(());
        }
        let failure = Some(error.failure(Stage::Verify));
        let outcome = if passes { Outcome::Failed } else { Outcome::Unknown };
        Err(Box::new(ActionVerdict { outcome, process: None, message: String::new(), failure }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_reported_each_second_that_it_lasts() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut seen = StateWatch::from(began);
        let lasts: Vec<Option<u64>> = [400, 1000, 1400, 2100]
            .map(|millis| seen.lasts(ProcessState::Stopping, at(millis)).map(|lasts| lasts.as_secs()))
            .into();
        assert_eq!(lasts, [None, Some(1), None, Some(2)]);
        // Another state begins anew.
        assert_eq!(seen.lasts(ProcessState::Backoff, at(2200)), None);
        assert_eq!(seen.lasts(ProcessState::Backoff, at(3300)), Some(Duration::from_millis(1100)));
    }
}
