//! The exit codes and their precedence: nowhere else.

use std::process::ExitCode;

use ctl_event::{CancelReason, FailureKind, Ledger, Outcome, TargetResult};
use ctl_plan::Action;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0: all as asked.
    Good,
    /// 1: an action failed, timed out, or its outcome is unknown.
    Failed,
    /// 2: usage, inventory or configuration error; nothing was touched.
    Usage,
    /// 3: `status` read everything, and something is not running.
    NotRunning,
    /// 4: a node was unreachable.
    Unreachable,
    /// 5: something was not started because of a limit, a cap or a gate.
    NotStarted,
    /// 6: a node is locked by another run.
    Locked,
    /// 129: hung up.
    HungUp,
    /// 130: interrupted.
    Interrupted,
    /// 143: terminated.
    Terminated,
}

impl ExitStatus {
    /// Every value, by its number.
    pub const ALL: [Self; 10] = [
        Self::Good,
        Self::Failed,
        Self::Usage,
        Self::NotRunning,
        Self::Unreachable,
        Self::NotStarted,
        Self::Locked,
        Self::HungUp,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// What it means to a user; docs/exit-codes.md has the same words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Good => "everything succeeded",
            Self::Failed => "an action failed, timed out, or its result is unknown",
            Self::Usage => "usage, inventory or configuration error; nothing was touched",
            Self::NotRunning => "`status` read everything, and something is not running or its supervisord is down",
            Self::Unreachable => "a node was unreachable",
            Self::NotStarted => "something was not started because of a limit, a cap or a gate",
            Self::Locked => "a node is locked by another run",
            Self::HungUp => "hung up (SIGHUP)",
            Self::Interrupted => "interrupted (SIGINT, Ctrl-C)",
            Self::Terminated => "terminated (SIGTERM)",
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::Unreachable => 4,
            Self::NotStarted => 5,
            Self::Locked => 6,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(exit.code())
    }
}

/// The exit code of a run.
pub fn of_run(ledger: &Ledger, action: Action, cancel: Option<CancelReason>) -> ExitStatus {
    of_results(ledger.results().iter(), action, cancel)
}

/// How a run with these results ends. Where several codes hold: the signals, then 6, 5, 4, 1, 3.
pub fn of_results<'r>(
    results: impl Iterator<Item = &'r TargetResult>,
    action: Action,
    cancel: Option<CancelReason>,
) -> ExitStatus {
    match cancel {
        Some(CancelReason::HungUp) => return ExitStatus::HungUp,
        Some(CancelReason::Interrupted | CancelReason::GivenUp) => return ExitStatus::Interrupted,
        Some(CancelReason::Terminated) => return ExitStatus::Terminated,
        // The reader has seen as much as it wanted.
        Some(CancelReason::OutputClosed) => return ExitStatus::Good,
        // A lost journal stops the run like a limit, so the results decide.
        Some(CancelReason::JournalLost) | None => {}
    }
    let codes = results.map(|result| of_result(result, action));
    codes.max_by_key(|exit| rank(*exit)).unwrap_or(ExitStatus::Good)
}

/// How a run ends in which a pattern matched nothing: as with a name that no node has.
pub fn of_mistake(exit: ExitStatus) -> ExitStatus {
    if rank(exit) < rank(ExitStatus::Failed) { ExitStatus::Failed } else { exit }
}

/// How a run ends whose output could not be written: 2 where nothing was touched, else no better than 1.
pub fn of_unwritten(exit: ExitStatus, changes: bool) -> ExitStatus {
    match exit {
        ExitStatus::HungUp | ExitStatus::Interrupted | ExitStatus::Terminated => exit,
        // Nothing was touched, which is what 2 stands for.
        _ if !changes => ExitStatus::Usage,
        // A changing run did its work, but a script must not take it for reported.
        ExitStatus::Good | ExitStatus::NotRunning => ExitStatus::Failed,
        ExitStatus::Failed
        | ExitStatus::Usage
        | ExitStatus::Unreachable
        | ExitStatus::NotStarted
        | ExitStatus::Locked => exit,
    }
}

fn of_result(result: &TargetResult, action: Action) -> ExitStatus {
    let kind = result.failure.as_ref().map(|failure| failure.kind);
    let reading = action == Action::Status;
    match result.outcome {
        // First: the lock explains every outcome that comes with it.
        _ if kind == Some(FailureKind::Locked) => ExitStatus::Locked,
        // A name that no node has is the reader's to correct, whatever else was asked for with it.
        Outcome::NotStarted if kind == Some(FailureKind::NoSuchService) => ExitStatus::Failed,
        Outcome::NotStarted => ExitStatus::NotStarted,
        Outcome::Unreachable => ExitStatus::Unreachable,
        Outcome::Failed
            // The node was read, and a supervisor that does not run is a finding, not a failure of ctl.
            if reading && matches!(kind, Some(FailureKind::SupervisorDown | FailureKind::SupervisorMissing)) =>
        {
            ExitStatus::NotRunning
        }
        Outcome::Failed | Outcome::TimedOut | Outcome::Unknown => ExitStatus::Failed,
        Outcome::Ok if reading && result.is_down() => ExitStatus::NotRunning,
        // A process can run and the service not work: `contrail-status` would say so too.
        Outcome::Ok if reading && result.functional.as_ref().is_some_and(|status| !status.is_healthy()) => {
            ExitStatus::NotRunning
        }
        Outcome::Ok if reading && result.stands_by_for_none() => ExitStatus::NotRunning,
        Outcome::Ok | Outcome::Changed | Outcome::NotConfigured | Outcome::Skipped => ExitStatus::Good,
    }
}

