//! Counts the instructions of the parts of the controller that each node costs, and compares them with figures.txt.
//!
//!     cargo bench -p ctl-instructions                  fails if a case takes over 5 % more than its figure
//!     cargo bench -p ctl-instructions -- --record      writes the figures anew
//!
//! Counts depend on the compiler and the dependencies, and not on the machine or on what else it does. Each case runs
//! alone under callgrind, which counts only what [`counted`] calls: the preparation is left out. Needs valgrind.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a measurement is a program of its own")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use ctl_event::RunEvent;
use ctl_inventory::{PathEnvironment, parse};
use ctl_plan::batch::{DownBudget, batches};
use ctl_plan::{Action, explain};
use ctl_sink::{JsonSink, JsonlSink, Sink, TableOptions, TableSink};
use figures::{COMPILER, CaseVerdict, Figures, LIMIT_PERCENT};
use nodeset::NodeSet;

#[path = "../support/cluster.rs"]
mod cluster;

/// Enough for the work per node to outweigh the work done once.
const NODES: usize = 300;

/// Work whose input is ready.
type Prepared = Box<dyn FnMut()>;

/// A name, and what prepares the work.
type CountedCase = (&'static str, fn() -> Prepared);

/// Every case: data that is read or made for each node of a run.
const CASES: &[CountedCase] = &[
    ("xmlrpc_write", xmlrpc_write),
    ("xmlrpc_read", || xmlrpc_read(answer("RUNNING"))),
    // An escape that supervisord does not write: such an answer is left to the general parser.
    ("xmlrpc_read_general", || xmlrpc_read(answer("&quot;RUNNING&quot;"))),
    ("event_write", event_write),
    ("event_read", event_read),
    ("jsonl", jsonl),
    ("json", || shown(|| Box::new(JsonSink::new(Box::new(io::sink()))))),
    ("table_folded", || shown(|| table(true))),
    ("table_of_all_rows", || shown(|| table(false))),
    ("inventory", inventory),
    ("selection", selection),
    ("plan_of_a_status", plan_of_a_status),
    ("plan_of_a_restart", plan_of_a_restart),
    ("batches_of_a_capped_role", batches_of_a_capped_role),
    ("nodeset_fold", nodeset_fold),
    ("nodeset_expand", nodeset_expand),
    ("ledger", ledger),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--count", case] => {
            let (_, prepare) = CASES.iter().find(|(name, _)| *name == case).expect("a case");
            let mut work = prepare();
            counted(&mut work);
            ExitCode::SUCCESS
        }
        _ if !words.contains(&"--bench") => ExitCode::SUCCESS,
        _ => guard(words.contains(&"--record")).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }),
    }
}

/// Callgrind counts from here to the end of this function: see [`count`].
#[inline(never)]
fn counted(work: &mut Prepared) {
    work();
    // Without anything after it the call could become a jump, which callgrind does not see as a call.
    black_box(work);
}

