//! The state that a Contrail service reports of its own work: its NodeStatus, read from its introspect port over the
//! session.
//!
//! Here live [`FunctionalState`], [`ask`], [`question`] and [`port_of`]. The module uses `transport`, hyper as
//! `rpc_caller.rs` does, and quick-xml. Invariants: one query is one channel, gone when the answer is there or
//! the time is over; an answer is at most [`BODY_LIMIT`] bytes and [`DEPTH_LIMIT`] elements deep; entities that a
//! document defines are not expanded; an answer that is not understood never counts as healthy. A RUNNING process may
//! well be `initializing`: supervisord sees processes, not their work. Start reading at [`ask`].
//!
//! The meanings are those of Contrail's own `contrail-status` (`contrail-controller` R1.10 to R3.2
//! `src/config/utils/contrail-status.py`); the elements come from `src/base/sandesh/process_info.sandesh` and
//! `nodeinfo.sandesh` there.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};
use tokio::task::JoinSet;
use tracing::debug;

use super::parse::text::clip;
use ctl_event::FunctionalStatus;
use ctl_transport::{Session, TransportError};

/// Longest answer read.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Longest head of an answer read.
const HEAD_LIMIT: usize = 64 * 1024;

/// Deepest nesting read; a NodeStatus of Release 3.2 has 13 levels.
pub const DEPTH_LIMIT: usize = 64;

/// The page that every introspect server has. `x` picks one kind of its records.
const PAGE: &str = "/Snh_SandeshUVECacheReq?x=NodeStatus";

/// Where the servers listen, as `contrail-status` asks them.
const HOST_NAME: &str = "localhost";

/// Services of which one works and the others stand by: who has lost the election opens no introspect port.
/// (`BackupImplementedServices` in `contrail-controller` R2.20 to R3.2 `src/sandesh/common/vns.sandesh`.)
const STAND_BY: [&str; 3] = ["contrail-device-manager", "contrail-schema", "contrail-svc-monitor"];

/// How a service does its work, by its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionalState {
    /// It does its work.
    Active,
    /// It runs and does not do its work, or cannot say whether it does.
    Initializing {
        /// The missing part in its own words, or why it did not say: one line of at most 512 bytes.
        reason: Option<String>,
    },
    /// It stands by, and another node's does the work.
    Backup,
    /// It did not answer in time.
    Timeout,
}

impl FunctionalState {
    /// The state without its reason, as a result holds it. Its name is that of `contrail-status`.
    #[must_use]
    pub const fn status(&self) -> FunctionalStatus {
        match self {
            Self::Active => FunctionalStatus::Active,
            Self::Initializing { .. } => FunctionalStatus::Initializing,
            Self::Backup => FunctionalStatus::Backup,
            Self::Timeout => FunctionalStatus::Timeout,
        }
    }

    /// Why it is not active, if it says so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Initializing { reason } => reason.as_deref(),
            Self::Active | Self::Backup | Self::Timeout => None,
        }
    }

    /// Whether nothing is wrong: it works, or stands by as it should.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.status().is_healthy()
    }

    fn initializing(reason: &str) -> Self {
        let words = reason.split(|char: char| char.is_whitespace() || char.is_control());
        let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        Self::Initializing { reason: (!line.is_empty()).then(|| clip(&line)) }
    }
}

/// As `contrail-status` prints it: `initializing (Zookeeper: connection down)`.
impl fmt::Display for FunctionalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status().as_str())?;
        match self {
            Self::Initializing { reason: Some(reason) } => write!(f, " ({reason})"),
            Self::Initializing { reason: None } | Self::Active | Self::Backup | Self::Timeout => Ok(()),
        }
    }
}

