//! The way that every run takes: plan, journal, run, sinks, exit code.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::args::{DryRun, FanoutArgs, GoArgs};
use super::exit::{self, ExitStatus};
use super::job::CliJob;
use super::limits::FileBudget;
use super::output::{self, FoldRows, ResultOutput};
use super::report::CliError;
use super::terminal::StderrMessages;
use super::{input, limits, output_closed, prompts, secret, settings, terminal};
use crate::event::{CancelReason, EventKind, FailureKind, Ledger, Outcome, RunEvent, RunHead, TargetResult};
use crate::guard::LockHolder;
use crate::journal::resume::RemainingWork;
use crate::journal::{Journal, RunController, RunRequest};
use crate::nodeset::NodeSet;
use crate::plan::live::LiveState;
use crate::plan::{Action, Plan};
use crate::run::{JournalAck, LockPolicy, NodeAccess, RunSetup, run};
use crate::sink::{JsonSink, text};
use crate::transport::{RunSshSettings, SshTransport};

/// What a run goes on from.
pub(super) struct ResumedRun {
    pub(super) journal: Journal,
    pub(super) request: RunRequest,
    pub(super) rest: RemainingWork,
    /// Number of the next event.
    pub(super) next_seq: u64,
}

/// What a run needs besides its plan, when everything that only the operator knows has been asked for.
pub(super) struct RunSession {
    pub(super) runtime: Runtime,
    pub(super) transport: SshTransport,
    pub(super) notices: mpsc::Receiver<String>,
    pub(super) access: Vec<NodeAccess>,
    pub(super) room: FileBudget,
}

impl RunSession {
    /// Makes room for connections, which are kept to the end of the run if it `keeps` them; asks for passwords,
    /// passphrases and unknown hosts.
    pub(super) fn new(
        plan: &Plan,
        mut access: Vec<NodeAccess>,
        fanout: &FanoutArgs,
        keeps: bool,
    ) -> Result<Self, CliError> {
        let room = limits::make_room(&access, fanout.forks as usize, keeps)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::usage(format!("cannot start the async runtime: {error}")))?;
        let (transport, notices) = SshTransport::new(RunSshSettings { password: prompts::password(fanout)? });
        prompts::sudo_password(fanout, &mut access)?;
        prompts::supervisor_passwords(&plan.nodes, &mut access);
        runtime.block_on(prompts::before_connecting(&transport, &plan.nodes, &access, room.forks))?;
        Ok(Self { runtime, transport, notices, access, room })
    }
}

