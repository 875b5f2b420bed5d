//! The way that every command which goes to nodes takes: select, plan, run, sinks, exit code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressDrawTarget;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

use super::args::{ChangeArgs, DryRun, FanoutArgs, Form, OutputArgs};
use super::exit::{self, Exit};
use super::report::CliError;
use super::{settings, terminal};
use crate::event::{CancelReason, EventKind, Ledger, RunHead};
use crate::plan::{Action, Plan, Until, Wanted, explain, plan};
use crate::run::{Guarding, Noted, Setup, run};
use crate::select::{Query, select};
use crate::sink::{CsvSink, JsonSink, JsonlSink, ProgressSink, Sinks, TableOptions, TableSink, YamlSink};
use crate::transport::SshTransport;

/// What a command asks for.
pub(super) struct Request<'a> {
    pub(super) command: &'a str,
    pub(super) action: Action,
    pub(super) services: &'a [String],
    /// The command of `exec`.
    pub(super) line: Option<String>,
    /// What `wait` waits for.
    pub(super) until: Option<Until>,
    /// How carefully; none for what changes nothing.
    pub(super) change: Option<&'a ChangeArgs>,
    pub(super) fanout: &'a FanoutArgs,
}

impl<'a> Request<'a> {
    /// A request that changes nothing.
    pub(super) fn new(command: &'a str, action: Action, services: &'a [String], fanout: &'a FanoutArgs) -> Self {
        Self { command, action, services, line: None, until: None, change: None, fanout }
    }
}

/// Carries a request out.
pub(super) fn carry_out(request: &Request<'_>) -> Result<Exit, CliError> {
    let Request { action, fanout, .. } = *request;
    start_log(&fanout.output)?;
    let inventory = settings::inventory(fanout.inventory.as_deref())?;
    let query = Query {
        roles: &fanout.role,
        nodes: fanout.nodes.as_deref(),
        exclude: fanout.exclude.as_deref(),
        services: request.services,
    };
    let selection = select(&inventory, &query)?;
    let whole_inventory = selection.whole_inventory;
    let mut wanted = Wanted::new(action, selection);
    wanted.task.command.clone_from(&request.line);
    wanted.task.until = request.until;
    wanted.task.policy = request.change.map(settings::policy).unwrap_or_default();
    let plan = plan(vec![wanted], &inventory, fanout.via.via());
    let what = match &request.line {
        Some(line) => format!("`{line}`"),
        None => format!("{} of {}", action.as_str(), request.services.join(", ")),
    };
    let job = Job {
        command: request.command.to_owned(),
        services: request.services.to_vec(),
        plan,
        confirm: whole_inventory.then_some(what),
    };
    carry_out_job(job, fanout, request.change)
}

/// A plan, and what is told of it.
pub(super) struct Job {
    pub(super) command: String,
    pub(super) services: Vec<String>,
    pub(super) plan: Plan,
    /// What is asked about before every node of the inventory is changed.
    pub(super) confirm: Option<String>,
}

/// Carries a plan out.
pub(super) fn carry_out_job(job: Job, fanout: &FanoutArgs, change: Option<&ChangeArgs>) -> Result<Exit, CliError> {
    let Job { command, services, plan, confirm: question } = job;
    let access = settings::access(fanout, &plan.nodes)?;
    let transport = SshTransport::new(settings::ssh(fanout)?)?;
    let out = Out::open(fanout.output.out.as_deref())?;
    if change.is_some_and(|change| change.dry_run == Some(DryRun::Plan)) {
        return dry_run(&plan, &fanout.output, out);
    }
    if let (Some(what), Some(change)) = (question, change) {
        confirm(&what, &plan, change)?;
    }
    raise_file_limit(plan.nodes.len());

    let action = plan.action().unwrap_or(Action::Status);
    let started = jiff::Timestamp::now();
    let head = RunHead {
        run: run_id(),
        command,
        action: (action != Action::Ping).then(|| action.as_str().to_owned()),
        services,
        started,
        nodes: u32::try_from(plan.selected).unwrap_or(u32::MAX),
    };
    let keep = change.map(|change| &change.keep);
    let owner = settings::owner(&head.run, started, keep.and_then(|keep| keep.reason.as_deref()));
    let lock_wait = keep.and_then(|keep| keep.lock_wait).unwrap_or_default();
    let guarding = Guarding::new(owner, lock_wait, keep.is_some_and(|keep| keep.no_guard), &plan);
    let mut sinks = sinks(&fanout.output, &out);
    let mut ledger = Ledger::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::usage(format!("no runtime: {error}")))?;
    let setup = Setup {
        plan: Arc::new(plan),
        head,
        access,
        forks: fanout.forks as usize,
        transport: Arc::new(transport),
        guarding,
        first_seq: 0,
    };
    let cancel = runtime.block_on(async {
        let signals = signals(fanout.output.quiet || shows_progress(&fanout.output))?;
        let tells = !fanout.output.quiet && !shows_progress(&fanout.output);
        let observe = |event: &crate::event::Event| {
            if let EventKind::Notice { message } = &event.kind
                && tells
            {
                terminal::say(message);
            }
            if let Err(error) = ledger.apply(event) {
                tracing::error!(%error, "an event that does not fit");
            }
            for warning in sinks.event(event, &ledger) {
                terminal::say(&format!("warning: {warning}"));
            }
            Noted::Yes
        };
        Ok::<_, CliError>(run(setup, signals, observe).await)
    })?;
    // A node that never answers must not keep the process.
    runtime.shutdown_background();
    let exit = exit::of_run(&ledger, action, cancel);
    for warning in sinks.finish(&ledger, exit.code()) {
        terminal::say(&format!("warning: {warning}"));
    }
    if !sinks.failed() {
        out.keep()?;
    }
    Ok(exit)
}

