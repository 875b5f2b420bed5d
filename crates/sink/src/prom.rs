//! `-o prom`: metrics in Prometheus' text exposition format 0.0.4, for node_exporter's textfile collector.
//!
//! Here lives [`PromSink`]; the crate `prometheus` writes the format itself (HELP, TYPE, escaping). It uses `event`,
//! `overview` and this module. Invariants: each family is contiguous, each series occurs once, no sample has a
//! timestamp (the collector rejects them) or a value that is not a number, and an unknown value has no series rather
//! than an invented value. docs/report.md names every metric. Start reading at [`families`].

use std::collections::BTreeMap;
use std::io::Write;

use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::{Sink, SinkError, text};
use ctl_event::{FindingKind, Ledger, NodeFacts, NodeFinding, Outcome, ProcessState, RunEvent, TargetResult};
use ctl_overview::{Overview, TargetHealth};

/// One exposition, written at the end of the run.
pub struct PromSink {
    out: Box<dyn Write + Send>,
}

impl PromSink {
    /// Writes the exposition to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Sink for PromSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError> {
        let families: Vec<MetricFamily> =
            families(ledger, exit_code).into_iter().filter_map(StatusMetric::into_metrics).collect();
        // Encode all of it first: an error must not leave half a file.
        let mut exposition = Vec::new();
        TextEncoder::new().encode(&families, &mut exposition).map_err(SinkError::Prom)?;
        self.out.write_all(&exposition)?;
        Ok(self.out.flush()?)
    }
}

/// One metric with all its series.
struct StatusMetric {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    /// By label values, so that a repeated series occurs once.
    series: BTreeMap<Vec<String>, f64>,
}

impl StatusMetric {
    fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, labels, series: BTreeMap::new() }
    }

    /// A family of one series without labels.
    fn single(name: &'static str, help: &'static str, value: f64) -> Self {
        let mut family = Self::new(name, help, &[]);
        family.set(&[], value);
        family
    }

    /// Sets a series. Label values are made safe and bounded here, whatever their content.
    fn set(&mut self, values: &[&str], value: f64) {
        // The format does not bound a label, but text from a node must not make one of any length.
        self.series.insert(values.iter().map(|value| text::single_line(value)).collect(), value);
    }

    /// `None` if it has no series: a family without a series is invalid.
    fn into_metrics(self) -> Option<MetricFamily> {
        // The encoder rejects a family without samples.
        if self.series.is_empty() {
            return None;
        }
        let metrics = self.series.into_iter().map(|(values, value)| {
            let pairs = self.labels.iter().zip(values).map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value(value);
                pair
            });
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_gauge(gauge);
            metric.set_label(pairs.collect());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics.collect());
        Some(family)
    }
}

fn families(ledger: &Ledger, exit_code: u8) -> Vec<StatusMetric> {
    let facts = ledger.facts();
    let mut all = of_run(ledger, exit_code);
    all.extend(of_roles(&Overview::of(ledger.results(), facts)));
    all.extend(of_nodes(ledger.results(), facts));
    all.extend(of_supervisors(ledger.results(), facts));
    all.extend(of_services(ledger.results()));
    all
}

fn of_run(ledger: &Ledger, exit_code: u8) -> Vec<StatusMetric> {
    let mut build = StatusMetric::new("ctl_build_info", "Version of the ctl that wrote this, always 1.", &["version"]);
    build.set(&[env!("CARGO_PKG_VERSION")], 1.0);
    let mut results = StatusMetric::new("ctl_status_results", "Results of the status by outcome.", &["outcome"]);
    // Every outcome, even with 0: a series that appears only with the first failure breaks `rate` and alerts.
    for outcome in Outcome::ALL {
        results.set(&[outcome.as_str()], count(ledger.count(*outcome)));
    }
    let mut all = vec![build];
    if let Some(head) = ledger.head() {
        all.push(StatusMetric::single(
            "ctl_status_timestamp_seconds",
            "When the status was started, in seconds since the epoch.",
            // Prometheus counts in base units: seconds with a fraction.
            head.started.as_millisecond() as f64 / 1000.0,
        ));
    }
    all.push(StatusMetric::single(
        "ctl_status_duration_seconds",
        "How long the status took.",
        ledger.elapsed().as_secs_f64(),
    ));
    all.push(StatusMetric::single(
        "ctl_status_exit_code",
        "Exit code of the status; 0 if everything is healthy.",
        f64::from(exit_code),
    ));
    all.push(results);
    all
}

