//! Files and settings found on a node: core files, sockets, configuration files, packages. Read with one command.
//!
//! Here live [`ScanPaths`], the paths to look for, [`scan`], and [`open_ports`] for a query that is seldom needed.
//! It uses `remote` and `transport`; the command is `node_scan.sh`. Invariants: nothing on the node is changed;
//! output is read up to [`LIMIT`] bytes, and a line that is not understood is passed over. Start reading at [`scan`].

use std::collections::{BTreeMap, BTreeSet};

use super::error::SupervisorError;
use super::parse::text::clip;
use super::shell::NodeShell;
use ctl_remote::{CommandAnswer, NoAnswer, SudoError, last_line};
use ctl_transport::Session;

/// Core files that are named; of more only the number is reported.
pub const CORE_FILES: usize = 20;

/// Most packages that are reported.
pub const PACKAGES: usize = 60;

/// Longest output read.
pub const LIMIT: usize = 64 * 1024;

const SCRIPT: &str = include_str!("node_scan.sh");

/// Prints the TCP sockets that somebody listens on, address and port in hexadecimal: `tcp 0100007F:1F99` (proc(5); the
/// state 0A is `TCP_LISTEN`).
const PORTS: &str = concat!(
    "sed -n \"s/^ *[0-9]*: \\([0-9A-F]*:[0-9A-F]*\\) [0-9A-F]*:0000 0A .*/tcp \\1/p\" ",
    "/proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u | head -n 1500; echo ctl-end"
);

/// The paths and facts to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanPaths {
    /// Paths of sockets.
    pub sockets: BTreeSet<String>,
    /// Paths of configuration files.
    pub config_files: BTreeSet<String>,
    /// Whether the versions of packages are wanted.
    pub packages: bool,
}

/// The result of a scan. All of it is untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeScan {
    /// Core files, at most [`CORE_FILES`].
    pub core_files: Vec<String>,
    /// How many core files there are.
    pub core_count: usize,
    /// A directory that the user may not look into.
    pub closed: Option<String>,
    /// Sockets that are there.
    pub sockets: BTreeSet<String>,
    /// Configuration files that are there.
    pub config_files: BTreeSet<String>,
    /// Versions of packages by name.
    pub packages: BTreeMap<String, String>,
    /// Introspect ports of programs, as their command line says, else as their configuration file says.
    pub ports: BTreeMap<String, u16>,
    /// Details of the sockets that exist, by their path.
    known_sockets: BTreeMap<String, SocketFile>,
    /// Sockets that a process listens on, as they were bound; none where the node does not say.
    listening: Option<Vec<BoundSocket>>,
    /// Device and inode of sockets that a process listens on.
    bound_files: BTreeSet<FileId>,
}

/// Device and inode, both as the node numbers them: the same file under whatever name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    major: u64,
    minor: u64,
    inode: u64,
}

impl FileId {
    /// `DEVICE:INODE` as stat(1) prints it: the device is in the encoding of the C library.
    fn of_stat(text: &str) -> Option<Self> {
        let (device, inode) = text.trim().split_once(':')?;
        let device: u64 = device.parse().ok()?;
        // glibc's encoding: the low 12 bits of the major and the low 8 of the minor are in place, the rest above
        // (`gnu_dev_major`).
        let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
        let minor = (device & 0xff) | ((device >> 12) & !0xff);
        Some(Self { major, minor, inode: inode.parse().ok()? })
    }

    /// `MAJOR MINOR INODE` as ss(8) prints them: it takes the kernel's own number of a device (12 bits before 20) for one of the
    /// C library's (iproute2, `misc/ss.c`, `unix_show_sock`).
    fn of_ss(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| number.parse::<u64>().ok());
        let (major, minor, inode) = (numbers.next()??, numbers.next()??, numbers.next()??);
        // This undoes the C library's split of the number, and splits it as the kernel does (`MINORBITS` is 20).
        let device = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xff_ff00) << 12);
        Some(Self { major: device >> 20, minor: device & 0xf_ffff, inode })
    }
}

