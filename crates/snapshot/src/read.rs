//! Parses a file or its text into a [`Snapshot`].
//!
//! Invariants: at most [`MAX_BYTES`] are read, whatever length the file reports; fields and values that a newer ctl
//! added are ignored; any other deviation from the format of `ctl status` is an error. The conversion names every field
//! explicitly, so that a field added to a result does not compile until it is read here.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::model::Snapshot;
use ctl_event::{
    Failure, FailureEvidence, FailureKind, FunctionalStatus, LogStream, NodeFacts, NodeFinding, Outcome, ProcessState,
    RunScope, Stage, SupervisorFacts, TargetResult,
};
use ctl_local::file::{self, ReadBounds};

/// Maximum file size in bytes: a status of 10,000 nodes with 20 services each has about 160 MB.
pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The supported format.
const SCHEMA: &str = "ctl/1";

/// The command that writes snapshots.
const COMMAND: &str = "status";

/// Why a file is not a snapshot. The text follows the file's name and a colon.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file could not be read.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The path is a directory.
    #[error("it is a directory")]
    Folder,
    /// The file exceeds the size limit.
    #[error("it is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// The file is empty.
    #[error("it is empty")]
    Empty,
    /// The content is not JSON, or not an object.
    #[error("it is not the JSON of a snapshot: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The JSON is truncated.
    #[error("it is truncated: {0}")]
    Truncated(#[source] serde_json::Error),
    /// The JSON has no schema.
    #[error("it does not have the schema {SCHEMA}")]
    NoSchema,
    /// The JSON has a different schema.
    #[error("its schema is {0}; this ctl reads {SCHEMA}")]
    OtherSchema(String),
    /// Another command wrote the document.
    #[error("it was written by `ctl {0}`, not by `ctl {COMMAND}`")]
    OtherCommand(String),
    /// The document names no command, such as a list of runs.
    #[error("it was not written by `ctl {COMMAND}`")]
    NoCommand,
    /// A field is invalid.
    #[error("it is not in the form that `ctl {COMMAND}` writes: {0}")]
    Field(#[source] serde_json::Error),
}

impl SnapshotError {
    /// Advice for the user.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Folder => "write one with `ctl status --save FILE`",
            Self::TooLarge => "save fewer nodes: `ctl status -w PATTERN --save FILE`",
            Self::Empty | Self::Truncated(_) => "it is incomplete: take it again with `ctl status --save FILE`",
            Self::NotJson(_) | Self::NoSchema | Self::OtherCommand(_) | Self::NoCommand | Self::Field(_) => {
                "a snapshot is what `ctl status --save FILE` or `ctl status -o json` writes"
            }
            Self::OtherSchema(_) => "read it with the ctl that wrote it, or take it again with this one",
        }
    }
}

/// Reads a snapshot from a file.
///
/// # Errors
/// [`SnapshotError`] if it cannot be read, is larger than 256 MiB, or is not a snapshot.
pub fn load(path: &Path) -> Result<Snapshot, SnapshotError> {
    let bounds = ReadBounds { max_bytes: MAX_BYTES, patience: file::PIPE_PATIENCE, only_regular: false };
    let content = file::read(path, bounds).map_err(|error| {
        if error.kind() == ErrorKind::IsADirectory {
            SnapshotError::Folder
        } else if error.kind() == ErrorKind::FileTooLarge {
            SnapshotError::TooLarge
        } else {
            SnapshotError::Io(error)
        }
    })?;
    read(&content.bytes)
}

/// Parses a snapshot from its text.
///
/// # Errors
/// [`SnapshotError`] if it is not a snapshot.
pub fn read(text: &[u8]) -> Result<Snapshot, SnapshotError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(SnapshotError::Empty);
    }
    let head: DocumentHead = serde_json::from_slice(text).map_err(|error| {
        if error.is_eof() { SnapshotError::Truncated(error) } else { SnapshotError::NotJson(error) }
    })?;
    match head.schema.as_str() {
        Some(SCHEMA) => {}
        Some(other) => return Err(SnapshotError::OtherSchema(clip(other))),
        None => return Err(SnapshotError::NoSchema),
    }
    match head.command.as_str() {
        Some(COMMAND) => {}
        Some(other) => return Err(SnapshotError::OtherCommand(clip(other))),
        None => return Err(SnapshotError::NoCommand),
    }
    let document: SnapshotDocument = serde_json::from_slice(text).map_err(SnapshotError::Field)?;
    Ok(document.into())
}

/// Shortens a name for a message.
fn clip(word: &str) -> String {
    word.chars().take(40).collect()
}

/// Read first: the command that wrote the document.
#[derive(Deserialize)]
struct DocumentHead {
    #[serde(default)]
    schema: Value,
    #[serde(default)]
    command: Value,
}

