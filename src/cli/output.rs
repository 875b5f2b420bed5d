//! Where results, notes and logs go.

use std::cell::OnceCell;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressDrawTarget;
use rustix::process::geteuid;
use serde::Serialize;
use tempfile::NamedTempFile;

use ctl_args::format::{Encoding, OutputFormat, SinkOptions};
use ctl_args::settings::OutputSettings;
use ctl_console::error::CliError;
use ctl_console::terminal::{self, StderrMessages};
use ctl_inventory::ROLE_ORDER;
use ctl_local::file::{FileAccess, reason};
use ctl_overview::NodeRoles;
use ctl_plan::live::LiveState;
use ctl_plan::{Plan, PlanStep, explain};
use ctl_select::SelectedNode;
use ctl_sink::encode::SchemaName;
use ctl_sink::text;
use ctl_sink::{
    JsonlSink, LogJsonSink, LogSink, OutlineStep, PlainProgressSink, ProgressOptions, ProgressSink, RunOutline, Sink,
    SinkSet, encode,
};

/// The display is for a terminal, and for nothing else that writes to it meanwhile.
pub(super) fn shows_progress(output: &OutputSettings) -> bool {
    // JSON lines at a terminal come while the run goes, and would tear the display.
    let lines_as_it_happens = output.format.is_stream() && output.out.is_none() && terminal::stdout_is_terminal();
    // So would a log on stderr.
    let logs = output.verbose > 0 && output.log_file.is_none();
    !output.quiet && !logs && !lines_as_it_happens && !output.no_progress && terminal::stderr_can_animate()
}

/// The roles of the nodes that a plan selects, as the inventory has them.
pub(super) fn node_roles(plan: &Plan) -> NodeRoles {
    let roles = |node: &SelectedNode| node.roles.iter().map(|role| role.name.clone()).collect();
    NodeRoles::new(&ROLE_ORDER, plan.nodes.iter().map(|node| (node.node.name.clone(), roles(node))))
}

/// Adds the sink of a run's results. `first_screen`: people see only unhealthy services, of nodes with these roles.
pub(super) fn results(
    sinks: &mut SinkSet,
    output: &OutputSettings,
    out: &ResultOutput,
    first_screen: Option<NodeRoles>,
) {
    let notes =
        || -> Box<dyn Write + Send> { if output.quiet { Box::new(io::sink()) } else { Box::new(io::stderr()) } };
    let at_terminal = output.out.is_none() && terminal::stdout_is_terminal();
    // Elsewhere a script or a pager reads, which wants every row.
    let fold = if at_terminal { output.fold } else { output.fold.or(Some(false)) };
    sinks.push(output.format.sink(SinkOptions {
        out: &|| out.writer(),
        notes: &notes,
        fold,
        no_fold: output.fold == Some(false),
        width: if at_terminal { terminal::stdout_width() } else { None },
        // Notes that go elsewhere take no rows.
        height: if at_terminal { terminal::height_shared_with_stderr() } else { None },
        color: output.out.is_none() && terminal::color(output.color),
        first_screen,
    }));
}

/// What `--fold` and `--no-fold` are to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoldRows<'a> {
    /// Results.
    Results,
    /// The batches of a plan.
    Batches,
    /// Lines of logs.
    Logs,
    /// What differs between two snapshots.
    Changes,
    /// Nothing, in what this command shows.
    None(&'a str),
}

impl FoldRows<'_> {
    /// Those of a run.
    pub(super) fn of_run(is_plan: bool, command: &str) -> Self {
        match (is_plan, command) {
            (_, "logs") => Self::Logs,
            (true, _) => Self::Batches,
            (false, _) => Self::Results,
        }
    }
}

/// Refuses to fold, or not to fold, where the one or the other cannot be.
pub(super) fn can_fold(output: &OutputSettings, rows: FoldRows<'_>) -> Result<(), CliError> {
    let is_folding = match rows {
        FoldRows::Changes => output.format.encoding() == Encoding::Text { wide: false },
        FoldRows::Results | FoldRows::Batches | FoldRows::Logs | FoldRows::None(_) => output.format.folds(),
    };
    let form = output.format.as_str();
    match rows {
        FoldRows::None(command) if output.fold.is_some() => {
            let option = if output.fold == Some(true) { "--fold" } else { "--no-fold" };
            Err(CliError::usage(format!("{option} cannot be used with `ctl {command}`, which has no results to fold")))
        }
        FoldRows::Logs if output.fold == Some(true) => {
            Err(CliError::usage("--fold cannot be used with `ctl logs`, which shows each line on its own"))
        }
        FoldRows::Changes if output.fold == Some(true) && !is_folding => {
            Err(CliError::usage(format!("--fold cannot be used with -o {form}, which shows each change on its own"))
                .with_hint("use it with -o table"))
        }
        FoldRows::Results | FoldRows::Batches if output.fold == Some(true) && !is_folding => {
            Err(CliError::usage(format!("--fold cannot be used with -o {form}, which shows each result on its own"))
                .with_hint("use it with -o table, wide or contrail-status"))
        }
        FoldRows::Batches if output.fold == Some(false) && is_folding => {
            Err(CliError::usage("--no-fold cannot be used with --dry-run, which shows batches as folded node sets")
                .with_hint("-o json lists every node of each batch"))
        }
        FoldRows::Results | FoldRows::Batches | FoldRows::Logs | FoldRows::Changes | FoldRows::None(_) => Ok(()),
    }
}

