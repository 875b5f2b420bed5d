//! Who works at a run, and whether that process still lives.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Largest part of a `/proc/PID/stat` that is read; the kernel writes far less.
const STAT_BYTES: u64 = 4096;

/// What a system call says of a process that went away between opening its `stat` and reading it.
const ESRCH: i32 = 3;

/// The process that works at a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunController {
    /// Who started it, as the environment says: a note for people, no proof.
    pub user: String,
    /// Name of the host it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// When it was started, in clock ticks since the host was booted: tells it from a later process with the same id.
    /// None where the system does not say.
    pub pid_start: Option<u64>,
}

/// What can be told of a controller from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControllerLife {
    /// The process is there.
    Lives,
    /// The process is not there any more.
    Gone,
    /// It is on another host, or this system does not say.
    Unknown,
}

/// What the system says of a process id.
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
        Self { user: user(), host: host(), pid, pid_start }
    }

    /// Whether it still lives, as seen from the host named `here`.
    pub(super) fn life(&self, here: &str) -> ControllerLife {
        if self.host != here {
            return ControllerLife::Unknown;
        }
        match process(self.pid) {
            SystemProcess::Gone => ControllerLife::Gone,
            SystemProcess::Unknown => ControllerLife::Unknown,
            SystemProcess::StartedAt(start) if self.pid_start.is_none_or(|known| known == start) => {
                ControllerLife::Lives
            }
            SystemProcess::StartedAt(_) => ControllerLife::Gone,
        }
    }
}

/// Name of this host; the empty text where the system does not say.
pub(super) fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim_end().to_owned())
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_default()
}

fn user() -> String {
    let named = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    named("USER").or_else(|| named("LOGNAME")).unwrap_or_else(|| match std::fs::metadata("/proc/self") {
        Ok(metadata) => format!("uid {}", metadata.uid()),
        Err(_) => "unknown".to_owned(),
    })
}

fn process(pid: u32) -> SystemProcess {
    match stat(pid) {
        Ok(stat) => read_stat(&stat),
        // Without /proc every file is missing there, which says nothing about the process.
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

/// Field 22 of a `/proc/PID/stat`. The fields are counted from the last `)`: the name before it is the process's own
/// choice, and may hold blanks and parentheses.
fn read_stat(stat: &[u8]) -> SystemProcess {
    let after_name = stat.iter().rposition(|byte| *byte == b')').map_or(&[][..], |place| &stat[place + 1..]);
    let text = String::from_utf8_lossy(after_name);
    let mut fields = text.split_ascii_whitespace();
    // Nobody has asked for its exit code yet; it does nothing any more all the same.
    if matches!(fields.next(), Some("Z" | "X" | "x")) {
        return SystemProcess::Gone;
    }
    // The state, which was field 3, is taken.
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
