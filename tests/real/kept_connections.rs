//! Connections that are kept between commands, with OpenSSH's server.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program, Running, eventually};

const STATUS: &str = "service contrail-collector status -o json --connect-timeout 60s --persist 5m";

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// A cluster whose `ctl` has a directory for its socket.
struct KeepingCluster(Cluster);

impl KeepingCluster {
    fn of(count: u32, spec: &NodeSpec) -> Self {
        let this = Self(Cluster::of(count, spec));
        fs::create_dir(this.runtime()).unwrap();
        fs::set_permissions(this.runtime(), fs::Permissions::from_mode(0o700)).unwrap();
        this
    }

    fn runtime(&self) -> PathBuf {
        self.0.path("runtime")
    }

    fn command<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Command {
        let mut command = self.0.ctl_command(words);
        command.env("XDG_RUNTIME_DIR", self.runtime());
        command
    }

    fn start(&self, line: &str) -> Running {
        Running::start(self.command(line.split_whitespace()))
    }

    fn ctl(&self, line: &str) -> Finished {
        self.start(line).finish()
    }

    /// The processes that hold connections for this cluster.
    fn holders(&self) -> Vec<u32> {
        let runtime = format!("XDG_RUNTIME_DIR={}", self.runtime().display());
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let is_holder = words.ends_with(b"\0connections\0hold\0");
            let is_own = environment.split(|&byte| byte == 0).any(|one| one == runtime.as_bytes());
            (is_holder && is_own).then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        });
        pids.collect()
    }

    fn the_holder(&self) -> u32 {
        let holders = self.holders();
        assert_eq!(holders.len(), 1, "{holders:?}");
        holders[0]
    }

    /// The nodes whose connections are kept; `-` for a bastion.
    fn kept(&self) -> Vec<String> {
        let listed = self.ctl("connections list -o json").expect(0).json();
        let connections = listed["connections"].as_array().unwrap().clone();
        connections.iter().map(|one| one["node"].as_str().unwrap_or("-").to_owned()).collect()
    }
}

fn ended(pid: u32) -> Option<()> {
    (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(())
}

#[test]
fn the_second_command_needs_no_handshake() {
    let cluster = KeepingCluster::of(2, &spec());
    let first = cluster.ctl(STATUS).expect(0);
    assert_eq!(cluster.0.connections(), 2, "{first}");
    let second = cluster.ctl(STATUS).expect(0);
    assert_eq!(cluster.0.connections(), 2, "{second}");
    assert_eq!(first.outcomes(), second.outcomes());
    assert_eq!(second.result("a1")["via"], "rpc");
    assert_eq!((&*second.stderr, cluster.kept()), ("", vec!["a1".to_owned(), "a2".to_owned()]));
    // Only where it is asked for.
    cluster.ctl("service contrail-collector status -o json --persist 0s").expect(0);
    assert_eq!(cluster.0.connections(), 4);
    // The sockets are for this user alone.
    let directory = cluster.runtime().join("ctl");
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700);
    let sockets: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    for socket in sockets.iter().filter(|path| path.extension().is_some_and(|end| end == "sock")) {
        assert_eq!(fs::metadata(socket).unwrap().mode() & 0o7777, 0o600, "{}", socket.display());
    }
    let holder = cluster.the_holder();
    let closed = cluster.ctl("connections close a1,a9").expect(0);
    assert!(closed.stderr.contains("closed 1 connection: a1\nno connection is kept to a9\n"), "{closed}");
    assert_eq!(cluster.kept(), ["a2"]);
    let typo = cluster.ctl("connections close a1").expect(2);
    assert!(typo.stderr.contains("error: no connection is kept to a1\n  → did you mean a2?"), "{typo}");
    assert_eq!(cluster.kept(), ["a2"]);
    cluster.ctl("connections close").expect(0);
    eventually("the holder to end", || ended(holder));
    assert_eq!(cluster.kept(), Vec::<String>::new());
}

