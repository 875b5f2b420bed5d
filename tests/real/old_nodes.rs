//! Old nodes: CentOS 6 with OpenSSH 5.3 and Ubuntu 14.04 with 6.6. A newer sshd stands in for them, restricted to the
//! algorithms that these two have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contrail_ctl::event::FailureKind;
use contrail_ctl::transport::{
    AlgorithmLists, AllowedFamilies, AuthMethod, Endpoint, HostKeyPolicy, HostKeySettings, Keepalive, LoginSettings,
    ProxyRoute, RunSshSettings, Session as _, SshSession, SshTransport, Transport as _, TransportError,
};

use crate::harness::{Cluster, Instance, NodeSpec, Program};

/// OpenSSH 5.3, without the algorithms that newer sshds no longer support (arcfour, blowfish, cast128, ripemd160).
fn centos_6(spec: NodeSpec) -> NodeSpec {
    spec.with_host_keys(&["rsa"])
        .sshd(
            "KexAlgorithms diffie-hellman-group-exchange-sha256,diffie-hellman-group-exchange-sha1,\
             diffie-hellman-group14-sha1,diffie-hellman-group1-sha1",
        )
        .sshd("HostKeyAlgorithms ssh-rsa")
        .sshd("Ciphers aes128-ctr,aes192-ctr,aes256-ctr,aes128-cbc,3des-cbc,aes192-cbc,aes256-cbc")
        .sshd("MACs hmac-md5,hmac-sha1,umac-64@openssh.com,hmac-sha1-96,hmac-md5-96")
        .sshd("AllowStreamLocalForwarding no")
}

/// OpenSSH 6.6, likewise. It has no ecdsa host key here, so that the known key decides which one is requested.
fn ubuntu_14_04(spec: NodeSpec) -> NodeSpec {
    spec.with_host_keys(&["rsa", "ed25519"])
        .sshd(
            "KexAlgorithms curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
             diffie-hellman-group-exchange-sha256,diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha1,\
             diffie-hellman-group1-sha1",
        )
        .sshd("HostKeyAlgorithms ssh-rsa,ssh-ed25519")
        .sshd(
            "Ciphers aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
             chacha20-poly1305@openssh.com,aes128-cbc,3des-cbc",
        )
        .sshd(
            "MACs hmac-md5-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64-etm@openssh.com,umac-128-etm@openssh.com,\
             hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-md5,hmac-sha1,umac-64@openssh.com,\
             hmac-sha2-256,hmac-sha2-512",
        )
        .sshd("AllowStreamLocalForwarding no")
}

/// The algorithms that a connection may negotiate.
#[derive(Clone, Copy, Default)]
struct Allowed<'a> {
    host_keys: Option<&'a str>,
    kex: Option<&'a str>,
    ciphers: Option<&'a str>,
    macs: Option<&'a str>,
}

/// The minimum settings for CentOS 6.
const FOR_CENTOS_6: Allowed<'_> =
    Allowed { host_keys: Some("ssh-ed25519,rsa-sha2-512,ssh-rsa"), macs: None, kex: None, ciphers: None };

fn endpoint(cluster: &Cluster, node: &str, allowed: Allowed<'_>) -> Endpoint {
    let list = |names: Option<&str>| names.map(|names| names.split(',').map(str::to_owned).collect());
    let address = cluster.node(node).endpoint;
    let ssh = cluster.home().join(".ssh");
    Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        family: AllowedFamilies::Any,
        bind: None,
        proxy: ProxyRoute::Direct,
        login: LoginSettings {
            user: "root".to_owned(),
            identities: ["id_rsa", "id_ed25519"].map(|name| ssh.join(name)).to_vec(),
            identities_named: false,
            certificates: Vec::new(),
            identities_only: true,
            agent: None,
            methods: vec![AuthMethod::PublicKey],
        },
        host_keys: Arc::new(HostKeySettings {
            user_files: vec![ssh.join("known_hosts")],
            global_files: Vec::<PathBuf>::new(),
            revoked: Vec::new(),
            alias: None,
            policy: HostKeyPolicy::Strict,
            hash_names: false,
            min_rsa_bits: 1024,
        }),
        algorithms: Arc::new(AlgorithmLists {
            host_keys: list(allowed.host_keys),
            kex: list(allowed.kex),
            ciphers: list(allowed.ciphers),
            macs: list(allowed.macs),
            accepted: None,
        }),
        keepalive: Keepalive { interval: Duration::ZERO, count: 0, when_idle: false },
        connect_timeout: Duration::from_secs(60),
        retries: 0,
        keep: None,
    }
}

