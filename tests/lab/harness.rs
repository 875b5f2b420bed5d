//! A lab, the real binary run against it, and its results.
//!
//! Start at [`Cluster`]. Invariants: `ctl` runs in its own environment (an empty home, no agent), with standard input
//! closed; a wait is for a condition and ends at [`PATIENCE`]; no process outlives its test.

#[path = "../support/json_schema.rs"]
mod json_schema;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use contrail_lab::{
    ClusterSpec, Counters, GuardSnapshot, Lab, Node, NodeSpec, ProcessSnapshot, Release, Role, State, Timing,
};
use serde_json::Value;
use tempfile::TempDir;

use self::json_schema::assert_valid;

/// The limit after which an operation counts as hanging. No test should come near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) const ANALYTICS: &str = "supervisor-analytics";
pub(crate) const CONFIG: &str = "supervisor-config";
pub(crate) const COLLECTOR: &str = "contrail-collector";

/// A fiftieth of real time: a collector takes a tenth of a second to start.
pub(crate) const FAST: Timing = Timing {
    scale: 0.02,
    stop: Duration::from_millis(20),
    cascade: Duration::from_millis(200),
    gap: Duration::from_millis(100),
};

/// `count` analytics nodes of release 3.2, `n01` and up, at the speed of these tests.
pub(crate) fn uniform(count: usize) -> ClusterSpec {
    ClusterSpec::uniform(count, Release::R3_2).timing(FAST)
}

/// One node, `n`, at the speed of these tests.
pub(crate) fn single(node: NodeSpec) -> ClusterSpec {
    ClusterSpec::new(vec![node]).timing(FAST)
}

/// A node `n` of that release with these roles.
pub(crate) fn node(release: Release, roles: impl IntoIterator<Item = Role>) -> NodeSpec {
    NodeSpec::new("n", release).roles(roles)
}

/// A running lab, and a directory for the files of a test.
pub(crate) struct Cluster {
    // Fields drop in this order: the lab must end before its runtime.
    lab: Lab,
    _runtime: tokio::runtime::Runtime,
    home: TempDir,
}

impl Cluster {
    pub(crate) fn start(spec: ClusterSpec) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("cannot create the runtime");
        let lab = runtime.block_on(Lab::start(spec)).expect("cannot start the lab");
        Self { lab, _runtime: runtime, home: TempDir::new().expect("cannot create the directory") }
    }

    #[track_caller]
    pub(crate) fn node(&self, name: &str) -> &Node {
        self.lab.node(name).expect("the lab has no such node")
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        self.lab.nodes()
    }

    /// The collector of a node.
    #[track_caller]
    pub(crate) fn collector(&self, name: &str) -> ProcessSnapshot {
        self.process(name, ANALYTICS, COLLECTOR)
    }

    /// A process, which must exist.
    #[track_caller]
    pub(crate) fn process(&self, node: &str, instance: &str, name: &str) -> ProcessSnapshot {
        self.node(node).process(instance, name).unwrap_or_else(|| panic!("{node} has no {name} in {instance}"))
    }

    pub(crate) fn counters(&self, node: &str) -> Counters {
        self.node(node).counters()
    }

    /// The number of TCP connections that all nodes together have accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.nodes().iter().map(|node| node.counters().connections).sum()
    }

    /// The path of a file for this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The text of the known_hosts file.
    pub(crate) fn known_hosts(&self) -> String {
        std::fs::read_to_string(self.lab.known_hosts_path()).expect("cannot read the known_hosts file")
    }

    /// The known_hosts file with the keys of the lab.
    pub(crate) fn known_hosts_path(&self) -> PathBuf {
        self.lab.known_hosts_path()
    }

    /// The lab's inventory.
    pub(crate) fn inventory_path(&self) -> PathBuf {
        self.lab.inventory_path()
    }

    /// The same as text.
    pub(crate) fn inventory(&self) -> String {
        std::fs::read_to_string(self.lab.inventory_path()).expect("cannot read the inventory of the lab")
    }

    /// Writes another inventory and returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("cannot write the file");
        path
    }

    /// `ctl` with these space-separated arguments and nothing else.
    pub(crate) fn bare(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
        command.args(words.split_whitespace()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin").env("RUST_BACKTRACE", "1");
        command.current_dir(self.home.path());
        command
    }

    /// `ctl` with these arguments and the options that point it to the lab.
    pub(crate) fn command(&self, words: &str) -> Command {
        self.command_with(words, &self.lab.inventory_path())
    }

    /// The same with another inventory.
    pub(crate) fn command_with(&self, words: &str, inventory: &Path) -> Command {
        let mut command = self.bare(words);
        command.arg("-i").arg(inventory).arg("--known-hosts").arg(self.lab.known_hosts_path());
        command.args(["--ssh-config", "none"]);
        command
    }

    /// Starts `ctl` against the lab.
    pub(crate) fn begin(&self, words: &str) -> Running {
        Running::start(self.command(words))
    }

    /// Runs `ctl` against the lab and waits for its end.
    pub(crate) fn ctl(&self, words: &str) -> Finished {
        self.begin(words).finish()
    }

    /// The output formats of a command, as its error about an unknown one lists them.
    pub(crate) fn formats(&self, words: &str) -> Vec<String> {
        let run = Running::start(self.bare(&format!("{words} -o unknown"))).finish().expect(2);
        let list = run.stderr.split_once("[possible values: ").and_then(|(_, rest)| rest.split_once(']'));
        let (list, _) = list.unwrap_or_else(|| panic!("no list of formats\n{run}"));
        let formats: Vec<String> = list.split(", ").map(str::to_owned).collect();
        assert!(["table", "json"].iter().all(|name| formats.iter().any(|format| format == name)), "{formats:?}");
        formats
    }

    /// `ctl exec` with these options, and a command of these words.
    pub(crate) fn exec(&self, options: &str, words: &[&str]) -> Running {
        let mut command = self.command(&format!("exec {options}"));
        command.arg("--").args(words);
        Running::start(command)
    }

    /// Waits until no lock is held on any node, and nothing is armed or running there.
    #[track_caller]
    pub(crate) fn at_rest(&self) {
        for node in self.nodes() {
            let what = format!("{} to be at rest", node.name());
            eventually(&what, || (is_free(&node.guard()) && node.commands().running == 0).then_some(()));
        }
    }

    /// How often a program of each node was started and stopped.
    pub(crate) fn counts(&self, instance: &str, name: &str) -> Vec<(u32, u32)> {
        let process = |node: &Node| self.process(node.name(), instance, name);
        self.nodes().iter().map(process).map(|process| (process.starts, process.stops)).collect()
    }

    /// Waits until a process has that state.
    #[track_caller]
    pub(crate) fn wait_for(&self, node: &str, instance: &str, name: &str, state: State) {
        let what = format!("{name} of {node} to be {state:?}");
        eventually(&what, || (self.process(node, instance, name).state == state).then_some(()));
    }
}

