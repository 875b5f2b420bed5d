//! A node whose answers are the bytes of a fuzzer, and the targets that talk to it.
//!
//! Here lives `ScriptedNode`, a [`Session`]. Invariants: each stream and each command gets the next piece of the bytes, pieces are
//! parted by [`PART`]; time is paused, so that a limit is reached at once where everything waits. Start at [`node_answers`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ctl_event::{LogStream, Via};
use ctl_inventory::{ControlAddress, Supervisor};
use ctl_remote::Sudo;

use ctl_supervisor::backend::search::{Diagnosis, reach};
use ctl_supervisor::instance_search::{self as instances, InstanceSearch};
use ctl_supervisor::node_scan::{self as scans, NodeScan, ScanPaths};
use ctl_supervisor::process::ProcessVerb;
use ctl_supervisor::shell::NodeShell;
use ctl_transport::{ExecOutput, OutputPiece, RemoteCommand, Session, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::introspect;

/// Parts the answers.
const PART: &[u8] = b"\n====\n";

/// A connected node.
struct ScriptedNode {
    answers: Mutex<VecDeque<Vec<u8>>>,
}

impl ScriptedNode {
    fn new(bytes: &[u8]) -> Self {
        let mut answers = VecDeque::new();
        let mut rest = bytes;
        while let Some(at) = rest.windows(PART.len()).position(|part| part == PART) {
            answers.push_back(rest[..at].to_vec());
            rest = &rest[at + PART.len()..];
        }
        answers.push_back(rest.to_vec());
        Self { answers: Mutex::new(answers) }
    }

    fn next(&self, what: &str) -> Result<Vec<u8>, TransportError> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.pop_front().ok_or_else(|| TransportError::Lost { reason: format!("no answer is left for {what}") })
    }

    /// A stream on which the next answer comes, and which then ends.
    fn stream(&self, what: &str) -> Result<DuplexStream, TransportError> {
        let answer = self.next(what)?;
        if answer == b"refused" {
            return Err(TransportError::ChannelRefused { what: what.to_owned(), reason: "ConnectFailed".to_owned() });
        }
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            // A server says nothing before it is asked.
            let asked = far.read(&mut [0; 4096]).await.is_ok_and(|bytes| bytes > 0);
            if asked && far.write_all(&answer).await.is_ok() && far.shutdown().await.is_ok() {
                // What the reader still sends needs a place.
                drop(tokio::io::copy(&mut far, &mut tokio::io::sink()).await);
            }
        });
        Ok(near)
    }
}

impl Session for ScriptedNode {
    type Stream = DuplexStream;
    type Command = ScriptedCommand;

    async fn start(&self, command: &str) -> Result<ScriptedCommand, TransportError> {
        Ok(ScriptedCommand { pieces: VecDeque::from([marked(command, &self.next(command)?)]) })
    }

    async fn exec(
        &self,
        command: &str,
        limit: usize,
        _is_whole: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<ExecOutput, TransportError> {
        let mut answer = marked(command, &self.next(command)?);
        let truncated = answer.len() > limit;
        answer.truncate(limit);
        let stdout = String::from_utf8_lossy(&answer).into_owned();
        Ok(ExecOutput { stdout, stderr: String::new(), exit: Some(0), truncated })
    }

    async fn open_unix(&self, path: &str) -> Result<DuplexStream, TransportError> {
        self.stream(path)
    }

    async fn open_tcp(&self, host: &str, _port: u16) -> Result<DuplexStream, TransportError> {
        self.stream(host)
    }

    fn is_closed(&self) -> bool {
        false
    }

    async fn falls_silent(&self) {
        std::future::pending().await
    }
}

/// The output of a command, between the marks that the command would print if the answer begins with `+`.
fn marked(command: &str, answer: &[u8]) -> Vec<u8> {
    let rest = command.split("ctl-ask ").nth(1).or_else(|| command.split("ctl-act ").nth(1));
    let mark = rest.and_then(|rest| rest.split(' ').next());
    let (Some(mark), [b'+', answer @ ..]) = (mark, answer) else { return answer.to_vec() };
    [b"\n", mark.as_bytes(), b"\n", answer, b"\n", mark.as_bytes(), b" 0\n"].concat()
}

/// A command that prints one answer.
struct ScriptedCommand {
    pieces: VecDeque<Vec<u8>>,
}

impl RemoteCommand for ScriptedCommand {
    async fn write(&mut self, _bytes: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }

    async fn next(&mut self) -> Option<OutputPiece> {
        self.pieces.pop_front().map(OutputPiece::Stdout)
    }

    async fn close(&mut self) {}
}

/// Runs to its end, with paused time.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("cannot build a runtime").block_on(work)
}

fn shell(bytes: &[u8]) -> NodeShell<ScriptedNode> {
    NodeShell::new(Arc::new(ScriptedNode::new(bytes)), Sudo::No)
}

/// Everything a supervisord, `supervisorctl` and init answer when a run asks. The first byte chooses the backend.
pub fn node_answers(bytes: &[u8]) {
    let [choice, bytes @ ..] = bytes else { return };
    let wanted = match choice {
        b'a' => None,
        other => Some(Via::ALL[usize::from(*other) % Via::ALL.len()]),
    };
    let supervisor = Supervisor {
        name: "supervisor-config".to_owned(),
        addresses: vec![
            ControlAddress::Unix("/var/run/supervisord_config.sock".to_owned()),
            ControlAddress::Http { host: "localhost".to_owned(), port: 9004 },
        ],
        services: vec!["contrail-api".to_owned()],
        cascades: Vec::new(),
        optional: false,
        config_file: Some("/etc/contrail/supervisord_config.conf".to_owned()),
        username: None,
        password_file: None,
    };
    let shell = shell(bytes);
    run(async {
        let Ok(reached) = reach(&shell, &supervisor, wanted, None, Diagnosis::Look).await else { return };
        let Ok(listed) = reached.client.list().await else { return };
        drop(reached.client.read("contrail-api", "contrail-api:0", true).await);
        drop(reached.client.reload_config().await);
        drop(reached.client.up_at_once().await);
        drop(reached.client.own_log(4096).await);
        let Some(process) = listed.first() else { return };
        drop(reached.client.exit_status(process).await);
        drop(reached.client.last_lines(process, LogStream::Stdout, 10).await);
        drop(reached.client.act(ProcessVerb::Restart, process).await);
    });
}

/// The answer to `http://localhost:PORT/Snh_SandeshUVECacheReq?x=NodeStatus`.
pub fn node_status(bytes: &[u8]) {
    let node = ScriptedNode::new(bytes);
    let asked = introspect::question(&node, "contrail-schema", 8087, Duration::from_secs(2), async { false });
    drop(run(asked));
}

/// The output of the scan of a node.
pub fn node_scan(bytes: &[u8]) {
    drop(NodeScan::of_output(&String::from_utf8_lossy(bytes)));
    let shell = shell(bytes);
    run(async {
        drop(scans::scan(&shell, &ScanPaths::default()).await);
        drop(scans::open_ports(&shell).await);
    });
}

/// The output of the search for supervisords.
pub fn instance_search(bytes: &[u8]) {
    if let Some(found) = InstanceSearch::of_output(&String::from_utf8_lossy(bytes)) {
        drop(found.candidates());
    }
    let shell = shell(bytes);
    drop(run(instances::search(&shell, &BTreeSet::new(), &BTreeSet::new())));
}
