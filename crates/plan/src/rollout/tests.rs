//! Tests of the whole rollout file: from text to rollouts or faults.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ServiceVerb;
use crate::amount::{CapPolicy, FailureLimit, NodeAmount};
use crate::policy::{GateLevel, Policy};
use crate::sequence::{ItemWork, MAX_ITEMS, SequenceItem};
use ctl_inventory::{Inventory, PathEnvironment, ROLE_ORDER, parse};

const INVENTORY: &str = "
version: 1
groups: {rack1: 'db1,an1', none: '@*!@*'}
nodes:
  db[1-3]: {roles: [database]}
  an[1-3]: {roles: [analytics, config]}
";

/// An error lists at most so many groups.
const LISTED_GROUPS: usize = 10;

/// A valid file with every key, for the tests that change it.
const WHOLE: &str = r#"version: 1
name: upgrade to {{ release }}
vars: {release: 3.2.0-19, flags: "-y"}
defaults: {serial: 1, gate: running, pause: 5s}
steps:
  - name: install {{release}}
    role: database
    exec: "yum {{ flags }} install contrail-{{ release }}"
    serial: [1, 50%]
    max_failures: 10%
    max_unavailable: none
    gate: active
    stable: 0
    gate_timeout: 5m
    check: "test -e /opt/{{release}}"
    gate_snapshot: "kept/{{ release }}.json"
    pause: 0s
    timeout: 10m
    on_failure: continue
  - name: restart
    role: [collector, cfgm]
    nodes: "an[1-2],@database"
    exclude: an2
    services: ["contrail-{{ which }}", contrail-api, contrail-api]
    action: restart
  - {name: clean, nodes: "@*", exec: [rm, -rf, "/tmp/{{ release }} x", ""]}
"#;

fn inventory() -> Inventory {
    parse(INVENTORY, Path::new("inventory.yaml"), &PathEnvironment::default()).expect("an inventory")
}

