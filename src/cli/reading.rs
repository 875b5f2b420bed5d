//! Runs that change nothing and whose results are those of a status.
//!
//! Here live the parts of such a run ([`head`], [`setup`]), for one run and for the rounds of a watch; [`read`], for a
//! comparison with a snapshot; and [`look_ahead`], for `--dry-run=live`. Uses `run`. What always holds: no lock is
//! taken, no journal is written, and the first signal ends it with the results so far.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::endpoints;
use super::error::CliError;
use super::exit::{self, ExitStatus};
use super::limits::FileBudget;
use super::recorder::EventRecorder;
use super::session::{RunIdentity, RunSession};
use super::settings::{self, Settings};
use super::signals::{StopTexts, signals};
use ctl_event::{CancelReason, EventKind, Ledger, RunEvent, RunHead};
use ctl_guard::LockHolder;
use ctl_plan::live::LiveState;
use ctl_plan::{Action, Plan};
use ctl_run::{LockPolicy, NodeAccess, RunSetup};
use ctl_transport::SshTransport;

/// The head of a run that only reads.
pub(super) fn head(plan: &Plan, services: &[String], settings: &Settings) -> RunHead {
    RunHead {
        run: settings::run_id(),
        command: "status".to_owned(),
        action: Some(Action::Status.as_str().to_owned()),
        services: services.to_vec(),
        started: jiff::Timestamp::now(),
        nodes: u32::try_from(plan.selected).unwrap_or(u32::MAX),
        selection: settings::scope(settings),
        input: None,
    }
}

/// Everything that such a run needs, over a transport that others use too.
pub(super) fn setup(
    plan: Plan,
    head: RunHead,
    access: Vec<NodeAccess>,
    budget: FileBudget,
    transport: &Arc<SshTransport>,
    notices: mpsc::Receiver<String>,
) -> RunSetup<SshTransport> {
    RunSetup {
        guarding: no_locks(&plan),
        plan: Arc::new(plan),
        head,
        access,
        forks: budget.forks,
        hangs_up: budget.hangs_up,
        transport: Arc::clone(transport),
        notices,
        first_seq: 0,
        first_batch: 1,
    }
}

fn no_locks(plan: &Plan) -> LockPolicy {
    // No lock is taken, so the holder and the wait are never used.
    LockPolicy::new(LockHolder::default(), Duration::ZERO, true, plan)
}

/// Runs `plan`, which changes nothing, and shows only the progress. Returns the results, and the reason if reading was
/// cancelled.
///
/// # Errors
/// If the session cannot be opened.
pub(super) fn read(plan: Plan, settings: &Settings) -> Result<(Ledger, Option<CancelReason>), CliError> {
    let access = endpoints::access(settings, &plan.nodes)?;
    let session = RunSession::open(&plan, access, settings, false)?;
    let mut recorder = EventRecorder::progress_only(&plan, &settings.output, StopTexts::Comparing);
    let cancel = run(session, plan, settings, &mut recorder, |_| {})?;
    Ok((recorder.ledger, cancel))
}

/// Reads the nodes of a plan: the state that it would find, and the exit code of a status of them.
///
/// # Errors
/// If signals cannot be caught.
pub(super) fn look_ahead(
    session: RunSession,
    plan: &Plan,
    settings: &Settings,
) -> Result<(LiveState, ExitStatus), CliError> {
    let reading = plan.reading();
    let mut recorder = EventRecorder::progress_only(&reading, &settings.output, StopTexts::Reading);
    let mut live = LiveState::default();
    let cancel = run(session, reading, settings, &mut recorder, |event| {
        if let EventKind::PendingUpdate(pending) = &event.kind {
            live.update(pending.clone());
        }
    })?;
    let results = recorder.ledger.results();
    for result in results {
        live.result(plan, result);
    }
    // Nodes that are only read for a cap are shown with it; the exit code is that of the selected ones.
    let selected: BTreeSet<&str> =
        plan.nodes.iter().take(plan.selected).map(|selected| selected.node.name.as_str()).collect();
    let own = results.iter().filter(|result| selected.contains(result.node.as_str()));
    let exit = exit::of_results(own, Action::Status, cancel);
    Ok((live, exit))
}

fn run(
    session: RunSession,
    plan: Plan,
    settings: &Settings,
    recorder: &mut EventRecorder,
    mut also: impl FnMut(&RunEvent),
) -> Result<Option<CancelReason>, CliError> {
    let identity =
        RunIdentity { head: head(&plan, &[], settings), locks: no_locks(&plan), first_seq: 0, first_batch: 1 };
    let work = Arc::new(());
    // The recorder decides which signal is the last; dropping `work` at the end of this function disarms it.
    let last = recorder.stop.last(&recorder.messages, &work);
    let cancel = session.run(
        plan,
        identity,
        || signals(Some(last)),
        |events| {
            events.iter().for_each(&mut also);
            recorder.observe(events)
        },
    )?;
    // The progress must leave the screen; the results are shown by the caller, whose exit code counts.
    recorder.finish(ExitStatus::Good);
    Ok(cancel)
}
