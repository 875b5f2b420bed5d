//! The command line: help, mistakes, and commands that need no node. The cases are in `tests/cli/`.
//!
//! `TRYCMD=overwrite cargo test --test cli` writes the current output to the cases; review the diff.

use contrail_ctl::local::account;

const HOME: &str = "/home/ops";

#[test]
fn the_command_line() {
    // The output must not depend on this machine: no home, no inventory, no terminal width.
    let cases = trycmd::TestCases::new();
    // For known hosts, ctl uses the same home as `ssh`: the one in the password database, whatever HOME is.
    let home = account::name_and_home().map_or_else(|| HOME.into(), |(_, home)| home);
    let known_hosts = home.join(".ssh/known_hosts").to_str().expect("UTF-8").to_owned();
    cases.insert_var("[KNOWN_HOSTS]", known_hosts).expect("trycmd rejects the name");
    cases
        .env("HOME", HOME)
        .env("CTL_INVENTORY", "")
        .env("XDG_CONFIG_HOME", "")
        .env("XDG_RUNTIME_DIR", "/nonexistent")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "0")
        .case("tests/cli/*.toml")
        .case("tests/cli/*.md");
}
