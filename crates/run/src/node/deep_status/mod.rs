//! The part of `ctl status` beyond supervisord's states: how services do their work, and the files left behind on the
//! node.
//!
//! Here lives [`DeepStatus`], one for each reading of a node: it starts before the supervisords are queried, judges
//! each process, and in the end collects the facts of the node. `findings.rs` judges the files on the node,
//! `unstable.rs` finds processes that do not stay up. It uses `supervisor`. Invariants: nothing is changed;
//! nothing is claimed that was not read; a service is queried a second time before it is called bad; each query is
//! bounded in time, all of them by the node's own; none makes the node fail. Nothing is kept for the next reading but
//! the versions of packages, and these for [`FRESH`]. Start reading at [`DeepStatus::begin`] and [`DeepStatus::judge`].

mod findings;
mod unstable;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{Instrument, debug};

use self::unstable::InstancePast;
use crate::node::connection::{LiveInstance, NodeConnection};
use crate::node::discovery::DiscoveredNode;
use crate::results::ResultBuilder;
use ctl_event::{
    FindingKind, FunctionalStatus, NodeFacts, NodeFinding, Outcome, ProcessState, SupervisorFacts, TargetResult, Via,
};
use ctl_inventory::{Role, introspect_port, packages_of};
use ctl_supervisor::ProcessInfo;
use ctl_supervisor::backend::may_run_commands;
use ctl_supervisor::introspect::{self, AnswerSource, FunctionalState, IntrospectAnswer};
use ctl_supervisor::node_scan::{self, NodeScan, ScanPaths};
use ctl_transport::{Transport, TransportError};

/// How long to wait for one answer: the limit of contrail-status after it was raised three times, since busy nodes are
/// slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before a second query of a service that answered at once, and not as it should.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a node may take to be searched.
const SEARCH: Duration = Duration::from_secs(5);

/// How long versions of packages hold.
const FRESH: Duration = Duration::from_secs(60);

/// Time to end a reading once the time for the node is over: everything read until then is reported.
pub(crate) const GRACE: Duration = Duration::from_millis(700);

/// Versions of a node's packages by name, and when they were read.
pub(crate) type PackageVersions = (Instant, BTreeMap<String, String>);

/// The end of a search of the node.
type NodeSearchResult = Arc<Result<NodeScan, String>>;

/// The deep status of a node.
pub(crate) struct DeepStatus<T: Transport> {
    link: Arc<NodeConnection<T>>,
    rows: ResultBuilder,
    /// When the time for the node is over.
    deadline: Instant,
    /// None: it is not searched, since the user chose XML-RPC alone, and no command may run there.
    search: Option<NodeSearch>,
    /// Versions that were read not long ago.
    packages: Option<PackageVersions>,
    /// The notes of supervisords, by role and instance.
    pasts: Mutex<BTreeMap<(String, String), Arc<InstancePast>>>,
    /// Whether something on the node was heard over a forwarded port: then sshd forwards.
    heard: AtomicBool,
    /// Why services cannot be queried.
    unheard: OnceLock<String>,
    /// The ports that the node itself finds open; none if it could not list them.
    open_ports: OnceCell<Option<BTreeSet<u16>>>,
}

/// A search that is under way. Dropped, it ends.
struct NodeSearch {
    found: watch::Receiver<Option<NodeSearchResult>>,
    _task: JoinSet<()>,
}

/// How a service does its work, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServiceStatement {
    status: FunctionalStatus,
    reason: Option<String>,
}

impl From<FunctionalState> for ServiceStatement {
    fn from(said: FunctionalState) -> Self {
        Self { status: said.status(), reason: said.reason().map(str::to_owned) }
    }
}

/// The reply of a service to one question.
enum IntrospectReply {
    Answer(IntrospectAnswer),
    /// The node opens no stream to it.
    Refused(TransportError),
    /// The connection to the node was lost, and could not be made again.
    Lost(TransportError),
}

impl<T: Transport> DeepStatus<T> {
    /// Begins to search the node, unless `via` forbids that. All of it ends at `deadline`.
    pub(crate) fn begin(
        link: &Arc<NodeConnection<T>>,
        rows: &ResultBuilder,
        via: Option<Via>,
        packages: Option<PackageVersions>,
        deadline: Instant,
    ) -> Self {
        // Older versions are read again, by a search that runs anyway.
        let packages = packages.filter(|(since, _)| since.elapsed() < FRESH);
        let search = may_run_commands(via).then(|| NodeSearch::begin(link, rows, packages.is_none()));
        Self {
            link: Arc::clone(link),
            rows: rows.clone(),
            deadline,
            search,
            packages,
            pasts: Mutex::default(),
            heard: AtomicBool::new(false),
            unheard: OnceLock::new(),
            open_ports: OnceCell::new(),
        }
    }

