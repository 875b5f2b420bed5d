//! The supervisords of a node, and the jobs that a batch has there.
//!
//! They are read once a task, for all roles that any step means: only so is it known that a service is nowhere on the
//! node. Invariants: nothing is changed here; a supervisord that does not answer has results that say so. Start
//! reading at [`DiscoveredNode::take`] and [`DiscoveredNode::agenda`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::debug;

use crate::action::init_service::InitTarget;
use crate::action::job::NodeJob;
use crate::engine::message::{NameCensus, NodeBatch, NodeInspection, TargetKey, WorkItem};
use crate::node::access::NodeAccess;
use crate::node::connection::{LiveInstance, NodeConnection, init_service};
use crate::node::context::{NodeContext, within};
use crate::node::oneshot;
use crate::results::ResultBuilder;
use ctl_event::{Failure, FailureKind, Outcome, PendingUpdate, ProcessState, Stage, TargetResult, TargetState, Via};
use ctl_guard::Rescue;
use ctl_inventory::{Role, Supervisor};
use ctl_plan::{Action, TaskIndex};
use ctl_select::ServicePattern;
use ctl_supervisor::backend::may_run_commands;
use ctl_supervisor::parse::init::InitState;
use ctl_supervisor::{ProcessInfo, SupervisorError, UpdateSummary};
use ctl_transport::Transport;

/// A node's supervisords, each with how it was reached or why not.
pub(crate) struct DiscoveredNode<T: Transport> {
    link: Arc<NodeConnection<T>>,
    instances: Vec<DiscoveredInstance<T>>,
    rows: ResultBuilder,
    /// The backend that the user chose.
    via: Option<Via>,
}

/// The supervisords of a node as they were read last, and for which task.
pub(crate) struct DiscoveryCache<T: Transport>(Option<(TaskIndex, Arc<DiscoveredNode<T>>)>);

impl<T: Transport> Default for DiscoveryCache<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Transport> DiscoveryCache<T> {
    /// Read for the task of a batch; anew if they were read for another task, which may have changed them.
    pub(crate) async fn get(&mut self, node: &NodeContext<T>, node_batch: NodeBatch) -> Arc<DiscoveredNode<T>> {
        let task = node.task_index(node_batch);
        if let Some((of, found)) = &self.0
            && *of == task
        {
            return Arc::clone(found);
        }
        node.show(WorkItem::Batch(node_batch), within("querying supervisord", node.access.timeout)).await;
        let found = Arc::new(DiscoveredNode::take(&node.connection, node.results.clone(), &node.access).await);
        self.set(task, Arc::clone(&found));
        found
    }

    /// Keeps a reading for a task.
    pub(crate) fn set(&mut self, task: TaskIndex, found: Arc<DiscoveredNode<T>>) {
        self.0 = Some((task, found));
    }

    /// Takes nothing for granted that was read before.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

/// An instance that the inventory names, reached or not.
struct DiscoveredInstance<T: Transport> {
    role: Arc<Role>,
    supervisor: Supervisor,
    reached: Result<Arc<LiveInstance<T>>, Failure>,
}

/// The jobs of a batch on the node, and the results that need no job.
pub(crate) struct VisitPlan<T: Transport> {
    pub(crate) jobs: Vec<NodeJob<T>>,
    pub(crate) results: Vec<TargetResult>,
}

impl<T: Transport> DiscoveredNode<T> {
    /// Finds the supervisords of all roles that are meant, at the same time.
    pub(crate) async fn take(link: &Arc<NodeConnection<T>>, rows: ResultBuilder, access: &NodeAccess) -> Self {
        let roles = rows.plan.roles_in(rows.index, None);
        let services: Vec<&ServicePattern> = rows.plan.services().collect();
        let via = rows.plan.via.or(access.via);
        // A restart of an instance goes through init, so the instance need not answer, and may be down.
        let ask = rows.plan.means_all_services() || services.iter().any(|service| !is_instance_only(service, &roles));
        // An init wrapper can only be queried by name, and a name that no role knows may belong to any instance.
        let stray = services.iter().filter(|service| !service.is_glob()).map(|service| service.group());
        let stray: Vec<&str> = stray.filter(|name| !roles.iter().any(|role| role.has_service(name))).collect();
        let with_stray = |supervisor: &Supervisor| {
            let mut supervisor = supervisor.clone();
            supervisor.services.extend(stray.iter().map(|name| (*name).to_owned()));
            supervisor
        };
        let all = roles.iter().flat_map(|role| role.supervisors.iter().map(move |supervisor| (role, supervisor)));
        let all = all.filter(|_| ask).map(|(role, supervisor)| (role, with_stray(supervisor)));
        let reached = join_all(all.map(async |(role, supervisor)| {
            let reached = LiveInstance::reach(link, role, &supervisor, via).await;
            (Arc::clone(role), supervisor, reached)
        }));
        let mut taken = BTreeSet::new();
        let mut instances = Vec::new();
        for (role, supervisor, reached) in reached.await {
            let reached = reached.map(|mut instance| {
                instance.leave_to_others(&mut taken);
                Arc::new(instance)
            });
            instances.push(DiscoveredInstance { role, supervisor, reached });
        }
        Self { link: Arc::clone(link), instances, rows, via }
    }