fn of_roles(overview: &Overview) -> Vec<StatusMetric> {
    const LABELS: &[&str] = &["role"];
    let mut nodes = StatusMetric::new("ctl_role_nodes", "Nodes of the role.", LABELS);
    let mut nodes_well =
        StatusMetric::new("ctl_role_nodes_healthy", "Nodes on which all of the role is healthy.", LABELS);
    let mut left = StatusMetric::new("ctl_role_nodes_maintenance", "Nodes of the role in maintenance.", LABELS);
    let mut services = StatusMetric::new("ctl_role_services", "Services of the role, counted on each node.", LABELS);
    let mut services_well =
        StatusMetric::new("ctl_role_services_healthy", "Services of the role that are healthy.", LABELS);
    for role in &overview.roles {
        let name = [role.role.as_deref().unwrap_or_default()];
        nodes.set(&name, count(role.nodes));
        nodes_well.set(&name, count(role.nodes_well));
        left.set(&name, count(role.maintenance));
        services.set(&name, count(role.services));
        services_well.set(&name, count(role.services_well));
    }
    vec![nodes, nodes_well, left, services, services_well]
}

fn of_nodes(results: &[TargetResult], facts: &[NodeFacts]) -> Vec<StatusMetric> {
    let mut reachable = StatusMetric::new(
        "ctl_node_reachable",
        "Whether the login to the node succeeded; absent if not tried.",
        &["node"],
    );
    let mut reached: BTreeMap<&str, bool> = BTreeMap::new();
    for result in results {
        let this = match result.outcome {
            // No login was tried, or its end is unknown.
            Outcome::Skipped | Outcome::NotStarted | Outcome::Unknown => continue,
            Outcome::Unreachable => false,
            Outcome::NotConfigured | Outcome::Ok | Outcome::Changed | Outcome::TimedOut | Outcome::Failed => true,
        };
        // One successful result proves that the node was reached.
        *reached.entry(&result.node).or_default() |= this;
    }
    for (node, reached) in reached {
        reachable.set(&[node], flag(reached));
    }
    let mut cores = StatusMetric::new("ctl_node_core_files", "Core files found on the node.", &["node"]);
    let mut findings = StatusMetric::new(
        "ctl_node_findings",
        "Findings on the node other than the state of services.",
        &["node", "role", "kind"],
    );
    for facts in facts {
        let of_kind = |kind| facts.findings.iter().filter(move |finding| finding.kind == kind);
        // Without a search, 0 would be an invented value.
        if of_kind(FindingKind::NotSearched).next().is_none() {
            cores.set(&[&facts.node], count(of_kind(FindingKind::CoreFiles).map(core_files).sum::<u64>()));
        }
        let mut found: BTreeMap<(&str, FindingKind), usize> = BTreeMap::new();
        for finding in &facts.findings {
            *found.entry((finding.role.as_deref().unwrap_or_default(), finding.kind)).or_default() += 1;
        }
        for ((role, kind), times) in found {
            findings.set(&[&facts.node, role, kind.as_str()], count(times));
        }
    }
    vec![reachable, cores, findings]
}

/// The number of core files; an older snapshot has no count, so the named files are counted.
fn core_files(finding: &NodeFinding) -> u64 {
    // A finding without a count stands for at least one file.
    finding.count.unwrap_or(finding.details.len().max(1) as u64)
}

fn of_supervisors(results: &[TargetResult], facts: &[NodeFacts]) -> Vec<StatusMetric> {
    const LABELS: &[&str] = &["node", "role", "supervisor"];
    let mut up = StatusMetric::new(
        "ctl_supervisor_up",
        "Whether the role's supervisord answered; absent if its node could not be queried.",
        LABELS,
    );
    let mut answered: BTreeMap<[&str; 3], bool> = BTreeMap::new();
    for result in results {
        let Some(supervisor) = &result.supervisor else { continue };
        let this = match result.outcome {
            Outcome::Skipped | Outcome::NotStarted | Outcome::Unknown | Outcome::Unreachable => continue,
            Outcome::NotConfigured | Outcome::Ok | Outcome::Changed => true,
            Outcome::TimedOut | Outcome::Failed => false,
        };
        let key = [&result.node, result.role.as_deref().unwrap_or_default(), supervisor];
        // One successful result proves that supervisord answered.
        *answered.entry(key).or_default() |= this;
    }
    for (key, answered) in answered {
        up.set(&key, flag(answered));
    }
    let mut info = StatusMetric::new(
        "ctl_supervisor_info",
        "Version of the supervisord and how it was reached, always 1.",
        &["node", "role", "supervisor", "version", "via"],
    );
    for facts in facts {
        for supervisor in &facts.supervisors {
            let version = supervisor.version.as_deref().unwrap_or_default();
            info.set(&[&facts.node, &supervisor.role, &supervisor.name, version, supervisor.via.as_str()], 1.0);
        }
    }
    vec![up, info]
}

