//! The command line as it is typed: help, mistakes, and what needs no node. The cases are in `tests/cli/`.
//!
//! `TRYCMD=overwrite cargo test --test cli` writes down what is printed now; read the difference before you keep it.

use contrail_ctl::local::account;

const HOME: &str = "/home/ops";

#[test]
fn the_command_line() {
    // Nothing of the machine's own may show: no home, no inventory, no width of a terminal.
    let cases = trycmd::TestCases::new();
    // The home is `ssh`'s where known hosts are: it is that of the password database, whatever HOME says.
    let home = account::name_and_home().map_or_else(|| HOME.into(), |(_, home)| home);
    let known_hosts = home.join(".ssh/known_hosts").to_str().expect("UTF-8").to_owned();
    cases.insert_var("[KNOWN_HOSTS]", known_hosts).expect("a name that trycmd takes");
    cases
        .env("HOME", HOME)
        .env("CTL_INVENTORY", "")
        .env("XDG_CONFIG_HOME", "")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "0")
        .case("tests/cli/*.toml")
        .case("tests/cli/*.md");
}
