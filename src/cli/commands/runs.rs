//! `ctl runs [list | show ID | resume ID | retry ID | undo ID]`.

use std::io::Write;

use clap::Parser;
use serde::Serialize;

use crate::cli::commands::{cp, exec, rollout, service};
use crate::cli::execute::{ResumedRun, execute, not_finished};
use crate::cli::input;
use crate::cli::job::CliJob;
use crate::cli::output::{self, FoldRows, ResultOutput, document};
use crate::cli::recorder::EventRecorder;
use crate::cli::replay::last_words;
use ctl_args::args::{CliArgs, CliCommand, VerbArgs};
use ctl_args::change_args::DryRun;
use ctl_args::runs_args::{RunsArgs, RunsCommand};
use ctl_args::settings::{self, ChangeSettings, OutputSettings, SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::{self, ExitStatus};
use ctl_console::signals::StopTexts;
use ctl_console::terminal;
use ctl_console::terminal::StderrMessages;
use ctl_journal::resume::{self, RemainingWork};
use ctl_journal::{
    Journal, JournalError, RunController, RunOrigin, RunRecord, RunRequest, RunState, RunSummary, state_text,
};
use ctl_plan::amount::FailureLimit;
use ctl_plan::{Action, Plan, ServiceVerb, TargetFilter, Task, TaskSpec, Work, plan};
use ctl_select::{NodeQuery, select};
use ctl_sink::SinkSet;
use ctl_sink::{plain_table, text};

/// Runs shown where no number is given.
const SHOWN: u32 = 20;

/// Runs that go back to each other are followed so far.
const ORIGINS: u32 = 16;

/// A job, and the options that its run was typed with.
type PlannedJob = (CliJob, Settings, ChangeSettings);

pub(in crate::cli) fn run(args: &RunsArgs) -> Result<ExitStatus, CliError> {
    let output = args.command.as_ref().map_or(&args.output, RunsCommand::output);
    let output = &OutputSettings::from(output.clone());
    output.start_log()?;
    let journal = settings::journal()?;
    match &args.command {
        None => list(&journal, SHOWN, output),
        Some(RunsCommand::List { limit, .. }) => list(&journal, *limit, output),
        Some(RunsCommand::Show { id, .. }) => show(&journal.load(&id.id)?, output),
        Some(RunsCommand::Resume { id, max_failures, dry, .. }) => {
            let options = ResumeOptions { max_failures: *max_failures, dry_run: dry.dry_run };
            resume(journal, &id.id, options, output)
        }
        Some(RunsCommand::Retry { id, dry, .. }) => {
            let record = journal.load(&id.id)?;
            // The rest of a run in progress is not known yet.
            not_at_work(&record)?;
            let nothing = format!("Everything in run {} succeeded; nothing to retry.", record.request.run);
            say_which("Retrying", &record, dry.dry_run, output);
            anew(retry(&record, 0)?, &nothing, &record, dry.dry_run, output)
        }
        Some(RunsCommand::Undo { id, dry, .. }) => {
            let record = journal.load(&id.id)?;
            not_at_work(&record)?;
            let nothing = format!("Run {} stopped no services and kept nothing; nothing to undo.", record.request.run);
            say_which("Undoing", &record, dry.dry_run, output);
            anew(undo(&record, 0)?, &nothing, &record, dry.dry_run, output)
        }
    }
}

/// Characters of a command line that one line of a message has room for.
const SHOWN_WORDS: usize = 160;

/// Says which run a command acts on: `last` does not.
fn say_which(doing: &str, record: &RunRecord, dry_run: Option<DryRun>, output: &OutputSettings) {
    if output.quiet {
        return;
    }
    let request = &record.request;
    let line = text::single_line(&command_line(request));
    let mut words: String = line.chars().take(SHOWN_WORDS).collect();
    if words.len() < line.len() {
        words.push('…');
    }
    let planned = dry_run.map(|_| " (dry run)").unwrap_or_default();
    let (run, started) = (&request.run, time(&request.started));
    terminal::say(&format!("{doing} run {run}{planned}: {words}, started {started}"));
}

/// The command line of a run.
fn command_line(request: &RunRequest) -> String {
    let words = shlex::try_join(request.words.iter().map(String::as_str)).unwrap_or_else(|_| request.words.join(" "));
    format!("ctl {words}")
}

fn time(at: &jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The document of `runs list`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RunList"))]
pub(in crate::cli) struct RunListing {
    runs: Vec<RunSummary>,
}

pub(in crate::cli) fn list(journal: &Journal, limit: u32, output: &OutputSettings) -> Result<ExitStatus, CliError> {
    output::can_fold(output, FoldRows::None("runs list"))?;
    let list = RunListing { runs: journal.runs(limit)? };
    let rows = || {
        let rows = list.runs.iter().map(|run| {
            vec![
                run.run.clone(),
                time(&run.started),
                state_text(run.state, run.stopped_by),
                run.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                text::single_line(&what(run)),
                run.nodes.to_string(),
                text::single_line(&format!("{}@{}", run.user, run.host)),
                text::single_line(run.reason.as_deref().unwrap_or_default()),
            ]
        });
        if list.runs.is_empty() {
            return "no run has changed a node yet\n".to_owned();
        }
        plain_table(&["RUN", "STARTED", "STATE", "EXIT", "WHAT", "NODES", "BY", "REASON"], rows) + "\n"
    };
    document(output.format, ResultOutput::open(output.out.as_deref())?, rows, &list)?;
    Ok(ExitStatus::Good)
}

fn what(run: &RunSummary) -> String {
    let mut words = vec![run.command.clone()];
    words.extend(run.services.iter().cloned());
    words.extend(run.action.clone().filter(|action| *action != run.command));
    words.extend(run.origin.as_ref().map(|origin| match origin {
        RunOrigin::Retry { run } => format!("(retry of {run})"),
        RunOrigin::Undo { run } => format!("(undo of {run})"),
    }));
    words.join(" ")
}

/// What a run was, before what became of it.
fn head(record: &RunRecord) -> String {
    let request = &record.request;
    let state = state_text(record.state, record.stopped_by);
    let ended = match (record.state, &record.ended) {
        (RunState::Running, _) => "still running".to_owned(),
        (_, None) => state,
        (_, Some(at)) => {
            let code = record.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
            format!("{} {state}{code}", time(at))
        }
    };
    let when_and_who = |at: &jiff::Timestamp, by: &RunController| format!("{} by {}@{}", time(at), by.user, by.host);
    let mut lines = vec![
        ("run", request.run.clone()),
        ("command", command_line(request)),
        ("started", when_and_who(&request.started, &request.controller)),
    ];
    lines.extend(record.takeovers.iter().map(|resumed| ("resumed", when_and_who(&resumed.at, &resumed.controller))));
    lines.extend([
        ("reason", request.reason.clone().unwrap_or_else(|| "-".to_owned())),
        ("selection", selection(record)),
        ("ended", ended),
    ]);
    let shown = lines.iter().map(|(name, value)| format!("{:<11}{}\n", format!("{name}:"), text::visible(value)));
    shown.collect::<String>() + "\n"
}

/// The nodes that were asked for, and how many they were.
fn selection(record: &RunRecord) -> String {
    let scope = record.head().map(|head| head.selection.clone()).unwrap_or_default();
    let count = match record.request.nodes {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    let asked = [
        (!scope.roles.is_empty()).then(|| format!("-r {}", scope.roles.join(","))),
        scope.nodes.map(|nodes| format!("-w {nodes}")),
        scope.exclude.map(|exclude| format!("-x {exclude}")),
    ];
    let asked: Vec<String> = asked.into_iter().flatten().collect();
    if asked.is_empty() { count } else { format!("{} ({count})", asked.join(" ")) }
}

/// Replays a run into the sinks.
fn show(record: &RunRecord, output: &OutputSettings) -> Result<ExitStatus, CliError> {
    output::can_fold(output, FoldRows::Results)?;
    let out = ResultOutput::open(output.out.as_deref())?;
    if matches!(out, ResultOutput::Stdout) && output.format.is_text() {
        // A closed stdout is noticed by the sinks that write after this.
        drop(out.writer().write_all(head(record).as_bytes()));
    }
    let mut sinks = SinkSet::default();
    output::results(&mut sinks, output, &out, None);
    let mut recorder = EventRecorder::new(sinks, StderrMessages::default(), StopTexts::None);
    for event in last_words(&record.events) {
        recorder.apply(event.clone());
    }
    // Only changing runs are in the journal, so any action but a status will do here.
    recorder.finish(exit::of_run(&recorder.ledger, Action::Restart, recorder.ledger.cancel()));
    out.commit()?;
    match record.state {
        RunState::Finished => {}
        RunState::Running => terminal::say("the run is still running"),
        RunState::Interrupted => terminal::say(&not_finished(&record.request.run, record.input().is_some())),
    }
    // Showing a failed run is a success.
    Ok(ExitStatus::Good)
}

/// The options of a resume.
#[derive(Clone, Copy)]
struct ResumeOptions {
    max_failures: Option<FailureLimit>,
    dry_run: Option<DryRun>,
}

/// Continues a run where it stopped.
fn resume(
    mut journal: Journal,
    id: &str,
    options: ResumeOptions,
    output: &OutputSettings,
) -> Result<ExitStatus, CliError> {
    // By its full name from here on: `last` could be another run by the time it is used.
    let mut record = journal.load(id)?;
    let run = record.request.run.clone();
    if options.dry_run.is_some() {
        not_at_work(&record)?;
    }
    let finished = || {
        terminal::say(&format!("Run {run} has already finished; see ctl runs show {run}."));
        Ok(ExitStatus::Good)
    };
    if options.dry_run.is_some() && record.state == RunState::Finished {
        return finished();
    }
    if options.dry_run.is_none() {
        // Taken over first, so that two resumes of one run cannot both go on.
        match journal.take_over(&run, &RunController::this()) {
            Err(JournalError::Finished { .. }) => return finished(),
            taken => taken?,
        }
        // Read after it is taken over: by then the record of its last controller is complete.
        record = journal.load(&run)?;
    }
    say_which("Resuming", &record, options.dry_run, output);
    match rest_of(&record, options, output) {
        Ok((job, settings, change, _)) if options.dry_run.is_some() => {
            execute(job, &settings, Some(&change), &[], None)
        }
        Ok((job, settings, change, rest)) => {
            let next_seq = record.events.last().map_or(0, |event| event.seq + 1);
            let resumed = ResumedRun { journal, request: record.request, rest, next_seq };
            execute(job, &settings, Some(&change), &[], Some(resumed))
        }
        Err(error) => {
            if options.dry_run.is_none() {
                // The run is given back as incomplete, or it would seem to be running for ever.
                journal.end(&run, ExitStatus::Usage.code(), false, record.stopped_by)?;
            }
            Err(error)
        }
    }
}

/// The rest of a run, under the options of its resume.
fn rest_of(
    record: &RunRecord,
    options: ResumeOptions,
    output: &OutputSettings,
) -> Result<(CliJob, Settings, ChangeSettings, RemainingWork), CliError> {
    let (mut job, mut settings, mut change) = planned(record, 0)?;
    if let Some(error) = job.plan.tasks.iter().find_map(|task| taken_later(task, &record.request)) {
        return Err(error);
    }
    if let Some(limit) = options.max_failures {
        for task in &mut job.plan.tasks {
            task.policy.max_failures = Some(limit);
        }
    }
    // Before the input is read again: a rest without commands needs none.
    let rest = resume::resume(&mut job.plan, &record.events);
    if options.dry_run.is_none() {
        input_again(&mut job.plan, record, "resume", output)?;
    }
    settings.output = output.clone();
    // The run was confirmed when it began.
    change.yes = true;
    change.dry_run = options.dry_run;
    Ok((job, settings, change, rest))
}

/// Reads the input of a command again, which only the operator still has, for the rest of its run.
fn input_again(plan: &mut Plan, record: &RunRecord, how: &str, output: &OutputSettings) -> Result<(), CliError> {
    let is_left = plan.steps.iter().any(|step| !step.nodes.is_empty()) && plan.action() == Some(Action::Exec);
    let Some(wanted) = record.input().filter(|_| is_left) else { return Ok(()) };
    let run = &record.request.run;
    let input = input::read_again(wanted, run, &format!("ctl runs {how} {run}"), output.quiet)?;
    plan.set_input(&input);
    Ok(())
}

/// A snapshot that was taken after the run began is not the one that its gates compare with.
fn taken_later(task: &Task, request: &RunRequest) -> Option<CliError> {
    let path = task.policy.gate_snapshot.as_ref()?;
    let is_later = task.snapshot.as_ref()?.started.is_some_and(|started| started > request.started);
    is_later.then(|| {
        let message = format!(
            "{} was taken after run {} started, but its gates need the snapshot from before",
            path.display(),
            request.run
        );
        CliError::usage(message).with_hint("restore the original snapshot, or start a new run with ctl runs retry")
    })
}

/// Carries out what goes back to another run, as a run of its own.
fn anew(
    (mut job, mut settings, mut change): PlannedJob,
    nothing: &str,
    record: &RunRecord,
    dry_run: Option<DryRun>,
    output: &OutputSettings,
) -> Result<ExitStatus, CliError> {
    // Everything is done already; a run without steps would only fill the journal.
    if job.plan.steps.iter().all(|step| step.nodes.is_empty()) {
        terminal::say(nothing);
        return Ok(ExitStatus::Good);
    }
    settings.output = output.clone();
    // The run's whole name: `last` will be another.
    let how = if let Some(RunOrigin::Undo { .. }) = job.origin { "undo" } else { "retry" };
    change.dry_run = dry_run;
    if dry_run.is_none() {
        input_again(&mut job.plan, record, how, output)?;
    }
    let words = ["runs".to_owned(), how.to_owned(), record.request.run.clone()];
    execute(job, &settings, Some(&change), &words, None)
}

/// The plan of a run, made again from its record.
fn planned(record: &RunRecord, depth: u32) -> Result<PlannedJob, CliError> {
    let request = &record.request;
    let impossible = || CliError::usage(format!("run {} cannot be resumed: it changes nothing", request.run));
    // Relative paths count from where they were typed; the inventory and the rollout file are the journal's.
    if std::env::set_current_dir(&request.directory).is_err() {
        tracing::debug!(directory = %request.directory.display(), "it no longer exists");
    }
    let words = std::iter::once("ctl").chain(request.words.iter().map(String::as_str));
    let args = CliArgs::try_parse_from(words)
        .map_err(|error| CliError::usage(format!("cannot parse the command line of run {}: {error}", request.run)))?;
    let sources = SavedInputs { inventory: Some(request.inventory.clone()), rollout: request.rollout.clone() };
    match args.command {
        CliCommand::Service(args) => {
            let settings = Settings::from(&args.fanout);
            Ok((service::job(&args, &settings, &sources)?, settings, ChangeSettings::from(&args.change.go)))
        }
        CliCommand::Start(args) => planned_verb(ServiceVerb::Start, &args, &sources),
        CliCommand::Stop(args) => planned_verb(ServiceVerb::Stop, &args, &sources),
        CliCommand::Restart(args) => planned_verb(ServiceVerb::Restart, &args, &sources),
        CliCommand::Update(args) => planned_verb(ServiceVerb::Update, &args, &sources),
        CliCommand::Exec(args) => {
            let settings = Settings::from(&args.fanout);
            Ok((exec::job(&args, &settings, &sources)?, settings, ChangeSettings::from(&args.change.go)))
        }
        CliCommand::Cp(args) => {
            let settings = Settings::from(&args.fanout);
            Ok((cp::job(&args, &settings, &sources)?, settings, ChangeSettings::from(&args.change.go)))
        }
        CliCommand::Rollout(args) => {
            let settings = Settings::from(&args.fanout);
            Ok((rollout::job(&args, &settings, &sources)?, settings, ChangeSettings::from(&args.go)))
        }
        // A retry of a retry leads back to the first run, step by step.
        CliCommand::Runs(RunsArgs { command: Some(command), .. }) if depth < ORIGINS => {
            let journal = settings::journal()?;
            match command {
                RunsCommand::Retry { id, .. } => retry(&journal.load(&id.id)?, depth + 1),
                RunsCommand::Undo { id, .. } => undo(&journal.load(&id.id)?, depth + 1),
                RunsCommand::List { .. } | RunsCommand::Show { .. } | RunsCommand::Resume { .. } => Err(impossible()),
            }
        }
        CliCommand::Runs(_)
        | CliCommand::Wait(_)
        | CliCommand::Status(_)
        | CliCommand::Top(_)
        | CliCommand::Logs(_)
        | CliCommand::Snapshot(_)
        | CliCommand::Ping(_)
        | CliCommand::Inventory(_)
        | CliCommand::Connections(_)
        | CliCommand::SshConfig(_)
        | CliCommand::Init(_)
        | CliCommand::Nodeset(_)
        | CliCommand::Completions(_)
        | CliCommand::Man(_) => Err(impossible()),
    }
}

fn planned_verb(verb: ServiceVerb, args: &VerbArgs, sources: &SavedInputs) -> Result<PlannedJob, CliError> {
    let settings = Settings::from(&args.fanout);
    Ok((service::verb_job(verb, args, &settings, sources)?, settings, ChangeSettings::from(&args.change.go)))
}

/// What did not succeed, once more.
fn retry(record: &RunRecord, depth: u32) -> Result<PlannedJob, CliError> {
    let (mut job, settings, change) = planned(record, depth)?;
    // Only the plan is wanted: a retry is a run of its own and carries no earlier results.
    drop(resume::retry(&mut job.plan, &record.events));
    job.origin = Some(RunOrigin::Retry { run: record.request.run.clone() });
    // The nodes were confirmed with the first run, and these are fewer.
    job.confirm = None;
    Ok((job, settings, change))
}

/// Starts again what a run has stopped.
fn undo(record: &RunRecord, depth: u32) -> Result<PlannedJob, CliError> {
    let (mut job, settings, change) = planned(record, depth)?;
    let stopped = resume::stopped(&job.plan, &record.events);
    let mut taken_back = job.plan.clone();
    resume::undo_items(&mut taken_back, &record.events);
    let mut services: Vec<String> = stopped.values().flatten().filter_map(|(_, service)| service.clone()).collect();
    services.sort();
    services.dedup();
    // The new plan replaces it; without services to start, and items to take back, no steps remain.
    job.plan.steps.clear();
    let mut wanted = Vec::new();
    let takes_back = taken_back.steps.iter().any(|step| !step.nodes.is_empty());
    if takes_back || !services.is_empty() {
        let sources = SavedInputs { inventory: Some(record.request.inventory.clone()), rollout: None };
        // The saved inventory: the services are to be started where they were stopped.
        let (inventory, _) = settings::inventory(None, &sources)?;
        if !services.is_empty() {
            let nodes = [stopped.keys().cloned().collect::<Vec<_>>().join(",")];
            let query = NodeQuery { nodes: &nodes, services: &services, ..NodeQuery::default() };
            let start = |services| Work::Service { verb: ServiceVerb::Start, services };
            let mut start = TaskSpec::new(select(&inventory, &query)?, start);
            start.task.targets = TargetFilter::Only(stopped);
            wanted.push(start);
        }
        // After that: a drained node must not get work before its services are up.
        for step in taken_back.steps.iter().filter(|step| !step.nodes.is_empty()) {
            let nodes = step.nodes.iter().filter_map(|node| taken_back.nodes.get(*node).cloned()).collect();
            wanted.extend(taken_back.tasks.get(step.task).map(|task| TaskSpec { task: task.clone(), nodes }));
        }
        job.plan = plan(wanted, &inventory, settings.via);
    }
    job.services = services;
    job.origin = Some(RunOrigin::Undo { run: record.request.run.clone() });
    job.confirm = None;
    Ok((job, settings, change))
}

/// Refuses to act on a run in progress.
fn not_at_work(record: &RunRecord) -> Result<(), CliError> {
    if record.state == RunState::Running {
        return Err(CliError::usage(format!("run {} is still running", record.request.run))
            .with_hint("wait until it ends, or stop it"));
    }
    Ok(())
}
