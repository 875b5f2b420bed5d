//! `ctl status -o prom` as Prometheus parses it, and the files written by `-o prom` and `-o html`. tests/browser checks
//! the content of a report.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use contrail_lab::{ClusterSpec, Fault};

use crate::harness::{Cluster, FAST, uniform};

/// Checks the text with promtool, whose parser node_exporter uses too.
#[track_caller]
fn check_metrics(exposition: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap_or_else(|error| {
        panic!("promtool: {error}: tests/run installs what the tests need (Debian: prometheus)")
    });
    child.stdin.take().expect("no pipe").write_all(exposition.as_bytes()).expect("cannot write to promtool");
    let output = child.wait_with_output().expect("cannot wait for promtool");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{}: {said}\n{exposition}", output.status);
    // node_exporter's collector rejects two things that promtool accepts: a repeated series, and timestamps.
    let mut series: Vec<&str> = Vec::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("expected a value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        assert!(name.ends_with('}') || !name.contains(' '), "expected no timestamp: {line}");
        series.push(name);
    }
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all, "{exposition}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("cannot read the metadata").permissions().mode() & 0o777
}

#[test]
fn prometheus_reads_the_metrics() {
    let spec = ClusterSpec::demo(12).timing(FAST).fault("a6s02", Fault::Fatal("contrail-collector".to_owned()));
    let spec = spec.fault("c02", Fault::Refused).fault("cfg01", Fault::ControlCharacters);
    let spec = spec.fault("cfg02", Fault::StaleTmpSocket).fault("db01", Fault::SupervisorDown);
    let (program, description) = ("contrail-collector".to_owned(), "Database connection down".to_owned());
    let spec = spec.fault("a6s03", Fault::NonFunctional { program, description });
    let cluster = Cluster::start(spec.fault("c01", Fault::CoreFile("contrail-vrouter-agent".to_owned())));
    let run = cluster.ctl("status -o prom").expect(4);
    check_metrics(&run.stdout);
    for line in [
        "ctl_status_exit_code 4",
        "ctl_node_reachable{node=\"a6s01\"} 1",
        "ctl_node_reachable{node=\"c02\"} 0",
        "ctl_node_core_files{node=\"c01\"} 1",
        "ctl_node_core_files{node=\"a6s01\"} 0",
        "ctl_service_functional_state{node=\"a6s03\",role=\"analytics\",supervisor=\"supervisor-analytics\",service=\"contrail-collector\",state=\"initializing\"} 1",
        "ctl_service_healthy{node=\"a6s03\",role=\"analytics\",supervisor=\"supervisor-analytics\",service=\"contrail-collector\"} 0",
        "ctl_supervisor_up{node=\"db01\",role=\"database\",supervisor=\"supervisor-database\"} 0",
        "ctl_service_up{node=\"a6s02\",role=\"analytics\",supervisor=\"supervisor-analytics\",service=\"contrail-collector\"} 0",
        "ctl_service_state{node=\"a6s02\",role=\"analytics\",supervisor=\"supervisor-analytics\",service=\"contrail-collector\",state=\"FATAL\"} 1",
        "ctl_service_up{node=\"a6s01\",role=\"analytics\",supervisor=\"supervisor-analytics\",service=\"contrail-collector\"} 1",
    ] {
        assert!(run.stdout.lines().any(|one| one == line), "{line}\n{run}");
    }
}

/// promtool reports invalid text.
#[test]
#[should_panic(expected = "ctl_x")]
fn what_is_no_exposition_is_seen() {
    check_metrics("# TYPE ctl_x gauge\nctl_x{a=\"1} 1\n");
}

/// The file is written atomically, and node_exporter can read it as any user.
#[test]
fn the_file_can_be_read_by_node_exporter() {
    let cluster = Cluster::start(uniform(2));
    let file = cluster.path("ctl.prom");
    let status = |file: &Path, umask: &str| {
        let ctl = cluster.command(&format!("status -o prom --out {}", file.display()));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(ctl.get_program()).args(ctl.get_args());
        shell.env_clear().env("HOME", cluster.path("")).env("PATH", "/usr/bin:/bin").current_dir(cluster.path(""));
        let output = shell.stdin(Stdio::null()).output().expect("cannot run the program");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    };
    status(&file, "022");
    assert_eq!(mode(&file), 0o644);
    check_metrics(&std::fs::read_to_string(&file).expect("cannot read the file"));

    // An existing file's mode does not become more open, and does not grant more than the umask.
    for (there, kept) in [(0o600, 0o600), (0o640, 0o640), (0o666, 0o644)] {
        std::fs::write(&file, "old").expect("cannot write the file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(there)).expect("cannot set the mode");
        status(&file, "022");
        assert_eq!(mode(&file), kept);
        assert!(std::fs::read_to_string(&file).expect("cannot read the file").starts_with("# HELP"));
    }
    let private = cluster.path("private.prom");
    status(&private, "077");
    assert_eq!(mode(&private), 0o600);

    // Nothing else is left in the directory, and only regular files are replaced.
    let mut names: Vec<String> = std::fs::read_dir(cluster.path(""))
        .expect("cannot read the directory")
        .map(|entry| entry.expect("cannot read the directory entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".prom") || name.starts_with(".tmp"))
        .collect();
    names.sort();
    assert_eq!(names, ["ctl.prom", "private.prom"]);
    let pipe = cluster.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("cannot run the program").success());
    let refused = cluster.ctl(&format!("status -o prom --out {}", pipe.display())).expect(2);
    assert!(refused.stderr.contains("is not a regular file"), "{refused}");
}

/// Only a status has these formats.
#[test]
fn other_commands_have_no_report() {
    let cluster = Cluster::start(uniform(1));
    for form in ["html", "prom"] {
        let refused = cluster.ctl(&format!("ping -o {form}")).expect(2);
        assert!(refused.stderr.contains(&format!("invalid value '{form}'")), "{refused}");
        let written = cluster.ctl(&format!("status contrail-collector -o {form}")).expect(0);
        assert!(written.stdout.contains("contrail-collector"), "{written}");
    }
}

/// A report on a terminal is rarely useful: ctl prints it anyway, with a hint where to write it.
#[test]
fn a_report_at_a_terminal_says_where_it_belongs() {
    let cluster = Cluster::start(uniform(1));
    let at_terminal = |words: &str| {
        let ctl = cluster.command(&format!("status {words}"));
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &format!("\"$CTL\" {}", arguments(&ctl)), "/dev/null"]);
        script.env("CTL", ctl.get_program()).env("HOME", cluster.path("")).env("TERM", "xterm").stdin(Stdio::null());
        let output = script.output().expect("cannot run script (package bsdutils)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let note = "use --out report.html to write it to a file";
    let shown = at_terminal("-o html");
    assert!(shown.contains(note) && shown.contains("</html>"), "{shown}");
    let file = cluster.path("report.html");
    for words in ["-o html -q", "-o prom", &format!("-o html --out {}", file.display())] {
        assert!(!at_terminal(words).contains(note), "{words}");
    }
    assert!(std::fs::read_to_string(&file).expect("cannot read the file").ends_with("</html>\n"));
}

/// The arguments of a command as shell words. None of them needs quoting.
fn arguments(command: &Command) -> String {
    command.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}
