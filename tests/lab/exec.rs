//! `ctl exec`: the input and output of the command, and that nothing of it stays on the nodes.

use std::fs::File;

use rusqlite::Connection;

use crate::harness::{Cluster, Finished, Running, ended, eventually, is_free, uniform, word};

fn json(cluster: &Cluster, options: &str, words: &[&str]) -> Finished {
    cluster.exec(&format!("-y -o json {options}"), words).finish()
}

/// Identical output is shown once, under the nodes that printed it.
#[test]
fn the_same_output_is_told_once() {
    let cluster = Cluster::start(uniform(4));
    cluster.node("n03").put_file("/etc/release", "other\n");
    for name in ["n01", "n02", "n04"] {
        cluster.node(name).put_file("/etc/release", "same\n");
    }
    let run = cluster.exec("-y", &["cat", "/etc/release"]).finish().expect(0);
    assert_eq!(run.stdout.matches("same").count(), 1, "{run}");
    assert_eq!(run.stdout.matches("other").count(), 1, "{run}");
    assert!(run.stdout.contains("n[01-02,04]") && run.stdout.contains("n03"), "{run}");
    cluster.at_rest();
}

/// Output is shown unchanged and complete, also where outputs differ only in spaces; `--no-fold` shows each node.
#[test]
fn output_is_as_it_was_printed() {
    let cluster = Cluster::start(uniform(3));
    let long = "y".repeat(3000);
    let text = format!("  server:\n\tport: 80\t# {long}\n\n\u{1b}[31mred\n");
    for name in ["n01", "n02"] {
        cluster.node(name).put_file("/etc/some.yaml", &text);
    }
    cluster.node("n03").put_file("/etc/some.yaml", text.replacen("  ", " ", 1));
    let words = ["cat", "/etc/some.yaml"];
    let run = cluster.exec("-y", &words).finish().expect(0);
    let shown = text.replace('\u{1b}', "\\x1b");
    let other = shown.replacen("  ", " ", 1);
    assert_eq!(run.stdout, format!("== n[01-02] (2): exit 0\n{shown}== n03: exit 0\n{other}"), "{run}");
    let run = cluster.exec("-y --no-fold", &words).finish().expect(0);
    assert_eq!(run.stdout, format!("== n01: exit 0\n{shown}== n02: exit 0\n{shown}== n03: exit 0\n{other}"), "{run}");
    for options in ["-y --fold -o json", "-y --no-fold --dry-run"] {
        let refused = cluster.exec(options, &words).finish().expect(2);
        assert!(refused.stderr.contains("fold cannot be used with"), "{refused}");
    }
    cluster.at_rest();
}

/// Exit codes, and the fields of a result.
#[test]
fn what_came_of_it() {
    let cluster = Cluster::start(uniform(2));
    cluster.node("n01").put_file("/etc/flag", "up\n");
    let run = json(&cluster, "", &["cat", "/etc/flag"]).expect(1);
    assert_eq!(run.outcomes(), ["n01 - changed", "n02 - failed command"], "{run}");
    let (first, second) = (run.result("n01"), run.result("n02"));
    assert_eq!((first["exit_status"].as_i64(), word(&first["stdout"]), word(&first["stderr"])), (Some(0), "up\n", ""));
    assert_eq!((&first["truncated"], &first["batch"]), (&false.into(), &1.into()), "{run}");
    assert_eq!(first.get("signal"), Some(&serde_json::Value::Null), "{run}");
    assert_eq!((second["exit_status"].as_i64(), word(&second["stdout"])), (Some(1), ""), "{run}");
    assert!(word(&second["stderr"]).contains("/etc/flag"), "{run}");
    let run = json(&cluster, "-w n01", &["echo out; echo err >&2; exit 42"]).expect(1);
    let result = run.result("n01");
    assert_eq!(
        (result["exit_status"].as_i64(), word(&result["stdout"]), word(&result["stderr"])),
        (Some(42), "out\n", "err\n"),
        "{run}"
    );
    assert!(word(&result["failure"]["message"]).contains("42"), "{run}");
    cluster.at_rest();
}

/// A single argument goes to the login shell, as with ssh; several arguments arrive unchanged.
#[test]
fn words_arrive_as_typed() {
    let cluster = Cluster::start(uniform(1));
    let said = |words: &[&str]| word(&json(&cluster, "", words).expect(0).result("n01")["stdout"]).to_owned();
    assert_eq!(said(&["echo a  b; echo $HOME"]), "a b\n/root\n");
    assert_eq!(said(&["echo", "a  b;", "$HOME", "it's", "\"q\"", "", "x|y"]), "a  b; $HOME it's \"q\"  x|y\n");
    assert_eq!(said(&["echo", "-n", "--", "-w"]), "-- -w");
    assert_eq!(said(&["echo one\necho two"]), "one\ntwo\n");
    assert_eq!(said(&["echo", "a\u{1f}b", "one\ntwo"]), "a\u{1f}b one\ntwo\n");
}

