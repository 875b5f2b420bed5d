use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::{PendingAction, TopKey, TopModel, TopOrder, TopTarget, draw};
use ctl_event::{
    EventKind, Failure, FailureKind, FindingKind, Ledger, NodeFacts, NodeFinding, Outcome, ProcessState, RunEvent,
    RunHead, RunScope, Stage, SupervisorFacts, TargetResult, Via,
};
use ctl_overview::NodeRoles;
use ctl_plan::ServiceVerb;

const SERVICES: [&str; 3] = ["contrail-collector", "contrail-query-engine", "contrail-topology"];

fn running(node: &str, role: &str, service: &str) -> TargetResult {
    TargetResult {
        role: Some(role.to_owned()),
        service: Some(service.to_owned()),
        state: Some(ProcessState::Running),
        functional: Some("active".into()),
        uptime_s: Some(3_700),
        ..TargetResult::new(node, Outcome::Ok)
    }
}

fn initializing(node: &str, why: &str) -> TargetResult {
    TargetResult {
        functional: Some("initializing".into()),
        functional_reason: Some(why.to_owned()),
        ..running(node, "analytics", SERVICES[0])
    }
}

fn unreachable(node: &str) -> TargetResult {
    let failure = Failure::new(Stage::Connect, FailureKind::Refused, "connection refused");
    TargetResult { failure: Some(failure), ..TargetResult::new(node, Outcome::Unreachable) }
}

/// The ledger of one round.
fn ledger(results: Vec<TargetResult>, facts: Vec<NodeFacts>) -> Ledger {
    let head = RunHead {
        run: "r".to_owned(),
        command: "status".to_owned(),
        action: Some("status".to_owned()),
        services: Vec::new(),
        started: jiff::Timestamp::UNIX_EPOCH,
        nodes: 0,
        selection: RunScope::default(),
        input: None,
    };
    let mut ledger = Ledger::default();
    let kinds = std::iter::once(EventKind::RunStarted(head))
        .chain(results.into_iter().map(EventKind::Result))
        .chain(facts.into_iter().map(EventKind::NodeFacts));
    for (seq, kind) in kinds.enumerate() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let event = RunEvent { seq: seq as u64, at, elapsed: Duration::from_millis(300), kind };
        ledger.apply(&event).expect("an event that fits");
    }
    ledger
}

fn model(results: Vec<TargetResult>, facts: Vec<NodeFacts>) -> TopModel {
    let names = results.iter().map(|result| (result.node.clone(), vec!["analytics".to_owned()]));
    let roles = NodeRoles::new(&["analytics", "compute"], names.collect::<Vec<_>>());
    let mut model = TopModel::new(roles, Duration::from_secs(2), false);
    model.update(&ledger(results, facts), Vec::new(), "12:00:00".to_owned());
    model
}

