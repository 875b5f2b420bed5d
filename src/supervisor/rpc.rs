//! XML-RPC over a forwarded socket, for which nothing is started on the node, or over the node's relay.
//!
//! What always holds: one request in flight a channel (supervisord answers 400 to a pipelined one although it
//! acts on it), a channel that had an error is not used again, an answer is at most [`BODY_LIMIT`] bytes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dxr::{TryToParams, Value};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::command::NodeShell;
use super::process::{state_from_code, state_from_word};
use super::xmlrpc::{self, XmlRpcError};
use super::{ProcessInfo, RpcFault, SupervisorError, UpdateSummary};
use crate::event::ProcessState;
use crate::inventory::ControlAddress;
use crate::transport::Session;

/// Longest answer read: some thousand processes.
pub const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A question that starts nothing is answered at once, or the supervisord hangs.
pub const QUESTION_TIME: Duration = Duration::from_secs(10);

/// Channels that wait for their next request.
const IDLE_CHANNELS: usize = 4;

/// What one look at a supervisord shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorReading {
    /// Version of the supervisor package.
    pub version: String,
    /// Process id of supervisord itself.
    pub pid: Option<u32>,
    /// All its processes.
    pub processes: Vec<ProcessInfo>,
    /// Entries of its list that name no process.
    pub unnamed: usize,
}

/// How the socket of a supervisord is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketRoute {
    /// sshd opens it, as the login user.
    Forwarded,
    /// The relay opens it, through sudo. For unix sockets only.
    Relayed,
}

impl std::fmt::Display for SocketRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Forwarded => "forwarded by sshd",
            Self::Relayed => "relayed through sudo",
        })
    }
}

/// What came back of a call.
pub(super) enum RpcAnswer {
    /// The body of an answer.
    Body(Bytes),
    /// The call made supervisord raise: HTTP status 500, without a word of why.
    Raised,
}

/// A client of one supervisord.
pub struct RpcClient<S: Session> {
    shell: NodeShell<S>,
    road: SocketRoute,
    address: ControlAddress,
    authorization: Option<String>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl<S: Session> std::fmt::Debug for RpcClient<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcClient").field("address", &self.address).field("road", &self.road).finish_non_exhaustive()
    }
}

impl<S: Session> RpcClient<S> {
    /// A client for the supervisord at `address`; connects when the first call is made. `authorization` is the
    /// whole value of the header of that name.
    pub fn new(shell: NodeShell<S>, road: SocketRoute, address: ControlAddress, authorization: Option<String>) -> Self {
        Self { shell, road, address, authorization, idle: Mutex::default() }
    }

    /// How it is reached.
    pub fn road(&self) -> SocketRoute {
        self.road
    }

    /// Where it listens.
    pub fn address(&self) -> &ControlAddress {
        &self.address
    }

