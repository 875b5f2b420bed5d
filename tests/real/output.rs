//! Output and confirmation with real nodes.

use crate::harness::{Cluster, Instance, NodeSpec, Program, Running, parsed};

fn webui() -> NodeSpec {
    NodeSpec::new(Instance::webui().with(Program::steady("contrail-webui")))
}

/// A change to the whole inventory requires confirmation.
#[test]
fn the_whole_inventory_needs_a_yes() {
    let cluster = Cluster::of(2, &webui());
    let before = cluster.node("a1").process("contrail-webui");
    for line in
        ["service contrail-webui restart", "service contrail-webui restart --role web-ui", "service all stop -w a[1-2]"]
    {
        let refused = cluster.ctl(line).expect(2);
        assert!(refused.stdout.is_empty(), "{refused}");
        assert!(
            refused.stderr.contains("--yes") || refused.stderr.contains("-y"),
            "expected a hint with the fix: {refused}"
        );
    }
    assert_eq!(cluster.connections(), 0, "a node was contacted");
    assert_eq!(cluster.node("a1").process("contrail-webui"), before);
    // A part of it, or a read-only command, does not.
    cluster.ctl("service contrail-webui restart -w a1").expect(0);
    cluster.ctl("service contrail-webui status").expect(0);
}

/// On a terminal, the user must type the number of nodes.
#[test]
fn the_question_at_a_terminal() {
    let cluster = Cluster::of(2, &webui());
    for (answer, code) in [("y", 2), ("3", 2), ("2", 0)] {
        let before = cluster.node("a1").process("contrail-webui").unwrap().pid;
        let mut screen = cluster.at_a_terminal("service contrail-webui restart");
        screen.answer("to continue:", answer);
        let finished = screen.finish().expect(code);
        let after = cluster.node("a1").process("contrail-webui").unwrap().pid;
        assert_eq!(before != after, code == 0, "typed {answer:?}\n{finished}");
    }
}

/// A reader that closes the pipe ends the output, not the run.
#[test]
fn a_closed_stdout_ends_quietly() {
    let cluster = Cluster::of(3, &webui());
    let before: Vec<_> = cluster.nodes().iter().map(|node| node.process("contrail-webui").unwrap().pid).collect();
    for format in ["jsonl", "table"] {
        let ctl = env!("CARGO_BIN_EXE_ctl");
        let mut command = cluster.at_home("bash");
        command.env("CTL_INVENTORY", cluster.inventory());
        command.args([
            "-c",
            &format!("{ctl} service contrail-webui restart -y -o {format} | head -n 1; exit ${{PIPESTATUS[0]}}"),
        ]);
        let finished = Running::start(command).finish().expect(0);
        assert_eq!(finished.stdout.lines().count(), 1, "{finished}");
        // The summary line is allowed; an error about the pipe is not.
        assert!(finished.stderr.lines().count() <= 1, "{finished}");
        assert!(!finished.stderr.to_lowercase().contains("pipe"), "{finished}");
    }
    for (node, before) in cluster.nodes().iter().zip(before) {
        let now = node.process("contrail-webui").unwrap();
        assert!(now.state == "RUNNING" && now.pid != before, "{}", node.name);
    }
}

/// Text from a node may contain control characters, which must never reach a terminal.
#[test]
fn control_characters_are_made_visible() {
    // supervisord includes the command in its message: "can't find command '…'".
    let evil = Program::running("contrail-webui", "/nonexistent/\u{1b}]0;owned\u{7}\u{1b}[31mred");
    let cluster = Cluster::of(1, &NodeSpec::new(Instance::webui().with(evil)));
    cluster.node("a1").wait_for("contrail-webui", "FATAL");
    for via in ["rpc", "supervisorctl"] {
        for output in ["table", "wide", "csv"] {
            for line in ["service contrail-webui start", "service contrail-webui status"] {
                let finished = cluster.ctl(&format!("{line} --via {via} -o {output} --color never"));
                let text = format!("{}{}", finished.stdout, finished.stderr);
                assert!(!text.contains(['\u{1b}', '\u{7}']), "{finished}");
            }
        }
        let wide = cluster.ctl(&format!("service contrail-webui start --via {via} -o wide --color never")).expect(1);
        assert!(wide.stdout.contains("owned"), "expected the message: {wide}");
    }
}

#[test]
fn every_form_of_output() {
    let cluster = Cluster::of(2, &webui());
    let status = |format: &str| cluster.ctl(&format!("service contrail-webui status -o {format}")).expect(0);
    for (format, node_on_a_line) in [("table", true), ("wide", true), ("csv", true), ("yaml", false)] {
        let finished = status(format);
        assert!(finished.stdout.contains("a1") && finished.stdout.contains("a2"), "{finished}");
        assert!(finished.stdout.contains("contrail-webui") && finished.stdout.contains("RUNNING"), "{finished}");
        assert!(!finished.stdout.contains('\u{1b}'), "expected no color without a terminal: {finished}");
        if node_on_a_line {
            assert!(finished.stdout.lines().any(|line| line.contains("a1") && line.contains("RUNNING")), "{finished}");
        }
    }
    let events = status("jsonl").events();
    assert!(events.iter().all(|event| event["schema"] == "ctl/1"), "{events:#?}");
    assert_eq!(events.first().unwrap()["event"], "run_started");
    assert_eq!(events.iter().filter(|event| event["event"] == "result").count(), 2);
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&"run_finished".into(), &0.into()));

    let file = cluster.path("out.json");
    let to_file = cluster.ctl(&format!("service contrail-webui status -o json --out {}", file.display())).expect(0);
    assert!(to_file.stdout.is_empty(), "{to_file}");
    let written = parsed(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(written["summary"]["ok"], 2);
}

/// Progress appears only on a terminal, on stderr, and never on stdout.
#[test]
fn progress_only_at_a_terminal() {
    let cluster = Cluster::of(1, &webui());
    let finished = cluster.ctl("service contrail-webui restart").expect(0);
    assert!(!finished.stderr.contains(['\u{1b}', '\r']), "{finished}");
    assert!(finished.stderr.lines().count() <= 1, "{finished}");
    let quiet = cluster.ctl("service contrail-webui restart -q").expect(0);
    assert!(quiet.stderr.is_empty(), "{quiet}");
}