    /// The same reading for another plan of the node.
    pub(crate) fn in_plan(&self, rows: ResultBuilder) -> Self {
        let instances = self.instances.iter().map(|own| DiscoveredInstance {
            role: Arc::clone(&own.role),
            supervisor: own.supervisor.clone(),
            reached: own.reached.clone(),
        });
        Self { link: Arc::clone(&self.link), instances: instances.collect(), rows, via: self.via }
    }

    /// A failure that shows that the connection ended while the supervisords were queried.
    pub(crate) fn connection_lost(&self) -> Option<&Failure> {
        let failures = self.instances.iter().filter_map(|found| found.reached.as_ref().err());
        failures.into_iter().find(|failure| {
            failure.kind == FailureKind::ConnectionLost || matches!(failure.stage, Stage::Connect | Stage::Authenticate)
        })
    }

    /// The supervisords that answer.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Arc<LiveInstance<T>>> {
        self.instances.iter().filter_map(|found| found.reached.as_ref().ok())
    }

    /// Those that do not answer and whose failure is reported, with their sockets.
    pub(crate) fn not_reached(&self) -> impl Iterator<Item = &Supervisor> {
        let reported = |found: &&DiscoveredInstance<T>| {
            found.reached.as_ref().err().is_some_and(|failure| {
                let of_sockets = is_absent(failure) || failure.kind == FailureKind::Permission;
                of_sockets && !(found.supervisor.optional && is_absent(failure))
            })
        };
        self.instances.iter().filter(reported).map(|found| &found.supervisor)
    }

    /// The targets that this run may change, and the roles that are down.
    pub(crate) async fn inspect(&self, link: &NodeConnection<T>) -> NodeInspection {
        let mut inspection = NodeInspection::default();
        let plan = &self.rows.plan;
        for task in plan.tasks.indexes() {
            if plan.steps.iter().any(|step| step.task == task && step.nodes.contains(&self.rows.index)) {
                inspection.names.push(self.names(task).await);
            }
        }
        for (index, step) in plan.steps.indexed() {
            let Some(role) = &step.role else { continue };
            let is_member = |cap: &ctl_plan::RoleCap| {
                cap.task == step.task && cap.role == *role && cap.members.contains(&self.rows.index)
            };
            let capped = plan.caps.iter().any(is_member);
            let selected = step.nodes.contains(&self.rows.index);
            // Nodes that only count towards a cap are read too, to know whether they are down.
            if !capped && !selected {
                continue;
            }
            let agenda = self.agenda(NodeBatch { step: index, batch: 0, node: self.rows.index, batched: false });
            // A service that is nowhere on the node cannot be down there, nor be taken down.
            let is_failure = |result: &TargetResult| {
                let kind = result.failure.as_ref().map(|failure| failure.kind);
                result.outcome.is_bad() && kind != Some(FailureKind::NoSuchService)
            };
            let mut is_down = agenda.results.iter().any(is_failure);
            if capped && agenda.jobs.is_empty() && !is_down {
                inspection.untouched.push((step.task, role.clone()));
            }
            for job in &agenda.jobs {
                let Some(state) = state_of(job, link).await else { continue };
                is_down |= state.state != Some(ProcessState::Running) && !has_ended_well(job).await;
                // Several steps may mean the same target.
                if selected && !inspection.targets.contains(&state) {
                    inspection.targets.push(state);
                }
            }
            if capped && is_down {
                inspection.down.push((step.task, role.clone()));
            }
        }
        inspection
    }