/// The screen, row by row.
fn rows(model: &mut TopModel, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal.draw(|frame| draw(frame, model)).expect("a frame");
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

fn press(model: &mut TopModel, keys: &str) -> Option<TopOrder> {
    keys.chars().fold(None, |_, char| model.key(if char == '\n' { TopKey::Enter } else { TopKey::Char(char) }))
}

fn few() -> TopModel {
    let mut results: Vec<TargetResult> = ["a1", "a2", "a3"]
        .iter()
        .flat_map(|node| SERVICES.iter().map(|service| running(node, "analytics", service)))
        .collect();
    results[3] = initializing("a2", "Database:Global connection down");
    results.push(unreachable("a4"));
    let facts = NodeFacts {
        node: "a2".to_owned(),
        supervisors: vec![SupervisorFacts {
            role: "analytics".to_owned(),
            name: "supervisor-analytics".to_owned(),
            address: Some("unix:///var/run/supervisord_analytics.sock".to_owned()),
            via: Via::Rpc,
            version: Some("3.0b2".to_owned()),
            pid: Some(77),
        }],
        findings: vec![NodeFinding {
            kind: FindingKind::CoreFiles,
            role: None,
            message: "core files in /var/crashes".to_owned(),
            details: vec!["/var/crashes/core.contrail-collec.77".to_owned()],
            count: Some(1),
        }],
        ..NodeFacts::default()
    };
    model(results, vec![facts])
}

#[test]
fn the_cluster_on_one_screen() {
    let mut model = few();
    insta::assert_snapshot!(rows(&mut model, 80, 24).join("\n"), @r"
    ctl top · 2 of 4 nodes healthy · 8 of 9 services healthy · 12:00:00
    · 8 active  i 1 initializing  ? 1 unreachable
    analytics: 4 nodes
     contrail-collector          ·i·?
     contrail-query-engine       ···?
     contrail-topology           ···?
     10 of 10 services, worst first ────────────────────────────────────────────────
    ? a4 -                            unreachable (refused: connection refused)
    i a2 contrail-collector     1h01m initializing (Database:Global connection down)
    · a1 contrail-collector     1h01m active
    · a1 contrail-query-engine  1h01m active
    · a1 contrail-topology      1h01m active
    · a2 contrail-query-engine  1h01m active
    · a2 contrail-topology      1h01m active
    · a3 contrail-collector     1h01m active
    · a3 contrail-query-engine  1h01m active
    · a3 contrail-topology      1h01m active





    ────────────────────────────────────────────────────────────────────────────────
    / filter  o order  m map  Enter node  r restart  s start  x stop  ? keys  q quit
    ");
}

#[test]
fn a_node_and_the_log_of_one_of_its_services() {
    let mut model = few();
    assert_eq!(model.key(TopKey::Down), None);
    let target = TopTarget {
        node: "a2".to_owned(),
        role: Some("analytics".to_owned()),
        service: Some("contrail-collector".to_owned()),
    };
    assert_eq!(model.key(TopKey::Enter), Some(TopOrder::ReadLog(target.clone())));
    assert!(rows(&mut model, 80, 24).iter().any(|row| row == "reading it …"));
    let lines = (1..=100).map(|number| format!("line {number} \x1b[2J"));
    model.log_read(&target, lines.collect());
    insta::assert_snapshot!(rows(&mut model, 80, 24).join("\n"), @r"
    ctl top · 2 of 4 nodes healthy · 8 of 9 services healthy · 12:00:00
    · 8 active  i 1 initializing  ? 1 unreachable
    node a2  (Esc: back; up and down: its services)
    supervisor-analytics: supervisor 3.0b2 at unix:///var/run/supervisord_analytics.
    ! core files in /var/crashes (/var/crashes/core.contrail-collec.77)
    i a2 contrail-collector     1h01m initializing (Database:Global connection down)
    · a2 contrail-query-engine  1h01m active
    · a2 contrail-topology      1h01m active
     the end of the log of contrail-collector ──────────────────────────────────────
    line 87 \x1b[2J
    line 88 \x1b[2J
    line 89 \x1b[2J
    line 90 \x1b[2J
    line 91 \x1b[2J
    line 92 \x1b[2J
    line 93 \x1b[2J
    line 94 \x1b[2J
    line 95 \x1b[2J
    line 96 \x1b[2J
    line 97 \x1b[2J
    line 98 \x1b[2J
    line 99 \x1b[2J
    line 100 \x1b[2J
    / filter  o order  m map  Enter node  r restart  s start  x stop  ? keys  q quit
    ");
    // The next service of the node; the log of the previous one arrives too late.
    let order = model.key(TopKey::Down);
    let Some(TopOrder::ReadLog(next)) = order else { panic!("{order:?}") };
    assert_eq!((next.node.as_str(), next.service.as_deref()), ("a2", Some("contrail-query-engine")));
    model.log_read(&target, vec!["late".to_owned()]);
    assert!(!rows(&mut model, 80, 24).iter().any(|row| row == "late"));
    assert_eq!(model.key(TopKey::Escape), None);
    assert_eq!(model.log_shown(), None);
}

#[test]
fn the_selection_follows_its_target() {
    let mut model = few();
    assert_eq!(press(&mut model, "/query\n"), None);
    assert_eq!(press(&mut model, "j"), None);
    let selected = |model: &mut TopModel| {
        let Some(TopOrder::ReadLog(target)) = model.key(TopKey::Enter) else { panic!("no log") };
        assert_eq!(model.key(TopKey::Escape), None);
        target.node
    };
    assert_eq!(selected(&mut model), "a2");
    let mut results: Vec<TargetResult> =
        ["a1", "a2", "a3"].iter().map(|node| running(node, "analytics", SERVICES[1])).collect();
    results[2].state = Some(ProcessState::Fatal);
    model.update(&ledger(results, Vec::new()), Vec::new(), "12:00:02".to_owned());
    let screen = rows(&mut model, 80, 24).join("\n");
    assert!(screen.contains("3 of 3 services, worst first, filter: query"), "{screen}");
    assert_eq!(selected(&mut model), "a2");
}

/// Nodes answer one after the other, and the worst are listed first: the view opens at its first row.
#[test]
fn the_first_row_is_selected_until_a_key_is_pressed() {
    let selected = |model: &TopModel| model.current().map(|result| format!("{} {:?}", result.node, result.state));
    let round = |model: &mut TopModel, nodes: std::ops::Range<u8>, fatal: u8| {
        let result = |number| TargetResult {
            state: Some(if number >= fatal { ProcessState::Fatal } else { ProcessState::Running }),
            ..running(&format!("n{number:02}"), "analytics", SERVICES[0])
        };
        model.update(&ledger(nodes.map(result).collect(), Vec::new()), Vec::new(), String::new());
    };
    let mut model = model(Vec::new(), Vec::new());
    // A key before the first answer chooses nothing.
    assert_eq!(press(&mut model, "j"), None);
    for (answers, fatal, first) in
        [(1, 50, "n00 Some(Running)"), (30, 50, "n00 Some(Running)"), (60, 40, "n40 Some(Fatal)")]
    {
        round(&mut model, 0..answers, fatal);
        assert_eq!(selected(&model).as_deref(), Some(first));
        let screen = rows(&mut model, 80, 24);
        let title = screen.iter().position(|row| row.contains("services, worst first")).expect("a list");
        assert!(screen[title + 1].contains(&first[..3]), "{screen:?}");
    }
    // From the first key on, it stays on its row.
    assert_eq!(press(&mut model, "j"), None);
    round(&mut model, 0..60, 20);
    assert_eq!(selected(&model).as_deref(), Some("n41 Some(Fatal)"));
    // A filter begins at the first row again, which stays while it is typed.
    assert_eq!(press(&mut model, "/n"), None);
    round(&mut model, 0..60, 10);
    assert_eq!(selected(&model).as_deref(), Some("n10 Some(Fatal)"));
    assert_eq!(press(&mut model, "\n"), None);
    round(&mut model, 0..60, 0);
    assert_eq!(selected(&model).as_deref(), Some("n10 Some(Fatal)"));
}

#[test]
fn a_filter_takes_words_of_all_kinds() {
    for (filter, expected) in [
        ("", 10),
        ("a2", 3),
        ("A2 collector", 1),
        ("analytics", 9),
        ("database", 1),
        ("initializing", 1),
        ("running query", 3),
        ("refused", 1),
        ("nothing of the kind", 0),
    ] {
        let mut model = few();
        assert_eq!(press(&mut model, &format!("/{filter}\n")), None);
        let screen = rows(&mut model, 80, 24).join("\n");
        assert!(screen.contains(&format!(" {expected} of 10 services")), "{filter}: {screen}");
    }
}

#[test]
fn orders() {
    let mut model = few();
    let mut first = Vec::new();
    for _ in 0..5 {
        let screen = rows(&mut model, 80, 24);
        let title = screen.iter().position(|row| row.contains("of 10 services")).expect("a list");
        first.push(screen[title + 1].split_whitespace().take(3).collect::<Vec<_>>().join(" "));
        assert_eq!(press(&mut model, "o"), None);
    }
    assert_eq!(first, ["? a4 -", "· a1 contrail-collector", "? a4 -", "· a1 contrail-collector", "? a4 -",]);
}

#[test]
fn an_action_is_confirmed() {
    let restart = |nodes: &[&str], typed: &str| {
        Some(TopOrder::Act(PendingAction {
            action: ServiceVerb::Restart,
            service: "contrail-collector".to_owned(),
            role: Some("analytics".to_owned()),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            typed: typed.to_owned(),
        }))
    };
    let mut model = few();
    // An unreachable node has no service to act on.
    assert_eq!(press(&mut model, "ry"), None);
    assert!(!rows(&mut model, 80, 24).join("\n").contains("Really?"));
    assert_eq!(press(&mut model, "jr"), None);
    let screen = rows(&mut model, 80, 24).join("\n");
    for words in ["restart contrail-collector of analytics", "on a2", "type y and press Enter, or Esc: ▏"] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    // Any other input means no.
    assert_eq!(press(&mut model, "yes\n"), None);
    assert!(!rows(&mut model, 80, 24).join("\n").contains("Really?"));
    assert_eq!(press(&mut model, "ry\n"), restart(&["a2"], "y"));
    assert_eq!(press(&mut model, "R"), None);
    assert!(rows(&mut model, 80, 24).join("\n").contains("type 3, the number of nodes, and press Enter"));
    assert_eq!(press(&mut model, "y\n"), None);
    assert_eq!(press(&mut model, "R3\n"), restart(&["a2", "a1", "a3"], "3"));
    // Only on the nodes that the filter shows.
    assert_eq!(press(&mut model, "/a1\n"), None);
    assert_eq!(press(&mut model, "Ry\n"), restart(&["a1"], "y"));
    assert_eq!(press(&mut model, "x"), None);
    assert_eq!(model.key(TopKey::Escape), None);
    assert_eq!(model.key(TopKey::Interrupt), Some(TopOrder::Quit));
}

#[test]
fn a_thousand_nodes_on_the_smallest_terminal() {
    let mut results: Vec<TargetResult> = (0..1000)
        .flat_map(|node| (0..10).map(move |service| running(&format!("c{node:04}"), "compute", &format!("s{service}"))))
        .collect();
    results[7777].state = Some(ProcessState::Fatal);
    let mut model = model(results, Vec::new());
    let screen = rows(&mut model, 80, 24);
    let all = screen.join("\n");
    assert!(screen[0].starts_with("ctl top · 999 of 1000 nodes healthy · 9999 of 10000 services healthy"), "{all}");
    assert!(screen.iter().any(|row| row.starts_with("s7 ") && row.contains('F')), "{all}");
    assert!(all.contains("9 services are healthy on all their nodes"), "{all}");
    assert!(screen.iter().any(|row| row.starts_with("F c0777") && row.contains("s7")), "{all}");
    assert_eq!(model.key(TopKey::End), None);
    assert!(rows(&mut model, 80, 24).iter().any(|row| row.contains("c0999")));
    assert_eq!(rows(&mut model, 59, 24)[0], "the terminal is too small: 60 × 12 at least");
}

#[test]
fn the_whole_map_by_role() {
    let services =
        |role: &'static str, count| (0..count).map(move |number| running("n1", role, &format!("{role}-{number:02}")));
    let mut model = model(services("compute", 15).chain(services("analytics", 15)).collect(), Vec::new());
    let shown = |model: &mut TopModel| rows(model, 80, 24);
    assert!(!shown(&mut model).join("\n").contains("compute: 1 node"));
    assert_eq!(press(&mut model, "m"), None);
    let screen = shown(&mut model);
    assert_eq!((screen[2].as_str(), screen[3].trim_end()), ("analytics: 1 node", " analytics-00                ·"));
    assert_eq!(screen[18], "compute: 1 node");
    // An action needs a selected service.
    assert_eq!(press(&mut model, "r\n"), None);
    assert_eq!(model.key(TopKey::End), None);
    let screen = shown(&mut model);
    assert!(screen[22].starts_with(" compute-14 ") && !screen.join("\n").contains("analytics: "), "{screen:?}");
    assert_eq!(model.key(TopKey::Escape), None);
    assert!(shown(&mut model).join("\n").contains("30 of 30 services"));
}

fn any_key() -> impl Strategy<Value = TopKey> {
    prop_oneof![
        4 => prop::sample::select("qoxrRsjkgGm?/y13a".chars().collect::<Vec<_>>()).prop_map(TopKey::Char),
        1 => any::<char>().prop_map(TopKey::Char),
        3 => prop_oneof![
            Just(TopKey::Enter), Just(TopKey::Escape), Just(TopKey::Backspace), Just(TopKey::Up), Just(TopKey::Down),
            Just(TopKey::PageUp), Just(TopKey::PageDown), Just(TopKey::Home), Just(TopKey::End), Just(TopKey::Interrupt),
        ],
    ]
}

proptest::proptest! {
    #[test]
    fn no_keys_and_no_size_panic(keys in prop::collection::vec(any_key(), 0..30), width in 1_u16..200, height in 1_u16..60) {
        let mut model = few();
        for key in keys {
            // Whatever the key requests.
            drop(model.key(key));
            let screen = rows(&mut model, width, height);
            proptest::prop_assert_eq!(screen.len(), usize::from(height));
        }
        model.update(&ledger(Vec::new(), Vec::new()), Vec::new(), String::new());
        drop(rows(&mut model, width, height));
        drop(model.key(TopKey::Enter));
    }
}