fn of_services(results: &[TargetResult]) -> Vec<StatusMetric> {
    const LABELS: &[&str] = &["node", "role", "supervisor", "service"];
    const WITH_STATE: &[&str] = &["node", "role", "supervisor", "service", "state"];
    const WITH_VERSION: &[&str] = &["node", "role", "supervisor", "service", "version"];
    let mut healthy = StatusMetric::new(
        "ctl_service_healthy",
        "Whether the service is healthy: running, and active or standby if it reports that.",
        LABELS,
    );
    let mut up = StatusMetric::new("ctl_service_up", "Whether the service is RUNNING.", LABELS);
    let mut state =
        StatusMetric::new("ctl_service_state", "1 for the service's state in supervisord, no other.", WITH_STATE);
    let mut functional = StatusMetric::new(
        "ctl_service_functional_state",
        "1 for the functional state that the service reports, no other; absent if not queried.",
        WITH_STATE,
    );
    let mut uptime =
        StatusMetric::new("ctl_service_uptime_seconds", "Time since the service's process was started.", LABELS);
    let mut pid = StatusMetric::new("ctl_service_pid", "Process id; a change means a restart.", LABELS);
    let mut info = StatusMetric::new("ctl_service_info", "Version of the service's package, always 1.", WITH_VERSION);
    for result in results {
        // Without a state, the service was not read: it has no series.
        let (Some(service), Some(is)) = (&result.service, result.state) else { continue };
        let role = result.role.as_deref().unwrap_or_default();
        let supervisor = result.supervisor.as_deref().unwrap_or_default();
        let labels = [result.node.as_str(), role, supervisor, service];
        let with = |more| [result.node.as_str(), role, supervisor, service, more];
        healthy.set(&labels, flag(TargetHealth::of(result) == TargetHealth::Well));
        up.set(&labels, flag(is == ProcessState::Running));
        state.set(&with(is.as_str()), 1.0);
        if let Some(status) = &result.functional {
            functional.set(&with(status.as_str()), 1.0);
        }
        if let Some(seconds) = result.uptime_s {
            uptime.set(&labels, count(seconds));
        }
        if let Some(id) = result.pid {
            pid.set(&labels, f64::from(id));
        }
        if let Some(version) = &result.version {
            info.set(&with(version), 1.0);
        }
    }
    vec![healthy, up, state, functional, uptime, pid, info]
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// A count as a sample value. No real count exceeds `u32`.
fn count(number: impl TryInto<u32>) -> f64 {
    // An `f64` holds every `u32` exactly, and no count comes near the limit.
    f64::from(number.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, SharedWriter};
    use super::*;
    use ctl_event::{EventKind, Failure, FailureKind, FunctionalStatus, Stage, SupervisorFacts, Via};

    fn exposition(results: Vec<TargetResult>, facts: Vec<NodeFacts>) -> String {
        let out = SharedWriter::default();
        let mut kinds: Vec<EventKind> =
            fixtures::run(Some("status"), results).into_iter().map(|event| event.kind).collect();
        let end = kinds.len() - 1;
        kinds.splice(end..end, facts.into_iter().map(EventKind::NodeFacts));
        fixtures::play(&mut PromSink::new(out.writer()), &fixtures::numbered(kinds), 3);
        out.text()
    }

    /// The samples without HELP and TYPE.
    fn samples_of(exposition: &str, prefix: &str) -> String {
        let lines = exposition.lines().filter(|line| line.starts_with(prefix));
        let this = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
        lines.map(|line| line.replace(this, "{version=\"VERSION\"}") + "\n").collect()
    }

    #[test]
    fn services_nodes_and_supervisords_have_their_series() {
        let running = TargetResult {
            functional: Some(FunctionalStatus::Initializing),
            version: Some("3.2.1.0-27".to_owned()),
            ..fixtures::running("a6s01", Outcome::Ok, 900, 60)
        };
        let fatal = TargetResult { state: Some(ProcessState::Fatal), ..fixtures::result("a6s02", Outcome::Ok) };
        let down = TargetResult {
            service: None,
            failure: Some(Failure::new(Stage::Inspect, FailureKind::SupervisorDown, "nobody answers")),
            ..fixtures::result("a6s04", Outcome::Failed)
        };
        let skipped = TargetResult { supervisor: None, ..fixtures::result("a6s05", Outcome::Skipped) };
        let core = |details: &[&str]| NodeFinding {
            kind: FindingKind::CoreFiles,
            role: None,
            message: "core files in /var/crashes".to_owned(),
            details: details.iter().map(|path| (*path).to_owned()).collect(),
            count: (!details.is_empty()).then_some(30),
        };
        let facts = NodeFacts {
            node: "a6s01".to_owned(),
            supervisors: vec![SupervisorFacts {
                role: "analytics".to_owned(),
                name: "supervisor-analytics".to_owned(),
                address: None,
                via: Via::Rpc,
                version: Some("3.3.1".to_owned()),
                pid: Some(1000),
            }],
            packages: BTreeMap::new(),
            findings: vec![core(&["/var/crashes/core.1", "/var/crashes/core.2"])],
        };
        let unsearched = NodeFinding { kind: FindingKind::NotSearched, ..core(&[]) };
        let unsearched = NodeFacts { node: "a6s02".to_owned(), findings: vec![unsearched], ..NodeFacts::default() };
        let searched = NodeFacts { node: "a6s04".to_owned(), ..NodeFacts::default() };
        let text = exposition(
            vec![running, fatal, fixtures::unknown_key("a6s03"), down, skipped],
            vec![facts, unsearched, searched],
        );
        insta::assert_snapshot!(samples_of(&text, "ctl_"), @r#"
        ctl_build_info{version="VERSION"} 1
        ctl_status_timestamp_seconds 1772352000
        ctl_status_duration_seconds 0.812
        ctl_status_exit_code 3
        ctl_status_results{outcome="changed"} 0
        ctl_status_results{outcome="failed"} 1
        ctl_status_results{outcome="not_configured"} 0
        ctl_status_results{outcome="not_started"} 0
        ctl_status_results{outcome="ok"} 2
        ctl_status_results{outcome="skipped"} 1
        ctl_status_results{outcome="timed_out"} 0
        ctl_status_results{outcome="unknown"} 0
        ctl_status_results{outcome="unreachable"} 1
        ctl_role_nodes{role="analytics"} 5
        ctl_role_nodes_healthy{role="analytics"} 0
        ctl_role_nodes_maintenance{role="analytics"} 1
        ctl_role_services{role="analytics"} 2
        ctl_role_services_healthy{role="analytics"} 0
        ctl_node_reachable{node="a6s01"} 1
        ctl_node_reachable{node="a6s02"} 1
        ctl_node_reachable{node="a6s03"} 0
        ctl_node_reachable{node="a6s04"} 1
        ctl_node_core_files{node="a6s01"} 30
        ctl_node_core_files{node="a6s04"} 0
        ctl_node_findings{node="a6s01",role="",kind="core_files"} 1
        ctl_node_findings{node="a6s02",role="",kind="not_searched"} 1
        ctl_supervisor_up{node="a6s01",role="analytics",supervisor="supervisor-analytics"} 1
        ctl_supervisor_up{node="a6s02",role="analytics",supervisor="supervisor-analytics"} 1
        ctl_supervisor_up{node="a6s04",role="analytics",supervisor="supervisor-analytics"} 0
        ctl_supervisor_info{node="a6s01",role="analytics",supervisor="supervisor-analytics",version="3.3.1",via="rpc"} 1
        ctl_service_healthy{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector"} 0
        ctl_service_healthy{node="a6s02",role="analytics",supervisor="supervisor-analytics",service="contrail-collector"} 0
        ctl_service_up{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector"} 1
        ctl_service_up{node="a6s02",role="analytics",supervisor="supervisor-analytics",service="contrail-collector"} 0
        ctl_service_state{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector",state="RUNNING"} 1
        ctl_service_state{node="a6s02",role="analytics",supervisor="supervisor-analytics",service="contrail-collector",state="FATAL"} 1
        ctl_service_functional_state{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector",state="initializing"} 1
        ctl_service_uptime_seconds{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector"} 60
        ctl_service_pid{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector"} 900
        ctl_service_info{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="contrail-collector",version="3.2.1.0-27"} 1
        "#);
        assert_eq!(text.matches("# HELP ").count(), text.matches("# TYPE ").count());
    }

    #[test]
    fn text_of_a_node_is_a_label_and_no_line() {
        let service = "a\"} 1\nctl_forged 1\\\u{202e}\x1b[2J";
        let hostile =
            || TargetResult { service: Some(service.to_owned()), ..fixtures::running("a6s01", Outcome::Ok, 900, 60) };
        // The same series twice, by two names that become equal once they are made safe.
        let other = TargetResult { service: Some(format!(" {service}")), pid: Some(901), ..hostile() };
        let text = exposition(vec![hostile(), other], Vec::new());
        insta::assert_snapshot!(samples_of(&text, "ctl_service_pid"), @r##"
        ctl_service_pid{node="a6s01",role="analytics",supervisor="supervisor-analytics",service="a\"} 1\\nctl_forged 1\\\\u{202e}\\x1b[2J"} 900
        "##);
        assert!(!text.lines().any(|line| line.starts_with("ctl_forged")));
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
    }

    #[test]
    fn a_family_without_series_is_not_there() {
        let text = exposition(Vec::new(), Vec::new());
        assert!(text.contains("\nctl_status_exit_code 3\n") && !text.contains("ctl_service"), "{text}");
    }
}