fn given(vars: &[(&str, &str)]) -> Vec<(String, String)> {
    vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_with(text: &str, vars: &[(&str, &str)]) -> Result<Rollout, RolloutError> {
    read(Path::new("up.yaml"), text, &given(vars), &inventory())
}

#[track_caller]
fn good(text: &str, vars: &[(&str, &str)]) -> Rollout {
    match read_with(text, vars) {
        Ok(rollout) => rollout,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// The faults as `LINE:COLUMN: MESSAGE (HELP)`.
#[track_caller]
fn faults(text: &str, vars: &[(&str, &str)]) -> Vec<String> {
    match read_with(text, vars) {
        Ok(rollout) => panic!("no fault in\n{text}\n{rollout:?}"),
        Err(error) => {
            let said = error.to_string();
            said.lines().map(|line| line.strip_prefix("up.yaml:").unwrap_or(line).trim_start().to_owned()).collect()
        }
    }
}

/// The expected text with the names of the built-in roles put in: `{ROLES}` by name, `{ROLE ORDER}` by step, `{GROUPS}`
/// with the groups of the inventory.
fn with_roles(expected: &[&str]) -> Vec<String> {
    let sorted = |groups: &[&'static str]| {
        let mut names = [&ROLE_ORDER, groups].concat();
        names.sort_unstable();
        names
    };
    let roles = sorted(&[]).join(", ");
    let groups = sorted(&["none", "rack1"]);
    let groups = match groups.get(..LISTED_GROUPS) {
        Some(first) if groups.len() > LISTED_GROUPS => format!("{}, …", first.join(", ")),
        _ => groups.join(", "),
    };
    let fill = |text: &&str| {
        text.replace("{ROLES}", &roles).replace("{ROLE ORDER}", &ROLE_ORDER.join(", ")).replace("{GROUPS}", &groups)
    };
    expected.iter().map(fill).collect()
}

/// Texts, and the faults in them.
#[track_caller]
fn check(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(faults(text, &[]), with_roles(expected), "in\n{text}");
    }
}

/// Keys of an otherwise valid step, and their faults. The keys start at 3:5.
#[track_caller]
fn check_steps(table: &[(&str, &[&str])]) {
    for (keys, expected) in table {
        check(&[(&format!("version: 1\nsteps:\n  - {keys}\n    name: it\n"), expected)]);
    }
}

#[test]
fn every_key() {
    let text = WHOLE.replace("vars: {", "vars: {which: ~, ");
    let rollout = good(&text, &[("release", "9"), ("which", "schema"), ("release", "4.0")]);
    assert_eq!(rollout.name.as_deref(), Some("upgrade to 4.0"));
    let [install, restart, clean] = &rollout.steps[..] else { panic!("{rollout:?}") };
    assert_eq!(
        *install,
        RolloutStep {
            name: "install 4.0".into(),
            roles: vec!["database".into()],
            nodes: None,
            exclude: None,
            what: StepAction::Exec { command: "yum -y install contrail-4.0".into() },
            policy: Policy {
                serial: Some("1,50%".parse().expect("sizes")),
                max_failures: Some(FailureLimit::Percent(10)),
                caps: CapPolicy::Off,
                gate: Some(GateLevel::Active),
                stable: Some(Duration::ZERO),
                gate_timeout: Some(Duration::from_secs(300)),
                check: Some("test -e /opt/4.0".into()),
                gate_snapshot: Some("kept/4.0.json".into()),
                // Its own pause of no time, which is also the policy's, replaces that of `defaults`.
                ..Policy::default()
            },
            timeout: Some(Duration::from_secs(600)),
            continue_on_failure: true,
        }
    );
    assert_eq!(restart.roles, ["analytics", "config"]);
    assert_eq!((restart.nodes.as_deref(), restart.exclude.as_deref()), (Some("an[1-2],@database"), Some("an2")));
    let services = vec!["contrail-schema".into(), "contrail-api".into()];
    assert_eq!(restart.what, StepAction::Service { services, verb: ServiceVerb::Restart });
    assert_eq!(restart.policy.serial, Some("1".parse().expect("a size")));
    assert_eq!((restart.policy.pause, restart.policy.gate_timeout), (Duration::from_secs(5), None));
    assert!(!restart.continue_on_failure && restart.timeout.is_none());
    assert_eq!(clean.what, StepAction::Exec { command: "rm -rf '/tmp/4.0 x' ''".into() });
}

#[test]
fn absent_settings_are_the_defaults_of_the_policy() {
    let rollout = good("version: 1\nsteps: [{name: a, nodes: an1, exec: date}]", &[]);
    assert_eq!(rollout.steps[0].policy, Policy::default());
    assert_eq!(rollout.name, None);
}

#[test]
fn amounts_in_their_forms() {
    let policy = |keys: &str| {
        let text = format!("version: 1\nsteps: [{{name: a, role: database, exec: date, {keys}}}]");
        good(&text, &[]).steps[0].policy.clone()
    };
    for (typed, expected) in [
        ("2", "2"),
        ("25%", "25%"),
        ("'1,25%, 100%'", "1,25%,100%"),
        ("[1, 25%, '50%,100%']", "1,25%,50%,100%"),
        ("'3'", "3"),
    ] {
        let serial = policy(&format!("serial: {typed}")).serial.map(|serial| serial.to_string());
        assert_eq!(serial.as_deref(), Some(expected), "{typed}");
    }
    assert_eq!(policy("max_unavailable: 2").caps, CapPolicy::Each(NodeAmount::Nodes(2)));
    assert_eq!(policy("max_failures: 0").max_failures, Some(FailureLimit::Nodes(0)));
    assert_eq!(policy("gate: none, stable: 1.5").stable, Some(Duration::from_millis(1500)));
}

#[test]
fn a_variable_is_never_read_again() {
    let text = "version: 1\nvars: {a: x, n: 007, t: true, e: ''}\nsteps: [{name: s, nodes: an1, exec: 'echo {{a}}.{{ n }}{{t}}{{ e }}; }} {}'}]";
    let command = |vars: &[(&str, &str)]| good(text, vars).steps[0].what.clone();
    assert_eq!(command(&[]), StepAction::Exec { command: "echo x.007true; }} {}".into() });
    // Neither YAML nor variables are expanded again: the value arrives unchanged.
    let evil = "'}]\nsteps: [{{ n }} {{";
    assert_eq!(command(&[("a", evil)]), StepAction::Exec { command: format!("echo {evil}.007true; }}}} {{}}") });
    let list = "version: 1\nvars: {a: x}\nsteps: [{name: s, nodes: an1, exec: [echo, '{{ a }}']}]";
    let quoted = good(list, &[("a", "x; reboot")]).steps[0].what.clone();
    assert_eq!(quoted, StepAction::Exec { command: "echo 'x; reboot'".into() });
    // A name composed of variables is checked in its final form.
    let nodes = "version: 1\nvars: {n: 1}\nsteps: [{name: s, nodes: 'an[{{ n }}]', exec: date}]";
    assert_eq!(good(nodes, &[("n", "1-2")]).steps[0].nodes.as_deref(), Some("an[1-2]"));
    assert_eq!(
        faults(nodes, &[("n", "7-8")]),
        ["3:26: `nodes`: the inventory has no node an[7-8] (did you mean an1?)"]
    );
}

#[test]
fn anchors_and_keys_of_ones_own() {
    let text = "
version: 1
x-slow: &slow {serial: 1, pause: 1m}
steps:
  - {<<: *slow, name: a, role: database, exec: date}
  - {<<: *slow, name: b, role: config, exec: date, pause: 2m}
";
    let rollout = good(text, &[]);
    let pauses: Vec<_> = rollout.steps.iter().map(|step| step.policy.pause.as_secs()).collect();
    assert_eq!(pauses, [60, 120]);
}

#[test]
fn the_file_as_a_whole() {
    const LEAST: &str =
        "(the minimum is `version: 1` and `steps: [{name: restart, role: analytics, services: all, action: restart}]`)";
    let with_least = |said: &str| format!("{said} {LEAST}");
    let table = [
        ("", with_least("1:1: the rollout is empty")),
        ("# nothing\n", with_least("1:1: the rollout is empty")),
        ("version: 1\n", with_least("1:1: the rollout has no `steps`")),
        ("version: 1\nsteps: []\n", with_least("2:1: the rollout has no steps")),
        (
            "restart\n",
            with_least("1:1: a rollout must be a mapping with the keys version, name, vars, defaults, steps, not text"),
        ),
    ];
    for (text, expected) in &table {
        assert_eq!(faults(text, &[]), [expected.as_str()], "in\n{text}");
    }
    check(&[
        (
            "- name: a\n",
            &[
                "1:3: a rollout must be a mapping with the keys version, name, vars, defaults, steps, not a list (put the list under `steps:`)",
            ],
        ),
        (
            "steps: [{name: a, role: database, exec: date}]\n",
            &["1:1: the rollout has no `version` (begin the file with `version: 1`)"],
        ),
        (
            "version: 2\nsteps: [{name: a, role: database, exec: date}]\n",
            &[
                "1:10: unsupported format version 2: this ctl supports version 1 (this file was written for a newer ctl)",
            ],
        ),
        (
            "version: one\nsteps: [{name: a, role: database, exec: date}]\n",
            &["1:10: invalid value `one` for `version`: expected the number 1"],
        ),
        ("version: 1\nsteps: {a: b}\n", &["2:8: `steps` must be a list of steps, each with a `-`, not a mapping"]),
        ("version: 1\nsteps:\n", &["2:1: `steps` has no value: expected a list of steps, each with a `-`"]),
        ("version: 1\ntasks: []\n", &["2:1: unknown key `tasks` in the rollout (did you mean steps?)"]),
        (
            "version: 1\nsteps: []\nsteps: []\n",
            &[
                "2:1: the rollout has no steps (the minimum is `version: 1` and `steps: [{name: restart, role: analytics, services: all, action: restart}]`)",
                "3:1: the key `steps` is defined twice",
            ],
        ),
        (
            "version: 1\nsteps:\n\t- name: a\n",
            &["3:1: tab in the indentation; YAML allows only spaces (indent with spaces)"],
        ),
        (
            "version: 1\nsteps: [{name: 'a}]\n",
            &["2:16: this is not valid YAML: unclosed quote (the quote that begins here is never closed)"],
        ),
        (
            "version: 1\n---\nsteps: []\n",
            &[
                "3:1: a second YAML document begins here; a rollout must be a single document (remove the `---`, or put the documents together)",
            ],
        ),
        (
            "version: 1\0",
            &["1:11: this is not a text file: byte 0x00 at offset 10 (a rollout must be a UTF-8 text file)"],
        ),
        ("version: 1\nsteps: [a]\n", &["2:9: a step must be a mapping with a `name`, not text"]),
    ]);
}

#[test]
fn a_step_as_a_whole() {
    check(&[
        (
            "version: 1\nsteps:\n  - role: database\n    exec: date\n",
            &["3:5: the step has no `name` (such as `name: restart the collectors`)"],
        ),
        (
            "version: 1\nsteps:\n  - {name: a, role: database, exec: date}\n  - {name: a, role: config, exec: date}\n",
            &["4:12: two steps are named `a` (give each step a name of its own)"],
        ),
        // Also if a variable makes them equal, and if one of them is invalid.
        (
            "version: 1\nvars: {v: a}\nsteps:\n  - {name: a, role: database}\n  - {name: '{{ v }}', role: config, exec: date}\n",
            &[
                "4:5: the step does nothing: it has neither `exec`, `services` nor `each` (give it a command, services and an `action`, or a list of items)",
                "5:12: two steps are named `a` (give each step a name of its own)",
            ],
        ),
        (
            "version: 1\nsteps:\n  - {name: \"a\\nb\", role: database, exec: date}\n",
            &["3:12: the name `a\\nb` has a control character in it"],
        ),
        (
            "version: 1\nsteps:\n  - {nam: a, role: database, exce: date}\n",
            &[
                "3:6: unknown key `nam` in a step (did you mean name?)",
                "3:30: unknown key `exce` in a step (did you mean exec?)",
            ],
        ),
        ("version: 1\nsteps:\n  - date\n", &["3:5: a step must be a mapping with a `name`, not text"]),
        ("version: 1\nsteps:\n  -\n", &["2:1: a step must be a mapping with a `name`, not nothing"]),
    ]);
}

#[test]
fn where_a_step_goes() {
    check_steps(&[
        (
            "exec: date",
            &[
                "3:5: the step has neither `role` nor `nodes` (for example `role: analytics`; `nodes: \"@*\"` selects all of them)",
            ],
        ),
        ("role: databse\n    exec: date", &["3:11: unknown role `databse` (did you mean database?)"]),
        ("role: [database, collector, xyz]\n    exec: date", &["3:33: unknown role `xyz` (the roles are {ROLES})"]),
        ("role: []\n    exec: date", &["3:5: `role` is an empty list (leave the key out and use `nodes`)"]),
        ("role: compute\n    exec: date", &["3:5: the step selects no node: no node has the role compute"]),
        (
            "role: config\n    nodes: db[1-2]\n    exec: date",
            &["3:5: the step selects no node: no node in that node set has the role config"],
        ),
        ("nodes: db1\n    exclude: 'db*'\n    exec: date", &["3:5: the step selects no node: `db1` matches no node"]),
        ("nodes: '@none'\n    exec: date", &["3:5: the step selects no node: `@none` matches no node"]),
        ("nodes: db[1-4]\n    exec: date", &["3:12: `nodes`: the inventory has no node db4 (did you mean db1?)"]),
        ("nodes: db[1-\n    exec: date", &["3:14: `nodes`: `[` without `]`"]),
        ("nodes: '@rack2'\n    exec: date", &["3:13: `nodes`: unknown group `@rack2` (known groups: {GROUPS})"]),
        (
            "nodes: x1\n    exclude: y1\n    role: z\n    exec: date",
            &[
                "3:12: `nodes`: the inventory has no node x1 (`ctl inventory list` lists the nodes)",
                "4:14: `exclude`: the inventory has no node y1 (`ctl inventory list` lists the nodes)",
                "5:11: unknown role `z` (the roles are {ROLES})",
            ],
        ),
        ("nodes: [db1]\n    exec: date", &["3:12: `nodes` must be a node set, not a list"]),
    ]);
}

#[test]
fn the_action_of_a_step() {
    check_steps(&[
        (
            "role: database",
            &[
                "3:5: the step does nothing: it has neither `exec`, `services` nor `each` (give it a command, services and an `action`, or a list of items)",
            ],
        ),
        (
            "role: database\n    exec: date\n    services: all\n    action: stop",
            &["5:5: `exec` cannot be combined with `services` (split it into two steps)"],
        ),
        (
            "role: database\n    action: stop",
            &[
                "4:5: the step has an `action` but no `services` (such as `services: contrail-collector`, or `services: all`)",
            ],
        ),
        (
            "role: database\n    services: all",
            &["4:5: the step has `services` but no `action` (such as `action: restart`)"],
        ),
        (
            "role: database\n    services: all\n    action: restrat",
            &[
                "5:13: invalid value `restrat` for `action`: expected restart, start, stop or update (did you mean restart?)",
            ],
        ),
        (
            "role: database\n    services: all\n    action: status",
            &["5:13: invalid value `status` for `action`: expected restart, start, stop or update"],
        ),
        (
            "role: database\n    services: a, b\n    action: stop",
            &[
                "4:15: `a, b` is not a valid service name: a service name cannot contain spaces, slashes or control characters (write several services as a list: `[contrail-api, contrail-schema]`)",
            ],
        ),
        (
            "role: database\n    services: [a, 'b,c', 'd:e:f', /x, '[']\n    action: stop",
            &[
                "4:19: `b,c` is not a valid service name: a service name cannot contain commas (write several services as a list: `[contrail-api, contrail-schema]`)",
                "4:26: `d:e:f` is not a valid service name: expected `program`, `group:program` or a glob",
                "4:35: `/x` is not a valid service name: a service name cannot contain spaces, slashes or control characters",
                "4:39: `[` is not a valid service name: invalid range pattern",
            ],
        ),
        (
            "role: database\n    services: []\n    action: stop",
            &["4:15: `services` is an empty list (`services: all` selects everything the nodes have)"],
        ),
        ("role: database\n    exec: []", &["4:11: `exec` is an empty list"]),
        ("role: database\n    exec: ''", &["4:11: `exec` is empty: expected a command"]),
        ("role: database\n    exec: ['', x]", &["4:12: `exec` is empty: expected a word of a command"]),
        ("role: database\n    exec:", &["4:5: `exec` has no value: expected a command"]),
        ("role: database\n    exec: {a: b}", &["4:11: `exec` must be a command, not a mapping"]),
        ("role: database\n    exec: \"a\\0\"", &["4:11: the command in `exec` contains a NUL character"]),
        ("role: database\n    exec: [a, \"b\\0\"]", &["4:15: the command in `exec` contains a NUL character"]),
    ]);
}

#[test]
fn settings_that_are_wrong() {
    const PLACE: &str = "role: database\n    exec: date\n    ";
    let table: &[(&str, &str)] = &[
        ("serial: 0", "5:13: `0` is not a valid number of nodes: it must be at least 1"),
        (
            "serial: -1",
            "5:13: `-1` is not a valid number of nodes: expected a number from 1, such as 3, or a percentage from 1% to 100%",
        ),
        ("serial: [1, 101%]", "5:17: `101%` is not a valid number of nodes: a percentage cannot exceed 100%"),
        ("serial: []", "5:13: `serial` is an empty list"),
        ("serial:", "5:5: `serial` has no value: expected a number of nodes, a percentage, or several"),
        ("serial: [[1]]", "5:14: `serial` must be a number of nodes, a percentage, or several, not a list"),
        (
            "max_failures: some",
            "5:19: `some` is not a valid failure limit: expected a number of nodes, such as 0 or 2, or a percentage from 0% to 100%",
        ),
        (
            "max_unavailable: 0",
            "5:22: `0` is not a valid cap: expected a number of nodes from 1, a percentage from 1% to 100%, or none",
        ),
        (
            "gate: runing",
            "5:11: invalid value `runing` for `gate`: expected running, active or none (did you mean running?)",
        ),
        ("stable: 5 parsecs", "5:13: invalid value `5 parsecs` for `stable`: expected a time such as 5s, 2m or 500ms"),
        ("pause: 8d", "5:12: `pause` must be at most 7 days"),
        ("timeout: 0", "5:14: `timeout` must be more than 0 and at most 7 days"),
        ("gate_timeout: 0s", "5:19: `gate_timeout` must be more than 0 and at most 7 days"),
        ("on_failure: abort", "5:17: invalid value `abort` for `on_failure`: expected stop or continue"),
        ("gate_snapshot: [a]", "5:20: `gate_snapshot` must be the file of a snapshot, or none, not a list"),
        ("check: [a]", "5:12: `check` must be a command, not a list"),
        ("check: '{{ x }}'", "5:13: no variable `x` (declare it: `vars: {name: value}`)"),
        ("max_unavailible: 1", "5:5: unknown key `max_unavailible` in a step (did you mean max_unavailable?)"),
    ];
    for (key, expected) in table {
        check_steps(&[(&format!("{PLACE}{key}"), &[expected])]);
        // The same faults apply in `defaults`, at their places there.
        let text = format!("version: 1\ndefaults:\n    {key}\nsteps: [{{name: a, role: database, exec: date}}]\n");
        let moved = expected.replacen("5:", "3:", 1).replace("in a step", "in `defaults`");
        assert_eq!(faults(&text, &[]), [moved], "in\n{text}");
    }
    let keys = settings::keys().join(", ");
    check(&[(
        "version: 1\ndefaults: {role: database}\nsteps: [{name: a, role: database, exec: date}]\n",
        &[&format!("2:12: unknown key `role` in `defaults` (the keys are {keys})")],
    )]);
}

#[test]
fn variables_that_are_wrong() {
    const STEPS: &str = "\nsteps: [{name: a, role: database, exec: 'echo {{ release }}'}]\n";
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let table: &[Row<'_>] = &[
        ("", &[], &["3:47: no variable `release` (declare it: `vars: {name: value}`)"]),
        ("vars: {relaese: 1}", &[], &["3:47: no variable `release` (did you mean relaese?)"]),
        ("vars: {x: 1, y: 2}", &[], &["3:47: no variable `release` (the variables are x, y)"]),
        ("vars: {release: ~}", &[], &["2:8: the variable `release` needs a value (set it with `-e release=VALUE`)"]),
        (
            "vars: {release: 1}",
            &[("relase", "2")],
            &["2:1: `-e` sets `relase`, which is not a variable of this rollout (did you mean release?)"],
        ),
        (
            "vars: {release: 1}",
            &[("x", "2")],
            &["2:1: `-e` sets `x`, which is not a variable of this rollout (its variables are release)"],
        ),
        ("vars: {release: [1]}", &[], &["2:17: `release` must be text, not a list"]),
        ("vars: {release: 1, release: 2}", &[], &["2:20: the variable `release` is defined twice"]),
        ("vars: {release: 1, a b: 2}", &[], &["2:21: `a b` is not a valid variable name: it contains a space"]),
        // What they name is not known then, and is not blamed.
        (
            "variables: {release: 1}",
            &[("x", "2")],
            &["2:1: unknown key `variables` in the rollout (did you mean vars?)"],
        ),
        ("vars: release", &[], &["2:7: `vars` must be a mapping, each variable with its value, not text"]),
    ];
    for (vars, given, expected) in table {
        let text = format!("version: 1\n{vars}{STEPS}");
        assert_eq!(&faults(&text, given), expected, "in\n{text}");
    }
    assert_eq!(
        faults("version: 1\nsteps: [{name: a, nodes: db1, exec: date}]", &[("x", "")]),
        ["1:1: `-e` sets `x`, which is not a variable of this rollout (it has none)"]
    );
}

#[test]
fn braces_that_are_wrong() {
    check_steps(&[
        ("role: database\n    exec: echo {{ x", &["4:16: a `{{` in `exec` is never closed (write `{{ name }}`)"]),
        (
            "role: database\n    exec: '{{ y }} {{ x {{ y }}'",
            &[
                "4:12: no variable `y` (declare it: `vars: {name: value}`)",
                "4:20: a `{{` in `exec` is never closed (write `{{ name }}`)",
            ],
        ),
        ("role: database\n    exec: '{{ }}'", &["4:12: there is no name between the braces (write `{{ name }}`)"]),
        (
            "role: database\n    exec: {{ y }}",
            &[
                "4:11: YAML reads the braces of `exec` as a mapping (quote a value that begins with `{{`: \"{{ name }}\")",
            ],
        ),
        // In a block scalar too, the place is that of the braces.
        (
            "role: database\n    exec: |\n      set -e\n      echo {{ y }}",
            &["6:12: no variable `y` (declare it: `vars: {name: value}`)"],
        ),
    ]);
    check(&[(
        "version: 1\nvars: {e: ' '}\nsteps: [{name: a, role: database, exec: '{{ e }}'}]\n",
        &["3:41: `exec` is empty once its variables are expanded"],
    )]);
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = "version: 2
vars: {a: ~}
defaults: {serial: 0}
steps:
  - {name: a, role: databse, exec: '{{ b }}'}
  - {name: a, nodes: zz9, services: 'x y', action: strat}
";
    let lines: Vec<usize> = match read_with(text, &[("c", "")]) {
        Err(error) => error.problems.iter().map(|problem| problem.line).collect(),
        Ok(rollout) => panic!("{rollout:?}"),
    };
    assert_eq!(lines, [1, 2, 2, 3, 5, 5, 6, 6, 6, 6]);
}

#[test]
fn bounds() {
    let steps = |count: usize| {
        let steps: String = (0..count).map(|n| format!("  - {{name: s{n}, nodes: db1, exec: date}}\n")).collect();
        format!("version: 1\nsteps:\n{steps}")
    };
    assert_eq!(good(&steps(MAX_STEPS), &[]).steps.len(), MAX_STEPS);
    assert_eq!(faults(&steps(MAX_STEPS + 1), &[]), ["1003:5: there are 1001 steps: a rollout may have at most 1000"]);

    let large = format!("version: 1\n#{}", "x".repeat(1024 * 1024));
    assert_eq!(faults(&large, &[]), ["it is larger than 1 MiB (is it a rollout?)"]);

    // A variable of half a megabyte, 50,000 times.
    let text = format!(
        "version: 1\nvars: {{v: {}}}\nsteps: [{{name: a, nodes: db1, exec: 'x{}'}}]",
        "y".repeat(500_000),
        "{{v}}".repeat(50_000)
    );
    let began = Instant::now();
    assert_eq!(faults(&text, &[]), ["3:37: `exec` is longer than 128 KiB"]);
    assert!(began.elapsed() < Duration::from_secs(30));

    let long = format!("version: 1\nsteps: [{{name: a, nodes: db1, exec: date, serial: {}}}]", "1".repeat(500_000));
    assert!(faults(&long, &[]).concat().len() < 300);
}

#[test]
fn files() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |path: &Path| {
        let said = load(path).expect_err("no rollout").to_string();
        said.strip_prefix(&path.display().to_string()).unwrap_or(&said).to_owned()
    };
    assert_eq!(said(&folder.path().join("none.yaml")), ": no such file");
    assert_eq!(said(folder.path()), ": it is a directory, not a file (give the rollout file in that directory)");
    let path = folder.path().join("up.yaml");
    std::fs::write(&path, b"version: 1 # \xff").expect("written");
    assert_eq!(said(&path), ":1:14: this is not UTF-8: byte 0xff at offset 13 (a rollout must be a UTF-8 text file)");
    std::fs::File::create(&path).and_then(|file| file.set_len(100 << 30)).expect("written");
    assert_eq!(said(&path), ": it is larger than 1 MiB (is it a rollout?)");
    std::fs::write(&path, "\u{feff}version: 1\nsteps: [{name: a, nodes: db1, exec: date}]").expect("written");
    let (text, _) = load(&path).expect("a rollout");
    assert_eq!(read(&path, &text, &[], &inventory()).expect("a rollout").steps.len(), 1);
}

fn example_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples").join(file)
}

