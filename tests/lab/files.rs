//! Result files, and output formats that must agree.

use std::time::Duration;

use contrail_lab::{Fault, State};
use serde_json::Value;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Running, list, parsed, uniform, word};

/// A document without the fields that differ from run to run.
fn timeless(mut document: Value) -> Value {
    for key in ["run", "started", "elapsed_ms"] {
        assert!(!document[key].is_null(), "{key} of {document:#}");
        document[key] = Value::Null;
    }
    for result in document["results"].as_array_mut().expect("results") {
        for key in ["duration_ms", "uptime_s"] {
            result[key] = Value::Null;
        }
    }
    document
}

/// The YAML equals the JSON document, also for text that YAML could parse as another type.
#[test]
fn yaml_is_the_json() {
    let spec = uniform(3).fault("n02", Fault::Refused).fault("n03", Fault::ControlCharacters);
    let cluster = Cluster::start(spec.fault("n03", Fault::Fatal(COLLECTOR.to_owned())));
    cluster.wait_for("n03", ANALYTICS, COLLECTOR, State::Fatal);
    let line = format!("service {COLLECTOR} status");
    let json = cluster.ctl(&format!("{line} -o json")).expect(4).json();
    let yaml = cluster.ctl(&format!("{line} -o yaml")).expect(4);
    let read: Value = serde_saphyr::from_str(&yaml.stdout).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(timeless(read), timeless(json));
}

/// The CSV has a header and one line for each result, with the fields of the JSON.
#[test]
fn csv_is_the_json() {
    let cluster = Cluster::start(uniform(3).fault("n02", Fault::Refused));
    let line = format!("service {COLLECTOR} status");
    let json = cluster.ctl(&format!("{line} -o json")).expect(4);
    let run = cluster.ctl(&format!("{line} -o csv")).expect(4);
    let mut table = csv::Reader::from_reader(run.stdout.as_bytes());
    let header = table.headers().expect("expected a header").clone();
    assert_eq!(
        header.iter().collect::<Vec<_>>().join(","),
        "node,address,role,supervisor,service,outcome,state,pid,uptime_s,functional,message,\
         failure_stage,failure_kind,failure_message,failure_hint,via,batch,duration_ms"
    );
    let rows: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().expect("expected valid rows");
    assert_eq!(rows.len(), 3, "{run}");
    let mut rows = rows;
    let nodes = |row: &csv::StringRecord| row.get(0).unwrap_or_default().to_owned();
    rows.sort_by_key(nodes);
    for row in &rows {
        let result = json.result(&nodes(row));
        for (name, cell) in header.iter().zip(row) {
            let field = match name.strip_prefix("failure_") {
                Some(part) => &result["failure"][part],
                None => &result[name],
            };
            let expected = match field {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => field.to_string(),
            };
            if !matches!(name, "uptime_s" | "duration_ms") {
                assert_eq!(cell, expected, "{name}\n{run}");
            }
        }
    }
}

/// A file is written atomically: until then the old one remains.
#[test]
fn out_is_whole_or_not_at_all() {
    let slow = Fault::SlowStart(Duration::from_millis(500));
    let cluster = Cluster::start(uniform(1).fault("n01", slow));
    for form in ["json", "jsonl", "yaml", "csv", "table", "wide"] {
        let file = cluster.write("results", "old");
        let run = cluster.begin(&format!("service {COLLECTOR} restart -o {form} --out {}", file.display()));
        cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Starting);
        assert_eq!(std::fs::read_to_string(&file).expect("cannot read the file"), "old", "{form}");
        let run = run.finish().expect(0);
        assert!(run.stdout.is_empty(), "{form}\n{run}");
        let text = std::fs::read_to_string(&file).expect("cannot read the file");
        assert!(text.contains("n01") && text.contains("RUNNING") && text.ends_with('\n'), "{form}\n{text}");
        if form == "json" {
            let document = parsed(&text);
            assert_eq!((list(&document["results"]).len(), word(&document["schema"])), (1, "ctl/1"));
        }
        let mut names: Vec<_> = std::fs::read_dir(cluster.path("")).expect("cannot read the directory").collect();
        names.retain(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())));
        assert_eq!(names.len(), 1, "unexpected files: {names:?}");
    }
}

/// An unwritable file is rejected before any node is contacted.
#[test]
fn out_that_cannot_be_written() {
    let cluster = Cluster::start(uniform(1));
    for path in ["/nonexistent/folder/results.json", "/proc/results.json"] {
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json --out {path}")).expect(2);
        assert!(run.stderr.contains("--out") && run.stdout.is_empty(), "{run}");
    }
    // A directory is not a valid file.
    let folder = cluster.path("folder");
    std::fs::create_dir(&folder).expect("cannot create the directory");
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json --out {}", folder.display())).expect(2);
    assert!(run.stderr.contains("directory"), "{run}");
    assert_eq!((cluster.connections(), cluster.collector("n01").starts), (0, 1));
}

/// An interrupted run writes its file too.
#[test]
fn out_of_an_interrupted_run() {
    let cluster = Cluster::start(uniform(2).fault("n01", Fault::HangAction));
    let file = cluster.path("results.json");
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json -f 1 --out {}", file.display()));
    cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Stopping);
    for said in ["Press Ctrl-C again to stop waiting.", "Press Ctrl-C again to exit now."] {
        run.signal("INT");
        run.until_said(said);
    }
    run.finish().expect(130);
    let document = parsed(&std::fs::read_to_string(&file).expect("cannot read the file"));
    assert_eq!((document["exit_code"].as_u64(), list(&document["results"]).len()), (Some(130), 2), "{document:#}");
}

/// The log has the actions on each node, and never the key.
#[test]
fn a_log_file() {
    let cluster = Cluster::start(uniform(2));
    let log = cluster.path("ctl.log");
    let mut command = cluster.command(&format!("service {COLLECTOR} restart -y -o json --log-file"));
    // `words` ends with the option, so its file comes next, before the arguments that the harness adds.
    command = {
        let words = command.get_args().map(std::ffi::OsStr::to_owned).collect::<Vec<_>>();
        let mut again = cluster.bare("");
        for word in words {
            let is_option = word == "--log-file";
            again.arg(word);
            if is_option {
                again.arg(&log);
            }
        }
        again
    };
    let run = Running::start(command).finish().expect(0);
    let text = std::fs::read_to_string(&log).expect("cannot read the file");
    assert!(text.contains("supervisor.stopProcess") && text.contains("supervisor.startProcess"), "{text}");
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    assert!(!run.stderr.contains("supervisor.stopProcess"), "{run}");
}