#[test]
fn the_inventory_says_which_are_kept_and_for_how_long() {
    let cluster = KeepingCluster::of(2, &spec());
    let text = fs::read_to_string(cluster.0.inventory()).unwrap();
    let text = text.replace("defaults: {", "defaults: {persist: 5m, ").replace("  a2: {", "  a2: {persist: 0s, ");
    fs::write(cluster.0.inventory(), text).unwrap();
    let status = "service contrail-collector status -o json --connect-timeout 60s";
    for _ in 0..2 {
        cluster.ctl(status).expect(0);
    }
    assert_eq!((cluster.0.connections(), cluster.kept()), (3, vec!["a1".to_owned()]));
    // The command line is stronger, and the last command decides how long.
    cluster.ctl(&format!("{status} --persist 100ms")).expect(0);
    eventually("the connections to be closed", || cluster.holders().is_empty().then_some(()));
}

/// The streams of commands: input, output, exit codes and signals, and the connections that several of them use.
#[test]
fn commands_run_as_over_other_connections() {
    let cluster = KeepingCluster::of(2, &spec());
    let input: String = (0..200_000).map(|number| format!("{number} ")).collect();
    let file = cluster.0.path("input");
    fs::write(&file, &input).unwrap();
    for round in 0..2 {
        let mut command = cluster.command(["exec", "-y", "-o", "json", "--persist", "5m", "--", "md5sum; echo e >&2"]);
        command.stdin(fs::File::open(&file).unwrap());
        let run = Running::start(command).finish().expect(0);
        let sum = Command::new("md5sum").stdin(fs::File::open(&file).unwrap()).output().unwrap().stdout;
        let result = run.result("a2");
        assert_eq!(result["stdout"].as_str().unwrap().as_bytes(), sum, "round {round}: {run}");
        assert_eq!(result["stderr"], "e\n");
    }
    let run = Running::start(cluster.command(["exec", "-y", "-o", "json", "--persist", "5m", "--", "kill -TERM $$"]));
    let run = run.finish().expect(1);
    assert_eq!((&run.result("a1")["exit_status"], &run.result("a1")["signal"]), (&().into(), &"TERM".into()), "{run}");
    let long = "head -c 3000000 /dev/zero | tr '\\0' x; exit 7";
    let run = Running::start(cluster.command(["exec", "-y", "-o", "json", "--persist", "5m", "--", long])).finish();
    assert_eq!(run.expect(1).result("a1")["exit_status"], 7);
    // A command that is given up ends on the node, though the connection stays.
    let words = ["exec", "-y", "--timeout", "2s", "-o", "json", "--persist", "5m", "--", "sleep 654"];
    Running::start(cluster.command(words)).finish().expect(1);
    for node in cluster.0.nodes() {
        eventually("the command to end", || {
            node.sh("pgrep -f '^sleep 654' || echo none").contains("none").then_some(())
        });
    }
    // Files both ways, logs, and everything that a status of the cluster reads.
    cluster.ctl("cp -y --persist 5m input :/run/input").expect(0);
    cluster.ctl("cp --persist 5m :/run/input back/").expect(0);
    assert_eq!(fs::read_to_string(cluster.0.path("back/a2/input")).unwrap(), input);
    cluster.ctl("logs contrail-collector --persist 5m").expect(0);
    let rounds = cluster.start("status --watch 100ms -o jsonl --persist 5m");
    let (kept, fresh) = (cluster.ctl("status --all -o json --persist 5m"), cluster.ctl("status --all -o json"));
    assert_eq!((kept.outcomes(), kept.code()), (fresh.outcomes(), fresh.code()), "{kept}");
    rounds.signal("INT");
    rounds.finish().expect(130);
    assert_eq!(cluster.0.connections(), 4);
}

#[test]
fn two_commands_at_once_share_what_is_made() {
    let cluster = KeepingCluster::of(4, &spec());
    let running: Vec<Running> = (0..4).map(|_| cluster.start(STATUS)).collect();
    for run in running {
        run.finish().expect(0);
    }
    assert_eq!((cluster.0.connections(), cluster.holders().len()), (4, 1));
}