    /// Notes in the result of a process how it does its work.
    pub(crate) async fn judge(
        &self,
        result: &mut TargetResult,
        instance: &Arc<LiveInstance<T>>,
        process: &ProcessInfo,
    ) {
        let said = self.functional(instance, process).await;
        (result.functional, result.functional_reason) = split(said);
        self.note_version(result).await;
    }

    /// The same for a result that no supervisord gave: of a service that init runs, of one that is not there.
    pub(crate) async fn judge_other(&self, result: &mut TargetResult) {
        if result.outcome == Outcome::Ok
            && let Some(state) = result.state
        {
            let said = if state == ProcessState::Running { None } else { of_state(state, &result.message) };
            (result.functional, result.functional_reason) = split(said);
        }
        self.note_version(result).await;
    }

    async fn functional(&self, instance: &Arc<LiveInstance<T>>, process: &ProcessInfo) -> Option<ServiceStatement> {
        if !matches!(process.state, ProcessState::Running | ProcessState::Starting) {
            return of_state(process.state, &process.description);
        }
        let ask = async {
            if process.state == ProcessState::Running {
                self.ask(instance, process).await
            } else {
                of_state(process.state, &process.description)
            }
        };
        // Boxed: it is large and mostly done at once, while the service is still being asked.
        let unstable = Box::pin(async {
            let reason = self.past(instance).unstable(instance, process).await?;
            Some(ServiceStatement { status: FunctionalStatus::Failed, reason: Some(reason) })
        });
        let both = futures_util::future::join(ask, unstable);
        match timeout_at(self.deadline, both).await {
            Ok((said, unstable)) => unstable.or(said),
            Err(_) if process.state == ProcessState::Starting => of_state(process.state, &process.description),
            Err(_) => {
                introspect::port_of(&instance.role.introspect, &process.group, &process.name)?;
                let reason = "no answer before the node's timeout expired".to_owned();
                Some(ServiceStatement { status: FunctionalStatus::Timeout, reason: Some(reason) })
            }
        }
    }

    /// The report of a process about itself; none where it has no introspect port, or cannot be queried.
    ///
    /// A port is found as contrail-status does it (`contrail-controller` R3.2 `src/config/utils/contrail-status.py`),
    /// but in another order: first the port from the inventory, which mostly is the table that both start from, then,
    /// where that answer is not healthy, the one that the node itself names. So nobody waits for the search of the
    /// node.
    async fn ask(&self, instance: &Arc<LiveInstance<T>>, process: &ProcessInfo) -> Option<ServiceStatement> {
        let group = &process.group;
        let (port, is_given) = match introspect::port_of(&instance.role.introspect, group, &process.name) {
            // Somebody wrote another port than the usual one into the inventory.
            Some(port) => (port, introspect_port(group) != Some(port)),
            // ToR agents and their ports are numbered when the cluster is provisioned, so no table has them.
            None if group.starts_with(TOR_AGENT) => (self.port_on_node(group).await?, true),
            None => return None,
        };
        // A supervisord that is reached over a forwarded TCP port proves that sshd forwards.
        if instance.is_forwarded_to_tcp() {
            self.heard.store(true, Ordering::Relaxed);
        }
        let mut port = port;
        let mut asked = self.question(group, port).await;
        if !is_settled(&asked) {
            // After a timeout the service has had its pause already.
            if !matches!(&asked, IntrospectReply::Answer(answer) if answer.said == FunctionalState::Timeout) {
                sleep(PAUSE).await;
            }
            // A port that somebody wrote into the inventory is not replaced by another one.
            if !is_given && let Some(other) = self.port_on_node(group).await {
                port = other;
            }
            asked = self.question(group, port).await;
        }
        match asked {
            IntrospectReply::Answer(IntrospectAnswer { source: AnswerSource::Refusal, .. })
                if self.is_forbidden(port).await =>
            {
                self.cannot_be_asked("sshd refuses connections to open ports");
                None
            }
            IntrospectReply::Answer(answer) => Some(answer.said.into()),
            IntrospectReply::Refused(error) => {
                self.cannot_be_asked(&error.to_string());
                None
            }
            IntrospectReply::Lost(error) => Some(ServiceStatement {
                status: FunctionalStatus::Timeout,
                reason: Some(format!("cannot query it: {error}")),
            }),
        }
    }