fn example_inventory(file: &str) -> Inventory {
    ctl_inventory::load(&example_path(file), &PathEnvironment::default()).expect("the example's inventory")
}

/// An example from the documentation, with its inventory.
fn example(rollout: &str, inventory: &Inventory, vars: &[(&str, &str)]) -> Result<Rollout, RolloutError> {
    let path = example_path(rollout);
    read(&path, &load(&path)?.0, &given(vars), inventory)
}

#[test]
fn the_examples_are_right() {
    let cluster = example_inventory("contrail-inventory.yaml");
    let upgrade = example("contrail-upgrade.yaml", &cluster, &[]).expect("a rollout");
    assert_eq!(upgrade.name.as_deref(), Some("Contrail 3.2.0.0-19"));
    // The order of Contrail's own upgrade task, after the first stops.
    let mut roles: Vec<&str> = Vec::new();
    for step in upgrade.steps.iter().skip_while(|step| step.roles != ["database"]) {
        if let [role] = &step.roles[..]
            && roles.last() != Some(&role.as_str())
        {
            roles.push(role);
        }
    }
    // Every role of that cluster has its steps.
    let has_nodes = |role: &&str| cluster.nodes.iter().any(|node| node.roles.iter().any(|own| own == role));
    let order: Vec<&str> = ROLE_ORDER.into_iter().filter(has_nodes).collect();
    assert!(order.len() > 5, "{order:?}");
    assert_eq!(roles, order);

    let fleet = example_inventory("fleet-inventory.yaml");
    let deploy = |vars| example("fleet-deploy.yaml", &fleet, vars);
    let fetch = deploy(&[("build", "1 2")]).expect("a rollout").steps[0].what.clone();
    assert_eq!(fetch, StepAction::Exec { command: "/srv/shop/bin/fetch '1 2'".into() });
    let said = deploy(&[]).expect_err("no build").problems.remove(0).message;
    assert_eq!(said, "the variable `build` needs a value");
}