    /// Version, own pid and all processes, in one request.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    pub async fn snapshot(&self) -> Result<SupervisorReading, SupervisorError> {
        let methods = ["supervisor.getSupervisorVersion", "supervisor.getPID", "supervisor.getAllProcessInfo"];
        let calls: Vec<(String, Vec<Value>)> = methods.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        let calls =
            dxr::multicall::into_multicall_params(calls).map_err(|error| self.protocol_error(&error.to_string()))?;
        let answer = self.question("system.multicall", &(calls,)).await?;
        let parts = xmlrpc::items(&answer).unwrap_or_default();
        let [version, pid, processes] = parts else {
            return Err(self.protocol_error("three answers were asked for"));
        };
        for part in parts {
            if let Some(fault) = fault_of(part) {
                return Err(fault_error(fault.0, fault.1));
            }
        }
        let entries = xmlrpc::items(processes).ok_or_else(|| self.protocol_error("no list of processes"))?;
        let processes: Vec<ProcessInfo> = entries.iter().filter_map(process).collect();
        Ok(SupervisorReading {
            version: xmlrpc::text(version).unwrap_or_default().to_owned(),
            pid: xmlrpc::integer(pid).and_then(|pid| u32::try_from(pid).ok()),
            unnamed: entries.len() - processes.len(),
            processes,
        })
    }

    /// supervisord's own pid and one process, in one request.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call; a process that is not there is a [`RpcFault::BadName`].
    pub async fn look(&self, name: &str) -> Result<(Option<u32>, ProcessInfo), SupervisorError> {
        let calls = vec![
            ("supervisor.getPID".to_owned(), Vec::new()),
            ("supervisor.getProcessInfo".to_owned(), vec![Value::String(name.to_owned())]),
        ];
        let calls =
            dxr::multicall::into_multicall_params(calls).map_err(|error| self.protocol_error(&error.to_string()))?;
        let answer = self.question("system.multicall", &(calls,)).await?;
        let Some([pid, entry]) = xmlrpc::items(&answer) else {
            return Err(self.protocol_error("two answers were asked for"));
        };
        for part in [pid, entry] {
            if let Some((code, text)) = fault_of(part) {
                return Err(fault_error(code, text));
            }
        }
        let found = process(entry).ok_or_else(|| self.protocol_error("a process has no name"))?;
        Ok((xmlrpc::integer(pid).and_then(|pid| u32::try_from(pid).ok()), found))
    }

    /// Starts a process; with `wait` it answers once the process is up or has failed.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call. After any but a fault the outcome is not known.
    pub async fn start(&self, name: &str, wait: bool) -> Result<(), SupervisorError> {
        self.call("supervisor.startProcess", &(name.to_owned(), wait)).await.map(drop)
    }

    /// Stops a process, and answers once it is gone.
    ///
    /// # Errors
    /// As [`RpcClient::start`].
    pub async fn stop(&self, name: &str) -> Result<(), SupervisorError> {
        self.call("supervisor.stopProcess", &(name.to_owned(), true)).await.map(drop)
    }

    /// Rereads the configuration; nothing is applied.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call; a configuration that cannot be read is [`RpcFault::CantReread`].
    pub async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        let answer = self.question("supervisor.reloadConfig", &()).await?;
        let lists = xmlrpc::items(&answer)
            .and_then(|outer| xmlrpc::items(outer.first()?))
            .filter(|lists| lists.len() == 3)
            .ok_or_else(|| self.protocol_error("no lists of groups"))?;
        let names = |index: usize| -> Vec<String> {
            let list = lists.get(index).and_then(xmlrpc::items).unwrap_or_default();
            list.iter().filter_map(xmlrpc::text).map(str::to_owned).collect()
        };
        Ok(UpdateSummary { added: names(0), changed: names(1), removed: names(2) })
    }

    /// Starts all processes of a group, and does not wait for them.
    ///
    /// # Errors
    /// As [`RpcClient::start`].
    pub async fn start_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.call("supervisor.startProcessGroup", &(group.to_owned(), false)).await.map(drop)
    }

    /// Stops all processes of a group.
    ///
    /// # Errors
    /// As [`RpcClient::start`].
    pub async fn stop_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.call("supervisor.stopProcessGroup", &(group.to_owned(), true)).await.map(drop)
    }

    /// Takes a stopped group out of the running configuration.
    ///
    /// # Errors
    /// As [`RpcClient::start`].
    pub async fn remove_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.call("supervisor.removeProcessGroup", &(group.to_owned(),)).await.map(drop)
    }

    /// Takes a group of the reread configuration in, and starts what starts by itself.
    ///
    /// # Errors
    /// As [`RpcClient::start`].
    pub async fn add_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.call("supervisor.addProcessGroup", &(group.to_owned(),)).await.map(drop)
    }

    /// A call that should take no time.
    async fn question(&self, method: &str, params: &impl TryToParams) -> Result<Value, SupervisorError> {
        match tokio::time::timeout(QUESTION_TIME, self.call(method, params)).await {
            Ok(answer) => answer,
            Err(_) => Err(SupervisorError::Silent(self.address.to_string())),
        }
    }

    async fn call(&self, method: &str, params: &impl TryToParams) -> Result<Value, SupervisorError> {
        match self.send_call(method, params).await? {
            RpcAnswer::Body(body) => self.decoded(&body),
            RpcAnswer::Raised => {
                Err(self.protocol_error(&format!("HTTP status {}", StatusCode::INTERNAL_SERVER_ERROR)))
            }
        }
    }

    /// A call that should take no time, and may make supervisord raise.
    pub(super) async fn ask(&self, method: &str, params: &impl TryToParams) -> Result<RpcAnswer, SupervisorError> {
        match tokio::time::timeout(QUESTION_TIME, self.send_call(method, params)).await {
            Ok(answer) => answer,
            Err(_) => Err(SupervisorError::Silent(self.address.to_string())),
        }
    }

    /// What an answer says.
    pub(super) fn decoded(&self, body: &[u8]) -> Result<Value, SupervisorError> {
        match xmlrpc::decode(body) {
            Ok(value) => Ok(value),
            Err(XmlRpcError::Fault { code, text }) => Err(fault_error(code, text)),
            Err(error @ XmlRpcError::Malformed(_)) => Err(self.protocol_error(&error.to_string())),
        }
    }

    /// Why an answer that should be a text is none.
    pub(super) fn no_text(&self, body: &[u8]) -> SupervisorError {
        self.decoded(body).err().unwrap_or_else(|| self.protocol_error("no text"))
    }

    /// A text of what is told of a process.
    pub(super) async fn process_text(&self, name: &str, key: &str) -> Result<Option<String>, SupervisorError> {
        let answer = self.question("supervisor.getProcessInfo", &(name.to_owned(),)).await?;
        let members = xmlrpc::members(&answer).ok_or_else(|| self.protocol_error("a process is not a structure"))?;
        Ok(members.get(key).and_then(xmlrpc::text).map(str::to_owned))
    }

    /// The exit status of a process that has EXITED by itself; none of one that a signal ended, or in another state.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    pub async fn exit_status(&self, name: &str) -> Result<Option<i32>, SupervisorError> {
        let answer = self.question("supervisor.getProcessInfo", &(name.to_owned(),)).await?;
        let members = xmlrpc::members(&answer).ok_or_else(|| self.protocol_error("a process is not a structure"))?;
        let has_exited = members.get("statename").and_then(xmlrpc::text) == Some(ProcessState::Exited.as_str());
        let status = members.get("exitstatus").and_then(xmlrpc::integer).filter(|status| has_exited && *status >= 0);
        Ok(status.and_then(|status| i32::try_from(status).ok()))
    }

    /// The processes that are up as soon as they are spawned, as `(group, name)`: `startsecs` is 0. None where supervisord
    /// does not have `startsecs` in its answer (before 4.0).
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    pub async fn up_at_once(&self) -> Result<Option<BTreeSet<(String, String)>>, SupervisorError> {
        let answer = self.question("supervisor.getAllConfigInfo", &()).await?;
        let programs = xmlrpc::items(&answer).ok_or_else(|| self.protocol_error("no list of programs"))?;
        Ok(without_startsecs(programs))
    }

    /// The shell on whose session it is.
    pub(super) fn shell(&self) -> &NodeShell<S> {
        &self.shell
    }

    async fn send_call(&self, method: &str, params: &impl TryToParams) -> Result<RpcAnswer, SupervisorError> {
        let body = xmlrpc::encode(method, params).map_err(|error| self.protocol_error(&error.to_string()))?;
        debug!(address = %self.address, method, "calling");
        let (answer, channel) = self.exchange(body).await?;
        if let Some(channel) = channel {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_CHANNELS {
                idle.push(channel);
            }
        }
        Ok(answer)
    }

    /// One request and its answer; the channel comes back if it may be used again.
    async fn exchange(&self, body: String) -> Result<(RpcAnswer, Option<SendRequest<Full<Bytes>>>), SupervisorError> {
        let mut request = Request::post("/RPC2").header(HOST, "localhost").header(CONTENT_TYPE, "text/xml");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| self.protocol_error(&error.to_string()))?;
        let (response, channel) = self.send(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::INTERNAL_SERVER_ERROR => return Ok((RpcAnswer::Raised, None)),
            StatusCode::UNAUTHORIZED => {
                let text = format!("{} asks for a user name and a password", self.address);
                return Err(SupervisorError::Permission(text));
            }
            other => return Err(self.protocol_error(&format!("HTTP status {other}"))),
        }
        let answer = match Limited::new(response.into_body(), BODY_LIMIT).collect().await {
            Ok(answer) => answer.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(self.protocol_error(&format!("the answer is longer than {BODY_LIMIT} bytes")));
            }
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => return Err(self.http(&error)),
                Err(error) => return Err(self.protocol_error(&error.to_string())),
            },
        };
        Ok((RpcAnswer::Body(answer), (!channel.is_closed()).then_some(channel)))
    }

    /// Sends on a channel that waits, else on a new one. A waiting channel that supervisord has closed in the
    /// meantime tells so before anything was sent; only then is the request sent again.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), SupervisorError> {
        let mut request = request;
        while let Some(mut channel) = self.idle_channel() {
            match channel.try_send_request(request).await {
                Ok(response) => return Ok((response, channel)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.http(error.error())),
                },
            }
        }
        let mut channel = self.open().await?;
        let response = channel.send_request(request).await.map_err(|error| self.http(&error))?;
        Ok((response, channel))
    }

    fn idle_channel(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(channel) = idle.pop() {
            if channel.is_ready() {
                return Some(channel);
            }
        }
        None
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, SupervisorError> {
        let session = self.shell.session();
        match (&self.address, self.road) {
            (ControlAddress::Unix(path), SocketRoute::Forwarded) => self.greet(session.open_unix(path).await?).await,
            (ControlAddress::Unix(path), SocketRoute::Relayed) => {
                let relay = self.shell.relay().await?;
                self.greet(relay.open(path).await?).await
            }
            (ControlAddress::Http { host, port }, _) => self.greet(session.open_tcp(host, *port).await?).await,
        }
    }

    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<Full<Bytes>>, SupervisorError> {
        let (mut channel, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.http(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a channel to supervisord closed");
            }
        });
        channel.ready().await.map_err(|error| self.http(&error))?;
        Ok(channel)
    }

    fn http(&self, error: &hyper::Error) -> SupervisorError {
        if error.is_parse() {
            return self.protocol_error(&format!("not HTTP ({error})"));
        }
        if self.shell.session().is_closed() {
            let reason = "it closed while querying supervisord".to_owned();
            return SupervisorError::Transport(crate::transport::TransportError::Lost { reason });
        }
        SupervisorError::Down(format!("{} closed the connection ({error})", self.address))
    }

    fn protocol_error(&self, reason: &str) -> SupervisorError {
        SupervisorError::Protocol(format!("{}: {reason}", self.address))
    }
}

