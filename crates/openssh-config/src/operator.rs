//! The user of this process and the machine it runs on, as far as ssh_config needs them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::file::FileReader;
use super::network;

/// All that the resolver may know of the operator and the operator's machine. Nothing else is looked up.
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
    /// The addresses of this machine, once they were needed; `None` if it does not list them.
    pub addresses: OnceLock<Option<Vec<IpAddr>>>,
    /// The version of this machine's `ssh`, once it was needed.
    pub ssh_version: OnceLock<String>,
    /// How the files and those they include are read.
    pub read_file: FileReader,
}

/// The version that is followed where no `ssh` is installed.
const FOLLOWED_VERSION: &str = "OpenSSH_9.2";

/// How much of the output of `ssh -V` is read, in bytes.
const VERSION_LENGTH: usize = 256;

/// How long `ssh -V` may take.
const VERSION_PATIENCE: Duration = Duration::from_secs(2);

/// The least time for reading its output.
const READ_PATIENCE: Duration = Duration::from_millis(100);

impl OperatorEnv {
    /// Of the process: its environment, /etc/services and the name in /proc, and `account`, the name and home of its user
    /// in the password database, which only the C library can read.
    ///
    /// As with OpenSSH the home is that of the database, whatever `HOME` says, and so is the name. OpenSSH refuses a user whom
    /// the database does not have; here `HOME`, and `USER` or `LOGNAME` stand in. A name that OpenSSH would refuse is ignored:
    /// it reaches the shell of a ProxyCommand.
    pub fn of_process(account: Option<(String, PathBuf)>) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let variables: BTreeMap<String, String> = std::env::vars_os()
            // A variable that is not UTF-8 could not stand in a text, so it counts as not set.
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let status = read("/proc/self/status");
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
        let mut homes = BTreeMap::new();
        for line in read("/etc/passwd").lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(home)) = (fields.next(), fields.nth(4)) else { continue };
            // The first line of a name counts, as for getpwnam(3).
            homes.entry(name.to_owned()).or_insert_with(|| PathBuf::from(home));
        }
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let named = |name: &str| variable(name).filter(|user| is_valid_user(user));
        let (user, home) = account.unzip();
        Self {
            home: home.or_else(|| variable("HOME").map(PathBuf::from)),
            user: user.or_else(|| named("USER").or_else(|| named("LOGNAME")).cloned()).unwrap_or_default(),
            // No file belongs to this number, so that only files of root are trusted.
            uid: uid.unwrap_or(u32::MAX),
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
            homes,
            services: services(&read("/etc/services")),
            addresses: OnceLock::new(),
            ssh_version: OnceLock::new(),
            variables,
            read_file: FileReader::default(),
        }
    }

    /// The machine's name without its domain.
    pub(crate) fn short_hostname(&self) -> &str {
        self.hostname.split('.').next().unwrap_or("")
    }

    /// The addresses of the interfaces that are up (`Match localnetwork`).
    pub(crate) fn addresses(&self) -> Option<&[IpAddr]> {
        self.addresses.get_or_init(network::local_addresses).as_deref()
    }

    /// The version that `ssh` compares with `Match version`: files that choose by it choose as for the `ssh` beside `ctl`.
    pub(crate) fn ssh_version(&self) -> &str {
        self.ssh_version.get_or_init(|| version_of(Command::new("ssh")).unwrap_or_else(|| FOLLOWED_VERSION.to_owned()))
    }

    /// The port of a service.
    pub(crate) fn service(&self, name: &str) -> Option<u16> {
        self.services.get(name).copied()
    }
}

/// The first part of the output of `ssh -V`, `OpenSSH_9.2p1 Debian-2`, which `ssh` itself compares.
fn version_of(mut ssh: Command) -> Option<String> {
    let mut child = ssh.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
    let deadline = Instant::now() + VERSION_PATIENCE;
    let mut ended = child.try_wait().ok()?;
    // The standard library has no wait with a limit, so the child is polled.
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
    // A wrapper may have left a process behind that holds the pipe open: so there is one short read, and the thread that
    // waits for it is given up after a time. Nothing can interrupt it; it ends with the pipe or with the process.
    let mut pipe = child.stderr?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let reader = move || {
        let mut bytes = [0; VERSION_LENGTH];
        let read = pipe.read(&mut bytes).map(|length| bytes.get(..length).unwrap_or_default().to_owned());
        // The receiver may have given up.
        drop(sender.send(read));
    };
    thread::Builder::new().name("ssh -V".to_owned()).spawn(reader).ok()?;
    // The version may have used up all of the time to end; output that is already in the pipe still gets a moment.
    let patience = deadline.saturating_duration_since(Instant::now()).max(READ_PATIENCE);
    let bytes = receiver.recv_timeout(patience).ok()?.ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let version = text.split([',', '\n']).next()?.trim();
    // Anything else is another program of that name, whose version says nothing.
    version.starts_with("OpenSSH_").then(|| version.to_owned())
}

/// The TCP services of services(5), under all their names.
fn services(text: &str) -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        // A comment may follow on the same line.
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
        for name in std::iter::once(name).chain(words) {
            // The first line of a name counts, as for getservbyname(3).
            found.entry(name.to_owned()).or_insert(port);
        }
    }
    found
}

/// Whether OpenSSH takes this for a user on its command line.
pub(crate) fn is_valid_user(user: &str) -> bool {
    let option_follows = |(space, next): (char, char)| space.is_ascii_whitespace() && next == '-';
    // As valid_ruser (ssh.c of OpenSSH 9.6, later ssh_valid_ruser in readconf.c): a backslash at the end would escape
    // the character that follows in the command line, and ` -` would begin an option.
    !user.starts_with('-')
        && !user.ends_with('\\')
        && !user.contains(|c: char| c.is_control() || "'`\";&<>|(){}".contains(c))
        && !user.chars().zip(user.chars().skip(1)).any(option_follows)
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

    /// A wrapper that ends without output, and leaves a process behind that holds its output open.
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
        let operator = OperatorEnv::of_process(None);
        assert_ne!(operator.uid, u32::MAX);
        assert!(!operator.hostname.is_empty());
        assert!(operator.ssh_version().starts_with("OpenSSH_"), "{}", operator.ssh_version());
    }
}
