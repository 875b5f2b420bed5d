//! XML-RPC to a supervisord: the methods that ctl uses, each a backend's call.
//!
//! The first choice: nothing is started on the node, but for one relay where the user may not open the socket. How calls travel
//! is `rpc_caller.rs`. Invariants: a member of an answer that is missing, or has another type than supervisord gives
//! it, is not known, and keeps nothing else from being read.
//!
//! Logs (supervisor 3.0 to 4.2.5, `options.py` and `rpcinterface.py`): `readProcess…Log(name, offset, length)` reads a
//! piece, and everything to the end for length 0; a negative offset with length 0 reads so many bytes at the end;
//! `tailProcess…Log(name, 0, 0)` returns the size, and 0 for a file that is missing; a log that is written to no file is
//! reported as missing. On Python 3 a piece that is not UTF-8, or cuts a character, makes supervisord raise: it answers HTTP
//! 500, and writes a page into its own log. So what failed once is not repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use dxr::Value;
use tracing::debug;

use super::interface::{Backend, Capabilities};
use super::request::{Diagnosis, ReachRequest};
use super::socket_probe::{self, SocketProbe};
use super::supervisorctl::SupervisorctlBackend;
use crate::error::SupervisorError;
use crate::logs::reader::{LogReader, LogStep};
use crate::logs::source::{LogPiece, LogSource, kept_nowhere, no_log};
use crate::process::{
    ProcessInfo, ProcessReading, ProcessVerb, SupervisorReading, UpdateSummary, state_from_code, state_from_word,
};
use crate::rescue::{self, RescueContext};
use crate::rpc_caller::{RpcAnswer, RpcCaller, SocketRoute, fault_error, fault_of};
use crate::shell::NodeShell;
use ctl_event::{Failure, FailureKind, LogStream, ProcessState, Stage};
use ctl_guard::Rescue;
use ctl_inventory::ControlAddress;
use ctl_remote::SudoError;
use ctl_transport::Session;
use ctl_xmlrpc as xmlrpc;

/// The properties of this backend.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    runs_commands: false,
    restarts: false,
    acts_on_programs: false,
    lists_other_instances: false,
    reports_exits: true,
    reads_program_settings: true,
    reads_own_log: true,
};

/// XML-RPC to one supervisord.
pub struct RpcBackend<S: Session> {
    caller: RpcCaller<S>,
}

/// A log of a supervisord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogFile<'a> {
    /// supervisord's own.
    Own,
    /// One of a process: its name as the API takes it, always with the group.
    Of(&'a str, LogStream),
}

impl<S: Session> RpcBackend<S> {
    /// For the supervisord at `address`. `authorization` is the whole value of the header of that name.
    pub(super) fn new(
        shell: NodeShell<S>,
        route: SocketRoute,
        address: ControlAddress,
        authorization: Option<String>,
    ) -> Self {
        Self { caller: RpcCaller::new(shell, route, address, authorization) }
    }

