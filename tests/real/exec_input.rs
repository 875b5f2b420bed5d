//! `ctl exec` with real login shells: standard input, rc files, and how commands end.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Stdio;

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program, Running, eventually};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// All byte values, and more than a pipe buffers.
fn bytes() -> Vec<u8> {
    (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

/// `ctl exec -y -o json WORDS` with `input` in a file as standard input.
fn with_file(cluster: &Cluster, words: &[&str], input: &[u8]) -> Running {
    let path = cluster.path("input");
    fs::write(&path, input).unwrap();
    let mut command = cluster.ctl_command(["exec", "-y", "-o", "json"].into_iter().chain(words.iter().copied()));
    command.stdin(File::open(path).unwrap());
    Running::start(command)
}

fn exec(cluster: &Cluster, words: &[&str]) -> Finished {
    cluster.ctl_words(&[&["exec", "-y", "-o", "json"], words].concat())
}

#[track_caller]
fn stdout(finished: &Finished, node: &str) -> String {
    finished.result(node)["stdout"].as_str().unwrap_or_else(|| panic!("no stdout\n{finished}")).to_owned()
}

/// The number of processes on a node that have `words` in their command line.
fn running(node: &Node, words: &str) -> usize {
    // Split the words, so that the search does not find itself.
    let (first, rest) = words.split_at(1);
    node.sh(&format!(
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\000' ' ' | grep -o -a '[{first}]{rest}' | wc -l; true"
    ))
    .trim()
    .parse()
    .unwrap()
}

/// Writes the rc file of bash, root's login shell.
fn bashrc(node: &Node, text: &str) {
    fs::write(node.inside("/run/home/root/.bashrc"), text).unwrap();
}

/// Every byte of a file or a pipe reaches each node, also through sudo; without input, the command reads nothing.
#[test]
fn input_reaches_every_node() {
    for defaults in ["user: root", "user: ctlops, sudo: true"] {
        let cluster = Cluster::builder().nodes("a", 2, &spec()).defaults(defaults).start();
        let wanted = bytes();
        let sum = |path: &str| {
            let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
            String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap().to_owned()
        };
        let from_file = with_file(&cluster, &["--", "sha256sum | cut -d' ' -f1; id -u"], &wanted).finish().expect(0);
        let wanted = format!("{}\n0\n", sum(cluster.path("input").to_str().unwrap()));
        for node in ["a1", "a2"] {
            assert_eq!(stdout(&from_file, node), wanted, "{from_file}");
        }
        let mut command = cluster.ctl_command(["exec", "-y", "-o", "json", "--", "cat; echo end"]);
        command.stdin(Stdio::piped());
        let mut piped = Running::start(command);
        piped.send_input(b"one\ntwo");
        let piped = piped.finish().expect(0);
        assert_eq!(stdout(&piped, "a2"), "one\ntwoend\n", "{piped}");
        let empty = with_file(&cluster, &["--", "cat; echo end"], b"").finish().expect(0);
        assert_eq!(stdout(&empty, "a1"), "end\n", "{empty}");
        let left_alone = with_file(&cluster, &["--no-stdin", "--", "cat; echo end"], b"not sent").finish().expect(0);
        assert_eq!(stdout(&left_alone, "a1"), "end\n", "{left_alone}");
        let nothing = exec(&cluster, &["--", "cat; echo end"]).expect(0);
        assert_eq!(stdout(&nothing, "a1"), "end\n", "{nothing}");
    }
}

/// A command need not read its input, and may print before it reads.
#[test]
fn a_command_reads_when_it_likes() {
    let cluster = Cluster::of(1, &spec());
    let unread = with_file(&cluster, &["--", "echo done"], &bytes()).finish().expect(0);
    assert_eq!(stdout(&unread, "a1"), "done\n", "{unread}");
    let late = with_file(&cluster, &["--", "head -c 2000000 /dev/zero | tr '\\0' x; wc -c >&2"], &bytes());
    let late = late.finish().expect(0);
    assert_eq!(late.result("a1")["stderr"].as_str().unwrap_or_default().trim(), "300000", "{}", late.stderr);
    eventually("the processes to end", || (running(cluster.node("a1"), "ctl-watch") == 0).then_some(()));
}

/// A command that is ended with unread input leaves nothing behind, whatever ended it.
#[test]
fn a_command_with_unread_input_is_ended() {
    let cluster = Cluster::of(1, &spec());
    let node = cluster.node("a1");
    let gone = || {
        eventually("the command to end", || {
            (running(node, "sleep 4321") + running(node, "ctl-watch") + running(node, "base64") == 0).then_some(())
        })
    };
    let late = with_file(&cluster, &["--timeout", "2s", "--", "echo before; sleep 4321"], &bytes()).finish().expect(1);
    assert_eq!(late.outcomes(), ["a1 - timed_out timed_out"], "{late}");
    assert_eq!(stdout(&late, "a1"), "before\n", "{late}");
    gone();
    let given_up = with_file(&cluster, &["--", "sleep 4321"], &bytes());
    eventually("the command to run", || (running(node, "sleep 4321") > 0).then_some(()));
    given_up.signal("INT");
    given_up.signal("TERM");
    let given_up = given_up.finish();
    assert_eq!(given_up.outcomes(), ["a1 - unknown interrupted"], "{given_up}");
    gone();
    let cut = with_file(&cluster, &["--", "sleep 4321 & sleep 4321"], &bytes());
    eventually("the command to run", || (running(node, "sleep 4321") > 0).then_some(()));
    node.cut_connections();
    let cut = cut.finish();
    assert_eq!(cut.outcomes(), ["a1 - unknown connection_lost"], "{cut}");
    gone();
}

/// Input over the limit is rejected before any node is contacted.
#[test]
fn too_much_input_is_refused() {
    let cluster = Cluster::of(1, &spec());
    let path = cluster.path("much");
    File::create(&path).unwrap().set_len(64 * 1024 * 1024 + 1).unwrap();
    let mut command = cluster.ctl_command(["exec", "-y", "--", "true"]);
    command.stdin(File::open(path).unwrap());
    let refused = Running::start(command).finish().expect(2);
    assert!(refused.stderr.contains("64 MiB"), "{refused}");
    assert_eq!(cluster.connections(), 0, "{refused}");
}

/// The error names a pipe that does not end, and has a hint.
#[test]
fn input_that_does_not_end_is_named() {
    let cluster = Cluster::of(1, &spec());
    let mut command = cluster.ctl_command(["exec", "-y", "--", "cat"]);
    command.stdin(Stdio::piped());
    let mut waiting = Running::start(command);
    let said = waiting.until_said("--no-stdin");
    assert!(said.contains("standard input"), "{said}");
    assert_eq!(cluster.connections(), 0, "{said}");
    waiting.send_input(b"there\n");
    let finished = waiting.finish().expect(0);
    assert!(finished.stdout.contains("there\n"), "{finished}");
}

/// `ctl` with what a shell does to its standard input: `redirect` stands after the command line.
fn redirected(cluster: &Cluster, redirect: &str, words: &[&str]) -> Running {
    let mut command = cluster.at_home("/bin/sh");
    command.env("CTL_INVENTORY", cluster.inventory());
    command.args(["-c", &format!("exec \"$0\" \"$@\" {redirect}"), env!("CARGO_BIN_EXE_ctl")]).args(words);
    Running::start(command)
}

/// A script, and 10 MB of data, arrive whole on each of 16 nodes.
#[test]
fn sixteen_nodes_get_the_same() {
    let cluster = Cluster::of(16, &spec());
    let words = ["-r", "analytics", "--", "sh", "-s", "a  b"];
    let script =
        with_file(&cluster, &words, b"greet() { echo \"$1 from $2\"; }\ngreet hello \"$1\"\n").finish().expect(0);
    let much: Vec<u8> = bytes().into_iter().cycle().take(10_000_000).collect();
    let data = with_file(&cluster, &["--", "sha256sum"], &much).finish().expect(0);
    let wanted = std::process::Command::new("sha256sum").stdin(File::open(cluster.path("input")).unwrap()).output();
    let wanted = String::from_utf8(wanted.unwrap().stdout).unwrap();
    assert_eq!((script.results().len(), data.results().len()), (16, 16), "{script}\n{data}");
    for node in cluster.nodes() {
        assert_eq!(stdout(&script, &node.name), "hello from a  b\n", "{script}");
        assert_eq!(stdout(&data, &node.name), wanted, "{data}");
    }
}

/// Without standard input the command has none; one that does not end is refused at the limit, with nothing started.
#[test]
fn closed_and_endless_input() {
    let cluster = Cluster::of(1, &spec());
    let words = ["exec", "-y", "-o", "json", "--", "cat; echo end"];
    let closed = redirected(&cluster, "<&-", &words).finish().expect(0);
    assert_eq!(stdout(&closed, "a1"), "end\n", "{closed}");
    let before = cluster.connections();
    let mut yes = std::process::Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut command = cluster.ctl_command(words);
    command.stdin(yes.stdout.take().unwrap());
    for endless in [redirected(&cluster, "</dev/zero", &words), Running::start(command)] {
        let refused = endless.finish().expect(2);
        assert!(refused.stderr.contains("longer than 64 MiB; nothing was started"), "{refused}");
    }
    // It ends by itself once nobody reads.
    yes.wait().unwrap();
    for redirect in ["</", "0>write-only"] {
        let unreadable = redirected(&cluster, redirect, &words).finish().expect(2);
        assert!(unreadable.stderr.contains("cannot read standard input"), "{redirect}: {unreadable}");
    }
    assert_eq!(cluster.connections(), before);
}

/// Ctrl-C ends the reading with its exit code, before anything is started, and leaves no file of the results behind.
#[test]
fn reading_the_input_is_interrupted() {
    let cluster = Cluster::of(1, &spec());
    let folder = cluster.path("results");
    fs::create_dir(&folder).unwrap();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let out = folder.join("out.json");
        let mut command =
            cluster.ctl_command(["exec", "-y", "-o", "json", "--out", out.to_str().unwrap(), "--", "cat"]);
        command.stdin(Stdio::piped());
        let waiting = Running::start(command);
        waiting.until_said("reading all of standard input");
        waiting.signal(signal);
        let ended = waiting.finish().expect(code);
        assert!(ended.stderr.contains("nothing was done"), "{ended}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{ended}");
    }
    assert_eq!(cluster.connections(), 0);
    let runs = cluster.ctl("runs list").expect(0);
    assert!(runs.stdout.contains("no run"), "{runs}");
}

/// A run with input can be resumed only with the same input.
#[test]
fn a_run_with_input_is_resumed_with_it() {
    let cluster = Cluster::of(2, &spec());
    let words = ["--serial", "1", "--", "cat >>/run/got; sleep 4321"];
    let first = with_file(&cluster, &words, b"same\n");
    eventually("the first command to run", || (running(cluster.node("a1"), "sleep 4321") > 0).then_some(()));
    first.signal("INT");
    first.signal("TERM");
    let first = first.finish();
    assert_eq!(first.outcomes(), ["a1 - unknown interrupted", "a2 - not_started interrupted"], "{first}");
    assert!(first.stderr.contains("< FILE"), "{first}");
    for input in [None, Some(b"other\n")] {
        let mut command = cluster.ctl_command(["runs", "resume", "last"]);
        if let Some(input) = input {
            fs::write(cluster.path("input"), input).unwrap();
            command.stdin(File::open(cluster.path("input")).unwrap());
        }
        let refused = Running::start(command).finish().expect(2);
        assert!(refused.stderr.contains("5 bytes") && refused.stderr.contains("< FILE"), "{refused}");
        assert_eq!(cluster.node("a2").read("/run/got"), "", "{refused}");
    }
    fs::write(cluster.path("input"), "same\n").unwrap();
    let mut command = cluster.ctl_command(["runs", "resume", "last"]);
    command.stdin(File::open(cluster.path("input")).unwrap());
    let resumed = Running::start(command);
    eventually("the input on the second node", || (cluster.node("a2").read("/run/got") == "same\n").then_some(()));
    drop(resumed);
}

/// The output of rc files is not part of the command's output, and each login shell reads them once.
#[test]
fn a_chatty_login_shell_is_not_heard() {
    let cluster = Cluster::of(1, &spec());
    let node = cluster.node("a1");
    bashrc(node, "echo x >>/run/read\necho Welcome\necho beware >&2\nexport FROM_RC=yes\nprintf 'no end'\n");
    let said = exec(&cluster, &["--no-guard", "--", "echo $FROM_RC; echo err >&2"]).expect(0);
    let result = said.result("a1");
    assert_eq!((&result["stdout"], &result["stderr"]), (&"yes\n".into(), &"err\n".into()), "{said}");
    // One shell takes the lock and runs the command.
    assert_eq!(node.read("/run/read"), "x\n", "{said}");
}

/// Signals and exit codes are reported separately.
#[test]
fn a_signal_has_its_name() {
    for defaults in ["user: root", "user: ctlops", "user: ctlops, sudo: true"] {
        let cluster = Cluster::builder().nodes("a", 1, &spec()).defaults(defaults).start();
        for (line, status, signal) in [
            ("kill -KILL $$", None, Some("KILL")),
            ("kill -TERM $$", None, Some("TERM")),
            ("kill -INT $$; sleep 5", None, Some("INT")),
            ("exit 137", Some(137), None),
            ("sh -c 'kill -KILL $$'; exit $?", Some(137), None),
            ("exit 255", Some(255), None),
        ] {
            let run = exec(&cluster, &["--", line]).expect(1);
            let result = run.result("a1");
            assert_eq!(result["exit_status"].as_u64(), status, "{defaults}: {line}\n{run}");
            assert_eq!(result["signal"].as_str(), signal, "{defaults}: {line}\n{run}");
            assert!(result.as_object().is_some_and(|fields| fields.contains_key("signal")), "{run}");
            assert_eq!(run.outcomes(), ["a1 - failed command"], "{run}");
            let mut wanted = "the command ".to_owned();
            match (signal, status) {
                (Some(signal), _) => write!(wanted, "was killed by SIG{signal}").unwrap(),
                (None, status) => write!(wanted, "exited {}", status.unwrap_or_default()).unwrap(),
            }
            assert_eq!(result["failure"]["message"], wanted.as_str(), "{run}");
        }
    }
}

/// If a login shell does not run the command, the result is a failure with the shell's output, also for a check.
#[test]
fn what_a_login_shell_prevents_did_not_run() {
    let cluster = Cluster::of(1, &spec());
    let node = cluster.node("a1");
    let line = "echo 'echo closed for repairs; exit 0' >/run/home/root/.bashrc";
    let checked = exec(&cluster, &["--no-guard", "--check", "true", "--", line]).expect(1);
    assert_eq!(checked.outcomes(), ["a1 - failed gate"], "{checked}");
    let message = checked.result("a1")["failure"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("did not run") && message.contains("closed for repairs"), "{checked}");
    let run = exec(&cluster, &["--no-guard", "--", "touch /run/done"]).expect(1);
    assert_eq!(run.outcomes(), ["a1 - failed command"], "{run}");
    let result = run.result("a1");
    let message = result["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("did not run") && message.contains("closed for repairs"), "{run}");
    assert!(result["exit_status"].is_null(), "{run}");
    assert_eq!(node.sh("ls /run/done 2>/dev/null || true"), "", "{run}");
    bashrc(node, "");
    exec(&cluster, &["--no-guard", "--", "touch /run/done"]).expect(0);
}

/// A process that keeps printing after its command has ended does not delay a command, a check or a query. The output
/// until then is kept.
#[test]
fn what_is_left_behind_is_not_waited_for() {
    let cluster = Cluster::of(1, &spec());
    let printer = "(while :; do echo x; sleep 0.2; done) & exit 0";
    let run = exec(&cluster, &["--no-guard", "--check", printer, "--", printer]).expect(0);
    assert_eq!(run.outcomes(), ["a1 - changed"], "{run}");
    assert!(stdout(&run, "a1").starts_with("x\n"), "{run}");
    bashrc(cluster.node("a1"), "(while :; do echo x >&2; sleep 0.2; done) &\n");
    let run = cluster.ctl("service contrail-collector status --via supervisorctl -o json").expect(0);
    assert_eq!(run.outcomes(), ["a1 contrail-collector ok"], "{run}");
}

/// If a login shell ends and leaves its streams open, ctl waits no longer than the command's timeout.
#[test]
fn streams_that_stay_open_have_the_time_of_the_command() {
    let cluster = Cluster::of(1, &spec());
    bashrc(cluster.node("a1"), "sleep 4321 & exit 0\n");
    let run = exec(&cluster, &["--no-guard", "--timeout", "2s", "--", "true"]).expect(1);
    assert_eq!(run.outcomes(), ["a1 - timed_out timed_out"], "{run}");
}

/// A shell that reads part of the input and exits is detected, however much it has read.
#[test]
fn a_shell_that_dies_while_input_is_sent() {
    let cluster = Cluster::of(1, &spec());
    // sshd extends its window about every 96 KiB.
    bashrc(
        cluster.node("a1"),
        "case $BASH_EXECUTION_STRING in *ctl-exec*) head -c 20000000 >/dev/null; echo gone; exit 3 ;; esac\n",
    );
    let input = vec![b'x'; 40_000_000];
    let run = with_file(&cluster, &["--timeout", "55s", "--", "cat >/dev/null"], &input).finish().expect(1);
    assert_eq!(run.outcomes(), ["a1 - failed command"], "{run}");
    let message = run.result("a1")["failure"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("did not run: the login shell printed `gone` and exited 3"), "{run}");
}
