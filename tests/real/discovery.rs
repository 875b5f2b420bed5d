//! `ctl init` over real hosts of four kinds.

use std::collections::BTreeSet;

use crate::harness::{Cluster, Finished, Instance, Listen, Node, NodeSpec, Program, eventually};

/// Hosts of each kind.
const EACH: u32 = 6;

/// Starts a supervisord with this configuration, and waits until it answers.
fn start(node: &Node, folder: &str, config: &str, programs: &[&str], ask: &str) {
    let programs: String =
        programs.iter().map(|name| format!("[program:{name}]\ncommand=/bin/sleep 1000000\n")).collect();
    let rpc =
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface";
    node.sh(&format!(
        "mkdir -p '{folder}' && cat >'{folder}/s.conf' <<'EOF' && chmod 600 '{folder}/s.conf' && \
         cd '{folder}' && supervisord -c s.conf\n{config}\n{rpc}\n{programs}EOF"
    ));
    let running = || node.sh(&format!("supervisorctl {ask} status 2>/dev/null | grep -c RUNNING || true"));
    eventually("its programs to run", || (running().trim() == "2").then_some(()));
}

fn cluster() -> Cluster {
    let contrail = |listen| {
        let collector = Instance::analytics().listening(listen).with(Program::steady("contrail-collector"));
        let api = Instance::config().listening(listen).with(Program::steady("contrail-api").workers(2));
        NodeSpec::new(collector.with(Program::steady("contrail-query-engine"))).and(api)
    };
    let none = NodeSpec::default();
    let mut cluster = Cluster::builder();
    for (number, listen) in (1..=EACH).zip([Listen::VarRun, Listen::Tmp, Listen::Tcp].into_iter().cycle()) {
        cluster = cluster.node(&format!("a{number}"), contrail(listen));
    }
    let cluster = cluster.nodes("b", EACH, &none).nodes("w", EACH, &none).nodes("x", EACH, &none).start();
    for number in 1..=EACH {
        start(
            cluster.node(&format!("b{number}")),
            "/run/odd place",
            "[unix_http_server]\nfile=%(here)s/b.sock\n\n[supervisord]\nidentifier=billing\n",
            &["invoicer", "mailer"],
            "-s 'unix:///run/odd place/b.sock'",
        );
        start(
            cluster.node(&format!("w{number}")),
            "/run/web",
            "[inet_http_server]\nport=127.0.0.1:9001\nusername=ops\npassword=s3cr%%et ; of the web\n\n[supervisord]\n",
            &["web-api", "web-ui"],
            "-s http://localhost:9001 -u ops -p 's3cr%et'",
        );
    }
    cluster
}

/// Every service of a status: `node role service`.
fn services(status: &Finished) -> BTreeSet<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let line = |result: &serde_json::Value| {
        format!("{} {} {}", text(&result["node"]), text(&result["role"]), text(&result["service"]))
    };
    status.results().iter().map(line).collect()
}

/// All services of all kinds of hosts are found, none is in a wrong role, and no password is in the file.
#[test]
fn four_kinds_of_hosts() {
    let cluster = cluster();
    let hosts: String = cluster
        .nodes()
        .iter()
        .map(|node| format!("Host {}\n  HostName {}\n  Port {}\n", node.name, node.endpoint.ip(), node.endpoint.port()))
        .collect();
    std::fs::write(cluster.path("ssh_config"), format!("{hosts}Host *\n  User root\n  ConnectTimeout 60\n")).unwrap();
    let new = cluster.path("new.yaml");
    let with = |words: &str| {
        cluster.ctl(&format!("{words} -i {} --ssh-config {}", new.display(), cluster.path("ssh_config").display()))
    };
    let run = with("init --from ssh-config -v").expect(0);
    let text = std::fs::read_to_string(&new).unwrap();
    assert!(run.stderr.contains(&format!("x[1-{EACH}]: no supervisord found")), "{run}\n{text}");
    assert!(!text.contains("s3cr") && !run.stderr.contains("s3cr") && !run.stdout.contains("s3cr"), "{run}\n{text}");
    cluster.ctl(&format!("inventory check -i {}", new.display())).expect(0);

    // The password is the only thing that the file lacks.
    with("status").expect(1);
    std::fs::write(cluster.path("web.password"), "s3cr%et\n").unwrap();
    std::process::Command::new("chmod").arg("600").arg(cluster.path("web.password")).status().unwrap();
    // The programs only have the names of Contrail's: nothing answers on their introspect ports.
    let status = with("status --all -o json").expect(3);
    assert_eq!(status.json()["summary"]["nodes_by_outcome"], serde_json::json!({ "ok": 3 * EACH }), "{status}");
    let mut there = BTreeSet::new();
    for number in 1..=EACH {
        for (kind, role, service) in [
            ("a", "analytics", "contrail-collector"),
            ("a", "analytics", "contrail-query-engine"),
            ("a", "config", "contrail-api:0"),
            ("a", "config", "contrail-api:1"),
            ("b", "billing", "invoicer"),
            ("b", "billing", "mailer"),
            ("w", "web", "web-api"),
            ("w", "web", "web-ui"),
        ] {
            there.insert(format!("{kind}{number} {role} {service}"));
        }
    }
    let found = services(&status);
    assert_eq!(found, there, "{status}\n{text}");
    println!("services found / there: {} / {}, wrong roles 0", found.len(), there.len());
}

