//! The health of one target.

use std::borrow::Cow;

use ctl_event::{Failure, FailureKind, FunctionalStatus, Outcome, ProcessState, TargetResult};

/// The health of a target, from healthy to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetHealth {
    /// It works, or is on standby as intended; also a target that was skipped on purpose.
    Well,
    /// It is starting, or runs and is not functional yet.
    Initializing,
    /// It is stopped or stopping.
    Inactive,
    /// It runs and does not answer.
    Timeout,
    /// It exited on its own, cannot start, or does not stay up.
    Failed,
    /// Its supervisord is missing or does not answer.
    Down,
    /// Unknown: its node could not be reached or read.
    Unreachable,
}

impl TargetHealth {
    /// Every value, in order.
    pub const ALL: [Self; 7] =
        [Self::Well, Self::Initializing, Self::Inactive, Self::Timeout, Self::Failed, Self::Down, Self::Unreachable];

    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "active",
            Self::Initializing => "initializing",
            Self::Inactive => "inactive",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
        }
    }

    /// The health of a result's target.
    #[must_use]
    pub fn of(result: &TargetResult) -> Self {
        let kind = result.failure.as_ref().map(|failure| failure.kind);
        match result.outcome {
            Outcome::NotConfigured | Outcome::Skipped => Self::Well,
            Outcome::Unreachable | Outcome::TimedOut | Outcome::Unknown | Outcome::NotStarted => Self::Unreachable,
            Outcome::Failed => match kind {
                Some(FailureKind::SupervisorDown | FailureKind::SupervisorMissing) => Self::Down,
                _ => Self::Failed,
            },
            // Before the states: EXITED is healthy for a oneshot program, and a standby is unhealthy without an active
            // node.
            Outcome::Ok | Outcome::Changed if result.has_ended_well() => Self::Well,
            Outcome::Ok | Outcome::Changed if result.stands_by_for_none() => Self::Failed,
            Outcome::Ok | Outcome::Changed => {
                Self::of_state(result.state).max(Self::of_functional(result.functional.as_ref()))
            }
        }
    }

    const fn of_state(state: Option<ProcessState>) -> Self {
        match state {
            None | Some(ProcessState::Running) => Self::Well,
            Some(ProcessState::Starting) => Self::Initializing,
            Some(ProcessState::Stopped | ProcessState::Stopping) => Self::Inactive,
            Some(ProcessState::Backoff | ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown) => {
                Self::Failed
            }
        }
    }

    const fn of_functional(functional: Option<&FunctionalStatus>) -> Self {
        match functional {
            None | Some(FunctionalStatus::Active | FunctionalStatus::Backup) => Self::Well,
            Some(FunctionalStatus::Initializing) => Self::Initializing,
            Some(FunctionalStatus::Inactive) => Self::Inactive,
            Some(FunctionalStatus::Timeout) => Self::Timeout,
            Some(FunctionalStatus::Failed | FunctionalStatus::Other(_)) => Self::Failed,
        }
    }
}

/// Why a target is not healthy, in one text: `initializing (Database connection down)`, `FATAL (spawn error)`,
/// `unreachable (refused: …)`. It starts with a single token. Untrusted text: sinks make it safe.
#[must_use]
pub fn reason(result: &TargetResult) -> String {
    HealthReason::of(result).to_string()
}

/// Why a target is not healthy, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthReason {
    /// The state, or a substitute for it, as a single token; none for a finding.
    pub(super) word: String,
    /// The kind of failure, if it adds something to the state.
    pub(super) kind: Option<FailureKind>,
    /// Details; may be empty.
    pub(super) why: String,
}

impl HealthReason {
    pub(super) fn of(result: &TargetResult) -> Self {
        match &result.failure {
            Some(failure) => Self::of_failure(result, failure),
            None => Self::of_state(result),
        }
    }

    fn of_failure(result: &TargetResult, failure: &Failure) -> Self {
        // The message repeats the name, which the line shows already.
        if failure.kind == FailureKind::SupervisorDown {
            let why = without_name(&failure.message, result.supervisor.as_deref()).to_owned();
            return Self { word: TargetHealth::Down.as_str().to_owned(), kind: None, why };
        }
        if failure.kind == FailureKind::SupervisorMissing {
            let why = match &result.role {
                Some(role) => format!("the inventory lists role {role}"),
                None => "the node has no such supervisord".to_owned(),
            };
            return Self { word: "missing".to_owned(), kind: None, why };
        }
        let word = result.outcome.as_str().to_owned();
        // `timed_out (timed_out: …)` would say the same twice.
        let kind = Some(failure.kind).filter(|kind| kind.as_str() != word);
        Self { word, kind, why: without_place(&failure.message, result.address.as_deref()).to_owned() }
    }

