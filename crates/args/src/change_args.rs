//! The options of every command that changes nodes: how carefully, and how the run begins.
//!
//! Here live [`ChangeArgs`] and its parts. The policy options are made from the rows of [`POLICY_OPTIONS`]: [`PolicyArgs`]
//! implements clap's traits by hand, since its arguments are data. It knows the kinds of their values ([`PolicySetter`]),
//! not the options. Invariants: an option that is added to the rows is an argument, is in every help text, and is
//! refused where nothing is changed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};

use crate::durations::{duration, duration_or_zero};
use ctl_plan::amount::BatchSizes;
use ctl_plan::options::{POLICY_OPTIONS, ParseFn, PolicyOption, PolicySetter};
use ctl_plan::policy::Policy;

const HEADING: &str = "Batches";
const ROLLING: &str = "rolling";

/// What every action that changes a node takes.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Batches, limits and gates.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Whether the run starts, and under which locks.
    #[command(flatten)]
    pub go: GoArgs,
}

/// How a changing run begins, and how it keeps nodes to itself.
#[derive(Debug, Clone, Args)]
pub struct GoArgs {
    /// Do not ask for confirmation (asked before a change of every node of the inventory)
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Show the plan and change nothing; `live` also reads the nodes
    #[arg(long, value_name = "live", num_args = 0..=1, require_equals = true, default_missing_value = "plan")]
    pub dry_run: Option<DryRun>,
    /// Reason for the run: kept in the journal, and shown to anyone who hits the lock
    #[arg(long, value_name = "TEXT", help_heading = "Locks")]
    pub(crate) reason: Option<String>,
    /// How long to wait for a lock held by another run [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, help_heading = "Locks")]
    pub(crate) lock_wait: Option<std::time::Duration>,
    /// Change nodes even if the guard and the lock are not available there
    #[arg(long, help_heading = "Locks")]
    pub(crate) no_guard: bool,
}

/// Kinds of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Do not connect
    Plan,
    /// Also read the current state of the nodes
    Live,
}

/// Batches, limits and gates.
#[derive(Debug)]
pub struct PolicyArgs {
    /// The policy that the options make.
    pub policy: Policy,
    /// The first option on the command line that has no effect where nothing is changed, if there is one.
    pub first_given: Option<String>,
}

impl Args for PolicyArgs {
    fn augment_args(command: Command) -> Command {
        POLICY_OPTIONS.iter().fold(command, |command, option| {
            let command = command.arg(argument(option));
            // Short for the option above it, so it stands below it in the help.
            if option.key == "serial" { command.arg(rolling()) } else { command }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(option: &PolicyOption) -> Arg {
    let argument = Arg::new(option.key)
        .long(option.key.replace('_', "-"))
        .value_name(option.value_name)
        .help(option.help)
        .help_heading(HEADING);
    match option.set {
        // Negative numbers are refused by the parser, with a better reason than that no option has this name.
        PolicySetter::Parsed { set, .. } | PolicySetter::ParsedList { set, .. } => {
            argument.value_parser(accepted_by(set)).allow_hyphen_values(true)
        }
        PolicySetter::Duration(_) => argument.value_parser(duration),
        PolicySetter::DurationOrZero(_) => argument.value_parser(duration_or_zero),
        PolicySetter::Choice(choices) => argument.value_parser(PossibleValuesParser::new(
            choices.iter().map(|choice| PossibleValue::new(choice.name).help(choice.help)),
        )),
        PolicySetter::Text { .. } => argument,
        PolicySetter::File { .. } => argument.value_parser(clap::value_parser!(PathBuf)),
    }
}

/// Lets a text through if a policy accepts it, so that clap names the option in the error.
fn accepted_by(set: ParseFn) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |typed| set(&mut Policy::default(), typed).map(|()| typed.to_owned())
}

fn rolling() -> Arg {
    Arg::new(ROLLING)
        .long(ROLLING)
        .help("One node at a time, same as --serial 1")
        .help_heading(HEADING)
        .action(ArgAction::SetTrue)
        .conflicts_with("serial")
}

impl FromArgMatches for PolicyArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut policy = Policy::default();
        for option in POLICY_OPTIONS {
            set(&mut policy, option, matches)?;
        }
        // After the rows: clap has already refused `--serial` beside it.
        if matches.get_flag(ROLLING) {
            policy.serial = Some(BatchSizes::one());
        }
        Ok(Self { policy, first_given: first_given(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn set(policy: &mut Policy, option: &PolicyOption, matches: &ArgMatches) -> Result<(), clap::Error> {
    let text = || matches.get_one::<String>(option.key);
    match option.set {
        PolicySetter::Parsed { set, .. } | PolicySetter::ParsedList { set, .. } => {
            if let Some(typed) = text() {
                set(policy, typed).map_err(|reason| clap::Error::raw(ErrorKind::ValueValidation, reason))?;
            }
        }
        PolicySetter::Duration(set) | PolicySetter::DurationOrZero(set) => {
            if let Some(time) = matches.get_one::<Duration>(option.key) {
                set(policy, *time);
            }
        }
        PolicySetter::Choice(choices) => {
            if let Some(choice) = text().and_then(|name| choices.iter().find(|choice| choice.name == name)) {
                (choice.set)(policy);
            }
        }
        PolicySetter::Text { set, .. } => {
            if let Some(given) = text() {
                set(policy, given.clone());
            }
        }
        PolicySetter::File { set, .. } => {
            if let Some(file) = matches.get_one::<PathBuf>(option.key) {
                set(policy, Some(file.clone()));
            }
        }
    }
    Ok(())
}

/// The first option under a heading of [`ChangeArgs`] that was given.
fn first_given(matches: &ArgMatches) -> Option<String> {
    let command = ChangeArgs::augment_args(Command::new("change"));
    // Within ChangeArgs, the options under a heading have no effect where nothing is changed.
    let is_given = |argument: &&Arg| {
        argument.get_help_heading().is_some()
            // A default value is not "given".
            && matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let first = command.get_arguments().find(is_given);
    first.and_then(Arg::get_long).map(|option| format!("--{option}"))
}
