//! Finds the supervisords of a node that no inventory describes yet. Read with one command.
//!
//! Here live [`search`], which runs `instance_search.sh`, and [`InstanceSearch`], its answer, of which
//! [`InstanceSearch::candidates`] makes the instances to be asked. It uses `shell`, and from `inventory` the address of an
//! instance. Invariants: nothing on the node is changed; no password is in the answer; output is bounded, and a line
//! that is not understood is passed over. Start reading at [`search`].

use std::collections::BTreeSet;

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretString};

use super::error::SupervisorError;
use super::node_scan::{one_line, unfinished};
use super::parse::text::clip;
use super::shell::NodeShell;
use ctl_inventory::ControlAddress;
use ctl_transport::Session;

const SCRIPT: &str = include_str!("instance_search.sh");

/// Most instances of one node that are considered.
const MAX_INSTANCES: usize = 64;
/// Longest path of a unix socket on Linux, in bytes (`sun_path`, without its NUL).
const MAX_SOCKET_PATH: usize = 107;
/// Most bytes of a configuration file that are read for a password.
const MAX_CONFIG: usize = 1024 * 1024;

/// The answer to a search. All of it is untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceSearch {
    /// The node's own name for itself.
    node: String,
    processes: Vec<FoundProcess>,
    /// Configuration files that were looked for and are there.
    configs: Vec<FoundConfig>,
    /// Sockets that were looked for and are there.
    sockets: Vec<String>,
    /// Those of them that the user may not open.
    forbidden: Vec<String>,
    listening: Vec<Listener>,
}

/// A supervisord that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundProcess {
    pid: u32,
    /// Whether its file system is not that of the login.
    is_elsewhere: bool,
    unit: Option<String>,
    /// Its open sockets.
    inodes: BTreeSet<u64>,
    config: Option<FoundConfig>,
}

/// A configuration file of a supervisord.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundConfig {
    path: String,
    state: ConfigState,
    /// The included file that the next lines are of.
    part: Option<String>,
    identifier: Option<String>,
    unix: ServerSection,
    inet: ServerSection,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ConfigState {
    #[default]
    Read,
    /// The user may not read it.
    Closed,
    Missing,
}

/// `[unix_http_server]` or `[inet_http_server]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ServerSection {
    /// `file` or `port`.
    address: Option<String>,
    username: Option<String>,
    has_password: bool,
    /// The file that it stands in, if that is an included one.
    part: Option<String>,
}

/// A socket that a process listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listener {
    inode: u64,
    address: ControlAddress,
}

/// A supervisord that may be on the node: to be asked at its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceCandidate {
    /// Where it may listen, unix sockets first.
    pub servers: Vec<CandidateServer>,
    /// Its configuration file.
    pub config_file: Option<String>,
    /// Its `identifier`, unless that is supervisord's default.
    pub identifier: Option<String>,
    /// The systemd unit that it runs in.
    pub unit: Option<String>,
    /// Its process id, if it was seen running.
    pub pid: Option<u32>,
    /// Why it may not be found at its addresses, or has none.
    pub obstacle: Option<String>,
}

/// An address of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateServer {
    /// The address.
    pub address: ControlAddress,
    /// The user name that its configuration requires.
    pub username: Option<String>,
    /// Whether its configuration requires a password.
    pub has_password: bool,
    /// The file that has the user name and the password.
    pub config_file: Option<String>,
    /// Whether a process listens there, if it is a unix socket.
    pub listens: bool,
}

/// Searches the node, through sudo where it is on. `sockets` and `config_files` are looked at too, if they are there.
///
/// # Errors
/// [`SupervisorError`] of a command that could not be run; [`SupervisorError::Protocol`] if it did not come to its end.
pub async fn search<S: Session>(
    shell: &NodeShell<S>,
    sockets: &BTreeSet<String>,
    config_files: &BTreeSet<String>,
) -> Result<InstanceSearch, SupervisorError> {
    // A path with a NUL byte cannot exist, so leaving it out loses nothing.
    let quoted =
        |(mark, path): (&str, &String)| shlex::try_quote(&format!("{mark}{path}")).map(|word| word.into_owned()).ok();
    let sockets = sockets.iter().map(|path| ("s:", path));
    let files = config_files.iter().map(|path| ("c:", path));
    let words: Vec<String> = sockets.chain(files).filter_map(quoted).collect();
    // The script contains no single quote, so single quotes carry it through any login shell unchanged.
    let line = format!("sh -c '{}' ctl-find {}", one_line(SCRIPT), words.join(" "));
    let what = "the search for supervisords";
    let answer = shell.query_in_time(what, |sudo| format!("{sudo}{line}")).await?;
    InstanceSearch::of_output(&answer.stdout).ok_or_else(|| unfinished(what, &answer))
}

