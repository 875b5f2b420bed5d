//! One thing to do on a node, and the book of what is owed and told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::link::Instance;
use super::message::TargetKey;
use super::target::Debt;
use crate::inventory::Role;
use crate::supervisor::ProcessInfo;
use crate::transport::Transport;

/// One thing to do.
pub(super) enum Job<T: Transport> {
    /// The action on a process.
    Process { instance: Arc<Instance<T>>, process: ProcessInfo },
    /// The action on a service that init runs. `named`: it was typed itself, not matched by a glob.
    Init { role: Arc<Role>, service: String, is_instance: bool, named: bool },
    /// Rereading the configuration of a role's instances; which groups that concerns is known only then.
    Update { role: Arc<Role>, instances: Vec<Arc<Instance<T>>> },
}

impl<T: Transport> Job<T> {
    /// Whose result it will have.
    pub(super) fn key(&self) -> TargetKey {
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

    /// What is restarted one after the other: the processes of a group.
    pub(super) fn group(&self) -> Option<(&str, &str)> {
        match self {
            Self::Process { instance, process } => Some((&instance.supervisor.name, &process.group)),
            Self::Init { .. } | Self::Update { .. } => None,
        }
    }
}

/// The jobs of a visit, what is owed for each, and which have been told of.
pub(super) struct Book<T: Transport> {
    jobs: Mutex<Vec<Arc<Job<T>>>>,
    entries: Mutex<BTreeMap<TargetKey, Entry>>,
}

/// What is known of a job.
#[derive(Debug, Default, Clone)]
pub(super) struct Entry {
    /// What is owed.
    pub(super) debt: Debt,
    /// Its result has been given.
    pub(super) told: bool,
    /// When it was begun.
    pub(super) since: Option<Instant>,
}

impl<T: Transport> Default for Book<T> {
    fn default() -> Self {
        Self { jobs: Mutex::default(), entries: Mutex::default() }
    }
}

impl<T: Transport> Book<T> {
    /// Notes the jobs of the visit.
    pub(super) fn open(&self, jobs: &[Arc<Job<T>>]) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(jobs);
    }

    /// All jobs of the visit.
    pub(super) fn jobs(&self) -> Vec<Arc<Job<T>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is owed from now on.
    pub(super) fn owe(&self, key: &TargetKey, debt: Debt) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.clone()).or_default();
        entry.debt = debt;
        entry.since.get_or_insert_with(Instant::now);
    }

    /// Notes that a result was given.
    pub(super) fn told(&self, key: &TargetKey) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().told = true;
    }

    /// What is known of a job.
    pub(super) fn entry(&self, key: &TargetKey) -> Entry {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}