    /// The first address of the instance that answers.
    async fn reach_over(
        request: &ReachRequest<'_, S>,
        route: SocketRoute,
    ) -> Result<(Self, SupervisorReading), SupervisorError> {
        let mut worst: Option<SupervisorError> = None;
        let usable =
            |address: &&ControlAddress| route == SocketRoute::Forwarded || matches!(address, ControlAddress::Unix(_));
        for address in request.supervisor.addresses.iter().filter(usable) {
            let client = Self::new(request.shell.clone(), route, address.clone(), request.authorization.clone());
            match client.read_all().await {
                Ok(snapshot) => {
                    debug!(supervisor = request.supervisor.name, %address, %route, "answers by XML-RPC");
                    return Ok((client, snapshot));
                }
                // All addresses are reached over this one connection, so the rest would fail too.
                Err(error) if error.is_connection_lost() => return Err(error),
                Err(error) => {
                    debug!(supervisor = request.supervisor.name, %address, why = %error, "does not answer");
                    // An address that answered something, if only nonsense, explains more than one that cannot be opened.
                    let explains_little = |worst: &SupervisorError| {
                        matches!(worst, SupervisorError::Transport(_) | SupervisorError::NoSocket(_))
                    };
                    if worst.as_ref().is_none_or(explains_little) {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| SupervisorError::Down("the inventory names no address for it".to_owned())))
    }

    /// Version, own pid and all processes, in one request.
    async fn read_all(&self) -> Result<SupervisorReading, SupervisorError> {
        // One multicall saves two round trips for every supervisord.
        let methods = ["supervisor.getSupervisorVersion", "supervisor.getPID", "supervisor.getAllProcessInfo"];
        let calls: Vec<(String, Vec<Value>)> = methods.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        let calls = dxr::multicall::into_multicall_params(calls)
            .map_err(|error| self.caller.protocol_error(&error.to_string()))?;
        let answer = self.caller.call_quick("system.multicall", &(calls,)).await?;
        let parts = xmlrpc::items(&answer).unwrap_or_default();
        let [version, pid, processes] = parts else {
            return Err(self.caller.protocol_error("three answers were asked for"));
        };
        // Each part of a multicall may fail by itself, for example while supervisord shuts down.
        for part in parts {
            if let Some(fault) = fault_of(part) {
                return Err(fault_error(fault.0, fault.1));
            }
        }
        let entries = xmlrpc::items(processes).ok_or_else(|| self.caller.protocol_error("no list of processes"))?;
        // An entry without a name cannot be shown or acted on; counting it keeps it from getting lost.
        let processes: Vec<ProcessInfo> = entries.iter().filter_map(process).collect();
        Ok(SupervisorReading {
            version: xmlrpc::text(version).unwrap_or_default().to_owned(),
            pid: xmlrpc::integer(pid).and_then(|pid| u32::try_from(pid).ok()),
            unnamed: entries.len() - processes.len(),
            processes,
        })
    }

    async fn start(&self, process: &ProcessInfo, waits: bool) -> Result<(), SupervisorError> {
        self.caller.call("supervisor.startProcess", &(process.api_name(), waits)).await.map(drop)
    }

    /// A text member of a process.
    async fn process_text(&self, name: &str, key: &str) -> Result<Option<String>, SupervisorError> {
        let answer = self.caller.call_quick("supervisor.getProcessInfo", &(name.to_owned(),)).await?;
        let members =
            xmlrpc::members(&answer).ok_or_else(|| self.caller.protocol_error("a process is not a structure"))?;
        Ok(members.get(key).and_then(xmlrpc::text).map(str::to_owned))
    }

    /// At most `length` bytes of a log from `offset` on; none past its end.
    async fn read_from(&self, log: LogFile<'_>, offset: u64, length: usize) -> Result<LogPiece, SupervisorError> {
        // The integers of XML-RPC have 32 bits.
        let (Ok(offset), Ok(length)) = (i32::try_from(offset), i32::try_from(length.max(1))) else {
            return Err(SupervisorError::Unsupported("logs past 2 GiB cannot be read through supervisord".to_owned()));
        };
        self.piece(log, offset, length).await
    }

    /// The last bytes of a log, at most so many.
    async fn end_of_log(&self, log: LogFile<'_>, bytes: usize) -> Result<LogPiece, SupervisorError> {
        let bytes = i32::try_from(bytes.max(1)).unwrap_or(i32::MAX);
        // A character that is cut at the beginning has at most three more bytes.
        for more in 0..=3 {
            if let piece @ LogPiece::Bytes(_) = self.piece(log, -(bytes.saturating_add(more)), 0).await? {
                return Ok(piece);
            }
        }
        Ok(LogPiece::NotText)
    }

    async fn piece(&self, log: LogFile<'_>, offset: i32, length: i32) -> Result<LogPiece, SupervisorError> {
        let answer = match log {
            LogFile::Own => self.caller.try_call("supervisor.readLog", &(offset, length)).await?,
            LogFile::Of(name, stream) => {
                let method = match stream {
                    LogStream::Stdout => "supervisor.readProcessStdoutLog",
                    LogStream::Stderr => "supervisor.readProcessStderrLog",
                };
                self.caller.try_call(method, &(name.to_owned(), offset, length)).await?
            }
        };
        match answer {
            // On Python 3 supervisord raises where the piece is not whole UTF-8 (see the head of this file).
            RpcAnswer::Raised => Ok(LogPiece::NotText),
            RpcAnswer::Body(body) => match xmlrpc::raw_text(&body) {
                Some(bytes) => Ok(LogPiece::Bytes(bytes)),
                // An answer without a text is a fault, or makes no sense.
                None => Err(self.caller.not_text(&body)),
            },
        }
    }

    /// Bytes that a process's log has now; 0 also where it is missing. None if supervisord cannot report it: past 2 GiB.
    async fn log_size(&self, name: &str, stream: LogStream) -> Result<Option<u64>, SupervisorError> {
        let method = match stream {
            LogStream::Stdout => "supervisor.tailProcessStdoutLog",
            LogStream::Stderr => "supervisor.tailProcessStderrLog",
        };
        // supervisord raises where the size does not fit an XML-RPC integer: past 2 GiB.
        let RpcAnswer::Body(body) = self.caller.try_call(method, &(name.to_owned(), 0, 0)).await? else {
            return Ok(None);
        };
        let answer = self.caller.decode(&body)?;
        // The answer is `[text, offset, overflow]`, and the offset is the size of the log (`options.py`, `tailFile`).
        let size = xmlrpc::items(&answer).and_then(|items| items.get(1)).and_then(xmlrpc::integer);
        Ok(size.and_then(|size| u64::try_from(size).ok()))
    }

    /// Where a process's log is on the node; none if it is written to no file.
    async fn log_path(&self, name: &str, stream: LogStream) -> Result<Option<String>, SupervisorError> {
        let key = match stream {
            LogStream::Stdout => "stdout_logfile",
            LogStream::Stderr => "stderr_logfile",
        };
        let path = self.process_text(name, key).await?;
        // An empty path stands for a log that is written to no file (`stdout_logfile=NONE`).
        Ok(path.filter(|path| !path.is_empty()))
    }
}

impl<S: Session> Backend for RpcBackend<S> {
    type Session = S;

    const NAME: &'static str = "XML-RPC";

    /// Over the socket that sshd opens, else over the one that the relay opens.
    async fn reach(
        request: &ReachRequest<'_, S>,
        _seen: Option<&SocketProbe>,
    ) -> Result<(Self, SupervisorReading), SupervisorError> {
        let refused = match Self::reach_over(request, SocketRoute::Forwarded).await {
            // Only a channel that sshd refused can fare better as root; other errors come from supervisord or the
            // connection.
            Err(error @ SupervisorError::Transport(_)) if !error.is_connection_lost() => error,
            reached => return reached,
        };
        let is_unix = |address: &ControlAddress| matches!(address, ControlAddress::Unix(_));
        // The relay opens unix sockets only: sudo changes nothing for a TCP port.
        if !request.shell.sudo().is_on() || !request.supervisor.addresses.iter().any(is_unix) {
            return Err(refused);
        }
        debug!(supervisor = request.supervisor.name, why = %refused, "not through sshd");
        // Started before the first call, whose time limit leaves no room for sudo and Python.
        request.shell.relay().await?;
        Self::reach_over(request, SocketRoute::Relayed).await
    }

    /// The supervisord is there, and answered something; or sudo will refuse every command.
    fn is_final(error: &SupervisorError) -> bool {
        match error {
            error if error.is_connection_lost() => true,
            // sudoers may forbid the relay's Python and still allow supervisorctl.
            SupervisorError::Sudo(SudoError::PasswordWanted | SudoError::NotAllowed) => false,
            SupervisorError::Sudo(_) => true,
            // supervisord answered something, so any other backend would reach the same supervisord.
            SupervisorError::Protocol(_) | SupervisorError::Silent(_) | SupervisorError::Fault { .. } => true,
            // supervisord wants a password, or not even the relay as root may open the socket.
            SupervisorError::Permission(_) => true,
            SupervisorError::Down(_)
            | SupervisorError::NoSocket(_)
            | SupervisorError::Transport(_)
            | SupervisorError::NoAnswer(_)
            | SupervisorError::CommandMissing(_)
            | SupervisorError::Unsupported(_) => false,
        }
    }

    async fn explain(request: &ReachRequest<'_, S>, error: &SupervisorError) -> Failure {
        // Another look on the node cannot change these errors, or the caller does not need the cause.
        if Self::is_final(error) || request.diagnosis == Diagnosis::Spare {
            return request.failure(error);
        }
        // The user may not open the sockets, and the relay does not run: the probe would find no more than that.
        if matches!(error, SupervisorError::Sudo(_) | SupervisorError::CommandMissing(_)) {
            return request.failure(error);
        }
        let seen = socket_probe::probe(request.shell, request.supervisor).await;
        // Either nobody listens or sshd refuses to forward: only a query on the node itself can show which.
        if seen.has_writable() && SupervisorctlBackend::reach(request, Some(&seen)).await.is_ok() {
            return not_forwarded(&request.supervisor.name);
        }
        seen.explain(request.supervisor, request.shell.sudo().is_on(), error)
    }

    fn on(&self, shell: NodeShell<S>) -> Self {
        Self { caller: self.caller.on(shell) }
    }

    fn address(&self) -> Option<&ControlAddress> {
        Some(self.caller.address())
    }

    fn is_forwarded_to_tcp(&self) -> bool {
        self.caller.route() == SocketRoute::Forwarded && matches!(self.caller.address(), ControlAddress::Http { .. })
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        Ok(self.read_all().await?.processes)
    }

    /// supervisord's own pid and one process, in one request; a process that is not there is
    /// [`RpcFault::BadName`](crate::RpcFault::BadName).
    async fn read(
        &self,
        group: &str,
        name: &str,
        _with_supervisor: bool,
    ) -> Result<Option<ProcessReading>, SupervisorError> {
        let calls = vec![
            ("supervisor.getPID".to_owned(), Vec::new()),
            ("supervisor.getProcessInfo".to_owned(), vec![Value::String(api_name(group, name))]),
        ];
        let calls = dxr::multicall::into_multicall_params(calls)
            .map_err(|error| self.caller.protocol_error(&error.to_string()))?;
        let answer = self.caller.call_quick("system.multicall", &(calls,)).await?;
        let Some([pid, entry]) = xmlrpc::items(&answer) else {
            return Err(self.caller.protocol_error("two answers were asked for"));
        };
        // Each part of a multicall may fail by itself; a process that is gone is a fault here.
        for part in [pid, entry] {
            if let Some((code, text)) = fault_of(part) {
                return Err(fault_error(code, text));
            }
        }
        let found = process(entry).ok_or_else(|| self.caller.protocol_error("a process has no name"))?;
        let supervisor_pid = xmlrpc::integer(pid).and_then(|pid| u32::try_from(pid).ok());
        Ok(Some(ProcessReading { supervisor_pid, process: found }))
    }

    /// After any error but a fault the outcome is not known.
    async fn act(&self, verb: ProcessVerb, process: &ProcessInfo) -> Result<(), SupervisorError> {
        match verb {
            // With `wait`, supervisord answers only once the process is RUNNING or has failed to start (`rpcinterface.py`).
            ProcessVerb::Start => self.start(process, true).await,
            ProcessVerb::Stop => {
                self.caller.call("supervisor.stopProcess", &(process.api_name(), true)).await.map(drop)
            }
            // The caller sends both halves, since it must know which of them a lost connection has cut.
            ProcessVerb::Restart => Err(Self::unsupported("restart a process in one request")),
        }
    }

    async fn send_start(&self, process: &ProcessInfo) -> Result<(), SupervisorError> {
        self.start(process, false).await
    }

    async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        let answer = self.caller.call_quick("supervisor.reloadConfig", &()).await?;
        // supervisord wraps the three lists in one more array: `[[added, changed, removed]]`.
        let lists = xmlrpc::items(&answer)
            .and_then(|outer| xmlrpc::items(outer.first()?))
            .filter(|lists| lists.len() == 3)
            .ok_or_else(|| self.caller.protocol_error("no lists of groups"))?;
        let names = |index: usize| -> Vec<String> {
            let list = lists.get(index).and_then(xmlrpc::items).unwrap_or_default();
            list.iter().filter_map(xmlrpc::text).map(str::to_owned).collect()
        };
        Ok(UpdateSummary { added: names(0), changed: names(1), removed: names(2) })
    }

    async fn remove_group(&self, group: &str) -> Result<(), SupervisorError> {
        // supervisord refuses to remove a group while its processes run (fault 91, STILL_RUNNING).
        self.caller.call("supervisor.stopProcessGroup", &(group.to_owned(), true)).await?;
        self.caller.call("supervisor.removeProcessGroup", &(group.to_owned(),)).await.map(drop)
    }

    async fn add_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.caller.call("supervisor.addProcessGroup", &(group.to_owned(),)).await.map(drop)
    }

