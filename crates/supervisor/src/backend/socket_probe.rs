//! The sockets of an instance, checked on the node: why no backend could reach it.
//!
//! Here live [`probe`], one command without sudo, and [`SocketProbe`], which turns its findings into the failure that
//! users read. Invariants: a cause is named only when it was seen.

use tracing::debug;

use crate::error::SupervisorError;
use crate::shell::NodeShell;
use ctl_event::{Failure, FailureKind, Stage};
use ctl_inventory::{ControlAddress, Supervisor};
use ctl_transport::Session;

/// The traces of an instance in the node's file system.
pub(super) struct SocketProbe {
    /// Why nothing could be seen.
    pub(super) blind: Option<SupervisorError>,
    /// One for each address of the instance.
    sockets: Vec<ProbedSocket>,
    /// Its configuration file is there.
    config: bool,
    /// init knows it.
    init: bool,
    /// The pid of a supervisord that runs with its configuration, though it has no socket.
    alive: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbedSocket {
    /// A TCP port: it cannot be checked.
    Tcp,
    /// No such socket.
    Missing,
    /// There, and the user may connect: then nobody listens, or sshd forbids the forwarding.
    Writable,
    /// There, and the user may not connect.
    Forbidden,
}

impl SocketProbe {
    /// Whether supervisorctl could reach the instance at an address.
    pub(super) fn worth_asking(&self, index: usize) -> bool {
        self.blind.is_some() || self.sockets.get(index) != Some(&ProbedSocket::Missing)
    }

    /// Whether no address has a socket.
    pub(super) fn is_gone(&self) -> bool {
        self.blind.is_none() && self.sockets.iter().all(|socket| *socket == ProbedSocket::Missing)
    }

    /// Whether the user may open one of the sockets.
    pub(super) fn has_writable(&self) -> bool {
        self.sockets.contains(&ProbedSocket::Writable)
    }

    /// Whether a command on the node can do what forwarding could not.
    pub(super) fn may_help(&self, sudo: bool) -> bool {
        // A node that cannot run the probe cannot run supervisorctl either.
        if matches!(self.blind, Some(SupervisorError::NoAnswer(_))) {
            return false;
        }
        // With nothing seen, only an attempt can show whether supervisorctl works.
        self.blind.is_some()
            || self.sockets.iter().any(|socket| match socket {
                ProbedSocket::Tcp | ProbedSocket::Writable => true,
                ProbedSocket::Forbidden => sudo,
                ProbedSocket::Missing => false,
            })
    }

