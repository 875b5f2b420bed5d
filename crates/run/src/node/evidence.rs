//! Why a service is not up: how it ended, and the end of its log, fetched once when an action has ended badly.
//!
//! Invariants: it takes at most [`TIME`], is at most [`LINES`] lines of together [`BYTES`] bytes, and changes no
//! outcome; parts that cannot be read are left out. The log of a program that was never run is no evidence.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::node::connection::LiveInstance;
use ctl_event::{FailureEvidence, FailureKind, LogStream, ProcessState, TargetResult};
use ctl_supervisor::{ProcessInfo, SupervisorClient};
use ctl_transport::{Session, Transport};

/// How long it may take.
const TIME: Duration = Duration::from_secs(3);

/// Most lines of a log that are kept.
const LINES: usize = 10;

/// Most bytes of a log that are kept.
const BYTES: usize = 2048;

/// So much of supervisord's own log is looked through for how the process ended.
const OWN_LOG: usize = 16 * 1024;

/// Most of supervisord's words on an end that are kept.
const WORDS: usize = 120;

/// Whether a result calls for evidence.
pub(crate) fn is_called_for(result: &TargetResult) -> bool {
    let kind = result.failure.as_ref().map(|failure| failure.kind);
    let by_kind = matches!(kind, Some(FailureKind::Fatal | FailureKind::AbnormalTermination | FailureKind::Unstable));
    let by_state = matches!(result.state, Some(ProcessState::Fatal | ProcessState::Backoff | ProcessState::Exited));
    // A program that could not be spawned wrote nothing this time, so its log is about an earlier life.
    result.outcome.is_bad() && kind != Some(FailureKind::SpawnError) && (by_kind || by_state)
}

/// Gathers the evidence of a process.
pub(crate) async fn gather<T: Transport>(instance: &LiveInstance<T>, process: &ProcessInfo) -> Option<FailureEvidence> {
    let same_name = |other: &&ProcessInfo| other.name == process.name;
    // supervisord's log names a process without its group.
    let is_only = instance.snapshot.processes.iter().filter(same_name).count() <= 1;
    // Each part has the whole time, and one that is late does not cost the other.
    let log = async { timeout(TIME, end_of_log(instance, process)).await.unwrap_or_default() };
    let end = async { timeout(TIME, how_it_ended(instance, process, is_only)).await.unwrap_or_default() };
    let (log, (exit_status, ended)) = tokio::join!(log, end);
    if log.is_none() && exit_status.is_none() && ended.is_none() {
        return None;
    }
    let (stream, lines) = log.unwrap_or((LogStream::Stderr, Vec::new()));
    Some(FailureEvidence { exit_status, ended, stream, lines })
}

/// The end of its stderr log; where there is none, or nothing in it, of its stdout log.
async fn end_of_log<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
) -> Option<(LogStream, Vec<String>)> {
    let client = instance.client().await.ok()?;
    // A program that fails mostly says why on stderr.
    for stream in [LogStream::Stderr, LogStream::Stdout] {
        match client.last_lines(process, stream, LINES).await {
            Ok(lines) if lines.iter().all(|line| line.trim().is_empty()) => {}
            Ok(lines) => return Some((stream, fitting(lines))),
            Err(error) => debug!(service = process.full_name(), %stream, %error, "its log was not read"),
        }
    }
    None
}

/// How a process ended the last time: its exit status, and supervisord's words.
async fn how_it_ended<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
    is_only: bool,
) -> (Option<i32>, Option<String>) {
    let Ok(client) = instance.client().await else { return (None, None) };
    if is_only
        && client.capabilities().reads_own_log
        && let Some(log) = own_log(&client).await
    {
        let ended = last_end(&log, &process.name);
        // The log also has the signal, and whether supervisord expected the end.
        if let Some(words) = ended {
            return (exit_status(&words), Some(words));
        }
    }
    // Of one that ended before it was up, supervisord forgets how it ended.
    match client.exit_status(process).await {
        Ok(status) => (status, None),
        Err(error) => {
            debug!(service = process.full_name(), %error, "its exit status was not read");
            (None, None)
        }
    }
}