/// The Authorization header for a server whose configuration file on the node requires a password; none if the file has none
/// that a client could send. The password is used for this run and kept nowhere.
///
/// # Errors
/// As [`NodeShell::read_file`].
pub async fn read_authorization<S: Session>(
    shell: &NodeShell<S>,
    server: &CandidateServer,
) -> Result<Option<String>, SupervisorError> {
    let Some(config_file) = server.config_file.as_deref().filter(|_| server.has_password) else { return Ok(None) };
    let bytes = shell.read_file(config_file, 0, MAX_CONFIG).await?;
    let config = SecretString::from(String::from_utf8_lossy(&bytes).into_owned());
    let user = server.username.as_deref().unwrap_or_default();
    let header = |password: SecretString| {
        let pair = SecretString::from(format!("{user}:{}", password.expose_secret()));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.expose_secret()))
    };
    Ok(password(config.expose_secret(), &server.address).map(header))
}

/// The password of the section for this kind of address.
fn password(config: &str, address: &ControlAddress) -> Option<SecretString> {
    let wanted = match address {
        ControlAddress::Unix(_) => "[unix_http_server]",
        ControlAddress::Http { .. } => "[inet_http_server]",
    };
    let mut is_inside = false;
    for line in config.lines() {
        if line.starts_with('[') {
            is_inside = line.starts_with(wanted);
        }
        if is_inside
            && let Some((key, value)) = line.split_once(['=', ':'])
            && key.trim_end().eq_ignore_ascii_case("password")
        {
            let value = setting(value.trim());
            // supervisord keeps a hash there, or reads it from its environment: neither can be sent.
            let is_usable = !value.is_empty() && !value.starts_with("{SHA}") && !value.contains("%(");
            return is_usable.then(|| SecretString::from(value.replace("%%", "%")));
        }
    }
    None
}

/// A value without its comment (`supervisor/options.py` of 4.2.5: `inline_comment_prefixes`).
fn setting(value: &str) -> String {
    let end = [" ;", " #", "\t;", "\t#"].iter().filter_map(|mark| value.find(mark)).min();
    value.get(..end.unwrap_or(value.len())).unwrap_or_default().trim().to_owned()
}

