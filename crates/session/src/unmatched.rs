//! Globs that match no service of any selected node. That is no fault, but often a typo.
//!
//! Pure: it judges the results of a run that has ended, since only all of them show that a glob matches nothing. Names
//! are judged by the engine, before anything is changed. Invariants: a glob is named only if every node that takes part
//! has answered.

use ctl_event::{Failure, FailureKind, Outcome, Stage, TargetResult};
use ctl_plan::{Plan, TargetFilter, Task};
use ctl_select::ServicePattern;

/// The failures of those globs of `plan` that match nothing in the results of its run.
#[must_use]
pub fn unmatched_globs<'r>(
    plan: &Plan,
    results: impl IntoIterator<Item = &'r TargetResult, IntoIter: Clone>,
) -> Vec<Failure> {
    let globs = plan.tasks.iter().filter(|task| is_judged(task)).flat_map(|task| task.work.services());
    let mut globs: Vec<&ServicePattern> = globs.filter(|service| service.is_glob()).collect();
    let results = results.into_iter();
    // A node that did not answer may have the missing service. It has decided the exit code already.
    if globs.is_empty() || results.clone().any(leaves_doubt) {
        return Vec::new();
    }
    // A node in maintenance is never read.
    if results.clone().all(|result| result.outcome == Outcome::Skipped) {
        return Vec::new();
    }
    globs.retain(|glob| !results.clone().any(|result| is_match(glob, result)));
    globs.dedup();
    globs.into_iter().map(|glob| failure(plan, glob)).collect()
}

/// Not the rest of a run that is resumed, since the nodes that have a match may be done; nor a step of a rollout file, in
/// which a glob may match nothing.
fn is_judged(task: &Task) -> bool {
    task.targets == TargetFilter::All && task.name.is_none()
}

fn leaves_doubt(result: &TargetResult) -> bool {
    match result.outcome {
        Outcome::Unreachable | Outcome::TimedOut | Outcome::Unknown | Outcome::NotStarted => true,
        Outcome::Failed => !is_missing(result),
        Outcome::Ok | Outcome::Changed | Outcome::NotConfigured | Outcome::Skipped => false,
    }
}

/// Whether a result says that a name is not there.
fn is_missing(result: &TargetResult) -> bool {
    result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NoSuchService)
}

/// Whether a result is of something that the glob matches.
fn is_match(glob: &ServicePattern, result: &TargetResult) -> bool {
    // What has no match has the text of the glob in the place of a name.
    if result.outcome == Outcome::NotConfigured || is_missing(result) {
        return false;
    }
    result.service.as_deref().is_some_and(|name| {
        if result.supervisor.as_deref() == Some(name) {
            glob.matches_instance(name)
        } else {
            glob.matches_full_name(name)
        }
    })
}

fn failure(plan: &Plan, glob: &ServicePattern) -> Failure {
    let of_role = plan.known_roles.iter().flat_map(|role| {
        let instances = role.supervisors.iter().map(|supervisor| supervisor.name.as_str());
        instances.chain(role.supervisors.iter().flat_map(|own| &own.services).map(String::as_str))
    });
    let hint = glob.nearest_to_glob(of_role).map(|name| format!("did you mean {name}?"));
    let message = format!("no selected node has a service that matches '{}'", glob.as_str());
    Failure::new(Stage::Inspect, FailureKind::NoSuchService, message)
        .with_hint(hint.unwrap_or_else(|| "`ctl status --all` lists the services".to_owned()))
}
