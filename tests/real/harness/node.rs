//! One real node: its namespaces, its supervisords, and an sshd for each connection.
//!
//! sshd is started for each connection with `-i`, as systemd's ssh.socket and inetd do: the listening socket belongs to
//! the machine's loopback, so that the client needs no route into the node; sshd belongs to the node's network
//! namespace, so that every node has its own `localhost`, with Contrail's fixed ports.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::rpc::{self, Process};
use super::spec::NodeSpec;
use super::{Instance, eventually};

/// The path of OpenSSH's server on Debian and most other systems.
const SSHD: &str = "/usr/sbin/sshd";

/// A running node. Everything on it ends when it is dropped.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) endpoint: SocketAddrV4,
    spec: NodeSpec,
    /// `unshare`. The node ends with it, because it holds the pipe that pid 1 waits on.
    unshare: Child,
    boot: Option<BufReader<ChildStdout>>,
    /// The node's pid 1 in the machine's pid namespace.
    init: u32,
    stage: PathBuf,
    door: Option<Door>,
    connections: Arc<Connections>,
}

impl Node {
    /// Writes the node's files below `stage` and boots it, without waiting for its services ([`Node::ready`]).
    pub(super) fn boot(
        name: &str,
        endpoint: SocketAddrV4,
        spec: NodeSpec,
        stage: &Path,
        client_key: &str,
        host_keys: &[PathBuf],
    ) -> Self {
        write_stage(stage, &spec, client_key, host_keys);
        let script = stage.join("boot.sh");
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "--", "/bin/bash"])
            .arg(&script)
            .arg(stage)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(stage.join("boot.err")).unwrap())
            .spawn()
            .expect("cannot start unshare (util-linux)");
        let boot = unshare.stdout.take().map(BufReader::new);
        Self {
            name: name.to_owned(),
            endpoint,
            spec,
            unshare,
            boot,
            init: 0,
            stage: stage.to_owned(),
            door: None,
            connections: Arc::default(),
        }
    }

    /// Waits until its services are started and its supervisords answer, then opens its SSH port.
    pub(super) fn ready(&mut self) {
        let mut line = String::new();
        if let Some(mut boot) = self.boot.take() {
            drop(boot.read_line(&mut line));
        }
        assert!(
            line == "ready\n",
            "node {} did not start (namespaces need root and, in a container, CAP_SYS_ADMIN):\n{}",
            self.name,
            fs::read_to_string(self.stage.join("boot.err")).unwrap_or_default()
        );
        self.init = eventually("pid 1 of the node", || child_of(self.unshare.id()));
        for instance in &self.spec.instances {
            eventually(&format!("{} on {}", instance.service, self.name), || self.supervisord_pid(instance.service));
            for program in &instance.programs {
                let settled = format!("{} on {} to leave STARTING", program.name, self.name);
                let is_settled = || !program.settles || !self.is_starting(instance, &program.name);
                eventually(&settled, || is_settled().then_some(()));
                if let Some(port) = program.port {
                    let open = format!("port {port} of {} on {}", program.name, self.name);
                    eventually(&open, || self.listens(port).then_some(()));
                }
            }
        }
        self.listen();
    }

    fn is_starting(&self, instance: &Instance, program: &str) -> bool {
        let reply =
            rpc::call(&self.inside(&instance.probe_socket()), "supervisor.getAllProcessInfo", &[]).unwrap_or_default();
        // BACKOFF counts as settled: a program that dies at once stays there for a while.
        reply.split("<struct>").any(|entry| {
            entry.contains(&format!("<name>group</name>\n<value><string>{program}<"))
                && entry.contains("<name>statename</name>\n<value><string>STARTING<")
        })
    }

    /// Whether a process on the node listens on this port of its localhost.
    fn listens(&self, port: u16) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.init)).unwrap_or_default();
        // "0: 0100007F:1F99 00000000:0000 0A …": address and port in hexadecimal, then the remote end, then LISTEN.
        table.contains(&format!(" 0100007F:{port:04X} 00000000:0000 0A "))
    }

    /// Sets the reply of a program made by [`Program::introspecting`](super::Program::introspecting);
    /// `node/introspect.py` has the orders.
    pub(crate) fn introspect(&self, program: &str, order: &str) {
        fs::write(self.inside(&format!("/run/introspect-{program}")), order).unwrap();
    }

    /// Begins to stop a process, and does not wait.
    pub(crate) fn begin_to_stop(&self, process: &str) {
        let group = process.split(':').next().unwrap_or(process);
        let has = |instance: &&Instance| instance.programs.iter().any(|program| program.name == group);
        let address = self.spec.instances.iter().find(has).expect("no instance has it").address();
        self.sh(&format!("supervisorctl -s {address} stop {process} </dev/null >/dev/null 2>&1 &"));
    }

    /// The machine's path of a file on the node. A link in it must not be absolute.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// The content of a file on the node, empty if it does not exist.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read(self.inside(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// sshd's log so far, at DEBUG1.
    pub(crate) fn sshd_log(&self) -> String {
        self.read("/var/log/sshd.log")
    }

    /// The number of connections that its SSH port has accepted.
    pub(crate) fn connections(&self) -> u32 {
        u32::try_from(self.connections.lock().unwrap().len()).unwrap()
    }

    /// Runs a shell script on the node as root, without SSH, and returns its output.
    ///
    /// # Panics
    ///
    /// If the script fails.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = enter(self.init).args(["/bin/sh", "-c", script]).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "on {}: {script}\n{text}{}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    fn socket_of(&self, service: &str) -> PathBuf {
        let instance = self.spec.instances.iter().find(|instance| {
            let group = service.split(':').next().unwrap_or(service);
            instance.service == service || instance.programs.iter().any(|program| program.name == group)
        });
        let instance = instance.unwrap_or_else(|| panic!("no supervisord of {} has {service}", self.name));
        self.inside(&instance.probe_socket())
    }

    /// The state of a process (`contrail-collector`, `contrail-api:0`) according to its supervisord; `None` while it
    /// does not answer.
    pub(crate) fn process(&self, name: &str) -> Option<Process> {
        rpc::process(&self.socket_of(name), name).ok()
    }

    /// The pid of a supervisord, by its init service; `None` while it does not answer.
    pub(crate) fn supervisord_pid(&self, service: &str) -> Option<u32> {
        rpc::supervisord_pid(&self.socket_of(service)).ok()
    }

    /// Waits until a process has that state.
    #[track_caller]
    pub(crate) fn wait_for(&self, process: &str, state: &str) -> Process {
        eventually(&format!("{process} on {} to be {state}", self.name), || {
            self.process(process).filter(|found| found.state == state)
        })
    }

    /// Kills the node's sshd processes: every connection is lost, detached processes keep running.
    pub(crate) fn cut_connections(&self) {
        self.signal_connections("KILL");
    }

    /// Sends a signal, `STOP`, to the node's sshd processes.
    pub(crate) fn signal_connections(&self, signal: &str) {
        self.sh(&format!(
            "for dir in /proc/[0-9]*; do\n\
             read -r comm 2>/dev/null < $dir/comm || continue\n\
             if [ \"$comm\" = sshd ]; then kill -{signal} ${{dir#/proc/}} 2>/dev/null; fi\n\
             done; true"
        ));
    }

    /// Opens the SSH port (again).
    pub(crate) fn listen(&mut self) {
        self.door = Some(Door::open(self.endpoint, self.init, Arc::clone(&self.connections)));
    }

    /// Closes the SSH port; open connections stay open.
    pub(crate) fn refuse(&mut self) {
        self.door = None;
    }

    /// Replaces the section of a program, like an administrator who edits the file.
    pub(crate) fn write_program(&self, role_service: &str, program: &super::Program) {
        let instance = self.spec.instances.iter().find(|instance| instance.service == role_service);
        let path = instance.expect("the node has no such instance").ini_path(&program.name);
        fs::write(self.inside(&path), program.ini()).unwrap();
    }

    fn keep_logs(&self) {
        let kept =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("real").join(format!("{}-{}", self.endpoint.ip(), self.name));
        drop(fs::remove_dir_all(&kept));
        drop(fs::create_dir_all(&kept));
        let copied = Command::new("cp").arg("-r").arg(self.inside("/var/log/.")).arg(&kept).status();
        if copied.is_ok_and(|status| status.success()) {
            eprintln!("logs of node {}: {}", self.name, kept.display());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.door = None;
        if std::thread::panicking() && self.init != 0 {
            self.keep_logs();
        }
        // The kernel ends all processes of a pid namespace with its pid 1; errors mean that it has already ended.
        drop(self.unshare.kill());
        drop(self.unshare.wait());
        // An nsenter whose sshd was stopped is stopped as well, and does not notice that sshd has ended.
        for nsenter in self.connections.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            drop(nsenter.kill());
            drop(nsenter.wait());
        }
    }
}

