//! Runs that change nothing and whose results are those of a status.
//!
//! Here live [`read`], for a comparison with a snapshot, and [`look_ahead`], for `--dry-run=live`. Uses `run`. Invariants: no lock is
//! taken, no journal is written, and the first signal ends it with the results so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::recorder::EventRecorder;
use ctl_args::settings::Settings;
use ctl_console::error::CliError;
use ctl_console::exit::{self, ExitStatus};
use ctl_console::signals::{StopTexts, signals};
use ctl_console::terminal;
use ctl_event::{CancelReason, EventKind, Failure, Ledger, Outcome, RunEvent};
use ctl_plan::live::LiveState;
use ctl_plan::{Action, Plan};
use ctl_session::endpoints;
use ctl_session::read_only;
use ctl_session::session::{RunIdentity, RunSession};
use ctl_session::unmatched::unmatched_globs;
use ctl_sink::text;

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
    let only_helps: BTreeSet<&str> = (0..)
        .zip(&plan.nodes)
        .filter(|(index, _)| plan.only_helps(*index))
        .map(|(_, own)| own.node.name.as_str())
        .collect();
    let cancel = run(session, reading.clone(), settings, &mut recorder, |event| {
        if let EventKind::PendingUpdate(pending) = &event.kind
            && !only_helps.contains(pending.node.as_str())
        {
            live.update(pending.clone());
        }
    })?;
    let results = recorder.ledger.results();
    for result in results {
        live.result(plan, result);
    }
    // Nodes that are only read for a cap are shown with it; the exit code is that of the selected ones, and of helpers that
    // cannot be reached.
    let name = |index: usize| plan.nodes.get(index).map(|selected| selected.node.name.as_str());
    let selected: BTreeSet<&str> = (0..plan.selected).filter_map(name).collect();
    let helpers: BTreeSet<&str> = plan.helpers().into_iter().filter_map(name).collect();
    let own = results.iter().filter(|result| {
        let is_helper = result.outcome == Outcome::Unreachable && helpers.contains(result.node.as_str());
        is_helper || selected.contains(result.node.as_str())
    });
    let exit = exit::of_results(own, Action::Status, cancel);
    if cancel.is_none() {
        warn_of_globs(&unmatched_globs(&reading, results));
    }
    Ok((live, exit))
}

/// A glob may match nothing; one that does is often a typo.
pub(super) fn warn_of_globs(unmatched: &[Failure]) {
    for failure in unmatched {
        terminal::say(&format!("warning: {}", text::single_line(&failure.message)));
        if let Some(hint) = &failure.hint {
            terminal::say(&format!("  → {}", text::single_line(hint)));
        }
    }
}

fn run(
    session: RunSession,
    plan: Plan,
    settings: &Settings,
    recorder: &mut EventRecorder,
    mut also: impl FnMut(&RunEvent),
) -> Result<Option<CancelReason>, CliError> {
    let identity = RunIdentity {
        head: read_only::head(&plan, &[], settings),
        locks: read_only::no_locks(&plan),
        first_seq: 0,
        first_batch: 1,
    };
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