#[test]
fn the_file_of_a_snapshot_counts_from_the_folder_of_the_rollout() {
    let text = "version: 1\ndefaults: {gate_snapshot: before.json}\nsteps:\n\
                - {name: a, nodes: db1, exec: date}\n- {name: b, nodes: db1, exec: date, gate_snapshot: none}\n\
                - {name: c, nodes: db1, exec: date, gate_snapshot: /kept/c.json}\n";
    let rollout = read(Path::new("/plans/up.yaml"), text, &[], &inventory()).expect("a rollout");
    let paths: Vec<Option<&Path>> = rollout.steps.iter().map(|step| step.policy.gate_snapshot.as_deref()).collect();
    assert_eq!(paths, [Some(Path::new("/plans/before.json")), None, Some(Path::new("/kept/c.json"))]);
}

#[test]
fn the_documented_ones_are_right() {
    let docs = include_str!("../../../../docs/rollout.md");
    let blocks: Vec<&str> = docs.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(good(blocks[0], &[]).steps[0].name.contains("collectors"));
    for key in settings::keys().into_iter().chain(step::OWN_KEYS) {
        assert!(docs.contains(&format!("| `{key}` |")), "docs/rollout.md does not have {key}");
    }
    let (_, of_items) = docs.split_once("## A node's own sequence").expect("the section");
    for key in item::KEYS {
        assert!(of_items.contains(&format!("| `{key}` |")), "docs/rollout.md does not have {key} of an item");
    }
    let sequence = good(blocks[1], &[]).steps.remove(0).what;
    assert!(matches!(sequence, StepAction::Each(sequence) if sequence.items().len() == 3));
}