    fn of_state(result: &TargetResult) -> Self {
        // Of the two the one that says how bad it is.
        let is_in_word = TargetHealth::of_functional(result.functional.as_ref()) > TargetHealth::of_state(result.state);
        let word = match (result.state, &result.functional) {
            (Some(state), _) if state != ProcessState::Running && !is_in_word => state.as_str(),
            (_, Some(status)) => status.as_str().split_whitespace().next().unwrap_or_default(),
            (_, None) if result.outcome.is_bad() => result.outcome.as_str(),
            (_, None) => TargetHealth::of(result).as_str(),
        };
        let why = match result.functional_reason.as_deref().filter(|why| !why.is_empty()) {
            Some(why) => why,
            None if word == TargetHealth::Timeout.as_str() => "no answer on its introspect port",
            None => &result.message,
        };
        Self { word: word.to_owned(), kind: None, why: why.to_owned() }
    }

    /// The same reason with different details.
    pub(super) fn with(&self, why: &str) -> String {
        // Only now: reasons that differ in the time alone are one before.
        match (self.kind, with_clock(why).as_ref()) {
            _ if self.word.is_empty() => why.to_owned(),
            (None, "") => self.word.clone(),
            (None, why) => format!("{} ({why})", self.word),
            (Some(kind), "") => format!("{} ({kind})", self.word),
            (Some(kind), why) => format!("{} ({kind}: {why})", self.word),
        }
    }
}

impl std::fmt::Display for HealthReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.with(&self.why))
    }
}

/// The months as supervisord writes them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time that supervisord wrote (`Mar 01 07:12 AM`), with whose clock that is: it has no zone, and the node's may be
/// another than that of the reader. Any other text as it is.
#[must_use]
pub fn with_clock(message: &str) -> Cow<'_, str> {
    let words: Vec<&str> = message.split(' ').collect();
    let is_time = matches!(words.as_slice(), [month, day, time, half]
        if MONTHS.contains(month) && day.parse::<u8>().is_ok() && time.contains(':') && matches!(*half, "AM" | "PM"));
    if is_time { Cow::Owned(format!("{message} on the node's clock")) } else { Cow::Borrowed(message) }
}

/// Strips the instance's name from the front of a message, since the output already shows it.
fn without_name<'a>(message: &'a str, name: Option<&str>) -> &'a str {
    let rest = name.and_then(|name| message.strip_prefix(name));
    rest.map_or(message, |rest| rest.strip_prefix(" is not running").unwrap_or(rest).trim_start_matches([':', ' ']))
}

