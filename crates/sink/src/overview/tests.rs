//! The first screen of `ctl status`, with and without a terminal.

use proptest::prelude::*;

use super::super::fixtures::{self, SharedWriter};
use super::*;
use ctl_event::{
    EventKind, Failure, FailureKind, FindingKind, NodeFacts, NodeFinding, Outcome, ProcessState, RunEvent,
};
use ctl_event::{Stage, TargetResult};

const PIPE: OverviewOptions = OverviewOptions { unfold: false, width: None, height: None, color: false };
const SCREEN: OverviewOptions = OverviewOptions { unfold: false, width: Some(80), height: Some(24), color: false };

/// The content of stdout, then that of stderr.
fn show(options: OverviewOptions, events: &[RunEvent]) -> String {
    let (out, notes) = (SharedWriter::default(), SharedWriter::default());
    let mut sink = OverviewSink::new(options, NodeRoles::default(), out.writer(), notes.writer());
    fixtures::play(&mut sink, events, 0);
    format!("{}---\n{}", out.text(), notes.text())
}

const ROLES: [(&str, usize, &[&str]); 6] = [
    ("database", 3, &["contrail-database-nodemgr", "kafka"]),
    ("config", 3, &["contrail-api:0", "contrail-schema", "contrail-svc-monitor"]),
    ("analytics", 10, &["contrail-analytics-api", "contrail-collector", "contrail-query-engine"]),
    ("control", 4, &["contrail-control", "contrail-dns"]),
    ("web-ui", 2, &["contrail-webui"]),
    ("compute", 78, &["contrail-vrouter-agent", "contrail-vrouter-nodemgr"]),
];

fn running(role: &str, node: &str, service: &str) -> TargetResult {
    TargetResult {
        role: Some(role.to_owned()),
        supervisor: Some(format!("supervisor-{role}")),
        service: Some(service.to_owned()),
        functional: Some("active".into()),
        ..fixtures::running(node, Outcome::Ok, 4711, 266_400)
    }
}