    async fn start_group(&self, group: &str) -> Result<(), SupervisorError> {
        self.caller.call("supervisor.startProcessGroup", &(group.to_owned(), false)).await.map(drop)
    }

    /// Those whose `startsecs` is 0; none where supervisord does not have `startsecs` in its answer (before 4.0).
    async fn up_at_once(&self) -> Result<Option<BTreeSet<(String, String)>>, SupervisorError> {
        let answer = self.caller.call_quick("supervisor.getAllConfigInfo", &()).await?;
        let programs = xmlrpc::items(&answer).ok_or_else(|| self.caller.protocol_error("no list of programs"))?;
        Ok(without_startsecs(programs))
    }

    /// None of a process that a signal ended, or that is in another state.
    async fn exit_status(&self, process: &ProcessInfo) -> Result<Option<i32>, SupervisorError> {
        let answer = self.caller.call_quick("supervisor.getProcessInfo", &(process.api_name(),)).await?;
        let members =
            xmlrpc::members(&answer).ok_or_else(|| self.caller.protocol_error("a process is not a structure"))?;
        // In other states the field belongs to an earlier end; after a signal it is -1 (`options.py`,
        // `decode_wait_status`).
        let has_exited = members.get("statename").and_then(xmlrpc::text) == Some(ProcessState::Exited.as_str());
        let status = members.get("exitstatus").and_then(xmlrpc::integer).filter(|status| has_exited && *status >= 0);
        Ok(status.and_then(|status| i32::try_from(status).ok()))
    }

