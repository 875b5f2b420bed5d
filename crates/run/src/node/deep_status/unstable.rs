//! Finds processes that come up and do not stay up, though they are RUNNING at each reading.
//!
//! Here lives [`InstancePast`], the known past of an instance. The evidence is supervisord's own log: it notes each end
//! of a process as `exited: NAME (exit status 1; not expected)`, or `expected`, unless supervisord was to stop it
//! (`stopped: NAME (…)`), and each beginning as `spawned: 'NAME' with pid N` (supervisor 3.0 to 4.2.5,
//! `supervisor/process.py`, `finish` and `spawn`). NAME is the process without its group. Times are compared with each
//! other and with the uptime alone, since the log's clock has no zone.
//!
//! A process does not stay up if it has ended by itself [`ENDS`] times or more within [`RECENT`], and has not been up
//! for much longer since than it used to be. Ends do not count if they came before a stop, before supervisord gave the
//! process up, or before supervisord itself was started: somebody has looked after it since.
//!
//! Invariants: the log is read only if some process was started recently, and counts only where it holds the
//! beginning of the life that the process lives now; it may have been rotated, or be written without such lines.
//! Otherwise a process that has been up for less than [`NEW`] is read a second time, after [`AGAIN`]. Start reading at
//! [`InstancePast::unstable`] and [`log_history`].

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Span};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::node::connection::LiveInstance;
use crate::node::evidence;
use ctl_event::ProcessState;
use ctl_supervisor::ProcessInfo;
use ctl_transport::Transport;

/// Ends that are longer ago do not count, and a process that has been up for longer stays up.
const RECENT: Duration = Duration::from_secs(600);

/// So often a process has to have ended by itself.
const ENDS: usize = 2;

/// A process is up again for good once it has been up so many times as long as it was between two ends, at the most.
const FOR_GOOD: i32 = 3;

/// And not before it has been up for so long.
const NEW: Duration = Duration::from_secs(10);

/// Before the second look.
const AGAIN: Duration = Duration::from_secs(1);

/// How long supervisord's log may take.
const LOG: Duration = Duration::from_secs(3);

/// Most that is kept of how a process ended.
const HOW: usize = 120;

/// The past of an instance: each part is read once, by the first caller that needs it.
#[derive(Default)]
pub(super) struct InstancePast {
    log: OnceCell<Option<String>>,
    second_look: OnceCell<Vec<ProcessInfo>>,
}

/// The record of a process in a log.
#[derive(Debug, PartialEq, Eq)]
enum LogHistory {
    /// It stays up, as far as is known.
    Steady,
    /// It does not.
    Unstable(String),
    /// Nothing of its life now.
    Nothing,
}

impl InstancePast {
    /// Why a process counts as one that does not stay up; none if it does.
    pub(super) async fn unstable<T: Transport>(
        &self,
        instance: &LiveInstance<T>,
        process: &ProcessInfo,
    ) -> Option<String> {
        if !is_young(process) {
            return None;
        }
        let reported = match self.log(instance).await {
            // The log names a process without its group, so a name that two processes may have proves nothing.
            Some(log) if is_only(&instance.snapshot.processes, process) => log_history(log, process),
            Some(_) | None => LogHistory::Nothing,
        };
        match reported {
            LogHistory::Unstable(why) => return Some(why),
            LogHistory::Steady => return None,
            LogHistory::Nothing => debug!(service = process.full_name(), "the log does not tell whether it stays up"),
        }
        // It has outlived the time in which one more second could show anything.
        if process.uptime.is_some_and(|uptime| uptime >= NEW) {
            return None;
        }
        let same = |other: &&ProcessInfo| other.group == process.group && other.name == process.name;
        // A process that is no longer listed was removed, which is no end of its own.
        let now = self.second_look(instance).await.iter().find(same)?;
        let seconds = AGAIN.as_secs();
        match now.state {
            ProcessState::Exited | ProcessState::Backoff | ProcessState::Fatal => {
                Some(format!("it does not stay up: it was {} after {seconds} s", now.state))
            }
            ProcessState::Running | ProcessState::Starting if now.is_another_than(process) => {
                Some(format!("it does not stay up: its pid changed within {seconds} s"))
            }
            ProcessState::Running
            | ProcessState::Starting
            | ProcessState::Stopped
            | ProcessState::Stopping
            | ProcessState::Unknown => None,
        }
    }

