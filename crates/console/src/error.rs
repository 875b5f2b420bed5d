//! Errors for the person on call: the problem, its place, and the next step.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use nodeset::ParseError;
use openssh_config::SshConfigError;

use crate::exit::ExitStatus;
use crate::terminal;
use ctl_event::{CancelReason, Failure};
use ctl_inventory::{InventoryError, InventoryProblem};
use ctl_journal::JournalError;
use ctl_plan::rollout::RolloutError;
use ctl_select::SelectError;
use ctl_sink::text;
use ctl_transport::TransportError;

/// Why a command did not begin. Nothing was touched.
#[derive(Debug)]
pub struct CliError {
    kind: ErrorKind,
    rendered: String,
    hint: Option<String>,
}

/// What kind of error it is, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorKind {
    /// Something was typed wrong, or cannot be done here.
    Usage,
    /// A file of the user's is wrong: the inventory, a rollout, ssh_config, the journal.
    Config,
    /// No node has a service of this name.
    NoSuchService,
    /// A signal came while something was asked.
    Interrupted(CancelReason),
    /// Something that cannot happen, or that the system refuses to the process itself.
    Internal,
}

impl CliError {
    fn new(kind: ErrorKind, message: &str) -> Self {
        Self::rendered(kind, format!("error: {message}"))
    }

    fn rendered(kind: ErrorKind, rendered: String) -> Self {
        Self { kind, rendered, hint: None }
    }

    /// Something that was typed wrong, or cannot be done here.
    pub fn usage(message: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Usage, message.as_ref())
    }

    /// Something that is wrong with this process.
    pub fn internal(message: impl AsRef<str>) -> Self {
        let hint = "this is a bug in ctl, or the system has run out of something; please report it";
        Self::new(ErrorKind::Internal, &format!("internal error: {}", message.as_ref())).with_hint(hint)
    }

    /// A signal came while something was asked.
    pub fn cancelled(reason: CancelReason) -> Self {
        Self::new(ErrorKind::Interrupted(reason), "interrupted: nothing was done")
    }

    /// Names that no node has, as the nodes' answers show.
    pub fn mistaken_names<'f>(failures: impl IntoIterator<Item = &'f Failure>) -> Self {
        // Text of nodes: made one line, so that it cannot look like a message of ctl.
        let lines = failures.into_iter().flat_map(|failure| {
            let hint = failure.hint.as_ref().map(|hint| format!("  → {}", text::single_line(hint)));
            std::iter::once(format!("error: {}", text::single_line(&failure.message))).chain(hint)
        });
        Self::rendered(ErrorKind::NoSuchService, lines.collect::<Vec<_>>().join("\n"))
    }

    /// With what to do next.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message without its `error:` and its hint.
    pub fn message(&self) -> &str {
        self.rendered.trim_end().trim_start_matches("error: ")
    }

    /// Prints it to stderr, safe for a terminal.
    pub fn print(&self) {
        terminal::say(self.rendered.trim_end());
        if let Some(hint) = &self.hint {
            terminal::say(&format!("  → {hint}"));
        }
    }

    /// The exit code of a command that ends with it.
    pub const fn exit(&self) -> ExitStatus {
        match self.kind {
            ErrorKind::Usage | ErrorKind::Config | ErrorKind::Internal => ExitStatus::Usage,
            // The nodes were asked, so this is no usage error, although only a name is wrong.
            ErrorKind::NoSuchService => ExitStatus::Failed,
            ErrorKind::Interrupted(reason) => match reason {
                CancelReason::HungUp => ExitStatus::HungUp,
                CancelReason::Terminated => ExitStatus::Terminated,
                CancelReason::Interrupted
                | CancelReason::GivenUp
                | CancelReason::OutputClosed
                | CancelReason::JournalLost => ExitStatus::Interrupted,
            },
        }
    }
}

/// Problems shown of one file; a broken generator can make thousands.
const PROBLEMS_SHOWN: usize = 50;

impl From<InventoryError> for CliError {
    fn from(error: InventoryError) -> Self {
        file_error(&error.path, &error.text, &error.problems)
    }
}

impl From<RolloutError> for CliError {
    fn from(error: RolloutError) -> Self {
        file_error(&error.path, &error.text, &error.problems)
    }
}

/// Every problem of a file, with its place.
fn file_error(path: &Path, source: &str, problems: &[InventoryProblem]) -> CliError {
    let path = path.display().to_string();
    let mut rendered = String::new();
    for problem in problems.iter().take(PROBLEMS_SHOWN) {
        let title = text::single_line(&problem.message);
        let help = problem.help.as_deref().map(text::single_line);
        // Without a text, such as for a file that cannot be read, there is nothing to mark.
        if source.is_empty() {
            let place =
                if problem.has_place() { format!(":{}:{}", problem.line, problem.column) } else { String::new() };
            rendered.push_str(&format!("error: {title}\n --> {path}{place}\n"));
            if let Some(help) = help {
                rendered.push_str(&format!("  = help: {help}\n"));
            }
        } else {
            let label = problem.label.as_deref().map(text::single_line).unwrap_or_default();
            let mut marks = vec![(AnnotationKind::Primary, problem.span.clone(), label)];
            if let Some((span, what)) = &problem.related {
                marks.push((AnnotationKind::Context, span.clone(), text::single_line(what)));
            }
            rendered.push_str(&snippet(&title, &path, source, &marks, help.as_deref()));
        }
        rendered.push('\n');
    }
    let count = problems.len();
    // The count is of all problems, so that the list is not taken for complete.
    let more = count.saturating_sub(PROBLEMS_SHOWN);
    if more > 0 {
        rendered.push_str(&format!("… and {more} more\n"));
    }
    let things = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    rendered.push_str(&format!("error: {path}: {things}; nothing was done"));
    CliError::rendered(ErrorKind::Config, rendered)
}