/// Carries a job out. `words` are those that were typed, without the program's name.
pub(super) fn execute(
    mut job: CliJob,
    fanout: &FanoutArgs,
    go: Option<&GoArgs>,
    words: &[String],
    resumed: Option<ResumedRun>,
) -> Result<ExitStatus, CliError> {
    let output = &fanout.output;
    let dry_run = go.and_then(|go| go.dry_run);
    output::can_fold(output, FoldRows::of_run(dry_run.is_some(), &job.command))?;
    let access = settings::access(fanout, &job.plan.nodes)?;
    let out = ResultOutput::open(output.out.as_deref())?;
    let saved = job.shown.save.as_deref().map(|path| ResultOutput::file("--save", path)).transpose()?;
    if dry_run == Some(DryRun::Plan) {
        output::dry_run(&job.plan, None, output, out)?;
        return Ok(ExitStatus::Good);
    }
    for task in 0..job.plan.tasks.len() {
        let nodes_not_in_snapshot = job.plan.nodes_not_in_snapshot(task);
        if !nodes_not_in_snapshot.is_empty() && !output.quiet {
            let set = NodeSet::from_names(&nodes_not_in_snapshot);
            terminal::say(&format!("note: the snapshot has no data on {set}, so its gate does not check them"));
        }
    }
    if let (Some(what), Some(go)) = (&job.confirm, go) {
        confirm(what, &job.plan, go)?;
    }
    if job.reads_stdin && dry_run.is_none() {
        let input = input::read(output.quiet)?;
        job.plan.tasks.iter_mut().for_each(|task| task.input.clone_from(&input));
    }
    let keeps = job.plan.follows() || job.plan.changes() && dry_run.is_none();
    let ready = RunSession::new(&job.plan, access, fanout, keeps)?;
    if dry_run == Some(DryRun::Live) {
        let (runtime, live, exit) = look_ahead(ready, &job.plan, fanout)?;
        // A node that never answers must not keep the process.
        runtime.shutdown_background();
        output::dry_run(&job.plan, Some(&live), output, out)?;
        return Ok(exit);
    }
    let RunSession { runtime, transport, notices, access, room } = ready;

    let action = job.plan.action().unwrap_or(Action::Status);
    let tail = job.plan.tasks.first().and_then(|task| task.tail);
    let changes = job.plan.changes();
    let first_screen = job.shown.first_screen.then(|| output::node_roles(&job.plan));
    let reason = go.and_then(|go| go.reason.clone());
    let head = RunHead {
        run: resumed.as_ref().map_or_else(run_id, |resumed| resumed.request.run.clone()),
        command: job.command.clone(),
        action: job.action.clone(),
        services: job.services.clone(),
        started: resumed.as_ref().map_or_else(jiff::Timestamp::now, |resumed| resumed.request.started),
        nodes: u32::try_from(job.plan.selected).unwrap_or(u32::MAX),
        selection: settings::scope(fanout),
        input: job.plan.tasks.iter().find_map(|task| Some(task.input.as_ref()?.digest().clone())),
    };
    let (journal, rest, first_seq) = match resumed {
        Some(resumed) => (Some(resumed.journal), Some(resumed.rest), resumed.next_seq),
        None if changes => (Some(begin(&head, &job, reason.clone(), words)?), None, 0),
        None => {
            if action == Action::Status {
                warn_of_journal();
            }
            (None, None, 0)
        }
    };
    let (sinks, messages) = match tail {
        Some(tail) => (output::log_sinks(&fanout.output, &out, tail.follow), StderrMessages::default()),
        None => {
            let (mut sinks, messages) = output::progress(&fanout.output, &job.plan);
            output::results(&mut sinks, &fanout.output, &out, first_screen);
            (sinks, messages)
        }
    };
    let guards_restart = job.plan.tasks.iter().any(|task| matches!(task.action, Action::Restart | Action::Update));
    let owner = settings::owner(&head.run, jiff::Timestamp::now(), reason.as_deref());
    let lock_wait = go.and_then(|go| go.lock_wait).unwrap_or_default();
    let guarding = LockPolicy::new(owner, lock_wait, go.is_some_and(|go| go.no_guard), &job.plan);
    let setup = RunSetup {
        plan: Arc::new(job.plan),
        head: head.clone(),
        access,
        forks: room.forks,
        hangs_up: room.hangs_up,
        transport: Arc::new(transport),
        notices,
        guarding,
        first_seq,
        first_batch: rest.as_ref().map_or(1, |rest| rest.next_batch),
    };
    let says = !fanout.output.quiet && (tail.is_some() || !output::shows_progress(&fanout.output));
    let stop = match tail {
        Some(_) => StopTexts::None,
        None if changes => StopTexts::Changing {
            guarded: guards_restart && !go.is_some_and(|go| go.no_guard),
            resumed: rest.is_some(),
        },
        None => StopTexts::Reading,
    };
    let mut sinks = sinks;
    let saving = saved.as_ref().map(|saved| sinks.push(Box::new(JsonSink::new(saved.writer()))));
    let (closed, ends) = mpsc::channel(1);
    let work = Arc::new(());
    let mut teller = EventRecorder {
        sinks,
        ledger: Ledger::default(),
        seq: 0,
        carried: rest.map(|rest| rest.results).unwrap_or_default(),
        journal,
        journal_failed: false,
        run: head.run.clone(),
        messages,
        says,
        stop,
        closed: tail.map(|_| closed.clone()),
    };
    let cancel = runtime.block_on(async {
        let signals = match tail {
            Some(_) => output_closed::or_closed(signals(None)?, (closed, ends), fanout.output.out.is_none(), &work),
            None => signals(Some(stop.last(&teller.messages, &work)))?,
        };
        Ok::<_, CliError>(run(setup, signals, |events| teller.observe(events)).await)
    })?;
    // A node that never answers must not keep the process.
    runtime.shutdown_background();
    let exit = exit::of_run(&teller.ledger, action, cancel);
    let is_open = teller.ledger.results().iter().any(|result| !is_end(result));
    let is_whole = cancel.is_none() && !is_open;
    if let Some(journal) = &mut teller.journal
        && let Err(error) = journal.end(&head.run, exit.code(), is_whole)
        && !teller.journal_failed
    {
        terminal::say(&format!("warning: {error}"));
    }
    for warning in teller.sinks.finish(&teller.ledger, exit.code()) {
        terminal::say(&format!("warning: {warning}"));
    }
    let failed = teller.sinks.failed();
    let mut unwritten: Vec<CliError> =
        out.keep_if(failed.iter().all(|id| Some(*id) == saving)).err().into_iter().collect();
    match saved {
        // What the nodes not read are like is not known: it would be no snapshot of them.
        Some(_) if cancel.is_some() => terminal::say("--save: interrupted, nothing was saved"),
        Some(saved) => unwritten.extend(saved.keep_if(failed.iter().all(|id| Some(*id) != saving)).err()),
        None => {}
    }
    for error in &unwritten {
        error.print();
    }
    let is_written = unwritten.is_empty() && failed.is_empty();
    let exit = if is_written { exit } else { exit::of_unwritten(exit, changes) };
    let unknown: Vec<&str> = teller
        .ledger
        .results()
        .iter()
        .filter(|result| is_unknown_command(result))
        .map(|own| own.node.as_str())
        .collect();
    if changes && !is_whole && (is_open || unknown.is_empty()) {
        terminal::say(&not_finished(&head.run, head.input.is_some()));
    } else if changes && !unknown.is_empty() {
        terminal::say(&not_known(&head.run, head.input.is_some(), &NodeSet::from_names(unknown)));
    }
    Ok(exit)
}

