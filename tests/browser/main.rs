//! The report of `ctl status -o html` in a real browser: Chromium, without a window.
//!
//! Each test has a browser of its own (see `chromium`), and opens reports that the real binary made of a lab, or the
//! sink of results that no cluster would give (see `synthetic`). A timing is never asserted; `benches/report.rs`
//! measures. Needs `chromium`, and axe-core where tests/run puts it.

mod chromium;
#[path = "../lab/harness.rs"]
#[expect(dead_code, reason = "tests/lab uses the rest")]
mod harness;
mod hostile;
mod report;
mod synthetic;
