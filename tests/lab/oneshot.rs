//! Programs that are meant to end: the same result from every supervisord version and backend.

use contrail_lab::{Fault, Release, Role, State, SupervisorVersion};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, ended, node, single, word};

#[test]
fn by_startsecs_alone() {
    for version in [SupervisorVersion::V3_0, SupervisorVersion::V3_3, SupervisorVersion::V4_2_5] {
        for via in ["rpc", "supervisorctl", "service"] {
            let mut spec = node(Release::R3_2, [Role::Analytics]).supervisor(version);
            spec.faults.push(Fault::MadeToEnd(COLLECTOR.to_owned()));
            let cluster = Cluster::start(single(spec));
            let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json --via {via}")).expect(0);
            assert_eq!(ended(&run.result("n")), "changed", "{version:?} {via}\n{run}");
            // The query may come before it ends.
            assert!(matches!(word(&run.result("n")["state"]), "RUNNING" | "EXITED"), "{version:?} {via}\n{run}");
            cluster.wait_for("n", ANALYTICS, COLLECTOR, State::Exited);
            assert_eq!(cluster.process("n", ANALYTICS, COLLECTOR).starts, 2, "{version:?} {via}\n{run}");
        }
    }
}