/// Counts every case, and compares or records.
fn guard(record: bool) -> Result<ExitCode, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("figures.txt");
    let mut counts = BTreeMap::new();
    for (case, _) in CASES {
        counts.insert((*case).to_owned(), count(case)?);
    }
    let now = Figures { compiler: COMPILER.to_owned(), counts };
    if record {
        std::fs::write(&path, now.to_string()).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        print!("{now}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let recorded = Figures::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let comparison = recorded.compare(&now);
    println!("{:24} {:>12} {:>12}", "case", "recorded", "now");
    for change in &comparison.changes {
        println!("{change}");
    }
    if !comparison.is_same_compiler {
        println!(
            "NOT COMPARED: the figures are of {}, this is {COMPILER}. Record them anew for this compiler, on a commit \
             that is known to be good.",
            recorded.compiler
        );
    } else if comparison.of(CaseVerdict::Faster).next().is_some() {
        println!("A case takes over {LIMIT_PERCENT} % less than its figure: record it, so that the gain is kept.");
    }
    if comparison.fails() {
        return Err(format!(
            "more than {LIMIT_PERCENT} % more instructions than benches/instructions/figures.txt has, or no figure. \
             Make the case cheaper; or, if it is worth its price, say why in the commit that records the new figures: \
             cargo bench -p ctl-instructions -- --record"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions of one case.
fn count(case: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=instructions::counted*"])
        .arg(program)
        .args(["--count", case])
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}. Install it (Debian: apt-get install valgrind)."))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let number = log.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match number {
        Some(count) if output.status.success() && count > 0 => Ok(count),
        _ => Err(format!("valgrind did not count {case} ({}):\n{log}", output.status)),
    }
}

/// The one call that reads a supervisord, once for each node.
fn xmlrpc_write() -> Prepared {
    let methods = ["supervisor.getSupervisorVersion", "supervisor.getPID", "supervisor.getAllProcessInfo"];
    let methods = methods.map(str::to_owned);
    Box::new(move || {
        for _ in 0..NODES {
            black_box(ctl_xmlrpc::encode("system.multicall", &(methods.to_vec(),)).expect("a call"));
        }
    })
}

/// The answer of a supervisord with twelve programs, as Python's `xmlrpclib` writes it.
fn answer(state: &str) -> String {
    let member =
        |name: &str, value: String| format!("<member>\n<name>{name}</name>\n<value>{value}</value>\n</member>\n");
    let text = |text: &str| format!("<string>{text}</string>");
    let process = |place: usize| {
        let name = format!("contrail-service-{place}");
        let mut members: String = ["name", "group"].iter().map(|key| member(key, text(&name))).collect();
        for (key, value) in [("statename", state), ("spawnerr", ""), ("description", "pid 4711, uptime 1 day, 2:03:04")]
        {
            members += &member(key, text(value));
        }
        for key in ["logfile", "stdout_logfile", "stderr_logfile"] {
            members += &member(key, text(&format!("/var/log/contrail/{name}.log")));
        }
        for (key, value) in [("state", 20), ("pid", 4711 + place), ("exitstatus", 0), ("start", 1_700_000_000)] {
            members += &member(key, format!("<int>{value}</int>"));
        }
        format!("<value><struct>\n{members}</struct></value>\n")
    };
    let processes: String = (0..12).map(process).collect();
    format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n\
         <value><string>3.3.1</string></value>\n<value><int>812</int></value>\n<value><array><data>\n{processes}</data>\
         </array></value>\n</data></array></value>\n</param>\n</params>\n</methodResponse>\n"
    )
}

fn xmlrpc_read(answer: String) -> Prepared {
    Box::new(move || {
        for _ in 0..20 {
            black_box(ctl_xmlrpc::decode(answer.as_bytes()).expect("an answer"));
        }
    })
}

/// An event as the journal stores it.
fn stored(event: &RunEvent) -> String {
    serde_json::to_string(event).expect("JSON")
}

fn event_write() -> Prepared {
    let events = cluster::events(NODES);
    Box::new(move || {
        for event in &events {
            black_box(stored(event));
        }
    })
}

fn event_read() -> Prepared {
    let lines: Vec<String> = cluster::events(NODES).iter().map(stored).collect();
    Box::new(move || {
        for line in &lines {
            black_box(serde_json::from_str::<RunEvent>(line).expect("an event"));
        }
    })
}

fn jsonl() -> Prepared {
    let events = cluster::events(NODES);
    let ledger = cluster::folded(&events);
    Box::new(move || {
        let mut sink = JsonlSink::new(Box::new(io::sink()));
        for event in &events {
            sink.event(event, &ledger).expect("written");
        }
        sink.finish(&ledger, 0).expect("written");
    })
}

fn table(fold: bool) -> Box<dyn Sink> {
    let options = TableOptions { fold: Some(fold), width: Some(120), ..TableOptions::default() };
    Box::new(TableSink::new(options, Box::new(io::sink()), Box::new(io::sink())))
}

/// The output at the end of a run.
fn shown(sink: fn() -> Box<dyn Sink>) -> Prepared {
    let ledger = cluster::folded(&cluster::events(NODES));
    Box::new(move || sink().finish(&ledger, 0).expect("written"))
}

fn inventory() -> Prepared {
    let (text, nowhere) = (cluster::text(NODES), PathEnvironment::new(None, std::iter::empty::<(&str, &str)>()));
    Box::new(move || drop(black_box(parse(&text, Path::new("inventory.yaml"), &nowhere).expect("an inventory"))))
}

fn selection() -> Prepared {
    let inventory = cluster::inventory(NODES);
    Box::new(move || drop(black_box(cluster::selection(&inventory))))
}

fn plan_of_a_status() -> Prepared {
    let inventory = cluster::inventory(NODES);
    Box::new(move || drop(black_box(cluster::plan_of(&inventory, Action::Status))))
}

/// One node of the database after the other, as the plan that `--dry-run` prints.
fn plan_of_a_restart() -> Prepared {
    let inventory = cluster::inventory(NODES);
    Box::new(move || drop(black_box(explain::view(&cluster::plan_of(&inventory, Action::Restart), None))))
}

fn batches_of_a_capped_role() -> Prepared {
    let all: Vec<usize> = (0..NODES).collect();
    let budget = DownBudget {
        role: "database".to_owned(),
        limit: 1,
        members: all.iter().copied().collect(),
        down: [NODES / 2].into_iter().collect(),
        untouched: std::collections::BTreeSet::default(),
    };
    Box::new(move || drop(black_box(batches(&all, |_| 3, std::slice::from_ref(&budget)))))
}

fn nodeset_fold() -> Prepared {
    let names = cluster::names(10 * NODES);
    Box::new(move || drop(black_box(NodeSet::from_names(&names).to_string())))
}

fn nodeset_expand() -> Prepared {
    Box::new(|| {
        let set = NodeSet::parse("rack[1-60]-n[001-050]!rack2-n[010-019],db[1-9]").expect("a node set");
        black_box(set.iter().count());
    })
}

fn ledger() -> Prepared {
    let events = cluster::events(NODES);
    Box::new(move || drop(black_box(cluster::folded(&events))))
}
