//! Logs that supervisord does not store, and sockets with several names: two cases that must not be misreported.

use crate::harness::{Cluster, Finished, Instance, Listen, NodeSpec, Program};

fn failure_message(finished: &Finished, service: &str) -> String {
    let result = finished.result_of("a1", service);
    assert_eq!((&result["outcome"], &result["failure"]["kind"]), (&"failed".into(), &"no_log".into()), "{finished}");
    result["failure"]["message"].as_str().unwrap_or_default().to_owned()
}

/// For a program that logs to supervisord's own output or to syslog, ctl reports a failure, and neither an empty log
/// nor a message of supervisorctl as a log line.
#[test]
fn a_log_that_goes_to_no_file_is_a_failure() {
    let places = [("stdout", "/dev/stdout"), ("fd", "/dev/fd/1"), ("syslog", "syslog"), ("none", "NONE")];
    let mut instance = Instance::analytics();
    for (name, place) in places {
        let program = Program::steady(name).set("stdout_logfile", place).set("stderr_logfile", "/dev/stderr");
        instance = instance.with(program.set("stdout_logfile_maxbytes", "0").set("stderr_logfile_maxbytes", "0"));
    }
    let kept = Program::steady("kept").set("stdout_logfile", "/var/log/contrail/kept.log");
    let cluster = Cluster::of(1, &NodeSpec::new(instance.with(kept)));
    for via in ["rpc", "supervisorctl"] {
        for (name, place) in places {
            let once = cluster.ctl(&format!("logs {name} -r analytics --via {via} -o json")).expect(1);
            let message = failure_message(&once, name);
            assert!(message.starts_with("supervisord keeps no stdout log for it"), "{once}");
            assert_eq!(message.contains(place), place.starts_with("/dev/"), "{once}");
            let followed = cluster.ctl(&format!("logs -f {name} -r analytics --via {via}")).expect(1);
            assert!(followed.stderr.contains("supervisord keeps no stdout log for it"), "{followed}");
            assert_eq!(
                (once.result_of("a1", name)["lines"].as_array().map_or(0, Vec::len), followed.stdout.as_str()),
                (0, "")
            );
        }
        let stderr = cluster.ctl(&format!("logs stdout -r analytics --stderr --via {via} -o json")).expect(1);
        assert!(
            failure_message(&stderr, "stdout").ends_with("no stderr log for it: it writes to /dev/stderr"),
            "{stderr}"
        );
        let kept = cluster.ctl(&format!("logs kept -r analytics --via {via}")).expect(0);
        assert!(kept.stderr.contains("nothing was written to it yet"), "{kept}");
    }
}

/// The messages of the stale socket findings of `a1`.
fn stale(cluster: &Cluster) -> Vec<String> {
    let run = cluster.ctl("status -o json");
    let document = run.json();
    let findings = document["nodes"][0]["findings"]
        .as_array()
        .unwrap_or_else(|| panic!("no findings in the document\n{run}"))
        .clone();
    let of_sockets = findings.iter().filter(|finding| finding["kind"] == "stale_socket");
    of_sockets.map(|finding| finding["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// One supervisord whose socket has several names: through links and bind mounts of the directory and of the socket
/// itself.
#[test]
fn a_socket_under_another_name_is_not_stale() {
    let names = [
        "/mnt/supervisord_analytics.sock",
        "/run/alias/supervisord_analytics.sock",
        "/run/bound.sock",
        "/run/linked.sock",
        "/run/gone/old.sock",
    ];
    let roles: String = (names.iter().enumerate())
        .map(|(index, path)| {
            format!("  r{index}: {{supervisor: supervisor-r{index}, socket: {path}, services: [x]}}\n")
        })
        .collect();
    let spec =
        NodeSpec::new(Instance::analytics().listening(Listen::VarRun).with(Program::steady("contrail-broadview")));
    let cluster = Cluster::builder().sections(&format!("roles:\n{roles}")).node("a1", spec).start();
    let node = cluster.node("a1");
    node.sh("mkdir -p /run/gone; mount --bind /run /mnt; ln -s /mnt /run/alias; \
         touch /run/bound.sock; mount --bind /run/supervisord_analytics.sock /run/bound.sock; \
         ln -s supervisord_analytics.sock /run/linked.sock; \
         python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('/run/gone/old.sock')\"");
    assert_eq!(stale(&cluster), ["nothing is listening on /run/gone/old.sock"]);
}