    /// The names of a task that the node has.
    pub(crate) async fn names(&self, task: TaskIndex) -> NameCensus {
        let mut census = NameCensus { task, ..NameCensus::default() };
        let Some(task) = self.rows.plan.tasks.get(task) else { return census };
        let action = task.work.action();
        let names = task.work.services().iter().filter(|service| !service.is_glob());
        let mut missing = Vec::new();
        for service in names {
            // An update reads supervisord's configuration, in which init has no part.
            let has = self.has(service, action)
                || action != Action::Update && self.init_has(service, &mut census.unsure).await;
            if has {
                census.found.push(service.as_str().to_owned());
            } else {
                missing.push(service);
            }
        }
        // The lists below only serve to judge missing names.
        if missing.is_empty() {
            return census;
        }
        let processes = self.reached().flat_map(|instance| &instance.snapshot.processes);
        census.listed = processes.flat_map(|process| [process.group.clone(), process.full_name()]).collect();
        // A supervisord that should answer and does not may have the missing names.
        census.unsure |= self.instances.iter().any(|DiscoveredInstance { supervisor, reached, .. }| {
            reached.as_ref().err().is_some_and(|failure| !(supervisor.optional && is_absent(failure)))
        });
        // A group that is new in a configuration is listed by no supervisord yet.
        for instance in self.reached().filter(|_| action == Action::Update || !task.work.update_preview().is_empty()) {
            match pending(instance).await {
                Ok(UpdateSummary { added, changed, removed }) => {
                    let groups = [added, changed, removed].concat();
                    let named =
                        missing.iter().filter(|service| groups.iter().any(|group| service.matches_group(group)));
                    census.found.extend(named.map(|service| service.as_str().to_owned()));
                }
                Err(error) => {
                    debug!(instance = instance.supervisor.name, %error, "its configuration was not reread");
                    // Without its configuration nobody can say that the name is missing.
                    census.unsure = true;
                }
            }
        }
        census
    }

    /// The changes that an update would make now, for the services that a task previews.
    pub(crate) async fn pending_updates(&self, task: TaskIndex) -> Vec<PendingUpdate> {
        let preview = self.rows.plan.tasks.get(task).map(|task| task.work.update_preview()).unwrap_or_default();
        if preview.is_empty() {
            return Vec::new();
        }
        let named = |mut groups: Vec<String>| {
            groups.retain(|group| preview.iter().any(|service| service.matches_group(group)));
            groups
        };
        let meant: Vec<String> = preview.iter().map(|service| service.as_str().to_owned()).collect();
        let of_instance = async |instance: &Arc<LiveInstance<T>>| {
            let (node, role) =
                (crate::results::node_name(&self.rows.plan, self.rows.index), instance.role.name.clone());
            let (summary, failure) = match pending(instance).await {
                Ok(summary) => (summary, None),
                Err(error) => {
                    let failure = error.failure(Stage::Inspect).with_names_in_hint(&node, Some(&role), &meant);
                    (UpdateSummary::default(), Some(failure))
                }
            };
            PendingUpdate {
                node,
                role,
                supervisor: instance.supervisor.name.clone(),
                added: named(summary.added),
                changed: named(summary.changed),
                removed: named(summary.removed),
                failure,
            }
        };
        join_all(self.reached().map(of_instance)).await
    }

    /// Whether a supervisord of the node is of that name, or lists something that is. That an instance is not there is a
    /// failure of its own.
    fn has(&self, service: &ServicePattern, action: Action) -> bool {
        let roles = self.rows.plan.roles_in(self.rows.index, None);
        let is_instance =
            |role: &Arc<Role>| role.supervisors.iter().any(|supervisor| service.matches_instance(&supervisor.name));
        let lists = |instance: &Arc<LiveInstance<T>>| {
            instance.snapshot.processes.iter().any(|process| service.matches_process(&process.group, &process.name))
        };
        (action != Action::Update && roles.iter().any(is_instance)) || self.reached().any(lists)
    }