/// Strips the node's address from the front of a connection error (`10.0.0.7 port 22: …`, `root@10.0.0.7: …`): the
/// output already names the node.
fn without_place<'a>(message: &'a str, address: Option<&str>) -> &'a str {
    let place = message.split_once(": ").filter(|(place, _)| {
        let host = place.split(" port ").next().unwrap_or_default();
        address.is_some_and(|address| host == address || host.ends_with(&format!("@{address}")))
    });
    place.map_or(message, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::Stage;

    fn with(state: ProcessState, functional: Option<&str>) -> TargetResult {
        TargetResult {
            state: Some(state),
            functional: functional.map(FunctionalStatus::from),
            ..TargetResult::new("n", Outcome::Ok)
        }
    }

    fn failed(outcome: Outcome, kind: FailureKind, message: &str) -> TargetResult {
        TargetResult {
            role: Some("web-ui".to_owned()),
            supervisor: Some("supervisor-webui".to_owned()),
            failure: Some(Failure::new(Stage::Inspect, kind, message)),
            ..TargetResult::new("n", outcome)
        }
    }

    #[test]
    fn the_scale() {
        use ProcessState as S;
        let table = [
            (with(S::Running, None), TargetHealth::Well),
            (with(S::Running, Some("active")), TargetHealth::Well),
            (with(S::Running, Some("backup")), TargetHealth::Well),
            (
                TargetResult {
                    functional_reason: Some("none is active".to_owned()),
                    ..with(S::Running, Some("backup"))
                },
                TargetHealth::Failed,
            ),
            (with(S::Running, Some("initializing")), TargetHealth::Initializing),
            (with(S::Running, Some("timeout")), TargetHealth::Timeout),
            (with(S::Running, Some("failed")), TargetHealth::Failed),
            (with(S::Running, Some("a word of tomorrow")), TargetHealth::Failed),
            (with(S::Starting, Some("initializing")), TargetHealth::Initializing),
            (with(S::Stopped, Some("inactive")), TargetHealth::Inactive),
            (with(S::Stopping, None), TargetHealth::Inactive),
            (with(S::Backoff, None), TargetHealth::Failed),
            (with(S::Exited, None), TargetHealth::Failed),
            (with(S::Fatal, Some("inactive")), TargetHealth::Failed),
            (with(S::Unknown, None), TargetHealth::Failed),
            (failed(Outcome::Failed, FailureKind::SupervisorDown, ""), TargetHealth::Down),
            (failed(Outcome::Failed, FailureKind::SupervisorMissing, ""), TargetHealth::Down),
            (failed(Outcome::Failed, FailureKind::Protocol, ""), TargetHealth::Failed),
            (failed(Outcome::Unreachable, FailureKind::Refused, ""), TargetHealth::Unreachable),
            (failed(Outcome::TimedOut, FailureKind::TimedOut, ""), TargetHealth::Unreachable),
            (TargetResult::new("n", Outcome::Skipped), TargetHealth::Well),
            (TargetResult::new("n", Outcome::NotConfigured), TargetHealth::Well),
        ];
        for (result, wanted) in table {
            assert_eq!(TargetHealth::of(&result), wanted, "{result:?}");
        }
    }

    #[test]
    fn a_reason_in_one_piece() {
        use FailureKind as K;
        use ProcessState as S;
        let why = |result: TargetResult, why: &str| TargetResult { functional_reason: Some(why.to_owned()), ..result };
        let table = [
            (
                why(with(S::Running, Some("initializing")), "Database connection down"),
                "initializing (Database connection down)",
            ),
            (why(with(S::Running, Some("backup")), "no node is active"), "backup (no node is active)"),
            (with(S::Running, Some("timeout")), "timeout (no answer on its introspect port)"),
            (why(with(S::Fatal, Some("failed")), "spawn error"), "FATAL (spawn error)"),
            (why(with(S::Starting, Some("failed")), "its pid keeps changing"), "failed (its pid keeps changing)"),
            (with(S::Starting, Some("initializing")), "STARTING"),
            (
                TargetResult { message: "Mar 01 07:12 AM".to_owned(), ..with(S::Stopped, None) },
                "STOPPED (Mar 01 07:12 AM on the node's clock)",
            ),
            (why(TargetResult { message: "x".to_owned(), ..with(S::Stopped, None) }, ""), "STOPPED (x)"),
            (
                failed(Outcome::Unreachable, K::ConnectTimeout, "no answer in 5 s"),
                "unreachable (connect_timeout: no answer in 5 s)",
            ),
            (
                TargetResult {
                    address: Some("10.0.0.7".to_owned()),
                    ..failed(Outcome::Unreachable, K::Refused, "10.0.0.7 port 22: connection refused")
                },
                "unreachable (refused: connection refused)",
            ),
            (
                TargetResult {
                    address: Some("10.0.0.7".to_owned()),
                    ..failed(Outcome::Unreachable, K::Auth, "root@10.0.0.7: no key was taken")
                },
                "unreachable (auth: no key was taken)",
            ),
            (failed(Outcome::TimedOut, K::TimedOut, "not done in 2 min"), "timed_out (not done in 2 min)"),
            (
                failed(
                    Outcome::Failed,
                    K::SupervisorDown,
                    "supervisor-webui is not running: nothing is listening at /x",
                ),
                "down (nothing is listening at /x)",
            ),
            (failed(Outcome::Failed, K::SupervisorDown, "supervisor-webui: it is ending"), "down (it is ending)"),
            (
                failed(Outcome::Failed, K::SupervisorMissing, "the node has no supervisor-webui"),
                "missing (the inventory lists role web-ui)",
            ),
            (TargetResult::new("n", Outcome::Unknown), "unknown"),
        ];
        for (result, wanted) in table {
            assert_eq!(reason(&result), wanted);
        }
    }
}
