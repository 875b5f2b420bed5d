//! The init wrappers of programs, `service contrail-collector VERB`: supervisorctl behind another name.
//!
//! The last resort, for nodes where neither a socket nor supervisorctl can be used. Invariants: a wrapper acts on all
//! processes of its program, and says neither where its supervisord listens nor which one it is.

use futures_util::future::join_all;

use super::interface::{Backend, Capabilities};
use super::request::ReachRequest;
use super::socket_probe::SocketProbe;
use super::supervisorctl::SupervisorctlBackend;
use crate::command_answer::{acted, processes};
use crate::error::SupervisorError;
use crate::parse::init::{self, InitState};
use crate::process::{ProcessInfo, ProcessVerb, SupervisorReading};
use crate::rescue::{self, RescueContext};
use crate::shell::NodeShell;
use ctl_guard::Rescue;
use ctl_inventory::ControlAddress;
use ctl_transport::Session;

/// The properties of this backend.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    runs_commands: true,
    restarts: true,
    acts_on_programs: true,
    lists_other_instances: true,
    reports_exits: false,
    reads_program_settings: false,
    reads_own_log: false,
};

/// The init wrappers of an instance's programs.
pub struct InitWrapperBackend<S: Session> {
    shell: NodeShell<S>,
    programs: Vec<String>,
    /// Where supervisorctl, which reports more than a wrapper, may reach the instance.
    addresses: Vec<ControlAddress>,
}

impl<S: Session> InitWrapperBackend<S> {
    /// The processes of one program.
    async fn list_program(&self, program: &str) -> Result<Vec<ProcessInfo>, SupervisorError> {
        let output = self.shell.run(&["service", program, "status"]).await?;
        let status = init::parse_status(program, &output.stdout, &output.stderr, Some(output.status));
        // A node need not have the wrapper of every program, so the caller skips this one.
        if status.state == InitState::NotFound {
            return Err(SupervisorError::CommandMissing(format!("`service {program}` does not exist on the node")));
        }
        // A script ends with the exit code of its last command; only 126 and above come from the shell or a signal.
        let listed =
            processes(&format!("service {program} status"), &output, self.shell.sudo().is_on(), |status| status < 126)?;
        Ok(listed.into_iter().filter(|process| process.group == program).collect())
    }
}

impl<S: Session> Backend for InitWrapperBackend<S> {
    type Session = S;

    const NAME: &'static str = "the init wrapper";

    /// Only the programs that the inventory names can be listed, each by its own wrapper.
    async fn reach(
        request: &ReachRequest<'_, S>,
        _seen: Option<&SocketProbe>,
    ) -> Result<(Self, SupervisorReading), SupervisorError> {
        let (programs, addresses) = (request.supervisor.services.clone(), request.supervisor.addresses.clone());
        let client = Self { shell: request.shell.clone(), programs, addresses };
        let processes = client.list().await?;
        Ok((client, SupervisorReading::of_processes(processes)))
    }

    fn on(&self, shell: NodeShell<S>) -> Self {
        Self { shell, programs: self.programs.clone(), addresses: self.addresses.clone() }
    }

    fn place(&self, instance: &str) -> String {
        format!("the init wrappers of {instance}")
    }

    /// The processes of all programs whose wrapper the node has: [`SupervisorError::CommandMissing`] if it has none of them.
    async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        // Each wrapper starts a Python, so they run at the same time.
        let answers = join_all(self.programs.iter().map(|program| self.list_program(program))).await;
        let mut found = Vec::new();
        let mut any = false;
        for answer in answers {
            match answer {
                Ok(processes) => {
                    // Even an empty list proves that the node has a wrapper.
                    any = true;
                    found.extend(processes);
                }
                Err(SupervisorError::CommandMissing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if any { Ok(found) } else { Err(SupervisorError::CommandMissing("no init wrapper of its programs".to_owned())) }
    }

    /// Acts on all processes of the program.
    async fn act(&self, verb: ProcessVerb, process: &ProcessInfo) -> Result<(), SupervisorError> {
        let program = &process.group;
        let answer = self.shell.run_to_its_end(&["service", program, verb.as_str()]).await?;
        acted(&format!("service {program} {verb}"), &answer)
    }

    /// A wrapper reports none; the supervisorctl that it calls does.
    async fn own_log(&self, bytes: usize) -> Result<Option<Vec<u8>>, SupervisorError> {
        for address in &self.addresses {
            let control = SupervisorctlBackend::new(self.shell.clone(), address.clone());
            // An address where nothing listens has no log either.
            if control.list().await.is_ok() {
                return control.own_log(bytes).await;
            }
        }
        Ok(None)
    }

    fn rescue(&self, _context: &RescueContext<'_>, group: &str, _name: &str) -> Option<Rescue> {
        Some(rescue::of_init(self.shell.sudo(), group))
    }
}
