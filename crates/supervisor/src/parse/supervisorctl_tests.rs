//! Output of every version, and how it is read.

use std::time::Duration;

use proptest::prelude::*;

use super::problem::{ControlProblem as P, MAX_PROBLEMS};
use super::supervisorctl::ActionResult as R;
use super::supervisorctl::*;
use super::text::MAX_TEXT;
use ctl_event::ProcessState;
use ctl_remote::SudoError;

const DAY: u64 = 86_400;

fn short(output: &StatusOutput) -> Vec<(&str, ProcessState, Option<u32>, Option<u64>)> {
    output.processes.iter().map(|p| (p.name.as_str(), p.state, p.pid, p.uptime.map(|u| u.as_secs()))).collect()
}

#[test]
fn a_tail_is_the_log_or_a_word_of_supervisorctl() {
    let text = |text: &str| TailOutput::Text(text.to_owned());
    let table = [
        ("", "", text("")),
        ("\n", "", text("")),
        ("one\ntwo\n\n", "", text("one\ntwo\n")),
        ("api:0: ERROR (no log file)\n", "", TailOutput::NoLog),
        ("api:0: ERROR (no such process name)\n", "", TailOutput::NoProcess),
        ("api:0: ERROR (unknown error reading log)\n", "", TailOutput::Unreadable),
        ("Warning: sys.stdout.encoding is set to ascii, so Unicode output may fail.\n", "", text("")),
        ("Warning: sys.stdout.encoding is set to ascii, so x.\none\n", "", text("one")),
        ("a line\napi:0: ERROR (no log file)\n", "", text("a line\napi:0: ERROR (no log file)")),
        ("unix:///tmp/x.sock refused connection\n", "", TailOutput::Refused),
        ("unix:///tmp/x.sock no such file\n", "", TailOutput::Refused),
        ("", "bash: supervisorctl: command not found\n", TailOutput::Refused),
        ("", "a warning of Python\n", text("")),
        (
            "error: <class 'xmlrpc.client.ProtocolError'>, <ProtocolError for 127.0.0.1/RPC2: 500 Internal Server \
             Error>: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 539\n",
            "",
            TailOutput::NotText,
        ),
    ];
    for (stdout, stderr, wanted) in table {
        assert_eq!(parse_tail("api:0", stdout, stderr), wanted, "{stdout:?} {stderr:?}");
    }
}

#[test]
fn a_preface_is_no_process() {
    let list = "contrail-api:0   RUNNING   pid 7, uptime 0:00:01\n";
    assert_eq!(without_preface(&format!("Your password expires in 3 days.\n\n{list}")), list);
    for text in ["", list, "Hello\n", "Hello: contrail-api FATAL x\ncontrail-b RUNNING\n", "unix:///x no such file\n"] {
        assert_eq!(without_preface(text), text);
    }
}