    /// Whether the node's init knows a service that the inventory says it may run under that name; `unsure` where it did
    /// not answer.
    async fn init_has(&self, service: &ServicePattern, unsure: &mut bool) -> bool {
        let roles = self.rows.plan.roles_in(self.rows.index, None);
        let services = roles.iter().flat_map(|role| &role.init_services);
        for name in services.filter(|name| service.matches_init_service(name)) {
            let asked = match init_service(&self.link, name).await {
                Ok(asked) => asked.status().await,
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(status) if status.state == InitState::NotFound => {}
                // Any other state means that init knows the name.
                Ok(_) => return true,
                Err(error) => {
                    debug!(service = name, %error, "init did not report whether it has the service");
                    *unsure = true;
                }
            }
        }
        false
    }

    /// The commands with which the guard would start again all that this run stops and starts on the node.
    pub(crate) fn rescues(&self, link: &NodeConnection<T>) -> Vec<Rescue> {
        let steps = self.rows.plan.steps.indexed();
        let own = steps.filter(|(_, step)| step.nodes.contains(&self.rows.index));
        let mut rescues = Vec::new();
        for (step, _) in own {
            let node_batch = NodeBatch { step, batch: 0, batched: false, node: self.rows.index };
            let action = self.rows.action(node_batch);
            for job in self.agenda(node_batch).jobs {
                // Only a restart and an update owe a start: a stop is meant to last.
                match (job, action) {
                    (NodeJob::Process { instance, process }, Action::Restart) => {
                        rescues.extend(instance.rescue(&process.group, &process.name));
                    }
                    (NodeJob::Init { service, .. }, Action::Restart) => rescues.push(link.rescue_of_init(&service)),
                    (NodeJob::Update { instances, .. }, Action::Update) => {
                        let services = self.rows.services(node_batch);
                        rescues.extend(instances.iter().flat_map(|instance| instance.rescues_of_groups(services)));
                    }
                    (NodeJob::Process { .. } | NodeJob::Init { .. } | NodeJob::Update { .. }, _) => {}
                }
            }
        }
        rescues
    }

    /// The jobs of a batch.
    pub(crate) fn agenda(&self, node_batch: NodeBatch) -> VisitPlan<T> {
        let roles = self.rows.plan.roles_in(self.rows.index, self.rows.role_of(node_batch));
        let services = self.rows.services(node_batch);
        let action = self.rows.action(node_batch);
        let mut jobs = Vec::new();
        let mut results = Vec::new();
        let mut updated = Vec::new();
        let here = |role: &Arc<Role>| roles.iter().any(|own| own.name == role.name);
        for DiscoveredInstance { role, supervisor, reached } in self.instances.iter().filter(|found| here(&found.role))
        {
            match reached {
                Err(failure) if supervisor.optional && is_absent(failure) => {
                    debug!(instance = supervisor.name, why = failure.message, "not on this node (optional)");
                }
                Err(failure) => results.extend(self.rows.not_reached(node_batch, role, supervisor, failure)),
                Ok(instance) if action == Action::Ping => results.push(self.rows.ping(node_batch, instance)),
                Ok(instance) if action == Action::Update => updated.push(Arc::clone(instance)),
                Ok(instance) => self.processes(node_batch, instance, &mut jobs, &mut results),
            }
        }
        // One job for all instances, since only all of them together show that a name is in no configuration.
        if let Some(role) = roles.first().filter(|_| !updated.is_empty()) {
            jobs.push(NodeJob::Update { role: Arc::clone(role), instances: updated });
        }
        if action == Action::Ping {
            if results.is_empty() {
                results.push(TargetResult {
                    message: "connected; no supervisord to query".to_owned(),
                    ..self.rows.empty(node_batch, Outcome::Ok)
                });
            }
            return VisitPlan { jobs, results };
        }
        for role in &roles {
            for supervisor in &role.supervisors {
                if services.iter().any(|service| service.matches_instance(&supervisor.name)) && action != Action::Update
                {
                    let service = supervisor.name.clone();
                    jobs.push(NodeJob::Init { role: Arc::clone(role), service, is_instance: true, named: true });
                }
            }
            self.init_services(node_batch, role, &mut jobs);
        }
        self.not_found(node_batch, &roles, &jobs, &mut results);
        // A resumed run acts only on the targets that are left.
        if let Some(task) = self.rows.task(node_batch) {
            let node = crate::results::node_name(&self.rows.plan, self.rows.index);
            let meant = |key: TargetKey| task.targets.contains(&node, key.role.as_deref(), key.service.as_deref());
            jobs.retain(|job| meant(job.key()));
            results.retain(|result| meant(TargetKey::of(result)));
        }
        VisitPlan { jobs, results }
    }

