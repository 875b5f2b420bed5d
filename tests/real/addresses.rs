//! Hosts with several addresses, some of which do not answer. ctl must reach the same address as `ssh`.
//!
//! The names are in an /etc/hosts that exists only in the client's mount namespace.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Cluster, Finished, Instance, NodeSpec, Program, Running};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// Two listeners: one with a full backlog, so that the kernel drops every further SYN, and one that accepts and never
/// sends.
struct DeadAddresses {
    runtime: tokio::runtime::Runtime,
    held: Vec<TcpStream>,
    listeners: Vec<tokio::net::TcpListener>,
}

impl DeadAddresses {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, held: Vec::new(), listeners: Vec::new() }
    }

    /// Drops every SYN.
    fn black_hole(&mut self, address: Ipv4Addr, port: u16) {
        self.runtime.block_on(async {
            self.listeners.push(listen(address, port, 0));
            for _ in 0..8 {
                let connect = TcpStream::connect((address, port));
                match tokio::time::timeout(Duration::from_millis(300), connect).await {
                    Ok(connected) => self.held.push(connected.unwrap()),
                    Err(_) => return,
                }
            }
            panic!("the backlog of {address} is not full");
        });
    }

    /// Completes the TCP handshake and sends nothing.
    fn mute(&mut self, address: Ipv4Addr, port: u16) {
        self.runtime.block_on(async { self.listeners.push(listen(address, port, 128)) });
    }
}

fn listen(address: Ipv4Addr, port: u16, backlog: u32) -> tokio::net::TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, port))).unwrap();
    socket.listen(backlog).unwrap()
}

/// One node, `a1`, and addresses of other kinds. The inventory has `multi`, whose addresses each run sets.
struct Names {
    cluster: Cluster,
    dead: DeadAddresses,
}

impl Names {
    fn new() -> Self {
        let cluster = Cluster::of(1, &spec());
        let known = cluster.home().join(".ssh/known_hosts");
        let text = fs::read_to_string(&known).unwrap();
        let by_name = text.replace(&format!("[{}]", cluster.node("a1").endpoint.ip()), "[multi]");
        fs::write(&known, text + &by_name).unwrap();
        Self { cluster, dead: DeadAddresses::new() }
    }

    fn port(&self) -> u16 {
        self.cluster.node("a1").endpoint.port()
    }

    fn good(&self) -> Ipv4Addr {
        *self.cluster.node("a1").endpoint.ip()
    }

    fn dead_address(&self, number: u8) -> Ipv4Addr {
        self.cluster.bare_address(number)
    }

