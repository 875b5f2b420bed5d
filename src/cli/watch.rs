//! `ctl status --watch`: round after round over the same connections, and what has changed since the last.
//!
//! It uses `snapshot`, `sink` and the rounds of `rounds.rs`. Invariants: a round begins no sooner than the interval
//! after the last began; the picture is drawn in one piece, and stays when the watch ends.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::job::CliJob;
use super::output;
use ctl_args::settings::Settings;
use ctl_console::error::CliError;
use ctl_console::exit::{self, ExitStatus};
use ctl_console::signals::signals;
use ctl_console::terminal;
use ctl_event::{CancelReason, Ledger};
use ctl_overview::NodeRoles;
use ctl_plan::{Action, Plan};
use ctl_run::NodeAccess;
use ctl_session::endpoints;
use ctl_session::rounds::{ClusterState, NodeRounds};
use ctl_session::session::RunSession;
use ctl_sink::encode::{self, SchemaName};
use ctl_sink::{OverviewOptions, watch_frame, watch_lines};
use ctl_snapshot::NodeChange;

/// Time for one node in a round, unless another is typed: one that hangs must not hold the picture back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches until a signal comes, or nobody reads any more.
pub(super) fn run(job: CliJob, settings: &Settings, interval: Duration) -> Result<ExitStatus, CliError> {
    let access = access(settings, &job.plan)?;
    let roles = output::node_roles(&job.plan);
    let RunSession { runtime, transport, notices, access, budget, .. } =
        RunSession::open(&job.plan, access, settings, false)?;
    let rounds =
        NodeRounds::new(&job.plan, &job.services, &access, settings, (&transport, notices), (budget, interval));
    // In place only for people; JSON lines are the same at a terminal and in a pipe.
    let view: Box<dyn WatchView> = if terminal::stdout_is_terminal() && !settings.output.format.is_stream() {
        Box::new(InPlace {
            roles,
            color: terminal::color(settings.output.color),
            interval,
            unfold: settings.output.fold == Some(false),
            past: VecDeque::new(),
        })
    } else {
        Box::new(ChangeLines)
    };
    let exit = runtime.block_on(async {
        let signals = signals(None)?;
        watch(rounds, signals, view).await
    });
    // A node that never answers must not keep the process.
    runtime.shutdown_background();
    exit
}

/// How the nodes are reached, round after round.
pub(super) fn access(settings: &Settings, plan: &Plan) -> Result<Vec<NodeAccess>, CliError> {
    let mut access = endpoints::access(settings, &plan.nodes)?;
    if settings.timeout.is_none() {
        for node in &mut access {
            node.timeout = node.timeout.min(PATIENCE);
        }
    }
    Ok(access)
}

/// Shows rounds.
trait WatchView {
    /// Shows the cluster, and what has changed; false: nobody looks any more.
    fn show(&mut self, picture: &ClusterState, is_first: bool) -> bool;

    /// Leaves the picture on the screen.
    fn end(&mut self);
}

async fn watch(
    mut rounds: NodeRounds,
    mut signals: mpsc::Receiver<CancelReason>,
    mut view: Box<dyn WatchView>,
) -> Result<ExitStatus, CliError> {
    let mut ledger = Ledger::default();
    let mut is_first = true;
    loop {
        let picture = tokio::select! {
            // The signal first: a cluster that answers all the time must not delay the end.
            biased;
            reason = signals.recv() => {
                // The picture stays on the screen, so the prompt goes below it.
                view.end();
                return Ok(exit::of_run(&ledger, Action::Status, reason.or(Some(CancelReason::Interrupted))));
            }
            picture = rounds.next_state() => picture,
        };
        if !view.show(&picture, is_first) {
            // Nobody reads any more, and the last picture decides the exit code.
            return Ok(exit::of_run(&picture.ledger, Action::Status, None));
        }
        if !picture.mistakes.is_empty() {
            view.end();
            return Err(CliError::mistaken_names(&picture.mistakes));
        }
        ledger = picture.ledger;
        is_first = false;
    }
}