/// A socket that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SocketFile {
    /// Its path without links.
    real: Option<String>,
    /// The folder that it is in.
    folder: Option<FileId>,
    /// The socket itself.
    file: Option<FileId>,
}

/// A socket that a process listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BoundSocket {
    path: String,
    folder: Option<FileId>,
}

impl NodeScan {
    /// Reads the output of the command; none if it was cut short.
    #[must_use]
    pub fn of_output(output: &str) -> Option<Self> {
        let mut scan = Self::default();
        let mut is_whole = false;
        // The socket that the next `real`, `dir` and `file` lines describe.
        let mut socket = "";
        for line in output.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                // Names past the limit are dropped; `cores` still carries the full count.
                "core" if scan.core_files.len() < CORE_FILES => scan.core_files.push(clip(rest)),
                "cores" => scan.core_count = rest.trim().parse().unwrap_or_default(),
                "closed" => scan.closed = Some(clip(rest)),
                "socket" => {
                    socket = rest;
                    scan.sockets.insert(rest.to_owned());
                    scan.known_sockets.insert(rest.to_owned(), SocketFile::default());
                }
                "real" | "dir" | "file" => scan.note_place(socket, word, rest),
                "config" => {
                    scan.config_files.insert(rest.to_owned());
                }
                // Printed even if nothing listens: it separates "no listener" from "the node cannot say".
                "listening" => scan.listening = Some(Vec::new()),
                "listens" => {
                    if let Some(listening) = &mut scan.listening {
                        listening.push(BoundSocket { path: rest.to_owned(), folder: None });
                    }
                }
                "bound" => scan.bound_files.extend(FileId::of_ss(rest)),
                "port" => {
                    // A program's command line overrides its configuration file, whichever of them is printed first.
                    if let Some((program, port, is_command)) = port(rest)
                        && (is_command || !scan.ports.contains_key(program))
                    {
                        scan.ports.insert(program.to_owned(), port);
                    }
                }
                "package" if scan.packages.len() < PACKAGES => {
                    if let Some((name, version)) = package(rest) {
                        scan.packages.insert(name.to_owned(), clip(version));
                    }
                }
                // The script's last line: without it the output was cut short, and a missing entry would prove nothing.
                "ctl-end" => is_whole = true,
                _ => {}
            }
        }
        is_whole.then_some(scan)
    }

    /// Notes where the socket that was named last is, or the folder of the last one that is listened on.
    fn note_place(&mut self, socket: &str, word: &str, rest: &str) {
        // The script prints the listeners after all sockets, so a `dir` behind `listening` belongs to a listener.
        if let (Some(bound), "dir") = (self.listening.as_mut().and_then(|all| all.last_mut()), word) {
            bound.folder = FileId::of_stat(rest);
        } else if let Some(known) = self.known_sockets.get_mut(socket) {
            match word {
                "real" => known.real = Some(rest.to_owned()),
                "dir" => known.folder = FileId::of_stat(rest),
                _ => known.file = FileId::of_stat(rest),
            }
        }
    }

    /// Whether a process listens on a socket; none where the node does not say. Its path may be another name of the
    /// one that it was bound with.
    ///
    /// supervisord binds its socket under another name, with its pid behind, and gives it the right one then
    /// (supervisor 3.0 to 4.2.5, `supervisor/http.py`, `supervisor_af_unix_http_server`).
    #[must_use]
    pub fn listens(&self, path: &str) -> Option<bool> {
        let listening = self.listening.as_ref()?;
        let known = self.known_sockets.get(path);
        // Device and inode are the strongest proof, since they do not depend on the path. Only a node with ss has them.
        if known.and_then(|known| known.file).is_some_and(|file| self.bound_files.contains(&file)) {
            return Some(true);
        }
        let real = known.and_then(|known| known.real.as_deref()).unwrap_or(path);
        let folder = known.and_then(|known| known.folder);
        let is_it = |bound: &BoundSocket| {
            let named = |path: &str| is_bound_as(canonical(path), canonical(&bound.path));
            // The bound path may lead to the same folder by another name (a bind mount or link), which only the inode
            // shows.
            let is_same_folder = folder.is_some() && bound.folder == folder;
            named(path) || named(real) || (is_same_folder && is_bound_as(base_name(real), base_name(&bound.path)))
        };
        Some(listening.iter().any(is_it))
    }
}