#[test]
fn status_of_3_0() {
    // '%(name)-32s %(state)-10s %(desc)s'
    let text = "\
contrail-analytics-api           RUNNING    pid 4121, uptime 3 days, 2:07:44
contrail-analytics-nodemgr       RUNNING    pid 4122, uptime 1 day, 0:00:01
contrail-collector               RUNNING    pid 4123, uptime 0:00:07
contrail-query-engine            STARTING   
contrail-api:0                   BACKOFF    Exited too quickly (process log may have details)
contrail-schema                  STOPPED    May 03 04:55 PM
contrail-svc-monitor             STOPPED    Not started
contrail-snmp-collector          STOPPING   
contrail-topology                EXITED     May 03 04:55 PM
contrail-alarm-gen               FATAL      unknown error (try \"tail contrail-alarm-gen\")
contrail-a-name-of-more-than-thirty-two-characters RUNNING    pid 9, uptime 0:01:00
";
    let output = parse_status(text, "", Some(0));
    assert_eq!(output.problems, []);
    use ProcessState as S;
    assert_eq!(
        short(&output),
        [
            ("contrail-analytics-api", S::Running, Some(4121), Some(3 * DAY + 7664)),
            ("contrail-analytics-nodemgr", S::Running, Some(4122), Some(DAY + 1)),
            ("contrail-collector", S::Running, Some(4123), Some(7)),
            ("contrail-query-engine", S::Starting, None, None),
            ("contrail-api:0", S::Backoff, None, None),
            ("contrail-schema", S::Stopped, None, None),
            ("contrail-svc-monitor", S::Stopped, None, None),
            ("contrail-snmp-collector", S::Stopping, None, None),
            ("contrail-topology", S::Exited, None, None),
            ("contrail-alarm-gen", S::Fatal, None, None),
            ("contrail-a-name-of-more-than-thirty-two-characters", S::Running, Some(9), Some(60)),
        ]
    );
    let api = &output.processes[4];
    assert_eq!((api.group.as_str(), api.process.as_str()), ("contrail-api", "0"));
    assert_eq!(api.description, "Exited too quickly (process log may have details)");
    assert_eq!(output.processes[9].description, "unknown error (try \"tail contrail-alarm-gen\")");
}

#[test]
fn status_of_3_1_and_later() {
    // '%(namespec)-' + str(maxlen+3) + 's%(state)-10s%(desc)s'
    let text = "\
contrail-api:0                   RUNNING   pid 20071, uptime 23:59:59
contrail-discovery:0             UNKNOWN   
kafka                            SLEEPING  odd
";
    let output = parse_status(text, "", Some(3));
    assert_eq!(output.problems, []);
    assert_eq!(
        short(&output),
        [
            ("contrail-api:0", ProcessState::Running, Some(20071), Some(86_399)),
            ("contrail-discovery:0", ProcessState::Unknown, None, None),
            ("kafka", ProcessState::Unknown, None, None),
        ]
    );
}

#[test]
fn uptimes() {
    let cases = [
        ("0:00:07", Some(7)),
        ("23:59:59", Some(86_399)),
        ("1 day, 0:00:00", Some(DAY)),
        ("400 days, 1:02:03", Some(400 * DAY + 3723)),
        ("-1 day, 23:59:50", None),
        ("4000000000 days, 0:00:00", Some(4_000_000_000 * DAY)),
        ("99999999999 days, 0:00:00", None),
        ("1 week, 0:00:00", None),
        ("24:00:00", None),
        ("0:60:00", None),
        ("0:00", None),
        ("0:00:00:00", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_uptime(text).map(|uptime| uptime.as_secs()), expected, "{text}");
    }
    let output = parse_status(
        "a  RUNNING  pid 7, uptime -1 day, 23:59:50\nb  RUNNING  pid 0, uptime 0:00:01\nc RUNNING",
        "",
        None,
    );
    assert_eq!(
        short(&output),
        [
            ("a", ProcessState::Running, Some(7), None),
            ("b", ProcessState::Running, None, Some(1)),
            ("c", ProcessState::Running, None, None),
        ]
    );
}

#[test]
fn problems() {
    let url = |address: &str| address.to_owned();
    let unrecognised = |line: &str| P::Unrecognised { line: line.to_owned() };
    let python = |text: &str| P::PythonError { text: text.to_owned() };
    let named = |name: &str| name.to_owned();
    let cases: Vec<(&str, &str, Option<u32>, Vec<P>)> = vec![
        // supervisor 3.0 to 4.2.5, upcheck()
        (
            "unix:///var/run/supervisord_analytics.sock refused connection\n",
            "",
            Some(0),
            vec![P::Refused { address: url("unix:///var/run/supervisord_analytics.sock") }],
        ),
        (
            "unix:///tmp/supervisord_analytics.sock no such file\n",
            "",
            Some(4),
            vec![P::NoSuchFile { address: url("unix:///tmp/supervisord_analytics.sock") }],
        ),
        (
            "http://localhost:9002 refused connection\n",
            "",
            Some(0),
            vec![P::Refused { address: url("http://localhost:9002") }],
        ),
        (
            "ERROR: unix:///x.sock no such file (already shut down?)\n",
            "",
            Some(1),
            vec![P::NoSuchFile { address: url("unix:///x.sock") }],
        ),
        // do_status, do_pid
        ("No such process contrail-api\n", "", Some(0), vec![P::NoSuchProcess { name: named("contrail-api") }]),
        (
            "contrail-api: ERROR (no such process)\n",
            "",
            Some(4),
            vec![P::NoSuchProcess { name: named("contrail-api") }],
        ),
        (
            "contrail-api:7: ERROR (no such process)\n",
            "",
            Some(4),
            vec![P::NoSuchProcess { name: named("contrail-api:7") }],
        ),
        ("x: ERROR (no such process name)\n", "", Some(1), vec![P::NoSuchProcess { name: named("x") }]),
        ("nosuch: ERROR (no such group)\n", "", Some(4), vec![P::NoSuchGroup { name: named("nosuch") }]),
        (
            "ERROR: no such group: x\nERROR: no such process/group: y\n",
            "",
            Some(1),
            vec![P::NoSuchGroup { name: named("x") }, P::NoSuchGroup { name: named("y") }],
        ),
        // onecmd()
        ("Server requires authentication\n", "", Some(1), vec![P::Unauthorized]),
        (
            "error: <class 'xmlrpclib.ProtocolError'>, <ProtocolError for localhost/RPC2: 401 Unauthorized>: file: /usr/lib/python2.7/site-packages/supervisor/xmlrpc.py line: 461\n",
            "",
            Some(2),
            vec![P::Unauthorized],
        ),
        (
            "error: <class 'PermissionError'>, [Errno 13] Permission denied: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 560\n",
            "",
            Some(1),
            vec![P::PermissionDenied],
        ),
        (
            "error: <class 'socket.error'>, [Errno 13] Permission denied: file: <string> line: 1\n",
            "",
            Some(2),
            vec![P::PermissionDenied],
        ),
        (
            "error: socket.error, (13, 'Permission denied'): file: <string> line: 1\n",
            "",
            Some(2),
            vec![P::PermissionDenied],
        ),
        (
            "error: <class 'ConnectionRefusedError'>, [Errno 111] Connection refused: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 560\n",
            "",
            Some(1),
            vec![P::Refused { address: url("") }],
        ),
        (
            "error: <class 'FileNotFoundError'>, [Errno 2] No such file or directory: file: /usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 560\n",
            "",
            Some(1),
            vec![P::NoSuchFile { address: url("") }],
        ),
        (
            "error: <class 'xmlrpclib.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>: file: /usr/lib64/python2.6/xmlrpclib.py line: 838\n",
            "",
            Some(2),
            vec![P::ShuttingDown],
        ),
        (
            "error: <class 'xmlrpc.client.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>: file: /usr/lib/python3.11/xmlrpc/client.py line: 668\n",
            "",
            Some(1),
            vec![P::ShuttingDown],
        ),
        (
            "error: <class 'ValueError'>, Unknown result code 6 for foo: file: /usr/lib/python3/dist-packages/supervisor/supervisorctl.py line: 782\n",
            "",
            Some(1),
            vec![P::ShuttingDown],
        ),
        (
            "error: <class 'xmlrpclib.Fault'>, <Fault 10: 'BAD_NAME: nosuch'>: file: /usr/lib64/python2.6/xmlrpclib.py line: 838\n",
            "",
            Some(2),
            vec![P::NoSuchGroup { name: named("nosuch") }],
        ),
        (
            "error: <class 'ConnectionResetError'>, [Errno 104] Connection reset by peer: file: /usr/lib/python3.11/socket.py line: 706\n",
            "",
            Some(1),
            vec![P::HungUp],
        ),
        (
            "error: <class 'BrokenPipeError'>, [Errno 32] Broken pipe: file: /usr/lib/python3.11/http/client.py line: 1040\n",
            "",
            Some(1),
            vec![P::HungUp],
        ),
        (
            "error: <class 'http.client.RemoteDisconnected'>, Remote end closed connection without response: file: /usr/lib/python3.11/http/client.py line: 294\n",
            "",
            Some(1),
            vec![P::HungUp],
        ),
        (
            "error: <class 'httplib.BadStatusLine'>, '': file: /usr/lib64/python2.6/httplib.py line: 355\n",
            "",
            Some(2),
            vec![P::HungUp],
        ),
        (
            "error: <class 'socket.error'>, [Errno 104] Connection reset by peer: file: /usr/lib64/python2.7/socket.py line: 476\n",
            "",
            Some(2),
            vec![P::HungUp],
        ),
        (
            "error: <class 'OSError'>, [Errno 99] odd: file: x line: 1\n",
            "",
            Some(1),
            vec![python("<class 'OSError'>, [Errno 99] odd: file: x line: 1")],
        ),
        ("ERROR: supervisor shutting down\nERROR: already shutting down\n", "", Some(1), vec![P::ShuttingDown]),
        (
            "",
            "Traceback (most recent call last):\n  File \"/usr/bin/supervisorctl\", line 5, in <module>\n    from pkg_resources import load_entry_point\npkg_resources.DistributionNotFound: meld3>=0.6.5\n",
            Some(1),
            vec![python("pkg_resources.DistributionNotFound: meld3>=0.6.5")],
        ),
        ("", "Traceback (most recent call last):\n", Some(1), vec![python("an exception")]),
        // sudo
        ("", "sudo: a password is required\n", Some(1), vec![P::Sudo(SudoError::PasswordWanted)]),
        (
            "",
            "sudo: no tty present and no askpass program specified\n",
            Some(1),
            vec![P::Sudo(SudoError::PasswordWanted)],
        ),
        (
            "",
            "sudo: a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper\nsudo: a password is required\n",
            Some(1),
            vec![P::Sudo(SudoError::PasswordWanted)],
        ),
        (
            "",
            "Sorry, try again.\nsudo: 1 incorrect password attempt\n",
            Some(1),
            vec![P::Sudo(SudoError::PasswordWanted)],
        ),
        ("", "sudo: sorry, you must have a tty to run sudo\n", Some(1), vec![P::Sudo(SudoError::Terminal)]),
        (
            "",
            "admin is not in the sudoers file.  This incident will be reported.\n",
            Some(1),
            vec![P::Sudo(SudoError::NotSudoer)],
        ),
        (
            "",
            "Sorry, user admin is not allowed to execute '/usr/bin/supervisorctl status' as root on a6s01.\n",
            Some(1),
            vec![P::Sudo(SudoError::NotAllowed)],
        ),
        (
            "",
            "admin is not allowed to run sudo on a6s01.  This incident will be reported.\n",
            Some(1),
            vec![P::Sudo(SudoError::NotSudoer)],
        ),
        ("", "sudo: supervisorctl: command not found\n", Some(1), vec![P::CommandNotFound]),
        ("", "sudo: unable to resolve host a6s01: Name or service not known\n", Some(0), vec![]),
        // shells
        ("", "bash: supervisorctl: command not found\n", Some(127), vec![P::CommandNotFound]),
        ("", "-bash: line 1: supervisorctl: command not found\n", Some(127), vec![P::CommandNotFound]),
        ("", "sh: 1: supervisorctl: not found\n", Some(127), vec![P::CommandNotFound]),
        ("", "bash: /usr/bin/supervisorctl: No such file or directory\n", Some(127), vec![P::CommandNotFound]),
        (
            "",
            "bash: /usr/bin/supervisorctl: /usr/bin/python: bad interpreter: No such file or directory\n",
            Some(126),
            vec![P::CommandNotFound],
        ),
        ("", "supervisorctl: Command not found.\n", Some(1), vec![P::CommandNotFound]),
        ("", "ksh: supervisorctl:  not found [No such file or directory]\n", Some(127), vec![P::CommandNotFound]),
        ("", "zsh:1: command not found: supervisorctl\n", Some(127), vec![P::CommandNotFound]),
        ("", "/usr/bin/env: supervisorctl: No such file or directory\n", Some(127), vec![P::CommandNotFound]),
        ("", "bash: /usr/bin/supervisorctl: Permission denied\n", Some(126), vec![P::PermissionDenied]),
        ("", "", Some(127), vec![P::CommandNotFound]),
        ("", "", Some(126), vec![P::PermissionDenied]),
        // Nothing of ours.
        ("", "", Some(0), vec![]),
        ("Error: something\n", "", Some(2), vec![unrecognised("Error: something")]),
        (
            "",
            "This account is currently not available.\n",
            Some(1),
            vec![unrecognised("This account is currently not available.")],
        ),
        (
            "",
            "/etc/init.d/x: line 7: lsof: command not found\n",
            Some(0),
            vec![unrecognised("/etc/init.d/x: line 7: lsof: command not found")],
        ),
    ];
    for (stdout, stderr, exit, expected) in cases {
        let output = parse_status(stdout, stderr, exit);
        assert_eq!(output.processes, [], "{stdout}{stderr}");
        assert_eq!(output.problems, expected, "{stdout}{stderr}");
        assert_eq!(parse_action("", &format!("{stdout}{stderr}"), exit).lines, []);
    }
}

#[test]
fn stderr_does_not_spoil_an_answer() {
    let warning = "/usr/lib/python2.7/site-packages/supervisor/options.py:296: UserWarning: Supervisord is running as root\n  'Supervisord is running as root and it is searching '\nsudo: unable to resolve host x\n";
    let output = parse_status("kafka                            RUNNING    pid 5, uptime 0:00:05\n", warning, Some(0));
    assert_eq!((output.processes.len(), output.problems), (1, vec![]));
    let output = parse_action("kafka: started\n", "lsof: not found\nsh: x: not found\n", Some(0));
    assert_eq!((output.lines.len(), output.problems), (1, vec![]));
}

#[test]
fn actions() {
    let cases = [
        ("contrail-collector: started", "contrail-collector", R::Started),
        ("contrail-api:0: stopped", "contrail-api:0", R::Stopped),
        ("0: stopped", "0", R::Stopped),
        ("x: signalled", "x", R::Signalled),
        ("x: cleared", "x", R::Cleared),
        ("x: added process group", "x", R::Added),
        ("x: removed process group", "x", R::Removed),
        ("x: updated process group", "x", R::Updated),
        ("x: has problems; not removing", "x", R::StillRunning),
        ("contrail-api:0: ERROR (already started)", "contrail-api:0", R::AlreadyStarted),
        ("x: ERROR (not running)", "x", R::NotRunning),
        ("x: ERROR (spawn error)", "x", R::SpawnError),
        ("x: ERROR (abnormal termination)", "x", R::AbnormalTermination),
        ("x: ERROR (no such process)", "x", R::NoSuchProcess),
        ("x: ERROR (no such group)", "x", R::NoSuchGroup),
        ("x: ERROR (no such file)", "x", R::NoSuchFile),
        ("x: ERROR (file is not executable)", "x", R::NotExecutable),
        ("x: ERROR (bad signal name)", "x", R::BadSignal),
        ("x: ERROR (failed)", "x", R::Failed),
        ("x: ERROR (something new)", "x", R::Other),
        ("ERROR: no such process/group: stopped", "stopped", R::NoSuchGroup),
        ("ERROR: no such group: x", "x", R::NoSuchGroup),
        ("ERROR: process/group still running: x", "x", R::StillRunning),
        ("ERROR: process group already active", "", R::AlreadyAdded),
        ("FAILED: unknown problem killing x (77):Traceback", "", R::Failed),
    ];
    for (line, name, result) in cases {
        let output = parse_action(&format!("{line}\n"), "", Some(0));
        assert_eq!(output.lines, [ActionLine { name: name.to_owned(), result, text: line.to_owned() }], "{line}");
        assert_eq!(output.problems, [], "{line}");
    }
    let restart = parse_action("contrail-collector: ERROR (not running)\ncontrail-collector: started\n", "", Some(0));
    let results: Vec<R> = restart.lines.iter().map(|line| line.result).collect();
    assert_eq!(results, [R::NotRunning, R::Started]);
    let refused = parse_action("unix:///tmp/x.sock refused connection\n", "", Some(0));
    assert_eq!(refused.problems, [P::Refused { address: "unix:///tmp/x.sock".to_owned() }]);
    for noise in ["Starting the thing: stopped", ": started", "started", "x: startedd", "x:started"] {
        assert_eq!(parse_action(noise, "", Some(0)).lines, [], "{noise}");
    }
}

#[test]
fn pids() {
    let cases = [
        ("4121\n", Some(4121)),
        ("0\n", Some(0)),
        ("", None),
        ("No such process x\n", None),
        ("unix:///tmp/x.sock no such file\n", None),
        ("99999999999\n", None),
        ("-5\n", None),
        ("noise\n 17 \n", Some(17)),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_pid(text), expected, "{text}");
    }
}

