//! One thing to do on a node. Its obligations are in `obligations.rs`.

use std::sync::Arc;

use crate::engine::message::{NodeBatch, TargetKey};
use crate::node::connection::LiveInstance;
use crate::results::ResultBuilder;
use ctl_event::{Outcome, TargetResult};
use ctl_inventory::Role;
use ctl_supervisor::ProcessInfo;
use ctl_transport::Transport;

/// One thing to do.
pub(crate) enum NodeJob<T: Transport> {
    /// The action on a process.
    Process { instance: Arc<LiveInstance<T>>, process: ProcessInfo },
    /// The action on a service that init runs. `named`: it was typed itself, not matched by a glob.
    Init { role: Arc<Role>, service: String, is_instance: bool, named: bool },
    /// Rereading the configuration of a role's instances; which groups that concerns is known only then.
    Update { role: Arc<Role>, instances: Vec<Arc<LiveInstance<T>>> },
}

impl<T: Transport> NodeJob<T> {
    /// Whose result it will have.
    pub(crate) fn key(&self) -> TargetKey {
        match self {
            Self::Process { instance, process } => TargetKey {
                role: Some(instance.role.name.clone()),
                supervisor: Some(instance.supervisor.name.clone()),
                service: Some(process.full_name()),
            },
            Self::Init { role, service, is_instance, .. } => TargetKey {
                role: Some(role.name.clone()),
                supervisor: is_instance.then(|| service.clone()),
                service: Some(service.clone()),
            },
            Self::Update { role, .. } => TargetKey { role: Some(role.name.clone()), supervisor: None, service: None },
        }
    }

    /// A result for it of which nothing is known but its outcome.
    pub(crate) fn result(&self, rows: &ResultBuilder, node_batch: NodeBatch, outcome: Outcome) -> TargetResult {
        let result = match self {
            Self::Process { instance, .. } => rows.of(node_batch, instance, outcome),
            Self::Init { .. } | Self::Update { .. } => rows.empty(node_batch, outcome),
        };
        let TargetKey { role, supervisor, service } = self.key();
        TargetResult { role, supervisor, service, ..result }
    }

    /// The group whose processes are restarted one after the other.
    pub(crate) fn group(&self) -> Option<(&str, &str)> {
        match self {
            Self::Process { instance, process } => Some((&instance.supervisor.name, &process.group)),
            Self::Init { .. } | Self::Update { .. } => None,
        }
    }
}