const fn rank(exit: ExitStatus) -> u8 {
    match exit {
        ExitStatus::Good => 0,
        ExitStatus::NotRunning => 1,
        ExitStatus::Failed => 2,
        ExitStatus::Unreachable => 3,
        ExitStatus::NotStarted => 4,
        ExitStatus::Locked => 5,
        // No result has one of these; the arm only completes the match.
        ExitStatus::Usage | ExitStatus::HungUp | ExitStatus::Interrupted | ExitStatus::Terminated => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::{Failure, ProcessState, Stage};

    fn result(outcome: Outcome, kind: Option<FailureKind>, state: Option<ProcessState>) -> TargetResult {
        let failure = kind.map(|kind| Failure::new(Stage::Act, kind, "x"));
        TargetResult { failure, state, ..TargetResult::new("n", outcome) }
    }

    fn worst(results: &[TargetResult], action: Action) -> ExitStatus {
        results
            .iter()
            .map(|result| of_result(result, action))
            .max_by_key(|exit| rank(*exit))
            .unwrap_or(ExitStatus::Good)
    }

    #[test]
    fn the_code_of_a_result_depends_on_what_was_asked() {
        use FailureKind as K;
        use Outcome as O;
        let running = Some(ProcessState::Running);
        let stopped = Some(ProcessState::Stopped);
        let table = [
            (O::Ok, None, running, Action::Status, ExitStatus::Good),
            (O::Ok, None, stopped, Action::Status, ExitStatus::NotRunning),
            (O::Ok, None, stopped, Action::Stop, ExitStatus::Good),
            (O::Changed, None, running, Action::Restart, ExitStatus::Good),
            (O::NotConfigured, None, None, Action::Restart, ExitStatus::Good),
            (O::Skipped, None, None, Action::Restart, ExitStatus::Good),
            (O::Failed, Some(K::SupervisorDown), None, Action::Status, ExitStatus::NotRunning),
            (O::Failed, Some(K::SupervisorDown), None, Action::Ping, ExitStatus::Failed),
            (O::Failed, Some(K::SupervisorDown), None, Action::Restart, ExitStatus::Failed),
            (O::Failed, Some(K::Permission), None, Action::Status, ExitStatus::Failed),
            (O::TimedOut, Some(K::TimedOut), None, Action::Restart, ExitStatus::Failed),
            (O::Unknown, Some(K::ConnectionLost), None, Action::Restart, ExitStatus::Failed),
            (O::Unreachable, Some(K::Auth), None, Action::Status, ExitStatus::Unreachable),
            (O::NotStarted, Some(K::Limit), None, Action::Restart, ExitStatus::NotStarted),
            (O::NotStarted, Some(K::NoSuchService), None, Action::Restart, ExitStatus::Failed),
            (O::NotStarted, Some(K::Locked), None, Action::Restart, ExitStatus::Locked),
        ];
        for (outcome, kind, state, action, expected) in table {
            assert_eq!(of_result(&result(outcome, kind, state), action), expected, "{outcome} {kind:?} {action:?}");
        }
    }

    #[test]
    fn precedence_is_six_five_four_one_three() {
        let of = |outcome, kind| result(outcome, Some(kind), None);
        let mut all = vec![result(Outcome::Ok, None, Some(ProcessState::Fatal))];
        assert_eq!(worst(&all, Action::Status).code(), 3);
        all.push(of(Outcome::Failed, FailureKind::Permission));
        assert_eq!(worst(&all, Action::Status).code(), 1);
        all.push(of(Outcome::Unreachable, FailureKind::Refused));
        assert_eq!(worst(&all, Action::Status).code(), 4);
        all.push(of(Outcome::NotStarted, FailureKind::MaxUnavailable));
        assert_eq!(worst(&all, Action::Status).code(), 5);
        all.push(of(Outcome::NotStarted, FailureKind::Locked));
        assert_eq!(worst(&all, Action::Status).code(), 6);
    }

    #[test]
    fn a_signal_is_stronger_than_every_result() {
        let ledger = Ledger::default();
        for (reason, code) in
            [(CancelReason::HungUp, 129), (CancelReason::Interrupted, 130), (CancelReason::Terminated, 143)]
        {
            assert_eq!(of_run(&ledger, Action::Restart, Some(reason)).code(), code);
        }
    }

    #[test]
    fn what_could_not_be_written_is_not_as_asked() {
        for (exit, reading, changing) in [
            (ExitStatus::Good, 2, 1),
            (ExitStatus::NotRunning, 2, 1),
            (ExitStatus::Failed, 2, 1),
            (ExitStatus::Unreachable, 2, 4),
            (ExitStatus::Locked, 2, 6),
            (ExitStatus::Interrupted, 130, 130),
        ] {
            assert_eq!((of_unwritten(exit, false).code(), of_unwritten(exit, true).code()), (reading, changing));
        }
    }

    #[test]
    fn the_documented_codes_are_these() {
        let page = include_str!("../../../docs/exit-codes.md");
        let codes: Vec<u8> =
            page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
        let all = [
            ExitStatus::Good,
            ExitStatus::Failed,
            ExitStatus::Usage,
            ExitStatus::NotRunning,
            ExitStatus::Unreachable,
            ExitStatus::NotStarted,
            ExitStatus::Locked,
            ExitStatus::HungUp,
            ExitStatus::Interrupted,
            ExitStatus::Terminated,
        ];
        assert_eq!(codes, all.map(ExitStatus::code));
    }

    #[test]
    fn every_outcome_is_documented() {
        let page = include_str!("../../../docs/exit-codes.md");
        for outcome in Outcome::ALL {
            assert!(page.contains(&format!("| `{outcome}` |")), "docs/exit-codes.md does not have {outcome}");
        }
    }
}
