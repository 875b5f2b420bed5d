//! Nodes behind bastions and proxy commands, with OpenSSH's server.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::{Bastion, Cluster, Instance, NodeSpec, Program, Running};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// Long timeouts, because several processes are involved and the machine may be busy.
const STATUS: &str = "service contrail-collector status -o json --connect-timeout 60s";

/// The `-J` argument for a bastion.
fn jump(bastion: &Bastion) -> String {
    format!("root@{}:{}", bastion.address(), bastion.endpoint.port())
}

/// The only failure kind of all results, and a message.
fn failure(finished: &crate::harness::Finished) -> (String, String) {
    let results = finished.results();
    let kinds: std::collections::BTreeSet<_> =
        results.iter().map(|result| result["failure"]["kind"].as_str().unwrap_or("-").to_owned()).collect();
    assert_eq!(kinds.len(), 1, "{finished}");
    let failure = &results[0]["failure"];
    assert!(failure["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{finished}");
    (kinds.into_iter().next().unwrap(), failure["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn one_connection_for_all_nodes_behind_it() {
    let cluster = Cluster::of(4, &spec());
    let bastion = cluster.bastion(1, "");
    let finished = cluster
        .ctl(&format!("service contrail-collector restart -y -o json --connect-timeout 60s -J {}", jump(&bastion)))
        .expect(0);
    assert_eq!(finished.json()["summary"]["nodes_by_outcome"]["changed"], 4, "{finished}");
    assert_eq!(bastion.logins(), 1, "{}", bastion.log());
    // Each node was reached from the bastion, once.
    assert_eq!(cluster.connections(), 4);
}

#[test]
fn a_chain_of_bastions() {
    let cluster = Cluster::of(2, &spec());
    let (outer, inner) = (cluster.bastion(1, ""), cluster.bastion(2, ""));
    cluster.ctl(&format!("{STATUS} -J {},{}", jump(&outer), jump(&inner))).expect(0);
    assert_eq!((outer.logins(), inner.logins()), (1, 1), "{}\n{}", outer.log(), inner.log());
}

/// A key configured for the nodes is also tried at the bastion, after the one that ssh_config names for the bastion.
#[test]
fn the_nodes_key_at_the_bastion() {
    let cluster = Cluster::of(2, &spec());
    let bastion = cluster.bastion(1, "");
    let key = cluster.path("elsewhere");
    fs::rename(cluster.home().join(".ssh/id_ed25519"), &key).unwrap();
    cluster.ctl(&format!("{STATUS} --identity {} -J {}", key.display(), jump(&bastion))).expect(0);
    let config = cluster.path("ssh_config");
    let stranger = cluster.new_key("stranger");
    fs::write(&config, format!("Host {}\n  IdentityFile {}\n", bastion.address(), stranger.display())).unwrap();
    let line = format!("{STATUS} --identity {} --ssh-config {} -J {}", key.display(), config.display(), jump(&bastion));
    cluster.ctl(&line).expect(0);
    assert_eq!(bastion.logins(), 2, "{}", bastion.log());
}

#[test]
fn bastions_of_the_inventory_and_of_ssh_config() {
    let cluster = Cluster::of(2, &spec());
    let (one, two) = (cluster.bastion(1, ""), cluster.bastion(2, ""));
    let config = cluster.path("ssh_config");
    fs::write(
        &config,
        format!(
            "Host hop\n  HostName {}\n  Port {}\n  User root\nHost a2\n  ProxyJump hop\nHost a1\n  ProxyJump nowhere.invalid\n",
            two.address(),
            two.endpoint.port()
        ),
    )
    .unwrap();
    let text = fs::read_to_string(cluster.inventory()).unwrap();
    let text = text.replace("  a1: {", &format!("  a1: {{jump: \"{}\", ", jump(&one)));
    fs::write(cluster.inventory(), text).unwrap();
    // For a1 the inventory takes precedence over ssh_config; for a2 it has no setting.
    cluster.ctl(&format!("{STATUS} --ssh-config {}", config.display())).expect(0);
    assert_eq!((one.logins(), two.logins()), (1, 1), "{}\n{}", one.log(), two.log());
    // The command line takes precedence.
    cluster.ctl(&format!("{STATUS} --ssh-config {} -J none", config.display())).expect(0);
    assert_eq!((one.logins(), two.logins()), (1, 1));
}

#[test]
fn proxy_commands() {
    let cluster = Cluster::of(2, &spec());
    let bastion = cluster.bastion(1, "");
    let config = cluster.path("ssh_config");
    let ssh = format!(
        "ssh -F none -o BatchMode=yes -i {0}/.ssh/id_ed25519 -o UserKnownHostsFile={0}/.ssh/known_hosts -p {1} -W %h:%p root@{2}",
        cluster.home().display(),
        bastion.endpoint.port(),
        bastion.address()
    );
    fs::write(&config, format!("Host *\n  ProxyCommand {ssh}\n")).unwrap();
    let line = format!("{STATUS} --ssh-config {}", config.display());
    cluster.ctl(&line).expect(0);
    assert_eq!(bastion.logins(), 2, "{}", bastion.log());

    fs::write(&config, "Host *\n  ProxyCommand no-such-program-here %h\n").unwrap();
    let (kind, message) = failure(&cluster.ctl(&line).expect(4));
    assert_eq!(kind, "proxy");
    assert!(message.contains("no-such-program-here") && message.contains("127"), "{message}");

    fs::write(&config, "Host *\n  ProxyCommand sh -c 'echo the way is closed >&2; exit 3'\n").unwrap();
    let (kind, message) = failure(&cluster.ctl(&line).expect(4));
    assert_eq!(kind, "proxy");
    assert!(message.contains("the way is closed") && message.contains('3'), "{message}");
    assert_eq!(cluster.connections(), 2, "a connection bypassed the bastion");
}

#[test]
fn bastions_that_fail() {
    let cluster = Cluster::of(3, &spec());
    let mut bastion = cluster.bastion(1, "AllowUsers root");
    let line = format!("{STATUS} -J {}", jump(&bastion));

    // The bastion refuses connections.
    bastion.kill();
    let finished = cluster.ctl(&line).expect(4);
    let (kind, message) = failure(&finished);
    assert_eq!(kind, "proxy", "{finished}");
    assert!(message.contains(&bastion.address().to_string()) && message.contains("refused"), "{message}");

    // The host key of the bastion has changed.
    let known_hosts = cluster.home().join(".ssh/known_hosts");
    let known = fs::read_to_string(&known_hosts).unwrap();
    let other = fs::read_to_string(cluster.new_key("other").with_extension("pub")).unwrap();
    let place = format!("[{}]:{}", bastion.address(), bastion.endpoint.port());
    let changed: String = known
        .lines()
        .map(|line| if line.starts_with(&place) { format!("{place} {other}") } else { format!("{line}\n") })
        .collect();
    fs::write(&known_hosts, changed).unwrap();
    bastion.listen();
    let (kind, message) = failure(&cluster.ctl(&line).expect(4));
    assert_eq!(kind, "host_key_changed");
    assert!(message.contains("bastion"), "{message}");
    fs::write(&known_hosts, known).unwrap();

    // The bastion rejects this user.
    let other_user = line.replace("root@", "nobody@");
    let (kind, message) = failure(&cluster.ctl(&other_user).expect(4));
    assert_eq!(kind, "auth");
    assert!(message.contains("bastion"), "{message}");
    assert_eq!(cluster.connections(), 0);
}

#[test]
fn a_bastion_that_forbids_forwarding() {
    let cluster = Cluster::of(1, &spec());
    let bastion = cluster.bastion(1, "AllowTcpForwarding no");
    let (kind, message) = failure(&cluster.ctl(&format!("{STATUS} -J {}", jump(&bastion))).expect(4));
    assert_eq!(kind, "proxy");
    assert!(message.contains("forbids"), "{message}");
}

#[test]
fn a_node_that_the_bastion_does_not_reach() {
    let cluster = Cluster::builder().nodes("a", 1, &spec()).refused("x1", "analytics").start();
    let bastion = cluster.bastion(1, "");
    let finished = cluster.ctl(&format!("{STATUS} -J {}", jump(&bastion))).expect(4);
    assert_eq!(finished.result("a1")["outcome"], "ok", "{finished}");
    assert_eq!(finished.result("x1")["failure"]["kind"], "unreachable_network", "{finished}");
}

/// Nodes in progress when the bastion dies have correct results, and nodes not yet started use a new connection.
#[test]
fn a_bastion_that_dies_in_the_middle() {
    let slow = NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3)));
    let cluster = Cluster::of(4, &slow);
    let mut bastion = cluster.bastion(1, "");
    let before: Vec<_> = cluster.nodes().iter().map(|node| node.process("contrail-collector")).collect();
    let line = format!(
        "service contrail-collector restart --serial 2 --max-failures 4 -y -o json --connect-timeout 60s -J {}",
        jump(&bastion)
    );
    let running: Running = cluster.ctl_start(&line);
    // The guards of both nodes of the first batch are armed. Nothing is stopped before that.
    for node in ["a1", "a2"] {
        cluster.node(node).wait_for("contrail-collector", "STOPPING");
    }
    bastion.kill();
    // It refuses connections for a while, like a bastion that is restarting, so that the nodes in progress must retry.
    std::thread::sleep(Duration::from_secs(2));
    bastion.listen();
    let finished = running.finish();
    assert_eq!(finished.json()["summary"]["nodes_by_outcome"]["changed"], 4, "{finished}\n{}", bastion.log());
    assert_eq!(finished.code(), Some(0), "{finished}");
    for (node, before) in cluster.nodes().iter().zip(before) {
        let now = node.process("contrail-collector");
        assert!(now.is_some() && now != before, "{} was restarted", node.name);
    }
    assert!(bastion.logins() >= 2, "{}", bastion.log());
}

