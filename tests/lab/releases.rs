//! The releases of Contrail, the backends, and the init systems.

use contrail_lab::{InitFlavour, Release, Role, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, ended, is_guard, node, single, word};

const RELEASES: [Release; 4] = [Release::R1_05, Release::R2_20, Release::R3_0, Release::R3_2];
const INITS: [InitFlavour; 3] = [InitFlavour::SysV, InitFlavour::Upstart, InitFlavour::Systemd];

/// Every release with every backend gives the same output.
#[test]
fn every_release_by_every_way() {
    for release in RELEASES {
        let cluster = Cluster::start(single(node(release, [Role::Analytics])));
        let mut starts = 1;
        for via in ["rpc", "supervisorctl", "service"] {
            let run = |action: &str, code: i32, expected: &str| {
                let run = cluster.ctl(&format!("service {COLLECTOR} {action} -o json --via {via}")).expect(code);
                let result = run.result("n");
                assert_eq!(ended(&result), expected, "{release:?} {via} {action}\n{run}");
                let on_node = cluster.collector("n");
                assert_eq!(word(&result["state"]), on_node.state.name(), "{release:?} {via} {action}\n{run}");
                assert_eq!(
                    result["pid"].as_u64().unwrap_or(0),
                    u64::from(on_node.pid),
                    "{release:?} {via} {action}\n{run}"
                );
                assert_eq!((word(&result["via"]), word(&result["role"])), (via, "analytics"), "{run}");
                assert_eq!((word(&result["supervisor"]), word(&result["service"])), (ANALYTICS, COLLECTOR), "{run}");
                on_node.starts
            };
            assert_eq!(run("status", 0, "ok"), starts);
            assert_eq!(run("start", 0, "ok"), starts, "expected a running service to be left unchanged");
            starts += 1;
            assert_eq!(run("restart", 0, "changed"), starts);
            run("stop", 0, "changed");
            run("stop", 0, "ok");
            run("status", 3, "ok");
            starts += 1;
            assert_eq!(run("start", 0, "changed"), starts);
            // A restart of a stopped service starts it.
            run("stop", 0, "changed");
            starts += 1;
            assert_eq!(run("restart", 0, "changed"), starts);
        }
    }
}

/// The address of each release's supervisord, and that only the guard is executed.
#[test]
fn the_address_of_each_release() {
    for (release, unix, tcp) in [
        (Release::R1_05, None, Some("localhost:9002")),
        (Release::R2_20, Some("/tmp/supervisord_analytics.sock"), None),
        (Release::R3_0, Some("/tmp/supervisord_analytics.sock"), None),
        (Release::R3_2, Some("/var/run/supervisord_analytics.sock"), None),
    ] {
        let cluster = Cluster::start(single(node(release, [Role::Analytics])));
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json")).expect(0);
        assert_eq!((ended(&run.result("n")).as_str(), word(&run.result("n")["via"])), ("changed", "rpc"), "{run}");
        let seen = cluster.counters("n");
        assert!(seen.execs.len() == 1 && is_guard(&seen.execs[0]), "{release:?} {seen:?}");
        if let Some(path) = unix {
            assert_eq!(seen.streamlocal_opens.last().map(String::as_str), Some(path), "{release:?} {seen:?}");
            assert!(seen.tcpip_opens.is_empty(), "{release:?} {seen:?}");
        }
        if let Some(target) = tcp {
            assert!(seen.tcpip_opens.iter().all(|to| to == target) && !seen.tcpip_opens.is_empty(), "{seen:?}");
        }
    }
}

/// The names of Release 1.05.
#[test]
fn programs_by_their_old_names() {
    let cluster = Cluster::start(single(node(Release::R1_05, [Role::Analytics, Role::Control, Role::Compute])));
    for (name, instance) in [
        ("contrail-opserver", ANALYTICS),
        ("contrail-dns", "supervisor-dns"),
        ("contrail-vrouter", "supervisor-vrouter"),
    ] {
        let run = cluster.ctl(&format!("service {name} restart -o json -w n")).expect(0);
        let result = run.configured("n");
        assert_eq!((ended(&result).as_str(), word(&result["supervisor"])), ("changed", instance), "{run}");
        assert_eq!(cluster.process("n", instance, name).starts, 2, "{run}");
    }
}