/// The end of supervisord's own log.
pub(crate) async fn own_log<S: Session>(client: &SupervisorClient<S>) -> Option<String> {
    match client.own_log(OWN_LOG).await {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes?).into_owned()),
        Err(error) => {
            debug!(%error, "supervisord's log was not read");
            None
        }
    }
}

/// The words of the last `exited: NAME (exit status 1; not expected)`.
pub(crate) fn last_end(log: &str, name: &str) -> Option<String> {
    let head = format!("exited: {name} (");
    let line = log.lines().rev().find(|line| line.contains(&head))?;
    let (_, words) = line.split_once(&head)?;
    let words = words.trim_end();
    Some(words.strip_suffix(')').unwrap_or(words).chars().take(WORDS).collect())
}

/// The number in `exit status 1; not expected`; none for a signal.
fn exit_status(words: &str) -> Option<i32> {
    let number = words.strip_prefix("exit status ")?;
    number.split(|char: char| !char.is_ascii_digit() && char != '-').next()?.parse().ok()
}

/// The last of the lines that fit, the first of them cut if it alone is too long.
fn fitting(lines: Vec<String>) -> Vec<String> {
    let mut room = BYTES;
    let mut kept: Vec<String> = Vec::new();
    for line in lines.into_iter().rev().take(LINES) {
        if line.len() <= room {
            room -= line.len();
            kept.push(line);
        } else {
            // One long line is better cut than left out; behind a whole line it is left out.
            if kept.is_empty() {
                let end = (0..=room).rev().find(|place| line.is_char_boundary(*place)).unwrap_or_default();
                kept.push(format!("{}…", line.get(..end).unwrap_or_default()));
            }
            break;
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::{Failure, Outcome, Stage};

    #[test]
    fn the_last_end_is_that_of_the_process() {
        let log = "2026-11-23 08:07:46,337 WARN exited: sig (terminated by SIGSEGV (core dumped); not expected)\n\
                   2026-11-23 08:07:47,439 INFO exited: quick (exit status 2; expected)\n\
                   2026-11-23 08:07:47,439 WARN exited: quick (exit status 3; not expected)\n\
                   2026-11-23 08:07:47,459 INFO gave up: quick entered FATAL state, too many start retries too quickly\n\
                   2026-11-23 08:07:48,000 WARN exited: quicker (exit status 4; not expected)\n";
        assert_eq!(last_end(log, "quick").as_deref(), Some("exit status 3; not expected"));
        assert_eq!(last_end(log, "sig").as_deref(), Some("terminated by SIGSEGV (core dumped); not expected"));
        assert_eq!(last_end(log, "other"), None);
        assert_eq!(exit_status("exit status 3; not expected"), Some(3));
        assert_eq!(exit_status("terminated by SIGSEGV; not expected"), None);
        assert_eq!(exit_status("exit status x"), None);
    }

    #[test]
    fn it_is_bounded() {
        let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        assert_eq!(fitting(lines).len(), LINES);
        let long = vec!["before".to_owned(), "ü".repeat(BYTES)];
        let kept = fitting(long);
        assert_eq!((kept.len(), kept[0].chars().count()), (1, BYTES / 2 + 1));
        let two = vec!["a".repeat(BYTES), "b".to_owned()];
        assert_eq!(fitting(two), ["b"]);
    }

    #[test]
    fn only_what_ran_and_is_not_up_calls_for_it() {
        let result = |outcome, kind, state| TargetResult {
            failure: Some(Failure::new(Stage::Verify, kind, "")),
            state: Some(state),
            ..TargetResult::new("n", outcome)
        };
        use FailureKind as K;
        use ProcessState as S;
        assert!(is_called_for(&result(Outcome::Failed, K::Fatal, S::Fatal)));
        assert!(is_called_for(&result(Outcome::Failed, K::AbnormalTermination, S::Backoff)));
        assert!(is_called_for(&result(Outcome::Failed, K::Unstable, S::Running)));
        assert!(is_called_for(&result(Outcome::Failed, K::Gate, S::Exited)));
        assert!(!is_called_for(&result(Outcome::Failed, K::Gate, S::Running)));
        assert!(!is_called_for(&result(Outcome::Failed, K::SpawnError, S::Fatal)));
        assert!(!is_called_for(&TargetResult { state: Some(S::Exited), ..TargetResult::new("n", Outcome::Ok) }));
    }
}
