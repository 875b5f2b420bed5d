//! Every reader of bytes that ctl did not write, as a function of those bytes.
//!
//! [`TARGETS`] is their list. `cargo fuzz` calls each with bytes of its own (CONTRIBUTING.md, "Fuzzing"), the tests with those in
//! `corpus/`. Readers of what a node sends are called as a run calls them, over a [`Session`](ctl_transport::Session) whose
//! answers are the bytes (`scripted_node.rs`). Invariants: a target may use any layer below the command line; it reaches
//! no network and changes nothing outside of a temporary directory; what it asserts holds for any input.

mod scripted_node;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use ctl_inventory::{Inventory, PathEnvironment};
use ctl_journal::{Journal, RunController, RunRequest, SavedFile};
use ctl_supervisor::introspect;
use ctl_supervisor::parse;
use nodeset::NodeSet;
use openssh_config::{ConfigProblem, FileReader, HostQuery, OperatorEnv, SshConfig};
use tempfile::TempDir;

pub use self::scripted_node::{instance_search, node_answers, node_scan, node_status};

/// A reader, called with bytes.
pub type FuzzTarget = fn(&[u8]);

/// Every target, by the name of its directory in `corpus/`.
pub const TARGETS: [(&str, FuzzTarget); 20] = [
    ("ansible", ansible),
    ("ansible_list", ansible_list),
    ("clustershell", clustershell),
    ("host_list", host_list),
    ("init_status", init_status),
    ("instance_search", instance_search),
    ("inventory", inventory),
    ("journal", journal),
    ("known_hosts", known_hosts),
    ("node_answers", node_answers),
    ("node_scan", node_scan),
    ("node_set", node_set),
    ("node_status", node_status),
    ("rollout", rollout),
    ("snapshot", snapshot),
    ("ssh_config", ssh_config),
    ("supervisorctl", supervisorctl),
    ("testbed", testbed),
    ("text", text),
    ("xmlrpc", xmlrpc),
];

/// Calls `read` with a file that has these bytes.
fn with_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        // One directory for all calls of a thread: a fuzzer makes thousands a second.
        let folder = folder.get_or_init(|| TempDir::new().expect("cannot create a directory"));
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("cannot write the file");
        read(&path)
    })
}

/// A source of nodes in one of Ansible's formats for files, INI or YAML, or as JSON.
pub fn ansible(bytes: &[u8]) {
    for name in ["hosts", "hosts.yml"] {
        with_file(name, bytes, |path| drop(ctl_import::ansible::read_path(path)));
    }
}

/// The output of `ansible-inventory --list` or a live source. A fleet that is read is written as text that reads back
/// the same.
pub fn ansible_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let source = Path::new("source");
    if let Ok(fleet) = ctl_import::ansible::read_list(&text, source) {
        let written = ctl_import::ansible::write_list(&fleet);
        let again = ctl_import::ansible::read_list(&written, source).expect("expected our own text to be read");
        assert_eq!(ctl_import::ansible::write_list(&again), written);
    }
}

/// ClusterShell's groups: `groups.conf`, the YAML format, and the old flat files.
pub fn clustershell(bytes: &[u8]) {
    for name in ["groups.conf", "groups.yaml", "groups"] {
        with_file(name, bytes, |path| drop(ctl_import::clustershell::read(path)));
    }
}

/// fabric's `testbed.py`.
pub fn testbed(bytes: &[u8]) {
    with_file("testbed.py", bytes, |path| drop(ctl_import::testbed::read(path)));
}

/// The words of `ctl init HOST...`.
pub fn host_list(bytes: &[u8]) {
    drop(ctl_discovery::parse_hosts(&String::from_utf8_lossy(bytes)));
}

/// A node set, whose folded form is the same set.
pub fn node_set(bytes: &[u8]) {
    let Ok(set) = NodeSet::parse(&String::from_utf8_lossy(bytes)) else { return };
    let folded = set.to_string();
    if !folded.is_empty() {
        assert_eq!(NodeSet::parse(&folded).expect("expected the folded set to be read"), set);
    }
}

fn environment() -> PathEnvironment {
    PathEnvironment::new(Some(PathBuf::from("/home/op")), [("DIR", "/srv")])
}

/// An inventory.
pub fn inventory(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = ctl_inventory::parse(&text, Path::new("/srv/inventory.yaml"), &environment()) {
        assert!(!error.to_string().is_empty());
    }
}

/// The inventory that rollouts are checked against.
fn small_inventory() -> &'static Inventory {
    static INVENTORY: OnceLock<Inventory> = OnceLock::new();
    INVENTORY.get_or_init(|| {
        let text = "version: 1\nnodes:\n  a6s[01-03]: {roles: [analytics, config]}\n  c[01-09]: {roles: [compute]}\n";
        ctl_inventory::parse(text, Path::new("/srv/inventory.yaml"), &environment()).expect("a right inventory")
    })
}

/// A rollout file.
pub fn rollout(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let vars = [("version".to_owned(), "3.2".to_owned())];
    if let Err(error) = ctl_plan::rollout::read(Path::new("/srv/rollout.yaml"), &text, &vars, small_inventory()) {
        assert!(!error.to_string().is_empty());
    }
}