/// Why a query had no good answer. Its text continues a sentence that starts with `port N`.
#[derive(Debug, thiserror::Error)]
enum IntrospectProblem {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("answers with HTTP status {0}")]
    Status(StatusCode),
    #[error("does not speak HTTP")]
    NotHttp,
    #[error("closed the connection before the answer was complete")]
    BrokeOff,
    #[error("answers with more than {BODY_LIMIT} bytes")]
    TooLong,
    #[error("answers with invalid or incomplete XML")]
    NotXml,
    #[error("answers with elements nested too deeply")]
    TooDeep,
    #[error("answers without a NodeStatus")]
    NoNodeStatus,
    #[error("answers with a NodeStatus that has no process_status")]
    NoProcessStatus,
    #[error("answers with an empty process_status")]
    EmptyProcessStatus,
    #[error("answers with a process_status that has no state")]
    NoState,
    #[error("answers with the state {0}")]
    OtherState(String),
}

/// Asks a service how its work goes: one query, answered within `patience`. The caller may ask again after
/// [`FunctionalState::Timeout`] or [`FunctionalState::Initializing`]; nothing is retried here.
///
/// `service` is the group's name, such as `contrail-schema`: for those that stand by, a refused connection means
/// [`FunctionalState::Backup`]. A forwarding that the node says to forbid means that only if `is_closed`, whether the node
/// itself finds the port closed; it is polled in that case alone.
///
/// # Errors
/// The session's own error when the connection to the node itself is gone: [`TransportError::Lost`]. Nothing that the
/// service does is an error.
pub async fn ask<S: Session>(
    session: &S,
    service: &str,
    port: u16,
    patience: Duration,
    is_closed: impl Future<Output = bool> + Send,
) -> Result<FunctionalState, TransportError> {
    match question(session, service, port, patience, is_closed).await {
        Err(refused @ TransportError::ChannelRefused { .. }) => Ok(FunctionalState::initializing(&refused.to_string())),
        answer => answer.map(|answer| answer.said),
    }
}

/// The result of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectAnswer {
    /// The state of the service.
    pub said: FunctionalState,
    /// Whose words they are.
    pub source: AnswerSource,
}

/// Whose words an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerSource {
    /// The service's own.
    Itself,
    /// Ours: nobody listens there, or nobody can be heard there.
    Refusal,
    /// Ours: no answer came, or none that can be understood. The next may.
    Noise,
}

/// The same, for callers that can do without an answer: a forbidden forwarding says nothing about the service.
///
/// # Errors
/// As [`ask`]; [`TransportError::ChannelRefused`] if the node says to forbid the forwarding.
pub async fn question<S: Session>(
    session: &S,
    service: &str,
    port: u16,
    patience: Duration,
    is_closed: impl Future<Output = bool> + Send,
) -> Result<IntrospectAnswer, TransportError> {
    debug!(service, port, "asking for the NodeStatus");
    let answer = tokio::time::timeout(patience, exchange(session, port)).await;
    let problem = match answer.map(|answer| answer.and_then(|body| status_in(&body))) {
        Ok(Ok(said)) => return Ok(IntrospectAnswer { said, source: AnswerSource::Itself }),
        Ok(Err(problem)) => Some(problem),
        Err(_) => None,
    };
    let noise = |said| Ok(IntrospectAnswer { said, source: AnswerSource::Noise });
    match problem {
        // OpenSSH 7.4 and older report a closed port as they report a forbidden forwarding.
        Some(IntrospectProblem::Transport(error))
            if error.nobody_listens() || (error.is_prohibited() && is_closed.await) =>
        {
            // Only the instance that won the election opens its port, so a refusal is normal for these.
            let stands_by = STAND_BY.contains(&service);
            let nobody = || FunctionalState::initializing(&format!("nothing is listening on port {port}"));
            Ok(IntrospectAnswer {
                said: if stands_by { FunctionalState::Backup } else { nobody() },
                source: AnswerSource::Refusal,
            })
        }
        Some(IntrospectProblem::Transport(error)) => Err(error),
        // A stream that ends or stays silent may be the connection's end, which nobody but the session knows of.
        _ if session.is_closed() => {
            Err(TransportError::Lost { reason: format!("it closed while querying the status of {service}") })
        }
        Some(problem) => noise(FunctionalState::initializing(&format!("port {port} {problem}"))),
        None => noise(FunctionalState::Timeout),
    }
}

