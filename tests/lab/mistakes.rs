//! Unknown names and other mistakes on the command line: clear errors, before anything is changed.

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role};

use crate::following::Following;
use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, Finished, Running, uniform};
use crate::terminal::{Left, Terminal};

/// Two analytics nodes and a config node.
fn mixed() -> ClusterSpec {
    let node = |name: &str, role| NodeSpec::new(name, Release::R3_2).roles([role]);
    let nodes = vec![node("a1", Role::Analytics), node("a2", Role::Analytics), node("c1", Role::Config)];
    ClusterSpec::new(nodes).timing(FAST)
}

const MISTAKE: &str = "no selected node has a service 'contrail-colector'";

/// Every command that takes a service name.
#[test]
fn a_name_that_no_node_has() {
    let cluster = Cluster::start(mixed());
    for words in [
        "service contrail-colector status",
        "status contrail-colector",
        "wait contrail-colector --for running",
        "wait contrail-colector --for stopped",
        "wait contrail-colector --for running -r analytics",
        "logs contrail-colector",
        "logs contrail-colector -f -o jsonl",
        "service contrail-colector restart -y",
        "service contrail-colector stop -y",
        "service contrail-colector update -y",
        "service contrail-colector restart -w a1",
        "service contrail-colector restart --dry-run=live",
    ] {
        let run = cluster.ctl(words).expect(1);
        assert!(run.stderr.contains(MISTAKE), "{words}\n{run}");
        assert!(run.stderr.contains("did you mean contrail-collector?"), "{words}\n{run}");
    }
    assert_eq!(cluster.counts_of_collectors(), [(1, 0), (1, 0)]);
}

/// Machine-readable output has the mistake as a result for each node.
#[test]
fn a_mistake_is_a_result() {
    let cluster = Cluster::start(mixed());
    for action in ["status", "restart", "start"] {
        let run = cluster.ctl(&format!("service contrail-colector {action} -y -o json")).expect(1);
        let expected = ["a1", "a2", "c1"].map(|node| format!("{node} contrail-colector failed no_such_service"));
        assert_eq!(run.outcomes(), expected, "{run}");
        for result in run.results() {
            assert_eq!(result["failure"]["message"], MISTAKE, "{run}");
            assert_eq!(result["failure"]["hint"], "did you mean contrail-collector?", "{run}");
        }
    }
}

/// One wrong name among right ones: nothing is changed, and no resume is offered.
#[test]
fn one_mistake_keeps_the_run_from_starting() {
    let cluster = Cluster::start(mixed());
    let run = cluster.ctl("service contrail-collector contrail-shcema restart -y -o json").expect(1);
    let mut expected: Vec<String> = Vec::new();
    for node in ["a1", "a2", "c1"] {
        expected.push(format!("{node} contrail-collector not_started no_such_service"));
        expected.push(format!("{node} contrail-shcema failed no_such_service"));
    }
    assert_eq!(run.outcomes(), expected, "{run}");
    assert!(run.stderr.contains("did you mean contrail-schema?"), "{run}");
    assert!(!run.stderr.contains("runs resume"), "{run}");
    assert_eq!(cluster.counts_of_collectors(), [(1, 0), (1, 0)]);
    cluster.at_rest();
}

/// Read-only commands show the valid names anyway.
#[test]
fn a_status_shows_what_there_is() {
    let cluster = Cluster::start(mixed());
    let run = cluster.ctl("status contrail-collector contrail-shcema -o json").expect(1);
    let outcomes = run.outcomes();
    for node in ["a1", "a2"] {
        assert!(outcomes.contains(&format!("{node} contrail-collector ok")), "{run}");
    }
    assert!(is_not_configured(&run, "c1", COLLECTOR), "{run}");
    for node in ["a1", "a2", "c1"] {
        assert!(outcomes.contains(&format!("{node} contrail-shcema failed no_such_service")), "{run}");
    }
}