/// A hundred healthy nodes.
fn well() -> Vec<TargetResult> {
    let of_role = |(role, count, services): &(&'static str, usize, &'static [&'static str])| {
        let (role, services) = (*role, *services);
        let nodes = (1..=*count).map(move |number| format!("{role}{number:02}"));
        nodes
            .flat_map(move |node| services.iter().map(move |service| running(role, &node, service)).collect::<Vec<_>>())
    };
    ROLES.iter().flat_map(of_role).collect()
}

fn change(results: &mut [TargetResult], node: &str, service: &str, change: impl FnOnce(&mut TargetResult)) {
    let found = results.iter_mut().find(|own| own.node == node && own.service.as_deref() == Some(service));
    change(found.unwrap_or_else(|| panic!("no {service} on {node}")));
}

/// Makes the nodes unreachable for this reason.
fn lose(results: &mut Vec<TargetResult>, nodes: &[&str], kind: FailureKind, message: &str, hint: &str) {
    for node in nodes {
        let role = results.iter().find(|result| result.node == *node).and_then(|result| result.role.clone());
        results.retain(|result| result.node != *node);
        let failure = Failure::new(Stage::Connect, kind, message).with_hint(hint);
        results.push(TargetResult { role, failure: Some(failure), ..TargetResult::new(*node, Outcome::Unreachable) });
    }
}

/// Twelve faults in the hundred nodes.
fn twelve_faults() -> Vec<RunEvent> {
    use ProcessState as S;
    let mut results = well();
    lose(
        &mut results,
        &["compute07", "compute13"],
        FailureKind::ConnectTimeout,
        "no session after 5.0 s, while opening the connection",
        "is the node up, and does a firewall drop the packets? (allow more time with --connect-timeout)",
    );
    lose(&mut results, &["compute44"], FailureKind::Refused, "connection refused", "is sshd running there?");
    lose(&mut results, &["control04"], FailureKind::HostKeyUnknown, "the host key is not known", "compare it");
    let mut instance = |node: &str, kind, message: &str| {
        let role = results.iter().find(|result| result.node == node).and_then(|result| result.role.clone());
        results.retain(|result| result.node != node);
        let name = format!("supervisor-{}", role.clone().unwrap_or_default());
        let failure = Failure::new(Stage::Inspect, kind, message).with_hint("start it");
        results.push(TargetResult {
            role,
            supervisor: Some(name.clone()),
            service: Some(name),
            failure: Some(failure),
            ..TargetResult::new(node, Outcome::Failed)
        });
    };
    instance(
        "database02",
        FailureKind::SupervisorDown,
        "supervisor-database is not running: nothing is listening at /var/run/supervisord_database.sock",
    );
    instance("web-ui02", FailureKind::SupervisorMissing, "");
    let states = [
        ("analytics03", "contrail-collector", S::Running, "initializing", "Database connection down"),
        ("analytics07", "contrail-collector", S::Running, "initializing", "Database connection down"),
        ("analytics05", "contrail-query-engine", S::Running, "timeout", "no answer in 2 s, asked 3 times"),
        ("config01", "contrail-api:0", S::Fatal, "failed", "can't find command '/usr/bin/contrail-api'"),
        ("config02", "contrail-schema", S::Running, "backup", ""),
        ("config02", "contrail-svc-monitor", S::Exited, "failed", "exit status 1; not expected"),
        ("control02", "contrail-dns", S::Backoff, "failed", "Exited too quickly (process log may have details)"),
        ("compute51", "contrail-vrouter-agent", S::Starting, "initializing", ""),
        ("compute60", "contrail-vrouter-agent", S::Stopped, "inactive", "Mar 01 07:12 AM"),
        ("compute61", "contrail-vrouter-agent", S::Stopped, "inactive", "Apr 11 12:40 PM"),
    ];
    for (node, service, state, word, why) in states {
        change(&mut results, node, service, |result| {
            (result.state, result.functional) = (Some(state), Some(word.into()));
            result.functional_reason = Some(why.to_owned());
        });
    }
    change(&mut results, "compute70", "contrail-vrouter-nodemgr", |result| result.uptime_s = Some(125));
    let mut events: Vec<EventKind> =
        fixtures::run(Some("status"), results).into_iter().map(|event| event.kind).collect();
    let finding = NodeFinding {
        kind: FindingKind::CoreFiles,
        role: None,
        message: "2 core files in /var/crashes".to_owned(),
        details: Vec::new(),
        count: None,
    };
    for node in ["compute02", "compute33"] {
        let facts = NodeFacts { node: node.to_owned(), findings: vec![finding.clone()], ..NodeFacts::default() };
        events.insert(2, EventKind::NodeFacts(facts));
    }
    fixtures::numbered(events)
}

#[test]
fn twelve_faults_in_a_hundred_nodes_fit_on_a_screen() {
    insta::assert_snapshot!(show(SCREEN, &twelve_faults()), @"
    database     2/3 nodes healthy      4/4 services  1 down
    config       1/3 nodes healthy      7/9 services  2 failed
    analytics   7/10 nodes healthy    27/30 services  1 timeout, 2 initializing
    control      2/4 nodes healthy      5/6 services  1 unreachable, 1 failed
    web-ui       1/2 nodes healthy      1/1 services  1 down
    compute    72/78 nodes healthy  147/150 services  3 unreachable, 2 inactive, 1 …

    compute[07,13]: unreachable (connect_timeout: no session after 5.0 s, while ope…
    compute44: unreachable (refused: connection refused)
    control04: unreachable (host_key_unknown: the host key is not known)
    supervisor-database on database02: down (nothing is listening at /var/run/super…
    supervisor-web-ui on web-ui02: missing (the inventory lists role web-ui)
    contrail-api:0 on config01: FATAL (can't find command '/usr/bin/contrail-api')
    contrail-svc-monitor on config02: EXITED (exit status 1; not expected)
    contrail-dns on control02: BACKOFF (Exited too quickly (process log may have de…
    contrail-query-engine on analytics05: timeout (no answer in 2 s, asked 3 times)
    contrail-vrouter-agent on compute[60-61]: STOPPED
    contrail-collector on analytics[03,07]: initializing (Database connection down)
    contrail-vrouter-agent on compute51: STARTING
    core files on compute[02,33]: 2 core files in /var/crashes
    contrail-vrouter-nodemgr on compute70: up 2m05s, elsewhere 3d02h
    ---
    100 nodes, 85 healthy; 200 services, 191 healthy (0.8 s)
    ");
}

#[test]
fn without_a_terminal_nothing_is_cut() {
    insta::assert_snapshot!(show(PIPE, &twelve_faults()), @"
    database     2/3 nodes healthy      4/4 services  1 down
    config       1/3 nodes healthy      7/9 services  2 failed
    analytics   7/10 nodes healthy    27/30 services  1 timeout, 2 initializing
    control      2/4 nodes healthy      5/6 services  1 unreachable, 1 failed
    web-ui       1/2 nodes healthy      1/1 services  1 down
    compute    72/78 nodes healthy  147/150 services  3 unreachable, 2 inactive, 1 initializing

    compute[07,13]: unreachable (connect_timeout: no session after 5.0 s, while opening the connection)
    compute44: unreachable (refused: connection refused)
    control04: unreachable (host_key_unknown: the host key is not known)
    supervisor-database on database02: down (nothing is listening at /var/run/supervisord_database.sock)
    supervisor-web-ui on web-ui02: missing (the inventory lists role web-ui)
    contrail-api:0 on config01: FATAL (can't find command '/usr/bin/contrail-api')
    contrail-svc-monitor on config02: EXITED (exit status 1; not expected)
    contrail-dns on control02: BACKOFF (Exited too quickly (process log may have details))
    contrail-query-engine on analytics05: timeout (no answer in 2 s, asked 3 times)
    contrail-vrouter-agent on compute[60-61]: STOPPED
    contrail-collector on analytics[03,07]: initializing (Database connection down)
    contrail-vrouter-agent on compute51: STARTING
    core files on compute[02,33]: 2 core files in /var/crashes
    contrail-vrouter-nodemgr on compute70: up 2m05s, elsewhere 3d02h
    ---
    → compute[07,13]: is the node up, and does a firewall drop the packets? (allow more time with --connect-timeout)
    → compute44: is sshd running there?
    → control04: compare it
    → database02,web-ui02: start it
    100 nodes, 85 healthy; 200 services, 191 healthy (0.8 s)
    ");
}

#[test]
fn a_narrow_terminal_breaks_lines_and_cuts_reasons_only() {
    insta::assert_snapshot!(show(OverviewOptions { width: Some(48), ..SCREEN }, &twelve_faults()), @"
    database     2/3 nodes healthy  1 down
    config       1/3 nodes healthy  2 failed
    analytics   7/10 nodes healthy  1 timeout, 2 in…
    control      2/4 nodes healthy  1 unreachable, …
    web-ui       1/2 nodes healthy  1 down
    compute    72/78 nodes healthy  3 unreachable, …

    compute[07,13]: unreachable (connect_timeout: n…
    compute44: unreachable (refused: connection ref…
    control04: unreachable (host_key_unknown: the h…
    supervisor-database on database02:
        down (nothing is listening at /var/run/supe…
    supervisor-web-ui on web-ui02:
        missing (the inventory lists role web-ui)
    contrail-api:0 on config01: FATAL (can't find c…
    contrail-svc-monitor on config02:
        EXITED (exit status 1; not expected)
    contrail-dns on control02: BACKOFF (Exited too …
    contrail-query-engine on analytics05:
        timeout (no answer in 2 s, asked 3 times)
    contrail-vrouter-agent on compute[60-61]:
        STOPPED
    contrail-collector on analytics[03,07]:
        initializing (Database connection down)
    contrail-vrouter-agent on compute51: STARTING
    core files on compute[02,33]:
        2 core files in /var/crashes
    contrail-vrouter-nodemgr on compute70:
        up 2m05s, elsewhere 3d02h
    ---
    100 nodes, 85 healthy; 200 services, 191 healthy (0.8 s)
    ");
}

/// The same advice for several roles is one hint.
#[test]
fn a_hint_is_shown_once_for_all_roles() {
    let missing = |node: &str, role: &str| {
        let hint = format!("set it: `roles: {{{role}: {{socket: S}}}}`; otherwise remove role {role} from this node");
        TargetResult {
            role: Some(role.to_owned()),
            supervisor: Some(format!("supervisor-{role}")),
            failure: Some(Failure::new(Stage::Inspect, FailureKind::SupervisorMissing, "none").with_hint(hint)),
            ..TargetResult::new(node, Outcome::Failed)
        }
    };
    let results = vec![missing("n1", "config"), missing("n1", "web-ui"), missing("n2", "config")];
    let shown = show(OverviewOptions::default(), &fixtures::run(Some("status"), results));
    let hints: Vec<&str> = shown.lines().filter(|line| line.starts_with('→')).collect();
    let expected =
        "→ n[1-2]: set it: `roles: {ROLE: {socket: S}}`; otherwise remove role config or web-ui from this node";
    assert_eq!(hints, [expected], "{shown}");
}

#[test]
fn hints_are_shown_while_they_fit() {
    let unknown = || {
        let mut results = well();
        let long = "ssh-keyscan it, compare what it shows with the node's console, and add it to known_hosts or to the inventory";
        lose(&mut results, &["compute44"], FailureKind::HostKeyUnknown, &"the key is not known; ".repeat(6), long);
        lose(&mut results, &["compute45"], FailureKind::Refused, "connection refused", "is sshd running there?");
        fixtures::run(Some("status"), results)
    };
    insta::assert_snapshot!(show(SCREEN, &unknown()), @"
    database     3/3 nodes healthy      6/6 services
    config       3/3 nodes healthy      9/9 services
    analytics  10/10 nodes healthy    30/30 services
    control      4/4 nodes healthy      8/8 services
    web-ui       2/2 nodes healthy      2/2 services
    compute    76/78 nodes healthy  152/152 services  2 unreachable

    compute44: unreachable (host_key_unknown: the key is not known; the key is not
        known; the key is not known; the key is not known; the key is not known; the
        key is not known; )
    compute45: unreachable (refused: connection refused)
    ---
    → compute44: ssh-keyscan it, compare what it shows with the node's console,
      and add it to known_hosts or to the inventory
    → compute45: is sshd running there?
    100 nodes, 98 healthy; 207 services, 207 healthy (0.8 s)
    ");
    insta::assert_snapshot!(show(OverviewOptions { height: Some(12), ..SCREEN }, &unknown()), @"
    database     3/3 nodes healthy      6/6 services
    config       3/3 nodes healthy      9/9 services
    analytics  10/10 nodes healthy    30/30 services
    control      4/4 nodes healthy      8/8 services
    web-ui       2/2 nodes healthy      2/2 services
    compute    76/78 nodes healthy  152/152 services  2 unreachable

    compute44: unreachable (host_key_unknown: the key is not known; the key is not …
    compute45: unreachable (refused: connection refused)
    ---
    100 nodes, 98 healthy; 207 services, 207 healthy (0.8 s)
    ");
    insta::assert_snapshot!(show(OverviewOptions { height: Some(11), ..SCREEN }, &unknown()), @"
    database     3/3 nodes healthy      6/6 services
    config       3/3 nodes healthy      9/9 services
    analytics  10/10 nodes healthy    30/30 services
    control      4/4 nodes healthy      8/8 services
    web-ui       2/2 nodes healthy      2/2 services
    compute    76/78 nodes healthy  152/152 services  2 unreachable

    compute44: unreachable (host_key_unknown: the key is not known; the key is not …
    compute45: unreachable (refused: connection refused)
    ---
    100 nodes, 98 healthy; 207 services, 207 healthy (0.8 s)
    ");
}

#[test]
fn a_cluster_that_is_well_says_so() {
    insta::assert_snapshot!(show(SCREEN, &fixtures::run(Some("status"), well())), @"
    database     3/3 nodes healthy      6/6 services
    config       3/3 nodes healthy      9/9 services
    analytics  10/10 nodes healthy    30/30 services
    control      4/4 nodes healthy      8/8 services
    web-ui       2/2 nodes healthy      2/2 services
    compute    78/78 nodes healthy  156/156 services
    all healthy on 100 nodes
    ---
    100 nodes, 100 healthy; 211 services, 211 healthy (0.8 s)
    ");
    let mut results = well();
    results.retain(|result| result.node != "web-ui02");
    let message = "maintenance: disk replaced".to_owned();
    results.push(TargetResult { message, ..TargetResult::new("web-ui02", Outcome::Skipped) });
    for service in ["contrail-analytics-api", "contrail-collector", "contrail-query-engine"] {
        change(&mut results, "analytics02", service, |result| result.uptime_s = Some(300));
    }
    for (place, result) in results.iter_mut().take(6).enumerate() {
        result.version = Some(if place < 2 { "3.1.0-27" } else { "3.2.0-19" }.to_owned());
    }
    change(&mut results, "control01", "contrail-dns", |result| result.version = Some("1\x1b[2J".to_owned()));
    for node in ["control02", "control03", "control04"] {
        change(&mut results, node, "contrail-dns", |result| result.version = Some("3.2.0-19".to_owned()));
    }
    insta::assert_snapshot!(show(SCREEN, &fixtures::run(Some("status"), results)), @r"
    database     3/3 nodes healthy      6/6 services
    config       3/3 nodes healthy      9/9 services
    analytics  10/10 nodes healthy    30/30 services
    control      4/4 nodes healthy      8/8 services
    web-ui       1/1 nodes healthy      1/1 services
    compute    78/78 nodes healthy  156/156 services
    (no role)    0/1 nodes healthy      0/0 services  1 in maintenance
    all healthy on 99 nodes; 1 in maintenance
    contrail-analytics-api, contrail-collector, contrail-query-engine on
        analytics02: up 5m00s, elsewhere 3d02h
    control on control01: version 1\x1b[2J, elsewhere 3.2.0-19
    web-ui02: maintenance (disk replaced)
    ---
    100 nodes, 99 healthy; 210 services, 210 healthy (0.8 s)
    ");
}

#[test]
fn services_that_share_a_fate_share_a_line() {
    let mut results = well();
    for service in ["contrail-analytics-api", "contrail-collector", "contrail-query-engine"] {
        change(&mut results, "analytics02", service, |result| result.state = Some(ProcessState::Stopped));
    }
    let events = fixtures::run(Some("status"), results);
    let shown = show(PIPE, &events);
    let line = "contrail-analytics-api, contrail-collector, contrail-query-engine on analytics02: STOPPED\n";
    assert!(shown.contains(line), "{shown}");
    let unfolded = show(OverviewOptions { unfold: true, ..PIPE }, &twelve_faults());
    for line in ["\ncompute07: unreachable (", "\ncompute13: unreachable (", "\ncore files on compute02: "] {
        assert!(unfolded.contains(line), "{unfolded}");
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let colored = show(OverviewOptions { color: true, ..SCREEN }, &twelve_faults());
    assert_eq!(console::strip_ansi_codes(&colored), show(SCREEN, &twelve_faults()));
    let line = colored.lines().find(|line| line.starts_with("contrail-collector")).expect("a line");
    insta::assert_snapshot!(line.replace('\x1b', "ESC"), @"contrail-collector on analytics[03,07]: ESC[33minitializingESC[0m (Database connection down)");
}

#[test]
fn nothing_to_show_is_said() {
    insta::assert_snapshot!(show(PIPE, &fixtures::run(Some("status"), Vec::new())), @"
    ---
    no results: no node was queried
    ");
    let absent = TargetResult::new("db1", Outcome::NotConfigured);
    insta::assert_snapshot!(show(PIPE, &fixtures::run(Some("status"), vec![absent])), @"
    ---
    nothing to show: no selected node has this service (-o wide shows every node)
    1 node, 1 result: 1 not_configured (0.8 s)
    ");
}

#[test]
fn nodes_without_a_role_are_not_missed() {
    let absent = |node| TargetResult::new(node, Outcome::NotConfigured);
    let results = vec![running("analytics", "a1", "contrail-collector"), absent("c1"), absent("c2")];
    let roles = [("a1", vec!["analytics".to_owned()]), ("c1", Vec::new()), ("c2", Vec::new())];
    let roles = NodeRoles::new(&["analytics"], roles.map(|(node, roles)| (node.to_owned(), roles)));
    let (out, notes) = (SharedWriter::default(), SharedWriter::default());
    let mut sink = OverviewSink::new(PIPE, roles, out.writer(), notes.writer());
    fixtures::play(&mut sink, &fixtures::run(Some("status"), results), 0);
    insta::assert_snapshot!(out.text(), @"
    analytics  1/1 nodes healthy  1/1 services
    all healthy on 1 node
    not read, no role in the inventory: c[1-2]
    ");
}

fn any_trouble() -> impl Strategy<Value = ClusterIssue> {
    let what = proptest::sample::select(vec![
        ClusterIssue::NODE,
        "contrail-vrouter-nodemgr",
        "kafka",
        "supervisor-support-service",
    ]);
    let health = proptest::option::of(proptest::sample::select(&TargetHealth::ALL[1..]));
    (what, health, proptest::collection::vec(0..900_u16, 1..40), "[a-z:(),é東\\x00 ]{0,120}").prop_map(
        |(what, health, numbers, reason)| ClusterIssue {
            health,
            what: what.to_owned(),
            role: None,
            nodes: NodeSet::from_names(numbers.iter().map(|number| format!("c{number:03}"))),
            reason: format!("FATAL ({reason})"),
            count: numbers.len(),
        },
    )
}

proptest! {
    #[test]
    fn lines_fit_and_only_reasons_are_cut(
        troubles in proptest::collection::vec(any_trouble(), 1..12),
        width in 30..120_u16,
        height in 5..40_u16,
    ) {
        let role = RoleSummary { role: Some("compute".to_owned()), nodes: 900, ..RoleSummary::default() };
        let overview = Overview {
            roles: vec![role], nodes: 900, nodes_well: 0, troubles, outliers: Vec::new(), maintenance: Vec::new(),
            without_role: vec!["a role-less node with a long name".to_owned()],
        };
        let options = OverviewOptions { width: Some(width), height: Some(height), ..PIPE };
        let shown = lines(&overview, options);
        for line in &shown[1..] {
            prop_assert!(text::width(line) <= usize::from(width), "{line}");
            prop_assert!(!line.ends_with(' '), "{line:?}");
        }
        // Ignore spaces, since lines break there: every service and node set must be complete, and each reason must
        // start at its beginning.
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let screen = bare(&shown.join(""));
        for trouble in &overview.troubles {
            prop_assert!(trouble.what == ClusterIssue::NODE || screen.contains(&bare(&trouble.what)));
            prop_assert!(screen.contains(&bare(&format!("{}: FATAL", trouble.nodes))), "{shown:#?}");
        }
        prop_assert_eq!(lines(&overview, options), shown);
    }
}
