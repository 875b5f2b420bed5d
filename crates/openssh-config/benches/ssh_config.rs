//! ssh_config for 5,000 nodes: a file of about a hundred lines with `Match` and `Include` is read once, and resolved
//! for each node.
//!
//!     cargo bench -p openssh-config

use std::fmt::Write;
use std::fs;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use openssh_config::{ConfigOrigin, HostQuery, OperatorEnv, ResolvedSetting, SshConfig};

const NODES: usize = 5_000;

fn main() {
    divan::main();
}

/// What an operator of several sites might have.
fn config(included: &str) -> String {
    let mut text = format!("IgnoreUnknown UseKeychain\nUseKeychain yes\nInclude {included}\n\n");
    for site in 0..12 {
        // Writing to a String cannot fail.
        let _written: std::fmt::Result = write!(
            text,
            "Host site{site}-bastion\n  HostName bastion.site{site}.example.net\n  User jump\n  Port 2222\n\nHost node{site}* !*-old\n  ProxyJump site{site}-bastion\n"
        );
    }
    text.push_str(
        "Match host node*,10.* user contrail\n  IdentityFile ~/.ssh/id_contrail\n  IdentitiesOnly yes\n\nMatch originalhost *-old\n  HostKeyAlgorithms +ssh-rsa\n  PubkeyAcceptedAlgorithms +ssh-rsa\n\nHost *\n  User contrail\n  ConnectTimeout 5\n  ServerAliveInterval 15\n  UserKnownHostsFile ~/.ssh/known_hosts ~/.ssh/known_hosts.site\n  StrictHostKeyChecking yes\n  HashKnownHosts no\n  Ciphers ^aes256-gcm@openssh.com\n",
    );
    text
}

fn operator() -> OperatorEnv {
    OperatorEnv {
        home: Some("/home/operator".into()),
        user: "operator".to_owned(),
        hostname: "bench".to_owned(),
        ..OperatorEnv::default()
    }
}

fn load() -> Option<SshConfig> {
    let directory = tempfile::tempdir().ok()?;
    let included = directory.path().join("defaults");
    fs::write(&included, "Host *.example.net\n  IdentityFile ~/.ssh/id_sites\n\nHost *\n  ServerAliveCountMax 4\n")
        .ok()?;
    let main = directory.path().join("config");
    fs::write(&main, config(&included.display().to_string())).ok()?;
    SshConfig::load(&main, &operator()).ok()
}

#[divan::bench]
fn read() -> bool {
    black_box(load()).is_some()
}

#[divan::bench(args = [false, true])]
fn resolve_5000_nodes(bencher: Bencher<'_, '_>, with_address: bool) {
    let Some(config) = load() else { return };
    let operator = operator();
    let nodes: Vec<(String, String)> =
        (0..NODES).map(|node| (format!("node{node}"), format!("10.0.{}.{}", node / 250, node % 250))).collect();
    bencher.counter(ItemsCount::new(NODES)).bench(|| {
        let resolved = nodes.iter().filter(|(name, address)| {
            let address = ResolvedSetting { value: address.as_str(), origin: ConfigOrigin::Inventory("node".into()) };
            let query = HostQuery { host: name, address: with_address.then_some(address), ..HostQuery::default() };
            black_box(config.resolve(&query, &operator, &|_| Ok(false))).is_ok()
        });
        assert_eq!(resolved.count(), NODES);
    });
}