    async fn log<T: Transport>(&self, instance: &LiveInstance<T>) -> Option<&str> {
        let read = async {
            let client = instance.client().await.ok()?;
            evidence::own_log(&client).await
        };
        // A log that is late counts as none, and is not read again for the next process.
        self.log.get_or_init(|| async { timeout(LOG, read).await.ok().flatten() }).await.as_deref()
    }

    async fn second_look<T: Transport>(&self, instance: &LiveInstance<T>) -> &[ProcessInfo] {
        let look = async {
            sleep(AGAIN).await;
            let client = instance.client().await.ok()?;
            client.list().await.ok()
        };
        self.second_look.get_or_init(|| async { look.await.unwrap_or_default() }).await
    }
}

/// Whether a process is up, and has not been for long.
fn is_young(process: &ProcessInfo) -> bool {
    match process.state {
        ProcessState::Starting => true,
        ProcessState::Running => process.uptime.is_some_and(|uptime| uptime < RECENT),
        ProcessState::Stopped
        | ProcessState::Backoff
        | ProcessState::Stopping
        | ProcessState::Exited
        | ProcessState::Fatal
        | ProcessState::Unknown => false,
    }
}

/// Whether this name in the log can only mean this process: processes of other groups that have the name as well
/// (`contrail-api:0`, `contrail-discovery:0`) have been up for longer.
fn is_only(listed: &[ProcessInfo], process: &ProcessInfo) -> bool {
    let same_name = listed.iter().filter(|other| other.name == process.name);
    let may_be_meant = same_name.filter(|other| other.state != ProcessState::Running || is_young(other));
    may_be_meant.count() == 1
}

/// The record of a process that is up.
fn log_history(log: &str, process: &ProcessInfo) -> LogHistory {
    let name = &process.name;
    let (ended, stopped, given_up) =
        (format!("exited: {name} ("), format!("stopped: {name} ("), format!("gave up: {name} "));
    let spawned = format!("spawned: '{name}' with pid ");
    let mut ends: Vec<(DateTime, &str)> = Vec::new();
    // The life that was read: the log may already show the next one.
    let is_its_own = |pid: &str| process.pid.is_none_or(|own| pid.trim().parse() == Ok(own));
    let mut begun: Option<DateTime> = None;
    let mut last = None;
    for (at, words) in log.lines().filter_map(line) {
        last = Some(at);
        if let Some(how) = words.strip_prefix(&ended) {
            ends.push((at, how));
        } else if let Some(pid) = words.strip_prefix(&spawned) {
            begun = if is_its_own(pid) { Some(at) } else { begun };
        } else if words.starts_with(&stopped) || words.starts_with(&given_up) {
            // Ends before a stop, or before supervisord gave it up, no longer count.
            ends.clear();
        } else if words.starts_with("supervisord started with pid ") {
            // A restart of supervisord ends every process, through no fault of theirs.
            ends.clear();
            begun = None;
        }
    }
    // Without the beginning of this life the record is incomplete: the log may have been rotated.
    let (Some(begun), Some(last)) = (begun, last) else { return LogHistory::Nothing };
    let up = process.uptime.and_then(|uptime| SignedDuration::try_from(uptime).ok());
    // Without an uptime the last line of the log stands for the present.
    let up = up.unwrap_or_else(|| last.duration_since(begun));
    // The log's clock has no zone, so the present is the beginning plus the uptime.
    let now = Span::try_from(up).ok().and_then(|up| begun.checked_add(up).ok()).unwrap_or(last);
    // An end that was noted after the reading moves the present forward.
    let now = ends.last().map_or(now, |(at, _)| now.max(*at));
    let long_ago = SignedDuration::try_from(RECENT).unwrap_or(SignedDuration::MAX);
    ends.retain(|(at, _)| now.duration_since(*at) < long_ago);
    let (Some((first, _)), Some((_, how))) = (ends.first(), ends.last()) else { return LogHistory::Steady };
    let lives = ends.windows(2).filter_map(|pair| match pair {
        [(one, _), (next, _)] => Some(next.duration_since(*one)),
        _ => None,
    });
    let longest = lives.max().unwrap_or(SignedDuration::ZERO);
    let new = SignedDuration::try_from(NEW).unwrap_or(SignedDuration::ZERO);
    // A process that is up for much longer than between its ends has recovered.
    if ends.len() < ENDS || up > longest.saturating_mul(FOR_GOOD).max(new) {
        return LogHistory::Steady;
    }
    let how = how.trim_end();
    let how: String = how.strip_suffix(')').unwrap_or(how).chars().take(HOW).collect();
    let seconds = now.duration_since(*first).as_secs();
    LogHistory::Unstable(format!("its pid keeps changing: it exited {} times in {seconds} s ({how})", ends.len()))
}

