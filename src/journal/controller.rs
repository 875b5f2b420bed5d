//! Who runs a run, and whether that process still lives.

use serde::{Deserialize, Serialize};

/// The process that runs a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Its user.
    pub user: String,
    /// Its host.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// When that process was started, in ticks since that host was (proc(5), `starttime`): a process id is used again.
    pub pid_start: Option<i64>,
}

impl Controller {
    /// This process.
    #[must_use]
    pub fn this(user: String) -> Self {
        let pid = std::process::id();
        Self { user, host: host_name(), pid, pid_start: start_of(pid) }
    }

    /// Whether it may be at work: it is, or it is on another host, where that cannot be seen. There the locks on the
    /// nodes decide: they end with it.
    #[must_use]
    pub fn may_live(&self) -> bool {
        if self.host != host_name() {
            return false;
        }
        start_of(self.pid).is_some_and(|start| self.pid_start.is_none_or(|noted| noted == start))
    }
}

/// The name of this host.
#[must_use]
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// When a process was started; none if there is none. The field behind the name, which may hold anything but ends with
/// the last parenthesis. A process that is dead and not yet waited for is none.
fn start_of(pid: u32) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}