/// If some nodes have the service, it is not a mistake: the others are `not_configured`. A glob is never a mistake, but one
/// that matches nothing is named.
#[test]
fn what_some_nodes_have_is_no_mistake() {
    let cluster = Cluster::start(mixed());
    let run = cluster.ctl("service contrail-topology status -o json").expect(0);
    assert_eq!(run.outcomes(), ["a1 contrail-topology ok", "a2 contrail-topology ok"], "{run}");
    for words in ["service contrail-q*x status -o json", "service contrail-q*x restart -y -o json"] {
        let run = cluster.ctl(words).expect(0);
        assert!(run.outcomes().is_empty(), "{run}");
        assert!(run.stderr.contains("warning: no selected node has a service that matches 'contrail-q*x'"), "{run}");
    }
}

/// The inventory gives a service to a role, but no node's init knows it.
#[test]
fn a_service_that_no_init_knows() {
    let nodes = ["d1", "d2"].map(|name| NodeSpec::new(name, Release::R3_2).roles([Role::Database]));
    let cluster = Cluster::start(ClusterSpec::new(nodes.to_vec()).timing(FAST));
    let text =
        format!("roles:\n  database: {{init_services: [contrail-database, cassandra]}}\n{}", cluster.inventory());
    let inventory = cluster.write("roles.yaml", text);
    for words in
        ["service cassandra stop -y", "service cassandra restart -y", "service cassandra status", "status cassandra"]
    {
        let run = Running::start(cluster.command_with(&format!("{words} -o json"), &inventory)).finish().expect(1);
        let expected = ["d1", "d2"].map(|node| format!("{node} cassandra failed no_such_service"));
        assert_eq!(run.outcomes(), expected, "{words}\n{run}");
    }
    // If init does not answer on one node, the service may exist there.
    cluster.node("d2").set_fault(Fault::NoLogin);
    let words = "service cassandra status -o json";
    let run = Running::start(cluster.command_with(words, &inventory)).finish().expect(1);
    assert!(run.stderr.contains("no answer from d2"), "{run}");
    assert!(is_not_configured(&run, "d1", "cassandra"), "{run}");
}

/// An unreachable node may have the service: the output names that node, and the valid names are processed.
#[test]
fn a_node_that_cannot_be_asked_may_have_it() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::Refused));
    let run = cluster.ctl("service contrail-colector contrail-collector restart -y -o json").expect(4);
    assert!(run.stderr.contains("no answer from n02"), "{run}");
    assert!(run.outcomes().contains(&"n01 contrail-collector changed".to_owned()), "{run}");
    let run = cluster.ctl("status contrail-colector -o json").expect(4);
    assert!(is_not_configured(&run, "n01", "contrail-colector"), "{run}");
    assert!(run.stderr.contains("no answer from n02"), "{run}");
}

/// In a rollout, a wrong name is found before the first step, unless an earlier step may install the service.
#[test]
fn names_in_a_rollout() {
    let cluster = Cluster::start(mixed());
    let rollout = |steps: &str| {
        let file = cluster.write("rollout.yaml", format!("version: 1\nname: x\nsteps:\n{steps}"));
        cluster.ctl(&format!("rollout {} -y -o json", file.display()))
    };
    let restart = |service: &str| {
        format!("  - {{name: r {service}, role: analytics, services: {service}, action: restart, stable: 0s}}\n")
    };
    let run = rollout(&(restart(COLLECTOR) + &restart("contrail-colector"))).expect(1);
    assert!(run.stderr.contains("did you mean contrail-collector?"), "{run}");
    assert_eq!(cluster.counts_of_collectors(), [(1, 0), (1, 0)]);
    let install = "  - {name: install, role: analytics, exec: \"true\"}\n".to_owned();
    let run = rollout(&(install + &restart("contrail-colector"))).expect(1);
    assert!(run.outcomes().contains(&"a1 contrail-colector failed no_such_service".to_owned()), "{run}");
    let ran = run.results().iter().filter(|result| result["service"].is_null()).all(|ran| ran["outcome"] == "changed");
    assert!(ran, "{run}");
}