/// Waits until `look` returns a value.
#[track_caller]
pub(crate) fn eventually<R>(what: &str, mut look: impl FnMut() -> Option<R>) -> R {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A running `ctl`. It is killed when dropped.
pub(crate) struct Running {
    line: String,
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// The bytes read from a pipe so far.
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn end(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("cannot read the pipe");
        }
        self.so_far()
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let line = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let stdout = Stream::read(child.stdout.take().expect("no pipe"));
        let stderr = Stream::read(child.stderr.take().expect("no pipe"));
        Self { line, child, stdout, stderr }
    }

    /// Sends a signal by name, such as `INT`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("cannot run the shell");
        assert!(status.success(), "cannot send {name} to {}", self.line);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("cannot query the child").is_some()
    }

    /// Waits until stderr contains this text.
    #[track_caller]
    pub(crate) fn until_said(&self, words: &str) {
        eventually(&format!("`{words}` of {}", self.line), || self.stderr.so_far().contains(words).then_some(()));
    }

    /// Waits until stdout contains this text.
    #[track_caller]
    pub(crate) fn until_printed(&self, words: &str) {
        eventually(&format!("`{words}` of {}", self.line), || self.stdout.so_far().contains(words).then_some(()));
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    /// The same with a longer limit, for a run with much to do.
    #[track_caller]
    pub(crate) fn finish_within(mut self, patience: Duration) -> Finished {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("cannot wait for the child") {
                break status;
            }
            if began.elapsed() > patience {
                self.child.kill().expect("cannot kill the child");
                self.child.wait().expect("cannot wait for the child");
                let said = format!("stdout: {}\nstderr: {}", self.stdout.so_far(), self.stderr.so_far());
                panic!("{} did not end within {patience:?}\n{said}", self.line);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let line = std::mem::take(&mut self.line);
        let empty = || Stream { text: Arc::default(), reader: None };
        let stdout = std::mem::replace(&mut self.stdout, empty()).end();
        let stderr = std::mem::replace(&mut self.stderr, empty()).end();
        Finished { line, status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // This fails only if the process has ended meanwhile, which is fine.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A `ctl` that has ended.
pub(crate) struct Finished {
    line: String,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, status, stdout, stderr } = self;
        write!(f, "$ {line}\n--- {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

impl Finished {
    /// Asserts the exit code and returns itself.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit code\n{self}");
        self
    }

    /// The only JSON document on stdout, checked against the schema: see [`parsed`].
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        parsed(&self.stdout)
    }

    /// The document of a run, checked for consistency: see [`check`].
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let document = self.document();
        assert_eq!(document["exit_code"].as_i64(), self.status.code().map(i64::from), "{self}");
        check(&document["results"], &document["summary"], self);
        document
    }

    /// The lines of `-o jsonl`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(parsed).collect()
    }

    /// The nodes of each batch, from `-o jsonl`.
    #[track_caller]
    pub(crate) fn batches(&self) -> Vec<String> {
        let started = self.events().into_iter().filter(|event| event["event"] == "batch_started");
        started.map(|batch| list(&batch["nodes"]).iter().map(word).collect::<Vec<_>>().join(" ")).collect()
    }

    /// The results of the JSON document.
    #[track_caller]
    pub(crate) fn results(&self) -> Vec<Value> {
        list(&self.json()["results"]).to_vec()
    }

    /// The only result of `node`.
    #[track_caller]
    pub(crate) fn result(&self, node: &str) -> Value {
        self.only(node, |result| result["node"] == node)
    }

    /// The result of one service of `node`, from the supervisord that has this service.
    #[track_caller]
    pub(crate) fn result_of(&self, node: &str, service: &str) -> Value {
        self.only(node, |result| {
            result["node"] == node && result["service"] == service && result["outcome"] != "not_configured"
        })
    }

    #[track_caller]
    fn only(&self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let mut found: Vec<Value> = self.results().into_iter().filter(is_meant).collect();
        assert_eq!(found.len(), 1, "wrong number of results of {what}\n{self}");
        found.remove(0)
    }

    /// The only result of `node` that is not just "this supervisord does not list the service".
    #[track_caller]
    pub(crate) fn configured(&self, node: &str) -> Value {
        self.only(node, |result| result["node"] == node && result["outcome"] != "not_configured")
    }

    /// Each result as `node service outcome`, with the failure kind if there is one; sorted. Results that only say that
    /// a supervisord does not list the service are left out.
    #[track_caller]
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .results()
            .iter()
            .filter(|result| result["outcome"] != "not_configured")
            .map(|result| format!("{} {} {}", word(&result["node"]), word(&result["service"]), ended(result)))
            .collect();
        lines.sort();
        lines
    }
}

