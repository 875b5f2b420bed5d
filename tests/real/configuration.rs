//! An unreadable supervisord configuration is reported as such, and nothing is changed; an inventory that belongs to
//! another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use crate::harness::{Cluster, Instance, NodeSpec, Program, Running};

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
        // A live plan reports the same.
        let run =
            cluster.ctl(&format!("service contrail-collector update --dry-run=live -o json --via {via}")).expect(0);
        let updates = run.json()["plan"]["live"]["updates"].clone();
        assert_eq!(updates[1]["failure"]["kind"], "config", "{run}");
        let hint = updates[1]["failure"]["hint"].as_str().unwrap();
        assert!(hint.contains("`ctl service contrail-collector update -w a2`"), "{run}");
    }
    assert_eq!(broken.process("contrail-collector").unwrap(), before);
}

/// An inventory of another user is rejected if it is used implicitly from a world-writable directory, and used with a
/// warning if it is named. Files of root are accepted.
#[test]
fn an_inventory_of_another_user() {
    let cluster = Cluster::of(1, &NodeSpec::new(Instance::analytics()));
    let folder = cluster.path("shared");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    let file = folder.join("inventory.yaml");
    fs::copy(cluster.inventory(), &file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let run = |words: &[&str]| {
        let mut command = cluster.at_home(env!("CARGO_BIN_EXE_ctl"));
        command.args(words).current_dir(&folder);
        Running::start(command).finish()
    };
    for (uid, code) in [(0, 0), (65_534, 2)] {
        chown(&file, Some(uid), None).unwrap();
        for words in [&["inventory", "list"][..], &["ssh-config", "a1"][..]] {
            let found = run(words).expect(code);
            let refused = found.stderr.contains("inventory.yaml is refused: it belongs to another user (uid 65534)");
            assert_eq!(refused, code == 2, "{found}");
        }
        let named = run(&["inventory", "list", "-i", "inventory.yaml"]).expect(0);
        let warned = named.stderr.contains("warning: inventory.yaml belongs to another user (uid 65534)");
        assert_eq!(warned, code == 2, "{named}");
    }
}
