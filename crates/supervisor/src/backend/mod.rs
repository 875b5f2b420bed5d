//! The ways to control a supervisord, and the one place that knows which one is in use.
//!
//! Each way is one file, and has one line in `backends!` below. `interface` lists what a backend offers, `request` has the
//! facts with which it reaches an instance, `search` finds the backend that works on a node, and [`SupervisorClient`]
//! here passes each call on. The directory uses the rest of `supervisor`, `guard` for the words of a rescue, `transport`,
//! `inventory` and `event`. Invariants: only `backends!` matches on the variants; the users of a client look at its
//! [`Capabilities`] or call a method. Start at [`search::reach`]; to add a backend, see docs/decisions/0011-backends.md.

pub mod init_wrapper;
pub mod interface;
mod request;
pub mod rpc;
pub mod search;
mod socket_probe;
pub mod supervisorctl;

use std::collections::BTreeSet;

use self::interface::{Backend, Capabilities, FailedAttempt};
use self::request::ReachRequest;
use self::socket_probe::SocketProbe;
use super::error::SupervisorError;
use super::logs::line_buffer::LineBuffer;
use super::logs::reader::{LogReader, LogStep};
use super::process::{ProcessInfo, ProcessReading, ProcessVerb, SupervisorReading, UpdateSummary};
use super::rescue::RescueContext;
use super::shell::NodeShell;
use ctl_event::{Failure, LogStream, Via};
use ctl_guard::Rescue;
use ctl_inventory::ControlAddress;
use ctl_transport::Session;

/// Most that [`SupervisorClient::last_lines`] reads.
const LAST_LINES_LIMIT: usize = 256 * 1024;

/// Declares all that differs only by the backend, so that each backend is listed once.
///
/// A macro and not a trait object, since the calls are `async`: a trait object needs a boxed future for each of them.
/// `$d` is a dollar sign, which a macro that declares a macro cannot write itself.
macro_rules! backends {
    ($d:tt $($name:ident = $module:ident::$backend:ident,)+) => {
        /// A client of one supervisord, whichever backend reaches it.
        pub enum SupervisorClient<S: Session> {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $name($module::$backend<S>),)+
        }

        /// The properties of the backend of this name.
        #[must_use]
        pub const fn capabilities(via: Via) -> Capabilities {
            match via { $(Via::$name => $module::CAPABILITIES,)+ }
        }

        impl<S: Session> SupervisorClient<S> {
            /// Which backend it is.
            #[must_use]
            pub const fn via(&self) -> Via {
                match self { $(Self::$name(_) => Via::$name,)+ }
            }

            /// The same on another connection to the node.
            #[must_use]
            pub fn on(&self, shell: NodeShell<S>) -> Self {
                match self { $(Self::$name(backend) => Self::$name(backend.on(shell)),)+ }
            }

            /// Reaches an instance with the backend of this name, and reads it for the first time.
            async fn reach(
                via: Via,
                request: &ReachRequest<'_, S>,
                seen: Option<&SocketProbe>,
            ) -> Result<(Self, SupervisorReading), FailedAttempt> {
                match via {
                    $(Via::$name => match $module::$backend::reach(request, seen).await {
                        Ok((backend, reading)) => Ok((Self::$name(backend), reading)),
                        Err(error) => Err(FailedAttempt::of::<$module::$backend<S>>(error)),
                    },)+
                }
            }

            /// Why the user's choice of the backend of this name did not reach an instance.
            async fn explain(via: Via, request: &ReachRequest<'_, S>, error: &SupervisorError) -> Failure {
                match via { $(Via::$name => $module::$backend::explain(request, error).await,)+ }
            }
        }

        /// Passes a call on to the backend.
        macro_rules! dispatch {
            ($d client:expr, $d backend:ident => $d call:expr) => {
                match $d client { $(SupervisorClient::$name($d backend) => $d call,)+ }
            };
        }
    };
}

// The names are those of `Via`, whose order is the one in which `auto` tries them.
backends! { $
    Rpc = rpc::RpcBackend,
    Supervisorctl = supervisorctl::SupervisorctlBackend,
    Service = init_wrapper::InitWrapperBackend,
}

/// Whether commands may run on a node for which the user chose a backend; none is `auto`.
#[must_use]
pub fn may_run_commands(wanted: Option<Via>) -> bool {
    wanted.is_none_or(|via| capabilities(via).runs_commands)
}

