//! The calls that a backend offers: the one list that a new backend is written from.
//!
//! Here live `Backend`, the calls, and [`Capabilities`], the facts that `run` may use without knowing which backend it
//! has. Default bodies answer the calls that a backend cannot make. Invariants: nothing here does I/O
//! itself; a default body makes another call, or leaves it to the request.

use std::collections::BTreeSet;
use std::future::Future;

use super::request::ReachRequest;
use super::socket_probe::SocketProbe;
use crate::error::SupervisorError;
use crate::logs::reader::{LogReader, LogStep};
use crate::process::{ProcessInfo, ProcessReading, ProcessVerb, SupervisorReading, UpdateSummary};
use crate::rescue::RescueContext;
use crate::shell::NodeShell;
use ctl_event::{Failure, LogStream};
use ctl_guard::Rescue;
use ctl_inventory::ControlAddress;
use ctl_transport::Session;

/// The properties of a backend, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It runs commands on the node. One that does not is the choice of a user who wants none to run.
    pub runs_commands: bool,
    /// A restart is one request that runs to its end on the node; else it is a stop and a start, each sent by us.
    pub restarts: bool,
    /// An action reaches all processes of a program at once, never one alone.
    pub acts_on_programs: bool,
    /// It lists processes without saying which supervisord they belong to.
    pub lists_other_instances: bool,
    /// A process that has EXITED says whether that was expected.
    pub reports_exits: bool,
    /// It can answer [`up_at_once`](super::SupervisorClient::up_at_once).
    pub reads_program_settings: bool,
    /// It reads supervisord's own log; one that cannot borrows another backend for it, which costs more.
    pub reads_own_log: bool,
}

/// Why one backend did not reach the instance.
pub(super) struct FailedAttempt {
    /// The backend, as it stands in a sentence.
    pub(super) backend: &'static str,
    /// What it met.
    pub(super) error: SupervisorError,
    /// No later backend could change that.
    pub(super) is_final: bool,
}

impl FailedAttempt {
    /// Of this backend.
    pub(super) fn of<B: Backend>(error: SupervisorError) -> Self {
        Self { backend: B::NAME, is_final: B::is_final(&error), error }
    }
}

/// One way to control a supervisord, or another service manager. Futures are `Send`, since each node has a task.
///
/// A module that implements it also has `CAPABILITIES`, a constant of its own since it does not depend on the session.
pub(super) trait Backend: Sized + Sync {
    /// The session it is reached over.
    type Session: Session;

    /// As it stands in a sentence.
    const NAME: &'static str;

    /// Reaches the instance, and reads it for the first time. `seen` are its sockets, where they were
    /// checked before.
    fn reach(
        request: &ReachRequest<'_, Self::Session>,
        seen: Option<&SocketProbe>,
    ) -> impl Future<Output = Result<(Self, SupervisorReading), SupervisorError>> + Send;

    /// Whether no backend that `auto` tries after this one could change the answer.
    fn is_final(_error: &SupervisorError) -> bool {
        false
    }

    /// Why the user's choice of this backend did not reach the instance.
    fn explain(
        request: &ReachRequest<'_, Self::Session>,
        error: &SupervisorError,
    ) -> impl Future<Output = Failure> + Send {
        request.explain(error)
    }

    /// The same on another connection to the node.
    fn on(&self, shell: NodeShell<Self::Session>) -> Self;

    /// Where the supervisord listens, if the backend knows.
    fn address(&self) -> Option<&ControlAddress> {
        None
    }

    /// Where an instance of this name was reached, for people to read.
    fn place(&self, instance: &str) -> String {
        self.address().map_or_else(|| format!("{} of {instance}", Self::NAME), ToString::to_string)
    }

    /// Whether sshd has opened a TCP port for it.
    fn is_forwarded_to_tcp(&self) -> bool {
        false
    }

    /// All processes.
    fn list(&self) -> impl Future<Output = Result<Vec<ProcessInfo>, SupervisorError>> + Send;