    async fn own_log(&self, bytes: usize) -> Result<Option<Vec<u8>>, SupervisorError> {
        Ok(match self.end_of_log(LogFile::Own, bytes).await? {
            LogPiece::Bytes(bytes) => Some(bytes),
            LogPiece::NotText => None,
        })
    }

    async fn log_end(
        &self,
        process: &ProcessInfo,
        stream: LogStream,
        bytes: usize,
    ) -> Result<Vec<u8>, SupervisorError> {
        let name = process.api_name();
        // supervisord returns an empty text for a log that goes to a device, so the path has to decide first.
        if let Some(error) = kept_nowhere(stream, self.log_path(&name, stream).await?.as_deref()) {
            return Err(error);
        }
        match self.end_of_log(LogFile::Of(&name, stream), bytes).await? {
            LogPiece::Bytes(read) => Ok(read),
            LogPiece::NotText => {
                // A command can read the bytes that supervisord cannot return.
                let path = self.log_path(&name, stream).await?.ok_or_else(|| no_log(stream))?;
                let size = self.caller.shell().file_size(&path).await?;
                let start = size.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
                self.caller.shell().read_file(&path, start, bytes).await
            }
        }
    }

    async fn read_log(
        &self,
        process: &ProcessInfo,
        reader: &mut LogReader<S::Command>,
    ) -> Result<LogStep, SupervisorError> {
        let (name, stream) = (process.api_name(), reader.request().stream);
        reader.read_pieces(&RpcLog { rpc: self, name: &name, stream }).await
    }

