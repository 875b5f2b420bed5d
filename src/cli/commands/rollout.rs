//! `ctl rollout FILE`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cli::execute::execute;
use crate::cli::job::{CliJob, StatusDisplay};
use ctl_args::args::RolloutArgs;
use ctl_args::settings::{self, SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::terminal;
use ctl_console::{trust, waiting};
use ctl_journal::SavedFile;
use ctl_plan::rollout::{self, RolloutStep, StepAction};
use ctl_plan::{Task, TaskSpec, Work, plan};
use ctl_select::{NodeQuery, Selection, select};

pub(in crate::cli) fn run(args: &RolloutArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    settings.output.start_log()?;
    let job = job(args, &settings, &SavedInputs::default())?;
    if args.validate {
        let steps = job.plan.tasks.len();
        let noun = if steps == 1 { "step" } else { "steps" };
        terminal::say(&format!(
            "{}: {steps} {noun} on {} nodes; no problems found",
            args.file.display(),
            job.plan.selected
        ));
        return Ok(ExitStatus::Good);
    }
    execute(job, &settings, Some(&(&args.go).into()), words, None)
}

/// What the file means. `-r`, `-w` and `-x` leave nodes out of its steps.
pub(in crate::cli) fn job(args: &RolloutArgs, settings: &Settings, sources: &SavedInputs) -> Result<CliJob, CliError> {
    let (inventory, document) = settings::inventory(settings.inventory.as_deref(), sources)?;
    let file = match &sources.rollout {
        Some(file) => file.clone(),
        None => {
            let what = args.file.display().to_string();
            let (text, access) = waiting::on(what, || rollout::load(&args.file))?;
            trust::named(&args.file, access);
            SavedFile { path: std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone()), text }
        }
    };
    let read = rollout::read(&file.path, &file.text, &args.vars, &inventory)?;
    let is_limited = settings.selects_some();
    let query = NodeQuery { roles: &settings.roles, nodes: &settings.nodes, exclude: &settings.exclude, services: &[] };
    let limit: Option<BTreeSet<String>> = if is_limited {
        let nodes = select(&inventory, &query)?.nodes;
        Some(nodes.iter().map(|selected| selected.node.name.clone()).collect())
    } else {
        None
    };
    let mut wanted = Vec::new();
    for step in read.steps {
        let services = if let StepAction::Service { services, .. } = &step.what { services.as_slice() } else { &[] };
        let query =
            NodeQuery { roles: &step.roles, nodes: step.nodes.as_slice(), exclude: step.exclude.as_slice(), services };
        let mut selection = select(&inventory, &query)?;
        if let Some(limit) = &limit {
            selection.nodes.retain(|selected| limit.contains(&selected.node.name));
        }
        wanted.push(task(step, selection));
    }
    settings::gate_snapshots(&mut wanted)?;
    let plan = plan(wanted, &inventory, settings.via);
    if plan.selected == 0 {
        return Err(CliError::usage("--role, --nodes and --exclude leave no node for this rollout"));
    }
    let name = read.name.unwrap_or_else(|| args.file.display().to_string());
    Ok(CliJob {
        command: "rollout".to_owned(),
        action: Some("rollout".to_owned()),
        services: Vec::new(),
        confirm: (plan.selected == inventory.nodes.len()).then(|| format!("runs the rollout {name}")),
        plan,
        inventory: document,
        rollout: Some(file),
        origin: None,
        reads_stdin: false,
        shown: StatusDisplay::default(),
    })
}

fn task(step: RolloutStep, selection: Selection) -> TaskSpec {
    let work = match step.what {
        StepAction::Service { verb, .. } => Work::Service { verb, services: selection.services },
        StepAction::Exec { command } => Work::Exec { command, input: None },
        StepAction::Each(sequence) => Work::Sequence(Arc::new(sequence)),
    };
    let task = Task {
        name: Some(step.name),
        timeout: step.timeout,
        policy: step.policy,
        continue_on_failure: step.continue_on_failure,
        ..Task::new(work, true)
    };
    TaskSpec { task, nodes: selection.nodes }
}