/// The `nsenter` processes of the connections to a node's SSH port.
type Connections = Mutex<Vec<Child>>;

/// The open SSH port of a node.
struct Door {
    endpoint: SocketAddrV4,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    fn open(endpoint: SocketAddrV4, init: u32, connections: Arc<Connections>) -> Self {
        let listener = TcpListener::bind(endpoint).unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        let closed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closed);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(stream) = stream {
                    connections.lock().unwrap().extend(serve(stream, init));
                }
            }
        });
        Self { endpoint, closed, thread: Some(thread) }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that the port is closed.
        drop(TcpStream::connect(self.endpoint));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Passes one connection to an sshd in the node. The socket is closed here, so that only sshd holds it.
fn serve(stream: TcpStream, init: u32) -> Option<Child> {
    let output = stream.try_clone().ok()?;
    enter(init)
        .args([SSHD, "-i", "-f", "/etc/ssh/sshd_config", "-E", "/var/log/sshd.log"])
        .stdin(OwnedFd::from(stream))
        .stdout(OwnedFd::from(output))
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// The start of a command line that runs in the node.
fn enter(init: u32) -> Command {
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &init.to_string(), "--mount", "--pid", "--net", "--root", "--"])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .current_dir("/");
    command
}

/// The child of a process, from the machine's /proc.
fn child_of(parent: u32) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut stat = String::new();
        fs::File::open(entry.path().join("stat")).ok()?.read_to_string(&mut stat).ok()?;
        // "pid (name) state ppid …". The name may contain any character.
        let ppid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (ppid.parse() == Ok(parent)).then_some(pid)
    })
}