    async fn question(&self, service: &str, port: u16) -> IntrospectReply {
        let session = match self.link.session().await {
            Ok(session) => session,
            Err(error) => return IntrospectReply::Lost(error),
        };
        let is_closed = async { self.open_ports().await.is_some_and(|ports| !ports.contains(&port)) };
        match introspect::question(session.as_ref(), service, port, PATIENCE, is_closed).await {
            Ok(answer) => {
                // Any other answer came over a forwarded channel.
                if answer.source != AnswerSource::Refusal {
                    self.heard.store(true, Ordering::Relaxed);
                }
                IntrospectReply::Answer(answer)
            }
            Err(error @ TransportError::ChannelRefused { .. }) => IntrospectReply::Refused(error),
            Err(error) => IntrospectReply::Lost(error),
        }
    }

    fn cannot_be_asked(&self, why: &str) {
        debug!(why, "cannot query services");
        // The first reason is enough, since the node has one sshd.
        self.unheard.get_or_init(|| why.to_owned());
    }

    /// Whether sshd itself refused the connection. Not every sshd reports a forbidden forwarding in another way than a
    /// port that nobody listens on; but if nothing at all was heard from a node, a port that is open there shows the
    /// difference.
    async fn is_forbidden(&self, port: u16) -> bool {
        if self.search.is_none() {
            return false;
        }
        if !self.heard.load(Ordering::Relaxed) {
            // The other services are queried at the same time, and one of them may answer meanwhile.
            sleep(PAUSE).await;
        }
        if self.heard.load(Ordering::Relaxed) {
            return false;
        }
        // Without a list there is no proof.
        let is_open = self.open_ports().await.is_some_and(|ports| ports.contains(&port));
        // Another service may have answered while the ports were listed.
        is_open && !self.heard.load(Ordering::Relaxed)
    }

    /// The ports that the node itself finds open; none if it could not list them.
    async fn open_ports(&self) -> Option<&BTreeSet<u16>> {
        // Without a search no command may run.
        self.search.as_ref()?;
        self.open_ports.get_or_init(|| async { self.link.open_ports(PATIENCE).await }).await.as_ref()
    }

    /// The port that the node says a program has.
    async fn port_on_node(&self, program: &str) -> Option<u16> {
        let found = self.found().await?;
        found.as_ref().as_ref().ok()?.ports.get(program).copied()
    }