    /// The processes of an instance that are meant.
    fn processes(
        &self,
        node_batch: NodeBatch,
        instance: &Arc<LiveInstance<T>>,
        jobs: &mut Vec<NodeJob<T>>,
        results: &mut Vec<TargetResult>,
    ) {
        let services = self.rows.services(node_batch);
        let listed = &instance.snapshot.processes;
        let meant = |process: &ProcessInfo| {
            services.is_empty() || services.iter().any(|service| service.matches_process(&process.group, &process.name))
        };
        for process in listed.iter().filter(|process| meant(process)) {
            // This backend reaches all processes of a program at once, whether or not they were selected.
            let alone = |other: &ProcessInfo| other.group != process.group || meant(other);
            if self.rows.action(node_batch).changes()
                && instance.capabilities().acts_on_programs
                && !listed.iter().all(alone)
            {
                let message = format!(
                    "the init wrapper acts on all of {} at once, but only part of it was selected",
                    process.group
                );
                let failure = Failure::new(Stage::Plan, FailureKind::Protocol, message)
                    .with_hint("use --via rpc or --via supervisorctl for a single process");
                let result = self.rows.of_process(node_batch, instance, process, Outcome::Failed);
                results.push(TargetResult { failure: Some(failure), ..result });
                continue;
            }
            jobs.push(NodeJob::Process { instance: Arc::clone(instance), process: process.clone() });
        }
        let unnamed = instance.snapshot.unnamed;
        // An entry without a name may be a process that was meant, so it must not disappear silently.
        if unnamed > 0 && (services.is_empty() || services.iter().any(ServicePattern::is_glob)) {
            let result = self.rows.of(node_batch, instance, Outcome::Failed);
            let entries = if unnamed == 1 { "1 entry".to_owned() } else { format!("{unnamed} entries") };
            let message = format!("{}: {entries} without a name in its process list", instance.supervisor.name);
            let failure = Failure::new(Stage::Inspect, FailureKind::Protocol, message)
                .with_hint("its other processes were read; look at `supervisorctl status` on the node");
            results.push(TargetResult { failure: Some(failure), ..result });
            return;
        }
        if services.is_empty() && listed.is_empty() && !instance.supervisor.optional {
            let result = self.rows.of(node_batch, instance, Outcome::Ok);
            results.push(TargetResult { message: "it runs no programs".to_owned(), ..result });
        }
    }

    /// The services of a role that init runs and that are meant. In older releases supervisord runs some of them, and
    /// then its list decides.
    fn init_services(&self, node_batch: NodeBatch, role: &Arc<Role>, jobs: &mut Vec<NodeJob<T>>) {
        let services = self.rows.services(node_batch);
        for name in &role.init_services {
            let asked_by = services.iter().find(|service| service.matches_init_service(name));
            let by_supervisord = self.instances.iter().any(|DiscoveredInstance { reached, .. }| {
                reached
                    .as_ref()
                    .is_ok_and(|instance| instance.snapshot.processes.iter().any(|process| process.group == *name))
            });
            // With XML-RPC alone no command may run on the node, unless the user named the service itself.
            let spared = !may_run_commands(self.via) && asked_by.is_none_or(ServicePattern::is_glob);
            if by_supervisord
                || spared
                || (asked_by.is_none() && !services.is_empty())
                || self.rows.action(node_batch) == Action::Update
            {
                continue;
            }
            let named = asked_by.is_some_and(|service| !service.is_glob());
            jobs.push(NodeJob::Init { role: Arc::clone(role), service: name.clone(), is_instance: false, named });
        }
    }

