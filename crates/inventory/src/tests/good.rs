//! Valid inventories and their results.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{
    ControlAddress, Inventory, OptionOrigin, PathEnvironment, ROLE_ORDER, SshKeyword, UnavailableCap, built_in_role,
    built_in_roles, load,
};
use super::{environment, good};
use ctl_event::Via;

/// The file that the documentation quotes.
const EXAMPLE: &str = include_str!("../../../../inventory.example.yaml");

#[test]
fn the_example_is_right_and_shows_every_key() {
    let inventory = good(EXAMPLE);
    assert_eq!(inventory.nodes.len(), 411);
    assert_eq!(inventory.path, Path::new("conf/inventory.yaml"));
    let folded: Vec<String> = inventory.groups.iter().map(|(name, set)| format!("{name}={set}")).collect();
    assert_eq!(
        folded,
        [
            "all-but-lab=a6s[01-03],b[1-2],c[001-400],db[1-3],os1,web1",
            "lab=lab1",
            "rack1=a6s[01-03],db1",
            "rack1-analytics=a6s[01-03]",
            "rack2=b[1-2],db[2-3]",
        ]
    );
    for key in [
        "version",
        "defaults",
        "roles",
        "groups",
        "nodes",
        "address",
        "port",
        "user",
        "identity",
        "jump",
        "sudo",
        "via",
        "connect_timeout",
        "timeout",
        "maintenance",
        "supervisor",
        "socket",
        "services",
        "username",
        "password_file",
        "supervisors",
        "init_services",
        "max_unavailable",
        "introspect",
        "oneshot",
        "extends",
        "ssh_options",
    ] {
        assert!(EXAMPLE.contains(&format!("{key}:")), "{key}");
    }
}

#[test]
fn the_smallest_inventory() {
    for text in [
        "version: 1\nnodes: {a: {}}",
        "version: 1\nnodes:\n  a:\n",
        "version: \"1\"\nnodes: {a: ~}",
        "\u{feff}version: 1\r\nnodes:\r\n  a: {}\r\n",
        "---\nversion: 1\nnodes: {a: {}}\n...\n",
        "# first\nversion: 1\nroles:\ngroups:\ndefaults:\nx-mine: [anything, {at: all}]\nnodes: {a: {}} # last",
    ] {
        let inventory = good(text);
        let node = inventory.node("a").expect(text);
        assert_eq!((node.address.as_str(), node.roles.len(), node.sudo), ("a", 0, false), "{text}");
        assert_eq!((node.via, node.timeout, &node.maintenance), (None, None, &None), "{text}");
        assert_eq!(node.ssh, super::super::InventorySsh::default(), "{text}");
        assert_eq!(inventory.roles.len(), ROLE_ORDER.len(), "{text}");
    }
}

#[test]
fn patterns_are_written_out_in_their_order() {
    let inventory = good(
        "version: 1\nnodes:\n  db[3,1-2]: {address: \"10.0.0.[11-13]\"}\n  c[08-10]: {}\n  r[1-2]n[1-2]: {}\n  \
         x,y: {address: \"10.1.0.1,10.1.0.2\"}\n  1: {}\n  007: {}\n  10.9.9.9: {}\n",
    );
    let all: Vec<String> = inventory.nodes.iter().map(|node| format!("{}={}", node.name, node.address)).collect();
    assert_eq!(
        all,
        [
            "db3=10.0.0.11",
            "db1=10.0.0.12",
            "db2=10.0.0.13",
            "c08=c08",
            "c09=c09",
            "c10=c10",
            "r1n1=r1n1",
            "r1n2=r1n2",
            "r2n1=r2n1",
            "r2n2=r2n2",
            "x=10.1.0.1",
            "y=10.1.0.2",
            "1=1",
            "007=007",
            "10.9.9.9=10.9.9.9",
        ]
    );
}

