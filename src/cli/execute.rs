//! How a command that goes to nodes is executed: plan, session, journal, run, sinks, exit code.
//!
//! Here lives [`execute`]. Invariants: files that the results go to are opened before a node is touched, and stand
//! under their names only once they are complete; a run that changes nodes is in the journal before anything is connected
//! to for it; a run that did not finish ends with the command that resumes it.

use std::path::PathBuf;
use std::sync::Arc;

use nodeset::NodeSet;
use tokio::sync::mpsc;

use super::job::CliJob;
use super::output::{self, FoldRows, ResultOutput};
use super::recorder::EventRecorder;
use super::{input, reading};
use ctl_args::change_args::DryRun;
use ctl_args::settings::{self, ChangeSettings, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::{self, ExitStatus};
use ctl_console::signals::{StopTexts, signals};
use ctl_console::terminal::StderrMessages;
use ctl_console::{output_closed, terminal};
use ctl_event::{CancelReason, FailureKind, Outcome, RunHead, TargetResult};
use ctl_journal::resume::RemainingWork;
use ctl_journal::{Journal, RunController, RunRequest, StopCause};
use ctl_plan::{Action, LogTail, Plan};
use ctl_run::LockPolicy;
use ctl_session::endpoints;
use ctl_session::session::{RunIdentity, RunSession};
use ctl_session::unmatched::unmatched_globs;
use ctl_sink::{JsonSink, SinkId};

/// A run that is resumed.
pub(super) struct ResumedRun {
    pub(super) journal: Journal,
    pub(super) request: RunRequest,
    pub(super) rest: RemainingWork,
    /// Number of the next event.
    pub(super) next_seq: u64,
}

/// Where the results of a run go.
struct ResultFiles {
    out: ResultOutput,
    /// The file of `--save`.
    saved: Option<ResultOutput>,
}

/// Executes a job. `words` are those that were typed, without the program's name.
///
/// # Errors
/// If the run cannot start: nothing has been changed then.
pub(super) fn execute(
    mut job: CliJob,
    settings: &Settings,
    change: Option<&ChangeSettings>,
    words: &[String],
    resumed: Option<ResumedRun>,
) -> Result<ExitStatus, CliError> {
    let output = &settings.output;
    let dry_run = change.and_then(|change| change.dry_run);
    // Options that contradict each other are refused before any file is read or made.
    output::can_fold(output, FoldRows::of_run(dry_run.is_some(), &job.command))?;
    let access = endpoints::access(settings, &job.plan.nodes)?;
    let files = ResultFiles {
        out: ResultOutput::open(output.out.as_deref())?,
        saved: job.shown.save.as_deref().map(|path| ResultOutput::file("--save", path)).transpose()?,
    };
    // A plan alone needs no connection and no journal.
    if dry_run == Some(DryRun::Plan) {
        output::dry_run(&job.plan, None, output, files.out)?;
        return Ok(ExitStatus::Good);
    }
    if !output.quiet {
        say_which_nodes_no_snapshot_has(&job.plan);
    }
    // Before the session: a refusal must not cost a password prompt.
    if let (Some(what), Some(change)) = (&job.confirm, change) {
        confirm(what, &job.plan, change)?;
    }
    // Read before anything is started, because every node gets all of it.
    if job.reads_stdin
        && dry_run.is_none()
        && let Some(input) = input::read(output.quiet)?
    {
        job.plan.set_input(&input);
    }
    // A run that follows logs or changes nodes holds its connections to the end, so it needs files for all of them.
    let keeps = job.plan.follows() || job.plan.changes() && dry_run.is_none();
    let session = RunSession::open(&job.plan, access, settings, keeps)?;
    if dry_run == Some(DryRun::Live) {
        let (live, exit) = reading::look_ahead(session, &job.plan, settings)?;
        output::dry_run(&job.plan, Some(&live), output, files.out)?;
        return Ok(exit);
    }
    run(job, session, settings, change, words, resumed, files)
}

fn say_which_nodes_no_snapshot_has(plan: &Plan) {
    for task in plan.tasks.indexes() {
        let missing = plan.nodes_not_in_snapshot(task);
        if !missing.is_empty() {
            let set = NodeSet::from_names(&missing);
            terminal::say(&format!("note: the snapshot has no data on {set}, so its gate does not check them"));
        }
    }
}

/// Runs a job over an open session, and shows and records its results.
fn run(
    job: CliJob,
    session: RunSession,
    settings: &Settings,
    change: Option<&ChangeSettings>,
    words: &[String],
    resumed: Option<ResumedRun>,
    files: ResultFiles,
) -> Result<ExitStatus, CliError> {
    let action = job.plan.action().unwrap_or(Action::Status);
    let changes = job.plan.changes();
    let tail = job.plan.tasks.first().and_then(|task| task.work.tail());
    let reason = change.and_then(|change| change.reason.clone());
    let head = head(&job, settings, resumed.as_ref());
    let is_resumed = resumed.is_some();
    let (journal, rest, first_seq) = match resumed {
        Some(resumed) => (Some(resumed.journal), Some(resumed.rest), resumed.next_seq),
        // In the journal before the first connection: whatever happens after that can be resumed.
        None if changes => (Some(begin(&head, &job, reason.clone(), words)?), None, 0),
        None => {
            if action == Action::Status {
                warn_of_journal();
            }
            (None, None, 0)
        }
    };
    let identity = RunIdentity {
        locks: locks(&head, &job.plan, change, reason.as_deref()),
        head: head.clone(),
        first_seq,
        first_batch: rest.as_ref().map_or(1, |rest| rest.next_batch),
    };
    // A command that follows logs ends by its first signal and needs no words for that.
    let stop = match tail {
        Some(_) => StopTexts::None,
        None if changes => StopTexts::Changing { guarded: is_guarded(&job.plan, change), resumed: is_resumed },
        None => StopTexts::Reading,
    };
    let mut recorder = recorder(&job, settings, &files.out, tail, stop);
    let saving = files.saved.as_ref().map(|saved| recorder.sinks.push(Box::new(JsonSink::new(saved.writer()))));
    // Results of the earlier part are shown again, so that the table is of the whole run.
    let rest = rest.map(|rest| (rest.results, rest.scopes));
    (recorder.carried, recorder.carried_scopes) = rest.unwrap_or_default();
    recorder.journal = journal.map(|journal| (journal, head.run.clone()));

    // Both ways to the same end: a sink that meets a closed stdout, and the watch over it.
    let (closed, ends) = mpsc::channel(1);
    recorder.closed = tail.map(|_| closed.clone());
    let work = Arc::new(());
    let last = stop.last(&recorder.messages, &work);
    let caught = || match tail {
        // Where output is all there is, a reader that has gone ends the command too.
        Some(_) => Ok(output_closed::or_closed(signals(None)?, (closed, ends), settings.output.out.is_none(), &work)),
        None => signals(Some(last)),
    };
    let plan = job.plan.clone();
    let cancel = session.run(job.plan, identity, caught, |events| recorder.observe(events))?;

    // A run that was cancelled has not read every node.
    let unmatched = if cancel.is_none() { unmatched_globs(&plan, recorder.ledger.results()) } else { Vec::new() };
    let mut exit = exit::of_run(&recorder.ledger, action, cancel);
    // Nothing has come to the state that was waited for.
    let is_unmet = action == Action::Wait && !unmatched.is_empty();
    if is_unmet {
        exit = exit::of_mistake(exit);
    }
    // Anything that is not final can be resumed, so the run is not complete.
    let is_open = recorder.ledger.results().iter().any(|result| !is_final(result));
    let is_complete = cancel.is_none() && !is_open;
    // Before the sinks end: the journal must be right even if writing results fails.
    let stopped_by = if is_complete { None } else { stop_cause(recorder.ledger.results(), cancel) };
    end_in_journal(&mut recorder, exit, is_complete, stopped_by);
    recorder.finish(exit);
    if is_unmet {
        CliError::mistaken_names(&unmatched).print();
    } else {
        reading::warn_of_globs(&unmatched);
    }
    // After the sinks have ended, or the files would lack their last lines.
    let is_written = commit(files, &recorder, saving, cancel);
    if changes {
        say_how_to_continue(&recorder, &head, is_open, is_complete);
    }
    // Results that could not be written must not look like success to a script.
    Ok(if is_written { exit } else { exit::of_unwritten(exit, changes) })
}

fn head(job: &CliJob, settings: &Settings, resumed: Option<&ResumedRun>) -> RunHead {
    RunHead {
        run: resumed.map_or_else(settings::run_id, |resumed| resumed.request.run.clone()),
        command: job.command.clone(),
        action: job.action.clone(),
        services: job.services.clone(),
        started: resumed.map_or_else(jiff::Timestamp::now, |resumed| resumed.request.started),
        // Of a retry, the nodes that are left: the run of all of them was another.
        nodes: match resumed {
            Some(resumed) => resumed.request.nodes,
            None => u32::try_from(job.plan.selected.saturating_sub(job.plan.idle.len())).unwrap_or(u32::MAX),
        },
        selection: settings::scope(settings),
        input: job.plan.input().map(|input| input.digest().clone()),
    }
}

fn locks(head: &RunHead, plan: &Plan, change: Option<&ChangeSettings>, reason: Option<&str>) -> LockPolicy {
    let holder = settings::lock_holder(&head.run, jiff::Timestamp::now(), reason);
    let wait = change.map(|change| change.lock_wait).unwrap_or_default();
    LockPolicy::new(holder, wait, change.is_some_and(|change| change.no_guard), plan)
}

/// Whether guards on the nodes would start again what the run has stopped.
fn is_guarded(plan: &Plan, change: Option<&ChangeSettings>) -> bool {
    // Only restarts and updates stop a service with the promise to start it again.
    plan.restarts() && !change.is_some_and(|change| change.no_guard)
}

fn recorder(
    job: &CliJob,
    settings: &Settings,
    out: &ResultOutput,
    tail: Option<LogTail>,
    stop: StopTexts,
) -> EventRecorder {
    let output = &settings.output;
    let (sinks, messages) = match tail {
        Some(tail) => (output::log_sinks(output, out, tail.follow), StderrMessages::default()),
        None => {
            let first_screen = job.shown.first_screen.then(|| output::node_roles(&job.plan));
            // The progress display comes before the results, because it must leave the screen first.
            let (mut sinks, messages) = output::progress(output, &job.plan);
            output::results(&mut sinks, output, out, first_screen);
            (sinks, messages)
        }
    };
    let mut recorder = EventRecorder::new(sinks, messages, stop);
    // A display prints notices itself; without one they would be lost.
    recorder.prints_notices = !output.quiet && (tail.is_some() || !output::shows_progress(output));
    recorder
}

/// Notes in the journal that the run has ended; `is_complete`: there is nothing to resume.
fn end_in_journal(recorder: &mut EventRecorder, exit: ExitStatus, is_complete: bool, stopped_by: Option<StopCause>) {
    if let Some((journal, run)) = &mut recorder.journal
        && let Err(error) = journal.end(run, exit.code(), is_complete, stopped_by)
        // A journal that failed was reported when it did.
        && !recorder.journal_failed
    {
        terminal::say(&format!("warning: {error}"));
    }
}

/// What ended a run that is not complete, as its results say.
fn stop_cause(results: &[TargetResult], cancel: Option<CancelReason>) -> Option<StopCause> {
    if let Some(reason) = cancel {
        let is_journal = reason == CancelReason::JournalLost;
        return Some(if is_journal { StopCause::Journal } else { StopCause::Signal });
    }
    const CAUSES: [(FailureKind, StopCause); 4] = [
        (FailureKind::Limit, StopCause::FailureLimit),
        (FailureKind::Gate, StopCause::Gate),
        (FailureKind::MaxUnavailable, StopCause::MaxUnavailable),
        (FailureKind::Locked, StopCause::Locked),
    ];
    let not_started = results.iter().filter(|own| own.outcome == Outcome::NotStarted && !is_final(own));
    let mut kinds = not_started.filter_map(|result| Some(result.failure.as_ref()?.kind));
    kinds.find_map(|kind| CAUSES.iter().find(|(own, _)| *own == kind).map(|(_, cause)| *cause))
}

/// Puts the files of results in their places. Whether everything was written.
fn commit(files: ResultFiles, recorder: &EventRecorder, saving: Option<SinkId>, cancel: Option<CancelReason>) -> bool {
    let failed = recorder.sinks.failed();
    // The sink of `--save` is apart: its failure does not make the results incomplete.
    let out_is_complete = failed.iter().all(|id| Some(*id) == saving);
    let mut errors: Vec<CliError> = files.out.commit_if(out_is_complete).err().into_iter().collect();
    match files.saved {
        // A snapshot without the nodes that were not read would not be one of them.
        Some(_) if cancel.is_some() => terminal::say("--save: interrupted, nothing was saved"),
        Some(saved) => errors.extend(saved.commit_if(failed.iter().all(|id| Some(*id) != saving)).err()),
        None => {}
    }
    errors.iter().for_each(CliError::print);
    errors.is_empty() && failed.is_empty()
}

/// The commands that do the rest of a run: failed targets, and, if it is not complete, those not started.
fn say_how_to_continue(recorder: &EventRecorder, head: &RunHead, is_open: bool, is_complete: bool) {
    // An unfinished run visits the nodes without a batch by itself.
    let has_failed = |result: &&TargetResult| {
        matches!(result.outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Unreachable)
            && !is_mistaken(result)
            && (is_complete || result.batch.is_some())
    };
    let failed: Vec<&str> = recorder.ledger.results().iter().filter(has_failed).map(|own| own.node.as_str()).collect();
    if !failed.is_empty() {
        let set = NodeSet::from_names(failed);
        let first = if is_complete { String::new() } else { format!("Fix {set} and resume the run, or retry") };
        let retry = if is_complete { format!("Failed on {set}. Retry") } else { first };
        terminal::say(&format!("{retry} everything that did not succeed with: ctl runs retry {}", head.run));
    }
    let unknown = recorder.ledger.results().iter().filter(|result| is_unknown_command(result));
    let unknown: Vec<&str> = unknown.map(|own| own.node.as_str()).collect();
    // A resume comes first; a command whose end is not known can be retried after it.
    if !is_complete && (is_open || unknown.is_empty()) {
        terminal::say(&not_finished(&head.run, head.input.is_some()));
    } else if !unknown.is_empty() {
        terminal::say(&not_known(&head.run, head.input.is_some(), &NodeSet::from_names(unknown)));
    }
}

/// Whether a result stands: a run that has others can be resumed. A run that was refused because no node has a name would
/// be refused again, and a resume does not run a command again.
fn is_final(result: &TargetResult) -> bool {
    // What a failed item kept from running waits for a retry.
    let is_behind_failure = result.item.is_some()
        && result.outcome == Outcome::NotStarted
        && result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Gate);
    is_mistaken(result)
        || is_behind_failure
        || is_unknown_command(result)
        || !matches!(result.outcome, Outcome::NotStarted | Outcome::Unknown)
}

