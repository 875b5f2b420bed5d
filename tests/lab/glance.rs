//! The default view of `ctl status`: the problems of a hundred nodes on one screen.

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role, SpawnKind, State};

use crate::harness::{COLLECTOR, Cluster, FAST, Running};
use crate::terminal::Terminal;

const VROUTER: &str = "supervisor-vrouter";
const AGENT: &str = "contrail-vrouter-agent";

/// The rows of a terminal after `ctl LINE`, and the exit code. The key of an unknown host is not trusted.
#[track_caller]
fn screen(cluster: &Cluster, line: &str, rows: u16, columns: u16) -> (Vec<String>, Option<i32>) {
    let mut terminal = Terminal::start(&cluster.command(line), rows, columns, &cluster.path(""));
    terminal.until("(yes/no)");
    terminal.press("no\r");
    let code = terminal.finish().code;
    (terminal.text().split('\n').map(str::to_owned).collect(), code)
}

/// A hundred nodes over six roles, with twelve faults.
fn twelve_faults() -> Cluster {
    let spec = ClusterSpec::demo(100).timing(FAST);
    let faults = [
        ("c07", Fault::BlackHole),
        ("c13", Fault::BlackHole),
        ("ctl02", Fault::UnknownHostKey),
        ("db02", Fault::InstanceDown("supervisor-database".to_owned())),
        ("web01", Fault::SupervisorMissing),
        ("c21", Fault::SpawnError { program: AGENT.to_owned(), kind: SpawnKind::Spawn }),
        ("ctl01", Fault::Backoff("contrail-dns".to_owned())),
        ("a6s01", non_functional("Database:Global connection down")),
        ("a6s03", non_functional("Database:Global connection down")),
        ("a6s02", Fault::IntrospectHang("contrail-query-engine".to_owned())),
        ("c51", Fault::HangAction),
        ("c33", Fault::CoreFile(AGENT.to_owned())),
        ("c34", Fault::CoreFile(AGENT.to_owned())),
        ("cfg01", Fault::StaleTmpSocket),
        // The standby, which is expected.
        ("cfg02", Fault::IntrospectClosed("contrail-schema".to_owned())),
    ];
    let spec = faults.into_iter().fold(spec, |spec, (node, fault)| spec.fault(node, fault));
    let cluster = Cluster::start(spec);
    for node in ["c21", "c51"] {
        assert!(cluster.node(node).kill(VROUTER, AGENT), "cannot find a running agent on {node}");
    }
    let stop = format!("service {AGENT} stop -w c[60-61] -y --no-guard");
    cluster.ctl(&stop).expect(0);
    cluster.wait_for("c21", VROUTER, AGENT, State::Fatal);
    cluster.wait_for("c51", VROUTER, AGENT, State::Starting);
    cluster
}

fn non_functional(description: &str) -> Fault {
    Fault::NonFunctional { program: COLLECTOR.to_owned(), description: description.to_owned() }
}