impl InstanceSearch {
    /// Reads the output of the command; none if it was cut short.
    #[must_use]
    pub fn of_output(output: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut is_whole = false;
        // Whether configuration files belong to the last process; those that were asked for come after all processes.
        let mut is_known = false;
        let mut section = String::new();
        for line in output.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "node" => found.node = clip(rest),
                "process" => {
                    let pid = rest.trim().parse().unwrap_or_default();
                    found.processes.push(FoundProcess { pid, ..FoundProcess::default() });
                }
                "known" => is_known = true,
                "config" | "closed" | "missing" => {
                    let state = match word {
                        "config" => ConfigState::Read,
                        "closed" => ConfigState::Closed,
                        _ => ConfigState::Missing,
                    };
                    section.clear();
                    let config = FoundConfig { path: rest.to_owned(), state, ..FoundConfig::default() };
                    match found.processes.last_mut() {
                        Some(process) if !is_known => process.config = Some(config),
                        _ => found.configs.push(config),
                    }
                }
                "section" => section = rest.to_owned(),
                "part" => {
                    section.clear();
                    if let Some(config) = found.last_config(is_known) {
                        config.part = Some(rest.to_owned());
                    }
                }
                "file" | "port" | "username" | "password" | "identifier" => {
                    if let Some(config) = found.last_config(is_known) {
                        config.note(&section, word, rest);
                    }
                }
                "socket" => found.sockets.push(rest.to_owned()),
                "forbidden" => found.forbidden.push(rest.to_owned()),
                "listens" | "tcp" => found.listening.extend(Listener::of_line(word, rest)),
                // The script's last line: without it the output was cut short, and a missing entry would prove nothing.
                "ctl-end" => is_whole = true,
                _ => found.note_process(word, rest),
            }
        }
        is_whole.then_some(found)
    }

    /// The configuration file that was named last.
    fn last_config(&mut self, is_known: bool) -> Option<&mut FoundConfig> {
        match self.processes.last_mut() {
            Some(process) if !is_known => process.config.as_mut(),
            _ => self.configs.last_mut(),
        }
    }

    /// Notes a line about the last process.
    fn note_process(&mut self, word: &str, rest: &str) {
        let Some(process) = self.processes.last_mut() else { return };
        match word {
            "elsewhere" => process.is_elsewhere = true,
            "unit" => process.unit = Some(clip(rest)),
            "inode" => process.inodes.extend(rest.trim().parse::<u64>()),
            _ => {}
        }
    }

    /// The instances to be asked, each once.
    #[must_use]
    pub fn candidates(&self) -> Vec<InstanceCandidate> {
        let mut all: Vec<InstanceCandidate> = Vec::new();
        let mut add = |candidate: InstanceCandidate| {
            let is_same = |own: &InstanceCandidate| {
                own.servers.iter().any(|server| {
                    candidate.servers.iter().any(|other| is_same_address(&server.address, &other.address))
                })
            };
            // A wrapper such as `sudo supervisord`, or a child before its exec, has the same words.
            if all.len() < MAX_INSTANCES && !all.iter().any(is_same) {
                all.push(candidate);
            }
        };
        for process in &self.processes {
            add(self.of_process(process));
        }
        for config in self.configs.iter().filter(|config| config.state == ConfigState::Read) {
            let candidate = self.of_config(config);
            if !candidate.servers.is_empty() {
                add(candidate);
            }
        }
        for path in self.sockets.iter().chain(&self.forbidden) {
            add(InstanceCandidate {
                servers: vec![self.server(ControlAddress::Unix(path.clone()))],
                ..Default::default()
            });
        }
        // What else looks like a supervisord's, where its process or its configuration may not be read.
        for listener in &self.listening {
            if matches!(&listener.address, ControlAddress::Unix(path) if path.contains("supervisor")) {
                add(InstanceCandidate { servers: vec![self.server(listener.address.clone())], ..Default::default() });
            }
        }
        all
    }

    fn of_process(&self, process: &FoundProcess) -> InstanceCandidate {
        let mut candidate = process.config.as_ref().map(|config| self.of_config(config)).unwrap_or_default();
        candidate.pid = Some(process.pid);
        candidate.unit.clone_from(&process.unit);
        // What it listens on is stronger than what its configuration says, which may have been changed or have variables.
        let own = self.listening.iter().filter(|listener| process.inodes.contains(&listener.inode));
        let own: Vec<&ControlAddress> = own.map(|listener| &listener.address).collect();
        for address in &own {
            if !candidate.servers.iter().any(|server| is_same_address(&server.address, address)) {
                let mut server = self.server((*address).clone());
                if let Some(config) = &process.config {
                    server = config.with_credentials(server);
                }
                candidate.servers.push(server);
            }
        }
        candidate.servers.sort_by_key(|server| matches!(server.address, ControlAddress::Http { .. }));
        candidate.obstacle = self.obstacle(process, &candidate);
        candidate
    }

    fn obstacle(&self, process: &FoundProcess, candidate: &InstanceCandidate) -> Option<String> {
        if process.is_elsewhere {
            // Without the pid: a host may have many of them, which are reported once.
            return Some("a supervisord runs in a container, or with a file system of its own".to_owned());
        }
        if !candidate.servers.is_empty() {
            return None;
        }
        let why = match &process.config {
            None => "its configuration file is not known".to_owned(),
            Some(config) => match config.state {
                ConfigState::Read => format!("{} sets neither a socket nor a port", config.path),
                ConfigState::Closed => format!("its configuration {} may not be read", config.path),
                ConfigState::Missing => format!("its configuration {} is gone", config.path),
            },
        };
        Some(format!("supervisord (pid {}): {why}", process.pid))
    }

    fn of_config(&self, config: &FoundConfig) -> InstanceCandidate {
        let address = |section: &ServerSection| {
            self.expanded(section.address.as_deref()?, section.part.as_deref().unwrap_or(&config.path))
        };
        let unix = address(&config.unix).and_then(|file| unix_address(&file));
        let inet = address(&config.inet).and_then(|port| inet_address(&port));
        let server = |address: ControlAddress| config.with_credentials(self.server(address));
        let identifier = config.identifier.as_deref().and_then(|name| self.expanded(name, &config.path));
        InstanceCandidate {
            servers: unix.into_iter().chain(inet).map(server).collect(),
            config_file: Some(config.path.clone()),
            // The default of supervisord, which says nothing.
            identifier: identifier.filter(|name| !name.is_empty() && name != "supervisor"),
            ..InstanceCandidate::default()
        }
    }

    fn server(&self, address: ControlAddress) -> CandidateServer {
        let listens = self.listening.iter().any(|listener| is_same_address(&listener.address, &address));
        CandidateServer { address, username: None, has_password: false, config_file: None, listens }
    }

    /// A value with supervisord's own variables in it; none if it has others, such as those of its environment.
    fn expanded(&self, value: &str, config: &str) -> Option<String> {
        let here = config.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        let value = setting(value).replace("%(here)s", here).replace("%(host_node_name)s", &self.node);
        (!value.contains("%(")).then(|| value.replace("%%", "%"))
    }
}