/// A snapshot, compared with itself.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = ctl_snapshot::read(bytes) {
        drop(ctl_snapshot::diff(&snapshot, &snapshot));
    }
}

/// The rows of a run's events in a journal that somebody else wrote to, one a line.
pub fn journal(bytes: &[u8]) {
    thread_local! {
        static PLACE: OnceCell<(TempDir, PathBuf)> = const { OnceCell::new() };
    }
    PLACE.with(|place| {
        let (_, path) = place.get_or_init(empty_run);
        let connection = rusqlite::Connection::open(path).expect("cannot open the journal");
        connection.execute_batch("PRAGMA synchronous = OFF; DELETE FROM events").expect("cannot empty the events");
        for (seq, line) in (0..64_i64).zip(String::from_utf8_lossy(bytes).lines()) {
            let row = rusqlite::params![seq, line];
            connection.execute("INSERT INTO events (run, seq, event) VALUES (1, ?1, ?2)", row).expect("cannot insert");
        }
        drop(connection);
        let journal = Journal::open_read_only(path).expect("cannot open the journal");
        drop(journal.load(RUN));
        drop(journal.runs(10));
    });
}

const RUN: &str = "20261123-002634-muat";

/// A journal with one run that has no events.
fn empty_run() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("cannot create a directory");
    let path = folder.path().join("journal.db");
    let request = RunRequest {
        run: RUN.to_owned(),
        words: vec!["status".to_owned()],
        directory: PathBuf::from("/"),
        inventory: SavedFile { path: PathBuf::from("/srv/inventory.yaml"), text: String::new() },
        rollout: None,
        controller: RunController::this(),
        reason: None,
        started: jiff::Timestamp::UNIX_EPOCH,
        command: "service".to_owned(),
        action: Some("restart".to_owned()),
        services: Vec::new(),
        nodes: 1,
        input: None,
        origin: None,
    };
    let mut journal = Journal::open(&path).expect("cannot create the journal");
    journal.begin(&request).expect("cannot begin a run");
    (folder, path)
}

/// A known_hosts file.
pub fn known_hosts(bytes: &[u8]) {
    with_file("known_hosts", bytes, |path| drop(ctl_transport::KnownHostNames::read(&[path.to_owned()])));
}

/// An ssh_config, and the settings of a host in it.
pub fn ssh_config(bytes: &[u8]) {
    // Files that it includes are not there.
    let not_there = FileReader(|_, _| Err(std::io::ErrorKind::NotFound.into()));
    let operator = OperatorEnv {
        home: Some(PathBuf::from("/home/op")),
        user: "op".to_owned(),
        uid: 1000,
        hostname: "controller.example.org".to_owned(),
        variables: BTreeMap::from([("KEYS".to_owned(), "/srv/keys".to_owned())]),
        homes: BTreeMap::new(),
        services: BTreeMap::new(),
        addresses: OnceLock::from(None),
        ssh_version: OnceLock::from("OpenSSH_9.2".to_owned()),
        read_file: not_there,
    };
    let Ok(config) = SshConfig::parse(bytes, Path::new("/home/op/.ssh/config"), &operator) else { return };
    let no_command = |_: &str| -> Result<bool, ConfigProblem> { Ok(false) };
    for host in config.host_names().into_iter().take(4).chain(["a6s01"]) {
        let Ok(resolved) = config.resolve(&HostQuery { host, ..HostQuery::default() }, &operator, &no_command) else {
            continue;
        };
        drop(resolved.to_ssh_g());
        drop(resolved.identity_paths(&operator));
        drop(resolved.certificate_paths(&operator));
        drop(resolved.proxy_command(&operator));
    }
}

/// Output of `supervisorctl`: standard output, a NUL, standard error.
pub fn supervisorctl(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (out, err) = text.split_once('\0').unwrap_or((&text, ""));
    for exit in [None, Some(0), Some(3)] {
        drop(parse::supervisorctl::parse_status(out, err, exit));
        drop(parse::supervisorctl::parse_action(out, err, exit));
    }
    drop(parse::supervisorctl::parse_tail("contrail-api:0", out, err));
    drop(parse::supervisorctl::parse_reread(out));
    let _pid = parse::supervisorctl::parse_pid(out);
    let _uptime: Option<Duration> = parse::supervisorctl::parse_uptime(out);
}

/// Output of an init wrapper: standard output, a NUL, standard error.
pub fn init_status(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (out, err) = text.split_once('\0').unwrap_or((&text, ""));
    for exit in [None, Some(0), Some(3)] {
        drop(parse::init::parse_status("supervisor-config", out, err, exit));
        drop(parse::init::parse_action(out, err, exit));
    }
}

/// An XML-RPC answer.
pub fn xmlrpc(bytes: &[u8]) {
    drop(ctl_xmlrpc::decode(bytes));
}

/// Text of a node, as a terminal gets it: without control characters, and without characters that reorder others.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let shown = ctl_sink::text::visible(&text);
    let harmless = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(shown.chars().all(harmless), "{shown:?}");
    let lines = ctl_sink::text::visible_lines(&text);
    assert!(lines.chars().all(|c| c == '\n' || harmless(c)), "{lines:?}");
}