    /// One process, none if it is not listed; supervisord's own pid with it where `_with_supervisor` says that it
    /// matters and the backend knows it.
    fn read(
        &self,
        group: &str,
        name: &str,
        _with_supervisor: bool,
    ) -> impl Future<Output = Result<Option<ProcessReading>, SupervisorError>> + Send {
        async move { Ok(ProcessReading::find(self.list().await?, group, name, None)) }
    }

    /// Starts, stops or restarts a process, and answers once that is done.
    fn act(&self, verb: ProcessVerb, process: &ProcessInfo)
    -> impl Future<Output = Result<(), SupervisorError>> + Send;

    /// Starts a process; need not wait until it is up.
    fn send_start(&self, process: &ProcessInfo) -> impl Future<Output = Result<(), SupervisorError>> + Send {
        self.act(ProcessVerb::Start, process)
    }

    /// Rereads the configuration; nothing is applied.
    fn reload_config(&self) -> impl Future<Output = Result<UpdateSummary, SupervisorError>> + Send {
        async { Err(Self::unsupported("reread the configuration")) }
    }

    /// Stops a group and removes it from the running configuration.
    fn remove_group(&self, _group: &str) -> impl Future<Output = Result<(), SupervisorError>> + Send {
        async { Err(Self::unsupported("reread the configuration")) }
    }

    /// Adds a group of the reread configuration, and starts what starts by itself.
    fn add_group(&self, _group: &str) -> impl Future<Output = Result<(), SupervisorError>> + Send {
        async { Err(Self::unsupported("reread the configuration")) }
    }

    /// Starts all processes of a group; need not wait for them.
    fn start_group(&self, _group: &str) -> impl Future<Output = Result<(), SupervisorError>> + Send {
        async { Err(Self::unsupported("reread the configuration")) }
    }

    /// The processes that count as up as soon as they are spawned, as `(group, name)`; none where that is not known.
    fn up_at_once(&self) -> impl Future<Output = Result<Option<BTreeSet<(String, String)>>, SupervisorError>> + Send {
        async { Ok(None) }
    }

    /// The exit status of a process that has EXITED by itself, where the backend reports it.
    fn exit_status(&self, _process: &ProcessInfo) -> impl Future<Output = Result<Option<i32>, SupervisorError>> + Send {
        async { Ok(None) }
    }

    /// The last bytes of supervisord's own log, at most so many; none where they cannot be returned.
    fn own_log(&self, _bytes: usize) -> impl Future<Output = Result<Option<Vec<u8>>, SupervisorError>> + Send {
        async { Ok(None) }
    }

    /// The last bytes of one of a process's logs, at most so many.
    fn log_end(
        &self,
        _process: &ProcessInfo,
        _stream: LogStream,
        _bytes: usize,
    ) -> impl Future<Output = Result<Vec<u8>, SupervisorError>> + Send {
        async { Err(Self::unsupported("read logs")) }
    }

    /// The next step of reading one of a process's logs.
    fn read_log(
        &self,
        _process: &ProcessInfo,
        _reader: &mut LogReader<<Self::Session as Session>::Command>,
    ) -> impl Future<Output = Result<LogStep, SupervisorError>> + Send {
        async { Err(Self::unsupported("read logs")) }
    }

    /// How the guard starts a process again. Without it, only the run itself can start what it has stopped.
    fn rescue(&self, _context: &RescueContext<'_>, _group: &str, _name: &str) -> Option<Rescue> {
        None
    }

    /// How the guard adds a group again, where the backend can remove one.
    fn rescue_group(&self, _context: &RescueContext<'_>, _group: &str) -> Option<Rescue> {
        None
    }

    /// The answer to a call that the backend cannot make.
    fn unsupported(what: &str) -> SupervisorError {
        SupervisorError::Unsupported(format!("{} cannot {what}; use --via rpc or supervisorctl", Self::NAME))
    }
}
