//! `ctl snapshot diff A B|live`.

use std::collections::BTreeSet;
use std::path::Path;

use nodeset::NodeSet;

use crate::cli::output::{self, FoldRows, ResultOutput};
use crate::cli::reading;
use ctl_args::args::{SnapshotArgs, SnapshotCommand};
use ctl_args::format::Encoding;
use ctl_args::settings::{self, SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::{self, ExitStatus};
use ctl_console::terminal;
use ctl_event::{CancelReason, Ledger};
use ctl_plan::{Action, TaskSpec, Work, plan};
use ctl_select::{NodeQuery, select};
use ctl_sink::{SinkError, snapshot_diff, text};
use ctl_snapshot::{Snapshot, SnapshotDiff, diff};

/// What stands for the cluster as it is now. A file of that name is `./live`.
const LIVE: &str = "live";

pub(in crate::cli) fn run(args: &SnapshotArgs) -> Result<ExitStatus, CliError> {
    let SnapshotCommand::Diff { before, after, fanout } = &args.command;
    let settings = Settings::from(fanout.as_ref());
    let output = &settings.output;
    output.start_log()?;
    // Comparing now with then would swap better and worse.
    if before == LIVE {
        return Err(CliError::usage("only the second snapshot can be `live`")
            .with_hint("ctl status --save FILE; then ctl snapshot diff FILE live"));
    }
    output::can_fold(output, FoldRows::Changes)?;
    let is_limited = settings.selects_some();
    if after != LIVE && is_limited {
        return Err(CliError::usage("-r, -w and -x cannot be used to compare two files")
            .with_hint("limit the snapshots when you take them: ctl status -r ROLE --save FILE"));
    }
    let old = settings::snapshot(Path::new(before))?;
    // Before the nodes are asked: what cannot be written is known at once.
    let out = ResultOutput::open(output.out.as_deref())?;
    let (new, cancel) =
        if after == LIVE { live(&old, &settings)? } else { (settings::snapshot(Path::new(after))?, None) };
    if let Some(reason) = cancel {
        terminal::say("interrupted while reading the nodes; nothing was compared");
        // Nothing was compared, so only the signal decides the exit code.
        return Ok(exit::of_run(&Ledger::default(), Action::Status, Some(reason)));
    }
    if old.started > new.started && !output.quiet {
        terminal::say(&format!("warning: {before} is newer than {after}; did you swap them?"));
    }
    let found = diff(&old, &new);
    // Without anything in common "no changes" would be misleading.
    if found.summary.nodes == 0 {
        return Err(
            CliError::usage("the two snapshots share no node or role").with_hint("see `selection` in each of them")
        );
    }
    show(&found, &settings, out)?;
    Ok(if found.is_worse() { ExitStatus::Failed } else { ExitStatus::Good })
}

/// The nodes of a snapshot as they are now. Those that the inventory does not have any more are not in it.
fn live(old: &Snapshot, settings: &Settings) -> Result<(Snapshot, Option<CancelReason>), CliError> {
    let (inventory, _) = settings::inventory(settings.inventory.as_deref(), &SavedInputs::default())?;
    let names: BTreeSet<&str> = old.results.iter().map(|result| result.node.as_str()).collect();
    let known = inventory.nodes.iter().map(|node| node.name.as_str()).filter(|name| names.contains(name));
    let known = NodeSet::from_names(known);
    if known.is_empty() {
        return Err(CliError::usage("none of the snapshot's nodes are in the inventory")
            .with_hint("choose the right inventory with -i"));
    }
    // As it was asked then, unless it is said otherwise now.
    let is_limited = settings.selects_some();
    let mut asked = settings::scope(settings);
    if !is_limited {
        asked = old.selection.clone();
    } else if asked.roles.is_empty() {
        asked.roles.clone_from(&old.selection.roles);
    }
    // Groups may have other nodes by now: those of the snapshot are meant.
    let nodes = match &old.selection.nodes {
        Some(_) if settings.nodes.is_empty() => vec![known.to_string()],
        _ => settings.nodes.clone(),
    };
    let query = NodeQuery { roles: &asked.roles, nodes: &nodes, exclude: &settings.exclude, services: &old.services };
    let mut selection = select(&inventory, &query)?;
    // Where nodes were named or left out, what else these names mean by now was not asked for.
    if old.selection.nodes.is_some() || old.selection.exclude.is_some() {
        selection.nodes.retain(|selected| known.contains(&selected.node.name));
    }
    if selection.nodes.is_empty() {
        return Err(CliError::usage("none of the snapshot's nodes is selected"));
    }
    let plan = plan(vec![TaskSpec::new(selection, Work::deep_status)], &inventory, settings.via);
    let (ledger, cancel) = reading::read(plan, settings)?;
    let read = Snapshot { selection: asked, services: old.services.clone(), ..Snapshot::of(&ledger) };
    Ok((read, cancel))
}

fn show(found: &SnapshotDiff, settings: &Settings, out: ResultOutput) -> Result<(), CliError> {
    let output = &settings.output;
    let color = output.out.is_none() && terminal::color(output.color);
    let written = match output.format.encoding() {
        Encoding::Text { wide: false } if output.fold == Some(false) => {
            Ok(snapshot_diff::each(found, color).join("\n") + "\n")
        }
        Encoding::Text { wide: false } => Ok(snapshot_diff::lines(found, color).join("\n") + "\n"),
        Encoding::Text { wide: true } => Ok(snapshot_diff::rows(found, None, color)),
        Encoding::Json => snapshot_diff::json(found),
        Encoding::JsonLines => snapshot_diff::jsonl(found),
        Encoding::Yaml => snapshot_diff::yaml(found),
        Encoding::Csv => snapshot_diff::csv(found),
        Encoding::OnlyResults => Ok(String::new()),
    };
    let written = written.map_err(|error: SinkError| CliError::usage(text::single_line(&error.to_string())))?;
    output::write(out, &written)?;
    if !output.quiet {
        terminal::say(&snapshot_diff::summary(&found.summary));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use ctl_event::{
        EventKind, Failure, FailureEvidence, FailureKind, FindingKind, LogStream, NodeFacts, NodeFinding, Outcome,
        ProcessState, RunEvent, RunHead, RunScope, Stage, SupervisorFacts, TargetResult, Via,
    };
    use ctl_sink::{JsonSink, Sink};

    use super::*;

    #[derive(Clone, Default)]
    struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for SharedBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Every field set to what none of them is by default, so that one that is written and not read is seen.
    fn ledger() -> Ledger {
        let text = |text: &str| Some(text.to_owned());
        let head = RunHead {
            run: "20260301-080000-abcd".to_owned(),
            command: "status".to_owned(),
            action: text("status"),
            services: vec!["contrail-*".to_owned()],
            started: "2026-03-01T08:00:00Z".parse().expect("a time"),
            nodes: 2,
            selection: RunScope { roles: vec!["analytics".to_owned()], nodes: text("a[1-2]"), exclude: text("a3") },
            input: None,
        };
        let evidence = FailureEvidence {
            exit_status: Some(-1),
            ended: text("terminated by SIGSEGV"),
            stream: LogStream::Stderr,
            lines: vec!["\u{1b}[31m".to_owned()],
        };
        let result = TargetResult {
            node: "a1".to_owned(),
            address: text("10.0.0.1"),
            role: text("analytics"),
            supervisor: text("supervisor-analytics"),
            service: text("contrail-api:0"),
            outcome: Outcome::Failed,
            state: Some(ProcessState::Backoff),
            pid: Some(7),
            uptime_s: Some(8),
            functional: Some("failed".into()),
            functional_reason: text("a \"reason\"\n\u{9b}"),
            version: text("3.2"),
            message: "a message".to_owned(),
            failure: Some(Failure::new(Stage::Verify, FailureKind::Unstable, "x").with_hint("y")),
            evidence: Some(evidence),
            via: Some(Via::Supervisorctl),
            batch: Some(1),
            duration_ms: Some(9),
            item: None,
            command: None,
        };
        let supervisor = SupervisorFacts {
            role: "analytics".to_owned(),
            name: "supervisor-analytics".to_owned(),
            address: text("/tmp/x.sock"),
            via: Via::Rpc,
            version: text("3.0"),
            pid: Some(3),
        };
        let finding = NodeFinding {
            kind: FindingKind::CoreFiles,
            role: text("analytics"),
            message: "core files".to_owned(),
            details: vec!["/var/crashes/core.x".to_owned()],
            count: Some(30),
        };
        let facts = NodeFacts {
            node: "a1".to_owned(),
            supervisors: vec![supervisor],
            packages: [("contrail-analytics".to_owned(), "3.2".to_owned())].into(),
            findings: vec![finding],
        };
        let kinds = [
            EventKind::RunStarted(head),
            EventKind::BatchStarted { batch: 1, step: 0, role: None, nodes: vec!["a1".to_owned()], rechecks: false },
            EventKind::Result(result),
            EventKind::NodeFacts(facts),
            EventKind::RunFinished { elapsed_ms: 812 },
        ];
        let mut ledger = Ledger::default();
        for (seq, kind) in (0..).zip(kinds) {
            let event = RunEvent { seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, kind };
            ledger.apply(&event).expect("an event that fits");
        }
        ledger
    }

    #[test]
    fn what_is_written_is_read_back_whole() {
        let (ledger, out) = (ledger(), SharedBuffer::default());
        JsonSink::new(Box::new(out.clone())).finish(&ledger, 3).expect("written");
        let text = out.0.lock().expect("a lock").clone();
        let read = ctl_snapshot::read(&text).expect("a snapshot");
        assert_eq!(read, Snapshot::of(&ledger));
        assert_eq!((read.elapsed, read.results.len(), read.nodes.len()), (Duration::from_millis(812), 1, 1));
    }
}
