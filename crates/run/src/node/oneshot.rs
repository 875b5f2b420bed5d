//! Programs that are made to end: which they are, and whether they have ended as expected.
//!
//! A program is made to end where the role's `oneshot` names it, or where supervisord says that its `startsecs` is 0: over
//! XML-RPC in its configuration (4.0 and later), else in its own log. Invariants: nothing is changed here; nothing is
//! guessed that supervisord does not report.

use std::time::Duration;

use crate::node::connection::LiveInstance;
use crate::node::evidence;
use ctl_event::ProcessState;
use ctl_supervisor::{ProcessInfo, SupervisorClient};
use ctl_transport::Transport;

/// A program that may be made to end has to stay up for so long before it counts as one that stays: the least that any
/// other `startsecs` asks for.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// The purpose of a program that is RUNNING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramPurpose {
    /// To run on.
    ToStay,
    /// It is up as soon as it is spawned: it may be made to end.
    MaybeToEnd,
    /// To end: the inventory says so.
    ToEnd,
}

/// How a program that is made to end has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneshotEnd {
    /// Whether as its configuration expects; none where that is not reported.
    pub(crate) as_expected: Option<bool>,
    /// In supervisord's words (untrusted).
    pub(crate) words: Option<String>,
}

/// The purpose of a program that was just started and is RUNNING.
pub(crate) async fn made_to_end<T: Transport>(instance: &LiveInstance<T>, process: &ProcessInfo) -> ProgramPurpose {
    if instance.role.is_oneshot(&process.group, &process.name) {
        return ProgramPurpose::ToEnd;
    }
    // Any other is RUNNING only after a `startsecs` of a second at least.
    if process.uptime.is_some_and(|uptime| uptime > SETTLE) {
        return ProgramPurpose::ToStay;
    }
    let at_once = match instance.client().await.as_deref() {
        Ok(client) if client.capabilities().reads_program_settings => is_up_at_once(instance, client, process).await,
        // supervisord's log would cost a command. supervisorctl prints whole seconds, and RUNNING within the first of
        // them fits only a `startsecs` of 0.
        Ok(_) => process.uptime == Some(Duration::ZERO),
        // Without a connection nothing is known, and the proof of the start notices the loss itself.
        Err(_) => false,
    };
    if at_once { ProgramPurpose::MaybeToEnd } else { ProgramPurpose::ToStay }
}

/// Whether a process is up as soon as it is spawned: by supervisord's configuration, else by its own log.
async fn is_up_at_once<T: Transport>(
    instance: &LiveInstance<T>,
    client: &SupervisorClient<T::Session>,
    process: &ProcessInfo,
) -> bool {
    match instance.is_up_at_once(client, process).await {
        Some(at_once) => at_once,
        None => is_up_at_once_in_log(&log_of(instance, client, process).await, &process.name),
    }
}

/// Whether a process is EXITED, was made to end, and has ended as expected.
pub(crate) async fn has_ended_well<T: Transport>(instance: &LiveInstance<T>, process: &ProcessInfo) -> bool {
    let end = end_of(instance, process).await;
    end.is_some_and(|end| end.as_expected == Some(true))
}

/// Whether a process that is only read is well though it does not run. What reads goes by the inventory alone: that a
/// program without `startsecs` is EXITED is shown as `contrail-status` shows it.
pub(crate) async fn is_well<T: Transport>(instance: &LiveInstance<T>, process: &ProcessInfo) -> bool {
    instance.role.is_oneshot(&process.group, &process.name) && has_ended_well(instance, process).await
}