    fn rescue(&self, context: &RescueContext<'_>, group: &str, name: &str) -> Option<Rescue> {
        Some(rescue::of_process(context, self.caller.shell().sudo(), self.caller.address(), api_name(group, name)))
    }

    fn rescue_group(&self, context: &RescueContext<'_>, group: &str) -> Option<Rescue> {
        Some(rescue::of_group(context, self.caller.shell().sudo(), self.caller.address(), group))
    }
}

/// A process's log, reached over XML-RPC.
struct RpcLog<'a, S: Session> {
    rpc: &'a RpcBackend<S>,
    /// The process, as the API takes it.
    name: &'a str,
    stream: LogStream,
}

impl<S: Session> LogSource for RpcLog<'_, S> {
    fn stream(&self) -> LogStream {
        self.stream
    }

    async fn piece(&self, offset: u64, length: usize) -> Result<LogPiece, SupervisorError> {
        self.rpc.read_from(LogFile::Of(self.name, self.stream), offset, length).await
    }

    async fn size(&self) -> Result<Option<u64>, SupervisorError> {
        self.rpc.log_size(self.name, self.stream).await
    }

    async fn path(&self) -> Result<Option<String>, SupervisorError> {
        self.rpc.log_path(self.name, self.stream).await
    }

    async fn file(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, SupervisorError> {
        self.rpc.caller.shell().read_file(path, offset, length).await
    }

    async fn file_size(&self, path: &str) -> Result<u64, SupervisorError> {
        self.rpc.caller.shell().file_size(path).await
    }
}

