//! Inventories with a live source.

use std::path::{Path, PathBuf};

use super::super::{Inventory, InventoryError, SourceCommand, SourceFailure, parse_with};
use super::environment;

const LIST: &str = r#"{"_meta": {"hostvars": {
    "n1": {"ansible_host": "10.0.0.1", "ansible_user": "ops", "ansible_ssh_private_key_file": "~/.ssh/id"},
    "n2": {"ansible_port": 2222, "ansible_become": true, "ansible_password": "secret", "ansible_ssh_common_args": "-J gw"}}},
    "collector": {"hosts": ["n1"]}, "rack1": {"hosts": ["n1", "n2"]}, "billing_servers": {"hosts": ["n2"]}}"#;

fn read_with(text: &str, list: Result<&str, &str>) -> (Result<Inventory, InventoryError>, Vec<SourceCommand>) {
    let mut commands = Vec::new();
    let read = parse_with(text, Path::new("conf/inventory.yaml"), &environment(), &mut |command| {
        commands.push(command.clone());
        match list {
            Ok(list) => Ok(ctl_import::ansible::read_list(list, Path::new("list")).expect("a list")),
            Err(message) => Err(SourceFailure { message: message.to_owned(), help: Some("fix it".to_owned()) }),
        }
    });
    (read, commands)
}

#[track_caller]
fn faults_with(text: &str, list: Result<&str, &str>) -> Vec<String> {
    let error = read_with(text, list).0.expect_err("a fault").to_string();
    error.lines().map(|line| line.trim_start_matches("conf/inventory.yaml:").trim_start().to_owned()).collect()
}

#[test]
fn nodes_come_from_the_file_and_from_the_source() {
    let text = "version: 1\n\
                defaults: {user: root}\n\
                roles: {billing: {socket: /b.sock}}\n\
                source: {command: [./hosts, -i, 'a b'], roles: {billing_servers: billing}}\n\
                groups: {both: '@rack1,db1', analytics-rack: '@rack1&@analytics'}\n\
                nodes: {db1: {roles: [database]}}\n";
    let (inventory, commands) = read_with(text, Ok(LIST));
    let inventory = inventory.expect("valid");
    let arguments = vec!["-i".to_owned(), "a b".to_owned()];
    assert_eq!(commands, [SourceCommand { program: "conf/./hosts".into(), arguments, folder: "conf".into() }]);
    let shown: Vec<String> = inventory
        .nodes
        .iter()
        .map(|node| format!("{} {} {} {:?}", node.name, node.address, node.roles.join(","), node.ssh.user))
        .collect();
    assert_eq!(
        shown,
        ["db1 db1 database Some(\"root\")", "n2 n2 billing Some(\"root\")", "n1 10.0.0.1 analytics Some(\"ops\")",]
    );
    let n2 = inventory.node("n2").expect("a node");
    assert_eq!((n2.ssh.port, n2.ssh.jump.as_deref(), n2.sudo), (Some(2222), Some("gw"), true));
    assert_eq!(inventory.node("n1").expect("a node").ssh.identities, [PathBuf::from("/home/op/.ssh/id")]);
    let groups: Vec<String> = inventory.groups.iter().map(|(name, set)| format!("{name}={set}")).collect();
    assert_eq!(groups, ["analytics-rack=n1", "billing_servers=n2", "both=db1,n[1-2]", "rack1=n[1-2]"]);
    assert_eq!(
        inventory.source_notes,
        ["list: ansible_password: secrets are not carried over; use an SSH key, --ask-pass or -K"]
    );
}

#[test]
fn a_program_name_without_a_slash_is_left_to_the_path() {
    let (inventory, commands) = read_with("version: 1\nsource: {command: ansible-inventory}\n", Ok(LIST));
    assert_eq!(inventory.expect("valid").nodes.len(), 2);
    assert_eq!(commands[0].program, PathBuf::from("ansible-inventory"));
}

#[test]
fn a_faulty_file_runs_nothing() {
    for text in [
        "version: 2\nsource: {command: [x]}",
        "version: 1\nsource: {}",
        "version: 1\nsource: {command: []}",
        "version: 1\nsource: {command: ansible-inventory --list}",
        "version: 1\nsource: {command: [x], timeout: 5}",
        "version: 1\nsource: {command: [x], roles: {web: nonsense}}",
        "version: 1\nsource: {command: [x], roles: {web: [config, control]}}",
        "version: 1\nsource: {command: [x]}\nnodes: {a: {port: 0}}",
    ] {
        let (inventory, commands) = read_with(text, Ok(LIST));
        assert!(inventory.is_err() && commands.is_empty(), "{text}");
    }
    assert_eq!(
        faults_with("version: 1\nsource: {command: ansible-inventory --list}", Ok(LIST)),
        [
            "2:19: the command must be a list: no shell splits it into words (write `command: [ansible-inventory, --list]`)"
        ]
    );
}

#[test]
fn a_source_that_cannot_be_used_is_a_fault_with_its_place() {
    let text = "version: 1\nsource: {command: [x]}\n";
    assert_eq!(faults_with(text, Err("it failed")), ["2:10: it failed (fix it)"]);
    assert_eq!(faults_with(text, Ok("{\"_meta\": {\"hostvars\": {}}}")), ["2:1: the source has no hosts"]);
    let proxy =
        r#"{"_meta": {"hostvars": {"n1": {"ansible_ssh_common_args": "-o ProxyCommand='nc %h %p'"}, "-x": {}}}}"#;
    assert_eq!(
        faults_with(text, Ok(proxy)),
        [
            "2:10: the source cannot be used: list: ansible_ssh_common_args: ProxyCommand: only `ssh -W %h:%p HOST` is carried \
         over; put this one into ssh_config (without it, a node would be connected to in another way)",
            "2:10: the source cannot be used: list: -x: it is not a valid node name: it begins with `-` (without it, a node \
         would be connected to in another way)",
        ]
    );
    let twice = "version: 1\nsource: {command: [x], roles: {gone: config}}\nnodes: {n1: , o: {address: n2, port: 2222, jump: gw}}\n\
                 groups: {rack1: n1}";
    assert_eq!(
        faults_with(twice, Ok(LIST)),
        [
            "2:1: the source has no group `gone`",
            "2:1: `o` and `n2` are the same machine: both have address `n2` and port 2222 (each node must be a machine of its \
         own, with its own `address` or `port`)",
            "2:1: the node `n1` is defined in `nodes` and by the source",
            "4:10: the source also has a group `rack1`",
        ]
    );
}