/// Reads everything that `plan`, which changes nothing, means, and shows no more of it than the progress. What was read,
/// and why it was given up, if it was.
pub(super) fn read(plan: Plan, fanout: &FanoutArgs) -> Result<(Ledger, Option<CancelReason>), CliError> {
    let access = settings::access(fanout, &plan.nodes)?;
    let RunSession { runtime, transport, notices, access, room } = RunSession::new(&plan, access, fanout, false)?;
    let mut teller = EventRecorder { stop: StopTexts::Comparing, ..EventRecorder::reading(&plan, fanout) };
    let setup = reading(plan, &[], access, fanout, room, &Arc::new(transport), notices);
    let work = Arc::new(());
    let cancel = runtime.block_on(async {
        let signals = signals(Some(teller.stop.last(&teller.messages, &work)))?;
        Ok::<_, CliError>(run(setup, signals, |events| teller.observe(events)).await)
    })?;
    // A node that never answers must not keep the process.
    runtime.shutdown_background();
    for warning in teller.sinks.finish(&teller.ledger, ExitStatus::Good.code()) {
        terminal::say(&format!("warning: {warning}"));
    }
    Ok((teller.ledger, cancel))
}

/// What is asked by a run that changes nothing and is told as a status.
pub(super) fn reading_head(plan: &Plan, services: &[String], fanout: &FanoutArgs) -> RunHead {
    RunHead {
        run: run_id(),
        command: "status".to_owned(),
        action: Some(Action::Status.as_str().to_owned()),
        services: services.to_vec(),
        started: jiff::Timestamp::now(),
        nodes: u32::try_from(plan.selected).unwrap_or(u32::MAX),
        selection: settings::scope(fanout),
        input: None,
    }
}