/// The items of a step whose only key besides is `each`.
#[track_caller]
fn items_of(each: &str, besides: &str) -> Vec<SequenceItem> {
    let text = format!("version: 1\nsteps:\n- name: roll\n  role: config\n{besides}  each:\n{each}\n");
    let StepAction::Each(sequence) = good(&text, &[]).steps.remove(0).what else { panic!("no sequence in\n{text}") };
    sequence.items().to_vec()
}

#[test]
fn items_do_what_a_step_can_do() {
    let items = items_of(
        "  - {name: drain, on: controller, exec: [drain, 'a b'], timeout: 10s}\n\
         \x20 - {name: quiet, check: 'test -e /quiet', until: 1m}\n\
         \x20 - {name: settle, wait: 5s}\n\
         \x20 - {name: restart, services: [contrail-api, contrail-schema], action: restart, stable: 0}\n\
         \x20 - {name: again, check: 'true', interval: 3s}",
        "  gate: active\n  stable: 9s\n  serial: 1\n",
    );
    let works: Vec<String> = items.iter().map(|item| format!("{} {}", item.place.as_str(), item.work)).collect();
    assert_eq!(
        works,
        [
            "controller exec: drain 'a b'",
            "node check: test -e /quiet (every 1s, for up to 1m)",
            "node wait 5s",
            "node restart contrail-api contrail-schema",
            "node check: true"
        ]
    );
    assert_eq!(items[0].timeout, Some(Duration::from_secs(10)));
    // An item has the gates of its step, unless it sets its own; batches are the step's alone.
    let ItemWork::Service { policy, .. } = &items[3].work else { panic!("{items:?}") };
    assert_eq!(
        (policy.gate, policy.stable, policy.serial.clone()),
        (Some(GateLevel::Active), Some(Duration::ZERO), None)
    );
}