/// Runs the future on its own runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn connect(cluster: &Cluster, node: &str, allowed: Allowed<'_>) -> Result<SshSession, TransportError> {
    let (transport, _notices) = SshTransport::new(RunSshSettings::default());
    transport.connect(&endpoint(cluster, node, allowed)).await
}

/// Connects, and transfers more than one packet, which fails if the two sides derive different keys.
#[track_caller]
fn works(cluster: &Cluster, node: &str, allowed: Allowed<'_>) {
    let said = block_on(async {
        let session = connect(cluster, node, allowed).await?;
        session.exec("seq 1 20000; echo end", 1 << 20, |_| false).await
    });
    let said = said.unwrap_or_else(|error| panic!("{error}\n{:?}\n{}", error.failure(), cluster.node(node).sshd_log()));
    assert_eq!((said.exit, said.truncated), (Some(0), false));
    assert_eq!(said.stdout.lines().count(), 20_001);
    assert!(said.stdout.ends_with("20000\nend\n"));
}

/// The message and hint if the two sides have no algorithm in common.
#[track_caller]
fn disagrees(cluster: &Cluster, node: &str, allowed: Allowed<'_>) -> (String, String) {
    let error = block_on(connect(cluster, node, allowed)).map(|_| ()).expect_err("expected no algorithm in common");
    assert!(matches!(error, TransportError::Negotiation { .. }), "{error:?}");
    let failure = error.failure();
    assert_eq!(failure.kind, FailureKind::Negotiation);
    (failure.message, failure.hint.expect("expected a hint"))
}

#[test]
fn centos_6_needs_words_and_the_errors_say_which() {
    let cluster = Cluster::builder().node("old", centos_6(NodeSpec::default())).with_rsa_key().start();
    let (message, hint) = disagrees(&cluster, "old", Allowed::default());
    assert!(message.ends_with("no common host key algorithm: the node offers only ssh-rsa"), "{message}");
    assert!(hint.contains("`HostKeyAlgorithms +ssh-rsa` for its host in ssh_config"), "{hint}");
    assert!(hint.contains("`HostKeyAlgorithms: \"+ssh-rsa\"` under `ssh_options` in the inventory"), "{hint}");

    let (message, hint) = disagrees(&cluster, "old", Allowed { macs: Some("hmac-sha2-256"), ..FOR_CENTOS_6 });
    assert!(
        message.contains("no common MAC: the node offers only hmac-md5, hmac-sha1, umac-64@openssh.com"),
        "{message}"
    );
    assert!(hint.contains("`MACs` is set for this node without hmac-sha1"), "{hint}");
    let (_, hint) = disagrees(&cluster, "old", Allowed { kex: Some("curve25519-sha256"), ..FOR_CENTOS_6 });
    assert!(
        hint.contains("`KexAlgorithms` is set for this node without diffie-hellman-group-exchange-sha256"),
        "{hint}"
    );
    let (_, hint) = disagrees(&cluster, "old", Allowed { ciphers: Some("aes256-gcm@openssh.com"), ..FOR_CENTOS_6 });
    assert!(hint.contains("`Ciphers` is set for this node without aes256-ctr"), "{hint}");
    let (message, hint) = disagrees(&cluster, "old", Allowed { ciphers: Some("arcfour,3des-cbc"), ..FOR_CENTOS_6 });
    assert!(message.ends_with("ctl supports nothing in `Ciphers arcfour,3des-cbc`"), "{message}");
    assert!(hint.starts_with("it supports chacha20-poly1305@openssh.com, "), "{hint}");

    works(&cluster, "old", FOR_CENTOS_6);
}

#[test]
fn each_old_algorithm_works() {
    let cluster = Cluster::builder().node("old", centos_6(NodeSpec::default())).with_rsa_key().start();
    for kex in [
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    ] {
        works(&cluster, "old", Allowed { kex: Some(kex), ..FOR_CENTOS_6 });
    }
    for ciphers in ["aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc"] {
        works(&cluster, "old", Allowed { ciphers: Some(ciphers), ..FOR_CENTOS_6 });
    }
}

