//! A draft's text reads back as the draft.

use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::super::{Inventory, Node, PathEnvironment, UnavailableCap, parse};
use super::*;

fn reread(text: &str) -> Inventory {
    let env = PathEnvironment::new(Some(PathBuf::from("/home/op")), [("KEYS", "/srv/keys")]);
    parse(text, Path::new("/etc/ctl/inventory.yaml"), &env).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn node(name: &str, settings: DraftSettings) -> DraftNode {
    DraftNode { name: name.to_owned(), settings, comments: Vec::new() }
}

fn roles(names: &[&str]) -> DraftSettings {
    DraftSettings { roles: names.iter().map(|name| (*name).to_owned()).collect(), ..DraftSettings::default() }
}

fn with_address(address: &str, settings: DraftSettings) -> DraftSettings {
    DraftSettings { address: Some(address.to_owned()), ..settings }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_whole_draft() {
    let mut nodes: Vec<DraftNode> =
        (1..=3).map(|number| node(&format!("a6s{number:02}"), roles(&["analytics", "config"]))).collect();
    for number in 8..=11 {
        nodes.push(node(&format!("db{number}"), with_address(&format!("10.0.0.{number}"), roles(&["database"]))));
    }
    nodes.push(node("db13", with_address("10.0.0.99", roles(&["database"]))));
    nodes.push(DraftNode {
        comments: names(&["no supervisord: \u{1b}[31mconnection\nrefused"]),
        ..node(
            "lab1",
            DraftSettings {
                port: Some(2222),
                user: Some("CORP\\me".to_owned()),
                identities: names(&["~/.ssh/id", "/a b/key"]),
                jump: Some("ops@bastion:2222,[::1]:22".to_owned()),
                sudo: Some(true),
                via: Some(Via::Rpc),
                connect_timeout: Some(Duration::from_secs(90)),
                timeout: Some(Duration::from_millis(1500)),
                ssh_options: vec![(SshKeyword::HostKeyAlgorithms, "+ssh-rsa".to_owned())],
                maintenance: Some("disk: \"bad\" # ask Ana".to_owned()),
                ..with_address("2001:db8::1", roles(&["billing"]))
            },
        )
    });
    let supervisors = vec![
        DraftSupervisor {
            name: "supervisor-billing".to_owned(),
            sockets: names(&["/var/run/b.sock", "http://localhost:9002"]),
            services: names(&["invoicer", "mailer"]),
            username: Some("admin".to_owned()),
            password_file: Some("$KEYS/b.password".to_owned()),
            comments: names(&["found on lab1"]),
        },
        DraftSupervisor { name: "two".to_owned(), sockets: names(&["/two.sock"]), ..DraftSupervisor::default() },
    ];
    let draft = InventoryDraft {
        header: names(&["Written for a test.", "", "Check it."]),
        defaults: DraftSettings { user: Some("root".to_owned()), ..DraftSettings::default() },
        roles: vec![
            DraftRole {
                name: "billing".to_owned(),
                supervisors,
                init_services: names(&["billing-proxy"]),
                oneshot: names(&["migrate"]),
                comments: names(&["not Contrail's"]),
                ..DraftRole::default()
            },
            DraftRole { name: "compute".to_owned(), max_unavailable: Some("10%".to_owned()), ..DraftRole::default() },
        ],
        groups: vec![
            DraftGroup { name: "rack1".to_owned(), nodes: names(&["a6s01", "a6s02", "lab1"]), comments: Vec::new() },
            DraftGroup { name: "none".to_owned(), comments: names(&["nobody"]), ..DraftGroup::default() },
        ],
        nodes,
        footer: names(&["Not carried over:", "hosts:3: x"]),
    };
    let text = draft.to_yaml();
    let expected = r#"# Written for a test.
#
# Check it.

version: 1

defaults:
  user: root

roles:
  # not Contrail's
  billing:
    init_services: [billing-proxy]
    oneshot: [migrate]
    supervisors:
      # found on lab1
      - name: supervisor-billing
        socket: [/var/run/b.sock, "http://localhost:9002"]
        services: [invoicer, mailer]
        username: admin
        password_file: $KEYS/b.password
      - name: two
        socket: /two.sock
  compute: {max_unavailable: "10%"}

groups:
  rack1: "a6s[01-02],lab1"
  # nobody
  none: []

nodes:
  a6s[01-03]: {roles: [analytics, config]}
  db[8-11]: {roles: [database], address: "10.0.0.[8-11]"}
  db13: {roles: [database], address: 10.0.0.99}
  # no supervisord: \u{1b}[31mconnection\nrefused
  lab1:
    roles: [billing]
    address: "2001:db8::1"
    port: 2222
    user: CORP\me
    identity: [~/.ssh/id, "/a b/key"]
    jump: "ops@bastion:2222,[::1]:22"
    sudo: true
    via: rpc
    connect_timeout: "1m 30s"
    timeout: "1s 500ms"
    ssh_options: {HostKeyAlgorithms: "+ssh-rsa"}
    maintenance: "disk: \"bad\" # ask Ana"

# Not carried over:
# hosts:3: x
"#;
    assert_eq!(text, expected);
    let inventory = reread(&text);
    let lab1 = inventory.node("lab1").expect("a node");
    assert_eq!(lab1.ssh.user.as_deref(), Some("CORP\\me"));
    assert_eq!(lab1.ssh.identities, [PathBuf::from("/home/op/.ssh/id"), PathBuf::from("/a b/key")]);
    assert_eq!(lab1.maintenance.as_deref(), Some("disk: \"bad\" # ask Ana"));
    assert_eq!(lab1.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(inventory.node("db10").expect("a node").address, "10.0.0.10");
    assert_eq!(inventory.role("compute").expect("a role").max_unavailable, Some(UnavailableCap::Percent(10)));
    let billing = inventory.role("billing").expect("a role");
    assert_eq!(billing.supervisors.iter().map(|supervisor| supervisor.addresses.len()).collect::<Vec<_>>(), [2, 1]);
    assert!(inventory.groups["none"].is_empty());
}

#[test]
fn a_key_is_never_too_long_for_yaml() {
    // No two of these names share a range.
    let nodes: Vec<DraftNode> =
        (0..2000).map(|number| node(&format!("n{}", number * 7), roles(&["compute"]))).collect();
    let draft = InventoryDraft { nodes: nodes.clone(), ..InventoryDraft::default() };
    let text = draft.to_yaml();
    assert!(text.lines().all(|line| line.len() < 1000));
    assert_eq!(reread(&text).nodes.len(), nodes.len());
}

#[test]
fn nodes_with_equal_settings_share_an_entry_only_if_their_addresses_stay_in_order() {
    let text_of = |pairs: &[(&str, &str)]| {
        let nodes = pairs.iter().map(|(name, address)| node(name, with_address(address, DraftSettings::default())));
        let text = InventoryDraft { nodes: nodes.collect(), ..InventoryDraft::default() }.to_yaml();
        text.lines().skip(3).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        text_of(&[("a1", "10.0.0.2"), ("a2", "10.0.0.1")]),
        ["a1: {address: 10.0.0.2}", "a2: {address: 10.0.0.1}"]
    );
    assert_eq!(
        text_of(&[("a09", "n9.x"), ("a10", "n10.x"), ("b1", "n11.x")]),
        ["a[09-10]: {address: \"n[9-10].x\"}", "b1: {address: n11.x}"]
    );
    assert_eq!(text_of(&[("a1", "2001:db8::1"), ("a2", "2001:db8::2")]), ["a[1-2]: {address: \"2001:db8::[1-2]\"}"]);
}

fn settings() -> impl Strategy<Value = DraftSettings> {
    let roles = prop::sample::subsequence(vec!["analytics", "config", "database", "compute"], 0..3);
    let sudo = option::of(any::<bool>());
    let via = option::of(prop::sample::select(Via::ALL.to_vec()));
    let user = option::of("[a-z~!#%*?@\\[\\]é:,. 0-9]{0,6}[a-z0-9#:]");
    let identities = vec("/[ -#%-~é]{1,8}", 0..3);
    let jump = option::of(prop::sample::select(vec!["none", "b", "me@b:22,[::1]:2", "::1"]));
    let maintenance = option::of("[ -~é]{0,8}[!-~]");
    let time = || option::of((1_u64..100_000).prop_map(Duration::from_millis));
    (roles, option::of(1_u16..), (user, identities, jump), (sudo, via), (time(), time()), maintenance).prop_map(
        |(roles, port, (user, identities, jump), (sudo, via), (connect_timeout, timeout), maintenance)| DraftSettings {
            roles: roles.into_iter().map(str::to_owned).collect(),
            port,
            user: user.filter(|user| super::super::check_user(user).is_ok()),
            identities,
            jump: jump.map(str::to_owned),
            sudo,
            via,
            connect_timeout,
            timeout,
            maintenance,
            ..DraftSettings::default()
        },
    )
}

fn expected(drafted: &DraftNode) -> Node {
    let settings = &drafted.settings;
    Node {
        name: drafted.name.clone(),
        address: settings.address.clone().unwrap_or_else(|| drafted.name.clone()),
        roles: settings.roles.clone(),
        ssh: super::super::InventorySsh {
            port: settings.port,
            user: settings.user.clone(),
            identities: settings.identities.iter().map(PathBuf::from).collect(),
            jump: settings.jump.clone(),
            connect_timeout: settings.connect_timeout,
            persist: None,
            algorithms: Vec::new(),
        },
        sudo: settings.sudo.unwrap_or(false),
        via: settings.via,
        timeout: settings.timeout,
        // The reader makes one line of it.
        maintenance: settings.maintenance.as_ref().map(|why| why.split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_draft_reads_back(
        kinds in vec(settings(), 1..4),
        named in btree_map("[a-z_0-9][a-z0-9.-]{0,4}[0-9]{0,3}", (0_usize..3, any::<bool>()), 1..30),
        comment in any::<String>(),
    ) {
        let nodes: Vec<DraftNode> = named.iter().enumerate().filter(|(_, (name, _))| super::super::check_host(name, false).is_ok()).map(|(at, (name, (kind, own)))| {
            let mut settings = kinds[kind % kinds.len()].clone();
            if *own {
                settings.address = Some(format!("10.9.{}.{}", at / 8, at % 8));
            }
            node(name, settings)
        }).collect();
        prop_assume!(!nodes.is_empty());
        let group = DraftGroup { name: "g".to_owned(), nodes: nodes.iter().map(|node| node.name.clone()).collect(), comments: vec![comment.clone()] };
        let draft = InventoryDraft { header: vec![comment.clone()], footer: vec![comment], groups: vec![group], nodes, ..InventoryDraft::default() };
        let inventory = reread(&draft.to_yaml());
        prop_assert_eq!(inventory.nodes.len(), draft.nodes.len());
        for drafted in &draft.nodes {
            let read = inventory.node(&drafted.name).expect("every node");
            prop_assert_eq!(&**read, &expected(drafted));
            prop_assert!(inventory.groups["g"].contains(&drafted.name));
        }
    }
}