/// A supervisord that requires a user and a password, given in the inventory.
#[test]
fn a_supervisord_that_asks_for_a_password() {
    let mut spec = node(Release::R3_2, [Role::Analytics]);
    spec.rpc_auth = Some(("ops".to_owned(), "pass word".to_owned()));
    let cluster = Cluster::start(single(spec));
    let denied = cluster.ctl(&format!("service {COLLECTOR} restart -o json --via rpc")).expect(1);
    assert_eq!(ended(&denied.result("n")), "failed permission", "{denied}");
    assert_eq!(cluster.collector("n").starts, 1, "{denied}");

    let password = cluster.write("password", "pass word\n");
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, own).expect("cannot set the mode");
    let roles = format!(
        "roles:\n  analytics: {{socket: /var/run/supervisord_analytics.sock, username: ops, password_file: {}}}\nnodes:\n",
        password.display()
    );
    let inventory = cluster.write("auth.yaml", cluster.inventory().replace("nodes:\n", &roles));
    let run = cluster.command_with(&format!("service {COLLECTOR} restart -o json --via rpc -v"), &inventory);
    let run = crate::harness::Running::start(run).finish().expect(0);
    assert_eq!(ended(&run.result("n")), "changed", "{run}");
    assert_eq!(cluster.collector("n").starts, 2, "{run}");
    assert!(
        !run.stderr.contains("pass word") && !run.stderr.contains("cGFzcyB3b3Jk"),
        "expected no secret in a log\n{run}"
    );
}

/// Actions on a supervisord itself, through its init service.
#[test]
fn an_instance_by_each_init() {
    for init in INITS {
        let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics]).init(init)));
        let pid = || cluster.node("n").supervisor_pid(ANALYTICS);
        let run = |action: &str, code: i32, expected: &str| {
            let run = cluster.ctl(&format!("service {ANALYTICS} {action} -o json")).expect(code);
            let result = run.result("n");
            assert_eq!(ended(&result), expected, "{init:?} {action}\n{run}");
            assert_eq!(word(&result["service"]), ANALYTICS, "{run}");
            assert_eq!(result["pid"].as_u64(), pid().map(u64::from), "{init:?} {action}\n{run}");
            assert_eq!(
                word(&result["state"]),
                if pid().is_some() { "RUNNING" } else { "STOPPED" },
                "{init:?} {action}\n{run}"
            );
            result
        };
        let first = pid();
        let status = run("status", 0, "ok");
        let expected = format!("supervisord (pid {}) is running...", first.expect("the instance is down"));
        assert_eq!(word(&status["message"]), expected, "{init:?}");
        run("start", 0, "ok");
        run("restart", 0, "changed");
        assert!(pid().is_some() && pid() != first, "{init:?}");
        run("stop", 0, "changed");
        assert_eq!(pid(), None, "{init:?}");
        run("stop", 0, "ok");
        run("status", 3, "ok");
        run("start", 0, "changed");
        assert!(pid().is_some(), "{init:?}");
        run("stop", 0, "changed");
        run("restart", 0, "changed");
        assert!(pid().is_some(), "{init:?}");
    }
}

/// Cassandra of 3.x, which init runs.
#[test]
fn an_init_service_by_each_init() {
    for init in INITS {
        let cluster = Cluster::start(single(node(Release::R3_2, [Role::Database]).init(init)));
        let on_node = || cluster.node("n").service("contrail-database").expect("no such service");
        let run = |action: &str| cluster.ctl(&format!("service contrail-database {action} -o json"));
        let status = run("status").expect(0);
        assert_eq!(word(&status.result("n")["state"]), "RUNNING", "{init:?}\n{status}");
        assert_eq!(on_node().starts, 1, "{init:?}");
        assert_eq!(run("start").expect(0).outcomes(), ["n contrail-database ok"], "{init:?}");
        assert_eq!(run("stop").expect(0).outcomes(), ["n contrail-database changed"], "{init:?}");
        assert_eq!((on_node().pid, on_node().stops), (0, 1), "{init:?}");
        let status = run("status").expect(3);
        assert_eq!(word(&status.result("n")["state"]), "STOPPED", "{init:?}\n{status}");
        assert_eq!(run("stop").expect(0).outcomes(), ["n contrail-database ok"], "{init:?}");
        assert_eq!(run("start").expect(0).outcomes(), ["n contrail-database changed"], "{init:?}");
        assert_eq!(on_node().starts, 2, "{init:?}");
    }
}