impl From<SshConfigError> for CliError {
    fn from(error: SshConfigError) -> Self {
        Self::new(ErrorKind::Config, &text::single_line(&error.to_string()))
            .with_hint("`ssh -G HOST` reads the same files; use --ssh-config none to ignore them")
    }
}

/// The hint for a pattern of Ansible's that begins with `~`.
const NO_REGEX: &str =
    "regular expressions (`~`) are not supported in node sets; use a glob such as 'web*', node[01-40], or @GROUP";

impl From<SelectError> for CliError {
    fn from(error: SelectError) -> Self {
        match &error {
            SelectError::Pattern { option, pattern, error } if error.hint().is_none() && pattern.starts_with('~') => {
                Self { hint: Some(NO_REGEX.to_owned()), ..pattern_error(option, pattern, error) }
            }
            SelectError::Pattern { option, pattern, error } => pattern_error(option, pattern, error),
            SelectError::Nodes { nodes, hint: None, .. } if nodes.starts_with('~') => {
                Self::usage(error.to_string()).with_hint(NO_REGEX)
            }
            SelectError::Role { hint, .. } | SelectError::NotAService { hint, .. } => {
                Self::usage(error.to_string()).with_hint(hint)
            }
            SelectError::Nodes { hint, .. } => Self::usage(error.to_string())
                .with_hint(hint.clone().unwrap_or_else(|| "`ctl inventory list` lists the nodes".to_owned())),
            SelectError::EmptyService | SelectError::Service { .. } | SelectError::Nothing { .. } => {
                Self::usage(error.to_string())
            }
        }
    }
}

impl From<JournalError> for CliError {
    /// Its text says what to do as well.
    fn from(error: JournalError) -> Self {
        Self::new(ErrorKind::Config, &text::single_line(&error.to_string()))
    }
}

impl From<TransportError> for CliError {
    fn from(error: TransportError) -> Self {
        let failure = error.failure();
        Self { hint: failure.hint, ..Self::new(ErrorKind::Config, &text::single_line(&failure.message)) }
    }
}

/// A node set that cannot be read, with its place.
pub fn pattern_error(option: &str, pattern: &str, error: &ParseError) -> CliError {
    let shown = text::single_line(pattern);
    // The place is only right if nothing had to be made visible.
    let span = if shown == pattern { error.span() } else { 0..shown.len() };
    let marks = [(AnnotationKind::Primary, span, String::new())];
    CliError::rendered(
        ErrorKind::Usage,
        snippet(&text::single_line(error.message()), option, &shown, &marks, error.hint()),
    )
}

fn snippet(
    title: &str,
    path: &str,
    source: &str,
    marks: &[(AnnotationKind, std::ops::Range<usize>, String)],
    help: Option<&str>,
) -> String {
    let marks = marks.iter().map(|(kind, span, label)| {
        // The renderer needs spans within the text.
        let end = span.end.min(source.len());
        let mark = kind.span(span.start.min(end)..end);
        if label.is_empty() { mark } else { mark.label(label.as_str()) }
    });
    let mut group: Group<'_> =
        Level::ERROR.primary_title(title).element(Snippet::source(source).path(path).annotations(marks));
    if let Some(help) = help {
        group = group.element(Level::HELP.message(help));
    }
    // Plain: the message may go to a file, and its text is made safe later as a whole.
    let mut rendered = Renderer::plain().render(&[group]);
    rendered.push('\n');
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_inventory::{PathEnvironment, parse};
    use ctl_plan::rollout;

    #[test]
    fn a_rollout_that_is_wrong_is_shown_as_an_inventory_is() {
        let inventory = "version: 1\nnodes: {db1: {roles: [database]}}";
        let inventory =
            parse(inventory, Path::new("inventory.yaml"), &PathEnvironment::default()).expect("an inventory");
        let text = "version: 1\nvars: {release: 3.2}\nsteps:\n  - {name: up, role: database, exec: 'yum {{ relase }}'}\n  - {name: up, role: databse, exec: date}\n";
        let error = rollout::read(Path::new("up.yaml"), text, &[], &inventory).expect_err("no rollout");
        let expected = "\
error: no variable `relase`
 --> up.yaml:4:43
  |
4 |   - {name: up, role: database, exec: 'yum {{ relase }}'}
  |                                           ^^^^^^^^^^^^ unknown variable
  |
  = help: did you mean release?

error: two steps are named `up`
 --> up.yaml:5:12
  |
4 |   - {name: up, role: database, exec: 'yum {{ relase }}'}
  |            -- first defined here
5 |   - {name: up, role: databse, exec: date}
  |            ^^ defined again here
  |
  = help: give each step a name of its own

error: unknown role `databse`
 --> up.yaml:5:22
  |
5 |   - {name: up, role: databse, exec: date}
  |                      ^^^^^^^ unknown role
  |
  = help: did you mean database?

error: up.yaml: 3 problems; nothing was done";
        assert_eq!(CliError::from(error).rendered, expected);
        let missing = rollout::load(Path::new("none.yaml")).expect_err("no file");
        let expected = "error: no such file\n --> none.yaml\n\nerror: none.yaml: 1 problem; nothing was done";
        assert_eq!(CliError::from(missing).rendered, expected);
    }
}