/// The display of the progress, and the messages beside it. It comes first among the sinks: it must be off the screen
/// before results are on it. Where nothing can be drawn, a run that changes nodes has a line for each batch.
pub(super) fn progress(output: &OutputSettings, plan: &Plan) -> (SinkSet, StderrMessages) {
    let mut sinks = SinkSet::default();
    if shows_progress(output) {
        let options =
            ProgressOptions { color: terminal::stderr_color(output.color), columns: Box::new(terminal::stderr_width) };
        let sink = ProgressSink::new(ProgressDrawTarget::stderr(), outline(plan), options);
        let messages = StderrMessages::beside(sink.bar());
        sinks.push(Box::new(sink));
        return (sinks, messages);
    }
    // Such a stream has the same events, and a second account of them would be noise.
    let tells_lines = output.format.is_stream() && output.out.is_none();
    if plan.changes() && !output.quiet && !output.no_progress && !tells_lines {
        sinks.push(Box::new(PlainProgressSink::new(outline(plan), Box::new(io::stderr()))));
    }
    (sinks, StderrMessages::default())
}

/// The steps of a plan, with as many batches as there are if nothing goes wrong.
fn outline(plan: &Plan) -> RunOutline {
    let view = explain::view(plan, None);
    let name = |index: &usize| plan.nodes.get(*index).map(|selected| selected.node.name.clone());
    let step = |(step, view): (&PlanStep, &explain::StepView)| OutlineStep {
        task: step.task.into(),
        name: view.name.clone(),
        nodes: step.nodes.iter().filter_map(name).collect(),
        // Nodes that are checked again are a batch of their own.
        batches: view.batches.len() + usize::from(!view.rechecks.is_empty()),
    };
    RunOutline { steps: plan.steps.iter().zip(&view.steps).map(step).collect() }
}

/// The sinks of `ctl logs`.
pub(super) fn log_sinks(output: &OutputSettings, out: &ResultOutput, follow: bool) -> SinkSet {
    let mut sinks = SinkSet::default();
    let notes =
        || -> Box<dyn Write + Send> { if output.quiet { Box::new(io::sink()) } else { Box::new(io::stderr()) } };
    let color = output.out.is_none() && terminal::color(output.color);
    let lines: Box<dyn Sink> = match output.format.encoding() {
        Encoding::Json => Box::new(LogJsonSink::new(out.writer())),
        Encoding::JsonLines => Box::new(JsonlSink::new(out.writer())),
        Encoding::Text { .. } | Encoding::Yaml | Encoding::Csv | Encoding::OnlyResults => {
            Box::new(LogSink::new(color, follow, out.writer(), notes()))
        }
    };
    sinks.push(lines);
    sinks
}

/// Where results go: stdout, or a file that is there whole or not at all.
pub(super) enum ResultOutput {
    Stdout,
    File(ResultFile),
}

/// A file for results.
pub(super) struct ResultFile {
    path: PathBuf,
    option: &'static str,
    mode: u32,
    /// Made only when there is something to write. A signal at a question before the run ends the process at once, and
    /// would leave it behind.
    temporary: OnceCell<io::Result<NamedTempFile>>,
}

impl ResultFile {
    fn make(&self) -> io::Result<NamedTempFile> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        tempfile::Builder::new().permissions(Permissions::from_mode(self.mode)).tempfile_in(folder)
    }

    fn temporary(&self) -> &io::Result<NamedTempFile> {
        self.temporary.get_or_init(|| self.make())
    }

    fn put(self) -> io::Result<()> {
        let temporary = self.temporary.into_inner().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))?;
        // Synced before the rename, so that a crash leaves the old file or the new one, never an empty one.
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