/// Shows the plan.
fn dry_run(plan: &Plan, output: &OutputArgs, out: Out) -> Result<Exit, CliError> {
    let view = explain::view(plan);
    let text = match output.output {
        Form::Table | Form::Wide => explain::text(plan),
        Form::Json | Form::Jsonl => json_document(&view, output.output == Form::Json)?,
        Form::Yaml => yaml_document(&view)?,
        Form::Csv => return Err(CliError::usage("a plan has no form csv").with_hint("-o table, json or yaml")),
    };
    let mut writer = out.writer();
    let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    drop(writer);
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(CliError::usage(format!("the plan could not be written: {error}")));
        }
        _ => {}
    }
    out.keep()?;
    Ok(Exit::Good)
}

#[derive(serde::Serialize)]
struct PlanDocument<'a> {
    schema: &'static str,
    plan: &'a explain::PlanView,
}

fn json_document(view: &explain::PlanView, pretty: bool) -> Result<String, CliError> {
    let document = PlanDocument { schema: "ctl/1", plan: view };
    let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
    text.map(|text| text + "\n").map_err(|error| CliError::usage(format!("the plan could not be written: {error}")))
}

fn yaml_document(view: &explain::PlanView) -> Result<String, CliError> {
    let document = PlanDocument { schema: "ctl/1", plan: view };
    serde_saphyr::to_string(&document)
        .map_err(|error| CliError::usage(format!("the plan could not be written: {error}")))
}

/// A name for the run: when, and a few letters against chance.
fn run_id() -> String {
    let letters: String = (0..4).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
    format!("{}-{letters}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"))
}

/// A change to every node of the inventory is asked about.
fn confirm(what: &str, plan: &Plan, change: &ChangeArgs) -> Result<(), CliError> {
    let count = plan.selected;
    if !plan.changes() || count < 2 || change.yes || change.dry_run.is_some() {
        return Ok(());
    }
    let what = format!("{what} on all {count} nodes of the inventory");
    if !terminal::can_ask() {
        return Err(CliError::usage(format!("{what}: without a terminal this needs --yes"))
            .with_hint("name the nodes or roles that are meant with -w or -r, or add -y"));
    }
    let answer = terminal::ask(&format!("{what}. Type the number of nodes to go on: "))
        .map_err(|error| CliError::usage(format!("no answer: {error}")))?;
    if answer == count.to_string() { Ok(()) } else { Err(CliError::usage("not confirmed: nothing was done")) }
}