/// A restart counts as one only if the main pid or the start time proves it.
#[test]
fn the_restart_of_an_init_service_is_proved() {
    for init in [InitFlavour::SysV, InitFlavour::Systemd] {
        let cluster = Cluster::start(single(node(Release::R3_2, [Role::Database]).init(init)));
        let before = cluster.node("n").service("contrail-database").expect("no such service");
        let run = cluster.ctl("service contrail-database restart -o json").expect(0);
        let now = cluster.node("n").service("contrail-database").expect("no such service");
        assert!(now.pid != before.pid && (now.starts, now.stops) == (2, 1), "{init:?}\n{run}");
        assert_eq!(run.outcomes(), ["n contrail-database changed"], "{init:?}\n{run}");
        assert_eq!(run.result("n")["pid"], now.pid, "{init:?}\n{run}");
    }
    // The script of 3.x on upstart prints neither: " * Cassandra is running".
    let cluster = Cluster::start(single(node(Release::R3_0, [Role::Database]).init(InitFlavour::Upstart)));
    let run = cluster.ctl("service contrail-database restart -o json").expect(1);
    assert_eq!(word(&run.result("n")["outcome"]), "unknown", "{run}");
    assert_eq!(cluster.node("n").service("contrail-database").map(|now| now.starts), Some(2), "{run}");
}

/// `active (exited)` is not running.
#[test]
fn active_exited_is_not_running() {
    let mut spec = node(Release::R3_2, [Role::Database]).init(InitFlavour::Systemd);
    spec.database_exited = true;
    let cluster = Cluster::start(single(spec));
    let run = cluster.ctl("service contrail-database status -o json").expect(3);
    assert_eq!(ended(&run.result("n")), "ok", "{run}");
    assert_ne!(word(&run.result("n")["state"]), "RUNNING", "{run}");
    assert!(run.result("n")["pid"].is_null(), "{run}");
    assert!(word(&run.result("n")["message"]).contains("exited"), "{run}");
    let run = cluster.ctl("service contrail-database restart -o json").expect(1);
    assert_eq!(word(&run.result("n")["outcome"]), "failed", "{run}");
}

/// Up to 2.20 Cassandra is a program of supervisord, so supervisord's list counts.
#[test]
fn cassandra_under_supervisord() {
    let cluster = Cluster::start(single(node(Release::R2_20, [Role::Database])));
    let run = cluster.ctl("service contrail-database restart -o json").expect(0);
    assert_eq!(run.outcomes(), ["n contrail-database changed"], "{run}");
    let now = cluster.process("n", "supervisor-database", "contrail-database");
    assert_eq!((now.starts, now.stops, now.state), (2, 1, State::Running), "{run}");
    assert_eq!(word(&run.result("n")["supervisor"]), "supervisor-database", "{run}");
}

/// An instance that is down is started by its own name.
#[test]
fn an_instance_that_is_down_is_started() {
    for init in INITS {
        let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics]).init(init)));
        let down = contrail_lab::Fault::InstanceDown(ANALYTICS.to_owned());
        cluster.node("n").set_fault(down);
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json")).expect(1);
        assert_eq!(ended(&run.result("n")), "failed supervisor_down", "{init:?}\n{run}");
        assert!(word(&run.result("n")["failure"]["hint"]).contains(ANALYTICS), "{init:?}\n{run}");
        let run = cluster.ctl(&format!("service {ANALYTICS} start -o json")).expect(0);
        assert_eq!(run.outcomes(), ["n supervisor-analytics changed"], "{init:?}\n{run}");
        cluster.wait_for("n", ANALYTICS, COLLECTOR, State::Running);
    }
}