impl ResultOutput {
    /// The file of `--out`, or stdout.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        path.map_or(Ok(Self::Stdout), |path| Self::file("--out", path))
    }

    /// The file that `option` names.
    pub(super) fn file(option: &'static str, path: &Path) -> Result<Self, CliError> {
        if path.is_dir() {
            return Err(CliError::usage(format!("{option}: {} is a directory", path.display())));
        }
        let there = std::fs::metadata(path).ok();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            // It would be replaced, not written to.
            return Err(CliError::usage(format!("{option}: {} is not a regular file", path.display())));
        }
        // A new file gets what the umask leaves, so that another user, such as node_exporter's, can read it. The user's own
        // that is there is made no more open by it; of one that somebody else has put there nothing is taken over.
        let own = there.map(|there| FileAccess::from(&there)).filter(|own| own.uid == geteuid().as_raw());
        let mode = own.map_or(0o666, |own| own.mode & 0o666);
        let file = ResultFile { path: path.to_owned(), option, mode, temporary: OnceCell::new() };
        // A directory that cannot be written to is reported before any node is touched.
        file.make().map_err(|error| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            CliError::usage(format!("{option}: cannot write to {}: {}", folder.display(), reason(&error)))
        })?;
        Ok(Self::File(file))
    }

    pub(super) fn writer(&self) -> Box<dyn Write + Send> {
        match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::File(file) => match file.temporary().as_ref().map(NamedTempFile::reopen) {
                Ok(Ok(file)) => Box::new(io::BufWriter::new(file)),
                // There is no temporary file, so nothing can be committed either; `commit` reports it.
                Ok(Err(_)) | Err(_) => Box::new(io::sink()),
            },
        }
    }

    /// Puts the file in its place if its content `is_whole`.
    pub(super) fn commit_if(self, is_whole: bool) -> Result<(), CliError> {
        match self {
            // Dropping the temporary file removes it: an old file of that name stays as it was.
            Self::File(file) if !is_whole => {
                Err(CliError::usage(format!("{}: {} was not written", file.option, file.path.display())))
            }
            Self::Stdout | Self::File(_) => self.commit(),
        }
    }

    pub(super) fn commit(self) -> Result<(), CliError> {
        let Self::File(file) = self else { return Ok(()) };
        let what = format!("{}: {} was not written", file.option, file.path.display());
        file.put().map_err(|error| CliError::usage(format!("{what}: {}", reason(&error))))
    }
}

/// A document: the schema's name, and its own fields.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "{T}Document"))]
pub(super) struct OutputDocument<'a, T: Serialize> {
    schema: SchemaName,
    #[serde(flatten)]
    data: &'a T,
}

impl<'a, T: Serialize> OutputDocument<'a, T> {
    pub(super) const fn new(data: &'a T) -> Self {
        Self { schema: SchemaName::Ctl1, data }
    }
}

/// The document of `--dry-run`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Plan"))]
pub(super) struct PlanDocument {
    plan: explain::PlanView,
}

/// Shows the plan.
pub(super) fn dry_run(
    plan: &Plan,
    live: Option<&LiveState>,
    output: &OutputSettings,
    out: ResultOutput,
) -> Result<(), CliError> {
    // What nodes say stands in it.
    let for_people = || explain::text(plan, live).lines().map(|line| format!("{}\n", text::visible(line))).collect();
    document(output.format, out, for_people, &PlanDocument { plan: explain::view(plan, live) })
}

/// Writes one document in the form that was asked for: `for_people` for people, else the schema's name and `data`.
pub(super) fn document(
    format: OutputFormat,
    out: ResultOutput,
    for_people: impl FnOnce() -> String,
    data: &impl Serialize,
) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::usage(format!("cannot write the output: {error}"));
    let document = OutputDocument::new(data);
    let text = match format.encoding() {
        Encoding::Text { .. } => for_people(),
        Encoding::Json => encode::json(&document).map_err(|error| failed(&error))?,
        Encoding::JsonLines => encode::json_line(&document).map_err(|error| failed(&error))?,
        Encoding::Yaml => encode::yaml(&document).map_err(|error| failed(&error))?,
        Encoding::Csv | Encoding::OnlyResults => {
            let message = format!("-o {} is not supported here", format.as_str());
            return Err(CliError::usage(message).with_hint("use -o table, json or yaml"));
        }
    };
    write(out, &text)
}

/// Writes all of a text; that nobody reads it is no error.
pub(super) fn write(out: ResultOutput, text: &str) -> Result<(), CliError> {
    let mut writer = out.writer();
    let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    // Closed before the commit, so that every byte is in the file.
    drop(writer);
    match written {
        // A reader such as `head` that has seen enough is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(CliError::usage(format!("cannot write the output: {error}")));
        }
        _ => {}
    }
    out.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_file_leaves_nothing_until_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = || std::fs::read_dir(folder.path()).expect("readable").count();
        let path = folder.path().join("out.json");
        // A process that a signal ends now, as at the question about host keys, removes nothing.
        let out = ResultOutput::file("--out", &path).expect("a place");
        assert_eq!(count(), 0);
        write(out, "text").expect("written");
        assert_eq!((count(), std::fs::read_to_string(&path).expect("a file")), (1, "text".to_owned()));
    }
}