/// The introspect port of one process; none if it has none, or none that is known.
///
/// `ports` is [`Role::introspect`](ctl_inventory::Role::introspect); `process` is its name with or without the
/// group (`0`, `contrail-api:0`). An entry of the process's own (`contrail-api:1`) comes first. The entry of the group
/// is the port of the plain process and of worker 0 alone: where the others listen is written in no public source
/// (provisioning starts them with one configuration file, `contrail-provisioning` R3.2
/// `contrail_provisioning/config/templates/contrail_api_ini.py`), the next ports belong to other services, and
/// `contrail-status` asks no worker but `contrail-api:0`.
#[must_use]
pub fn port_of(ports: &BTreeMap<String, u16>, group: &str, process: &str) -> Option<u16> {
    let process = process.strip_prefix(group).and_then(|rest| rest.strip_prefix(':')).unwrap_or(process);
    let own = ports.get(&format!("{group}:{process}"));
    let is_first = process == group || process == "0" || process.is_empty();
    own.or_else(|| ports.get(group).filter(|_| is_first)).copied()
}

/// One request on a channel of its own, and the body of its answer.
async fn exchange<S: Session>(session: &S, port: u16) -> Result<Bytes, IntrospectProblem> {
    let stream = session.open_tcp(HOST_NAME, port).await?;
    // The servers are Python and C++ of many years, and not all of their headers are valid; only the body matters.
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_LIMIT)
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    let (mut channel, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|error| of_http(&error))?;
    // Dropped with the question, it ends the task: the channel must not outlive it, whatever HTTP is in the middle of.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get(PAGE)
        .header(HOST, format!("{HOST_NAME}:{port}"))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| IntrospectProblem::NotHttp)?;
    let response = channel.send_request(request).await.map_err(|error| of_http(&error))?;
    if response.status() != StatusCode::OK {
        return Err(IntrospectProblem::Status(response.status()));
    }
    match Limited::new(response.into_body(), BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(IntrospectProblem::TooLong),
        Err(error) => Err(error.downcast_ref::<hyper::Error>().map_or(IntrospectProblem::BrokeOff, of_http)),
    }
}

fn of_http(error: &hyper::Error) -> IntrospectProblem {
    debug!(%error, "bad answer from an introspect server");
    if error.is_parse() { IntrospectProblem::NotHttp } else { IntrospectProblem::BrokeOff }
}

/// The state in an answer.
fn status_in(body: &[u8]) -> Result<FunctionalState, IntrospectProblem> {
    // A broken character in a description must not hide the state.
    let status = first_process_status(&String::from_utf8_lossy(body))?;
    match status.state.trim() {
        "Functional" => Ok(FunctionalState::Active),
        "Non-Functional" => Ok(FunctionalState::initializing(status.tor.as_deref().unwrap_or(&status.description))),
        "" => Err(IntrospectProblem::NoState),
        other => Err(IntrospectProblem::OtherState(other.to_owned())),
    }
}

/// An element of an answer, as far as it matters. Attributes do not: field numbers differ from release to release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum XmlElement {
    NodeStatus,
    Processes,
    Process,
    State,
    Description,
    Connection,
    Type,
    Name,
    Status,
    Other,
}

impl XmlElement {
    fn of(name: &str) -> Self {
        match name {
            "NodeStatus" => Self::NodeStatus,
            "process_status" => Self::Processes,
            "ProcessStatus" => Self::Process,
            "state" => Self::State,
            "description" => Self::Description,
            "ConnectionInfo" => Self::Connection,
            "type" => Self::Type,
            "name" => Self::Name,
            "status" => Self::Status,
            _ => Self::Other,
        }
    }
}

/// The contents of a ProcessStatus, each text as it was written.
#[derive(Debug, Default)]
struct ProcessStatus {
    state: String,
    description: String,
    /// The state of a ToR agent's switch, which explains more than its description.
    tor: Option<String>,
}

/// One ConnectionInfo.
#[derive(Debug, Default)]
struct ConnectionInfo {
    kind: String,
    name: String,
    status: String,
}