/// Parses a document or a line, and checks it against docs/schema/ctl-1.json.
#[track_caller]
pub(crate) fn parsed(json: &str) -> Value {
    let value = serde_json::from_str(json).unwrap_or_else(|error| panic!("stdout is not valid JSON: {error}\n{json}"));
    assert_valid(&value);
    value
}

/// The outcome of a result, with the failure kind if there is one.
pub(crate) fn ended(result: &Value) -> String {
    match result["failure"]["kind"].as_str() {
        Some(kind) => format!("{} {kind}", word(&result["outcome"])),
        None => word(&result["outcome"]).to_owned(),
    }
}

/// Whether a command sent to a node is the one that holds its lock and guard.
pub(crate) fn is_guard(command: &str) -> bool {
    command.starts_with("exec /bin/sh -c ") && [" ctl-guard ", " ctl-staged "].iter().any(|name| command.contains(name))
}

/// Whether a node is unlocked, and nothing is armed there.
pub(crate) fn is_free(guard: &GuardSnapshot) -> bool {
    guard.holder.is_none() && guard.guards == 0 && guard.armed.is_empty()
}

/// A text, or `-` for null.
pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[track_caller]
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected a list: {value}"))
}

const FIELDS: [&str; 15] = [
    "node",
    "address",
    "role",
    "supervisor",
    "service",
    "outcome",
    "state",
    "pid",
    "uptime_s",
    "functional",
    "message",
    "failure",
    "via",
    "batch",
    "duration_ms",
];

const OUTCOMES: [&str; 9] =
    ["ok", "changed", "failed", "unreachable", "timed_out", "not_configured", "skipped", "not_started", "unknown"];

/// Checks section 4 of the contract, which applies to every document: each field is present, bad outcomes have a
/// failure with a message and others have none, and the summary counts match the results.
#[track_caller]
pub(crate) fn check(results: &Value, summary: &Value, run: &dyn fmt::Display) {
    let results = list(results);
    for result in results {
        let fields: Vec<&str> = result.as_object().expect("expected a result").keys().map(String::as_str).collect();
        assert!(FIELDS.iter().all(|field| fields.contains(field)), "wrong fields in {result:#}\n{run}");
        let outcome = word(&result["outcome"]);
        assert!(OUTCOMES.contains(&outcome), "{result:#}\n{run}");
        let good = matches!(outcome, "ok" | "changed" | "not_configured" | "skipped");
        assert_eq!(result["failure"].is_null(), good, "{result:#}\n{run}");
        if !good {
            let failure = &result["failure"];
            assert!(failure["message"].as_str().is_some_and(|message| !message.is_empty()), "{result:#}\n{run}");
            assert!(failure["stage"].is_string() && failure.get("hint").is_some(), "{result:#}\n{run}");
        }
    }
    assert_eq!(summary["results"], results.len(), "{run}");
    let mut nodes: Vec<&str> = results.iter().map(|result| word(&result["node"])).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(summary["nodes"], nodes.len(), "{run}");
    for outcome in OUTCOMES {
        let count = results.iter().filter(|result| result["outcome"] == outcome).count();
        assert_eq!(summary[outcome], count, "{outcome}\n{run}");
    }
    let by_outcome = summary["nodes_by_outcome"].as_object().expect("expected the nodes by outcome");
    assert_eq!(by_outcome.values().filter_map(Value::as_u64).sum::<u64>(), nodes.len() as u64, "{run}");
}