#[test]
fn items_are_taken_back_on_the_ends_that_are_named() {
    let items = items_of(
        "  - {name: a, exec: drain, undo: [fill, 'x y']}\n\
         \x20 - {name: b, exec: drain, undo: fill, when: lost, renew: 60s}\n\
         \x20 - {name: c, services: x, action: stop, undo: start x, when: [success, failure]}\n\
         \x20 - {name: d, exec: drain}",
        "",
    );
    let undos: Vec<Option<(&str, Vec<&str>)>> =
        items.iter().map(|item| item.undo.as_ref().map(|undo| (undo.command.as_str(), undo.ends.names()))).collect();
    assert_eq!(
        undos,
        [
            Some(("fill 'x y'", vec!["success", "failure", "lost"])),
            Some(("fill", vec!["lost"])),
            Some(("start x", vec!["success", "failure"])),
            None
        ]
    );
    let renewals: Vec<Option<Duration>> = items.iter().map(|item| item.renew).collect();
    assert_eq!(renewals, [None, Some(Duration::from_secs(60)), None, None]);
}

#[test]
fn items_that_are_wrong() {
    let in_step = |each: &str| format!("version: 1\nsteps:\n- name: a\n  role: config\n  each: {each}\n");
    for (each, expected) in [
        (
            "[]",
            "5:3: `each` is an empty list (such as `each: [{name: restart, services: contrail-api, action: restart}]`)",
        ),
        ("restart", "5:9: `each` must be a list of items, each with a `-`, not text"),
        ("[restart]", "5:10: an item must be a mapping with a `name`, not text"),
        ("[{exec: date}]", "5:10: the item has no `name` (such as `name: drain`)"),
        (
            "[{name: b}]",
            "5:10: the item does nothing: it has neither `exec`, `services`, `check` nor `wait` (give it a command, services and an `action`, a check, or a time to wait)",
        ),
        ("[{name: b, exec: date, wait: 1s}]", "5:32: `exec` cannot be combined with `wait` (split it into two items)"),
        (
            "[{name: b, exec: date}, {name: b, exec: id}]",
            "5:40: two items are named `b` (give each item of a step a name of its own)",
        ),
        ("[{name: b, services: x}]", "5:20: the item has `services` but no `action` (such as `action: restart`)"),
        (
            "[{name: b, action: stop}]",
            "5:20: the item has an `action` but no `services` (such as `services: contrail-collector`, or `services: all`)",
        ),
        (
            "[{name: b, exec: date, on: balancer}]",
            "5:36: `on`: the inventory has no node `balancer` (`ctl inventory list` lists the nodes)",
        ),
        ("[{name: b, exec: date, on: an4}]", "5:36: `on`: the inventory has no node `an4` (did you mean an1?)"),
        (
            "[{name: b, exec: date, on: 'an[1-2]'}]",
            "5:36: `on`: the inventory has no node `an[1-2]` (`ctl inventory list` lists the nodes)",
        ),
        ("[{name: b, wait: 1s, on: an1}]", "5:30: a `wait` has no `on`"),
        (
            "[{name: b, services: x, action: stop, on: controller}]",
            "5:51: services are changed on a node, not on the controller",
        ),
        ("[{name: b, exec: date, until: 5s}]", "5:32: `until` needs `check`"),
        ("[{name: b, exec: date, gate: none}]", "5:32: `gate` needs `services`"),
        ("[{name: b, wait: 1s, timeout: 5s}]", "5:30: a `wait` has no `timeout`"),
        ("[{name: b, wait: 0}]", "5:26: `wait` must be more than 0 and at most 7 days"),
    ] {
        assert_eq!(faults(&in_step(each), &[]).first().map(String::as_str), Some(expected), "{each}");
    }
    for (item, expected) in [
        ("before: id", "5:32: unknown key `before` in an item"),
        ("renew: 60s", "5:32: `renew` needs `undo`"),
        ("undo: id, renew: 0", "5:49: `renew` must be more than 0 and at most 7 days"),
        ("when: lost", "5:32: `when` needs `undo`"),
        ("undo: id, when: []", "5:48: `when` is an empty list"),
        ("undo: id, when: [lost, never]", "5:55: invalid value `never` for `when`: expected success, failure or lost"),
    ] {
        let found = faults(&in_step(&format!("[{{name: b, exec: date, {item}}}]")), &[]);
        assert!(found[0].starts_with(expected), "{item}: {found:?}");
    }
    let of_check = faults(&in_step("[{name: b, check: date, undo: id}]"), &[]);
    assert!(of_check[0].contains("`undo` cannot be used with"), "{of_check:?}");
    let long = format!("[{{name: b, exec: date, undo: {}}}]", "x".repeat(9000));
    assert!(faults(&in_step(&long), &[])[0].contains("`undo` is longer than 8 KiB"));
    let both = faults("version: 1\nsteps:\n- {name: a, role: config, exec: date, each: [{name: b, exec: id}]}\n", &[]);
    assert_eq!(both, ["3:27: `each` cannot be combined with `exec` (make it an item of `each`)"]);
    let many = vec!["{name: b, wait: 1s}"; MAX_ITEMS + 1].join(", ");
    assert!(faults(&in_step(&format!("[{many}]")), &[])[0].contains("a step may have at most 100"));
}

