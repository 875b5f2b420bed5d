//! The controller of a run, and whether its process is still alive.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use ctl_local::account;

/// Maximum bytes to read from `/proc/PID/stat`; the kernel writes far less.
const STAT_BYTES: u64 = 4096;

/// The error of a read when the process exits after its `stat` is opened.
const ESRCH: i32 = 3;

/// The process that controls a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunController {
    /// The user of the process.
    pub user: String,
    /// Its host name.
    pub host: String,
    /// Its process id on that host.
    pub pid: u32,
    /// Its start time in clock ticks since boot, which distinguishes it from a later process with the same id. `None`
    /// if the system does not report it.
    pub pid_start: Option<u64>,
}

/// The liveness of a controller, as seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControllerLife {
    /// The process exists.
    Lives,
    /// The process has exited.
    Gone,
    /// It runs on another host, or this system does not report it.
    Unknown,
}

/// The system's answer for a process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SystemProcess {
    StartedAt(u64),
    Gone,
    Unknown,
}

impl RunController {
    /// The calling process.
    #[must_use]
    pub fn this() -> Self {
        let pid = std::process::id();
        let pid_start = match process(pid) {
            SystemProcess::StartedAt(start) => Some(start),
            SystemProcess::Gone | SystemProcess::Unknown => None,
        };
        Self { user: account::user(), host: account::host(), pid, pid_start }
    }

    /// Its liveness, as seen from the host named `here`.
    pub(super) fn life(&self, here: &str) -> ControllerLife {
        // A process id means nothing on another host, so do not look it up here.
        if self.host != here {
            return ControllerLife::Unknown;
        }
        match process(self.pid) {
            SystemProcess::Gone => ControllerLife::Gone,
            SystemProcess::Unknown => ControllerLife::Unknown,
            // Without a recorded start time, assume that it is the same process: a takeover must never be too early.
            SystemProcess::StartedAt(start) if self.pid_start.is_none_or(|known| known == start) => {
                ControllerLife::Lives
            }
            // The pid has been reused by a later process.
            SystemProcess::StartedAt(_) => ControllerLife::Gone,
        }
    }
}

fn process(pid: u32) -> SystemProcess {
    match stat(pid) {
        Ok(stat) => read_stat(&stat),
        // Without /proc every file is missing, which proves nothing about the process.
        Err(error) if is_no_such_process(&error) && Path::new("/proc/self/stat").exists() => SystemProcess::Gone,
        Err(_) => SystemProcess::Unknown,
    }
}

fn stat(pid: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/stat"))?.take(STAT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_no_such_process(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// Reads field 22 of `/proc/PID/stat`. Fields are counted from the last `)`: the process chooses the name before it,
/// which may contain spaces and parentheses.
fn read_stat(stat: &[u8]) -> SystemProcess {
    let after_name = stat.iter().rposition(|byte| *byte == b')').map_or(&[][..], |place| &stat[place + 1..]);
    let text = String::from_utf8_lossy(after_name);
    let mut fields = text.split_ascii_whitespace();
    // A zombie waits for its parent, but does no more work.
    if matches!(fields.next(), Some("Z" | "X" | "x")) {
        return SystemProcess::Gone;
    }
    // The first field here, the state, is field 3 of the file, and is consumed.
    fields.nth(22 - 4).and_then(|start| start.parse().ok()).map_or(SystemProcess::Unknown, SystemProcess::StartedAt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_start_behind_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        for (name, state, wanted) in [
            ("ctl", "S", SystemProcess::StartedAt(4242)),
            ("a) Z 1 (b", "R", SystemProcess::StartedAt(4242)),
            ("a b\nc", "T", SystemProcess::StartedAt(4242)),
            ("ctl", "Z", SystemProcess::Gone),
            ("ctl", "X", SystemProcess::Gone),
        ] {
            assert_eq!(read_stat(format!("17 ({name}) {state} {rest}\n").as_bytes()), wanted, "{name}");
        }
        for broken in ["", "17", "17 (ctl) S 1 2", "17 (ctl) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"] {
            assert_eq!(read_stat(broken.as_bytes()), SystemProcess::Unknown, "{broken}");
        }
    }

    #[test]
    fn this_process_lives() {
        let this = RunController::this();
        assert!(this.pid_start.is_some() && !this.user.is_empty() && !this.host.is_empty(), "{this:?}");
        assert_eq!(this.life(&this.host), ControllerLife::Lives);
        assert_eq!(this.life("elsewhere"), ControllerLife::Unknown);
    }

    #[test]
    fn another_process_with_the_same_id_is_not_it() {
        let mut other = RunController::this();
        other.pid_start = other.pid_start.map(|start| start + 1);
        assert_eq!(other.life(&other.host), ControllerLife::Gone);
    }

    #[test]
    fn without_a_start_the_id_decides() {
        let mut unsure = RunController::this();
        unsure.pid_start = None;
        assert_eq!(unsure.life(&unsure.host), ControllerLife::Lives);
    }
}