/// Through sudo, and without it: a configuration that may not be read is named, and what may be asked is asked.
#[test]
fn a_user_who_may_not_read_everything() {
    let spec = NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let cluster = Cluster::builder().nodes("a", 2, &spec).defaults("user: ctlops").start();
    let node = cluster.node("a2");
    let config = "[unix_http_server]\nfile=/run/own/o.sock\n\n[supervisord]\n";
    start(node, "/run/own", config, &["own-a", "own-b"], "-s unix:///run/own/o.sock");
    let hosts: String = cluster.nodes().iter().map(|node| format!("ctlops@{}\n", node.endpoint)).collect();
    std::fs::write(cluster.path("hosts"), hosts).unwrap();
    let init = |file: &str, words: &str| {
        let (hosts, file) = (cluster.path("hosts"), cluster.path(file));
        let words = format!("init --from {} -i {} {words} --connect-timeout 60s", hosts.display(), file.display());
        let run = cluster.ctl(&words);
        (run.expect(0), std::fs::read_to_string(&file).unwrap())
    };
    let (run, text) = init("with.yaml", "--sudo");
    assert!(text.contains("roles: [analytics, own]") && text.contains("services: [own-a, own-b]"), "{run}\n{text}");
    let status = cluster.ctl(&format!("status --all -o json -i {}", cluster.path("with.yaml").display())).expect(3);
    assert_eq!(status.json()["summary"]["nodes_by_outcome"], serde_json::json!({ "ok": 2 }), "{status}");

    let (run, text) = init("without.yaml", "");
    assert!(run.stderr.contains("supervisor-analytics: the user may not open its socket"), "{run}\n{text}");
    assert!(run.stderr.contains("its configuration s.conf may not be read"), "{run}\n{text}");
    assert!(text.contains("roles: [analytics]") && !text.contains("roles: [analytics, "), "{run}\n{text}");
}

/// What an included file says counts, and a supervisord that does not answer is in the inventory all the same.
#[test]
fn included_files_and_a_supervisord_that_hangs() {
    let spec = NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let cluster = Cluster::builder().nodes("a", 2, &spec).start();
    let node = cluster.node("a1");
    node.sh(
        "mkdir -p '/run/in c/d' && printf '[unix_http_server]\nfile=%%(here)s/i.sock\nusername=bob\npassword=pw2\n' \
         >'/run/in c/d/a.ini'",
    );
    let config = "[supervisord]\nidentifier=inc\n[include]\nfiles = none/*.conf\n  d/*.ini ; more\n";
    start(node, "/run/in c", config, &["inc-a", "inc-b"], "-s 'unix:///run/in c/d/i.sock' -u bob -p pw2");
    let hung = cluster.node("a2");
    hung.sh(&format!("kill -STOP {}", hung.supervisord_pid("supervisor-analytics").unwrap()));
    let hosts: String = cluster.nodes().iter().map(|node| format!("root@{}\n", node.endpoint)).collect();
    std::fs::write(cluster.path("hosts"), hosts).unwrap();
    let (hosts, file) = (cluster.path("hosts"), cluster.path("new.yaml"));
    let words = format!("init --from {} -i {} --connect-timeout 60s", hosts.display(), file.display());
    let run = cluster.ctl(&words).expect(0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("roles: [analytics, inc]") && text.contains("services: [inc-a, inc-b]"), "{run}\n{text}");
    assert!(text.contains("username: bob") && !text.contains("pw2") && !run.stderr.contains("pw2"), "{run}\n{text}");
    assert!(run.stderr.contains("write it to inc.password"), "{run}\n{text}");
    assert!(run.stderr.contains("no answer from unix:///var/run/supervisord_analytics.sock"), "{run}\n{text}");
    assert_eq!(text.matches("roles: [analytics").count(), 2, "{run}\n{text}");
}

/// A configuration in a directory that the user may not enter is not gone.
#[test]
fn a_configuration_out_of_sight() {
    let spec = NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let cluster = Cluster::builder().nodes("a", 1, &spec).defaults("user: ctlops").start();
    let node = cluster.node("a1");
    node.sh("mkdir -m 700 /run/closed");
    let config = "[unix_http_server]\nfile=/run/closed/in/c.sock\n\n[supervisord]\n";
    start(node, "/run/closed/in", config, &["cl-a", "cl-b"], "-s unix:///run/closed/in/c.sock");
    // An absolute path, as init scripts give it.
    node.sh("supervisorctl -s unix:///run/closed/in/c.sock shutdown && supervisord -c /run/closed/in/s.conf");
    let words = format!("init ctlops@{} --dry-run --connect-timeout 60s", node.endpoint);
    let run = cluster.ctl(&words).expect(0);
    assert!(run.stderr.contains("its configuration /run/closed/in/s.conf may not be read"), "{run}");
    assert!(run.stderr.contains("→ ") && run.stderr.contains("--sudo"), "{run}");
}
