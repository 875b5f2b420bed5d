//! Programs that are made to end: the same answer from every supervisord, whichever way it is reached.

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
            assert_eq!(word(&run.result("n")["state"]), "EXITED", "{version:?} {via}\n{run}");
            let now = cluster.process("n", ANALYTICS, COLLECTOR);
            assert_eq!((now.starts, now.state), (2, State::Exited), "{version:?} {via}\n{run}");
        }
    }
}