impl FoundConfig {
    fn section(&self, address: &ControlAddress) -> &ServerSection {
        match address {
            ControlAddress::Unix(_) => &self.unix,
            ControlAddress::Http { .. } => &self.inet,
        }
    }

    /// The server with the user name and the password that its section requires.
    fn with_credentials(&self, server: CandidateServer) -> CandidateServer {
        let section = self.section(&server.address);
        CandidateServer {
            username: section.username.as_deref().map(setting).filter(|name| !name.is_empty()),
            has_password: section.has_password,
            config_file: Some(section.part.as_ref().unwrap_or(&self.path).clone()),
            ..server
        }
    }

    fn note(&mut self, section: &str, key: &str, value: &str) {
        let server = match section {
            "unix_http_server" => &mut self.unix,
            "inet_http_server" => &mut self.inet,
            "supervisord" => {
                if key == "identifier" {
                    self.identifier = Some(clip(value));
                }
                return;
            }
            _ => return,
        };
        server.part.clone_from(&self.part);
        match key {
            "file" | "port" => server.address = Some(clip(value)),
            "username" => server.username = Some(clip(value)),
            "password" => server.has_password = true,
            _ => {}
        }
    }
}

impl Listener {
    /// `INODE PATH`, or `INODE ADDRESS:PORT` in hexadecimal.
    fn of_line(word: &str, rest: &str) -> Option<Self> {
        let (inode, place) = rest.split_once(' ')?;
        let address = if word == "listens" {
            unix_address(without_pid(place))?
        } else {
            let (host, port) = place.rsplit_once(':')?;
            let port = u16::from_str_radix(port, 16).ok().filter(|port| *port > 0)?;
            ControlAddress::Http { host: hex_host(host)?, port }
        };
        Some(Self { inode: inode.parse().ok()?, address })
    }
}

/// supervisord binds its socket under another name, with its pid behind, and gives it the right one then
/// (supervisor 3.0 to 4.2.5, `supervisor/http.py`, `supervisor_af_unix_http_server`).
fn without_pid(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((name, pid)) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => path,
    }
}

/// The host of proc(5), as the node itself would write it. All addresses of a node include `localhost`.
fn hex_host(host: &str) -> Option<String> {
    let is_local = host.bytes().all(|digit| digit == b'0')
        || host.len() == 8 && host.ends_with("7F")
        // `::1` as four words in the byte order of x86 and ARM.
        || host == "00000000000000000000000001000000";
    if is_local {
        return Some("localhost".to_owned());
    }
    let number = (host.len() == 8).then(|| u32::from_str_radix(host, 16).ok()).flatten()?;
    Some(std::net::Ipv4Addr::from(number.to_le_bytes()).to_string())
}

