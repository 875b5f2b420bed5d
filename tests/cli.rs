//! The command line as one types it: help, errors, exit codes. Each case stands in `tests/cli/` with what it prints.
//!
//! After a change that is meant: `TRYCMD=overwrite cargo test --test cli`, then read the difference.

#[test]
fn as_typed() {
    trycmd::TestCases::new().env("HOME", "/nonexistent").env("COLUMNS", "100").case("tests/cli/*.md").run();
}