/// Whether a socket of this name was bound as `bound`: the same, or with a pid behind.
fn is_bound_as(name: &str, bound: &str) -> bool {
    bound.strip_prefix(name).is_some_and(|rest| {
        let pid = rest.strip_prefix('.');
        rest.is_empty() || pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// /var/run is /run on all but the oldest systems.
fn canonical(path: &str) -> &str {
    path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path)
}

/// A script as one line; this works because each of its lines ends a command.
pub(super) fn one_line(script: &str) -> String {
    let lines = script.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join(" ")
}

/// Scans the node, through sudo where it is on.
///
/// # Errors
/// [`SupervisorError`] of a command that could not be run; [`SupervisorError::Protocol`] if it did not come to its end.
pub async fn scan<S: Session>(shell: &NodeShell<S>, places: &ScanPaths) -> Result<NodeScan, SupervisorError> {
    // A path with a NUL byte cannot exist, so leaving it out loses nothing.
    let quoted =
        |(mark, path): (&str, &String)| shlex::try_quote(&format!("{mark}{path}")).map(|word| word.into_owned()).ok();
    let sockets = places.sockets.iter().map(|path| ("s:", path));
    let files = places.config_files.iter().map(|path| ("c:", path));
    let words: Vec<String> = sockets.chain(files).filter_map(quoted).collect();
    let packages = if places.packages { "packages" } else { "-" };
    // The script contains no single quote, so single quotes carry it through any login shell unchanged.
    let line = format!("sh -c '{}' ctl-scan {packages} {}", one_line(SCRIPT), words.join(" "));
    let answer = shell.query_within(|sudo| format!("{sudo}{line}"), LIMIT).await?;
    NodeScan::of_output(&answer.stdout).ok_or_else(|| unfinished("the search of the node", &answer))
}

/// The TCP ports on which `localhost` accepts connections. Empty also where the node does not say.
///
/// # Errors
/// As [`scan`].
pub async fn open_ports<S: Session>(shell: &NodeShell<S>) -> Result<BTreeSet<u16>, SupervisorError> {
    let answer = shell.query_within(|sudo| format!("{sudo}sh -c '{PORTS}' ctl-ports"), LIMIT).await?;
    // A list that was cut short would make an open port look closed.
    if !answer.stdout.lines().any(|line| line == "ctl-end") {
        return Err(unfinished("the search for open ports", &answer));
    }
    Ok(answer.stdout.lines().filter_map(|line| local_port(line.strip_prefix("tcp ")?)).collect())
}

/// Behind sudo the script may not have run, or not to its end, though the question did.
pub(super) fn unfinished(what: &str, answer: &CommandAnswer) -> SupervisorError {
    // A refusal by sudo has a hint of its own, which a plain exit code has not.
    if let Some(error) = SudoError::of_text(&answer.stderr) {
        return error.into();
    }
    let said = last_line(if answer.stderr.trim().is_empty() { &answer.stdout } else { &answer.stderr });
    NoAnswer::Failed { command: what.to_owned(), status: answer.status, said }.into()
}

/// The port of a listener that `localhost` leads to: one of any address, of 127.0.0.0/8, or of ::1.
fn local_port(listener: &str) -> Option<u16> {
    let (address, port) = listener.split_once(':')?;
    // Each word of an address is printed in the machine's byte order, so its bytes are reversed on little-endian
    // ones.
    let v4 = |address: &str| address == "00000000" || address.ends_with("7F");
    let local = match address.len() {
        8 => v4(address),
        32 => {
            // An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`, RFC 4291, 2.5.5.2).
            let mapped = address.strip_prefix("0000000000000000FFFF0000");
            address == "00000000000000000000000000000000"
                // `::1`, reversed within its last word.
                || address == "00000000000000000000000001000000"
                || mapped.is_some_and(v4)
        }
        _ => false,
    };
    if local { u16::from_str_radix(port, 16).ok() } else { None }
}

/// `NAME VERSION STATUS`. One that was removed, and left its configuration files, has a version no more, or a status
/// that does not end in `installed` (dpkg-query(1)).
fn package(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next()?);
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain(name) && is_plain(version) && words.next_back() == Some("installed")).then_some((name, version))
}