impl ConnectionInfo {
    /// In the words of `contrail-status`, if it is one with a ToR switch and says how it is.
    fn tor(&self) -> Option<String> {
        let (name, status) = (self.name.trim(), self.status.trim());
        let is_tor = self.kind.trim() == "ToR" && !status.is_empty();
        is_tor.then(|| format!("ToR:{name} connection {}", status.to_lowercase()))
    }
}

/// The first ProcessStatus of the first NodeStatus that has a process_status; node managers send others before it.
/// What comes after it is not read.
fn first_process_status(text: &str) -> Result<ProcessStatus, IntrospectProblem> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    // A bare `&` in a description must not make the whole answer unreadable.
    reader.config_mut().allow_dangling_amp = true;
    let mut path: Vec<XmlElement> = Vec::new();
    let mut value = String::new();
    let mut status = ProcessStatus::default();
    let mut connection = ConnectionInfo::default();
    let mut seen_node_status = false;
    loop {
        match reader.read_event().map_err(|_| IntrospectProblem::NotXml)? {
            Event::Start(tag) => {
                if path.len() == DEPTH_LIMIT {
                    return Err(IntrospectProblem::TooDeep);
                }
                let element = XmlElement::of(tag.name().into_inner());
                match element {
                    XmlElement::NodeStatus => seen_node_status = true,
                    // The values of an earlier entry must not leak into this one.
                    XmlElement::Process => status = ProcessStatus::default(),
                    XmlElement::Connection => connection = ConnectionInfo::default(),
                    XmlElement::Processes
                    | XmlElement::State
                    | XmlElement::Description
                    | XmlElement::Type
                    | XmlElement::Name
                    | XmlElement::Status
                    | XmlElement::Other => {}
                }
                path.push(element);
                // Text before a child element is no part of a value.
                value.clear();
            }
            Event::End(_) => {
                let closed = path.pop();
                let value = std::mem::take(&mut value);
                match (path.last(), closed) {
                    (Some(XmlElement::Process), Some(XmlElement::State)) => status.state = value,
                    (Some(XmlElement::Process), Some(XmlElement::Description)) => status.description = value,
                    (Some(XmlElement::Connection), Some(XmlElement::Type)) => connection.kind = value,
                    (Some(XmlElement::Connection), Some(XmlElement::Name)) => connection.name = value,
                    (Some(XmlElement::Connection), Some(XmlElement::Status)) => connection.status = value,
                    (_, Some(XmlElement::Connection)) => status.tor = connection.tor().or(status.tor),
                    (_, Some(XmlElement::Process)) if is_in_node_status(&path) => return Ok(status),
                    (Some(XmlElement::NodeStatus), Some(XmlElement::Processes)) => {
                        return Err(IntrospectProblem::EmptyProcessStatus);
                    }
                    _ => {}
                }
            }
            Event::Text(text) => value.push_str(&text),
            Event::CData(text) => value.push_str(&text),
            Event::GeneralRef(reference) => push_reference(&mut value, &reference),
            // The document ended inside an element, so it was cut short.
            Event::Eof if !path.is_empty() => return Err(IntrospectProblem::NotXml),
            Event::Eof if seen_node_status => return Err(IntrospectProblem::NoProcessStatus),
            Event::Eof => return Err(IntrospectProblem::NoNodeStatus),
            // `Empty` comes as a start and an end.
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn is_in_node_status(path: &[XmlElement]) -> bool {
    path.windows(2).any(|pair| pair == [XmlElement::NodeStatus, XmlElement::Processes])
}

/// A character or one of XML's own five entities; any other, which only the document could define, as it was written.
fn push_reference(value: &mut String, reference: &BytesRef<'_>) {
    if let Ok(Some(char)) = reference.resolve_char_ref() {
        value.push(char);
    } else if let Some(text) = resolve_predefined_entity(reference) {
        value.push_str(text);
    } else {
        value.push('&');
        value.push_str(reference);
        value.push(';');
    }
}

#[cfg(test)]
mod tests;
