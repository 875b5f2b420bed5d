//! How many connections this process may hold at once, and what that means for a run.
//!
//! Invariants: a run that keeps its connections until its end, as one that changes nodes does, has room for all
//! of them or does not start; one that reads takes fewer nodes at once and says so. A connection that still finds no
//! free file is a failure of the controller, not of a node ([`ctl_local::process::exhausted`]). More connections at once
//! than memory and processors bear are made anyway, with a warning: both are estimates.

use std::collections::HashSet;
use std::time::Duration;

use ctl_console::error::CliError;
use ctl_console::terminal;
use ctl_run::NodeAccess;
use ctl_transport::{Endpoint, ProxyRoute};

/// Files that are open besides connections: standard streams, the runtime's, journal, log, agent, key files, name
/// servers.
const BESIDES: usize = 32;

/// Memory that a connection takes, in bytes, while it is made and while it is held.
const CONNECTION_MEMORY: u64 = 160 << 10;

/// Processor time that a login takes.
const LOGIN_TIME: Duration = Duration::from_millis(1);

/// What a run may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBudget {
    /// Nodes that are worked on at once.
    pub forks: usize,
    /// Whether the connection of a node is closed once it was read.
    pub(crate) hangs_up: bool,
}

/// Makes as much room as there can be, and says what comes of it. `keeps`: whether all connections are held to the end.
pub(crate) fn make_room(access: &[NodeAccess], forks: usize, keeps: bool) -> Result<FileBudget, CliError> {
    let need = FileDemand::of(access);
    let wanted = need.all() + forks + BESIDES;
    // The soft limit is raised as far as it is needed and allowed; the library never lowers it.
    let limit = match rlimit::increase_nofile_limit(u64::try_from(wanted).unwrap_or(u64::MAX).max(1024)) {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::debug!(%error, "the limit on open files is not known");
            // Without a known limit the run starts as asked; a failure later is reported as one of the controller.
            return Ok(FileBudget { forks, hangs_up: false });
        }
    };
    let room = need.room(limit, forks, keeps).ok_or_else(|| {
        let nodes = access.len();
        CliError::usage(format!(
            "too few open files are allowed: the limit is {limit}, and connections to {nodes} nodes need about {}",
            if keeps { wanted } else { need.least() }
        ))
        .with_hint(format!("run `ulimit -n {}` first, or select fewer nodes with -w", wanted.max(1024)))
    })?;
    if room.forks < forks.min(access.len()) {
        let nodes = if room.forks == 1 { "node" } else { "nodes" };
        terminal::say(&format!(
            "note: only {} {nodes} at a time: the limit on open files is {limit} (ulimit -n)",
            room.forks
        ));
    }
    let forks = room.forks.min(access.len());
    let patience = access.iter().map(|access| access.endpoint.connect_timeout).min().unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let strain = RunStrain { forks, held: if keeps { access.len() } else { forks } };
    for warning in [strain.on_memory(free_memory()), strain.on_processors(processors, patience)].into_iter().flatten() {
        terminal::say(&format!("warning: {warning}"));
    }
    Ok(room)
}

/// What a run asks of this machine besides files.
struct RunStrain {
    /// Nodes that are logged in to at once.
    forks: usize,
    /// Connections that are held at once.
    held: usize,
}

impl RunStrain {
    /// Why the connections may take more memory than there is.
    fn on_memory(&self, free: Option<u64>) -> Option<String> {
        let (held, free) = (u64::try_from(self.held).ok()?, free?);
        let need = held.saturating_mul(CONNECTION_MEMORY);
        if need <= free {
            return None;
        }
        let remedy = if self.held > self.forks {
            "select fewer nodes with -w".to_owned()
        } else {
            format!("--forks {} needs no more than that", (free / CONNECTION_MEMORY).max(1))
        };
        let (need, free) = (need >> 20, free >> 20);
        Some(format!("{held} connections at once take about {need} MiB of memory, and {free} MiB are free; {remedy}"))
    }

    /// Why nodes that are well may time out: every login gets its share of the processors.
    fn on_processors(&self, processors: usize, patience: Duration) -> Option<String> {
        // Half of the time is left to the network and the node.
        let most = patience.as_millis() / 2 / LOGIN_TIME.as_millis().max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_mul(processors).max(1);
        let (forks, seconds) = (self.forks, patience.as_secs_f64());
        (forks > most).then(|| {
            format!(
                "{forks} logins at once may keep this machine's processors busy for most of the {seconds:.1} s that a node \
                 has (--connect-timeout); use --forks {most}"
            )
        })
    }
}

/// The memory that is free on this machine, in bytes; none where nothing reports it.
fn free_memory() -> Option<u64> {
    let number = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = machine.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.strip_suffix("kB"))?;
    let machine = machine.trim().parse::<u64>().ok()? << 10;
    // A container may have less than its machine; without a limit the file has no number.
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(group.map_or(machine, |(most, used)| machine.min(most.saturating_sub(used))))
}