/// Signals as the run understands them, each told on stderr unless something else shows it.
fn signals(quiet: bool) -> Result<mpsc::Receiver<CancelReason>, CliError> {
    let (sender, receiver) = mpsc::channel(4);
    let kinds = [
        (SignalKind::interrupt(), CancelReason::Interrupted),
        (SignalKind::terminate(), CancelReason::Terminated),
        (SignalKind::hangup(), CancelReason::HungUp),
    ];
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    for (kind, reason) in kinds {
        // Under nohup the terminal's end is ignored on purpose.
        if reason == CancelReason::HungUp && terminal::is_ignored(kind.as_raw_value()) {
            continue;
        }
        let mut stream = signal(kind).map_err(|error| CliError::usage(format!("signals cannot be caught: {error}")))?;
        let (sender, count) = (sender.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let before = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if !quiet {
                    terminal::say(match before {
                        0 => "stopping: no new node is begun, what is in flight may end (once more: give up waiting)",
                        1 => "giving up waiting; what this run stopped is started again (once more: leave at once)",
                        _ => "leaving",
                    });
                }
                if sender.send(reason).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Each node takes a descriptor or two.
fn raise_file_limit(nodes: usize) {
    let wanted = u64::try_from(nodes).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(256);
    match rlimit::increase_nofile_limit(wanted.max(1024)) {
        Ok(limit) if limit < wanted => {
            tracing::debug!(limit, wanted, "few file descriptors; lower --forks if connections fail")
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "the limit on file descriptors could not be raised"),
    }
}

/// The display is for a terminal, and for nothing else that writes to it meanwhile.
fn shows_progress(output: &OutputArgs) -> bool {
    let lines_as_it_happens = output.output == Form::Jsonl && output.out.is_none() && terminal::stdout_is_terminal();
    let logs = output.verbose > 0 && output.log_file.is_none();
    !output.quiet && !logs && !lines_as_it_happens && !output.no_progress && terminal::stderr_can_animate()
}

fn sinks(output: &OutputArgs, out: &Out) -> Sinks {
    let mut sinks = Sinks::default();
    let notes = || -> Box<dyn Write + Send> {
        if output.quiet { Box::new(std::io::sink()) } else { Box::new(std::io::stderr()) }
    };
    let table = |wide: bool| {
        let at_terminal = output.out.is_none() && terminal::stdout_is_terminal();
        let options = TableOptions {
            wide,
            fold: if output.fold {
                Some(true)
            } else if output.no_fold || !at_terminal {
                Some(false)
            } else {
                None
            },
            width: if at_terminal { terminal::stdout_width() } else { None },
            color: output.out.is_none() && terminal::color(output.color),
        };
        TableSink::new(options, out.writer(), notes())
    };
    // The display first: it must be off the screen before results are on it.
    if shows_progress(output) {
        sinks.push(Box::new(ProgressSink::new(ProgressDrawTarget::stderr())));
    }
    match output.output {
        Form::Table => sinks.push(Box::new(table(false))),
        Form::Wide => sinks.push(Box::new(table(true))),
        Form::Json => sinks.push(Box::new(JsonSink::new(out.writer()))),
        Form::Jsonl => sinks.push(Box::new(JsonlSink::new(out.writer()))),
        Form::Yaml => sinks.push(Box::new(YamlSink::new(out.writer()))),
        Form::Csv => sinks.push(Box::new(CsvSink::new(out.writer()))),
    }
    sinks
}

/// Where results go: stdout, or a file that is there whole or not at all.
enum Out {
    Stdout,
    File { temporary: tempfile::NamedTempFile, path: PathBuf },
}

impl Out {
    fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        if path.is_dir() {
            return Err(CliError::usage(format!("--out: {} is a folder", path.display())));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| {
            CliError::usage(format!("--out: nothing can be written to {}: {error}", folder.display()))
        })?;
        Ok(Self::File { temporary, path: path.to_owned() })
    }

    fn writer(&self) -> Box<dyn Write + Send> {
        match self {
            Self::Stdout => Box::new(std::io::stdout()),
            Self::File { temporary, .. } => match temporary.reopen() {
                Ok(file) => Box::new(std::io::BufWriter::new(file)),
                Err(_) => Box::new(std::io::sink()),
            },
        }
    }

    fn keep(self) -> Result<(), CliError> {
        let Self::File { temporary, path } = self else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| {
            CliError::usage(format!("--out: {} was not written: {error}", path.display()))
        };
        temporary.as_file().sync_all().map_err(|error| failed(&error))?;
        temporary.persist(&path).map_err(|error| failed(&error.error))?;
        Ok(())
    }
}

fn start_log(output: &OutputArgs) -> Result<(), CliError> {
    let level = match (output.verbose, &output.log_file) {
        (0, None) => return Ok(()),
        (0 | 1, _) => tracing::Level::DEBUG,
        (_, _) => tracing::Level::TRACE,
    };
    let ours = output.verbose < 2;
    let targets = tracing_subscriber::filter::FilterFn::new(move |metadata| {
        metadata.target().starts_with("contrail_ctl") || (!ours && *metadata.level() <= tracing::Level::DEBUG)
    });
    let builder =
        tracing_subscriber::fmt().with_max_level(LevelFilter::from_level(level)).with_target(!ours).with_ansi(false);
    let started = match &output.log_file {
        Some(path) => {
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| CliError::usage(format!("--log-file {}: {error}", path.display())))?;
            set_log(builder.with_writer(std::sync::Mutex::new(file)).finish(), targets)
        }
        None => set_log(builder.with_writer(std::io::stderr).finish(), targets),
    };
    if !started {
        tracing::debug!("a log is there already");
    }
    Ok(())
}

fn set_log<S, F>(subscriber: S, filter: tracing_subscriber::filter::FilterFn<F>) -> bool
where
    S: tracing::Subscriber + Send + Sync + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    F: Fn(&tracing::Metadata<'_>) -> bool + Send + Sync + 'static,
{
    use tracing_subscriber::layer::SubscriberExt;
    tracing::subscriber::set_global_default(subscriber.with(filter)).is_ok()
}