    fn past(&self, instance: &LiveInstance<T>) -> Arc<InstancePast> {
        let key = (instance.role.name.clone(), instance.supervisor.name.clone());
        Arc::clone(self.pasts.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }

    /// The result of the search; none if the node is not searched. A search that is not done when the time for the node
    /// is over has failed.
    async fn found(&self) -> Option<NodeSearchResult> {
        let mut found = self.search.as_ref()?.found.clone();
        let over = || Arc::new(Err("the node's timeout expired".to_owned()));
        match timeout_at(self.deadline, found.wait_for(Option::is_some)).await {
            Ok(Ok(found)) => Some(found.clone().unwrap_or_else(over)),
            // The sender is gone only if the search itself was aborted.
            Ok(Err(_)) | Err(_) => Some(over()),
        }
    }

    /// Versions of the node's packages.
    pub(crate) async fn packages(&self) -> Option<PackageVersions> {
        if self.packages.is_some() {
            return self.packages.clone();
        }
        let found = self.found().await?;
        found.as_ref().as_ref().ok().map(|scan| (Instant::now(), scan.packages.clone()))
    }

    async fn note_version(&self, result: &mut TargetResult) {
        let Some(name) = &result.role else { return };
        let Some(role) = self.rows.plan.known_roles.iter().find(|role| role.name == *name) else { return };
        let names = packages_of(role);
        if names.is_empty() {
            return;
        }
        let Some((_, packages)) = self.packages().await else { return };
        result.version = names.iter().find_map(|name| packages.get(*name).cloned());
    }

    /// The facts of the node. Without a view, none of its supervisords answered in time.
    pub(crate) async fn facts(&self, view: Option<&DiscoveredNode<T>>) -> NodeFacts {
        let mut facts =
            NodeFacts { node: crate::results::node_name(&self.rows.plan, self.rows.index), ..NodeFacts::default() };
        facts.supervisors =
            view.into_iter().flat_map(DiscoveredNode::reached).map(|instance| of_instance(instance)).collect();
        facts.packages = self.packages().await.map(|(_, packages)| packages).unwrap_or_default();
        match self.found().await.as_deref() {
            Some(Ok(scan)) => facts.findings = self.findings(scan, view),
            Some(Err(why)) => facts.findings.push(NodeFinding {
                kind: FindingKind::NotSearched,
                role: None,
                message: format!("not searched for core files and sockets: {why}"),
                details: Vec::new(),
                count: None,
            }),
            None => facts.findings.push(NodeFinding {
                kind: FindingKind::NotSearched,
                role: None,
                message: "not searched for core files and sockets: --via rpc runs no commands on the node".to_owned(),
                details: Vec::new(),
                count: None,
            }),
        }
        if let Some(why) = self.unheard.get() {
            facts.findings.push(NodeFinding {
                kind: FindingKind::NoIntrospect,
                role: None,
                message: "sshd forbids forwarding: the functional state of services is unknown".to_owned(),
                details: vec![why.clone()],
                count: None,
            });
        }
        facts
    }

    fn findings(&self, scan: &NodeScan, view: Option<&DiscoveredNode<T>>) -> Vec<NodeFinding> {
        let plan = &self.rows.plan;
        let Some(selected) = plan.nodes.get(self.rows.index) else { return Vec::new() };
        let is_own = |role: &&Arc<Role>| selected.node.roles.contains(&role.name);
        let (own, others): (Vec<_>, Vec<_>) = plan.known_roles.iter().partition(is_own);
        let answering = view.into_iter().flat_map(DiscoveredNode::reached).filter_map(|instance| instance.socket());
        let silent =
            view.into_iter().flat_map(DiscoveredNode::not_reached).flat_map(findings::sockets).map(str::to_owned);
        let reported: BTreeSet<String> = answering.chain(silent).collect();
        findings::of(scan, &own, &others, &reported)
    }
}

impl NodeSearch {
    fn begin<T: Transport>(link: &Arc<NodeConnection<T>>, rows: &ResultBuilder, packages: bool) -> Self {
        let mut places = ScanPaths { packages, ..ScanPaths::default() };
        for supervisor in rows.plan.known_roles.iter().flat_map(|role| &role.supervisors) {
            places.sockets.extend(findings::sockets(supervisor).map(str::to_owned));
            places.config_files.extend(supervisor.config_file.clone());
        }
        let (report, found) = watch::channel(None);
        let mut task = JoinSet::new();
        let link = Arc::clone(link);
        let work = async move {
            let search = async {
                let shell = link.shell().await.map_err(|error| error.to_string())?;
                node_scan::scan(&shell, &places).await.map_err(|error| error.to_string())
            };
            let silent = |_| Err(format!("no answer within {} s", SEARCH.as_secs()));
            let scan = timeout(SEARCH, search).await.unwrap_or_else(silent);
            // Nobody may wait for the result any more, which is no error.
            drop(report.send(Some(Arc::new(scan))));
        };
        task.spawn(work.in_current_span());
        Self { found, _task: task }
    }
}

/// The names of the programs of ToR agents, before their number.
const TOR_AGENT: &str = "contrail-tor-agent-";

/// Whether a second query would bring nothing new.
fn is_settled(asked: &IntrospectReply) -> bool {
    match asked {
        // A standby refuses connections, and is healthy.
        IntrospectReply::Answer(answer) => answer.source == AnswerSource::Itself || answer.said.is_well(),
        // sshd's configuration forbids the forwarding, which a second query does not change (RFC 4254, 5.1).
        IntrospectReply::Refused(error) => error.is_prohibited(),
        IntrospectReply::Lost(_) => false,
    }
}

/// The state of a service's work, as far as the state of its process shows it.
fn of_state(state: ProcessState, description: &str) -> Option<ServiceStatement> {
    let described = Some(description.to_owned()).filter(|text| !text.is_empty());
    let (status, reason) = match state {
        ProcessState::Running => return None,
        ProcessState::Starting => (FunctionalStatus::Initializing, None),
        // The time of the stop stands beside its state already.
        ProcessState::Stopped => (FunctionalStatus::Inactive, described.filter(|text| text == "Not started")),
        ProcessState::Stopping => (FunctionalStatus::Inactive, None),
        ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown | ProcessState::Backoff => {
            (FunctionalStatus::Failed, described)
        }
    };
    Some(ServiceStatement { status, reason })
}

fn split(said: Option<ServiceStatement>) -> (Option<FunctionalStatus>, Option<String>) {
    said.map_or((None, None), |said| (Some(said.status), said.reason))
}

fn of_instance<T: Transport>(instance: &Arc<LiveInstance<T>>) -> SupervisorFacts {
    SupervisorFacts {
        role: instance.role.name.clone(),
        name: instance.supervisor.name.clone(),
        address: instance.address().map(|address| address.to_string()),
        via: instance.via(),
        version: Some(instance.snapshot.version.clone()).filter(|version| !version.is_empty()),
        pid: instance.snapshot.pid,
    }
}