/// What a run needs that changes nothing and is told as a status.
pub(super) fn reading(
    plan: Plan,
    services: &[String],
    access: Vec<NodeAccess>,
    fanout: &FanoutArgs,
    room: FileBudget,
    transport: &Arc<SshTransport>,
    notices: mpsc::Receiver<String>,
) -> RunSetup<SshTransport> {
    let head = reading_head(&plan, services, fanout);
    let guarding = LockPolicy::new(LockHolder::default(), std::time::Duration::ZERO, true, &plan);
    RunSetup {
        plan: Arc::new(plan),
        head,
        access,
        forks: room.forks,
        hangs_up: room.hangs_up,
        transport: Arc::clone(transport),
        notices,
        guarding,
        first_seq: 0,
        first_batch: 1,
    }
}

/// Reads everything that a plan means, and says how it is. Changes nothing. Also how a status of it would end.
fn look_ahead(
    ready: RunSession,
    plan: &Plan,
    fanout: &FanoutArgs,
) -> Result<(Runtime, LiveState, ExitStatus), CliError> {
    let RunSession { runtime, transport, notices, access, room } = ready;
    let setup = reading(plan.reading(), &[], access, fanout, room, &Arc::new(transport), notices);
    let mut teller = EventRecorder::reading(plan, fanout);
    let (messages, work) = (teller.messages.clone(), Arc::new(()));
    let mut live = LiveState::default();
    let observe = |events: &[RunEvent]| {
        for event in events {
            if let EventKind::PendingUpdate(pending) = &event.kind {
                live.update(pending.clone());
            }
        }
        teller.observe(events)
    };
    let cancel = runtime.block_on(async {
        let signals = signals(Some(StopTexts::Reading.last(&messages, &work)))?;
        Ok::<_, CliError>(run(setup, signals, observe).await)
    })?;
    for warning in teller.sinks.finish(&teller.ledger, ExitStatus::Good.code()) {
        terminal::say(&format!("warning: {warning}"));
    }
    let results = teller.ledger.results();
    for result in results {
        live.result(plan, result);
    }
    // What is only watched for a cap is shown with it; how the command ends is told by what was selected.
    let selected: BTreeSet<&str> =
        plan.nodes.iter().take(plan.selected).map(|selected| selected.node.name.as_str()).collect();
    let own = results.iter().filter(|result| selected.contains(result.node.as_str()));
    let exit = exit::of_results(own, Action::Status, cancel);
    Ok((runtime, live, exit))
}

/// Whether a result is an end: a run that has others can be gone on with. One that was refused for a name that no node
/// has would be refused again, and a command is not run again by a resume.
fn is_end(result: &TargetResult) -> bool {
    let mistaken = result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NoSuchService);
    mistaken || is_unknown_command(result) || !matches!(result.outcome, Outcome::NotStarted | Outcome::Unknown)
}

/// Whether it is unknown what became of a command of `exec`: only its results name no service.
fn is_unknown_command(result: &TargetResult) -> bool {
    result.outcome == Outcome::Unknown && result.service.is_none()
}

/// Notes the run before anything of it happens.
fn begin(head: &RunHead, job: &CliJob, reason: Option<String>, words: &[String]) -> Result<Journal, CliError> {
    let mut journal = settings::journal()?;
    journal.begin(&RunRequest {
        run: head.run.clone(),
        words: words.to_vec(),
        directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        inventory: job.inventory.clone(),
        rollout: job.rollout.clone(),
        controller: RunController::this(),
        reason,
        started: head.started,
        command: head.command.clone(),
        action: head.action.clone(),
        services: head.services.clone(),
        nodes: head.nodes,
        input: head.input.clone(),
        origin: job.origin.clone(),
    })?;
    Ok(journal)
}

/// Reading goes on without a journal, but whoever reads may want to change something next.
fn warn_of_journal() {
    if let Err(error) = settings::journal() {
        terminal::say(&format!("warning: {}; a run that changes nodes would fail now", error.message()));
    }
}

/// Hands events out: first to the journal, then to the ledger, then to the sinks.
struct EventRecorder {
    sinks: crate::sink::SinkSet,
    ledger: Ledger,
    /// Counts what the ledger is told, which of a resumed run is not all that the journal has.
    seq: u64,
    /// Ends that stand from before.
    carried: Vec<TargetResult>,
    journal: Option<Journal>,
    /// Whether it has been said that it cannot be written.
    journal_failed: bool,
    run: String,
    messages: StderrMessages,
    /// Whether notices are said here, and not by a display.
    says: bool,
    stop: StopTexts,
    /// Told when nobody reads the output any more, where that is the end of it.
    closed: Option<mpsc::Sender<CancelReason>>,
}

