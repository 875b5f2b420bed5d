//! The command line as it is typed: help, mistakes, and what needs no node. The cases are in `tests/cli/`.
//!
//! `TRYCMD=overwrite cargo test --test cli` writes down what is printed now; read the difference before you keep it.

#[test]
fn the_command_line() {
    // Nothing of the machine's own may show: no home, no inventory, no width of a terminal.
    trycmd::TestCases::new()
        .env("HOME", "/home/ops")
        .env("CTL_INVENTORY", "")
        .env("XDG_CONFIG_HOME", "")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "0")
        .case("tests/cli/*.toml")
        .case("tests/cli/*.md");
}
