//! What many nodes cost the controller, and what a node that does not answer costs the others.
//!
//!     cargo bench --bench scale
//!
//! The nodes are a lab in a process of its own, which shares the machine with `ctl`: processor time and memory are
//! `ctl`'s alone, wall time is both. Prints
//!
//! - processor time per node and peak memory of a status of one service and of a whole status, for 5,000 nodes;
//! - the same for a display on a terminal of 80 columns: what it costs more than `--no-progress`, as a share of one core;
//! - the time at which the last node that answers has its result, with black holes among the nodes and without, in turn.
//!
//! Needs `script`, of util-linux.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "if a measurement fails, it ends with the reason")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Fault, Lab, Release};

#[path = "support/spread.rs"]
mod spread;
#[path = "support/used.rs"]
mod used;

use spread::report;
use used::Used;

const RUNS: usize = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--lab", kind, nodes, holes] => serve(kind, nodes.parse().unwrap(), holes.parse().unwrap()),
        // cargo test also runs benches, to check that they work; nothing is measured then.
        _ if !words.iter().any(|word| word == "--bench") => {}
        _ => {
            resources(5000);
            display(5000);
            black_holes(300, 1);
            black_holes(1000, 10);
        }
    }
}

/// A lab until standard input closes: of all roles, or of analytics nodes alone, which all have the same services. The
/// black holes are spread evenly.
fn serve(kind: &str, nodes: usize, holes: usize) {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut spec = if kind == "demo" { ClusterSpec::demo(nodes) } else { ClusterSpec::uniform(nodes, Release::R3_2) };
    for hole in 0..holes {
        let place = hole * nodes / holes + nodes / holes / 2;
        spec.nodes[place].faults.push(Fault::BlackHole);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let lab = runtime.block_on(Lab::start(spec)).unwrap();
    println!("{}", lab.dir().display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A lab in another process.
struct OtherLab {
    process: Child,
    folder: PathBuf,
    home: tempfile::TempDir,
}

impl OtherLab {
    fn start(kind: &str, nodes: usize, holes: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--lab", kind, &nodes.to_string(), &holes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, folder: line.trim().into(), home: tempfile::TempDir::new().unwrap() }
    }

    fn ctl(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
        command.args(words.split(' ')).args(["-f", "256", "--ssh-config", "none", "-i"]);
        command.arg(self.folder.join("inventory.yaml")).arg("--known-hosts").arg(self.folder.join("known_hosts"));
        command.env("HOME", self.home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for OtherLab {
    fn drop(&mut self) {
        // Its input closes, and its folder goes.
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// What a process has used at its end, and how long it took. A zombie still has its counters, but no memory any more.
fn measured(mut command: Command, pid: impl Fn(&Child) -> Option<u32>) -> (Used, Duration) {
    let (began, mut used) = (Instant::now(), Used::default());
    let mut child = command.spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        used = pid(&child).and_then(Used::by).unwrap_or(used);
        std::thread::sleep(Duration::from_millis(2));
    }
    (used, began.elapsed())
}

fn resources(nodes: u32) {
    for (kind, words) in [("uniform", "service contrail-collector status"), ("demo", "status")] {
        let lab = OtherLab::start(kind, nodes as usize, 0);
        for _ in 0..3 {
            let (used, took) = measured(lab.ctl(words), |child| Some(child.id()));
            println!("ctl {words}, {nodes} nodes: {:.2?} a node, {used}, {took:.1?} in all", used.cpu / nodes);
        }
    }
}

/// The display costs what a run takes more with it, over the time of that run.
fn display(nodes: usize) {
    let lab = OtherLab::start("uniform", nodes, 0);
    let file = |name: &str| lab.home.path().join(name);
    let mut shares = Vec::new();
    for _ in 0..RUNS {
        let mut runs = ["--no-progress", "--color=auto"].map(|option| {
            let mut ctl = lab.ctl("service contrail-collector status -o json");
            ctl.arg(option).arg("--out").arg(file("out"));
            let words: Vec<_> = std::iter::once(ctl.get_program()).chain(ctl.get_args()).collect();
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            let line = format!("stty rows 24 columns 80; echo $$ >{}; exec {}", file("pid").display(), words.join(" "));
            let mut script = Command::new("script");
            script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
            script.env("HOME", lab.home.path()).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
            script.stdin(Stdio::null()).stdout(Stdio::null());
            measured(script, |_| std::fs::read_to_string(file("pid")).ok()?.trim().parse().ok())
        });
        let [without, (with, took)] = &mut runs;
        let more = with.cpu.saturating_sub(without.0.cpu);
        println!("display, {nodes} nodes: {:.1?} of CPU more than {:.1?}, in {took:.1?}", more, without.0.cpu);
        shares.push(more.as_secs_f64() / took.as_secs_f64() * 100.0);
    }
    shares.sort_by(f64::total_cmp);
    println!("display, {nodes} nodes: median {:.1} % of one core", shares[shares.len() / 2]);
}

/// When the last node that answers has its result.
fn black_holes(nodes: usize, holes: usize) {
    let labs = [OtherLab::start("uniform", nodes, 0), OtherLab::start("uniform", nodes, holes)];
    let mut times = [Vec::new(), Vec::new()];
    for run in 0..=RUNS {
        for (lab, times) in labs.iter().zip(&mut times) {
            let took = last_answer(lab);
            // The first run of each warms it up.
            if run > 0 {
                times.push(took);
            }
        }
    }
    let [without, with] = times;
    let without = report(&format!("{nodes} nodes"), without);
    let with = report(&format!("{nodes} nodes, {holes} of them black holes"), with);
    println!("{:40} the rest takes {:.2} times as long", "", with.as_secs_f64() / without.as_secs_f64());
}

fn last_answer(lab: &OtherLab) -> Duration {
    let began = Instant::now();
    let mut child = lab.ctl("service contrail-collector status -o jsonl").stdout(Stdio::piped()).spawn().unwrap();
    let mut last = Duration::ZERO;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(r#""event":"result""#) && !line.contains(r#""outcome":"unreachable""#) {
            last = began.elapsed();
        }
    }
    child.wait().unwrap();
    last
}