/// 24 rows of 80 columns name each service, its nodes and the reason.
#[test]
fn twelve_faults_in_a_hundred_nodes_on_one_screen() {
    let cluster = twelve_faults();
    let (rows, code) = screen(&cluster, "status --connect-timeout 15s", 24, 80);
    let all = rows.join("\n");
    assert_eq!(code, Some(4), "{all}");
    // The first row is still visible, and the last is left for the prompt.
    assert!(rows.first().is_some_and(|row| row.starts_with("database ")), "{all}");
    assert_eq!(rows.last().map(String::as_str), Some(""), "{all}");
    let wanted = [
        "database     1/2 nodes healthy ",
        "config       2/2 nodes healthy ",
        "analytics    0/3 nodes healthy ",
        "control      0/2 nodes healthy ",
        "web-ui       0/1 nodes healthy ",
        "compute    84/90 nodes healthy ",
        "c[07,13]: unreachable (connect_timeout: ",
        "ctl02: unreachable (host_key_unknown: ",
        "supervisor-database on db02: down (",
        "supervisor-webui on web01: missing (the inventory lists role web-ui)",
        "contrail-vrouter-agent on c21: FATAL (",
        // BACKOFF, or about to enter it again.
        "contrail-dns on ctl01: ",
        "contrail-query-engine on a6s02: timeout (no answer on its introspect port)",
        "contrail-vrouter-agent on c[60-61]: STOPPED (",
        "contrail-collector on a6s[01,03]: initializing (Database:Global connection down)",
        "contrail-vrouter-agent on c51: STARTING",
        "core files on c[33-34]: contrail-vrouter-agent in /var/crashes",
        "stale socket on cfg01: nothing is listening on /tmp/supervisord_config.sock",
        "100 nodes, ",
    ];
    for row in wanted {
        assert_eq!(rows.iter().filter(|shown| shown.starts_with(row)).count(), 1, "{row}\n{all}");
    }
    assert!(!all.contains("contrail-schema"), "{all}");

    // Without a terminal nothing is cut, and hints go to stderr.
    let run = cluster.ctl("status -x c[07,13] --connect-timeout 60s").expect(4);
    assert!(
        !run.stdout.contains('…') && run.stdout.contains("84/88 nodes healthy  172/176 services  1 failed"),
        "{run}"
    );
    assert!(run.stdout.contains("unix:///tmp/supervisord_database.sock, http://localhost:9007))\n"), "{run}");
    assert!(run.stderr.contains("→ ctl02: ") && run.stderr.contains("→ db02: "), "{run}");
    assert!(run.stderr.lines().last().is_some_and(|line| line.starts_with("98 nodes, ")), "{run}");
    let quiet = cluster.ctl("status -q -x c[07,13] --connect-timeout 60s").expect(4);
    assert_eq!(quiet.stderr, "", "{quiet}");
    // Every row, with the functional states of services.
    let every = cluster.ctl("status --all -w a6s[01-02],ctl02").expect(4);
    assert!(every.stdout.starts_with("NODE ") && every.stdout.contains("RUNNING (initializing)"), "{every}");
    assert!(every.stdout.contains("Database:Global connection down"), "{every}");
    assert!(every.stdout.lines().filter(|line| line.starts_with("a6s01 ")).count() > 5, "{every}");
    let one = cluster.ctl("service contrail-collector status -w a6s01").expect(0);
    assert!(one.stdout.starts_with("NODE "), "{one}");
}

/// An unreachable node is listed under all its roles, one in maintenance is not an issue, and a node whose version or
/// uptime differs from the others is named, though it is healthy.
#[test]
fn what_is_unlike_the_others() {
    let both =
        |number: usize| NodeSpec::new(format!("n{number}"), Release::R3_2).roles([Role::Analytics, Role::Config]);
    let compute = |number: usize| NodeSpec::new(format!("c{number}"), Release::R3_2).roles([Role::Compute]);
    let nodes = (1..=2).map(both).chain((1..=9).map(compute)).collect();
    let faults = [
        ("n2", Fault::Refused),
        ("c1", Fault::AuthRefused),
        ("c2", Fault::Version("3.1.0-9".to_owned())),
        ("c4", Fault::LeftConfig("webui".to_owned())),
    ];
    let spec = ClusterSpec::new(nodes).timing(FAST);
    let cluster = Cluster::start(faults.into_iter().fold(spec, |spec, (node, fault)| spec.fault(node, fault)));
    assert!(cluster.node("c3").kill(VROUTER, AGENT), "cannot find a running agent on c3");
    cluster.wait_for("c3", VROUTER, AGENT, State::Running);
    let text = cluster.inventory().replace("c5: {", "c5: {maintenance: \"disk, ask Ana\", ");
    let inventory = cluster.write("maintenance.yaml", text);
    let run = Running::start(cluster.command_with("status", &inventory)).finish().expect(4);
    let wanted = [
        "config     1/2 nodes healthy ",
        "analytics  1/2 nodes healthy ",
        "compute    7/9 nodes healthy ",
        "n2: unreachable (refused: connection refused)",
        "c1: unreachable (auth: ",
        "unlisted role on c4: supervisor-webui is installed, but the inventory does not list role web-ui",
        "contrail-vrouter-agent on c3: up ",
        "compute on c2: version 3.1.0-9, elsewhere 3.2.1.0-27",
        "c5: maintenance (disk, ask Ana)",
    ];
    for line in wanted {
        assert_eq!(run.stdout.lines().filter(|shown| shown.starts_with(line)).count(), 1, "{line}\n{run}");
    }
    assert!(!run.stdout.contains("(no role)"), "{run}");

    let well = Running::start(cluster.command_with("status -w n1,c[6-9]", &inventory)).finish().expect(0);
    assert!(well.stdout.lines().any(|line| line == "all healthy on 5 nodes"), "{well}");
    assert_eq!(well.stdout.lines().count(), 4, "{well}");
}
