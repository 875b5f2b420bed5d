//! Items of a sequence that run on another node, against real sshd and supervisord: two runs share a helper, and the helper's
//! guard takes back what a killed controller left there.

use std::fs;

use crate::harness::{Cluster, Instance, Node, NodeSpec, Program, eventually};

/// Two nodes and their helper, as a user with sudo or as root.
fn cluster(defaults: &str) -> Cluster {
    let spec = NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3)));
    Cluster::builder().nodes("a", 3, &spec).defaults(defaults).start()
}

fn rollout(cluster: &Cluster, nodes: &str, items: &str) -> String {
    let path = cluster.path(&format!("{nodes}.yaml"));
    let text = format!(
        "version: 1\nsteps:\n- name: roll\n  nodes: '{nodes}'\n  serial: 1\n  stable: 0s\n  timeout: 60s\n  each:\n{items}"
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn lines(node: &Node, file: &str) -> Vec<String> {
    node.sh(&format!("cat {file} 2>/dev/null || true")).lines().map(str::to_owned).collect()
}

/// Of two runs, one at a time is inside the helper, and neither loses an item.
#[test]
fn two_runs_are_never_inside_a_helper_at_once() {
    const ITEMS: usize = 8;
    for defaults in ["", "user: ctlops, sudo: true"] {
        let cluster = cluster(defaults);
        let inside = |act: &str| {
            format!(
                "mkdir /tmp/inside || echo $CTL_NODE >> /tmp/clashes; sleep 0.1; echo {act} $CTL_NODE >> /tmp/acts; rmdir /tmp/inside"
            )
        };
        let item = |number: usize| {
            format!("  - {{name: i{number}, on: a3, exec: '{}', undo: '{}'}}\n", inside("do"), inside("undo"))
        };
        let items: String = (0..ITEMS).map(item).collect();
        let runs = ["a1", "a2"].map(|node| {
            let path = rollout(&cluster, node, &items);
            cluster.ctl_start(&format!("rollout {path} -y -o json"))
        });
        for run in runs {
            run.finish().expect(0);
        }
        let helper = cluster.node("a3");
        assert_eq!(lines(helper, "/tmp/clashes"), Vec::<String>::new());
        let acts = lines(helper, "/tmp/acts");
        for node in ["a1", "a2"] {
            for act in ["do", "undo"] {
                let found = acts.iter().filter(|line| **line == format!("{act} {node}")).count();
                assert_eq!(found, ITEMS, "{acts:?}");
            }
        }
    }
}

/// The service of the node is up before the helper gives it work again, although the helper cannot know.
#[test]
fn a_killed_controller_leaves_nothing_drained_on_a_helper() {
    for defaults in ["", "user: ctlops, sudo: true"] {
        let cluster = cluster(defaults);
        let (node, helper) = (cluster.node("a1"), cluster.node("a3"));
        let before = node.process("contrail-collector").unwrap().pid;
        let items = "  - {name: drain, on: a3, exec: 'echo drain $CTL_NODE >> /tmp/acts; touch /tmp/drained-$CTL_NODE', undo: 'echo return $CTL_NODE >> /tmp/acts; rm -f /tmp/drained-$CTL_NODE'}
  - {name: restart, services: contrail-collector, action: restart}
";
        let path = rollout(&cluster, "a[1-2]", items);
        let run = cluster.ctl_start(&format!("rollout {path} -y"));
        node.wait_for("contrail-collector", "STOPPING");
        assert_eq!(lines(helper, "/tmp/acts"), ["drain a1"]);
        run.signal("KILL");
        drop(run.finish());
        eventually("the guard to take everything back", || (lines(helper, "/tmp/acts").len() == 2).then_some(()));
        let now = node.process("contrail-collector").unwrap();
        assert!(now.state == "RUNNING" && now.pid != before, "the service is up before the node is taken back");
        assert_eq!(lines(helper, "/tmp/acts"), ["drain a1", "return a1"]);
        cluster.ctl("runs resume last -o json").expect(0);
        assert_eq!(helper.sh("ls /tmp/drained-* 2>/dev/null || true"), "");
        for node in cluster.nodes() {
            assert_eq!(node.process("contrail-collector").unwrap().state, "RUNNING");
        }
    }
}

/// The guard of a lost connection takes back what it is armed for before a new one is taken, and nothing runs that relies
/// on what it took back.
#[test]
fn a_helper_whose_connection_is_cut_ends_the_sequence_and_serves_the_next_node() {
    let cluster = cluster("");
    let (node, helper) = (cluster.node("a1"), cluster.node("a3"));
    let before = node.process("contrail-collector").unwrap().pid;
    let (noted, opened) = (cluster.path("noted"), cluster.path("opened"));
    let items = format!(
        "  - {{name: drain, on: a3, exec: 'echo drain $CTL_NODE >> /tmp/acts', undo: 'echo return $CTL_NODE >> /tmp/acts'}}
  - {{name: quiet, on: controller, check: 'touch {}; test -e {}', until: 600s, interval: 100ms}}
  - {{name: restart, services: contrail-collector, action: restart}}
",
        noted.display(),
        opened.display()
    );
    let path = rollout(&cluster, "a[1-2]", &items);
    let run = cluster.ctl_start(&format!("rollout {path} -y -o json"));
    eventually("the check", || noted.exists().then_some(()));
    helper.cut_connections();
    eventually("the guard to take it back", || (lines(helper, "/tmp/acts").len() == 2).then_some(()));
    fs::write(&opened, "").unwrap();
    let run = run.finish().expect(5);
    let acts = lines(helper, "/tmp/acts");
    assert_eq!(acts.iter().filter(|line| line.ends_with("a2")).collect::<Vec<_>>(), ["drain a2", "return a2"], "{run}");
    assert_eq!(acts.first().map(String::as_str), Some("drain a1"), "{run}");
    assert_eq!(node.process("contrail-collector").unwrap().pid, before, "{run}");
    assert!(run.stdout.contains("the connection to a3 was lost, and its guard undoes drain"), "{run}");
    let resumed = cluster.ctl("runs resume last -o json").expect(0);
    assert_ne!(node.process("contrail-collector").unwrap().pid, before, "{resumed}");
    assert_eq!(lines(helper, "/tmp/acts").last().map(String::as_str), Some("return a1"), "{resumed}");
}