/// How a process has ended; none where it has not EXITED, or was not made to end.
pub(crate) async fn end_of<T: Transport>(instance: &LiveInstance<T>, process: &ProcessInfo) -> Option<OneshotEnd> {
    if process.state != ProcessState::Exited {
        return None;
    }
    let is_listed = instance.role.is_oneshot(&process.group, &process.name);
    let client = instance.client().await.ok()?;
    if client.capabilities().reports_exits {
        if !is_listed && !is_up_at_once(instance, &client, process).await {
            return None;
        }
        let words = Some(process.description.clone()).filter(|_| process.exited_as_expected == Some(false));
        return Some(OneshotEnd { as_expected: process.exited_as_expected, words });
    }
    // Only supervisord's own log has the end of a process where the backend does not report it.
    let log = log_of(instance, &client, process).await;
    if !is_listed && !is_up_at_once_in_log(&log, &process.name) {
        return None;
    }
    let words = evidence::last_end(&log, &process.name);
    // supervisord's words (supervisor 3.0 to 4.2.5, `process.py`, `finish`).
    let as_expected = words.as_deref().and_then(|words| match words {
        _ if words.ends_with("; expected") => Some(true),
        _ if words.ends_with("; not expected") => Some(false),
        _ => None,
    });
    Some(OneshotEnd { as_expected, words })
}

/// The end of supervisord's own log, which names a process without its group: empty where that may be another one.
async fn log_of<T: Transport>(
    instance: &LiveInstance<T>,
    client: &SupervisorClient<T::Session>,
    process: &ProcessInfo,
) -> String {
    let same_name = |other: &&ProcessInfo| other.name == process.name;
    if instance.snapshot.processes.iter().filter(same_name).count() > 1 {
        return String::new();
    }
    evidence::own_log(client).await.unwrap_or_default()
}

/// Whether supervisord's log shows that a process which has EXITED was up as soon as it was spawned: it says how long that
/// takes, or the process ended within a second, which any other `startsecs` would have made a failed start.
fn is_up_at_once_in_log(log: &str, name: &str) -> bool {
    let (success, spawned, exited) = (
        format!("success: {name} entered RUNNING state"),
        format!("spawned: '{name}' with pid "),
        format!("exited: {name} ("),
    );
    let mut at_once = false;
    let mut since: Option<u64> = None;
    for line in log.lines() {
        if line.contains(&spawned) {
            // A new life: whatever the log says of the one before no longer counts.
            (since, at_once) = (time_of(line), false);
        } else if line.contains(&success) {
            at_once = line.contains("for > than 0 seconds (startsecs)");
            since = None;
        } else if line.contains(&exited)
            && let (Some(since), Some(now)) = (since.take(), time_of(line))
        // Without a success line in between, the time since the spawn decides.
        {
            // After midnight the time of day is smaller than before, and then nothing is claimed.
            at_once = now.checked_sub(since).is_some_and(|took| took < 1000);
        }
    }
    at_once
}

/// The time of day in a line of supervisord's log, in milliseconds: `2026-11-29 22:00:00,123 INFO …`.
fn time_of(line: &str) -> Option<u64> {
    let clock = line.split_whitespace().nth(1)?;
    let (clock, millis) = clock.split_once(',')?;
    let mut parts = clock.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_who_is_up_at_once() {
        let spawned = "2026-11-29 22:00:00,100 INFO spawned: 'x' with pid 7\n";
        let exited = |at: &str, words: &str| format!("2026-11-29 22:00:{at} INFO exited: x ({words})\n");
        let success = |secs: u32| {
            format!(
                "2026-11-29 22:00:01,200 INFO success: x entered RUNNING state, process has stayed up for > than {secs} seconds (startsecs)\n"
            )
        };
        let well = "exit status 0; expected";
        let table = [
            (format!("{spawned}{}", exited("00,300", well)), true),
            (format!("{spawned}{}{}", success(0), exited("09,300", well)), true),
            (format!("{spawned}{}{}", success(1), exited("09,300", well)), false),
            (format!("{spawned}{}", exited("01,100", well)), false),
            // The last start counts.
            (format!("{spawned}{}{spawned}{}{}", exited("00,300", well), success(1), exited("03,300", well)), false),
            (exited("00,300", well), false),
            (String::new(), false),
            ("nonsense\nspawned: 'x' with pid 7\nexited: x (\n".to_owned(), false),
        ];
        for (log, expected) in table {
            assert_eq!(is_up_at_once_in_log(&log, "x"), expected, "{log}");
            assert!(!is_up_at_once_in_log(&log, "y"), "{log}");
        }
    }
}