#[test]
fn a_bastion_is_logged_in_to_once() {
    let cluster = KeepingCluster::of(3, &spec());
    let bastion = cluster.0.bastion(1, "");
    let line = format!("{STATUS} -J root@{}:{}", bastion.address(), bastion.endpoint.port());
    for _ in 0..2 {
        cluster.ctl(&line).expect(0);
    }
    assert_eq!((bastion.logins(), cluster.0.connections()), (1, 3), "{}", bastion.log());
    assert_eq!(cluster.kept(), ["-", "a1", "a2", "a3"]);
    // A node that comes later goes through the same login.
    cluster.ctl("connections close a2").expect(0);
    cluster.ctl(&line).expect(0);
    assert_eq!((bastion.logins(), cluster.0.connections()), (1, 4), "{}", bastion.log());
    // Another way to a node is another connection.
    cluster.ctl(STATUS).expect(0);
    assert_eq!((bastion.logins(), cluster.0.connections()), (1, 7));
}

/// A ProxyCommand runs where and as the command that wanted it would run it.
#[test]
fn a_proxy_command_runs_in_the_users_environment() {
    let cluster = KeepingCluster::of(1, &spec());
    let bastion = cluster.0.bastion(1, "");
    let config = cluster.0.path("ssh_config");
    let ssh = format!(
        "ssh -F none -o BatchMode=yes -i home/.ssh/id_ed25519 -o UserKnownHostsFile=home/.ssh/known_hosts -p {} -W %h:%p root@{}",
        bastion.endpoint.port(),
        bastion.address()
    );
    fs::write(&config, format!("Host *\n  ProxyCommand sh -c 'test \"$GATE\" = open && exec {ssh}'\n")).unwrap();
    let words = format!("{STATUS} --ssh-config {}", config.display());
    for _ in 0..2 {
        let mut command = cluster.command(words.split(' '));
        command.env("GATE", "open").env("SHELL", "/bin/sh");
        Running::start(command).finish().expect(0);
    }
    assert_eq!((cluster.0.connections(), bastion.logins()), (1, 1), "{}", bastion.log());
}

#[test]
fn a_holder_that_was_killed_is_replaced_without_a_word() {
    let cluster = KeepingCluster::of(2, &spec());
    cluster.ctl(STATUS).expect(0);
    let holder = cluster.the_holder();
    assert!(Command::new("kill").args(["-KILL", &holder.to_string()]).status().unwrap().success());
    eventually("the holder to end", || ended(holder));
    let again = cluster.ctl(STATUS).expect(0);
    assert_eq!((&*again.stderr, cluster.0.connections()), ("", 4), "{again}");
    assert_ne!(cluster.the_holder(), holder);
}

#[test]
fn a_connection_that_died_is_replaced_without_a_word() {
    let cluster = KeepingCluster::of(2, &spec());
    let line = STATUS.replace("60s", "5s");
    cluster.ctl(STATUS).expect(0);
    // One is closed by the node; the other is there and does not answer any longer.
    cluster.0.node("a1").cut_connections();
    cluster.0.node("a2").signal_connections("STOP");
    let again = cluster.ctl(&line).expect(0);
    assert_eq!((&*again.stderr, cluster.0.connections()), ("", 4), "{again}");
    assert_eq!(cluster.kept(), ["a1", "a2"]);
}

#[test]
fn a_host_key_that_is_not_known_any_longer_is_not_trusted() {
    let cluster = KeepingCluster::of(1, &spec());
    cluster.ctl(STATUS).expect(0);
    let file = cluster.0.home().join(".ssh/known_hosts");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(&file, "").unwrap();
    let refused = cluster.ctl(STATUS).expect(4);
    assert_eq!(refused.result("a1")["failure"]["kind"], "host_key_unknown", "{refused}");
    fs::write(&file, format!("{known}@revoked * {}", known.split_once(' ').unwrap().1)).unwrap();
    let refused = cluster.ctl(STATUS).expect(4);
    assert_eq!(refused.result("a1")["failure"]["kind"], "host_key_revoked", "{refused}");
    fs::write(&file, known).unwrap();
    cluster.ctl(STATUS).expect(0);
}

