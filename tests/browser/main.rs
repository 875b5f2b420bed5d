//! The report of `ctl status -o html` in a real browser: headless Chromium.
//!
//! Each test has its own browser (see `chromium`), and opens a report that the real binary made of a lab, or one that
//! the sink made of results that no cluster produces (see `synthetic`). No test asserts timing; `benches/report.rs`
//! measures it. Needs `chromium`, and axe-core as installed by tests/run.

mod chromium;
#[path = "../lab/harness.rs"]
#[expect(dead_code, reason = "tests/lab uses the other functions")]
mod harness;
mod hostile;
mod report;
mod synthetic;