/// Every call fails with a [`SupervisorError`]: one that the backend cannot make with [`SupervisorError::Unsupported`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl<S: Session> SupervisorClient<S> {
    /// The properties of the backend.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        capabilities(self.via())
    }

    /// Where the supervisord listens, if the backend knows.
    pub fn address(&self) -> Option<&ControlAddress> {
        dispatch!(self, backend => backend.address())
    }

    /// Where an instance of this name was reached, for people to read.
    pub fn place(&self, instance: &str) -> String {
        dispatch!(self, backend => backend.place(instance))
    }

    /// Whether sshd has opened a TCP port for it.
    pub fn is_forwarded_to_tcp(&self) -> bool {
        dispatch!(self, backend => backend.is_forwarded_to_tcp())
    }

    /// All processes.
    pub async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        dispatch!(self, backend => backend.list().await)
    }

    /// One process, none if it is not listed; supervisord's own pid with it where `with_supervisor` says that it matters
    /// and the backend knows it.
    pub async fn read(
        &self,
        group: &str,
        name: &str,
        with_supervisor: bool,
    ) -> Result<Option<ProcessReading>, SupervisorError> {
        dispatch!(self, backend => backend.read(group, name, with_supervisor).await)
    }

    /// Starts, stops or restarts a process, and answers once that is done. After an error but a fault it may be done anyway.
    pub async fn act(&self, verb: ProcessVerb, process: &ProcessInfo) -> Result<(), SupervisorError> {
        dispatch!(self, backend => backend.act(verb, process).await)
    }

    /// Starts a process without waiting until it is up, where the backend can.
    pub async fn send_start(&self, process: &ProcessInfo) -> Result<(), SupervisorError> {
        dispatch!(self, backend => backend.send_start(process).await)
    }

    /// Rereads the configuration; nothing is applied.
    pub async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        dispatch!(self, backend => backend.reload_config().await)
    }

    /// Stops a group and removes it from the running configuration.
    pub async fn remove_group(&self, group: &str) -> Result<(), SupervisorError> {
        dispatch!(self, backend => backend.remove_group(group).await)
    }

    /// Adds a group of the reread configuration, and starts what starts by itself.
    pub async fn add_group(&self, group: &str) -> Result<(), SupervisorError> {
        dispatch!(self, backend => backend.add_group(group).await)
    }

    /// Starts all processes of a group without waiting for them, where the backend can.
    pub async fn start_group(&self, group: &str) -> Result<(), SupervisorError> {
        dispatch!(self, backend => backend.start_group(group).await)
    }

    /// The processes that count as up as soon as they are spawned, as `(group, name)`; none where that is not known.
    pub async fn up_at_once(&self) -> Result<Option<BTreeSet<(String, String)>>, SupervisorError> {
        dispatch!(self, backend => backend.up_at_once().await)
    }

    /// The exit status of a process that has EXITED by itself, where the backend reports it.
    pub async fn exit_status(&self, process: &ProcessInfo) -> Result<Option<i32>, SupervisorError> {
        dispatch!(self, backend => backend.exit_status(process).await)
    }

    /// The last bytes of supervisord's own log, at most so many; none where they cannot be returned.
    pub async fn own_log(&self, bytes: usize) -> Result<Option<Vec<u8>>, SupervisorError> {
        dispatch!(self, backend => backend.own_log(bytes).await)
    }

    /// The last lines of one of a process's logs, oldest first and at most `lines`; an empty log has none. For a look at
    /// one log: a [`LogReader`] reads and follows many.
    pub async fn last_lines(
        &self,
        process: &ProcessInfo,
        stream: LogStream,
        lines: usize,
    ) -> Result<Vec<String>, SupervisorError> {
        // Log lines are seldom longer than 256 bytes; longer ones only mean that fewer are shown.
        let bytes = lines.saturating_mul(256).clamp(4096, LAST_LINES_LIMIT);
        let read = dispatch!(self, backend => backend.log_end(process, stream, bytes).await)?;
        // As many bytes as requested: the log goes further back, and the first line may be cut.
        Ok(LineBuffer::last_of(&read, read.len() >= bytes, lines))
    }

    /// The next step of reading one of a process's logs.
    pub async fn read_log(
        &self,
        process: &ProcessInfo,
        reader: &mut LogReader<S::Command>,
    ) -> Result<LogStep, SupervisorError> {
        dispatch!(self, backend => backend.read_log(process, reader).await)
    }

    /// How the guard starts a process again; none where it cannot.
    pub fn rescue(&self, context: &RescueContext<'_>, group: &str, name: &str) -> Option<Rescue> {
        dispatch!(self, backend => backend.rescue(context, group, name))
    }

    /// How the guard adds a group again; none where an update can remove no group.
    pub fn rescue_group(&self, context: &RescueContext<'_>, group: &str) -> Option<Rescue> {
        dispatch!(self, backend => backend.rescue_group(context, group))
    }
}