#[test]
fn other_settings_make_another_connection() {
    let cluster = KeepingCluster::of(1, &spec());
    for (settings, connections) in [("", 1), ("-u ctlops", 2), ("", 2), ("-u ctlops", 2)] {
        let run = cluster.ctl(&format!("exec -y -o json --persist 5m {settings} -- id -un")).expect(0);
        let user = if settings.is_empty() { "root\n" } else { "ctlops\n" };
        assert_eq!((&run.result("a1")["stdout"], cluster.0.connections()), (&user.into(), connections), "{run}");
    }
    let config = cluster.0.path("ssh_config");
    fs::write(&config, "Host *\n  Ciphers aes256-gcm@openssh.com\n").unwrap();
    let line = format!("{STATUS} --ssh-config {}", config.display());
    for connections in [3, 3] {
        cluster.ctl(&line).expect(0);
        assert_eq!(cluster.0.connections(), connections);
    }
    fs::write(&config, "Host *\n  Ciphers aes128-gcm@openssh.com\n").unwrap();
    cluster.ctl(&line).expect(0);
    assert_eq!(cluster.0.connections(), 4);
}

fn is_locked(node: &Node) -> bool {
    node.sh("flock -n /run/lock true && echo free || echo held").trim() == "held"
}

/// The controller is killed during a restart over connections that stay: guards and locks end with it all the same.
#[test]
fn guards_and_locks_end_with_their_run() {
    let program = Program::slow_to_stop("contrail-collector", 3);
    let cluster = KeepingCluster::of(2, &NodeSpec::new(Instance::analytics().with(program)));
    cluster.ctl(STATUS).expect(0);
    let pid = |node: &Node| node.process("contrail-collector").unwrap().pid;
    let before: Vec<u32> = cluster.0.nodes().iter().map(pid).collect();
    let run = cluster.start("service contrail-collector restart --rolling --stable 0s -y -o json --persist 5m");
    let [first, second] = ["a1", "a2"].map(|name| cluster.0.node(name));
    first.wait_for("contrail-collector", "STOPPING");
    assert!(is_locked(first) && is_locked(second));
    run.signal("KILL");
    drop(run.finish());
    eventually("the locks to be released", || (!is_locked(first) && !is_locked(second)).then_some(()));
    first.wait_for("contrail-collector", "RUNNING");
    assert!(pid(first) != before[0] && pid(second) == before[1]);
    // Over the same connections, which were not closed for that.
    assert_eq!(cluster.kept(), ["a1", "a2"]);
    cluster.ctl("service contrail-collector restart -y -o json --persist 5m").expect(0);
    assert_eq!(cluster.0.connections(), 2);
    assert!(!is_locked(first) && !is_locked(second));
}

#[test]
fn a_place_that_is_not_the_users_own_is_not_used() {
    let cluster = KeepingCluster::of(1, &spec());
    let directory = cluster.runtime().join("ctl");
    fs::create_dir(&directory).unwrap();
    for (owner, mode, reason) in [(1234, 0o700, "belongs to UID 1234"), (0, 0o770, "mode 0770")] {
        chown(&directory, Some(owner), None).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let status = cluster.ctl(STATUS).expect(0);
        assert!(status.stderr.contains("connections are not kept: ") && status.stderr.contains(reason), "{status}");
        assert_eq!((cluster.holders(), fs::read_dir(&directory).unwrap().count()), (Vec::new(), 0));
    }
    assert_eq!(cluster.0.connections(), 2);
    // A listener there belongs to somebody else.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    cluster.ctl(STATUS).expect(0);
    let socket = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let socket = socket.into_iter().find(|path| path.extension().is_some_and(|end| end == "sock")).unwrap();
    let holder = cluster.the_holder();
    cluster.ctl("connections close").expect(0);
    eventually("the holder to end", || ended(holder));
    let script = "import os, socket, sys, time\n\
                  s = socket.socket(socket.AF_UNIX)\n\
                  s.bind(sys.argv[1])\n\
                  os.setuid(1234)\n\
                  s.listen()\n\
                  print('listening', flush=True)\n\
                  time.sleep(600)\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(&socket);
    let stranger = Running::start(command);
    eventually("the stranger to listen", || std::os::unix::net::UnixStream::connect(&socket).ok());
    let status = cluster.ctl(STATUS).expect(0);
    assert!(status.stderr.contains("UID 1234"), "{status}");
    assert_eq!(cluster.ctl("connections list").expect(2).stdout, "");
    stranger.signal("KILL");
    drop(stranger.finish());
}

