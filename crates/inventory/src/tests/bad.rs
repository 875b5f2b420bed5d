//! Invalid inventories, with the messages and their places.

use super::super::catalogue::ROLE_ORDER;
use super::{bad, faults};
use ctl_event::Via;

/// Texts, and the faults in them as `LINE:COLUMN: MESSAGE (HELP)`.
type BadTable<'a> = &'a [(&'a str, &'a [&'a str])];

/// The expected text with names put in: those of the built-in roles, `{ROLES}` by name and `{ROLE ORDER}` by step, and
/// those of the backends, `{BACKENDS}`.
fn with_names(expected: &[&str]) -> Vec<String> {
    let mut names = ROLE_ORDER;
    names.sort_unstable();
    let backends: Vec<&str> = Via::ALL.iter().map(|via| via.as_str()).collect();
    let (last, others) = backends.split_last().expect("a backend");
    let backends = format!("{} or {last}", others.join(", "));
    let fill = |text: &&str| {
        let text = text.replace("{ROLES}", &names.join(", ")).replace("{ROLE ORDER}", &ROLE_ORDER.join(", "));
        text.replace("{BACKENDS}", &backends)
    };
    expected.iter().map(fill).collect()
}

#[track_caller]
fn check(table: BadTable<'_>) {
    for (text, expected) in table {
        assert_eq!(faults(text), with_names(expected), "in\n{text}");
    }
}

#[test]
fn the_version() {
    check(&[
        ("nodes: {a: {}}\n", &["1:1: the inventory has no `version` (begin the file with `version: 1`)"]),
        (
            "version: 2\nnodes: {a: {}}\n",
            &[
                "1:10: unsupported format version 2: this ctl supports version 1 (this file was written for a newer ctl)",
            ],
        ),
        (
            "version: 0\nnodes: {a: {}}\n",
            &["1:10: unsupported format version 0: this ctl supports version 1 (write `version: 1`)"],
        ),
        ("version: one\nnodes: {a: {}}\n", &["1:10: invalid value `one` for `version`: expected 1"]),
        ("version: 1.0\nnodes: {a: {}}\n", &["1:10: invalid value `1.0` for `version`: expected 1"]),
        ("version:\nnodes: {a: {}}\n", &["1:1: `version` has no value: expected the number 1"]),
        ("version: [1]\nnodes: {a: {}}\n", &["1:10: `version` must be the number 1, not a list"]),
    ]);
}

#[test]
fn the_file_as_a_whole() {
    check(&[
        (
            "- a\n- b\n",
            &[
                "1:3: an inventory must be a mapping with the keys version, defaults, roles, groups, nodes, source, not a list (the minimum is `version: 1` and `nodes: {node1: {roles: [analytics]}}`)",
            ],
        ),
        (
            "hello\n",
            &[
                "1:1: an inventory must be a mapping with the keys version, defaults, roles, groups, nodes, source, not text (the minimum is `version: 1` and `nodes: {node1: {roles: [analytics]}}`)",
            ],
        ),
        (
            "version: 1\n",
            &[
                "1:1: the inventory has no `nodes` (the minimum is `version: 1` and `nodes: {node1: {roles: [analytics]}}`)",
            ],
        ),
        (
            "version: 1\nnodes: {}\n",
            &["2:1: the inventory has no nodes (such as `nodes: {node1: {roles: [analytics]}}`)"],
        ),
        ("version: 1\nnodes:\n", &["2:1: the inventory has no nodes (such as `nodes: {node1: {roles: [analytics]}}`)"]),
        ("version: 1\nnodes: [a, b]\n", &["2:8: `nodes` must be a mapping, each node with its value, not a list"]),
        ("version: 1\nnodes: a\n", &["2:8: `nodes` must be a mapping, each node with its value, not text"]),
        (
            "version: 1\nnodes: {a: {}}\ngroop: {}\n",
            &["3:1: unknown key `groop` in the inventory (did you mean groups?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nzzz: {}\n",
            &["3:1: unknown key `zzz` in the inventory (the keys are version, defaults, roles, groups, nodes, source)"],
        ),
        ("version: 1\nhosts: {a: {}}\n", &["2:1: unknown key `hosts` in the inventory (did you mean nodes?)"]),
        ("version: 1\nnodes: {a: {}}\ngroups: {}\nnodes: {b: {}}\n", &["4:1: the key `nodes` is defined twice"]),
        (
            "version: 1\nnodes: {a: {}}\n[x]: {}\n",
            &["3:1: a key must be text, not a list (a key that begins with `[` must be quoted)"],
        ),
        ("version: 1\nnodes: {a: {}}\n~: {}\n", &["3:1: a key must be text, not nothing"]),
        (
            "version:1\n",
            &[
                "1:1: an inventory must be a mapping with the keys version, defaults, roles, groups, nodes, source, not text (put a space after the colon)",
            ],
        ),
    ]);
}

#[test]
fn names_and_keys_of_nodes() {
    check(&[
        (
            "version: 1\nnodes:\n  a: {rols: [analytics]}\n",
            &["3:7: unknown key `rols` in a node (did you mean roles?)"],
        ),
        (
            "version: 1\nnodes:\n  a: {colour: red}\n",
            &[
                "3:7: unknown key `colour` in a node (the keys are roles, address, port, user, identity, jump, sudo, via, connect_timeout, timeout, persist, ssh_options, maintenance)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {ansible_host: 10.0.0.1}\n",
            &["3:7: unknown key `ansible_host` in a node (did you mean address?)"],
        ),
        (
            "version: 1\nnodes:\n  a: {port:22}\n",
            &["3:7: unknown key `port:22` in a node (put a space after the colon: `port: …`)"],
        ),
        ("version: 1\nnodes:\n  a: {port: 22, user: x, port: 23}\n", &["3:26: the key `port` is defined twice"]),
        ("version: 1\nnodes:\n  a: {}\n  b: {}\n  a: {port: 1}\n", &["5:3: the node `a` is defined twice"]),
        ("version: 1\nnodes:\n  a[1-3]: {}\n  a2: {}\n", &["4:3: the node `a2` is defined twice"]),
        ("version: 1\nnodes:\n  a[1-4]: {}\n  b: {}\n  a[3-6]: {}\n", &["5:3: the nodes `a[3-4]` are defined twice"]),
        (
            "version: 1\nnodes:\n  a[1-2]: {}\n  a[3-4]: {}\n  a[2-3]: {}\n",
            &["5:3: the node `a2` is defined twice", "5:3: the node `a3` is defined twice"],
        ),
        ("version: 1\nnodes:\n  'a[1,1]': {}\n", &["3:3: the node `a1` is defined twice"]),
        ("version: 1\nnodes:\n  a: analytics\n", &["3:6: `a` must be a mapping such as {roles: …}, not text"]),
        ("version: 1\nnodes:\n  a: [analytics]\n", &["3:6: `a` must be a mapping such as {roles: …}, not a list"]),
        (
            "version: 1\nnodes:\n  a: {port: abc}\n",
            &["3:13: invalid value `abc` for `port`: expected a port from 1 to 65535"],
        ),
        (
            "version: 1\nnodes:\n  a: {port: 99999}\n",
            &["3:13: invalid value `99999` for `port`: expected a port from 1 to 65535"],
        ),
        (
            "version: 1\nnodes:\n  a: {port: 0}\n",
            &["3:13: invalid value `0` for `port`: expected a port from 1 to 65535"],
        ),
        (
            "version: 1\nnodes:\n  a: {port: -1}\n",
            &["3:13: invalid value `-1` for `port`: expected a port from 1 to 65535"],
        ),
        (
            "version: 1\nnodes:\n  a: {port: 0x16}\n",
            &["3:13: invalid value `0x16` for `port`: expected a port from 1 to 65535"],
        ),
        ("version: 1\nnodes:\n  a: {port: }\n", &["3:7: `port` has no value: expected a port from 1 to 65535"]),
        ("version: 1\nnodes:\n  a: {port: [22]}\n", &["3:13: `port` must be a port from 1 to 65535, not a list"]),
        (
            "version: 1\nnodes:\n  a: {port: 99999999999999999999999}\n",
            &["3:13: invalid value `99999999999999999999999` for `port`: expected a port from 1 to 65535"],
        ),
        (
            "version: 1\nnodes:\n  a: {roles: [config, analytcs]}\n",
            &["3:23: unknown role `analytcs` (did you mean analytics?)"],
        ),
        (
            "version: 1\nnodes:\n  a: {roles: [zookeeper]}\n",
            &["3:15: unknown role `zookeeper` (the roles are {ROLES})"],
        ),
        (
            "version: 1\nnodes:\n  a: {roles: confguration}\n",
            &["3:14: unknown role `confguration` (did you mean configuration?)"],
        ),
        (
            "version: 1\nnodes:\n  a: {roles: \"config, analytcs\"}\n",
            &["3:23: unknown role `analytcs` (did you mean analytics?)"],
        ),
        ("version: 1\nnodes:\n  a: {roles: [\"\"]}\n", &["3:15: `roles` is empty: expected the name of a role"]),
        ("version: 1\nnodes:\n  a: {roles: \"config,,\"}\n", &["3:14: an empty role name in `config,,`"]),
        (
            "version: 1\nnodes:\n  a: {roles: {config: x}}\n",
            &["3:14: `roles` must be the name of a role, or a list of them, not a mapping"],
        ),
        ("version: 1\nnodes:\n  a: {roles: [[config]]}\n", &["3:15: `roles` must be the name of a role, not a list"]),
        (
            "version: 1\nnodes:\n  a:\n    roles:\n    user: x\n",
            &["4:5: `roles` has no value: expected the name of a role, or a list of them"],
        ),
        ("version: 1\nnodes:\n  node[3-1]: {}\n", &["3:8: range `3-1` runs backwards (write 1-3)"]),
        ("version: 1\nnodes:\n  \"node[3-1]\": {}\n", &["3:9: range `3-1` runs backwards (write 1-3)"]),
        ("version: 1\nnodes:\n  node[1-3: {}\n", &["3:7: `[` without `]`"]),
        ("version: 1\nnodes:\n  node[a-b]: {}\n", &["3:8: `a` is not a number"]),
        (
            "version: 1\nnodes:\n  a*: {}\n",
            &[
                "3:4: `a*` is not a valid node name: it contains `*` (a node key can only have names and ranges, such as `node[01-40]`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  \"@rack\": {}\n",
            &[
                "3:4: `@rack` is not a valid node name: it begins with `@` (a node key can only have names and ranges, such as `node[01-40]`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a!b: {}\n",
            &[
                "3:4: `a!b` is not a valid node name: it contains `!` (a node key can only have names and ranges, such as `node[01-40]`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a[1-2]*: {}\n",
            &["3:3: `a[1-2]*` is a group or glob; only names and ranges are allowed here"],
        ),
        (
            "version: 1\nnodes:\n  -oProxyCommand=x: {}\n",
            &["3:3: `-oProxyCommand=x` is not a valid node name: it begins with `-`"],
        ),
        ("version: 1\nnodes:\n  \"-a[1-2]\": {}\n", &["3:3: `-a1` is not a valid node name: it begins with `-`"]),
        ("version: 1\nnodes:\n  a b: {}\n", &["3:4: `a b` is not a valid node name: it contains a space"]),
        (
            "version: 1\nnodes:\n  \"a\\eb\": {}\n",
            &["3:3: `a\\u{1b}b` is not a valid node name: it contains `\\u{1b}`"],
        ),
        ("version: 1\nnodes:\n  a;reboot: {}\n", &["3:4: `a;reboot` is not a valid node name: it contains `;`"]),
        ("version: 1\nnodes:\n  $(reboot): {}\n", &["3:3: `$(reboot)` is not a valid node name: it contains `$`"]),
        ("version: 1\nnodes:\n  nœud: {}\n", &["3:4: `nœud` is not a valid node name: it contains `œ`"]),
        (
            "version: 1\nnodes:\n  a: {user: \"né\", prt: 1}\n",
            &["3:19: unknown key `prt` in a node (did you mean port?)"],
        ),
        ("version: 1\nnodes:\n  \"\": {}\n", &["3:3: the node name is empty"]),
        (
            "version: 1\nnodes:\n  a:22: {}\n",
            &["3:4: `a:22` is not a valid node name: it contains `:` or `%` but is not an IPv6 address"],
        ),
        (
            "version: 1\nnodes:\n  a[1-200000]: {}\n",
            &["3:3: `a[1-200000]` is 200000 nodes: an inventory may have at most 100000"],
        ),
        (
            "version: 1\nnodes:\n  a[1-60000]: {}\n  b[1-60000]: {}\n  c: {}\n",
            &["4:3: with `b[1-60000]` there are 120000 nodes: an inventory may have at most 100000"],
        ),
        (
            "version: 1\nnodes:\n  a[1-999999]b[1-999999]c[1-999999]: {}\n",
            &[
                "3:3: `a[1-999999]b[1-999999]c[1-999999]` is 999997000002999999 nodes: an inventory may have at most 100000",
            ],
        ),
    ]);
}

#[test]
fn addresses_of_nodes() {
    check(&[
        (
            "version: 1\nnodes:\n  db[1-3]: {address: \"10.0.0.[11-12]\"}\n",
            &[
                "3:22: `10.0.0.[11-12]` has 2 addresses for 3 nodes (the ranges of a node's name and address must have the same length)",
            ],
        ),
        (
            "version: 1\nnodes:\n  db[1-2]: {address: \"10.0.0.[11-13]\"}\n",
            &[
                "3:22: `10.0.0.[11-13]` has 3 addresses for 2 nodes (the ranges of a node's name and address must have the same length)",
            ],
        ),
        (
            "version: 1\nnodes:\n  db[1-3]: {address: 10.0.0.1}\n",
            &[
                "3:22: `10.0.0.1` has 1 address for 3 nodes (the ranges of a node's name and address must have the same length)",
            ],
        ),
        (
            "version: 1\nnodes:\n  db1: {address: \"10.0.0.[1-9]\"}\n",
            &[
                "3:18: `10.0.0.[1-9]` has 9 addresses for 1 node (the ranges of a node's name and address must have the same length)",
            ],
        ),
        (
            "version: 1\nnodes:\n  db1: {address: \"10.[0-999999].[0-999999].[0-99999]\"}\n",
            &[
                "3:18: `10.[0-999999].[0-999999].[0-99999]` has 100000000000000000 addresses for 1 node (the ranges of a node's name and address must have the same length)",
            ],
        ),
        (
            "version: 1\nnodes:\n  db[1-3]: {address: \"10.0.0.[3-1]\"}\n",
            &["3:31: range `3-1` runs backwards (write 1-3)"],
        ),
        (
            "version: 1\nnodes:\n  a: {address: 010.1.2.3}\n  b[1-2]: {address: \"10.0.0.[08-09]\"}\n  10.0.0.01: {}\n",
            &[
                "3:16: `010.1.2.3` is not a valid address: `010` has a leading 0, which some programs read as octal: remove it",
                "4:21: `10.0.0.08` is not a valid address: `08` has a leading 0, which some programs read as octal: remove it",
                "5:10: `10.0.0.01` is not a valid node name: `01` has a leading 0, which some programs read as octal: remove it",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {address: \"10.0.0.1:2222\"}\n",
            &[
                "3:25: `10.0.0.1:2222` is not a valid address: it contains `:` or `%` but is not an IPv6 address (use the separate key for the port: `port: 2222`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {address: root@10.0.0.1}\n",
            &[
                "3:20: `root@10.0.0.1` is not a valid address: it contains `@` (use the separate key for the user: `user: root`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {address: \"[2001:db8::1]\"}\n",
            &["3:16: `[2001:db8::1]` has brackets, which are only for ranges (write `address: \"2001:db8::1\"`)"],
        ),
        ("version: 1\nnodes:\n  a: {address: -x}\n", &["3:16: `-x` is not a valid address: it begins with `-`"]),
        ("version: 1\nnodes:\n  a: {address: \"a b\"}\n", &["3:18: `a b` is not a valid address: it contains a space"]),
        (
            "version: 1\nnodes:\n  a: {address: \"\"}\n",
            &["3:16: `address` is empty: expected a host's name or address"],
        ),
        (
            "version: 1\nnodes:\n  a: {address: ~}\n",
            &["3:7: `address` has no value: expected a host's name or address"],
        ),
        (
            "version: 1\nnodes:\n  a: {address: [b]}\n",
            &["3:16: `address` must be a host's name or address, not a list"],
        ),
        (
            "version: 1\nnodes:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.1}\n",
            &[
                "4:16: `a` and `b` are the same machine: both have address `10.0.0.1` and port 22 (each node must be a machine of its own, with its own `address` or `port`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {address: b}\n  b: {}\n",
            &[
                "4:3: `a` and `b` are the same machine: both have address `b` and port 22 (each node must be a machine of its own, with its own `address` or `port`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {address: 10.0.0.1, port: 22}\n  b: {address: 10.0.0.1}\n",
            &[
                "4:16: `a` and `b` are the same machine: both have address `10.0.0.1` and port 22 (each node must be a machine of its own, with its own `address` or `port`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a[1-2]: {address: \"10.0.0.[1,1]\"}\n",
            &[
                "3:21: `a1` and `a2` are the same machine: both have address `10.0.0.1` and port 22 (each node must be a machine of its own, with its own `address` or `port`)",
            ],
        ),
        (
            "version: 1\ndefaults: {address: 10.0.0.1}\nnodes:\n  a: {}\n  b: {port: 23}\n  c: {}\n",
            &[
                "6:3: `a` and `c` are the same machine: both have address `10.0.0.1` and port 22 (each node must be a machine of its own, with its own `address` or `port`)",
            ],
        ),
        (
            "version: 1\ndefaults: {address: 10.0.0.1}\nnodes:\n  a[1-2]: {}\n",
            &[
                "2:21: `10.0.0.1` has 1 address for 2 nodes (the ranges of a node's name and address must have the same length)",
            ],
        ),
    ]);
}

#[test]
fn settings_of_nodes() {
    check(&[
        ("version: 1\nnodes:\n  a: {user: \"x;y\"}\n", &["3:15: `x;y` is not a valid user name: it contains `;`"]),
        ("version: 1\nnodes:\n  a: {user: -x}\n", &["3:13: `-x` is not a valid user name: it begins with `-`"]),
        ("version: 1\nnodes:\n  a: {user: a b}\n", &["3:14: `a b` is not a valid user name: it contains a space"]),
        ("version: 1\nnodes:\n  a: {user: [x]}\n", &["3:13: `user` must be a user's name, not a list"]),
        (
            "version: 1\nnodes:\n  a: {jump: \"b:x\"}\n",
            &[
                "3:16: `b:x` is not a valid list of bastions: `x` is not a valid port (write `[user@]host[:port]`, separated by commas)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {jump: \"b,-c\"}\n",
            &[
                "3:16: `b,-c` is not a valid list of bastions: it begins with `-` (write `[user@]host[:port]`, separated by commas)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {jump: \"b,,c\"}\n",
            &[
                "3:13: `b,,c` is not a valid list of bastions: one of the bastions has no name (write `[user@]host[:port]`, separated by commas)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {sudo: perhaps}\n",
            &["3:13: invalid value `perhaps` for `sudo`: expected true or false"],
        ),
        ("version: 1\nnodes:\n  a: {sudo: 1}\n", &["3:13: invalid value `1` for `sudo`: expected true or false"]),
        ("version: 1\nnodes:\n  a: {via: ssh}\n", &["3:12: invalid value `ssh` for `via`: expected auto, {BACKENDS}"]),
        (
            "version: 1\nnodes:\n  a: {timeout: soon}\n",
            &["3:16: invalid value `soon` for `timeout`: expected a time such as 5s, 2m or 500ms"],
        ),
        ("version: 1\nnodes:\n  a: {timeout: 0}\n", &["3:16: `timeout` must be more than 0 and at most 7 days"]),
        (
            "version: 1\nnodes:\n  a: {timeout: -5s}\n",
            &["3:16: invalid value `-5s` for `timeout`: expected a time such as 5s, 2m or 500ms"],
        ),
        ("version: 1\nnodes:\n  a: {timeout: 30days}\n", &["3:16: `timeout` must be more than 0 and at most 7 days"]),
        (
            "version: 1\nnodes:\n  a: {timeout: 99999999999999999999999999999}\n",
            &[
                "3:16: invalid value `99999999999999999999999999999` for `timeout`: expected a time such as 5s, 2m or 500ms",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {connect_timeout: 5x}\n",
            &["3:24: invalid value `5x` for `connect_timeout`: expected a time such as 5s, 2m or 500ms"],
        ),
        (
            "version: 1\nnodes:\n  a: {connect_timeout: [5]}\n",
            &["3:24: `connect_timeout` must be a time such as 5s, 2m or 500ms, not a list"],
        ),
        (
            "version: 1\nnodes:\n  a: {maintenance: true}\n",
            &[
                "3:20: `maintenance` must be the reason, not true (such as `maintenance: \"disk is being replaced, ask Ana\"`)",
            ],
        ),
        (
            "version: 1\nnodes:\n  a: {maintenance: \"\"}\n",
            &["3:20: `maintenance` is empty: expected the reason, in words"],
        ),
        (
            "version: 1\nnodes:\n  a: {maintenance: [a]}\n",
            &["3:20: `maintenance` must be the reason, in words, not a list"],
        ),
        (
            "version: 1\ndefaults: {maintenance: x}\nnodes: {a: {}}\n",
            &[
                "2:12: unknown key `maintenance` in `defaults` (the keys are roles, address, port, user, identity, jump, sudo, via, connect_timeout, timeout, persist, ssh_options)",
            ],
        ),
        ("version: 1\nnodes:\n  a: {identity: $NOPE/id}\n", &["3:17: the environment variable `NOPE` is not set"]),
        (
            "version: 1\nnodes:\n  a: {identity: [~/x, ~bob/id]}\n",
            &["3:23: cannot expand `~bob`: only your own `~/` is supported (write an absolute path)"],
        ),
        (
            "version: 1\nnodes:\n  a: {identity: {x: y}}\n",
            &["3:17: `identity` must be the path of a private key, or a list of them, not a mapping"],
        ),
        ("version: 1\nnodes:\n  a: {identity: \"a\\tb\"}\n", &["3:17: the path `a\\tb` contains a control character"]),
        (
            "version: 1\ndefaults: [a]\nnodes: {a: {}}\n",
            &["2:11: `defaults` must be a mapping such as {roles: …}, not a list"],
        ),
        (
            "version: 1\nnodes:\n  a: {<<: x}\n",
            &[
                "3:11: `<<` must be a mapping or a list of mappings, not text (write `<<: *name`, with `&name` at that mapping)",
            ],
        ),
        (
            "version: 1\nx-c: &c {port: abc}\nnodes:\n  a: {<<: *c}\n  b: {<<: *c}\n",
            &["2:16: invalid value `abc` for `port`: expected a port from 1 to 65535"],
        ),
    ]);
}

#[test]
fn roles() {
    check(&[
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  billing: {supervisor: supervisor-billing}\n",
            &[
                "4:3: the role `billing` does not say where `supervisor-billing` listens (add its `socket`, such as `socket: /var/run/supervisord.sock`)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  billing:\n",
            &[
                "4:3: the role `billing` has neither a supervisord nor an init service (such as `billing: {socket: /var/run/supervisord.sock}`)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  analytcs: {max_unavailable: 1}\n",
            &["4:3: the role `analytcs` has neither a supervisord nor an init service (did you mean analytics?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  analytics: {max_unavailble: 1}\n",
            &["4:15: unknown key `max_unavailble` in a role (did you mean max_unavailable?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, programs: [x]}\n",
            &["4:19: unknown key `programs` in a role (did you mean services?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, supervisors: [{name: x, socket: /b}]}\n",
            &[
                "4:19: `supervisors` cannot be combined with `socket` (put everything in the list: `supervisors: [{name: …, socket: …}]`)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: [{socket: /b}]}\n",
            &["4:21: a supervisord has no `name` (the name of its init service, such as supervisor-billing)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: [{}]}\n",
            &["4:21: a supervisord has no `name` (the name of its init service, such as supervisor-billing)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: [x]}\n",
            &["4:21: `supervisors` must be a mapping such as {name: …}, not text"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: [{name: x}]}\n",
            &["4:28: the supervisord `x` has no `socket` (such as `socket: /var/run/supervisord.sock`)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: [{name: x, socket: /a}, {name: x, socket: /b}]}\n",
            &["4:51: the supervisord `x` is defined twice"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: []}\n",
            &["4:20: `supervisors` is empty (leave it out if the role has only init services)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: x}\n",
            &["4:20: invalid value `x` for `supervisors`: expected a list of `{name: …, socket: …}`"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {supervisors: [{name: x, sock: /a}]}\n",
            &["4:31: unknown key `sock` in a supervisord (did you mean socket?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: b.sock}\n",
            &[
                "4:15: `b.sock` is not a valid supervisord address (write /path/of.sock, unix:///path/of.sock or http://localhost:9002)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: [/a, 9002]}\n",
            &["4:20: `9002` is not a valid supervisord address (did you mean http://localhost:9002?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: ~/b.sock}\n",
            &["4:15: `~/b.sock` is not an absolute path (the path is on the node: neither `~` nor `$` is expanded)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: []}\n",
            &["4:15: `socket` is an empty list: expected a socket's path, or http://localhost:PORT"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: {a: b}}\n",
            &["4:15: `socket` must be a socket's path, or http://localhost:PORT, or a list of them, not a mapping"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, services: [\"a b\"]}\n",
            &["4:32: `a b` is not a valid service name: it contains a space"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, services: [-a]}\n",
            &["4:30: `-a` is not a valid service name: it begins with `-`"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, supervisor: \"x;y\"}\n",
            &["4:33: `x;y` is not a valid supervisord instance name: it contains `;`"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {init_services: \"a$b\"}\n",
            &["4:24: `a$b` is not a valid service name: it contains `$`"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, max_unavailable: 0}\n",
            &["4:36: a `max_unavailable` of 0 would prevent every restart"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, max_unavailable: 101%}\n",
            &[
                "4:36: invalid value `101%` for `max_unavailable`: expected a number of nodes, a percentage such as 25%, or none",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, max_unavailable: 0%}\n",
            &["4:36: a `max_unavailable` of 0 would prevent every restart"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, max_unavailable: few}\n",
            &[
                "4:36: invalid value `few` for `max_unavailable`: expected a number of nodes, a percentage such as 25%, or none",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, max_unavailable: }\n",
            &["4:19: `max_unavailable` has no value: expected a number of nodes, a percentage such as 25%, or none"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, max_unavailable: 1.5}\n",
            &[
                "4:36: invalid value `1.5` for `max_unavailable`: expected a number of nodes, a percentage such as 25%, or none",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, introspect: {x: 0}}\n",
            &["4:35: invalid value `0` for `x`: expected a port from 1 to 65535"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, introspect: [x]}\n",
            &["4:31: `introspect` must be a mapping, each service with its value, not a list"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, introspect: {\"a b\": 1}}\n",
            &["4:34: `a b` is not a valid service name: it contains a space"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, oneshot: [\"a b\"]}\n",
            &["4:31: `a b` is not a valid program name: it contains a space"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {extends: analytcs}\n",
            &["4:16: no built-in role `analytcs` (did you mean analytics?)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  c: {socket: /a}\n  b: {extends: c}\n",
            &["5:16: no built-in role `c` (the built-in roles are {ROLE ORDER})"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  control: {extends: analytics}\n",
            &["4:13: `control` is built in and cannot extend another role (give the role another name)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  webui: {max_unavailable: 1}\n  web-ui: {max_unavailable: 2}\n",
            &["5:3: `web-ui` is another name for `webui`, which is also defined"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a}\n  b: {socket: /b}\n",
            &["5:3: the role `b` is defined twice"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  \"a b\": {socket: /a}\n",
            &["4:5: `a b` is not a valid role name: it contains a space"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, username: x}\n",
            &["4:19: `username` also needs `password_file` (supervisord asks for both or neither)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, password_file: /x}\n",
            &["4:19: `password_file` also needs `username` (supervisord asks for both or neither)"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  b: {socket: /a, username: x, password_file: $NOPE}\n",
            &["4:47: the environment variable `NOPE` is not set"],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  config: {supervisor: supervisor-support-service}\n",
            &[
                "4:24: the role has another instance `supervisor-support-service` (`supervisors` lists all of a role's instances)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles: [a]\n",
            &["3:8: `roles` must be a mapping, each role with its value, not a list"],
        ),
    ]);
}

#[test]
fn groups() {
    check(&[
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  g: \"a,@rak1\"\n  rack1: a\n",
            &["4:9: unknown group or role `rak1` (did you mean @rack1?)"],
        ),
        ("version: 1\nnodes: {a: {}}\ngroups:\n  g: \"@nothing\"\n", &["4:7: unknown group or role `nothing`"]),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  g: \"@analytcs\"\n",
            &["4:7: unknown group or role `analytcs` (did you mean @analytics?)"],
        ),
        ("version: 1\nnodes: {a: {}}\ngroups:\n  g: \"@g\"\n", &["4:7: group `g` includes itself"]),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  g: \"@h\"\n  h: \"a,@i\"\n  i: \"@g\"\n",
            &["6:7: groups `g` and `i` include each other"],
        ),
        (
            "version: 1\nnodes: {node1: {}, node2: {}}\ngroups:\n  g: \"node1,nod2\"\n",
            &["4:13: the inventory has no node `nod2` (did you mean node2?)"],
        ),
        (
            "version: 1\nnodes: {\"a[1-3]\": {}}\ngroups:\n  g: \"a[1-5]\"\n",
            &["4:6: the inventory has no node `a[4-5]`"],
        ),
        ("version: 1\nnodes: {a: {}}\ngroups:\n  g: \"a[3-1]\"\n", &["4:9: range `3-1` runs backwards (write 1-3)"]),
        ("version: 1\nnodes: {a: {}}\ngroups:\n  g: \"zz*\"\n", &["4:7: `zz*` matches no node of the inventory"]),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  analytics: a\n",
            &[
                "4:3: `analytics` is also the name of a role (`@analytics` already means the nodes of that role; give the group another name)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  collector: a\n",
            &[
                "4:3: `collector` is another name for the role `analytics` (`@collector` already means the nodes of that role; give the group another name)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\nroles:\n  billing: {socket: /a}\ngroups:\n  billing: a\n",
            &[
                "6:3: `billing` is also the name of a role (`@billing` already means the nodes of that role; give the group another name)",
            ],
        ),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  \"a b\": a\n",
            &["4:5: `a b` is not a valid group name: it contains a space"],
        ),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  g: {a: b}\n",
            &["4:6: `g` must be a node set, such as node[01-40], or a list of them, not a mapping"],
        ),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  g:\n",
            &["4:3: `g` has no value: expected a node set, such as node[01-40], or a list of them"],
        ),
        ("version: 1\nnodes: {a: {}}\ngroups:\n  g: a\n  g: a\n", &["5:3: the group `g` is defined twice"]),
        (
            "version: 1\nnodes: {a: {}}\ngroups: [a]\n",
            &["3:9: `groups` must be a mapping, each group with its value, not a list"],
        ),
        (
            "version: 1\nnodes: {a: {}}\ngroups:\n  g: \"@h,a\"\n  h: \"@nope\"\n",
            &["5:7: unknown group or role `nope`"],
        ),
    ]);
}

#[test]
fn syntax() {
    check(&[
        ("a: 1\n\tb: 2\n", &["2:1: tab in the indentation; YAML allows only spaces (indent with spaces)"]),
        ("a:\n\tb: 2\n", &["2:1: tab in the indentation; YAML allows only spaces (indent with spaces)"]),
        ("a:\n  b: 1\n \tc: 2\n", &["3:2: tab in the indentation; YAML allows only spaces (indent with spaces)"]),
        (
            "a: \"b\nc: 1\n",
            &["1:4: this is not valid YAML: unclosed quote (the quote that begins here is never closed)"],
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            &[
                "3:2: this is not valid YAML: while parsing a block mapping, did not find expected key (check that this line is indented like its neighbours, and that its key is followed by `:`)",
            ],
        ),
        (
            "a: b: c\n",
            &[
                "1:5: this is not valid YAML: mapping values are not allowed in this context (check the indentation of the line above; a value that contains `: ` must be quoted)",
            ],
        ),
        ("g: @foo\n", &["1:4: in YAML a group that begins with `@` must be quoted (write \"@foo\")"]),
        ("g: *foo\n", &["1:4: in YAML a glob that begins with `*` must be quoted (write \"*foo\")"]),
        ("g: !foo\n", &["1:8: unsupported YAML tag `!foo` (a value that begins with `!` must be quoted)"]),
        (
            "g: {a: b[1-3], c: d}\n",
            &[
                "1:9: this is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}' (inside `{ }` and `[ ]`, quote values with brackets, as in \"node[1-3]\", and separate them with commas)",
            ],
        ),
        (
            "g: [a, b\n",
            &["1:4: this is not valid YAML: unclosed bracket '[' (the bracket that begins here is never closed)"],
        ),
        (
            "a: 1\n---\nb: 2\n",
            &[
                "3:1: a second YAML document begins here; an inventory must be a single document (remove the `---`, or put the documents together)",
            ],
        ),
        ("a: &a [*a]\n", &["1:8: this anchor contains itself"]),
        ("", &["1:1: the inventory is empty (the minimum is `version: 1` and `nodes: {node1: {roles: [analytics]}}`)"]),
        (
            "# only\n",
            &["1:1: the inventory is empty (the minimum is `version: 1` and `nodes: {node1: {roles: [analytics]}}`)"],
        ),
        ("a: \"x\" y\n", &["1:8: this is not valid YAML: invalid trailing content after double-quoted scalar"]),
        ("a: \u{1b}\n", &["1:4: this is not valid YAML: unexpected character: `\\u{1b}'"]),
        ("a: `x`\n", &["1:4: in YAML a value that begins with ``` must be quoted (write \"`x`\")"]),
        (
            "a\n  b: 1\n",
            &[
                "2:4: this is not valid YAML: mapping values are not allowed in this context (check the indentation of the line above; a value that contains `: ` must be quoted)",
            ],
        ),
    ]);
}

#[test]
fn every_fault_of_a_file_is_reported_at_once() {
    let text = "versoin: 1\ndefaults: {usr: x}\nroles:\n  analytics: {max_unavailable: lots}\ngroups:\n  g: \"@nope\"\n  \
                compute: a\nnodes:\n  a: {port: 0, roles: [nope]}\n  a[1: {}\n  b: {address: \"c d\"}\n  b: {}\n";
    let places: Vec<(usize, usize)> = bad(text).problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(1, 1), (2, 12), (4, 32), (6, 7), (7, 3), (9, 13), (9, 24), (10, 4), (11, 18), (12, 3)]);
}

/// The text under the caret, its label, and the text of the related place.
#[test]
fn carets_mark_the_fault() {
    let nodes = "version: 1\nnodes:\n";
    for (text, at, label, other) in [
        ("  a: {rols: [analytics]}", "rols", Some("unknown key"), None),
        ("  a: {port: 99999}", "99999", Some("expected a port from 1 to 65535"), None),
        ("  a: {port: }", "port", Some("expected a port from 1 to 65535"), None),
        ("  a: {roles: [config, \"analytcs\"]}", "analytcs", Some("unknown role"), None),
        ("  node[1-2,9-3]: {}", "9-3", None, None),
        ("  \"node[9-3]\": {}", "9-3", None, None),
        ("  a;b: {}", ";", None, None),
        ("  \"\\x61;b\": {}", "\"\\x61;b\"", None, None),
        ("  a: {identity: [x, \"$NOPE/y\"]}", "$NOPE", None, None),
        ("  a: {jump: \"b,c:x\"}", "x", None, None),
        ("  a: {}\n  b: {}\n  a: {port: 1}", "a", Some("defined again here"), Some(("a", "first defined here"))),
        ("  a[1-3]: {}\n  b,a2: {}", "b,a2", Some("defined again here"), Some(("a[1-3]", "first defined here"))),
        ("  a: {port: 1, port: 2}", "port", Some("defined again here"), Some(("port", "first defined here"))),
        ("  d[1-3]: {address: \"b[1-2]\"}", "\"b[1-2]\"", Some("2 addresses"), Some(("d[1-3]", "3 nodes"))),
        ("  a: {address: x}\n  b: {address: x}", "x", None, Some(("x", "the address of `a`"))),
        ("  a: {}\ngroups: {g: \"a,@nope!a\"}", "@nope", Some("unknown group"), None),
        (
            "  a: {}\ngroups: {g: \"@h\", h: \"@g\"}",
            "@g",
            Some("this closes the loop"),
            Some(("g", "the loop begins here")),
        ),
        ("  a: {}\ngroups: {g: \"a,b\"}", "b", Some("unknown node"), None),
        ("  a: {}\nroles: {r: {socket: /x}}\ngroups: {r: a}", "r", Some("this group"), Some(("r", "this role"))),
        (
            "  a: {}\nroles: {webui: , web-ui: }",
            "web-ui",
            Some("defined again here"),
            Some(("webui", "first defined here")),
        ),
        ("  a:\n\tport: 1", "\t", Some("this is a tab"), None),
        ("  a: {user: \"é\", jump: \"ü;\"}", "ü", None, None),
    ] {
        let error = bad(&format!("{nodes}{text}"));
        let problem = &error.problems[0];
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!((&error.text[problem.span.clone()], problem.label.as_deref()), (at, label), "{error}");
        let related = problem.related.as_ref().map(|(span, words)| (&error.text[span.clone()], words.as_str()));
        assert_eq!(related, other, "{error}");
        assert!(problem.related.as_ref().is_none_or(|(span, _)| *span != problem.span), "{error}");
    }
}

#[test]
fn a_byte_order_mark_and_line_ends_of_windows_do_not_move_the_caret() {
    let error = bad("\u{feff}versoin: 1\r\nnodes:\r\n  a: {port: x}\r\n");
    let places: Vec<_> = (error.problems.iter())
        .map(|problem| (problem.line, problem.column, &error.text[problem.span.clone()]))
        .collect();
    assert_eq!(places, [(1, 1, "versoin"), (3, 13, "x")]);
    let error = bad("\u{feff}a: \"x\r\n");
    assert_eq!((error.problems[0].line, error.problems[0].column), (1, 4));
}

#[test]
fn ssh_options() {
    let node = |options: &str| format!("version: 1\nnodes:\n  a: {{ssh_options: {options}}}\n");
    for (options, expected) in [
        (
            "{HostKeyAlgoritms: +ssh-rsa}",
            "3:21: unknown keyword `HostKeyAlgoritms` in `ssh_options` (did you mean HostKeyAlgorithms?)",
        ),
        (
            "{PubkeyAcceptedKeyTypes: +ssh-rsa}",
            "3:21: unknown keyword `PubkeyAcceptedKeyTypes` in `ssh_options` (did you mean PubkeyAcceptedAlgorithms?)",
        ),
        (
            "{port: 22}",
            "3:21: unknown keyword `port` in `ssh_options` (the inventory has a separate key for it, outside `ssh_options`: `port`)",
        ),
        (
            "{ProxyJump: b}",
            "3:21: unknown keyword `ProxyJump` in `ssh_options` (the inventory has a separate key for it, outside `ssh_options`: `jump`)",
        ),
        (
            "{ForwardAgent: yes}",
            "3:21: unknown keyword `ForwardAgent` in `ssh_options` (it supports HostKeyAlgorithms, KexAlgorithms, Ciphers, MACs, PubkeyAcceptedAlgorithms; set anything else in ssh_config)",
        ),
        ("{MACs: hmac-sha1, macs: hmac-md5}", "3:38: the keyword `MACs` is defined twice"),
        ("{MACs: hmac-sha1, MACs: hmac-md5}", "3:38: the keyword `MACs` is defined twice"),
        ("+ssh-rsa", "3:20: `ssh_options` must be a mapping, each keyword with its value, not text"),
        (
            "{HostKeyAlgorithms: +ssh-rsaa}",
            "3:41: `HostKeyAlgorithms` has no algorithm `ssh-rsaa` (did you mean ssh-rsa?)",
        ),
        (
            "{HostKeyAlgorithms: hmac-sha1}",
            "3:40: `HostKeyAlgorithms` has no algorithm `hmac-sha1` (`ssh -Q` lists the names that OpenSSH knows)",
        ),
        (
            "{Ciphers: 'aes256-ctr,aes128-cfc'}",
            "3:42: `Ciphers` has no algorithm `aes128-cfc` (did you mean aes128-cbc?)",
        ),
        ("{Ciphers: \"+\"}", "3:30: `Ciphers` contains an empty name: `+`"),
        ("{Ciphers: \"aes256-ctr,\"}", "3:30: `Ciphers` contains an empty name: `aes256-ctr,`"),
        (
            "{Ciphers: '  '}",
            "3:30: `Ciphers` is empty: expected names of algorithms separated by commas, such as \"+ssh-rsa\"",
        ),
        (
            "{Ciphers: \"aes256-ctr, aes128-ctr\"}",
            "3:42: `Ciphers` contains a space: `aes256-ctr, aes128-ctr` (separate the names with commas only)",
        ),
        (
            "{MACs: \"+hmac-sha1,+hmac-md5\"}",
            "3:39: `MACs` has a prefix inside its list: `+hmac-md5` (put `+`, `-` or `^` once, before the whole list)",
        ),
        (
            "{MACs: \"+hmac-sha1*\"}",
            "3:29: `hmac-sha1*` matches several names (wildcards can only remove names: `-NAME*`)",
        ),
        (
            "{MACs: [hmac-sha1]}",
            "3:27: `MACs` must be names of algorithms separated by commas, such as \"+ssh-rsa\", not a list",
        ),
        (
            "{MACs: }",
            "3:21: `MACs` has no value: expected names of algorithms separated by commas, such as \"+ssh-rsa\"",
        ),
        (
            "{KexAlgorithms: \"+a\\e[31m\"}",
            "3:36: `KexAlgorithms` has no algorithm `a\\u{1b}[31m` (`ssh -Q` lists the names that OpenSSH knows)",
        ),
    ] {
        assert_eq!(faults(&node(options)), [expected], "{options}");
    }
    let long = node(&format!("{{MACs: \"{}\"}}", "hmac-sha1,".repeat(1000)));
    assert_eq!(faults(&long), ["3:27: `MACs` is longer than 4096 bytes"]);
    check(&[
        (
            "version: 1\nnodes:\n  a: {Ciphers: +aes128-cbc}\n",
            &["3:7: unknown key `Ciphers` in a node (did you mean ssh_options?)"],
        ),
        (
            "version: 1\ndefaults: {ssh_options: {MACs: x}}\nroles:\n  control: {ssh_options: {MACs: y}}\nnodes: {a: {}}\n",
            &[
                "2:32: `MACs` has no algorithm `x` (`ssh -Q` lists the names that OpenSSH knows)",
                "4:33: `MACs` has no algorithm `y` (`ssh -Q` lists the names that OpenSSH knows)",
            ],
        ),
    ]);
}

#[test]
fn roles_that_contradict_each_other_in_ssh_options() {
    let text = "version: 1\nroles:\n  compute: {ssh_options: {MACs: +hmac-sha1, Ciphers: +aes128-cbc}}\n  \
                control: {ssh_options: {macs: hmac-sha1}}\nnodes:\n  a[1-3]: {roles: [compute, control]}\n  b: {roles: compute}\n";
    let problem = bad(text).problems.remove(0);
    assert_eq!((problem.line, problem.column), (4, 33));
    assert_eq!(problem.message, "the roles `compute` and `control` of `a[1-3]` have different values for `MACs`");
    assert_eq!(problem.label.as_deref(), Some("of the role control"));
    assert_eq!(problem.help.as_deref(), Some("set it for the node: `ssh_options: {MACs: …}`"));
    let (place, words) = problem.related.expect("the other role");
    assert_eq!((&text[place], words.as_str()), ("+hmac-sha1", "of the role compute"));
    assert_eq!(bad(text).problems.len(), 1);
}
