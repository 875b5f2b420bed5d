//! The command line as people type it: options before the command, short commands, names with commas, groups without `@`.

use std::process::Command;

use contrail_lab::ClusterSpec;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, Finished, Running, uniform};

/// `ctl` with the lab's options before these words.
fn options_first(cluster: &Cluster, words: &str) -> Command {
    let mut command = cluster.command("");
    command.args(words.split_whitespace());
    command
}

fn ctl(cluster: &Cluster, words: &str) -> Finished {
    Running::start(options_first(cluster, words)).finish()
}

#[test]
fn options_stand_before_the_command() {
    let cluster = Cluster::start(uniform(3));
    let status = ctl(&cluster, "-w n02 -o json status contrail-collector").expect(0);
    assert_eq!(status.outcomes(), ["n02 contrail-collector ok"]);
    let restart = ctl(&cluster, "-w n02 -o json service contrail-collector restart").expect(0);
    assert_eq!(restart.outcomes(), ["n02 contrail-collector changed"]);
    let exec = ctl(&cluster, "-w n03 -o json exec hostname").expect(0);
    assert_eq!(exec.result("n03")["stdout"], "n03\n");
    // The words after the command's first are not looked at.
    let exec = ctl(&cluster, "-w n03 -o json exec echo status").expect(0);
    assert_eq!(exec.result("n03")["stdout"], "status\n");
}

#[test]
fn short_commands_act_and_can_be_repeated() {
    let cluster = Cluster::start(uniform(2));
    let stop = cluster.ctl("stop contrail-collector -w n01 -o json").expect(0);
    assert_eq!(stop.outcomes(), ["n01 contrail-collector changed"]);
    let document = stop.json();
    assert_eq!((&document["command"], &document["action"]), (&"service".into(), &"stop".into()));
    // The journal reads the short command again.
    Running::start(cluster.bare("runs undo last")).finish().expect(0);
    assert!(cluster.ctl("status contrail-collector").expect(0).stdout.contains("2/2 nodes healthy"));
    for verb in ["start", "restart", "update"] {
        let run = cluster.ctl(&format!("{verb} contrail-collector,contrail-analytics-api -w n02 -o json")).expect(0);
        assert_eq!(run.json()["action"], verb);
        assert_eq!(run.results().len(), 2, "{run}");
    }
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1)]);
}

#[test]
fn nodes_are_named_several_times_and_groups_without_their_sign() {
    let cluster = Cluster::start(ClusterSpec::demo(12).timing(FAST));
    let nodes = |words: &str| {
        let finished = cluster.ctl(&format!("ping -o json {words}")).expect(0);
        let mut nodes: Vec<String> =
            (finished.results().iter()).map(|result| result["node"].as_str().expect("a name").to_owned()).collect();
        nodes.dedup();
        nodes.join(" ")
    };
    assert_eq!(nodes("-w db01 -w web01"), "web01 db01");
    assert_eq!(nodes("-w analytics!a6s01 -w a6s01 -x a6s02"), "a6s01 a6s03");
    let unknown = cluster.ctl("ping -w rack1").expect(2);
    assert!(unknown.stderr.contains("the inventory has no node rack1"), "{unknown}");
}

/// Words of other tools touch nothing, above all those that stop or change something.
#[test]
fn words_of_other_tools_are_only_answered() {
    let cluster = Cluster::start(uniform(2));
    for (words, answer) in [
        ("shutdown -r analytics", "ctl stop 'supervisor-*'"),
        ("reload", "ctl restart supervisor-analytics"),
        ("remove contrail-collector", "ctl update "),
        ("restart_collector", "ctl restart all -r analytics"),
        ("all -m shell -a reboot", "ctl exec "),
        ("rollout restart deployment/contrail-collector", "ctl restart --rolling "),
        ("restart contrail-collector -y -l n01", "ctl restart "),
        ("exec -y reboot -f 1", "ctl exec "),
        ("exec n01 -- reboot", "-w n01 -- reboot"),
        ("contrail-collector stop", "ctl stop "),
        ("drain n01", "ctl stop all "),
    ] {
        let run = ctl(&cluster, words).expect(2);
        assert!(run.stdout.is_empty() && run.stderr.contains(answer), "{run}");
    }
    assert_eq!(cluster.connections(), 0);
    let journal = Running::start(cluster.bare("runs")).finish().expect(0);
    assert!(journal.stdout.contains("no run has changed a node yet"), "{journal}");
}