/// The path of a socket, if an inventory may have it: bounded, and safe to show.
fn unix_address(path: &str) -> Option<ControlAddress> {
    let is_usable = path.starts_with('/') && path.len() <= MAX_SOCKET_PATH && !path.chars().any(char::is_control);
    is_usable.then(|| ControlAddress::Unix(path.to_owned()))
}

/// `port` of `[inet_http_server]`: `9001`, `*:9001`, `127.0.0.1:9001`, `host:9001`.
fn inet_address(value: &str) -> Option<ControlAddress> {
    let (host, port) = value.rsplit_once(':').unwrap_or(("", value));
    let port = port.trim().parse::<u16>().ok().filter(|port| *port > 0)?;
    let host = match host.trim() {
        "" | "*" | "0.0.0.0" | "127.0.0.1" | "localhost" => "localhost",
        other if ctl_inventory::values::check_name(other, "._-").is_ok() => other,
        _ => return None,
    };
    Some(ControlAddress::Http { host: host.to_owned(), port })
}

/// Whether two addresses of a node are one: /var/run is /run on all but the oldest systems.
#[must_use]
pub fn is_same_address(one: &ControlAddress, other: &ControlAddress) -> bool {
    let canonical =
        |path: &str| path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path).to_owned();
    match (one, other) {
        (ControlAddress::Unix(one), ControlAddress::Unix(other)) => canonical(one) == canonical(other),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(output: &str) -> Vec<InstanceCandidate> {
        InstanceSearch::of_output(&format!("{output}ctl-end\n")).expect("a whole answer").candidates()
    }

    fn places(candidate: &InstanceCandidate) -> Vec<String> {
        candidate.servers.iter().map(|server| server.address.to_string()).collect()
    }

    #[test]
    fn an_instance_is_found_by_its_process_and_its_configuration() {
        let all = candidates(
            "node web1\nprocess 812\nunit supervisor-web\ninode 11\nconfig /srv/web/s.conf\nsection unix_http_server\n\
             file %(here)s/%(host_node_name)s.sock ; where it listens\nsection supervisord\nidentifier web\nsection -\n\
             file /not/this\nknown\n",
        );
        let [found] = &*all else { panic!("{all:?}") };
        assert_eq!(places(found), ["unix:///srv/web/web1.sock"]);
        assert_eq!(
            (found.pid, found.unit.as_deref(), found.identifier.as_deref()),
            (Some(812), Some("supervisor-web"), Some("web"))
        );
        assert_eq!(found.config_file.as_deref(), Some("/srv/web/s.conf"));
    }

    #[test]
    fn an_included_file_may_say_where_an_instance_listens() {
        let all = candidates(
            "process 1\nconfig /srv/main.conf\nsection supervisord\nidentifier %(here)s\npart /srv/d/a.ini\n\
             section unix_http_server\nfile %(here)s/s.sock\nusername bob\npassword\nknown\n",
        );
        let [found] = &*all else { panic!("{all:?}") };
        assert_eq!(
            (places(found), found.identifier.as_deref()),
            (vec!["unix:///srv/d/s.sock".to_owned()], Some("/srv"))
        );
        let server = &found.servers[0];
        assert_eq!((server.username.as_deref(), server.has_password), (Some("bob"), true));
        assert_eq!(server.config_file.as_deref(), Some("/srv/d/a.ini"));
        assert_eq!(found.config_file.as_deref(), Some("/srv/main.conf"));
    }

    #[test]
    fn open_sockets_show_what_a_configuration_does_not() {
        let all = candidates(
            "process 1\ninode 11\ninode 12\nconfig /a.conf\nsection unix_http_server\nfile %(ENV_RUN)s/a.sock\n\
             section inet_http_server\nusername ops\npassword\nknown\n\
             listens 11 /srv/run/a.sock.1\nlistens 13 /run/dbus/system_bus_socket\ntcp 12 0100007F:2329\ntcp 9 0100007F:0016\n",
        );
        let [found] = &*all else { panic!("{all:?}") };
        assert_eq!(places(found), ["unix:///srv/run/a.sock", "http://localhost:9001"]);
        let asks: Vec<bool> = found.servers.iter().map(|server| server.has_password).collect();
        assert_eq!(asks, [false, true]);
    }

    #[test]
    fn each_instance_is_one_candidate() {
        let all = candidates(
            "process 1\nconfig /a.conf\nsection unix_http_server\nfile /var/run/supervisord_a.sock\nprocess 2\n\
             config /a.conf\nsection unix_http_server\nfile /var/run/supervisord_a.sock\nknown\n\
             config /a.conf\nsection unix_http_server\nfile /var/run/supervisord_a.sock\n\
             socket /run/supervisord_a.sock\nforbidden /tmp/supervisord_b.sock\nlistens 3 /run/supervisord_a.sock.1\n\
             listens 4 /tmp/supervisord_b.sock.77\n",
        );
        let all: Vec<Vec<String>> = all.iter().map(places).collect();
        assert_eq!(all, [["unix:///var/run/supervisord_a.sock"], ["unix:///tmp/supervisord_b.sock"]]);
    }

    #[test]
    fn what_keeps_an_instance_from_being_found_is_named() {
        let why =
            |lines: &str| candidates(&format!("process 1\n{lines}known\n")).remove(0).obstacle.unwrap_or_default();
        assert_eq!(why(""), "supervisord (pid 1): its configuration file is not known");
        assert_eq!(why("closed /a.conf\n"), "supervisord (pid 1): its configuration /a.conf may not be read");
        assert_eq!(why("missing /a.conf\n"), "supervisord (pid 1): its configuration /a.conf is gone");
        assert_eq!(why("config /a.conf\n"), "supervisord (pid 1): /a.conf sets neither a socket nor a port");
        assert_eq!(
            why("elsewhere\nconfig /a.conf\n"),
            "a supervisord runs in a container, or with a file system of its own"
        );
        assert_eq!(why("config /a.conf\nsection inet_http_server\nport 9001\n"), "");
    }

    #[test]
    fn ports_are_read_as_supervisord_reads_them() {
        for (value, address) in [
            ("9001", Some("http://localhost:9001")),
            ("*:9001", Some("http://localhost:9001")),
            (":9001", Some("http://localhost:9001")),
            ("127.0.0.1:9002", Some("http://localhost:9002")),
            ("10.0.0.5:9001", Some("http://10.0.0.5:9001")),
            ("0", None),
            ("host", None),
            ("a b:1", None),
        ] {
            assert_eq!(inet_address(value).map(|address| address.to_string()).as_deref(), address, "{value}");
        }
        assert_eq!(hex_host("0500000A").as_deref(), Some("10.0.0.5"));
        assert_eq!(hex_host("00000000000000000000000000000000").as_deref(), Some("localhost"));
    }

    #[test]
    fn a_password_is_that_of_its_section() {
        let config = "[unix_http_server]\nfile=/a\npassword = first ; c\n[inet_http_server]\nport=1\npassword={SHA}x\n";
        let tcp = ControlAddress::Http { host: "localhost".to_owned(), port: 1 };
        let read = |config: &str, address: &ControlAddress| {
            password(config, address).map(|password| password.expose_secret().to_owned())
        };
        assert_eq!(read(config, &ControlAddress::Unix("/a".to_owned())).as_deref(), Some("first"));
        assert_eq!(read(config, &tcp), None);
        assert_eq!(read("[inet_http_server]\nPASSWORD: 50%%\n", &tcp).as_deref(), Some("50%"));
    }

    #[test]
    fn an_answer_that_was_cut_is_none() {
        assert_eq!(InstanceSearch::of_output("process 1\nknown\n"), None);
    }

    #[test]
    fn the_script_is_one_word_for_every_shell() {
        let line = one_line(SCRIPT);
        assert!(!line.contains(['\'', '!', '\n']) && !line.contains("\\\\"), "{line}");
    }

    proptest! {
        #[test]
        fn no_answer_panics(lines in "((process|config|closed|part|section|file|port|username|identifier|inode|listens|tcp|known|unit) ?(\\PC{0,12}|[0-9 /:.%()]{0,12})\n){0,12}") {
            let read = InstanceSearch::of_output(&format!("{lines}ctl-end\n"));
            prop_assert!(read.expect("whole").candidates().len() <= MAX_INSTANCES);
        }
    }
}