    /// The failure of an instance that no backend reached, the last of them with `error`.
    pub(super) fn explain(&self, supervisor: &Supervisor, sudo: bool, error: &SupervisorError) -> Failure {
        let name = &supervisor.name;
        let places = supervisor.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let start = format!(
            "start it with `ctl service {name} start -w {{node}}`, or `restart` if init says that it is already running"
        );
        let failure = |kind, message: String| Failure::new(Stage::Inspect, kind, message);
        // No command runs on the node, which is a problem of its own; nothing is known about the sockets.
        if let Some(blind @ SupervisorError::NoAnswer(_)) = &self.blind {
            let failure = blind.failure(Stage::Inspect);
            return Failure { message: format!("{name}: {}; by XML-RPC: {error}", failure.message), ..failure };
        }
        // Nothing was seen, so every cause stays possible, and the hint lists them.
        if self.blind.is_some() {
            return failure(FailureKind::SupervisorDown, format!("{name} does not answer at {places}: {error}")).with_hint(format!(
                "the socket may be missing, refused or forbidden, or sshd forbids forwarding; if it is down, {start}"
            ));
        }
        // The user's rights are in the way, whether or not a supervisord listens there.
        if !sudo && self.sockets.contains(&ProbedSocket::Forbidden) {
            return failure(FailureKind::Permission, format!("{name}: the user may not open its socket ({places})"))
                .with_hint("log in as root, or set `sudo: true` for the node (or --sudo)");
        }
        // The file of a socket outlives a supervisord that was killed.
        if self.sockets.iter().any(|socket| matches!(socket, ProbedSocket::Writable | ProbedSocket::Forbidden)) {
            let why = if matches!(error, SupervisorError::Down(_) | SupervisorError::NoSocket(_)) {
                error.to_string()
            } else {
                "the socket exists but nothing is listening on it".to_owned()
            };
            return failure(FailureKind::SupervisorDown, format!("{name}: {why} ({places})")).with_hint(start);
        }
        // None of the three traces exists, so the instance is not installed, or listens elsewhere.
        if let Some(config) = supervisor.config_file.as_deref().filter(|_| !self.config && !self.init) {
            let message =
                format!("the node has no {name}: no socket ({places}), no configuration ({config}), no init script");
            return failure(FailureKind::SupervisorMissing, message).with_hint(
                "if it listens elsewhere, set that in the inventory: `roles: {{role}: {socket: /PATH/OF/ITS.sock}}`; otherwise remove role {role} from this node",
            );
        }
        if let Some(pid) = self.alive {
            let message = format!("{name} runs (pid {pid}), but its socket is gone ({places})");
            return failure(FailureKind::SupervisorDown, message).with_hint(format!(
                "a cleaner of /tmp may have removed it; only a restart of the instance, which restarts its services, creates a new one: `ctl service {name} restart -w {{node}}`"
            ));
        }
        failure(FailureKind::SupervisorDown, format!("{name} is not running: nothing is listening at {places}"))
            .with_hint(start)
    }
}

/// Checks the sockets with one command, without sudo.
pub(super) async fn probe<S: Session>(shell: &NodeShell<S>, supervisor: &Supervisor) -> SocketProbe {
    let mut script = String::new();
    let mut test = |flag: &str, path: &str, mark: &str| {
        if let Ok(path) = shlex::try_quote(path) {
            script.push_str(&format!("test {flag} {path} && echo {mark}; "));
        }
    };
    for (index, address) in supervisor.addresses.iter().enumerate() {
        if let ControlAddress::Unix(path) = address {
            test("-S", path, &format!("ctl-socket-{index}"));
            test("-w", path, &format!("ctl-writable-{index}"));
        }
    }
    if let Some(file) = &supervisor.config_file {
        test("-e", file, "ctl-config");
    }
    test("-e", &format!("/etc/init.d/{}", supervisor.name), "ctl-init");
    test("-e", &format!("/etc/init/{}.conf", supervisor.name), "ctl-init");
    // `:` ends the script with 0, since a missing file is no failure of the probe.
    script.push(':');
    let (output, blind) = match shell.script(&script).await {
        Ok(answer) => (answer.stdout, None),
        Err(error) => {
            // The failure gets less exact without the probe, but it is still reported.
            debug!(%error, "cannot check the sockets");
            (String::new(), Some(error))
        }
    };
    let has = |mark: String| output.lines().any(|line| line.trim() == mark);
    let sockets = (supervisor.addresses.iter().enumerate())
        .map(|(index, address)| match address {
            ControlAddress::Http { .. } => ProbedSocket::Tcp,
            ControlAddress::Unix(_) if has(format!("ctl-writable-{index}")) => ProbedSocket::Writable,
            ControlAddress::Unix(_) if has(format!("ctl-socket-{index}")) => ProbedSocket::Forbidden,
            ControlAddress::Unix(_) => ProbedSocket::Missing,
        })
        .collect();
    let mut seen = SocketProbe {
        blind,
        sockets,
        config: has("ctl-config".to_owned()),
        init: has("ctl-init".to_owned()),
        alive: None,
    };
    let is_gone = |socket: &ProbedSocket| matches!(socket, ProbedSocket::Missing | ProbedSocket::Tcp);
    // Only an installed instance without a socket is worth a search through /proc.
    if seen.blind.is_none() && seen.config && seen.sockets.iter().all(is_gone) {
        seen.alive = find_alive(shell, supervisor).await;
    }
    seen
}

/// The pid of the supervisord that runs with the instance's configuration file, if one does.
async fn find_alive<S: Session>(shell: &NodeShell<S>, supervisor: &Supervisor) -> Option<u32> {
    let file = shlex::try_quote(supervisor.config_file.as_deref()?).ok()?;
    // The shell and grep have the file among their words too; only a supervisord is meant. A query may not change the
    // words of the shell that runs it, which hold the mark.
    let script = format!(
        "for file in $(grep -laF -e {file} /proc/[0-9]*/cmdline 2>/dev/null); do \
         case \"$(cat \"${{file%cmdline}}comm\" 2>/dev/null)\" in \
         supervisord*|python*) echo \"ctl-alive $file\";; esac; done"
    );
    let output = shell.script(&script).await.ok()?.stdout;
    let paths = output.lines().filter_map(|line| line.trim().strip_prefix("ctl-alive /proc/"));
    paths.filter_map(|path| path.strip_suffix("/cmdline")?.parse().ok()).next()
}
