//! The resources of a process, as the kernel counts them.

use std::time::Duration;

/// The resources that a process has used so far.
#[derive(Default)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// In KiB.
    pub(crate) memory: u64,
}

impl Used {
    /// `None` if the process has ended.
    pub(crate) fn by(process: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the name, which is in parentheses: utime and stime, in hundredths of a second (proc(5), on Linux).
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let memory = memory.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Self { cpu: Duration::from_millis(ticks * 10), memory })
    }
}

impl std::fmt::Display for Used {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1?} of CPU, peak memory {} MiB", self.cpu, self.memory / 1024)
    }
}
