//! Whoever runs `ctl`, and the machine it runs on, as far as ssh_config asks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::{jump, network};
use crate::local::{self, account};

/// What the resolver may know of the operator and the operator's machine. Nothing else is looked up.
#[derive(Debug, Clone, Default)]
pub struct OperatorEnv {
    /// The home directory: `~` and `%d`, and where the user's own file lies.
    pub home: Option<PathBuf>,
    /// The name: `%u`, `Match localuser`, and who logs in if nothing says otherwise.
    pub user: String,
    /// The number: `%i`, and who may own configuration files.
    pub uid: u32,
    /// The machine's name: `%l`, and `%L` up to its first dot.
    pub hostname: String,
    /// The environment: `${NAME}`, the agent, the shell of `Match exec`.
    pub variables: BTreeMap<String, String>,
    /// The homes of other users: `~name`.
    pub homes: BTreeMap<String, PathBuf>,
    /// TCP ports by name: `Port http`.
    pub services: BTreeMap<String, u16>,
    /// The addresses of this machine, once they were asked for; none if it does not tell them.
    pub addresses: OnceLock<Option<Vec<IpAddr>>>,
    /// What the `ssh` of this machine calls itself, once it was asked.
    pub ssh_version: OnceLock<String>,
}

/// What is followed where no `ssh` is installed.
const FOLLOWED_VERSION: &str = "OpenSSH_9.2";

/// So much of what `ssh -V` prints is read, in bytes.
const VERSION_LENGTH: usize = 256;

/// How long `ssh -V` may take.
const VERSION_PATIENCE: Duration = Duration::from_secs(2);

/// How long at least what it has printed may take to be read.
const READ_PATIENCE: Duration = Duration::from_millis(100);

impl OperatorEnv {
    /// Of the process: its environment, its user in the password database, /etc/services and the name in /proc.
    ///
    /// As with OpenSSH the home is that of the database, whatever `HOME` says, and so is the name. OpenSSH refuses a user whom
    /// the database does not have; here `HOME`, and `USER` or `LOGNAME` stand in. A name that OpenSSH would refuse is passed
    /// over: it reaches the shell of a ProxyCommand.
    pub fn of_process() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let status = read("/proc/self/status");
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
        let mut homes = BTreeMap::new();
        for line in read("/etc/passwd").lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(home)) = (fields.next(), fields.nth(4)) else { continue };
            homes.entry(name.to_owned()).or_insert_with(|| PathBuf::from(home));
        }
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let named = |name: &str| variable(name).filter(|user| jump::is_valid_user(user));
        let (user, home) = account::name_and_home().unzip();
        Self {
            home: home.or_else(|| variable("HOME").map(PathBuf::from)),
            user: user.or_else(|| named("USER").or_else(|| named("LOGNAME")).cloned()).unwrap_or_default(),
            uid: uid.unwrap_or(u32::MAX),
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
            homes,
            services: services(&read("/etc/services")),
            addresses: OnceLock::new(),
            ssh_version: OnceLock::new(),
            variables,
        }
    }

    /// The machine's name without its domain.
    pub(super) fn short_hostname(&self) -> &str {
        self.hostname.split('.').next().unwrap_or("")
    }

    /// The addresses of the interfaces that are up (`Match localnetwork`).
    pub(super) fn addresses(&self) -> Option<&[IpAddr]> {
        self.addresses.get_or_init(network::local_addresses).as_deref()
    }

    /// What `ssh` compares with `Match version`: files that choose by it choose as for the `ssh` beside `ctl`.
    pub(super) fn ssh_version(&self) -> &str {
        self.ssh_version.get_or_init(|| version_of(Command::new("ssh")).unwrap_or_else(|| FOLLOWED_VERSION.to_owned()))
    }

    /// The port of a service.
    pub(super) fn service(&self, name: &str) -> Option<u16> {
        self.services.get(name).copied()
    }
}

/// The first part of what `ssh -V` prints, `OpenSSH_9.2p1 Debian-2`, which is what it compares itself.
fn version_of(mut ssh: Command) -> Option<String> {
    let mut child = ssh.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
    let deadline = Instant::now() + VERSION_PATIENCE;
    let mut ended = child.try_wait().ok()?;
    while ended.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
        ended = child.try_wait().ok()?;
    }
    if ended.is_none() {
        // One that cannot be killed either is not waited for.
        drop(child.kill());
        drop(child.try_wait());
        return None;
    }
    // One read and no more, and a short one: a wrapper may have left somebody behind who holds the pipe open.
    let mut pipe = child.stderr?;
    let read = local::within(deadline.saturating_duration_since(Instant::now()).max(READ_PATIENCE), move || {
        let mut bytes = [0; VERSION_LENGTH];
        let length = pipe.read(&mut bytes)?;
        io::Result::Ok(bytes.get(..length).unwrap_or_default().to_owned())
    });
    let bytes = read.ok()?.ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let version = text.split([',', '\n']).next()?.trim();
    version.starts_with("OpenSSH_").then(|| version.to_owned())
}

/// The TCP services of services(5), under all their names.
fn services(text: &str) -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
        for name in std::iter::once(name).chain(words) {
            found.entry(name.to_owned()).or_insert(port);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read() {
        let found = services("# x\nssh 22/tcp # SSH\nhttp\t80/tcp www\ndomain 53/udp\nbad\n");
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("http".into(), 80), ("ssh".into(), 22), ("www".into(), 80)]
        );
    }

    /// A wrapper that ends without a word, and leaves somebody behind who holds its output open.
    #[test]
    fn a_version_is_not_waited_for() {
        let version = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            version_of(shell)
        };
        let began = Instant::now();
        assert_eq!(version("sleep 60 & exit 0"), None);
        assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
        let said = version("echo OpenSSH_9.9p1, OpenSSL 3 >&2; sleep 60 & exit 0");
        assert_eq!(said.as_deref(), Some("OpenSSH_9.9p1"));
    }

    #[test]
    fn the_process_has_a_user() {
        let operator = OperatorEnv::of_process();
        assert_ne!(operator.uid, u32::MAX);
        assert!(!operator.hostname.is_empty());
        assert!(operator.ssh_version().starts_with("OpenSSH_"), "{}", operator.ssh_version());
    }
}
