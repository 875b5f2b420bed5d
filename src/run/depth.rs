//! What `ctl status` reads beyond supervisord's states: how services do their work, and what lies about on the node.
//!
//! Here live [`search`], which looks around on a node while its supervisords are asked, and [`Depth`], taken then and asked
//! for each of its processes. It uses `supervisor`.
//! What always holds: nothing is changed; nothing is claimed that was not asked; a service is asked again before it is
//! called bad; each question is bounded in time, and none of them makes the node fail. Start reading at [`Depth::take`]
//! and [`Depth::judge`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::evidence;
use super::link::{Instance, Link};
use super::rows::Rows;
use super::view::View;
use crate::event::{FailureKind, Finding, FindingKind, NodeFacts, ProcessState, SupervisorFacts, TargetResult, Via};
use crate::inventory::{ControlAddress, Role, Supervisor, packages_of};
use crate::supervisor::ProcessInfo;
use crate::supervisor::introspect::{self, Functional};
use crate::supervisor::survey::{self, Places, Survey};
use crate::transport::{Transport, TransportError};

/// How long one answer is waited for: what contrail-status came to after it was raised three times, since busy nodes are
/// slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// Before a service is asked again that did not answer as it should.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a node may take to be searched.
const SEARCH: Duration = Duration::from_secs(5);

/// How long supervisord's own log may take.
const LOG: Duration = Duration::from_secs(3);

/// A process that has been up for longer does not keep changing its pid.
const YOUNG: Duration = Duration::from_secs(600);

/// So often a process has to have ended by itself within [`YOUNG`] to be one whose pid keeps changing.
const ENDS: usize = 2;

/// What was found out about a node.
pub(super) struct Depth {
    survey: Searched,
    /// Why a process counts as one that does not stay up: by instance and full name.
    unstable: BTreeMap<(String, String), String>,
    /// Whether sshd forbids what services are asked through.
    forbidden: AtomicBool,
}

/// What a search of a node ended in; none where it was not to be searched.
pub(super) type Searched = Option<Result<Survey, String>>;