/// Output past the limit is cut, and the result says so.
#[test]
fn more_than_is_kept() {
    let cluster = Cluster::start(uniform(2));
    let run = json(&cluster, "", &["seq", "1", "60000"]).expect(0);
    for result in run.results() {
        let stdout = word(&result["stdout"]);
        assert_eq!(result["truncated"], true, "{} bytes", stdout.len());
        assert!(stdout.starts_with("1\n2\n") && stdout.len() == 256 * 1024, "{} bytes", stdout.len());
    }
    cluster.at_rest();
}

/// At the timeout the command is ended on the node, and its output so far is kept.
#[test]
fn a_command_that_takes_too_long() {
    let cluster = Cluster::start(uniform(2));
    let run = json(&cluster, "--timeout 1s", &["echo before; sleep 600 & sleep 600"]).expect(1);
    assert_eq!(run.outcomes(), ["n01 - timed_out timed_out", "n02 - timed_out timed_out"], "{run}");
    for node in cluster.nodes() {
        let result = run.result(node.name());
        assert_eq!((word(&result["stdout"]), &result["exit_status"]), ("before\n", &serde_json::Value::Null), "{run}");
    }
    cluster.at_rest();
    assert!(cluster.nodes().iter().all(|node| node.commands().ended == 1), "{run}");
}

/// The first signal lets the command finish, the second ends it on the nodes.
#[test]
fn a_command_that_is_interrupted() {
    let cluster = Cluster::start(uniform(3));
    let run = cluster.exec("-y -o json -f 2", &["echo before; sleep 600"]);
    let running = || cluster.nodes().iter().filter(|node| node.commands().running == 1).count();
    eventually("two commands to start", || (running() == 2).then_some(()));
    // The command takes the lock, and has no obligations.
    for node in cluster.nodes() {
        let guard = node.guard();
        assert!(guard.holder.is_some() && guard.armed.is_empty(), "{guard:?}");
    }
    run.signal("INT");
    run.until_said("Press Ctrl-C again to stop waiting.");
    assert_eq!(running(), 2);
    run.signal("INT");
    let run = run.finish().expect(130);
    let mut outcomes: Vec<String> = run.results().iter().map(ended).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["not_started interrupted", "unknown interrupted", "unknown interrupted"], "{run}");
    cluster.at_rest();
    let ended: usize = cluster.nodes().iter().map(|node| node.commands().ended).sum();
    assert_eq!(ended, 2, "{run}");
}

/// The node ends the command when the controller or its connection dies.
#[test]
fn a_command_whose_controller_is_gone() {
    let cluster = Cluster::start(uniform(2));
    let run = cluster.exec("-y -o json", &["sleep 600"]);
    let running = || cluster.nodes().iter().filter(|node| node.commands().running == 1).count();
    eventually("two commands to start", || (running() == 2).then_some(()));
    cluster.node("n01").cut_connections();
    eventually("the first command to end", || (running() == 1).then_some(()));
    run.signal("KILL");
    cluster.at_rest();
    assert!(cluster.nodes().iter().all(|node| node.commands().ended == 1));
}

/// Batches and limits apply to commands too.
#[test]
fn batches_of_commands() {
    let cluster = Cluster::start(uniform(4));
    for name in ["n01", "n03", "n04"] {
        cluster.node(name).put_file("/etc/flag", "up\n");
    }
    let run = json(&cluster, "--serial 1", &["cat", "/etc/flag"]).expect(5);
    assert_eq!(
        run.outcomes(),
        ["n01 - changed", "n02 - failed command", "n03 - not_started limit", "n04 - not_started limit"],
        "{run}"
    );
    for field in ["exit_status", "signal", "stdout", "stderr", "truncated"] {
        assert_eq!(run.result("n03").get(field), Some(&serde_json::Value::Null), "{field}\n{run}");
    }
    let finished = || cluster.nodes().iter().map(|node| node.commands().finished).collect::<Vec<_>>();
    assert_eq!(finished(), [1, 1, 0, 0], "{run}");
    let run = json(&cluster, "--serial 1 --max-failures 1", &["cat", "/etc/flag"]).expect(1);
    assert_eq!(run.json()["summary"]["changed"], 3, "{run}");
    assert_eq!(finished(), [2, 2, 1, 1], "{run}");
    let run = cluster.exec("-y -o jsonl --serial 2 --max-failures 1", &["true"]).finish().expect(0);
    assert_eq!(run.batches(), ["n01 n02", "n03 n04"], "{run}");
    assert!(cluster.nodes().iter().all(|node| is_free(&node.guard())), "{run}");
}