#[test]
fn rereads() {
    let read = parse_reread("a: available\nb: changed\nc: disappeared\nd: changed\n");
    assert_eq!(
        (read.available, read.changed, read.disappeared),
        (vec!["a".to_owned()], vec!["b".to_owned(), "d".to_owned()], vec!["c".to_owned()])
    );
    assert!(read.is_understood);
    let nothing = RereadOutput { is_understood: true, ..RereadOutput::default() };
    assert_eq!(parse_reread("No config updates to processes\n"), nothing);
    assert_eq!(parse_reread("ERROR: supervisor shutting down\n"), RereadOutput::default());
    assert_eq!(parse_reread("unix:///x no such file\n"), RereadOutput::default());
    let error = |text: &str| parse_reread(text).error;
    assert_eq!(
        error("ERROR: CANT_REREAD: File contains no section headers.\nfile: '/etc/x.conf', line: 1\n'bad\\n'\n")
            .as_deref(),
        Some("CANT_REREAD: File contains no section headers. file: '/etc/x.conf', line: 1 'bad\\n'")
    );
    assert_eq!(
        error("error: <class 'xmlrpclib.Fault'>, <Fault 92: 'CANT_REREAD: x'>: file: y line: 1\n").as_deref(),
        Some("error: <class 'xmlrpclib.Fault'>, <Fault 92: 'CANT_REREAD: x'>: file: y line: 1")
    );
}

