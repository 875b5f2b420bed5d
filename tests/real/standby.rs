//! Active/standby services where no node is active.

use serde_json::Value;

use crate::harness::{Cluster, Instance, NodeSpec, Program};

/// Nothing listens on the port of contrail-schema: it is on standby.
fn config(schema: Program) -> NodeSpec {
    NodeSpec::new(Instance::config().with(schema).with(Program::steady("ifmap")))
}

#[test]
fn a_service_that_stands_by_everywhere_is_not_well() {
    let standby = || config(Program::steady("contrail-schema"));
    let cluster = Cluster::builder().node("c1", standby()).node("c2", standby()).start();
    let screen = cluster.ctl("status").expect(3);
    assert!(screen.stdout.contains("contrail-schema") && screen.stdout.contains("no node is active"), "{screen}");
    let status = cluster.ctl("status -o json").expect(3);
    for node in ["c1", "c2"] {
        let result = status.result_of(node, "contrail-schema");
        assert_eq!(result["functional"], "backup", "{status}");
        assert_eq!(
            result["functional_reason"],
            "no node is active: 2 of 2 nodes run this service, but nothing listens on its introspect port",
            "{status}"
        );
    }
    let metrics = cluster.ctl("status -o prom").expect(3);
    assert!(metrics.stdout.contains("ctl_role_nodes_healthy{role=\"config\"} 0"), "{metrics}");
    // With one node selected nothing is reported, because the other node may be active.
    let one = cluster.ctl("status -w c1 -o json").expect(0);
    assert_eq!(one.result_of("c1", "contrail-schema")["functional_reason"], Value::Null, "{one}");
}

#[test]
fn one_that_is_active_is_enough() {
    let active = config(Program::introspecting("contrail-schema", 8087));
    let cluster = Cluster::builder().node("c1", active).node("c2", config(Program::steady("contrail-schema"))).start();
    let status = cluster.ctl("status -o json").expect(0);
    assert_eq!(status.result_of("c2", "contrail-schema")["functional"], "backup", "{status}");
    assert_eq!(status.result_of("c2", "contrail-schema")["functional_reason"], Value::Null, "{status}");
}