/// An inventory of hosts that run only an sshd.
fn bare_hosts(places: &[(Ipv4Addr, u16)], rest: &str) -> String {
    let line = |(n, (address, port)): (usize, &(Ipv4Addr, u16))| {
        format!("  n{n}: {{address: \"{address}\", port: {port}, user: root, roles: [analytics]{rest}}}\n")
    };
    format!("version: 1\nnodes:\n{}", places.iter().enumerate().map(line).collect::<String>())
}

/// sshd drops some unauthenticated connections: ctl retries them, with fewer at once.
#[test]
fn a_burst_of_logins_at_one_address() {
    let cluster = Cluster::of(1, &spec());
    // sshd accepts at most 16 ports.
    let ports = 9001..=9015;
    let lines: String = ports.clone().map(|port| format!("Port {port}\n")).collect();
    let crowded = cluster.bastion(1, &format!("MaxStartups 2:70:4\n{lines}"));
    let inventory = cluster.path("crowd.yaml");
    let places: Vec<_> = ports.map(|port| (crowded.address(), port)).collect();
    fs::write(&inventory, bare_hosts(&places, "")).unwrap();
    let line =
        format!("exec -i {} -y -o json --connect-timeout 20s --host-key accept-new -- true", inventory.display());
    let finished = cluster.ctl(&line).expect(0);
    assert_eq!(finished.json()["summary"]["nodes_by_outcome"]["changed"], places.len(), "{finished}");
    assert!(crowded.log().contains("MaxStartups"), "expected sshd to drop connections:\n{}", crowded.log());
    assert!(finished.stderr.contains("MaxStartups"), "{finished}");
}

