//! Runs that have batches because of a cap, without `--serial`.

use contrail_lab::{ClusterSpec, Introspect, NodeSpec, Release, Role};

use crate::harness::{CONFIG, Cluster, FAST};

/// Three config nodes whose API does not report that it works.
fn idle_apis() -> ClusterSpec {
    let node = |name: &str| {
        let mut node = NodeSpec::new(name, Release::R3_2).roles([Role::Config]);
        node.introspects = true;
        let says = Introspect::NonFunctional("Database connection down".to_owned());
        node.introspect.push(("contrail-schema".to_owned(), 8087, says));
        node
    };
    ClusterSpec::new(["c1", "c2", "c3"].map(node).to_vec()).timing(FAST)
}

/// Only the cap of config creates batches, but a failed gate ends the run as with `--serial`.
#[test]
fn a_gate_that_fails_ends_a_run_that_the_cap_has_cut() {
    let cluster = Cluster::start(idle_apis());
    let line = "service contrail-schema restart -r config -y -o json --stable 0s --gate active --gate-timeout 1s";
    let run = cluster.ctl(line).expect(5);
    assert_eq!(
        run.outcomes(),
        [
            "c1 contrail-schema failed gate",
            "c2 contrail-schema not_started gate",
            "c3 contrail-schema not_started gate"
        ],
        "{run}"
    );
    assert_eq!(cluster.counts(CONFIG, "contrail-schema"), [(2, 1), (1, 0), (1, 0)]);
    cluster.at_rest();
}

/// An explicit failure limit applies: that many nodes may fail.
#[test]
fn a_limit_that_was_given_lets_it_go_on() {
    let cluster = Cluster::start(idle_apis());
    let line = "service contrail-schema restart -r config -y -o json --stable 0s --gate active --gate-timeout 1s";
    let run = cluster.ctl(&format!("{line} --max-failures 3")).expect(1);
    assert_eq!(run.outcomes(), ["c1", "c2", "c3"].map(|node| format!("{node} contrail-schema failed gate")), "{run}");
}

/// The plan shows the same limits.
#[test]
fn the_plan_says_what_holds() {
    let cluster = Cluster::start(idle_apis());
    let run = cluster.ctl("service contrail-schema restart -r config --dry-run").expect(0);
    assert!(run.stdout.contains("failure limit 0; gate: RUNNING for 5s"), "{run}");
    let run = cluster.ctl("service contrail-schema restart -r config -w c1 --dry-run").expect(0);
    assert!(run.stdout.contains("failure limit unlimited; gate: RUNNING for 0s"), "{run}");
}