/// A process as its supervisord describes it; none if the entry names none. What is missing or of another type than
/// supervisord has it is not known, and keeps nothing else from being read.
fn process(entry: &Value) -> Option<ProcessInfo> {
    let members = xmlrpc::members(entry)?;
    let text =
        |key: &str| members.get(key).and_then(xmlrpc::text).map(|text| text.chars().take(512).collect::<String>());
    let number = |key: &str| members.get(key).and_then(xmlrpc::integer);
    let name = text("name").filter(|name| !name.is_empty())?;
    let group = text("group").filter(|group| !group.is_empty()).unwrap_or_else(|| name.clone());
    let word = text("statename");
    let by_word = word.as_deref().map_or(ProcessState::Unknown, state_from_word);
    let state =
        if by_word == ProcessState::Unknown { number("state").map_or(by_word, state_from_code) } else { by_word };
    let alive = matches!(state, ProcessState::Running | ProcessState::Starting | ProcessState::Stopping);
    let start = number("start").filter(|start| *start > 0);
    let uptime = start.zip(number("now")).and_then(|(start, now)| u64::try_from(now - start).ok());
    let spawn_error = text("spawnerr").filter(|text| !text.is_empty());
    // Of an end that was not expected it says so there (supervisor 3.0 to 4.2.5, `process.py`, `finish`).
    let exited_as_expected = (state == ProcessState::Exited).then_some(spawn_error.is_none());
    let description = spawn_error.or_else(|| text("description"));
    let odd = (state == ProcessState::Unknown)
        .then(|| format!("its supervisord reports an unknown state: {}", word.as_deref().unwrap_or("none")));
    Some(ProcessInfo {
        name,
        group,
        state,
        pid: number("pid").filter(|_| alive).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
        start,
        uptime: uptime.filter(|_| alive).map(Duration::from_secs),
        exited_as_expected,
        description: odd.or(description).unwrap_or_default(),
    })
}