/// A service that the role has but no node lists: the result names its supervisord and the reason.
#[test]
fn a_service_of_the_role_that_no_node_lists() {
    let cluster = Cluster::start(mixed());
    let run = cluster.ctl("service redis-config status -r config").expect(1);
    assert!(run.stderr.contains("supervisor-config is running, but its configuration has no such program"), "{run}");
    assert!(run.stderr.contains("`ctl service redis-config update`"), "{run}");
    // A supervisord that did not answer may have it.
    let nodes = ["c1", "c2"].map(|name| NodeSpec::new(name, Release::R3_2).roles([Role::Config]));
    let cluster = Cluster::start(ClusterSpec::new(nodes.to_vec()).timing(FAST));
    cluster.node("c2").set_fault(Fault::SupervisorDown);
    let run = cluster.ctl("service redis-config status -r config").expect(1);
    assert!(run.stderr.contains("supervisor-config runs it"), "{run}");
}

fn is_not_configured(run: &Finished, node: &str, service: &str) -> bool {
    let is_it = |result: &serde_json::Value| {
        result["node"] == node && result["service"] == service && result["outcome"] == "not_configured"
    };
    run.results().iter().any(is_it)
}

impl Cluster {
    /// Starts and stops of the collectors of a1 and a2.
    fn counts_of_collectors(&self) -> [(u32, u32); 2] {
        ["a1", "a2"].map(|node| {
            let process = self.process(node, ANALYTICS, COLLECTOR);
            (process.starts, process.stops)
        })
    }
}

/// A watch of a name that no node has ends after every node has answered. Until then it shows a message.
#[test]
fn a_watch_of_a_name_that_no_node_has() {
    let cluster = Cluster::start(mixed());
    let run = cluster.ctl("status contrail-colector --watch=100ms -o jsonl").expect(1);
    assert!(run.stderr.contains(MISTAKE) && run.stderr.contains("did you mean contrail-collector?"), "{run}");
    for words in ["status contrail-collector contrail-colector --watch=100ms", "top contrail-colector --interval 100ms"]
    {
        let mut terminal = Terminal::start(&cluster.command(words), 24, 120, &cluster.path(""));
        assert_eq!(terminal.finish(), Left::as_found(1), "{words}\n{}", terminal.text());
        let text = terminal.text();
        assert!(text.contains(MISTAKE) && text.contains("did you mean contrail-collector?"), "{words}\n{text}");
    }
    // Some nodes have it, or the pattern is not an exact name.
    let words = format!("status {COLLECTOR} contrail-q*x --watch=100ms");
    let mut watch = Following::start(cluster.command(&words));
    watch.until("the first round", |lines, _| !lines.is_empty());
    assert!(cluster.node("a1").kill(ANALYTICS, COLLECTOR));
    watch.until("a later round", |lines, _| lines.len() > 1);
    watch.interrupt();
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::Refused));
    let watch = cluster.command("status contrail-colector --watch=100ms");
    let mut watch = Terminal::start(&watch, 24, 120, &cluster.path(""));
    watch.until("no node that answered has a service 'contrail-colector'; no answer from n02");
    watch.signal("INT");
    assert_eq!(watch.finish(), Left::as_found(130), "{}", watch.text());
}

/// A node without a role in the inventory has no service that ctl could know; the dry run says so too.
#[test]
fn a_node_without_a_role() {
    let cluster = Cluster::start(uniform(2));
    let inventory = cluster.inventory();
    let line = inventory.lines().find(|line| line.trim_start().starts_with("n02:")).expect("the node").to_owned();
    let bare = line.replace(", roles: [analytics]", "");
    assert_ne!(line, bare, "{inventory}");
    let file = cluster.write("bare.yaml", inventory.replace(&line, &bare));
    let ctl = |words: &str| Running::start(cluster.command_with(words, &file)).finish();
    let plan = ctl("stop all -w n[01-02] --dry-run").expect(0);
    assert!(plan.stdout.contains("  fails: n02: no role in the inventory"), "{plan}");
    let run = ctl("stop all -w n02 -o json").expect(1);
    assert_eq!(run.outcomes(), ["n02 all failed no_such_service"], "{run}");
    assert_eq!(run.result("n02")["failure"]["hint"], "add `roles` to it in the inventory", "{run}");
    let run = ctl(&format!("restart {COLLECTOR} -w n02")).expect(1);
    assert!(run.stderr.contains("the selected nodes have no role in the inventory; add `roles` to them"), "{run}");
}
