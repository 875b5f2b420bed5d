//! `ctl nodeset fold | expand | count PATTERN`: works without an inventory, which is read only for groups and globs.

use std::io::{Read, Write};
use std::path::Path;

use nodeset::{NodeSet, ParseError};

use ctl_args::args::{NodesetArgs, NodesetCommand};
use ctl_args::settings::{self, SavedInputs};
use ctl_console::error::{CliError, pattern_error};
use ctl_console::exit::ExitStatus;
use ctl_inventory::Inventory;
use ctl_select::named_set;
use ctl_sink::text;

/// Longest text read from standard input, in bytes.
const INPUT_LIMIT: u64 = 256 * 1024 * 1024;

pub(in crate::cli) fn run(args: &NodesetArgs) -> Result<ExitStatus, CliError> {
    let (NodesetCommand::Fold(words) | NodesetCommand::Expand(words) | NodesetCommand::Count(words)) = &args.command;
    let mut set = NodeSet::default();
    let mut known = TypedGroups { named: args.inventory.as_deref(), inventory: None };
    for pattern in &words.patterns {
        let (origin, text) =
            if pattern == "-" { ("standard input", read_input()?) } else { ("PATTERN", pattern.clone()) };
        let more = match NodeSet::parse(&text) {
            Err(error) if error.needs_inventory() => known.set(origin, &text, &error)?,
            parsed => parsed.map_err(|error| pattern_error(origin, &text, &error))?,
        };
        // The union with an empty set would copy the whole set once more.
        set = if set.is_empty() { more } else { set.union(&more) };
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = match &args.command {
        NodesetCommand::Fold(_) => writeln!(out, "{}", text::visible(&set.to_string())),
        NodesetCommand::Count(_) => writeln!(out, "{}", set.len()),
        NodesetCommand::Expand(_) => expand(&set, &mut out),
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitStatus::Good),
        // A reader such as `head` that has seen enough is no error.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitStatus::Good),
        Err(error) => Err(CliError::usage(format!("standard output: {error}"))),
    }
}

/// The inventory, once a pattern needs it.
struct TypedGroups<'a> {
    named: Option<&'a Path>,
    inventory: Option<Inventory>,
}

impl TypedGroups<'_> {
    /// A set with groups or globs. `error` is that of a reading without an inventory.
    fn set(&mut self, origin: &str, text: &str, error: &ParseError) -> Result<NodeSet, CliError> {
        let inventory = match self.inventory.take() {
            Some(inventory) => inventory,
            // Without any inventory at the usual places, the pattern is the fault.
            None if settings::find_inventory(self.named).is_err() => return Err(pattern_error(origin, text, error)),
            None => settings::inventory(self.named, &SavedInputs::default())?.0,
        };
        let inventory = self.inventory.insert(inventory);
        named_set(inventory, text).map_err(|error| pattern_error(origin, text, &error))
    }
}

fn expand(set: &NodeSet, out: &mut impl Write) -> std::io::Result<()> {
    for (index, name) in set.iter().enumerate() {
        if index > 0 {
            write!(out, " ")?;
        }
        // Names are patterns that somebody typed, or input from a pipe.
        write!(out, "{}", text::visible(&name))?;
    }
    writeln!(out)
}

/// Lines and blanks separate patterns, as in `nodeset`.
fn read_input() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_LIMIT)
        .read_to_string(&mut text)
        .map_err(|error| CliError::usage(format!("standard input: {error}")))?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(","))
}