/// `/etc/contrail/PROGRAM.conf:http_server_port=8089`, or the `command` of a program in supervisord's own files: the
/// program, its port, and whether its command line says so, which counts more.
fn port(line: &str) -> Option<(&str, u16, bool)> {
    let (path, setting) = line.split_once(':')?;
    let file = path.rsplit('/').next()?;
    if let Some(program) = file.strip_suffix(".ini") {
        let (_, rest) = setting.split_once("--http_server_port")?;
        // The option's value may follow after a space or an equals sign.
        let value = rest.trim_start_matches([' ', '=']).split(' ').next()?;
        return Some((program, value.parse().ok()?, true));
    }
    let program = file.strip_suffix(".conf")?;
    let (key, value) = setting.split_once(['=', ':'])?;
    (key.trim() == "http_server_port").then_some((program, value.trim().parse().ok()?, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_word_for_every_shell() {
        for script in [one_line(SCRIPT), PORTS.to_owned()] {
            assert!(!script.contains(['\'', '!', '\n']), "{script}");
        }
    }

    /// A shell understands the one line as it would understand the file.
    #[test]
    fn the_script_runs() {
        let words = ["-c", &one_line(SCRIPT), "ctl-scan", "packages", "c:/etc/passwd", "c:/nowhere", "s:/etc/passwd"];
        let output = std::process::Command::new("/bin/sh").args(words).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        let scan = NodeScan::of_output(&text).unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!(scan.config_files.into_iter().collect::<Vec<_>>(), ["/etc/passwd"], "{output:?}");
        assert!(scan.sockets.is_empty() && output.stderr.is_empty(), "{output:?}");
    }

    #[test]
    fn what_is_printed_is_read() {
        let text = "hello from profile\ncore /var/crashes/core.a b.1\ncores 3\nclosed /var/crashes\nsocket /tmp/a.sock\n\
                    config /etc/a.conf\nlistening\nlistens /run/a.sock.123\nlistens /tmp/b.sock\n\
                    port /etc/contrail/contrail-a.conf:http_server_port=8189\n\
                    port /etc/contrail/supervisord_x_files/contrail-b.ini:command=/usr/bin/b --http_server_port 9090 -x\n\
                    port /etc/contrail/contrail-b.conf: http_server_port : 9091\n\
                    port /etc/contrail/contrail-c.conf:http_server_port=%(x)s\n\
                    package contrail-a 3.2.1-4 install ok installed\npackage contrail-r 1-2 installed\n\
                    package contrail-gone  deinstall ok config-files\npackage contrail-left 1 deinstall ok config-files\n\
                    ctl-end\n";
        let scan = NodeScan::of_output(text).expect("whole");
        assert_eq!(
            (scan.core_files.as_slice(), scan.core_count),
            (["/var/crashes/core.a b.1".to_owned()].as_slice(), 3)
        );
        assert_eq!(scan.closed.as_deref(), Some("/var/crashes"));
        let packages: Vec<_> = scan.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(packages, ["contrail-a 3.2.1-4", "contrail-r 1-2"]);
        let ports: Vec<_> = scan.ports.iter().map(|(program, port)| format!("{program} {port}")).collect();
        assert_eq!(ports, ["contrail-a 8189", "contrail-b 9090"]);
        let table = [
            ("/var/run/a.sock", true),
            ("/run/a.sock", true),
            ("/tmp/b.sock", true),
            ("/tmp/a.sock", false),
            ("/run/a.soc", false),
        ];
        for (path, listens) in table {
            assert_eq!(scan.listens(path), Some(listens), "{path}");
        }
        assert_eq!(NodeScan::of_output("cores 0\nctl-end\n").expect("whole").listens("/tmp/a.sock"), None);
        assert_eq!(NodeScan::of_output("cores 0\nlisten"), None);
    }

    /// Links, bind mounts of folders, and bind mounts of the socket itself.
    #[test]
    fn a_socket_is_known_by_any_of_its_names() {
        let text = "socket /var/run/a.sock\nreal /run/a.sock\ndir 45:1\nfile 45:10\n\
                    socket /alias/b.sock\nreal /alias/b.sock\ndir 45:2\nfile 45:11\n\
                    socket /tmp/link.sock\nreal /run/a.sock\ndir 45:1\nfile 45:10\n\
                    socket /other/c.sock\nreal /other/c.sock\ndir 65025:3\nfile 65025:12\n\
                    socket /tmp/b.sock\nreal /tmp/b.sock\ndir 45:4\nfile 45:13\n\
                    socket /tmp/d.sock\nreal /tmp/d.sock\ndir 45:4\nfile 46:12\n\
                    listening\nlistens /run/a.sock.77\ndir 45:1\nlistens /srv/b.sock.78\ndir 45:2\n\
                    listens /gone/b.sock.78\nbound 0 65024 5\nbound 0 65025 12\nctl-end\n";
        let scan = NodeScan::of_output(text).expect("whole");
        let table = [
            ("/var/run/a.sock", true),
            ("/alias/b.sock", true),
            ("/tmp/link.sock", true),
            ("/other/c.sock", true),
            // The same name in another folder, and the same inode on another device.
            ("/tmp/b.sock", false),
            ("/tmp/d.sock", false),
        ];
        for (path, listens) in table {
            assert_eq!(scan.listens(path), Some(listens), "{path}");
        }
        assert_eq!(FileId::of_stat("65024:7"), Some(FileId { major: 254, minor: 0, inode: 7 }));
        assert_eq!(FileId::of_ss("0 65024 7"), Some(FileId { major: 254, minor: 0, inode: 7 }));
        assert_eq!(FileId::of_ss("0 45 7"), FileId::of_stat("45:7"));
    }

    #[test]
    fn what_is_read_is_bounded() {
        let cores = "core /var/crashes/core.x\n".repeat(1000);
        let packages: String = (0..1000).map(|number| format!("package contrail-{number} 1 installed\n")).collect();
        let scan =
            NodeScan::of_output(&format!("{cores}core {}\n{packages}ctl-end\n", "x".repeat(10_000))).expect("whole");
        assert_eq!((scan.core_files.len(), scan.packages.len()), (CORE_FILES, PACKAGES));
        assert!(
            NodeScan::of_output(&format!("core {}\nctl-end", "x".repeat(10_000))).expect("whole").core_files[0].len()
                < 600
        );
    }

    #[test]
    fn a_port_is_open_at_the_nodes_own_address() {
        let table = [
            ("0100007F:1F99", Some(8089)),
            ("00000000:1F99", Some(8089)),
            ("0100000A:1F99", None),
            ("00000000000000000000000000000000:1F99", Some(8089)),
            ("00000000000000000000000001000000:1F99", Some(8089)),
            ("0000000000000000FFFF00000100007F:1F99", Some(8089)),
            ("0000000000000000FFFF00000100000A:1F99", None),
            ("B80D0120000000000000000001000000:1F99", None),
            ("0100007F:FFFFF", None),
            ("", None),
        ];
        for (listener, port) in table {
            assert_eq!(local_port(listener), port, "{listener}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_printed_panics(
            text in "\\PC*|((core|cores|closed|socket|listening|listens|port|package|ctl-end)[ :]?(/a.(ini|conf):)?\\PC{0,9}\n){0,4}"
        ) {
            drop(NodeScan::of_output(&text));
            proptest::prop_assert_eq!(local_port(&text), None);
        }
    }
}