/// The holder of another version keeps nothing any longer once this version is in use.
#[test]
fn a_holder_of_another_version_is_asked_to_end() {
    let cluster = KeepingCluster::of(1, &spec());
    let directory = cluster.runtime().join("ctl");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let other = std::os::unix::net::UnixListener::bind(directory.join("connections-0.0.1-1.sock")).unwrap();
    cluster.ctl(STATUS).expect(0);
    let (mut stream, _) = other.accept().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stream, &mut said).unwrap();
    assert!(said.ends_with("\"Retire\""), "{said:?}");
}

/// Whether the memory of a process holds a text: all that it may write to.
fn memory_holds(pid: u32, text: &str) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut bytes_read = 0;
    let found = maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        memory.seek(SeekFrom::Start(from)).unwrap();
        let mut bytes = Vec::new();
        drop(memory.by_ref().take(to - from).read_to_end(&mut bytes));
        bytes_read += bytes.len();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    });
    assert!(bytes_read > 100_000, "{bytes_read} bytes");
    found
}

#[test]
fn a_password_is_asked_for_once_and_not_kept() {
    let cluster = KeepingCluster::of(2, &spec().sshd("PasswordAuthentication yes\nPermitRootLogin yes"));
    fs::remove_file(cluster.0.home().join(".ssh/id_ed25519")).unwrap();
    for node in cluster.0.nodes() {
        node.sh("echo 'root:tr0ub4dor&3' | chpasswd");
    }
    let (line, runtime) = (format!("{} --ask-pass", STATUS.replace(" -o json", "")), cluster.runtime());
    let at_a_terminal = || cluster.0.at_a_terminal_with(&line, &[("XDG_RUNTIME_DIR", &runtime)]);
    let mut screen = at_a_terminal();
    screen.answer_unseen("SSH password for the nodes", "tr0ub4dor&3");
    screen.finish().expect(0);
    assert!(memory_holds(cluster.the_holder(), "a2") && !memory_holds(cluster.the_holder(), "tr0ub4dor&3"));
    let again = at_a_terminal().finish().expect(0);
    assert!(!again.stderr.contains("SSH password"), "{again}");
    assert_eq!(cluster.0.connections(), 2);
    // For a node that has to be logged in to it is asked for again; also for one that does not answer any longer.
    cluster.0.node("a2").signal_connections("STOP");
    let mut screen = at_a_terminal();
    screen.answer_unseen("SSH password for the nodes", "tr0ub4dor&3");
    screen.finish().expect(0);
    assert_eq!(cluster.0.connections(), 3);
}

#[test]
fn a_passphrase_is_asked_for_once_and_its_key_not_kept() {
    let cluster = KeepingCluster::of(2, &spec());
    let key = cluster.0.home().join(".ssh/id_ed25519");
    let clear = fs::read_to_string(&key).unwrap();
    let locked =
        Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "correct horse", "-f"]).arg(&key).output();
    assert!(locked.unwrap().status.success());
    let (line, runtime) = (STATUS.replace(" -o json", ""), cluster.runtime());
    let at_a_terminal = || cluster.0.at_a_terminal_with(&line, &[("XDG_RUNTIME_DIR", &runtime)]);
    let mut screen = at_a_terminal();
    screen.answer_unseen("Passphrase for", "correct horse");
    screen.finish().expect(0);
    // The private half stands in the last lines but one.
    let lines: Vec<&str> = clear.lines().collect();
    let secret = lines[lines.len() - 3].trim();
    assert!(!memory_holds(cluster.the_holder(), "correct horse") && !memory_holds(cluster.the_holder(), secret));
    let again = at_a_terminal().finish().expect(0);
    assert!(!again.stderr.contains("Passphrase"), "{again}");
    // Without a terminal too, though nobody could be asked.
    cluster.ctl(STATUS).expect(0);
    assert_eq!(cluster.0.connections(), 2);
}
