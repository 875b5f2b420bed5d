//! The cost of a complete status of 1,000 nodes: `ctl status -o html`, `-o prom`, and `ctl top`.
//!
//!     cargo bench --bench thousand_nodes
//!
//! Measures the following against a lab of 1,000 nodes in this process, 5 times each after a warm-up run, and prints
//! the median, the minimum and the maximum, and the CPU time and peak memory of the last run:
//!
//! - the whole command, for the two files;
//! - `ctl top` on a terminal of 80 columns and 24 rows: from its start to the first frame with all nodes, and from
//!   there to the frame of the next round, which needs no new connections.
//!
//! `ctl` and the lab share the machine. Needs `script`, of util-linux.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "if a measurement fails, it ends with the reason")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Lab};

#[path = "support/spread.rs"]
mod spread;
#[path = "../tests/support/terminal.rs"]
#[expect(dead_code, reason = "the tests use the other functions")]
mod terminal;
#[path = "support/used.rs"]
mod used;

use spread::report;
use terminal::Terminal;
use used::Used;

const NODES: usize = 1000;
const RUNS: usize = 5;

fn main() {
    // cargo test also runs benches, to check that they work; nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let lab = runtime.block_on(Lab::start(ClusterSpec::demo(NODES))).unwrap();
    for form in ["html", "prom"] {
        let mut times = Vec::new();
        let mut used = Used::default();
        for _ in 0..=RUNS {
            let mut command = ctl(&["status", "-o", form], &lab, folder.path());
            command
                .arg("--out")
                .arg(folder.path().join(form))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let began = Instant::now();
            let mut child = command.spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                used = Used::by(child.id()).unwrap_or(used);
                std::thread::sleep(Duration::from_millis(5));
            }
            times.push(began.elapsed());
        }
        report(&format!("ctl status -o {form}"), times.split_off(1));
        let size = std::fs::metadata(folder.path().join(form)).unwrap().len();
        println!("{:40} {used}; a file of {size} bytes", "");
    }
    let (mut first, mut next) = (Vec::new(), Vec::new());
    let mut used = Used::default();
    for _ in 0..=RUNS {
        let began = Instant::now();
        let mut top = Terminal::start(&ctl(&["top"], &lab, folder.path()), 24, 80, folder.path());
        top.until("of 1000 nodes healthy");
        first.push(began.elapsed());
        let line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let (shown, began) = (line(&top.text()), Instant::now());
        top.until_screen("the next round", |text| line(text) != shown);
        next.push(began.elapsed());
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        used = Used::by(pid.trim().parse().unwrap()).unwrap();
        top.press("q");
        assert_eq!(top.finish().code, Some(0));
    }
    report("ctl top, to the first picture", first.split_off(1));
    println!("{:40} {used}", "");
    report("ctl top, to the next round", next.split_off(1));
}

fn ctl(words: &[&str], lab: &Lab, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
    command.args(words).args(["--ssh-config", "none", "-i"]).arg(lab.inventory_path());
    command.arg("--known-hosts").arg(lab.known_hosts_path()).env("HOME", home);
    command
}