    /// Says of each service that was named where it is not; and, if it was named by hand and is nowhere on the node,
    /// that there is none.
    fn not_found(
        &self,
        node_batch: NodeBatch,
        roles: &[Arc<Role>],
        jobs: &[NodeJob<T>],
        results: &mut Vec<TargetResult>,
    ) {
        // An update has a result of its own for a name that is in no configuration.
        if self.rows.action(node_batch) == Action::Update {
            return;
        }
        let all_roles = self.rows.plan.roles_in(self.rows.index, None);
        for service in self.rows.services(node_batch) {
            let lists = |instance: &LiveInstance<T>| {
                instance.snapshot.processes.iter().any(|process| service.matches_process(&process.group, &process.name))
            };
            let by_init = |role: &Arc<Role>| {
                role.supervisors.iter().any(|supervisor| service.matches_instance(&supervisor.name))
                    || role.init_services.iter().any(|name| service.matches_init_service(name))
            };
            let anywhere = all_roles.iter().any(by_init)
                || self.instances.iter().any(|DiscoveredInstance { supervisor, reached, .. }| match reached {
                    Ok(instance) => lists(instance),
                    // Nothing is known of one that does not answer, unless it need not exist.
                    Err(failure) => !(supervisor.optional && is_absent(failure)),
                });
            let first_visit = all_roles.first().is_none_or(|first| roles.iter().any(|role| role.name == first.name));
            if !anywhere && self.rows.task(node_batch).is_some_and(|task| task.explicit) {
                // The name is missing on the whole node, so only the step of the first role reports it.
                if first_visit {
                    results.push(self.rows.no_such_service(node_batch, service, &self.listed()));
                }
                continue;
            }
            for role in roles.iter().filter(|role| !by_init(role)) {
                let of_role = || self.instances.iter().filter(|found| found.role.name == role.name);
                let reached = || of_role().filter_map(|found| found.reached.as_ref().ok());
                // One of the role's supervisords has it, so it is no news that the others have not.
                if reached().any(|instance| lists(instance)) {
                    continue;
                }
                // An optional instance is not expected to have the service.
                for instance in reached().filter(|instance| !instance.supervisor.optional) {
                    let mut result = self.rows.of(node_batch, instance, Outcome::NotConfigured);
                    result.service = Some(service.as_str().to_owned());
                    result.message = format!("{} does not list it", instance.supervisor.name);
                    results.push(result);
                }
            }
        }
        // Without these results the node would have none at all for this batch.
        if jobs.is_empty() && results.is_empty() {
            for service in self.rows.services(node_batch) {
                let mut result = self.rows.empty(node_batch, Outcome::NotConfigured);
                result.service = Some(service.as_str().to_owned());
                result.message = "the node has no supervisord that could run it".to_owned();
                results.push(result);
            }
        }
    }

    /// Every process that any supervisord of the node lists.
    fn listed(&self) -> Vec<String> {
        let reached = self.instances.iter().filter_map(|found| found.reached.as_ref().ok());
        reached.flat_map(|instance| instance.snapshot.processes.iter().map(ProcessInfo::full_name)).collect()
    }
}

/// The groups that the configuration as it is now would add, change or take away. Nothing is applied.
async fn pending<T: Transport>(instance: &LiveInstance<T>) -> Result<UpdateSummary, SupervisorError> {
    instance.client().await?.reload_config().await
}

/// Whether a failure to reach an instance may just mean that the node does not have it.
fn is_absent(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::SupervisorMissing | FailureKind::SupervisorDown)
}

/// Whether a name means only instances, which need not answer for that.
fn is_instance_only(service: &ServicePattern, roles: &[Arc<Role>]) -> bool {
    roles.iter().flat_map(|role| &role.supervisors).any(|supervisor| service.matches_instance(&supervisor.name))
}

/// Whether a job is of a program that is made to end, and has ended as expected.
async fn has_ended_well<T: Transport>(job: &NodeJob<T>) -> bool {
    match job {
        NodeJob::Process { instance, process } => oneshot::has_ended_well(instance, process).await,
        NodeJob::Init { .. } | NodeJob::Update { .. } => false,
    }
}

/// A target as it is now; none where it is not there, or nothing of it is known before it is done.
async fn state_of<T: Transport>(job: &NodeJob<T>, link: &NodeConnection<T>) -> Option<TargetState> {
    let TargetKey { role, supervisor, service } = job.key();
    match job {
        NodeJob::Process { process, .. } => Some(TargetState {
            role,
            supervisor,
            service,
            state: Some(process.state),
            pid: process.pid,
            start: process.start,
        }),
        NodeJob::Init { service: name, is_instance, .. } => {
            let (stable, is_instance) = (Duration::ZERO, *is_instance);
            let target = InitTarget { link, name, is_instance, stable };
            let verdict = target.act(Action::Status, None).await?;
            Some(TargetState { role, supervisor, service, state: verdict.state, pid: verdict.pid, start: None })
        }
        NodeJob::Update { .. } => None,
    }
}