    /// Writes an inventory with one node, `multi`, and these settings.
    fn inventory(&self, settings: &str) -> String {
        let path = self.cluster.path("multi.yaml");
        let text = format!(
            "version: 1\ndefaults: {{user: root, port: {}}}\nnodes:\n  multi: {{roles: [analytics]{settings}}}\n",
            self.port()
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a command in a namespace where the names have these addresses, in this order.
    fn with_hosts(&self, hosts: &[(&str, Ipv4Addr)], words: &[&str]) -> Finished {
        let file = self.cluster.path("hosts");
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (name, address) in hosts {
            text.push_str(&format!("{address} {name}\n"));
        }
        fs::write(&file, text).unwrap();
        let mut command = self.cluster.at_home("sh");
        command.args(["-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(&file).args(words);
        Running::start(command).finish()
    }

    fn ping(&self, addresses: &[Ipv4Addr], more: &[&str]) -> Finished {
        let inventory = self.inventory("");
        let hosts: Vec<_> = addresses.iter().map(|address| ("multi", *address)).collect();
        let mut words = vec![env!("CARGO_BIN_EXE_ctl"), "ping", "-i", &inventory, "-o", "json"];
        words.extend(more);
        self.with_hosts(&hosts, &words)
    }
}

#[test]
fn an_address_that_does_not_greet_does_not_hide_the_next() {
    let mut names = Names::new();
    let (hole, mute, good) = (names.dead_address(1), names.dead_address(2), names.good());
    names.dead.black_hole(hole, names.port());
    names.dead.mute(mute, names.port());
    let refused = names.dead_address(3);
    for first in [hole, mute, refused] {
        for addresses in [[first, good], [good, first]] {
            names.ping(&addresses, &[]).expect(0);
        }
    }
    names.ping(&[hole, mute, refused, good], &["--connect-timeout", "20s", "--retries", "0"]).expect(0);
    // No connection waited for the login timeout: those that lost the race are closed.
    let log = names.cluster.node("a1").sshd_log();
    assert!(!log.contains("Timeout before authentication"), "{log}");
}

#[test]
fn each_address_has_its_own_reason() {
    let mut names = Names::new();
    let (hole, mute, refused) = (names.dead_address(1), names.dead_address(2), names.dead_address(3));
    names.dead.black_hole(hole, names.port());
    names.dead.mute(mute, names.port());
    let finished = names.ping(&[hole, mute, refused], &["--connect-timeout", "3s"]).expect(4);
    let failure = &finished.result("multi")["failure"];
    let message = failure["message"].as_str().unwrap();
    for reason in [
        format!("{hole}: timed out"),
        format!("{mute}: connected, but no SSH greeting came within 3.0 s"),
        format!("{refused}: connection refused"),
    ] {
        assert!(message.contains(&reason), "{reason} is missing\n{finished}");
    }
    assert_eq!(failure["kind"], "banner", "{finished}");
}

#[test]
fn bastions_have_several_addresses_too() {
    let mut names = Names::new();
    let hole = names.dead_address(1);
    names.dead.black_hole(hole, names.port());
    let bastion = names.cluster.bastion(5, "");
    let known = names.cluster.home().join(".ssh/known_hosts");
    let text = fs::read_to_string(&known).unwrap();
    let by_name = text.replace(&format!("[{}]", bastion.address()), "[gate]");
    fs::write(&known, text + &by_name).unwrap();
    let inventory = names.inventory(&format!(", address: {}, jump: \"root@gate:{}\"", names.good(), names.port()));
    for hosts in [[("gate", hole), ("gate", bastion.address())], [("gate", bastion.address()), ("gate", hole)]] {
        let words = [env!("CARGO_BIN_EXE_ctl"), "ping", "-i", &inventory, "-o", "json"];
        names.with_hosts(&hosts, &words).expect(0);
    }
}

/// The host key prompt and known_hosts use the host's name, whichever of its addresses answered.
#[test]
fn the_key_of_a_host_with_a_silent_address_is_asked_about() {
    let mut names = Names::new();
    let hole = names.dead_address(1);
    names.dead.black_hole(hole, names.port());
    let inventory = names.inventory("");
    let known = names.cluster.path("known");
    fs::write(&known, "").unwrap();
    let (tty, out) = (names.cluster.path("tty"), names.cluster.path("out.json"));
    let (ctl, known_hosts) = (env!("CARGO_BIN_EXE_ctl"), known.display());
    let (tty, out) = (tty.display(), out.display());
    // `script` hangs up its terminal when its input ends.
    let script = format!(
        "until_true() {{ for i in $(seq 600); do \"$@\" 2>/dev/null && break; sleep 0.1; done; }}
         (until_true grep -q '(yes/no)' {tty}; echo yes; until_true test -s {out}) |
         script --quiet --return --flush --command '{ctl} ping -i {inventory} --known-hosts {known_hosts} \
             --ssh-config none -o json --out {out}' {tty}"
    );
    let finished = names.with_hosts(&[("multi", hole), ("multi", names.good())], &["sh", "-c", &script]);
    assert!(finished.stdout.contains("(yes/no)"), "{finished}");
    let written = fs::read_to_string(&known).unwrap_or_default();
    assert!(written.starts_with(&format!("[multi]:{} ssh-ed25519 ", names.port())), "{written}\n{finished}");
}