#[derive(Deserialize)]
struct SnapshotDocument {
    run: Option<String>,
    started: Option<jiff::Timestamp>,
    #[serde(default)]
    elapsed_ms: u64,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    selection: RunScope,
    results: Vec<ResultRow>,
    nodes: Option<Vec<NodeRow>>,
}

#[derive(Deserialize)]
struct ResultRow {
    node: String,
    address: Option<String>,
    role: Option<String>,
    supervisor: Option<String>,
    service: Option<String>,
    outcome: String,
    state: Option<String>,
    pid: Option<u32>,
    uptime_s: Option<u64>,
    functional: Option<FunctionalStatus>,
    functional_reason: Option<String>,
    version: Option<String>,
    #[serde(default)]
    message: String,
    failure: Option<FailureRow>,
    evidence: Option<EvidenceRow>,
    via: Option<String>,
    batch: Option<u32>,
    duration_ms: Option<u64>,
}

#[derive(Deserialize)]
struct FailureRow {
    stage: String,
    kind: String,
    message: String,
    hint: Option<String>,
}

#[derive(Deserialize)]
struct EvidenceRow {
    exit_status: Option<i32>,
    ended: Option<String>,
    stream: String,
    lines: Vec<String>,
}

#[derive(Deserialize)]
struct NodeRow {
    node: String,
    #[serde(default)]
    supervisors: Vec<SupervisorRow>,
    #[serde(default)]
    packages: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    findings: Vec<FindingRow>,
}

#[derive(Deserialize)]
struct SupervisorRow {
    role: String,
    name: String,
    address: Option<String>,
    via: String,
    version: Option<String>,
    pid: Option<u32>,
}

#[derive(Deserialize)]
struct FindingRow {
    kind: String,
    role: Option<String>,
    message: String,
    #[serde(default)]
    details: Vec<String>,
    count: Option<u64>,
}

/// The value of a name; none for a name that this ctl does not know.
fn known<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

impl From<SnapshotDocument> for Snapshot {
    fn from(document: SnapshotDocument) -> Self {
        let SnapshotDocument { run, started, elapsed_ms, services, selection, results, nodes } = document;
        Self {
            run,
            started,
            elapsed: Duration::from_millis(elapsed_ms),
            services,
            selection,
            results: results.into_iter().map(TargetResult::from).collect(),
            nodes: nodes.unwrap_or_default().into_iter().map(NodeFacts::from).collect(),
        }
    }
}

impl From<ResultRow> for TargetResult {
    fn from(row: ResultRow) -> Self {
        Self {
            node: row.node,
            address: row.address,
            role: row.role,
            supervisor: row.supervisor,
            service: row.service,
            // The outcome comes from a newer ctl; its meaning is unknown.
            outcome: known(&row.outcome).unwrap_or(Outcome::Unknown),
            state: row.state.map(|word| known(&word).unwrap_or(ProcessState::Unknown)),
            pid: row.pid,
            uptime_s: row.uptime_s,
            functional: row.functional,
            functional_reason: row.functional_reason,
            version: row.version,
            message: row.message,
            failure: row.failure.map(Failure::from),
            evidence: row.evidence.and_then(evidence),
            via: row.via.and_then(|word| known(&word)),
            batch: row.batch,
            duration_ms: row.duration_ms,
            item: None,
            command: None,
        }
    }
}

impl From<FailureRow> for Failure {
    fn from(row: FailureRow) -> Self {
        let kind = known::<FailureKind>(&row.kind);
        // Keep the unknown kind in the message.
        let message = if kind.is_some() { row.message } else { format!("{}: {}", row.kind, row.message) };
        Self {
            stage: known(&row.stage).unwrap_or(Stage::Inspect),
            kind: kind.unwrap_or(FailureKind::Protocol),
            message,
            hint: row.hint,
        }
    }
}

fn evidence(row: EvidenceRow) -> Option<FailureEvidence> {
    let stream = known::<LogStream>(&row.stream)?;
    Some(FailureEvidence { exit_status: row.exit_status, ended: row.ended, stream, lines: row.lines })
}

impl From<NodeRow> for NodeFacts {
    /// Drops findings of unknown kinds: this ctl could not find any to compare them with.
    fn from(row: NodeRow) -> Self {
        let supervisor = |row: SupervisorRow| {
            let via = known(&row.via)?;
            let SupervisorRow { role, name, address, via: _, version, pid } = row;
            Some(SupervisorFacts { role, name, address, via, version, pid })
        };
        let finding = |row: FindingRow| {
            let kind = known(&row.kind)?;
            Some(NodeFinding { kind, role: row.role, message: row.message, details: row.details, count: row.count })
        };
        Self {
            node: row.node,
            supervisors: row.supervisors.into_iter().filter_map(supervisor).collect(),
            packages: row.packages,
            findings: row.findings.into_iter().filter_map(finding).collect(),
        }
    }
}