#[test]
fn every_key_of_a_node() {
    let inventory = good(
        "version: 1\nnodes:\n  a:\n    roles: [cfgm, analytics, configuration]\n    address: 10.0.0.1\n    port: 2222\n    \
         user: admin\n    identity: [~/.ssh/id, $KEYS/a, keys/b, /c]\n    jump: [me@b1:22, b2]\n    sudo: yes\n    \
         via: supervisorctl\n    connect_timeout: 1.5\n    timeout: 1h 30m\n    maintenance: |\n      disk\n      broken\n",
    );
    let node = inventory.node("a").expect("a");
    assert_eq!(node.roles, ["config", "analytics"]);
    assert_eq!(
        (node.address.as_str(), node.ssh.port, node.ssh.user.as_deref()),
        ("10.0.0.1", Some(2222), Some("admin"))
    );
    let identities = ["/home/op/.ssh/id", "/srv/keys/a", "conf/keys/b", "/c"].map(PathBuf::from);
    assert_eq!(node.ssh.identities, identities);
    assert_eq!(node.ssh.jump.as_deref(), Some("me@b1:22,b2"));
    assert_eq!((node.sudo, node.via), (true, Some(Via::Supervisorctl)));
    assert_eq!(node.ssh.connect_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(node.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(node.maintenance.as_deref(), Some("disk broken"));
}

#[test]
fn lenient_forms_are_accepted() {
    let inventory = good(
        "version: 1\nnodes:\n  a: {roles: analytics, identity: /k, sudo: \"on\", timeout: 30, port: \"22\"}\n  \
         b: {roles: \"analytics, webui\", sudo: No, timeout: 500ms, maintenance: false}\n  c: {roles: [], maintenance: 4711}\n",
    );
    let nodes = &inventory.nodes;
    assert_eq!((nodes[0].sudo, nodes[0].timeout, nodes[0].ssh.port), (true, Some(Duration::from_secs(30)), Some(22)));
    assert_eq!(nodes[1].roles, ["analytics", "web-ui"]);
    assert_eq!(
        (nodes[1].sudo, nodes[1].timeout, &nodes[1].maintenance),
        (false, Some(Duration::from_millis(500)), &None)
    );
    assert_eq!((nodes[2].roles.len(), nodes[2].maintenance.as_deref()), (0, Some("4711")));
}

#[test]
fn durations() {
    for (said, millis) in [
        ("5s", 5_000),
        ("2m", 120_000),
        ("500ms", 500),
        ("5", 5_000),
        ("0.25", 250),
        ("\"7\"", 7_000),
        ("1m 30s", 90_000),
        ("1h", 3_600_000),
        ("7days", 604_800_000),
    ] {
        let inventory = good(&format!("version: 1\nnodes: {{a: {{timeout: {said}}}}}"));
        assert_eq!(inventory.nodes[0].timeout, Some(Duration::from_millis(millis)), "{said}");
    }
}

#[test]
fn defaults_fill_absent_settings() {
    let inventory = good(
        "version: 1\ndefaults: {roles: [compute], port: 2222, user: root, identity: /d, jump: b, sudo: true, via: rpc, \
         connect_timeout: 1s, timeout: 2s}\nnodes:\n  a: {}\n  b: {roles: [control], port: 22, user: me, identity: [/e], \
         jump: none, sudo: false, via: auto, connect_timeout: 3s, timeout: 4s}\n",
    );
    let (a, b) = (&inventory.nodes[0], &inventory.nodes[1]);
    assert_eq!((&a.roles, &b.roles), (&vec!["compute".to_owned()], &vec!["control".to_owned()]));
    assert_eq!((a.ssh.port, b.ssh.port), (Some(2222), Some(22)));
    assert_eq!((a.ssh.user.as_deref(), b.ssh.user.as_deref()), (Some("root"), Some("me")));
    assert_eq!((&a.ssh.identities, &b.ssh.identities), (&vec![PathBuf::from("/d")], &vec![PathBuf::from("/e")]));
    assert_eq!((a.ssh.jump.as_deref(), b.ssh.jump.as_deref()), (Some("b"), Some("none")));
    assert_eq!((a.sudo, b.sudo), (true, false));
    assert_eq!((a.via, b.via), (Some(Via::Rpc), None));
    assert_eq!(
        (a.ssh.connect_timeout, b.ssh.connect_timeout),
        (Some(Duration::from_secs(1)), Some(Duration::from_secs(3)))
    );
    assert_eq!((a.timeout, b.timeout), (Some(Duration::from_secs(2)), Some(Duration::from_secs(4))));
}

#[test]
fn connections_are_kept_as_the_node_its_roles_or_the_defaults_say() {
    let inventory = good(
        "version: 1\ndefaults: {persist: 10m}\nroles:\n  compute: {persist: 0s}\n  control: {persist: 1h}\nnodes:\n  \
         a: {}\n  b: {roles: [control]}\n  c: {roles: [control, compute]}\n  d: {roles: [compute], persist: 30s}\n",
    );
    let kept: Vec<_> = inventory.nodes.iter().map(|node| node.ssh.persist.map(|time| time.as_secs())).collect();
    assert_eq!(kept, [Some(600), Some(3600), Some(0), Some(30)]);
    let none = good("version: 1\nnodes:\n  a: {}\n");
    assert_eq!(none.nodes[0].ssh.persist, None);
}

#[test]
fn one_address_with_several_ports_or_behind_several_bastions_is_several_machines() {
    let inventory = good(
        "version: 1\ndefaults: {address: 127.0.0.1}\nnodes:\n  a: {port: 2201}\n  b: {port: 2202}\n  \
         c: {address: 10.0.0.1, jump: site1}\n  d: {address: 10.0.0.1, jump: site2}\n",
    );
    assert_eq!(inventory.nodes.len(), 4);
}

#[test]
fn anchors_and_merge_keys() {
    let inventory = good(
        "version: 1\nx-a: &a {port: 1, user: a, timeout: 1s}\nx-b: &b {port: 2, sudo: true}\nnodes:\n  \
         one: {<<: *a, port: 3}\n  two: {<<: [*b, *a]}\n  three: {user: c, <<: *a}\n  four: *b\n  <<: {five: *a, one: {port: 9}}\n",
    );
    let said: Vec<String> = (inventory.nodes.iter())
        .map(|node| format!("{} {:?} {:?} {}", node.name, node.ssh.port, node.ssh.user.as_deref(), node.sudo))
        .collect();
    assert_eq!(
        said,
        [
            "one Some(3) Some(\"a\") false",
            "two Some(2) Some(\"a\") true",
            "three Some(1) Some(\"c\") false",
            "four Some(2) None true",
            "five Some(1) Some(\"a\") false",
        ]
    );
}

#[test]
fn a_built_in_role_keeps_its_other_settings() {
    let inventory = good(
        "version: 1\nroles: {cfgm: {max_unavailable: 2}, database: {max_unavailable: none}, webui: }\nnodes: {a: {}}",
    );
    let config = inventory.role("configuration").expect("config");
    let built_in = built_in_role("config").expect("config");
    assert_eq!(config.max_unavailable, Some(UnavailableCap::Nodes(2)));
    assert_eq!((&config.supervisors, &config.introspect), (&built_in.supervisors, &built_in.introspect));
    assert_eq!(inventory.role("database").expect("database").max_unavailable, None);
    for name in ["analytics", "control", "web-ui", "compute"] {
        assert_eq!(inventory.roles[name].as_ref(), &built_in_roles()[name], "{name}");
    }
}

#[test]
fn the_short_form_changes_the_main_instance_of_a_built_in_role() {
    let inventory = good(
        "version: 1\nroles:\n  config: {socket: /x.sock, services: [contrail-api, mine]}\n  \
         database: {supervisor: supervisord-contrail-database}\n  analytics: {introspect: {mine: 1}, init_services: redis}\nnodes: {a: {}}",
    );
    let config = &inventory.roles["config"].supervisors;
    assert_eq!(config[0].name, "supervisor-config");
    assert_eq!(config[0].addresses, [ControlAddress::Unix("/x.sock".to_owned())]);
    assert_eq!(config[0].services, ["contrail-api", "mine"]);
    assert_eq!(config[0].cascades, ["contrail-api"]);
    assert_eq!(config[0].config_file, None, "that of another socket");
    assert_eq!(config[1..], built_in_role("config").expect("config").supervisors[1..]);

    let database = &inventory.roles["database"].supervisors;
    let built_in = &built_in_role("database").expect("database").supervisors[0];
    assert_eq!(database[0].name, "supervisord-contrail-database");
    assert_eq!((&database[0].addresses, &database[0].services), (&built_in.addresses, &built_in.services));
    assert_eq!(database[0].config_file, None, "that of another instance");

    let analytics = &inventory.roles["analytics"];
    assert_eq!(analytics.introspect.len(), 1);
    assert_eq!(analytics.init_services, ["redis"]);
}

#[test]
fn the_long_form_replaces_the_instances_but_extends_built_in_ones() {
    let inventory = good(
        "version: 1\nroles:\n  config:\n    supervisors:\n      - {name: supervisor-config, socket: [http://localhost:1, /y]}\n      \
         - {name: mine, socket: unix:///m, services: m, username: u, password_file: ~/p}\nnodes: {a: {}}",
    );
    let config = &inventory.roles["config"].supervisors;
    let built_in = &built_in_role("config").expect("config").supervisors[0];
    assert_eq!(config.len(), 2);
    assert_eq!((&config[0].services, &config[0].cascades), (&built_in.services, &built_in.cascades));
    let addresses: Vec<String> = config[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["http://localhost:1", "unix:///y"]);
    assert_eq!(
        (config[1].username.as_deref(), config[1].password_file.as_deref()),
        (Some("u"), Some(Path::new("/home/op/p")))
    );
    assert_eq!(config[1].services, ["m"]);
}

#[test]
fn roles_of_ones_own() {
    let inventory = good(
        "version: 1\nroles:\n  billing: {socket: /b}\n  proxy: {init_services: [haproxy, keepalived]}\n  \
         lab: {extends: collector, max_unavailable: 25%}\n  lab2: {extends: config, socket: /l}\nnodes: {a: {roles: [billing, lab]}}",
    );
    let billing = &inventory.roles["billing"];
    assert_eq!(billing.supervisors[0].name, "supervisor-billing");
    assert_eq!((billing.max_unavailable, billing.init_services.len()), (None, 0));
    let proxy = &inventory.roles["proxy"];
    assert_eq!((proxy.supervisors.len(), proxy.init_services.len()), (0, 2));
    let lab = &inventory.roles["lab"];
    assert_eq!((lab.name.as_str(), lab.max_unavailable), ("lab", Some(UnavailableCap::Percent(25))));
    assert_eq!(lab.supervisors, built_in_role("analytics").expect("analytics").supervisors);
    let lab2 = &inventory.roles["lab2"];
    assert_eq!((lab2.supervisors.len(), lab2.max_unavailable), (2, Some(UnavailableCap::Nodes(1))));
    assert_eq!(lab2.supervisors[0].addresses, [ControlAddress::Unix("/l".to_owned())]);
    assert_eq!(inventory.nodes[0].roles, ["billing", "lab"]);
}

#[test]
fn groups_of_groups_and_roles() {
    let inventory = good(
        "version: 1\nnodes:\n  a[1-4]: {roles: [analytics]}\n  b[1-2]: {roles: [compute]}\ngroups:\n  z: \"@y,@vrouter\"\n  \
         y: \"@x!a2\"\n  x: a[1-3]\n  all: \"@*\"\n  both: [a1, \"b*\"]\n  none: a1!a1\n  odd: \"@collector^a[1-2]\"\n",
    );
    let folded: Vec<String> = inventory.groups.iter().map(|(name, set)| format!("{name}={set}")).collect();
    assert_eq!(
        folded,
        ["all=a[1-4],b[1-2]", "both=a1,b[1-2]", "none=", "odd=a[3-4]", "x=a[1-3]", "y=a[1,3]", "z=a[1,3],b[1-2]"]
    );
}

#[test]
fn a_file_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inventory.yaml");
    std::fs::write(&path, "version: 1\nnodes: {a: {identity: keys/id}}\n").expect("written");
    let inventory = load(&path, &PathEnvironment::default()).expect("an inventory");
    assert_eq!(inventory.path, path);
    assert_eq!(inventory.nodes[0].ssh.identities, [folder.path().join("keys/id")]);
}

#[test]
fn the_process_environment_is_one() {
    assert_eq!(PathEnvironment::process().variable("PATH").is_some(), std::env::var_os("PATH").is_some());
    assert!(environment().home().is_some());
}

/// A node's `ssh_options`, `KEYWORD VALUE (ORIGIN)` each.
fn options(inventory: &Inventory, node: &str) -> Vec<String> {
    let options = &inventory.node(node).expect(node).ssh.algorithms;
    options.iter().map(|option| format!("{} {} ({})", option.keyword, option.value, option.origin)).collect()
}

#[test]
fn ssh_options_of_node_role_and_defaults() {
    let inventory = good(
        "version: 1\ndefaults:\n  ssh_options: {MACs: +hmac-sha1, ciphers: aes256-ctr}\nroles:\n  \
         vrouter: {ssh_options: {HostKeyAlgorithms: +ssh-rsa, MACs: ' hmac-sha1,hmac-sha2-256 '}}\n  \
         control: {ssh_options: {hostkeyalgorithms: \"+ssh-rsa\", KEXALGORITHMS: ^diffie-hellman-group14-sha1}}\nnodes:\n  \
         a: {roles: [analytics]}\n  b[1-2]: {roles: [compute, control]}\n  \
         c: {roles: [control], ssh_options: {MACs: '-hmac-sha1*,umac-64@openssh.com', PubkeyAcceptedAlgorithms: +ssh-rsa}}\n  \
         d: {roles: compute, ssh_options: }\n",
    );
    assert_eq!(options(&inventory, "a"), ["Ciphers aes256-ctr (defaults)", "MACs +hmac-sha1 (defaults)"]);
    let of_b = [
        "HostKeyAlgorithms +ssh-rsa (the role compute)",
        "KexAlgorithms ^diffie-hellman-group14-sha1 (the role control)",
        "Ciphers aes256-ctr (defaults)",
        "MACs hmac-sha1,hmac-sha2-256 (the role compute)",
    ];
    assert_eq!(
        (options(&inventory, "b1"), options(&inventory, "b2")),
        (of_b.map(str::to_owned).to_vec(), of_b.map(str::to_owned).to_vec())
    );
    assert_eq!(
        options(&inventory, "c"),
        [
            "HostKeyAlgorithms +ssh-rsa (the role control)",
            "KexAlgorithms ^diffie-hellman-group14-sha1 (the role control)",
            "Ciphers aes256-ctr (defaults)",
            "MACs -hmac-sha1*,umac-64@openssh.com (the node)",
            "PubkeyAcceptedAlgorithms +ssh-rsa (the node)",
        ]
    );
    assert_eq!(options(&inventory, "d").len(), 3);
    let own = &inventory.node("c").expect("c").ssh.algorithms[4];
    assert_eq!((own.keyword, &own.origin), (SshKeyword::PubkeyAcceptedAlgorithms, &OptionOrigin::Node));
    assert!(options(&good(EXAMPLE), "b2").contains(&"HostKeyAlgorithms +ssh-rsa (the node)".to_owned()));
}

#[test]
fn a_node_overrides_contradictory_roles() {
    let inventory = good(
        "version: 1\nroles:\n  compute: {ssh_options: {MACs: +hmac-sha1}}\n  control: {ssh_options: {MACs: hmac-sha1}}\nnodes:\n  \
         a: {roles: [compute, control], ssh_options: {macs: +hmac-md5}}\n  b: {roles: compute}\n  c: {roles: control}\n",
    );
    assert_eq!(options(&inventory, "a"), ["MACs +hmac-md5 (the node)"]);
    assert_eq!(options(&inventory, "b"), ["MACs +hmac-sha1 (the role compute)"]);
    assert_eq!(options(&inventory, "c"), ["MACs hmac-sha1 (the role control)"]);
}

/// Oneshot programs, by their group or one of its processes.
#[test]
fn programs_that_are_made_to_end() {
    let inventory = good(
        "version: 1\nroles:\n  analytics: {oneshot: contrail-topology}\n  \
         b: {socket: /b, oneshot: [migrate, \"pool:0\", migrate]}\nnodes: {a: {roles: [b]}}",
    );
    let is_oneshot = |role: &str, group: &str, process: &str| inventory.roles[role].is_oneshot(group, process);
    assert_eq!(inventory.roles["b"].oneshot, ["migrate", "pool:0"]);
    assert!(is_oneshot("b", "migrate", "migrate") && is_oneshot("b", "migrate", "7"));
    assert!(is_oneshot("b", "pool", "0") && !is_oneshot("b", "pool", "1") && !is_oneshot("b", "0", "0"));
    assert!(is_oneshot("analytics", "contrail-topology", "contrail-topology"));
    assert!(!is_oneshot("config", "contrail-schema", "contrail-schema"));
}