/// The open files that connections take.
struct FileDemand {
    /// Those to nodes, one number a node.
    nodes: Vec<usize>,
    /// Those to bastions, which are shared.
    bastions: usize,
}

impl FileDemand {
    fn of(access: &[NodeAccess]) -> Self {
        let mut bastions: HashSet<&Endpoint> = HashSet::new();
        for access in access {
            // Bastions are shared, so each counts once, however many nodes are behind it.
            let mut next = &*access.endpoint;
            while let ProxyRoute::Jump(bastion) = &next.proxy {
                next = bastion;
                bastions.insert(next);
            }
        }
        let nodes = access.iter().map(|access| files(&access.endpoint)).collect();
        Self { nodes, bastions: bastions.into_iter().map(files).sum() }
    }

    fn all(&self) -> usize {
        self.nodes.iter().sum::<usize>() + self.bastions
    }

    /// What one node at a time takes: another is opened while the last is being closed, and its name looked up.
    fn least(&self) -> usize {
        BESIDES + self.bastions + self.at_once(1)
    }

    fn at_once(&self, forks: usize) -> usize {
        // Twice, because the old connection of a fork may still be closing; one more for the name lookup.
        (2 * self.nodes.iter().max().copied().unwrap_or_default() + 1) * forks
    }

    fn room(&self, limit: usize, forks: usize, keeps: bool) -> Option<FileBudget> {
        let left = limit.checked_sub(BESIDES)?;
        // All connections fit at once, so none has to be closed early.
        if let Some(spare) = left.checked_sub(self.all()).filter(|spare| *spare > 0) {
            return Some(FileBudget { forks: forks.min(spare), hangs_up: false });
        }
        // A run that changes nodes cannot let go of connections in the middle.
        if keeps {
            return None;
        }
        let forks = left.checked_sub(self.bastions)? / self.at_once(1);
        (forks > 0).then_some(FileBudget { forks, hangs_up: true })
    }
}

/// Channels of a node at one time: for the guard, a relay and what goes on beside them.
const CHANNELS: usize = 4;

/// The open files of one connection: a socket, or the three pipes of a command; none where a bastion carries it. One
/// that another process keeps is a socket to that process, and one more for each channel.
fn files(endpoint: &Endpoint) -> usize {
    if endpoint.keep.is_some() {
        return 1 + CHANNELS;
    }
    match &endpoint.proxy {
        ProxyRoute::Direct => 1,
        ProxyRoute::Command(_) => 3,
        ProxyRoute::Jump(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_machine_bears_is_said() {
        let strain = |forks, held| RunStrain { forks, held };
        assert_eq!(strain(256, 256).on_memory(Some(64 << 20)), None);
        assert_eq!(strain(4096, 4096).on_memory(None), None);
        assert_eq!(
            strain(4096, 4096).on_memory(Some(64 << 20)).as_deref(),
            Some(
                "4096 connections at once take about 640 MiB of memory, and 64 MiB are free; --forks 409 needs no more than that"
            )
        );
        assert_eq!(
            strain(256, 5000).on_memory(Some(64 << 20)).as_deref(),
            Some(
                "5000 connections at once take about 781 MiB of memory, and 64 MiB are free; select fewer nodes with -w"
            )
        );
        let five = Duration::from_secs(5);
        assert_eq!(strain(4096, 4096).on_processors(2, five), None);
        assert_eq!(
            strain(4096, 4096).on_processors(1, five).as_deref(),
            Some(
                "4096 logins at once may keep this machine's processors busy for most of the 5.0 s that a node has (--connect-timeout); use --forks 2500"
            )
        );
        assert_eq!(strain(1, 1).on_processors(1, Duration::ZERO), None);
    }

    #[test]
    fn what_fits() {
        let need = |nodes: usize, each: usize, bastions: usize| FileDemand { nodes: vec![each; nodes], bastions };
        let room = |forks, hangs_up| Some(FileBudget { forks, hangs_up });
        let all = need(200, 1, 0);
        assert_eq!(all.room(1024, 64, true), room(64, false));
        assert_eq!(all.room(200 + BESIDES + 5, 64, true), room(5, false));
        assert_eq!(all.room(200 + BESIDES, 64, true), None);
        assert_eq!(all.room(64, 64, false), room(10, true));
        assert_eq!(all.room(BESIDES + 3, 64, false), room(1, true));
        assert_eq!(all.room(BESIDES + 2, 64, false), None);
        assert_eq!(all.room(8, 64, false), None);
        assert_eq!(need(200, 3, 0).room(64, 64, false), room(4, true));
        assert_eq!(need(200, 0, 2).room(64, 64, true), room(30, false));
    }
}
