//! The cost of the report of `ctl status -o html`: to create and to display.
//!
//!     cargo bench --bench report
//!
//! Measures the following, 5 times each after a warm-up run, and prints the median, the minimum and the maximum:
//!
//! - the file for 1,000 nodes with 10 services each: the time that the sink takes, and the size;
//! - the same file in Chromium: the time from the start of the navigation to the end of its load event, the memory of
//!   its scripts, and, for each filter, the time from an input until the page is laid out again.
//!
//! Needs `chromium`, as `tests/run` does.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "if a measurement fails, it ends with the reason")]

use std::time::{Duration, Instant};

use serde_json::json;

#[path = "../tests/browser/chromium.rs"]
#[expect(dead_code, reason = "the tests use the other functions")]
mod chromium;
#[path = "support/spread.rs"]
mod spread;
#[path = "../tests/browser/synthetic.rs"]
mod synthetic;

use spread::report;

const NODES: usize = 1000;
const SERVICES: usize = 10;
const RUNS: usize = 5;

fn main() {
    // cargo test also runs benches, to check that they work; nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("report.html");
    let mut times = Vec::new();
    for _ in 0..=RUNS {
        let status = synthetic::large(NODES, SERVICES);
        let began = Instant::now();
        status.write(&file);
        times.push(began.elapsed());
    }
    report("the sink, and writing the file", times.split_off(1));
    println!("{:40} {:>8} bytes", "the file", std::fs::metadata(&file).unwrap().len());
    in_a_browser(&file);
}

fn in_a_browser(file: &std::path::Path) {
    let browser = chromium::Browser::start();
    let mut page = browser.page(1280, 900);
    let mut loads = Vec::new();
    for _ in 0..=RUNS {
        page.open(file);
        let load = page.eval("performance.getEntriesByType('navigation')[0].loadEventEnd");
        loads.push(Duration::from_secs_f64(load.as_f64().unwrap() / 1000.0));
    }
    report("loading it", loads.split_off(1));
    page.call("HeapProfiler.collectGarbage", json!({}));
    let heap = page.eval("performance.memory.usedJSHeapSize");
    println!("{:40} {:>8} bytes", "memory of its scripts (coarse)", heap);
    let steps = [
        ("a word that one node has", write("n0500")),
        ("a word that all have", write("contrail")),
        ("a word that none has", write("nowhere")),
        ("no word", write("")),
        ("a role", "document.querySelector('#filter-role input').click()".to_owned()),
        ("a state", "document.querySelector('#filter-state input').click()".to_owned()),
        ("clearing", "document.querySelector('#filter button[type=reset]').click()".to_owned()),
        ("opening all", "document.getElementById('open-all').click()".to_owned()),
        ("more rows", "document.getElementById('more').click()".to_owned()),
    ];
    for (name, step) in steps {
        let mut times = Vec::new();
        for _ in 0..=RUNS {
            page.open(file);
            // Reading a size forces a layout of the page.
            let took = page.eval(&format!(
                "(() => {{ const layout = () => document.body.offsetHeight; layout(); const began = performance.now();\
                 {step}; layout(); return performance.now() - began; }})()"
            ));
            times.push(Duration::from_secs_f64(took.as_f64().unwrap() / 1000.0));
        }
        report(&format!("filter, and layout: {name}"), times.split_off(1));
    }
}

fn write(word: &str) -> String {
    format!(
        "const box = document.getElementById('filter-text'); box.value = {}; box.dispatchEvent(new Event('input'))",
        json!(word)
    )
}