/// Behind such a bastion all nodes use one connection.
#[test]
fn a_hundred_nodes_behind_a_bastion_with_few_startups() {
    let cluster = Cluster::of(1, &spec());
    let bastion = cluster.bastion(1, "MaxStartups 10:30:60");
    let [a, b, c, _] = bastion.address().octets();
    let mut places = Vec::new();
    let hosts: Vec<Bastion> = (0..10)
        .map(|group| {
            let own: Vec<_> = (0..10).map(|n| Ipv4Addr::new(a, b, c, 60 + group * 10 + n)).collect();
            let lines: String = own.iter().map(|address| format!("ListenAddress {address}\n")).collect();
            let host = cluster.bastion(2 + group, &format!("MaxStartups 200\n{lines}"));
            places.extend(own.into_iter().map(|address| (address, host.endpoint.port())));
            host
        })
        .collect();
    let inventory = cluster.path("crowd.yaml");
    fs::write(&inventory, bare_hosts(&places, &format!(", jump: \"{}\"", jump(&bastion)))).unwrap();
    // They run no supervisord; the test checks only that they were contacted.
    let line = format!("status -i {} -o json --connect-timeout 20s --host-key accept-new", inventory.display());
    let finished = cluster.ctl(&line);
    assert_eq!(finished.json()["summary"]["nodes"], 100, "{finished}");
    assert_eq!(finished.json()["summary"]["unreachable"], 0, "{finished}");
    assert_eq!(bastion.logins(), 1);
    assert_eq!(hosts.iter().map(Bastion::logins).sum::<usize>(), 100);
}