/// The programs of a configuration whose `startsecs` is 0; none if no entry has `startsecs` at all.
fn without_startsecs(programs: &[Value]) -> Option<BTreeSet<(String, String)>> {
    let startsecs = |value: &Value| xmlrpc::members(value)?.get("startsecs").and_then(xmlrpc::integer);
    programs.iter().any(|value| startsecs(value).is_some()).then(|| {
        let at_once = programs.iter().filter(|value| startsecs(value) == Some(0)).filter_map(|value| {
            let members = xmlrpc::members(value)?;
            let text = |key: &str| members.get(key).and_then(xmlrpc::text).map(str::to_owned);
            Some((text("group")?, text("name")?))
        });
        at_once.collect()
    })
}

fn fault_error(code: i32, text: String) -> SupervisorError {
    let fault = RpcFault::from_code(code);
    if fault == RpcFault::ShutdownState {
        return SupervisorError::Down("supervisord is shutting down".to_owned());
    }
    SupervisorError::Fault { fault, text: text.chars().take(512).collect() }
}

/// A part of a multicall answer that is a fault.
fn fault_of(value: &Value) -> Option<(i32, String)> {
    let members = xmlrpc::members(value)?;
    let code = members.get("faultCode").and_then(xmlrpc::integer)?;
    let text = members.get("faultString").and_then(xmlrpc::text).unwrap_or_default();
    Some((i32::try_from(code).unwrap_or_default(), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(members: &[(&str, Value)]) -> Value {
        Value::Struct(members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn who_is_up_at_once_is_known_only_where_startsecs_is_in_the_answer() {
        let program = |name: &str, startsecs: Option<i32>| {
            let mut members = vec![("group", Value::String("g".to_owned())), ("name", Value::String(name.to_owned()))];
            members.extend(startsecs.map(|seconds| ("startsecs", Value::Integer(seconds))));
            entry(&members)
        };
        let at_once = |names: &[&str]| Some(names.iter().map(|name| ("g".to_owned(), (*name).to_owned())).collect());
        assert_eq!(without_startsecs(&[program("a", Some(0)), program("b", Some(1))]), at_once(&["a"]));
        assert_eq!(without_startsecs(&[program("b", Some(1))]), at_once(&[]));
        // supervisor 3.x.
        assert_eq!(without_startsecs(&[program("a", None), program("b", None)]), None);
        assert_eq!(without_startsecs(&[]), None);
    }

    #[test]
    fn what_an_entry_lacks_is_not_known_and_the_rest_is_read() {
        use ProcessState as S;
        let text = |text: &str| Value::String(text.to_owned());
        let number = Value::Integer;
        let name = ("name", text("api"));
        let table = [
            (vec![name.clone(), ("group", text("g")), ("statename", text("RUNNING"))], Some(("g", S::Running))),
            (vec![name.clone(), ("statename", text("FATAL"))], Some(("api", S::Fatal))),
            (vec![name.clone(), ("group", number(7)), ("state", number(20))], Some(("api", S::Running))),
            (vec![name.clone(), ("statename", number(20)), ("state", number(200))], Some(("api", S::Fatal))),
            (vec![name.clone(), ("statename", text("PAUSED")), ("state", number(55))], Some(("api", S::Unknown))),
            (vec![name.clone(), ("state", text("20"))], Some(("api", S::Unknown))),
            (vec![name.clone(), ("statename", text("RUNNING")), ("pid", text("7"))], Some(("api", S::Running))),
            (vec![name], Some(("api", S::Unknown))),
            (vec![("group", text("g")), ("statename", text("RUNNING"))], None),
            (vec![("name", text("")), ("statename", text("RUNNING"))], None),
            (vec![("name", number(3))], None),
        ];
        for (members, wanted) in table {
            let read = process(&entry(&members));
            let read = read.as_ref().map(|process| (process.group.as_str(), process.state));
            assert_eq!(read, wanted, "{members:?}");
        }
        assert_eq!(process(&text("api")), None);
        let odd = process(&entry(&[("name", text("api")), ("statename", text("PAUSED"))])).expect("a name");
        assert_eq!(odd.description, "its supervisord reports an unknown state: PAUSED");
    }
}