/// Whether a name was typed that is nowhere: it would fail again.
fn is_mistaken(result: &TargetResult) -> bool {
    result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NoSuchService)
}

/// Whether it is unknown how a command of `exec` ended. A copy is not among them: it can be repeated.
fn is_unknown_command(result: &TargetResult) -> bool {
    result.outcome == Outcome::Unknown && result.command.is_some()
}

/// Records the run before anything is done for it.
fn begin(head: &RunHead, job: &CliJob, reason: Option<String>, words: &[String]) -> Result<Journal, CliError> {
    let mut journal = settings::journal()?;
    journal.begin(&RunRequest {
        run: head.run.clone(),
        words: words.to_vec(),
        // The directory may be gone; the journal only needs one to resolve relative paths from.
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

/// A run that reads needs no journal, but its user may want to change something next.
fn warn_of_journal() {
    if let Err(error) = settings::journal() {
        terminal::say(&format!("warning: {}; a run that changes nodes would fail now", error.message()));
    }
}

/// The command that resumes a run which did not finish.
pub(super) fn not_finished(run: &str, has_input: bool) -> String {
    let input = if has_input { " < FILE (with the same standard input)" } else { "" };
    format!("Run not finished. Resume it with: ctl runs resume {run}{input}")
}

/// The command that runs a command again where it is unknown how it ended.
fn not_known(run: &str, has_input: bool, nodes: &NodeSet) -> String {
    let input = if has_input { " < FILE (with the same standard input)" } else { "" };
    format!("Unknown whether the command ended on {nodes}: check there. Run it again with: ctl runs retry {run}{input}")
}

/// Asks before every node of the inventory is changed.
fn confirm(what: &str, plan: &Plan, change: &ChangeSettings) -> Result<(), CliError> {
    let count = plan.selected;
    // One node is no surprise, and a dry run changes nothing.
    if !plan.changes() || count < 2 || change.yes || change.dry_run.is_some() {
        return Ok(());
    }
    if !terminal::can_ask() {
        return Err(CliError::usage(format!(
            "this {what} on all {count} nodes of the inventory; without a terminal, confirm it with --yes"
        ))
        .with_hint("select nodes or roles with -w or -r, or add -y"));
    }
    let answer = terminal::ask(&format!("This {what} on all {count} nodes. Type {count} to continue: "))
        .map_err(|error| CliError::usage(format!("no answer: {error}")))?;
    // The count has to be typed, since a `y` is typed without reading.
    if answer == count.to_string() { Ok(()) } else { Err(CliError::usage("not confirmed; nothing was done")) }
}
