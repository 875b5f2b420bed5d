//! Completion, as a shell asks for it: `ctl` called with the words of the line, and a real bash at a terminal.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use contrail_ctl::journal::{Journal, RunController, RunRequest, SavedFile};
use tempfile::TempDir;

#[path = "support/terminal.rs"]
#[expect(dead_code, reason = "other tests use the other functions")]
mod terminal;

use terminal::Terminal;

const CTL: &str = env!("CARGO_BIN_EXE_ctl");

const INVENTORY: &str = "version: 1
groups: {rack1: 'c[001-003]'}
nodes:
  c[001-004]: {roles: [compute]}
  a6s01: {roles: [analytics]}
";

/// A directory that is the home and the current directory, with an inventory.
fn home(inventory: &str) -> TempDir {
    let home = TempDir::new().expect("cannot create the directory");
    fs::write(home.path().join("inventory.yaml"), inventory).expect("cannot write the inventory");
    home
}

fn asked(home: &Path, shell: &str, words: &[&str]) -> Output {
    let mut ctl = Command::new(CTL);
    ctl.current_dir(home).env_clear().env("HOME", home).env("CTL_COMPLETE", shell);
    ctl.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    ctl.args(["--", "ctl"]).args(words).output().expect("cannot run ctl")
}

/// The candidates for the last word.
#[track_caller]
fn candidates(home: &Path, words: &[&str]) -> Vec<String> {
    let Output { status, stdout, stderr } = asked(home, "bash", words);
    assert!(status.success() && stderr.is_empty(), "{words:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn begin_run(home: &Path, run: &str) {
    let mut journal = Journal::open(&home.join(".local/state/ctl/journal.db")).expect("cannot open the journal");
    let request = RunRequest {
        run: run.to_owned(),
        words: vec!["service".to_owned()],
        directory: home.to_owned(),
        inventory: SavedFile { path: home.join("inventory.yaml"), text: INVENTORY.to_owned() },
        rollout: None,
        controller: RunController { user: "ops".to_owned(), host: "elsewhere".to_owned(), pid: 1, pid_start: None },
        reason: None,
        started: jiff::Timestamp::now(),
        command: "service".to_owned(),
        action: Some("restart".to_owned()),
        services: vec!["contrail-collector".to_owned()],
        nodes: 1,
        input: None,
        origin: None,
    };
    journal.begin(&request).expect("cannot record the run");
}

#[test]
fn nodes_groups_and_roles_complete_a_node_set() {
    let home = home(INVENTORY);
    let at = |words: &[&str]| candidates(home.path(), words);
    assert_eq!(at(&["status", "-w", "c00"]), ["c001", "c002", "c003", "c004"]);
    assert_eq!(at(&["status", "-w", "c001,a"]), ["c001,a6s01"]);
    assert_eq!(at(&["status", "-w", "c001,c002,c00"]), ["c001,c002,c003", "c001,c002,c004"], "no member twice");
    assert_eq!(at(&["status", "-w", "@"]), ["@rack1", "@analytics", "@compute"]);
    assert_eq!(at(&["ping", "-x", "@rack1!c0"]).len(), 4);
    assert_eq!(at(&["status", "--nodes=c001,@r"]), ["--nodes=c001,@rack1"]);
    assert_eq!(at(&["status", "-w", "'c001,@r"]), ["c001,@rack1"], "the quote is the shell's");
    assert_eq!(at(&["status", "-w", "c[001,"]), [""; 0], "inside of a range there are no names");
    assert_eq!(at(&["status", "-w", "a6s01,c[002-"]), ["a6s01,c[002-003]", "a6s01,c[002-004]"]);
    assert_eq!(at(&["status", "-w", "c["]), ["c[001-004]"]);
    assert_eq!(at(&["-w", "a"]), ["a6s01"], "before the command");
    assert_eq!(at(&["-r", "analytics", "-x", "@r"]), ["@rack1"]);
    assert_eq!(at(&["-w", "a6s01", "statu"]), ["status"]);
    assert_eq!(at(&["--inv"]), ["--inventory"]);
    assert_eq!(at(&["nodeset", "fold", ""]), [""; 0], "no lone --help");
    assert_eq!(at(&["status", "-r", "analytics,c"]), ["analytics,compute"]);
    assert_eq!(at(&["inventory", "show", "a"]), ["a6s01"]);
    assert!(at(&["status", "-w", ""]).contains(&"@rack1".to_owned()));
}

#[test]
fn services_actions_and_commands_are_completed() {
    let home = home(INVENTORY);
    let at = |words: &[&str]| candidates(home.path(), words);
    assert_eq!(at(&["logs", "contrail-coll"]), ["contrail-collector"]);
    assert_eq!(at(&["status", "supervisor-"]), ["supervisor-analytics", "supervisor-vrouter"]);
    assert_eq!(at(&["status", "contrail-api"]), [""; 0], "no node has the role config");
    assert_eq!(at(&["service", "contrail-collector", "rest"]), ["restart"]);
    assert_eq!(at(&["service", "restart", "sta"]), [""; 0], "there is one action");
    assert_eq!(at(&["runs", "res"]), ["resume"]);
    assert_eq!(at(&["man", "runs", "und"]), ["undo"]);
    // Options come when they are asked for.
    assert!(at(&["status", ""]).iter().all(|word| !word.starts_with('-')));
    assert!(at(&["status", "--wa"]).contains(&"--watch".to_owned()));
}

#[test]
fn the_inventory_is_the_one_that_the_command_would_use() {
    let home = home(INVENTORY);
    fs::write(home.path().join("other.yaml"), "version: 1\nnodes: {d1: {roles: [database]}}\n").expect("written");
    let at = |words: &[&str]| candidates(home.path(), words);
    assert_eq!(at(&["status", "-i", "other.yaml", "-w", "d"]), ["d1"]);
    assert_eq!(at(&["status", "-iother.yaml", "-w", "d"]), ["d1"]);
    assert_eq!(at(&["status", "--inventory=~/other.yaml", "-w", "d"]), ["d1"]);
    assert_eq!(at(&["status", "-i", "missing.yaml", "-w", "c"]), [""; 0]);
    assert_eq!(at(&["status", "-i", "/dev/stdin", "-w", "c"]), [""; 0]);
    assert_eq!(at(&["status", "-i", "oth"]), ["other.yaml"]);
}

#[test]
fn without_an_inventory_contrails_own_roles_are_known() {
    let home = TempDir::new().expect("cannot create the directory");
    let at = |words: &[&str]| candidates(home.path(), words);
    assert_eq!(at(&["status", "-r", "an"]), ["analytics"]);
    assert_eq!(at(&["status", "contrail-coll"]), ["contrail-collector"]);
    assert_eq!(at(&["status", "-w", "c"]), [""; 0]);
    assert!(fs::read_dir(home.path()).expect("readable").next().is_none(), "nothing is written");
}

#[test]
fn a_source_is_not_run_and_a_mistake_hides_only_itself() {
    let home = home(INVENTORY);
    let ran = home.path().join("ran");
    let text = format!("{INVENTORY}  d1: {{rolls: [database]}}\nsource: {{command: [touch, {}]}}\n", ran.display());
    fs::write(home.path().join("inventory.yaml"), text).expect("written");
    assert_eq!(candidates(home.path(), &["status", "-w", "c001,a"]), ["c001,a6s01"]);
    assert!(!ran.exists());
    fs::write(home.path().join("inventory.yaml"), "nodes: [").expect("written");
    assert_eq!(candidates(home.path(), &["status", "-w", "c"]), [""; 0]);
}

#[test]
fn an_inventory_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let home = home(INVENTORY);
    let file = home.path().join("inventory.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("chmod");
    assert_eq!(candidates(home.path(), &["status", "-w", "c"]), [""; 0]);
}

#[test]
fn runs_come_from_the_journal() {
    let home = home(INVENTORY);
    assert_eq!(candidates(home.path(), &["runs", "show", "2"]), [""; 0]);
    assert!(!home.path().join(".local").exists(), "no journal is made");
    begin_run(home.path(), "20260102-030405-abcd");
    begin_run(home.path(), "20260102-030406-efgh");
    let all = ["last", "20260102-030406-efgh", "20260102-030405-abcd"];
    assert_eq!(candidates(home.path(), &["runs", "show", ""]), all);
    assert_eq!(candidates(home.path(), &["runs", "retry", "20260102-030405"]), ["20260102-030405-abcd"]);
    // Their controller is on another host, and may be running.
    assert_eq!(candidates(home.path(), &["runs", "resume", "2"]), [""; 0]);
    let fish = asked(home.path(), "fish", &["runs", "show", "last"]).stdout;
    assert_eq!(String::from_utf8_lossy(&fish), "last\tthe newest run\n");
}

#[test]
fn other_uses_of_the_variable_change_nothing() {
    let home = home(INVENTORY);
    for shell in ["bash", "no-shell"] {
        let ctl = Command::new(CTL).arg("--version").env("CTL_COMPLETE", shell).current_dir(&home).output();
        assert!(ctl.expect("cannot run ctl").stdout.starts_with(b"ctl "), "{shell}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let none = Command::new(CTL).arg("--").env("CTL_COMPLETE", shell).output().expect("cannot run ctl");
        assert!(none.status.success() && none.stdout.is_empty() && none.stderr.is_empty(), "{shell}");
        let script = Command::new(CTL).args(["completions", shell]).output().expect("cannot run ctl");
        assert!(script.status.success() && script.stdout.windows(12).any(|part| part == b"CTL_COMPLETE"), "{shell}");
    }
}

#[test]
fn bash_completes_at_a_terminal() {
    let home = home(INVENTORY);
    let bin = Path::new(CTL).parent().expect("a directory").display();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]);
    bash.env("HOME", home.path()).env("PS1", "$ ").env("PATH", format!("{bin}:/usr/bin:/bin"));
    // A range is a pattern to the shell, and must not become the name of a file.
    fs::write(home.path().join("c0"), "").expect("written");
    let mut terminal = Terminal::start(&bash, 40, 100, home.path());
    terminal.press("cd; source <(ctl completions bash); echo loa''ded\n");
    terminal.until("loaded");
    // bash splits words at `@`, `=` and `:`, and leaves open quotes to the completion.
    for (typed, completed) in [
        ("ctl status -w c001,@ra", "ctl status -w c001,@rack1 x1"),
        ("ctl status -w 'c001,@rack1!a6", "ctl status -w 'c001,@rack1!a6s01' x2"),
        ("ctl ping --role=ana", "ctl ping --role=analytics x3"),
        ("ctl service contrail-vrouter-a", "ctl service contrail-vrouter-agent x4"),
        ("ctl status -w c[003-", "ctl status -w c[003-004] x5"),
        ("ctl -w c001 -w a6", "ctl -w c001 -w a6s01 x6"),
        ("ctl status -w c001\\&a6", "ctl status -w c001\\&a6s01 x7"),
    ] {
        let mark = &completed[completed.len() - 2..];
        terminal.press(&format!("{typed}\t{mark}"));
        terminal.until(completed);
        terminal.press("\u{15}");
    }
    terminal.press("exit\n");
}
