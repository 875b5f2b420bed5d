//! A configuration that supervisord cannot read: said as what it is, and nothing is changed.

use crate::harness::{Cluster, Instance, NodeSpec, Program};

#[test]
fn a_configuration_that_cannot_be_read() {
    let analytics = Instance::analytics().with(Program::steady("contrail-collector"));
    let cluster = Cluster::of(2, &NodeSpec::new(analytics));
    let broken = cluster.node("a2");
    broken.sh("echo 'this is no section' >/etc/contrail/supervisord_analytics_files/broken.ini");
    let before = broken.process("contrail-collector").unwrap();
    for via in ["rpc", "supervisorctl"] {
        let run = cluster.ctl(&format!("service contrail-collector update -y -o json --via {via}")).expect(1);
        assert_eq!(run.result("a1")["outcome"], "ok", "{run}");
        let failure = &run.result("a2")["failure"];
        assert_eq!(failure["kind"], "config", "{run}");
        let message = failure["message"].as_str().unwrap();
        assert!(message.starts_with("supervisord cannot read its configuration: "), "{run}");
        assert!(message.contains("broken.ini"), "{run}");
        assert!(failure["hint"].as_str().unwrap().contains("`ctl service contrail-collector update -w a2`"), "{run}");
        // A plan that looks ahead says the same.
        let run =
            cluster.ctl(&format!("service contrail-collector update --dry-run=live -o json --via {via}")).expect(0);
        let updates = run.json()["plan"]["live"]["updates"].clone();
        assert_eq!(updates[1]["failure"]["kind"], "config", "{run}");
        let hint = updates[1]["failure"]["hint"].as_str().unwrap();
        assert!(hint.contains("`ctl service contrail-collector update -w a2`"), "{run}");
    }
    assert_eq!(broken.process("contrail-collector").unwrap(), before);
}