#[test]
fn sizes_are_bounded() {
    let long = "é".repeat(10_000);
    let output = parse_status(&format!("{long} FATAL {long}\n{long}\n"), "", None);
    assert!(output.processes.iter().all(|p| p.name.len() <= MAX_TEXT && p.description.len() <= MAX_TEXT));
    let output = parse_status(&(0..100_000).map(|n| format!("odd {n}\n")).collect::<String>(), "", None);
    assert_eq!(output.problems.len(), MAX_PROBLEMS);
}

/// Words from which outputs are made, right and wrong.
fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "contrail-api:0",
            ":",
            ": ",
            " ",
            "   ",
            "RUNNING",
            "FATAL",
            "pid ",
            "4121",
            ", uptime ",
            "3 days, ",
            "2:07:44",
            "ERROR (",
            ")",
            "ERROR: ",
            "error: ",
            "no such process",
            "BAD_NAME: ",
            "CANT_REREAD",
            "unix://",
            " no such file",
            "Traceback (most recent call last)",
            "sudo:",
            "\n",
            "\r",
            "\u{1b}[0m",
            "é",
            ": file: ",
            " line: ",
            "started",
            "bash:",
        ]),
        0..30,
    )
    .prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_panics(stdout in "\\PC{0,200}", stderr in "\\PC{0,100}", exit: Option<u32>) {
        let _status = parse_status(&stdout, &stderr, exit);
        let _action = parse_action(&stdout, &stderr, exit);
        let _read = (parse_pid(&stdout), parse_reread(&stdout), parse_uptime(&stdout));
    }

    #[test]
    fn no_likely_text_panics(stdout in words(), stderr in words(), exit: Option<u32>) {
        let _status = parse_status(&stdout, &stderr, exit);
        let _action = parse_action(&stdout, &stderr, exit);
        let _read = (parse_pid(&stdout), parse_reread(&stdout), parse_uptime(&stdout));
    }

    #[test]
    fn every_status_line_is_read_back(
        name in "[a-z][a-z0-9-]{0,40}(:[0-9]{1,2})?",
        state in prop::sample::select(ProcessState::ALL.to_vec()),
        pid in 1..u32::MAX,
        days in 0..5000u64,
        seconds in 0..86_400u64,
        old: bool,
    ) {
        let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let uptime = match days { 0 => clock, 1 => format!("1 day, {clock}"), n => format!("{n} days, {clock}") };
        let running = state == ProcessState::Running;
        let description = if running { format!("pid {pid}, uptime {uptime}") } else { "May 03 04:55 PM".to_owned() };
        let line = if old {
            format!("{name:<32} {state:<10} {description}")
        } else {
            format!("{name:<width$}{state:<10}{description}", width = name.len().max(30) + 3)
        };
        let output = parse_status(&line, "", None);
        prop_assert_eq!(output.problems.len(), 0);
        let read = &output.processes[0];
        prop_assert_eq!(&read.name, &name);
        prop_assert_eq!(read.state, state);
        prop_assert_eq!(read.pid, running.then_some(pid));
        prop_assert_eq!(read.uptime, running.then(|| Duration::from_secs(days * DAY + seconds)));
    }
}
