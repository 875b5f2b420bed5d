//! The parts that every command on nodes needs: a runtime, a transport, and the way to each node.
//!
//! Here lives [`RunSession`]: opened once everything that only the operator knows has been asked for, and used up by one run or by
//! the rounds of a watch. Uses `run` and `transport`. Invariants: nothing has been connected to when it is open,
//! except to ask for host keys that are not known.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::limits::{self, FileBudget};
use crate::prompts::{self, RequiredLogins};
use ctl_args::settings::Settings;
use ctl_connections::{HolderProgram, NodeTransport};
use ctl_console::error::CliError;
use ctl_event::{CancelReason, RunEvent, RunHead};
use ctl_plan::Plan;
use ctl_run::{JournalAck, LockPolicy, NodeAccess, RunSetup, WorkerPool, run};
use ctl_select::SelectedNode;
use ctl_transport::{RunSshSettings, SshTransport};

/// What a run needs besides its plan.
pub struct RunSession {
    /// The runtime of all connections.
    pub runtime: Runtime,
    /// Opens connections.
    pub transport: Arc<NodeTransport>,
    /// Notices of the transport that concern all nodes together.
    pub notices: mpsc::Receiver<String>,
    /// How each node is reached, in the order of the plan.
    pub access: Vec<NodeAccess>,
    /// How many connections may be open.
    pub budget: FileBudget,
    /// Whether a run holds all its connections to its end.
    keeps: bool,
}

/// What a run is, besides its plan.
pub struct RunIdentity {
    /// The head of its events.
    pub head: RunHead,
    /// How nodes are kept from other runs.
    pub locks: LockPolicy,
    /// Number of the first event.
    pub first_seq: u64,
    /// Number of the first batch.
    pub first_batch: u32,
}

impl RunSession {
    /// Makes room for the connections, which are kept to the end of the run if it `keeps` them; asks for passwords,
    /// passphrases and unknown host keys.
    ///
    /// # Errors
    /// If too few open files are allowed, or an answer is missing.
    pub fn open(plan: &Plan, access: Vec<NodeAccess>, settings: &Settings, keeps: bool) -> Result<Self, CliError> {
        Self::to_nodes(&plan.nodes, access, settings, keeps)
    }

    /// The same for nodes without a plan.
    ///
    /// # Errors
    /// As [`RunSession::open`].
    pub fn to_nodes(
        nodes: &[SelectedNode],
        mut access: Vec<NodeAccess>,
        settings: &Settings,
        keeps: bool,
    ) -> Result<Self, CliError> {
        // First, because it may refuse, and nobody should type a password for nothing.
        let budget = limits::make_room(&access, settings.forks, keeps)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::internal(format!("cannot start the async runtime: {error}")))?;
        let (direct, notices) = SshTransport::new(RunSshSettings::default());
        let transport = NodeTransport::new(direct, holder());
        let logins = runtime.block_on(RequiredLogins::of(&transport, &access, settings.ask_ssh_password));
        if let Some(password) = prompts::password(settings, &logins)? {
            transport.direct().set_password(password);
        }
        prompts::sudo_password(settings, &mut access)?;
        prompts::supervisor_passwords(nodes, &mut access);
        // Last: showing the key of a host behind a bastion takes a login at the bastion, with the password.
        runtime.block_on(prompts::before_connecting(&transport, logins, nodes, &access, budget.forks))?;
        Ok(Self { runtime, transport: Arc::new(transport), notices, access, budget, keeps })
    }

    /// Runs `plan` to its end and gives its events to `observe`. `signals` is called inside the runtime. Returns why the run
    /// was cancelled, if it was.
    ///
    /// # Errors
    /// If signals cannot be caught; nothing has been done then.
    pub fn run(
        self,
        plan: Plan,
        identity: RunIdentity,
        signals: impl FnOnce() -> Result<mpsc::Receiver<CancelReason>, CliError>,
        mut observe: impl FnMut(&[RunEvent]) -> JournalAck,
    ) -> Result<Option<CancelReason>, CliError> {
        // `signals` registers handlers with the runtime, so it must be called inside.
        let signals = {
            let _inside = self.runtime.enter();
            signals()?
        };
        Ok(self.run_observed(plan, identity, signals, &mut observe))
    }

    /// Not generic: the engine, which is most of the program, is compiled here once and not in each caller's crate again.
    fn run_observed(
        self,
        plan: Plan,
        identity: RunIdentity,
        signals: mpsc::Receiver<CancelReason>,
        observe: &mut dyn FnMut(&[RunEvent]) -> JournalAck,
    ) -> Option<CancelReason> {
        let RunIdentity { head, locks, first_seq, first_batch } = identity;
        let setup = RunSetup {
            plan: Arc::new(plan),
            head,
            access: self.access,
            forks: self.budget.forks,
            // A node that was read is done: its connection would only take memory, here and there.
            hangs_up: !self.keeps,
            transport: self.transport,
            notices: self.notices,
            guarding: locks,
            first_seq,
            first_batch,
        };
        let cancel = self.runtime.block_on(run(setup, signals, observe));
        // A node that never answers must not keep the process.
        self.runtime.shutdown_background();
        cancel
    }
}

/// This program as the process that keeps connections; none for another one, such as a test.
fn holder() -> Option<HolderProgram> {
    let own = std::env::current_exe().ok()?;
    // Linux notes there that the file was replaced, as by an update.
    let is_ctl = own.file_name()?.to_string_lossy().trim_end_matches(" (deleted)") == "ctl";
    // The file as it is in use, whatever its name leads to by now.
    let itself = Path::new("/proc/self/exe");
    let program = if itself.exists() { itself.to_owned() } else { own };
    let arguments = ["connections", "hold"].map(str::to_owned).to_vec();
    is_ctl.then_some(HolderProgram { program, arguments })
}

/// One round of a pool: [`WorkerPool::run_round`] for other crates, which would each compile the engine again if they
/// called that.
pub fn run_round<'a>(
    pool: &'a mut WorkerPool<NodeTransport>,
    head: RunHead,
    signals: &'a mut mpsc::Receiver<CancelReason>,
    observe: &'a mut (dyn FnMut(&[RunEvent]) -> JournalAck + Send),
) -> Pin<Box<dyn Future<Output = Option<CancelReason>> + Send + 'a>> {
    Box::pin(pool.run_round(head, signals, observe))
}