/// When a line was written, and its words without the level: `2026-11-23 08:07:46,337 WARN exited: …`.
fn line(line: &str) -> Option<(DateTime, &str)> {
    let at = line.get(..19)?.parse().ok()?;
    let (_, rest) = line.get(19..)?.split_once(' ')?;
    let (_level, words) = rest.split_once(' ')?;
    Some((at, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(group: &str, name: &str, state: ProcessState, pid: u32, uptime: Option<u64>) -> ProcessInfo {
        ProcessInfo {
            group: group.to_owned(),
            name: name.to_owned(),
            state,
            pid: Some(pid),
            start: None,
            exited_as_expected: None,
            uptime: uptime.map(Duration::from_secs),
            description: String::new(),
        }
    }

    fn up(name: &str, pid: u32, uptime: u64) -> ProcessInfo {
        process(name, name, ProcessState::Running, pid, Some(uptime))
    }

    const LOG: &str = "2026-11-23 07:00:00,000 WARN exited: x (exit status 1; not expected)\n\
        2026-11-23 08:07:40,100 INFO spawned: 'x' with pid 10\n\
        2026-11-23 08:07:42,100 WARN exited: x (exit status 1; not expected)\n\
        2026-11-23 08:07:42,200 INFO spawned: 'x' with pid 11\n\
        a line of something else\n\
        2026-11-23 08:08:01,100 WARN exited: x (terminated by SIGSEGV (core dumped); not expected)\n\
        2026-11-23 08:08:02,200 INFO spawned: 'x' with pid 12\n\
        2026-11-23 08:08:02,300 WARN exited: xy (exit status 1; not expected)\n\
        2026-11-23 08:08:03,000 INFO spawned: 'once' with pid 13\n\
        2026-11-23 08:08:04,000 WARN exited: once (exit status 1; not expected)\n\
        2026-11-23 08:08:05,000 INFO spawned: 'once' with pid 14\n";

    #[test]
    fn who_ends_again_and_again_does_not_stay_up() {
        let why = |seconds| {
            let how = "terminated by SIGSEGV (core dumped); not expected";
            LogHistory::Unstable(format!("its pid keeps changing: it exited 2 times in {seconds} s ({how})"))
        };
        assert_eq!(log_history(LOG, &up("x", 12, 3)), why(23));
        // Between its two ends were 19 s.
        assert_eq!(log_history(LOG, &up("x", 12, 57)), why(77));
        assert_eq!(log_history(LOG, &up("x", 12, 58)), LogHistory::Steady, "up for good");
        assert_eq!(
            log_history(LOG, &ProcessInfo { uptime: None, ..up("x", 12, 0) }),
            why(23),
            "by the log's last line"
        );
        assert_eq!(log_history(LOG, &ProcessInfo { pid: None, ..up("x", 12, 3) }), why(23));
        assert_eq!(log_history(LOG, &up("once", 14, 1)), LogHistory::Steady);
        assert_eq!(log_history(LOG, &up("x", 11, 3)), why(19), "it has ended since it was looked at");
        for unknown in [up("x", 9, 3), up("xy", 9, 1), up("y", 9, 1)] {
            assert_eq!(log_history(LOG, &unknown), LogHistory::Nothing, "{unknown:?}");
        }
    }

    #[test]
    fn what_is_long_ago_or_was_looked_after_does_not_count() {
        let quiet = LOG.replace("08:08:02,200", "08:18:02,200");
        assert_eq!(log_history(&quiet, &up("x", 12, 1)), LogHistory::Steady);
        let end = "2026-11-23 08:08:02,200 INFO spawned";
        for line in [
            "INFO stopped: x (terminated by SIGTERM)",
            "INFO gave up: x entered FATAL state, too many",
            "INFO supervisord started with pid 7",
        ] {
            let log = LOG.replace(end, &format!("2026-11-23 08:08:02,150 {line}\n{end}"));
            assert_eq!(log_history(&log, &up("x", 12, 3)), LogHistory::Steady, "{line}");
        }
        let other = LOG.replace(end, &format!("2026-11-23 08:08:02,150 INFO stopped: xx (x)\n{end}"));
        assert!(matches!(log_history(&other, &up("x", 12, 3)), LogHistory::Unstable(_)));
        assert_eq!(log_history("", &up("x", 12, 3)), LogHistory::Nothing);
    }

    /// What starts after two tries is no process that keeps ending.
    #[test]
    fn a_slow_beginning_is_soon_forgiven() {
        let log = "2026-11-23 08:00:00,000 INFO spawned: 'x' with pid 1\n\
            2026-11-23 08:00:00,500 WARN exited: x (exit status 1; not expected)\n\
            2026-11-23 08:00:01,500 INFO spawned: 'x' with pid 2\n\
            2026-11-23 08:00:02,000 WARN exited: x (exit status 1; not expected)\n\
            2026-11-23 08:00:04,000 INFO spawned: 'x' with pid 3\n";
        assert!(matches!(log_history(log, &up("x", 3, 2)), LogHistory::Unstable(_)));
        assert_eq!(log_history(log, &up("x", 3, 11)), LogHistory::Steady);
    }

    #[test]
    fn a_name_that_two_groups_share_tells_nothing_of_either() {
        let state = ProcessState::Running;
        let api = process("contrail-api", "0", state, 1, Some(5));
        let old = process("contrail-discovery", "0", state, 2, Some(90_000));
        let new = process("contrail-discovery", "0", state, 2, Some(50));
        let dead = process("contrail-discovery", "0", ProcessState::Exited, 2, None);
        assert!(is_only(&[api.clone(), old], &api));
        for other in [new, dead] {
            assert!(!is_only(&[other, api.clone()], &api));
        }
    }

    #[test]
    fn only_the_young_are_looked_at() {
        let of = |state, uptime| is_young(&process("x", "x", state, 1, uptime));
        assert!(of(ProcessState::Running, Some(599)) && of(ProcessState::Starting, None));
        assert!(!of(ProcessState::Running, Some(600)) && !of(ProcessState::Running, None));
        assert!(!of(ProcessState::Backoff, Some(1)));
    }

    proptest::proptest! {
        #[test]
        fn no_log_makes_it_panic(log in "(2026-11-23 0[0-9]:0[0-9]:0[0-9],000 [A-Z]{4} (exited|spawned|stopped): '?x'? (with pid 1|\\(\\PC{0,3}\\))\n){0,6}\\PC{0,20}") {
            drop(log_history(&log, &up("x", 1, 3)));
        }
    }
}