#[test]
fn groups_of_2048_bits() {
    let spec = centos_6(NodeSpec::default()).sshd("ModuliFile /etc/ssh/small");
    let cluster = Cluster::builder().node("old", spec).with_rsa_key().start();
    // The file identifies a group of 2048 bits by its highest bit.
    cluster.node("old").sh("awk '$5 == 2047' /etc/ssh/moduli >/etc/ssh/small; test -s /etc/ssh/small");
    for kex in ["diffie-hellman-group-exchange-sha256", "diffie-hellman-group-exchange-sha1"] {
        works(&cluster, "old", Allowed { kex: Some(kex), ..FOR_CENTOS_6 });
    }
    // Without suitable primes, sshd falls back to a fixed group, which has 2048 bits in 5.3 in any case.
    let log = cluster.node("old").sshd_log();
    assert!(!log.contains("no suitable primes"), "{log}");
}

#[test]
fn a_node_without_a_file_of_groups() {
    let spec = centos_6(NodeSpec::default()).sshd("ModuliFile /nonexistent");
    let cluster = Cluster::builder().node("old", spec).with_rsa_key().start();
    works(&cluster, "old", FOR_CENTOS_6);
}

#[test]
fn ubuntu_14_04_needs_none_unless_its_rsa_key_is_the_known_one() {
    let cluster = Cluster::builder().node("old", ubuntu_14_04(NodeSpec::default())).start();
    works(&cluster, "old", Allowed::default());
    for macs in ["hmac-sha1-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"] {
        works(&cluster, "old", Allowed { ciphers: Some("aes128-ctr"), macs: Some(macs), ..Allowed::default() });
    }
    for ciphers in ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        works(&cluster, "old", Allowed { ciphers: Some(ciphers), ..Allowed::default() });
    }

    // A controller that connected to the node long ago has only its RSA key.
    let known_hosts = cluster.home().join(".ssh/known_hosts");
    let lines = std::fs::read_to_string(&known_hosts).unwrap();
    let rsa: String = lines.lines().filter(|line| line.contains(" ssh-rsa ")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&known_hosts, rsa).unwrap();
    let error =
        block_on(connect(&cluster, "old", Allowed::default())).map(|_| ()).expect_err("expected a host key error");
    assert!(
        matches!(error, TransportError::HostKeyUnknown { .. } | TransportError::HostKeyChanged { .. }),
        "{error:?}"
    );
    works(&cluster, "old", Allowed { host_keys: Some("ssh-ed25519,ssh-rsa"), ..Allowed::default() });
}

#[test]
fn a_run_over_old_and_older_nodes() {
    const FOR_CENTOS_6: &str = "ssh_options: {HostKeyAlgorithms: +ssh-rsa, MACs: +hmac-sha1}";
    let spec = || NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let cluster = Cluster::builder()
        .node("a1", centos_6(spec()))
        .node("a2", centos_6(spec()).inventory(FOR_CENTOS_6))
        .node("a3", centos_6(spec()))
        .node("a4", ubuntu_14_04(spec()))
        .node("a5", spec())
        .with_rsa_key()
        .start();
    std::fs::write(
        cluster.home().join(".ssh/config"),
        "Host a3\n  HostKeyAlgorithms +ssh-rsa\nHost a2\n  MACs umac-64@openssh.com\n",
    )
    .unwrap();
    let finished = cluster.ctl("service contrail-collector restart -o json -y").expect(4);
    assert_eq!(
        finished.outcomes(),
        [
            "a1 contrail-collector unreachable negotiation",
            "a2 contrail-collector changed",
            "a3 contrail-collector changed",
            "a4 contrail-collector changed",
            "a5 contrail-collector changed",
        ]
    );
    let hint = finished.result("a1")["failure"]["hint"].clone();
    assert!(hint.as_str().is_some_and(|hint| hint.contains("`HostKeyAlgorithms +ssh-rsa`")), "{finished}");
    // sshd of CentOS 6 does not forward to sockets.
    for (node, via) in [("a2", "supervisorctl"), ("a3", "supervisorctl"), ("a4", "supervisorctl"), ("a5", "rpc")] {
        assert_eq!(finished.result(node)["via"], via, "{finished}");
    }
}

#[test]
fn a_role_settles_it_for_its_nodes() {
    let spec = || NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let cluster = Cluster::builder()
        .nodes("a", 2, &centos_6(spec()))
        .sections(
            "roles:\n  analytics: {ssh_options: {hostkeyalgorithms: +ssh-rsa, macs: hmac-sha1, Ciphers: aes128-cbc}}",
        )
        .with_rsa_key()
        .start();
    let finished = cluster.ctl("service contrail-collector status -o json").expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector ok", "a2 contrail-collector ok"]);
    let shown = cluster.ctl("inventory show a1").expect(0);
    assert!(shown.stdout.contains("the role analytics"), "{shown}");
}
