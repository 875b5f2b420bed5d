//! The rollouts of the documentation, run completely. Their times are shortened, and no packages are really installed;
//! everything else is unchanged.

use contrail_lab::{ClusterSpec, NodeSpec, Release, Role, State};

use crate::harness::{Cluster, FAST, Finished};

fn nodes(prefix: &str, width: usize, count: usize, roles: &[Role]) -> Vec<NodeSpec> {
    let name = |number: usize| format!("{prefix}{number:0width$}");
    let node = |number| NodeSpec::new(name(number), Release::R3_2).roles(roles.iter().copied()).obliging();
    (1..=count).map(node).collect()
}

/// An example with all its times reduced to nothing.
fn shortened(example: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(example);
    let text = std::fs::read_to_string(path).expect("cannot read the file");
    let line = |line: &str| {
        let key = line.trim_start().split(':').next().unwrap_or_default();
        let indent = line.len() - line.trim_start().len();
        if matches!(key, "stable" | "pause") { format!("{}{key}: 0s", " ".repeat(indent)) } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs a rollout, with additional sections in the lab's inventory.
fn carry_out(cluster: &Cluster, sections: &str, rollout: &str, words: &str) -> Finished {
    let inventory = cluster.write("inventory.yaml", cluster.inventory() + sections);
    let rollout = cluster.write("rollout.yaml", rollout);
    let line = format!("rollout {} -y {words}", rollout.display());
    crate::harness::Running::start(cluster.command_with(&line, &inventory)).finish()
}

#[test]
fn the_upgrade_of_a_contrail_cluster() {
    let mut all = nodes("db", 1, 3, &[Role::Database]);
    all.extend(nodes("ctrl", 1, 3, &[Role::Config, Role::Control, Role::WebUi]));
    all.extend(nodes("an", 1, 3, &[Role::Analytics]));
    all.extend(nodes("c", 3, 8, &[Role::Compute]));
    let cluster = Cluster::start(ClusterSpec::new(all).timing(FAST));
    let caps = "\nroles:\n  analytics: {max_unavailable: 1}\n  control: {max_unavailable: 1}\n  compute: {max_unavailable: 10%}\n";
    let run = carry_out(&cluster, caps, &shortened("contrail-upgrade.yaml"), "-o jsonl").expect(0);
    let roles: Vec<String> = run
        .events()
        .iter()
        .filter(|event| event["event"] == "batch_started")
        .map(|event| event["role"].as_str().unwrap_or("-").to_owned())
        .collect();
    let first = |role: &str| roles.iter().position(|own| own == role).expect("no batch of the role");
    let last = |role: &str| roles.iter().rposition(|own| own == role).expect("no batch of the role");
    assert!(first("config") < first("database") && first("database") < last("analytics"), "{roles:?}");
    assert!(
        last("analytics") < first("control")
            && first("control") < first("web-ui")
            && first("web-ui") < first("compute"),
        "{roles:?}"
    );
    for (node, instance, name) in [
        ("db2", "supervisor-database", "kafka"),
        ("ctrl2", "supervisor-config", "contrail-schema"),
        ("ctrl3", "supervisor-control", "contrail-control"),
        ("ctrl1", "supervisor-webui", "contrail-webui"),
        ("an1", "supervisor-analytics", "contrail-collector"),
        ("c008", "supervisor-vrouter", "contrail-vrouter-agent"),
    ] {
        let process = cluster.process(node, instance, name);
        assert_eq!(process.state, State::Running, "{name} on {node}: {run}");
    }
    let agents = cluster.nodes().iter().filter(|node| node.name().starts_with('c') && node.name().len() == 4);
    for node in agents {
        let agent = cluster.process(node.name(), "supervisor-vrouter", "contrail-vrouter-agent");
        assert_eq!(agent.stops, 1, "expected one restart: {}", node.name());
    }
    cluster.at_rest();
}

/// The same fleet under the lab's names; it has no gunicorn.
#[test]
fn the_deployment_of_a_fleet() {
    let mut all = nodes("web", 2, 8, &[Role::WebUi]);
    all.extend(nodes("worker", 1, 4, &[Role::Compute]));
    let cluster = Cluster::start(ClusterSpec::new(all).timing(FAST));
    let names = [
        ("celery-beat", "contrail-vrouter-nodemgr"),
        ("celery", "contrail-vrouter-agent"),
        ("gunicorn", "contrail-webui"),
        ("nginx", "contrail-webui-middleware"),
        ("role: web", "role: web-ui"),
        ("role: worker", "role: compute"),
        ("[web, worker]", "[web-ui, compute]"),
    ];
    let rollout = names.iter().fold(shortened("fleet-deploy.yaml"), |text, (theirs, ours)| text.replace(theirs, ours));
    let sections = "\ngroups:\n  canary: web01,worker1\n";
    let run = carry_out(&cluster, sections, &rollout, "-e build=7 -o jsonl").expect(0);
    for node in cluster.nodes() {
        let (instance, name) = if node.name().starts_with("web") {
            ("supervisor-webui", "contrail-webui")
        } else {
            ("supervisor-vrouter", "contrail-vrouter-agent")
        };
        let process = cluster.process(node.name(), instance, name);
        assert_eq!((process.state, process.stops), (State::Running, 1), "{}: {run}", node.name());
    }
    cluster.at_rest();
}