impl EventRecorder {
    /// For what `plan` reads, of which no more is shown than the progress.
    fn reading(plan: &Plan, fanout: &FanoutArgs) -> Self {
        let (sinks, messages) = output::progress(&fanout.output, &plan.reading());
        Self {
            sinks,
            ledger: Ledger::default(),
            seq: 0,
            carried: Vec::new(),
            journal: None,
            journal_failed: false,
            run: String::new(),
            messages,
            says: !fanout.output.quiet && !output::shows_progress(&fanout.output),
            stop: StopTexts::Reading,
            closed: None,
        }
    }

    fn observe(&mut self, events: &[RunEvent]) -> JournalAck {
        let noted = match &mut self.journal {
            Some(journal) => journal.append_all(&self.run, events),
            None => Ok(()),
        };
        for event in events {
            if let EventKind::Notice { message } = &event.kind
                && self.says
            {
                self.messages.say(&text::single_line(message));
            }
            self.tell(event.clone());
            if let EventKind::CancelBegan { reason } = &event.kind
                && let Some(text) = self.stop.text(*reason, self.ledger.batch().is_some())
            {
                self.messages.say(text);
            }
            if matches!(event.kind, EventKind::RunStarted(_)) {
                for result in std::mem::take(&mut self.carried) {
                    self.tell(RunEvent { kind: EventKind::Result(result), ..event.clone() });
                }
            }
        }
        match noted {
            Ok(()) => JournalAck::Yes,
            Err(error) => {
                // Every later event meets the same.
                if !std::mem::replace(&mut self.journal_failed, true) {
                    self.messages.say(&format!("error: {error}; no further nodes will be started"));
                }
                JournalAck::No
            }
        }
    }

    fn tell(&mut self, event: RunEvent) {
        let event = RunEvent { seq: self.seq, ..event };
        self.seq += u64::from(!matches!(event.kind, EventKind::Progress { .. }));
        if let Err(error) = self.ledger.apply(&event) {
            tracing::error!(%error, "an event that does not fit");
        }
        for warning in self.sinks.event(&event, &self.ledger) {
            self.messages.say(&format!("warning: {warning}"));
        }
        if self.sinks.stdout_closed()
            && let Some(closed) = self.closed.take()
            && closed.try_send(CancelReason::OutputClosed).is_err()
        {
            tracing::debug!("it is ending already");
        }
    }
}

/// The command that resumes a run which did not finish.
pub(super) fn not_finished(run: &str, has_input: bool) -> String {
    let input = if has_input { " < FILE (with the same standard input)" } else { "" };
    format!("Run not finished. Resume it with: ctl runs resume {run}{input}")
}

/// The command that runs a command again where it is unknown what became of it.
fn not_known(run: &str, has_input: bool, nodes: &NodeSet) -> String {
    let input = if has_input { " < FILE (with the same standard input)" } else { "" };
    format!("Unknown whether the command ended on {nodes}: check there. Run it again with: ctl runs retry {run}{input}")
}

/// What a signal does to the run, in words for who sent it: printed whatever else is, since it answers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopTexts {
    /// The first signal is how it is ended.
    None,
    /// Nothing is changed.
    Reading,
    /// Nothing is changed, and a part of the answers is of no use.
    Comparing,
    /// Nodes are changed. `guarded`: guards start again what it stops on the way. `resumed`: an earlier part of the run
    /// may have changed nodes.
    Changing { guarded: bool, resumed: bool },
}

/// The signal after which nothing is waited for.
pub(super) struct LastSignal {
    /// It is the one of this number.
    number: u32,
    /// Where it is answered.
    messages: StderrMessages,
    /// Dropped when there is nothing left to leave.
    work: Weak<()>,
}