/// Drawn in place at a terminal.
struct InPlace {
    roles: NodeRoles,
    color: bool,
    interval: Duration,
    unfold: bool,
    /// Recent changes, the newest first.
    past: VecDeque<String>,
}

/// So many changes are kept for the picture.
const PAST: usize = 100;

impl WatchView for InPlace {
    fn show(&mut self, picture: &ClusterState, is_first: bool) -> bool {
        // In the first round everything is new, and nothing has changed.
        if !is_first {
            for line in watch_lines(&picture.changes, &clock()).into_iter().rev() {
                self.past.push_front(line);
            }
            self.past.truncate(PAST);
        }
        let (width, height) = terminal::stdout_size();
        let head = format!("every {:?}, {}", self.interval, clock());
        let options = OverviewOptions { unfold: self.unfold, width, height, color: self.color };
        let frame = watch_frame(
            (&head, &picture.late),
            &picture.ledger,
            &self.roles,
            self.past.iter().map(String::as_str),
            options,
        );
        // Home instead of clear: clearing first would flicker.
        let mut drawn = String::from("\x1b[H");
        let count = frame.len();
        for (number, line) in frame.into_iter().enumerate() {
            drawn.push_str(&line);
            // A line's end in the last row would move the picture.
            drawn.push_str(if number + 1 < count { "\x1b[K\r\n" } else { "\x1b[K" });
        }
        // Rows of a longer picture before this one may be left below.
        drawn.push_str("\x1b[J");
        let mut out = std::io::stdout().lock();
        out.write_all(drawn.as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    fn end(&mut self) {
        let mut out = std::io::stdout().lock();
        // A terminal that is gone needs no tidying.
        drop(out.write_all(b"\r\n").and_then(|()| out.flush()));
    }
}

/// The time of day, as the operator's clock has it.
fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

/// One JSON object a line for each change.
struct ChangeLines;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum WatchLine<'a> {
    /// The first round is over.
    WatchStarted {
        at: jiff::Timestamp,
        // There is no first round without a run.
        #[cfg_attr(test, schemars(with = "String"))]
        run: Option<&'a str>,
        nodes: u64,
        results: u64,
    },
    /// Something has changed; in the first round, something is not healthy.
    Change {
        at: jiff::Timestamp,
        #[serde(flatten)]
        change: &'a NodeChange,
    },
}

/// One line of a watch.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WatchLine"))]
pub(super) struct TaggedChange<'a> {
    schema: SchemaName,
    #[serde(flatten)]
    line: WatchLine<'a>,
}

impl WatchView for ChangeLines {
    fn show(&mut self, picture: &ClusterState, is_first: bool) -> bool {
        let lines = json_lines(picture, is_first, jiff::Timestamp::now());
        let mut out = std::io::stdout().lock();
        out.write_all(lines.as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    fn end(&mut self) {}
}

/// The changes of a picture, one JSON object a line; before the first, that the watch has started.
pub(super) fn json_lines(picture: &ClusterState, is_first: bool, at: jiff::Timestamp) -> String {
    let head = picture.ledger.head();
    let run = head.map(|head| head.run.as_str());
    let nodes = head.map_or(0, |head| u64::from(head.nodes));
    let results = picture.ledger.result_count();
    let start = is_first.then_some(WatchLine::WatchStarted { at, run, nodes, results });
    let changes = picture.changes.changes.iter().map(|change| WatchLine::Change { at, change });
    let mut lines = String::new();
    for line in start.into_iter().chain(changes) {
        match encode::json_line(&TaggedChange { schema: SchemaName::Ctl1, line }) {
            Ok(json) => lines.push_str(&json),
            Err(error) => tracing::error!(%error, "a change without a form in JSON"),
        }
    }
    lines
}