/// Searches a node for what any role of the inventory may have left there, and for core files. `via`: the way that was
/// asked for; where that is XML-RPC alone, nothing is executed on the node.
pub(super) async fn search<T: Transport>(link: Arc<Link<T>>, rows: Rows, via: Option<Via>) -> Searched {
    if via == Some(Via::Rpc) {
        return None;
    }
    let mut places = Places::default();
    for supervisor in rows.plan.known_roles.iter().flat_map(|role| &role.supervisors) {
        places.sockets.extend(sockets(supervisor).map(str::to_owned));
        places.config_files.extend(supervisor.config_file.clone());
    }
    let shell = match link.shell().await {
        Ok(shell) => shell,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(match timeout(SEARCH, survey::survey(&shell, &places)).await {
        Ok(Ok(survey)) => Ok(survey),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", SEARCH.as_secs())),
    })
}

impl Depth {
    /// Of a node that was searched; reads what its supervisords have noted of processes that have not been up for long.
    pub(super) async fn take<T: Transport>(survey: Searched, view: &View<T>) -> Self {
        let unstable = join_all(view.reached().map(|instance| async move {
            let found = timeout(LOG, unstable(instance)).await.unwrap_or_default();
            let name = &instance.supervisor.name;
            found.into_iter().map(|(process, why)| ((name.clone(), process), why)).collect::<Vec<_>>()
        }));
        let unstable = unstable.await.into_iter().flatten().collect();
        Self { survey, unstable, forbidden: AtomicBool::new(false) }
    }

    /// Notes in the result of a process how it does its work.
    pub(super) async fn judge<T: Transport>(
        &self,
        result: &mut TargetResult,
        instance: &Instance<T>,
        process: &ProcessInfo,
    ) {
        let described = Some(process.description.clone()).filter(|text| !text.is_empty());
        let unstable = self.unstable.get(&(instance.supervisor.name.clone(), process.full_name()));
        let (word, reason) = match (process.state, unstable) {
            (ProcessState::Running | ProcessState::Starting, Some(why)) => (Some("failed"), Some(why.clone())),
            (ProcessState::Running, None) => match self.ask(instance, process).await {
                Some(said) => (Some(said.as_str()), said.reason().map(str::to_owned)),
                None => (None, None),
            },
            (ProcessState::Starting, None) => (Some("initializing"), None),
            // When it was stopped is said beside its state.
            (ProcessState::Stopped, _) => (Some("inactive"), described.filter(|text| text == "Not started")),
            (ProcessState::Stopping, _) => (Some("inactive"), None),
            (ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown | ProcessState::Backoff, _) => {
                (Some("failed"), described)
            }
        };
        result.functional = word.map(str::to_owned);
        result.functional_reason = reason;
        result.version = self.version(&instance.role.name);
    }

    /// What a process says of itself; none where it has no introspect port, or cannot be asked.
    async fn ask<T: Transport>(&self, instance: &Instance<T>, process: &ProcessInfo) -> Option<Functional> {
        let port = introspect::port_of(&instance.role.introspect, &process.group, &process.name)?;
        let session = instance.link.session().await.ok()?;
        let question = || introspect::question(session.as_ref(), &process.group, port, PATIENCE);
        let mut said = question().await;
        if said.as_ref().is_ok_and(|said| !said.is_well()) {
            sleep(PAUSE).await;
            said = question().await;
        }
        said.inspect_err(|error| {
            debug!(service = process.full_name(), %error, "it could not be asked");
            if matches!(error, TransportError::ChannelRefused { .. }) {
                self.forbidden.store(true, Ordering::Relaxed);
            }
        })
        .ok()
    }

    fn version(&self, role: &str) -> Option<String> {
        let Some(Ok(survey)) = &self.survey else { return None };
        packages_of(role).iter().find_map(|name| survey.packages.get(*name).cloned())
    }

    /// What is to be told of the node, once its processes have been read.
    pub(super) fn facts<T: Transport>(&self, rows: &Rows, view: &View<T>) -> NodeFacts {
        let mut facts = NodeFacts { node: super::rows::node_name(&rows.plan, rows.index), ..NodeFacts::default() };
        facts.supervisors = view.reached().map(|instance| of_instance(instance)).collect();
        match &self.survey {
            Some(Ok(survey)) => {
                facts.packages.clone_from(&survey.packages);
                facts.findings = findings(survey, rows, view);
            }
            Some(Err(why)) => facts.findings.push(Finding {
                kind: FindingKind::NotSearched,
                role: None,
                message: format!("not searched for core files and sockets: {why}"),
                details: Vec::new(),
            }),
            None => {}
        }
        if self.forbidden.load(Ordering::Relaxed) {
            facts.findings.push(Finding {
                kind: FindingKind::NoIntrospect,
                role: None,
                message: "sshd forbids forwarding: what services say of their own work is not known".to_owned(),
                details: Vec::new(),
            });
        }
        facts
    }
}

fn of_instance<T: Transport>(instance: &Arc<Instance<T>>) -> SupervisorFacts {
    SupervisorFacts {
        role: instance.role.name.clone(),
        name: instance.supervisor.name.clone(),
        address: (instance.via() != Via::Service).then(|| instance.address()),
        via: instance.via(),
        version: Some(instance.snapshot.version.clone()).filter(|version| !version.is_empty()),
        pid: instance.snapshot.pid,
    }
}

fn sockets(supervisor: &Supervisor) -> impl Iterator<Item = &str> {
    supervisor.addresses.iter().filter_map(|address| match address {
        ControlAddress::Unix(path) => Some(path.as_str()),
        ControlAddress::Http { .. } => None,
    })
}

fn findings<T: Transport>(survey: &Survey, rows: &Rows, view: &View<T>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if survey.core_count > 0 {
        let message = if survey.core_count > survey.core_files.len() {
            format!("core files in /var/crashes, {} of them", survey.core_count)
        } else {
            "core files in /var/crashes".to_owned()
        };
        let details = survey.core_files.clone();
        findings.push(Finding { kind: FindingKind::CoreFiles, role: None, message, details });
    }
    let Some(selected) = rows.plan.nodes.get(rows.index) else { return findings };
    let is_own = |role: &&Arc<Role>| selected.node.roles.contains(&role.name);
    let (own, others): (Vec<_>, Vec<_>) = rows.plan.known_roles.iter().partition(is_own);
    // Of a supervisord that does not answer more is told elsewhere.
    let told: BTreeSet<&str> = view.not_reached().flat_map(sockets).collect();
    for role in own.iter().chain(&others) {
        let all: BTreeSet<&str> = role.supervisors.iter().flat_map(sockets).collect();
        let stale = |path: &&str| survey.sockets.contains(*path) && survey.listens(path) == Some(false);
        for path in all.into_iter().filter(|path| stale(path) && !told.contains(path)) {
            let finding = Finding {
                kind: FindingKind::StaleSocket,
                role: Some(role.name.clone()),
                message: format!("nobody listens on {path}"),
                details: vec![path.to_owned()],
            };
            // Two roles may share an instance.
            if !findings.iter().any(|known: &Finding| known.details == finding.details) {
                findings.push(finding);
            }
        }
    }
    let own_supervisors: Vec<&Supervisor> = own.iter().flat_map(|role| &role.supervisors).collect();
    for role in others {
        for supervisor in role.supervisors.iter().filter(|supervisor| !supervisor.optional) {
            let is_shared = own_supervisors.iter().any(|known| {
                known.name == supervisor.name || known.addresses.iter().any(|own| supervisor.addresses.contains(own))
            });
            let runs =
                sockets(supervisor).find(|path| survey.sockets.contains(*path) && survey.listens(path) != Some(false));
            let installed = supervisor.config_file.as_deref().filter(|file| survey.config_files.contains(*file));
            let (what, place) = match (runs, installed) {
                (Some(path), _) => ("runs", path),
                (None, Some(file)) => ("is installed", file),
                (None, None) => continue,
            };
            if is_shared {
                continue;
            }
            findings.push(Finding {
                kind: FindingKind::UnlistedRole,
                role: Some(role.name.clone()),
                message: format!("{} {what}, and the inventory does not give the role {}", supervisor.name, role.name),
                details: vec![place.to_owned()],
            });
        }
    }
    findings
}

/// The processes of an instance that come up and do not stay up, by full name, each with what shows it.
///
/// supervisord notes the end of a process (`exited: NAME (exit status 1; not expected)`, in supervisor 3.0 to 4.2.5
/// `supervisor/process.py`), unless it was told to stop it (`stopped: NAME`), in its own log. The log names no group.
async fn unstable<T: Transport>(instance: &Arc<Instance<T>>) -> Vec<(String, String)> {
    let young = |process: &&ProcessInfo| {
        matches!(process.state, ProcessState::Running | ProcessState::Starting)
            && process.uptime.is_some_and(|uptime| uptime < YOUNG)
    };
    let young: Vec<&ProcessInfo> = instance.snapshot.processes.iter().filter(young).collect();
    if young.is_empty() {
        return Vec::new();
    }
    let Ok(client) = instance.client().await else { return Vec::new() };
    let Some(log) = evidence::own_log(&client).await else { return Vec::new() };
    let alone = |process: &ProcessInfo| {
        instance.snapshot.processes.iter().filter(|other| other.name == process.name).count() == 1
    };
    let told = |process: &ProcessInfo| Some((process.full_name(), ends(&log, &process.name)?));
    young.into_iter().filter(|process| alone(process)).filter_map(told).collect()
}

/// How often a process has ended by itself of late, if that is often.
fn ends(log: &str, name: &str) -> Option<String> {
    let (ended, begun) = (format!(" exited: {name} ("), format!(" spawned: '{name}' "));
    let last = log.lines().rev().find(|line| line.contains(&begun)).and_then(time)?;
    let lines = log.lines().filter(|line| line.contains(&ended));
    let ends: Vec<(jiff::civil::DateTime, &str)> = lines.filter_map(|line| Some((time(line)?, line))).collect();
    let limit = jiff::SignedDuration::try_from(YOUNG).ok()?;
    let recent: Vec<_> = ends.into_iter().filter(|(at, _)| last.duration_since(*at) < limit).collect();
    let ((first, _), (_, line)) = (recent.first()?, recent.last()?);
    if recent.len() < ENDS {
        return None;
    }
    let how = line.split_once(&ended).map_or("", |(_, how)| how.trim_end().trim_end_matches(')'));
    let how: String = how.chars().take(120).collect();
    let span = last.duration_since(*first).as_secs();
    Some(format!("its pid keeps changing: ended {} times in {span} s ({how})", recent.len()))
}

/// When a line was written: `2026-11-23 08:07:46,337 WARN …`, by the node's own clock, without a zone.
fn time(line: &str) -> Option<jiff::civil::DateTime> {
    line.get(..19)?.parse().ok()
}

/// Whether a failure to reach an instance has said that its sockets are of no use.
pub(super) fn is_told_of_sockets(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::SupervisorDown | FailureKind::SupervisorMissing | FailureKind::Permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_again_and_again_does_not_stay_up() {
        let log = "2026-11-23 07:00:00,000 WARN exited: x (exit status 1; not expected)\n\
                   2026-11-23 08:07:40,100 INFO spawned: 'x' with pid 10\n\
                   2026-11-23 08:07:42,100 WARN exited: x (exit status 1; not expected)\n\
                   2026-11-23 08:07:42,200 INFO spawned: 'x' with pid 11\n\
                   2026-11-23 08:08:01,100 WARN exited: x (terminated by SIGSEGV; not expected)\n\
                   2026-11-23 08:08:02,200 INFO spawned: 'x' with pid 12\n\
                   2026-11-23 08:08:02,300 WARN exited: xy (exit status 1; not expected)\n\
                   2026-11-23 08:08:03,000 INFO spawned: 'once' with pid 13\n\
                   2026-11-23 08:08:04,000 WARN exited: once (exit status 1; not expected)\n\
                   2026-11-23 08:08:05,000 INFO spawned: 'once' with pid 14\n";
        assert_eq!(
            ends(log, "x").as_deref(),
            Some("its pid keeps changing: ended 2 times in 20 s (terminated by SIGSEGV; not expected)")
        );
        for steady in ["once", "xy", "other"] {
            assert_eq!(ends(log, steady), None, "{steady}");
        }
        // An hour of quiet in between.
        let quiet = log.replace("08:08:02,200", "09:08:02,200");
        assert_eq!(ends(&quiet, "x"), None);
    }

    #[test]
    fn a_time_is_that_of_the_log() {
        assert!(time("2026-11-23 08:07:46,337 WARN").is_some());
        for none in ["", "2026-11-23 08:07", "é2026-11-23 08:07:46", "2026-13-23 08:07:46,3"] {
            assert!(time(none).is_none(), "{none}");
        }
    }
}
