//! `ctl service NAME... ACTION`.

use crate::cli::args::ServiceArgs;
use crate::cli::error::CliError;
use crate::cli::execute::execute;
use crate::cli::exit::ExitStatus;
use crate::cli::job::{CliJob, JobRequest};
use crate::cli::log::start_log;
use crate::cli::settings::{SavedInputs, Settings};
use crate::plan::Action;

/// The actions by their words.
const ACTIONS: [Action; 5] = [Action::Start, Action::Stop, Action::Restart, Action::Status, Action::Update];

pub(in crate::cli) fn run(args: &ServiceArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    start_log(&settings.output)?;
    let job = job(args, &settings, &SavedInputs::default())?;
    execute(job, &settings, Some(&(&args.change.go).into()), words, None)
}

/// What the words mean.
pub(in crate::cli) fn job(args: &ServiceArgs, settings: &Settings, sources: &SavedInputs) -> Result<CliJob, CliError> {
    let (services, action) = split(&args.words)?;
    if !action.changes()
        && let Some(option) = &args.change.policy.first_given
    {
        return Err(CliError::usage(format!(
            "{option} cannot be used with `{}`, which changes nothing",
            action.as_str()
        )));
    }
    JobRequest { change: Some(&args.change.policy.policy), ..JobRequest::new("service", action, &services, settings) }
        .job(sources)
}

/// The action is the last word, as with `service`, or the first.
fn split(words: &[String]) -> Result<(Vec<String>, Action), CliError> {
    let action_of =
        |word: Option<&String>| ACTIONS.into_iter().find(|action| word.is_some_and(|word| word == action.as_str()));
    let (first, last) = (action_of(words.first()), action_of(words.last()));
    let actions = ACTIONS.map(Action::as_str).join(", ");
    match (first, last, words) {
        (Some(_), _, [_]) => Err(CliError::usage("no service given")
            .with_hint("usage: ctl service NAME... ACTION, for example `ctl service contrail-collector restart`")),
        (Some(first), Some(last), _) => Err(CliError::usage(format!(
            "two actions, `{}` first and `{}` last; give only one",
            first.as_str(),
            last.as_str()
        ))),
        (Some(action), None, [_, services @ ..]) => Ok((services.to_vec(), action)),
        (None, Some(action), [services @ .., _]) => Ok((services.to_vec(), action)),
        _ => {
            let near = words.last().and_then(|word| {
                let distance = |action: &Action| strsim::damerau_levenshtein(word, action.as_str());
                ACTIONS.into_iter().min_by_key(distance).filter(|action| distance(action) <= 2)
            });
            let error = CliError::usage(format!("no action given: expected one of {actions} after the services"));
            Err(match near {
                Some(action) => error.with_hint(format!("did you mean {}?", action.as_str())),
                None => error,
            })
        }
    }
}
