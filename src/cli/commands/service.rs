//! `ctl service NAME... ACTION`, and the short `ctl ACTION NAME...`.

use crate::cli::execute::execute;
use crate::cli::job::{CliJob, JobRequest, service_names};
use ctl_args::args::{FanoutArgs, ServiceArgs, VerbArgs};
use ctl_args::change_args::ChangeArgs;
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_plan::{Action, ServiceVerb, Work};

/// The actions: a change, or none for the status.
const ACTIONS: [Option<ServiceVerb>; 5] =
    [Some(ServiceVerb::Start), Some(ServiceVerb::Stop), Some(ServiceVerb::Restart), None, Some(ServiceVerb::Update)];

pub(in crate::cli) fn run(args: &ServiceArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    carry_out(&args.fanout, &args.change, words, |settings| job(args, settings, &SavedInputs::default()))
}

pub(in crate::cli) fn run_verb(verb: ServiceVerb, args: &VerbArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    carry_out(&args.fanout, &args.change, words, |settings| verb_job(verb, args, settings, &SavedInputs::default()))
}

fn carry_out(
    fanout: &FanoutArgs,
    change: &ChangeArgs,
    words: &[String],
    job: impl FnOnce(&Settings) -> Result<CliJob, CliError>,
) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(fanout);
    settings.output.start_log()?;
    execute(job(&settings)?, &settings, Some(&(&change.go).into()), words, None)
}

/// What the words of a short command mean.
pub(in crate::cli) fn verb_job(
    verb: ServiceVerb,
    args: &VerbArgs,
    settings: &Settings,
    sources: &SavedInputs,
) -> Result<CliJob, CliError> {
    job_of(&args.names, Some(verb), &args.change, settings, sources)
}

/// What the words mean.
pub(in crate::cli) fn job(args: &ServiceArgs, settings: &Settings, sources: &SavedInputs) -> Result<CliJob, CliError> {
    let (services, verb) = split(&args.words)?;
    // clap cannot refuse these by itself, since the action is one of the positional words.
    if verb.is_none()
        && let Some(option) = &args.change.policy.first_given
    {
        return Err(CliError::usage(format!("{option} cannot be used with `{}`, which changes nothing", name(verb))));
    }
    job_of(&services, verb, &args.change, settings, sources)
}

fn job_of(
    names: &[String],
    verb: Option<ServiceVerb>,
    change: &ChangeArgs,
    settings: &Settings,
    sources: &SavedInputs,
) -> Result<CliJob, CliError> {
    let services = service_names(names);
    let work = |services| match verb {
        Some(verb) => Work::Service { verb, services },
        None => Work::status(services),
    };
    JobRequest { change: Some(&change.policy.policy), ..JobRequest::new("service", &services, settings, work) }
        .job(sources)
}

/// Their names.
pub(in crate::cli) fn action_names() -> [&'static str; 5] {
    ACTIONS.map(name)
}

fn name(verb: Option<ServiceVerb>) -> &'static str {
    verb.map_or(Action::Status, ServiceVerb::action).as_str()
}

/// The action is the last word, as with `service`, or the first.
fn split(words: &[String]) -> Result<(Vec<String>, Option<ServiceVerb>), CliError> {
    let action_of =
        |word: Option<&String>| ACTIONS.into_iter().find(|verb| word.is_some_and(|word| word == name(*verb)));
    let (first, last) = (action_of(words.first()), action_of(words.last()));
    let actions = ACTIONS.map(name).join(", ");
    // One word that is an action lacks its services, whichever end it stands at.
    match (first, last, words) {
        (Some(_), _, [_]) => Err(CliError::usage("no service given")
            .with_hint("usage: ctl service NAME... ACTION, for example `ctl service contrail-collector restart`")),
        // An action at both ends: which of them is a service would be a guess.
        (Some(first), Some(last), _) => Err(CliError::usage(format!(
            "two actions given, `{}` and `{}`; expected only one",
            name(first),
            name(last)
        ))),
        (Some(verb), None, [_, services @ ..]) => Ok((services.to_vec(), verb)),
        (None, Some(verb), [services @ .., _]) => Ok((services.to_vec(), verb)),
        _ => {
            let near = words.last().and_then(|word| {
                let distance = |verb: &Option<ServiceVerb>| strsim::damerau_levenshtein(word, name(*verb));
                // Two letters apart at most: anything else is probably a service.
                ACTIONS.into_iter().min_by_key(distance).filter(|verb| distance(verb) <= 2)
            });
            if words.iter().any(|word| word == "signal") {
                return Err(CliError::usage(format!("`signal` is not a valid action (expected one of {actions})"))
                    .with_hint("with supervisor 3.2 or newer on the nodes: ctl exec -r config -- supervisorctl -s unix:///var/run/supervisord_config.sock signal HUP contrail-api"));
            }
            let error = CliError::usage(format!("no action given: expected one of {actions} after the services"));
            Err(match near {
                Some(verb) => error.with_hint(format!("did you mean {}?", name(verb))),
                None => error,
            })
        }
    }
}