#[test]
fn a_helper_is_a_node_of_the_inventory() {
    let items = items_of("  - {name: a, exec: date, on: an1}\n  - {name: b, services: x, action: stop, on: db2}", "");
    assert_eq!(items.iter().map(|item| item.place.as_str()).collect::<Vec<_>>(), ["an1", "db2"]);
    let sequence = crate::Sequence::new(items);
    assert!(sequence.services().is_empty() && sequence.verbs().next().is_none(), "they are no services of the node");
    let text = "version: 1\nvars: {lb: an2}\nsteps: [{name: s, role: database, each: [{name: a, exec: date, on: '{{ lb }}'}]}]";
    let StepAction::Each(sequence) = &good(text, &[]).steps[0].what else { panic!("no sequence") };
    assert_eq!(sequence.helpers().collect::<Vec<_>>(), ["an2"]);
}

/// Fragments of rollout files.
const PIECES: [&str; 40] = [
    "version: 1\n",
    "steps:\n",
    "  - ",
    "name: ",
    "role: ",
    "nodes: ",
    "exclude: ",
    "exec: ",
    "services: ",
    "action: ",
    "serial: ",
    "defaults: ",
    "vars: ",
    "check: ",
    "{{",
    "}}",
    "{{ a }}",
    "a",
    "1",
    "25%",
    "\n",
    "    ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "'",
    "\"",
    "@*",
    "&x ",
    "*x",
    "<<: ",
    "~",
    "|\n",
    "db1",
    "database",
    "stop",
    "\t",
    "é",
];

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        prop_assert!(read_with(&text, &[("a", "b")]).is_err());
    }

    #[test]
    fn any_pieces_are_read_without_a_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        // They need not be a valid rollout; if not, every fault lies within the text.
        let text = pieces.concat();
        if let Err(error) = read_with(&text, &[]) {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.iter().all(|problem| error.text.get(problem.span.clone()).is_some()));
        }
    }

    #[test]
    fn a_right_text_with_changes_is_read_without_a_panic(
        at in 0..WHOLE.len(), len in 0_usize..20, piece in prop::sample::select(&PIECES[..]),
    ) {
        let text = format!("{}{piece}{}", &WHOLE[..at], &WHOLE[(at + len).min(WHOLE.len())..]);
        if let Err(error) = read_with(&text, &[]) {
            prop_assert!(!error.problems.is_empty());
        }
    }

    #[test]
    fn the_value_of_a_variable_is_not_changed(value in "[^\u{0}]{0,40}") {
        let text = "version: 1\nvars: {v: ~}\nsteps: [{name: a, nodes: db1, exec: 'echo \"{{ v }}\"'}]";
        let rollout = good(text, &[("v", &value)]);
        prop_assert_eq!(&rollout.steps[0].what, &StepAction::Exec { command: format!("echo \"{value}\"") });
        let list = "version: 1\nvars: {v: ~}\nsteps: [{name: a, nodes: db1, exec: [echo, '<{{ v }}>']}]";
        let StepAction::Exec { command } = good(list, &[("v", &value)]).steps.remove(0).what else { panic!("no command") };
        prop_assert_eq!(shlex::split(&command), Some(vec!["echo".to_owned(), format!("<{value}>")]));
    }
}
