//! A node's own sequence against real sshd and supervisord: what its commands know, and that a controller which is killed in
//! the middle leaves nothing drained and nothing stopped.

use std::fs;

use crate::harness::{Cluster, Instance, Node, NodeSpec, Program, eventually};

const REASON: &str = "it's a \"$(touch /tmp/pwned)\" test; `id`";

/// Two nodes, as a user with sudo or as root.
fn cluster(defaults: &str) -> Cluster {
    let spec = NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3)));
    Cluster::builder().nodes("a", 2, &spec).defaults(defaults).start()
}

fn rollout(cluster: &Cluster, items: &str) -> String {
    let path = cluster.path("rollout.yaml");
    let text = format!(
        "version: 1\nsteps:\n- name: roll\n  role: analytics\n  serial: 1\n  stable: 0s\n  timeout: 60s\n  each:\n{items}"
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The items of a drain, which note their order in a file of the node.
const DRAINED: &str = "  - {name: silence, exec: 'echo silence >> /tmp/acts', undo: 'echo speak >> /tmp/acts'}
  - name: drain
    exec: 'echo drain >> /tmp/acts; touch /tmp/drained'
    undo: 'test \"$CTL_NODE\" = a1 -o \"$CTL_NODE\" = a2 && echo return >> /tmp/acts && rm -f /tmp/drained'
  - {name: restart, services: contrail-collector, action: restart}
";

fn acts(node: &Node) -> Vec<String> {
    node.sh("cat /tmp/acts 2>/dev/null || true").lines().map(str::to_owned).collect()
}

#[test]
fn a_command_gets_its_environment_as_data() {
    for defaults in ["", "user: ctlops, sudo: true"] {
        let cluster = cluster(defaults);
        let items = "  - {name: look, exec: 'printf \"%s\\n\" \"$CTL_NODE\" \"$CTL_ROLE\" \"$CTL_STEP\" \"$CTL_BATCH\" \"$CTL_REASON\"'}\n";
        let path = rollout(&cluster, items);
        let run = cluster.ctl_words(&["rollout", &path, "-y", "-o", "json", "--reason", REASON]).expect(0);
        for (batch, node) in [(1, "a1"), (2, "a2")] {
            let said = run.result(node)["stdout"].as_str().unwrap().to_owned();
            assert_eq!(said, format!("{node}\nanalytics\nroll\n{batch}\n{REASON}\n"), "{run}");
            assert_eq!(cluster.node(node).sh("ls /tmp/pwned 2>/dev/null || true"), "");
        }
    }
}

#[test]
fn a_sequence_takes_back_what_it_opened() {
    let cluster = cluster("");
    let path = rollout(&cluster, DRAINED);
    let run = cluster.ctl(&format!("rollout {path} -y -o json")).expect(0);
    for node in cluster.nodes() {
        assert_eq!(acts(node), ["silence", "drain", "return", "speak"], "{run}");
        assert_eq!(node.sh("ls /tmp/drained 2>/dev/null || true"), "");
    }
}

/// The guard starts the service first, and only then takes back the rest, the last first.
#[test]
fn a_killed_controller_leaves_nothing_drained() {
    for defaults in ["", "user: ctlops, sudo: true"] {
        let cluster = cluster(defaults);
        let node = cluster.node("a1");
        let before = node.process("contrail-collector").unwrap().pid;
        let path = rollout(&cluster, DRAINED);
        let run = cluster.ctl_start(&format!("rollout {path} -y"));
        node.wait_for("contrail-collector", "STOPPING");
        assert_eq!(acts(node), ["silence", "drain"]);
        run.signal("KILL");
        drop(run.finish());
        eventually("the guard to take everything back", || (acts(node).len() == 4).then_some(()));
        assert_eq!(acts(node), ["silence", "drain", "return", "speak"]);
        let now = node.process("contrail-collector").unwrap();
        assert!(now.state == "RUNNING" && now.pid != before, "the service is up before the node is taken back");
        // The run goes on: the restart is done, so that the other node is all that is left, and a1 is at rest.
        cluster.ctl("runs resume last -o json").expect(0);
        for node in cluster.nodes() {
            assert_eq!(node.sh("ls /tmp/drained 2>/dev/null || true"), "", "{}", node.name);
            assert_eq!(node.process("contrail-collector").unwrap().state, "RUNNING");
        }
    }
}
