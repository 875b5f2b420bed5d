//! Parses a file or its text into a [`Rollout`].
//!
//! Here live [`load`] and [`read`]: what a whole file must have, and in which order its parts are read. It uses the
//! other files of this module and the reader of the inventory. Invariants: every error in a well-formed file is
//! reported at once. Start reading at [`read`].

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::action;
use super::model::{Rollout, RolloutError, RolloutStep};
use super::reader::RolloutReader;
use super::settings::{self, RolloutSettings};
use super::step;
use super::variables::RolloutVariables;
use ctl_inventory::file::{self, FileKind, NoText};
use ctl_inventory::problem::{Diagnostic, ProblemReport, quoted};
use ctl_inventory::raw::{RawValue, Value};
use ctl_inventory::values::{self, FieldEntry, ValueReader};
use ctl_inventory::{Inventory, PathEnvironment};
use ctl_local::file::FileAccess;

/// Maximum number of steps in a rollout.
pub const MAX_STEPS: usize = 1000;

const KIND: FileKind = FileKind { name: "a rollout", max_bytes: 1024 * 1024 };

/// The version of the format.
const VERSION: u64 = 1;

const KEYS: [&str; 5] = ["version", "name", "vars", "defaults", "steps"];
const SYNONYMS: [(&str, &str); 6] = [
    ("tasks", "steps"),
    ("plan", "steps"),
    ("stages", "steps"),
    ("variables", "vars"),
    ("settings", "defaults"),
    ("policy", "defaults"),
];

/// The minimal file.
const EXAMPLE: &str =
    "the minimum is `version: 1` and `steps: [{name: restart, role: analytics, services: all, action: restart}]`";

/// Reads the text of a rollout file, and its access rights.
///
/// # Errors
/// [`RolloutError`] if it cannot be read, is a directory, is larger than 1 MiB, or is not text.
pub fn load(path: &Path) -> Result<(String, FileAccess), RolloutError> {
    file::load(path, KIND).map_err(|NoText { text, problems }| RolloutError { path: path.to_owned(), text, problems })
}

/// Parses a rollout and checks it against an inventory without connecting to a node. `path` is the source of the text,
/// for messages; `vars` are the `-e KEY=VALUE` of the command line, where the last value of a name wins.
///
/// # Errors
/// [`RolloutError`] with every fault; with only the first one if the text is not well-formed YAML or larger than 1 MiB.
pub fn read(
    path: &Path,
    text: &str,
    vars: &[(String, String)],
    inventory: &Inventory,
) -> Result<Rollout, RolloutError> {
    // `load` limits a file, but the text of a resumed run comes from its journal.
    if text.len() as u64 > KIND.max_bytes {
        let problems = vec![KIND.too_large()];
        return Err(RolloutError { path: path.to_owned(), text: String::new(), problems });
    }
    let text = file::without_mark(text);
    // Only the file's variables apply: the environment is never expanded.
    let environment = PathEnvironment::default();
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let reader = ValueReader { report: ProblemReport::default(), env: &environment, folder };
    let mut work = RolloutReader { reader, text, inventory };
    let rollout = file::tree(text, KIND, &mut work.reader.report).and_then(|root| whole(&mut work, &root, vars));
    match rollout {
        Some(rollout) if work.reader.report.count() == 0 => Ok(rollout),
        _ => Err(RolloutError {
            path: path.to_owned(),
            text: text.to_owned(),
            problems: work.reader.report.into_problems(text),
        }),
    }
}

/// Reads the parts, each after those that it refers to.
fn whole(work: &mut RolloutReader<'_>, root: &RawValue, given: &[(String, String)]) -> Option<Rollout> {
    match &root.value {
        Value::Map(_) => {}
        Value::Null => {
            work.reader.fault(Diagnostic::new(0..0, "the rollout is empty").help(EXAMPLE));
            return None;
        }
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            let message = format!("a rollout must be a mapping with the keys {}, not {}", KEYS.join(", "), root.kind());
            let is_glued =
                root.as_text().is_some_and(|said| KEYS.iter().any(|key| said.starts_with(&format!("{key}:"))));
            let help = if is_glued {
                "put a space after the colon"
            } else if matches!(root.value, Value::List(_)) {
                "put the list under `steps:`"
            } else {
                EXAMPLE
            };
            work.reader.fault(Diagnostic::new(root.place(), message).help(help));
            return None;
        }
    }
    let mut fields = values::pairs(&mut work.reader, root, root, "key")?;
    // Reserved for users, for instance to hold anchors.
    fields.retain(|field| !field.name.starts_with("x-"));
    let meant = values::keep_known(&mut work.reader, &mut fields, "the rollout", &KEYS, &SYNONYMS);
    let find = |key: &str| fields.iter().copied().find(|field| field.name == key);

    // A misspelled key already has its fault: do not report it as missing, too.
    if (find("version").is_some() || !meant.contains(&"version"))
        && let Some(field) = values::format_version(&mut work.reader, find("version"), "rollout", VERSION)
    {
        values::wrong_value(&mut work.reader, field, "the number 1");
    }
    let vars = RolloutVariables::read(work, find("vars"), given, !meant.contains(&"vars"));
    let name = find("name").and_then(|field| action::title(work, &vars, field));
    let defaults = find("defaults").map(|field| settings::defaults(work, &vars, field)).unwrap_or_default();
    let steps = match find("steps") {
        Some(field) => steps(work, &vars, &defaults, field),
        None => {
            if !meant.contains(&"steps") {
                work.reader.fault(Diagnostic::new(0..0, "the rollout has no `steps`").help(EXAMPLE));
            }
            Vec::new()
        }
    };
    Some(Rollout { name, steps })
}

fn steps(
    work: &mut RolloutReader<'_>,
    vars: &RolloutVariables,
    defaults: &RolloutSettings,
    field: FieldEntry<'_>,
) -> Vec<RolloutStep> {
    let Value::List(items) = &field.value.value else {
        work.reader.wrong_kind(field.key, field.value, "a list of steps, each with a `-`");
        return Vec::new();
    };
    if items.is_empty() {
        work.reader.fault(Diagnostic::new(field.key.span.clone(), "the rollout has no steps").help(EXAMPLE));
    }
    if let Some(first_over) = items.get(MAX_STEPS) {
        let message = format!("there are {} steps: a rollout may have at most {MAX_STEPS}", items.len());
        work.reader.fault(Diagnostic::new(first_over.place(), message).label("the first one too many"));
        return Vec::new();
    }
    let mut names: HashMap<String, Range<usize>> = HashMap::with_capacity(items.len());
    let mut steps = Vec::with_capacity(items.len());
    for item in items {
        let Some((name, step)) = step::read(work, vars, defaults, field, item) else { continue };
        if let Some((said, place)) = name {
            if let Some(before) = names.get(&said) {
                let fault = Diagnostic::new(place, format!("two steps are named {}", quoted(&said)))
                    .label("defined again here")
                    .related(before.clone(), "first defined here")
                    .help("give each step a name of its own");
                work.reader.fault(fault);
            } else {
                names.insert(said, place);
            }
        }
        steps.extend(step);
    }
    steps
}