fn write_stage(stage: &Path, spec: &NodeSpec, client_key: &str, host_keys: &[PathBuf]) {
    let write = |path: &str, contents: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = stage.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("boot.sh", include_str!("../node/boot.sh"), 0o755);
    write("etc/ssh/authorized_keys", client_key, 0o644);
    let mut config = spec.sshd.join("\n");
    for (number, key) in host_keys.iter().enumerate() {
        let path = format!("etc/ssh/host_key{number}");
        write(&path, &fs::read_to_string(key).unwrap(), 0o600);
        config.push_str(&format!("\nHostKey /{path}"));
    }
    config.push_str(
        "\nAuthorizedKeysFile /etc/ssh/authorized_keys\nLogLevel DEBUG1\nUsePAM no\nUseDNS no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
    );
    write("etc/ssh/sshd_config", &config, 0o600);
    for (path, contents, executable) in spec.files() {
        write(&path, &contents, if executable { 0o755 } else { 0o644 });
    }
}

/// An address that accepts connections and never sends anything.
pub(super) struct Silent {
    door: TcpListener,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Silent {
    pub(super) fn open(address: Ipv4Addr, port: u16) -> Self {
        let door = TcpListener::bind((address, port)).unwrap();
        let listener = door.try_clone().unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closed);
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            while !seen.load(Ordering::SeqCst) {
                held.extend(listener.accept());
            }
        });
        Self { door, closed, thread: Some(thread) }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Ok(address) = self.door.local_addr() {
            drop(TcpStream::connect(address));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
