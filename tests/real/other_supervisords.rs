//! A supervisord of another implementation, whose list has entries that the real one would not send.

use std::fs;

use crate::harness::{Cluster, Instance, NodeSpec, Program, listening};

/// A node with such a supervisord instead of the real one.
fn cluster(more: &str) -> Cluster {
    let cluster = Cluster::of(1, &NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector"))));
    let node = cluster.node("a1");
    fs::write(node.inside("/run/other.py"), include_str!("node/other_supervisord.py")).unwrap();
    node.sh(&format!(
        "service supervisor-analytics stop; \
         setsid python3 /run/other.py /run/supervisord_analytics.sock {more} >/run/other.log 2>&1 </dev/null &"
    ));
    listening("the other supervisord", &node.inside("/run/supervisord_analytics.sock"));
    cluster
}

/// A bad entry affects only itself: its state is reported as unknown, and the others are read.
#[test]
fn a_bad_entry_spoils_no_other() {
    let cluster = cluster("");
    let status = cluster.ctl("status -o json --via rpc").expect(3);
    let states = [
        ("contrail-collector", "RUNNING"),
        ("contrail-api", "RUNNING"),
        ("contrail-dns", "UNKNOWN"),
        ("contrail-schema", "RUNNING"),
        ("contrail-control", "UNKNOWN"),
    ];
    for (service, state) in states {
        assert_eq!(status.result_of("a1", service)["state"], state, "{status}");
    }
    let said = status.result_of("a1", "contrail-dns").to_string();
    assert!(said.contains("PAUSED"), "{status}");
    let stop = cluster.ctl("service contrail-dns stop -r analytics -y -o json --via rpc").expect(1);
    assert_eq!(stop.result("a1")["failure"]["kind"], "protocol", "{stop}");
}

/// Entries without a name are reported.
#[test]
fn an_entry_without_a_name_is_reported() {
    let cluster = cluster("unnamed");
    let status = cluster.ctl("status -o json --via rpc").expect(1);
    assert_eq!(status.result_of("a1", "contrail-collector")["state"], "RUNNING", "{status}");
    let unnamed =
        status.results().into_iter().find(|result| result["outcome"] == "failed").expect("expected a failure");
    assert!(unnamed["failure"]["message"].as_str().unwrap_or_default().contains("3 entries"), "{status}");
    let one = cluster.ctl("service contrail-collector status -o json --via rpc").expect(0);
    assert_eq!(one.result("a1")["state"], "RUNNING", "{one}");
}