/// The failure of an instance that only a command on the node can reach.
fn not_forwarded(instance: &str) -> Failure {
    let message = format!("{instance} runs, but sshd on the node does not forward to its socket");
    Failure::new(Stage::Inspect, FailureKind::Permission, message).with_hint(
        "use --via supervisorctl or auto, or allow AllowStreamLocalForwarding and AllowTcpForwarding in its sshd_config",
    )
}

/// The name that the API takes: always with the group.
fn api_name(group: &str, name: &str) -> String {
    format!("{group}:{name}")
}

/// A process as its supervisord describes it; none if the entry names none.
fn process(entry: &Value) -> Option<ProcessInfo> {
    let members = xmlrpc::members(entry)?;
    let text =
        |key: &str| members.get(key).and_then(xmlrpc::text).map(|text| text.chars().take(512).collect::<String>());
    let number = |key: &str| members.get(key).and_then(xmlrpc::integer);
    let name = text("name").filter(|name| !name.is_empty())?;
    let group = text("group").filter(|group| !group.is_empty()).unwrap_or_else(|| name.clone());
    let word = text("statename");
    let by_word = word.as_deref().map_or(ProcessState::Unknown, state_from_word);
    // The number helps where the name of the state is missing or unknown.
    let state =
        if by_word == ProcessState::Unknown { number("state").map_or(by_word, state_from_code) } else { by_word };
    // supervisord keeps the start time of a process that has ended, so it gives an uptime only while the process lives.
    let alive = matches!(state, ProcessState::Running | ProcessState::Starting | ProcessState::Stopping);
    let start = number("start").filter(|start| *start > 0);
    let uptime = start.zip(number("now")).and_then(|(start, now)| u64::try_from(now - start).ok());
    let spawn_error = text("spawnerr").filter(|text| !text.is_empty());
    // supervisord sets `spawnerr` after an end that was not expected (supervisor 3.0 to 4.2.5, `process.py`, `finish`).
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
    // Releases before 4.0 report no `startsecs` at all, which must not be read as 0.
    programs.iter().any(|value| startsecs(value).is_some()).then(|| {
        let at_once = programs.iter().filter(|value| startsecs(value) == Some(0)).filter_map(|value| {
            let members = xmlrpc::members(value)?;
            let text = |key: &str| members.get(key).and_then(xmlrpc::text).map(str::to_owned);
            Some((text("group")?, text("name")?))
        });
        at_once.collect()
    })
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