/// One connection and one channel: the shell that has the lock becomes the command. A check costs one channel more.
#[test]
fn a_command_is_one_channel() {
    let cluster = Cluster::start(uniform(2));
    for (options, words, channels) in [
        ("", &["true"][..], 1),
        ("--no-guard", &["true"], 1),
        ("", &["echo", "it's", "a\nb!"], 1),
        // With a gate the run is not over when the command is: the lock has a channel of its own.
        ("--check true", &["true"], 3),
    ] {
        let run = json(&cluster, options, words).expect(0);
        for node in cluster.nodes() {
            let seen = node.counters();
            assert_eq!((seen.connections, seen.execs.len()), (1, channels), "{options}: {:?}\n{run}", seen.execs);
            assert!(seen.streamlocal_opens.is_empty() && seen.tcpip_opens.is_empty(), "{seen:?}");
            node.reset_counters();
        }
        cluster.at_rest();
    }
    let run = json(&cluster, "", &["echo", "it's", "a\nb!"]).expect(0);
    assert_eq!(run.result("n01")["stdout"], "it's a\nb!\n", "{run}");
}

/// A command on every node of the inventory requires confirmation.
#[test]
fn a_command_on_the_whole_inventory() {
    let cluster = Cluster::start(uniform(2));
    let run = cluster.exec("", &["true"]).finish().expect(2);
    assert!(run.stderr.contains("--yes") || run.stderr.contains("-y"), "{run}");
    assert_eq!(cluster.connections(), 0, "{run}");
    cluster.exec("-w n01", &["true"]).finish().expect(0);
    assert_eq!(cluster.node("n02").commands().finished, 0);
}

/// The journal records the command's input before the first event, so a resume of a run that ended before it still asks
/// for that input, and runs no command with less.
#[test]
fn input_is_asked_for_again_however_early_the_run_ended() {
    let cluster = Cluster::start(uniform(2));
    let with = |words: &str, input: Option<&str>| {
        let mut command = cluster.command(words);
        if words.starts_with("exec") {
            command.args(["--", "cat"]);
        } else {
            command = cluster.bare(words);
        }
        if let Some(input) = input {
            command.stdin(File::open(cluster.write("input", input)).expect("cannot open the file"));
        }
        Running::start(command).finish()
    };
    with("exec -y", Some("same\n")).expect(0);
    let journal = Connection::open(cluster.path(".local/state/ctl/journal.db")).expect("cannot open the journal");
    journal
        .execute_batch("DELETE FROM events; UPDATE runs SET ended = NULL, exit_code = NULL, complete = NULL")
        .expect("cannot update the journal");
    let finished = || cluster.nodes().iter().map(|node| node.commands().finished).collect::<Vec<_>>();
    for how in ["resume", "retry"] {
        for input in [None, Some("other\n")] {
            let refused = with(&format!("runs {how} last"), input).expect(2);
            assert!(refused.stderr.contains("5 bytes") && refused.stderr.contains("< FILE"), "{refused}");
        }
    }
    assert_eq!(finished(), [1, 1]);
    let show = with("runs show last", None).expect(0);
    assert!(show.stderr.contains("< FILE (with the same standard input)"), "{show}");
    let resumed = with("runs resume last", Some("same\n")).expect(0);
    assert!(resumed.stdout.contains("same"), "{resumed}");
    assert_eq!(finished(), [2, 2]);
}

/// A resume does not run an interrupted command again. After that the run is finished, and a message says how to run it
/// again.
#[test]
fn a_command_of_which_the_end_is_unknown() {
    let cluster = Cluster::start(uniform(2));
    let run = cluster.exec("-y -o json -f 1", &["echo before; sleep 600"]);
    let running = || cluster.nodes().iter().filter(|node| node.commands().running == 1).count();
    eventually("a command to start", || (running() == 1).then_some(()));
    run.signal("KILL");
    run.finish();
    cluster.at_rest();
    let resumed = Running::start(cluster.bare("runs resume last -o json"));
    eventually("the other command to start", || (running() == 1).then_some(()));
    resumed.signal("INT");
    resumed.until_said("Press Ctrl-C again to stop waiting.");
    resumed.signal("INT");
    let resumed = resumed.finish().expect(130);
    assert!(resumed.stderr.contains("Run it again with: ctl runs retry "), "{resumed}");
    assert!(resumed.stderr.contains("ended on n[01-02]"), "{resumed}");
    let again = Running::start(cluster.bare("runs resume last -o json")).finish().expect(1);
    assert_eq!(again.outcomes(), ["n01 - unknown connection_lost", "n02 - unknown connection_lost"], "{again}");
    assert!(again.stderr.contains("ctl runs retry ") && !again.stderr.contains("Resume it with"), "{again}");
    let list = Running::start(cluster.bare("runs list")).finish().expect(0);
    assert!(list.stdout.contains("finished") && !list.stdout.contains("interrupted"), "{list}");
    let show = Running::start(cluster.bare("runs show last")).finish();
    assert_eq!(show.stdout.lines().filter(|line| line.starts_with("resumed:  ")).count(), 2, "{show}");
    assert!(
        show.stdout.lines().filter(|line| line.starts_with("resumed:  ")).all(|line| line.contains(" by ")),
        "{show}"
    );
}