impl StopTexts {
    /// The signal after which nothing is waited for, as long as there is `work`.
    fn last(self, messages: &StderrMessages, work: &Arc<()>) -> LastSignal {
        let number = match self {
            Self::None => 1,
            Self::Reading | Self::Comparing => 2,
            Self::Changing { .. } => 3,
        };
        LastSignal { number, messages: messages.clone(), work: Arc::downgrade(work) }
    }

    /// What is said when the run is given up for `reason`; `has_started`: nodes may be changed already.
    const fn text(self, reason: CancelReason, has_started: bool) -> Option<&'static str> {
        match (reason, self) {
            (CancelReason::OutputClosed | CancelReason::JournalLost, _) | (_, Self::None) => None,
            (CancelReason::GivenUp, Self::Changing { guarded: true, .. }) => Some(
                "Not waiting any longer; guards on the nodes will start again what a restart or update has stopped. \
                 Press Ctrl-C again to exit now.",
            ),
            (CancelReason::GivenUp, Self::Changing { .. }) => {
                Some("Not waiting any longer. Press Ctrl-C again to exit now.")
            }
            // It is the last, which is answered as such.
            (CancelReason::GivenUp, Self::Reading | Self::Comparing) => None,
            (_, Self::Changing { resumed, .. }) if has_started || resumed => {
                Some("Stopping: finishing the nodes in progress, starting no more. Press Ctrl-C again to stop waiting.")
            }
            (_, Self::Changing { .. }) => Some(
                "Stopping before the first change: this run has changed nothing. Press Ctrl-C again to stop waiting.",
            ),
            (_, Self::Reading) => Some("Stopping: showing what was read so far. Press Ctrl-C again to exit now."),
            (_, Self::Comparing) => Some("Stopping: nothing will be compared. Press Ctrl-C again to exit now."),
        }
    }
}

/// A name for the run: when, and a few letters against chance.
pub(super) fn run_id() -> String {
    let letters: String = (0..4).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
    format!("{}-{letters}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"))
}

/// A change to every node of the inventory is asked about.
fn confirm(what: &str, plan: &Plan, go: &GoArgs) -> Result<(), CliError> {
    let count = plan.selected;
    if !plan.changes() || count < 2 || go.yes || go.dry_run.is_some() {
        return Ok(());
    }
    if !terminal::can_ask() {
        return Err(CliError::usage(format!(
            "this {what} on all {count} nodes of the inventory: without a terminal it needs --yes"
        ))
        .with_hint("select nodes or roles with -w or -r, or add -y"));
    }
    let answer = terminal::ask(&format!("This {what} on all {count} nodes. Type {count} to continue: "))
        .map_err(|error| CliError::usage(format!("no answer: {error}")))?;
    if answer == count.to_string() { Ok(()) } else { Err(CliError::usage("not confirmed; nothing was done")) }
}

/// Signals as the run understands them. The `last` ends the process soon, whatever it is stuck in.
pub(super) fn signals(last: Option<LastSignal>) -> Result<mpsc::Receiver<CancelReason>, CliError> {
    let (sender, receiver) = mpsc::channel(4);
    let kinds = [
        (SignalKind::interrupt(), CancelReason::Interrupted),
        (SignalKind::terminate(), CancelReason::Terminated),
        (SignalKind::hangup(), CancelReason::HungUp),
    ];
    let (count, last) = (Arc::new(AtomicU32::new(0)), Arc::new(last));
    for (kind, reason) in kinds {
        // Under nohup the terminal's end is ignored on purpose.
        if reason == CancelReason::HungUp && terminal::is_ignored(kind.as_raw_value()) {
            continue;
        }
        let mut stream = signal(kind).map_err(|error| CliError::usage(format!("cannot catch signals: {error}")))?;
        let (sender, count, last) = (sender.clone(), Arc::clone(&count), Arc::clone(&last));
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                if let Some(last) = last.as_ref().as_ref().filter(|last| number >= last.number) {
                    if number == last.number {
                        last.messages.say("Exiting now.");
                    }
                    output_closed::leave_if_stuck(reason, last.work.clone());
                }
                if sender.send(reason).await.is_err() {
                    return;
                }
            }
        });
    }
    secret::release_signals();
    Ok(receiver)
}
