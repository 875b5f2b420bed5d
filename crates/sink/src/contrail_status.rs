//! `-o contrail-status`: each node as `contrail-status` of Contrail 3.2 shows it there, with its errors corrected.
//!
//! Here lives [`ContrailStatusSink`]. It uses `event`, `nodeset` and this module. Invariants: the layout is that of
//! `contrail-status` (sections in its order, names padded to 30 columns, states to 20, a reason in brackets), so that
//! existing parsers can read it; each node has a header line, in the order of the inventory; every selected node
//! appears, even an unreachable one; the states are those of `contrail-status`, except `unknown`, which it lacks. Start
//! reading at `NodeText::of`.
//!
//! Errors of `contrail-status` that this corrects: a dead supervisord has no running programs (there, a missing socket
//! becomes a row); BACKOFF is `failed` (there, it is printed raw) and STOPPING is `inactive` (there, it is `failed`),
//! each with supervisord's own state in the brackets; a long name never runs into its state.
//!
//! Source: `contrail-controller` R1.10 to R3.2 `src/config/utils/contrail-status.py`.

use std::collections::BTreeMap;
use std::io::Write;

use nodeset::NodeSet;

use super::{Sink, SinkError, text};
use ctl_event::{
    FailureKind, FindingKind, Ledger, NodeFacts, NodeFinding, Outcome, ProcessState, RunEvent, TargetResult,
};

/// Column width of a name.
const NAME_WIDTH: usize = 30;

/// Column width of a program's state.
const STATE_WIDTH: usize = 20;

/// Folding starts above this number of nodes, unless the user decides otherwise.
const FOLD_PAST: usize = 32;

/// Heading of the core files, copied from `contrail-status`.
const CORE_FILES: &str = "========Run time service failures=============";

/// Heading of the other findings; `contrail-status` reports only core files.
const OTHER_FINDINGS: &str = "========Other findings=============";

/// One block of text per node, written at the end of the run.
pub struct ContrailStatusSink {
    fold: Option<bool>,
    out: Box<dyn Write + Send>,
}

impl ContrailStatusSink {
    /// Writes to `out`. `fold`: whether to group nodes with the same text under a folded node set; `None`: above 32
    /// nodes.
    #[must_use]
    pub fn new(fold: Option<bool>, out: Box<dyn Write + Send>) -> Self {
        Self { fold, out }
    }
}

impl Sink for ContrailStatusSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        self.out.write_all(render(ledger, self.fold).as_bytes())?;
        Ok(self.out.flush()?)
    }
}

fn render(ledger: &Ledger, fold: Option<bool>) -> String {
    let facts = ledger.facts();
    let mut nodes: Vec<(&str, Vec<&TargetResult>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for result in ledger.results() {
        // A node may be in several batches: its results belong together, at its first place.
        let place = *places.entry(&result.node).or_insert(nodes.len());
        match nodes.get_mut(place) {
            Some((_, results)) => results.push(result),
            None => nodes.push((&result.node, vec![result])),
        }
    }
    let fold = fold.unwrap_or(nodes.len() > FOLD_PAST);
    let mut texts: Vec<(Vec<&str>, String)> = Vec::new();
    let mut same: BTreeMap<String, usize> = BTreeMap::new();
    for (node, results) in nodes {
        let known = facts.iter().find(|facts| facts.node == node);
        let shown = NodeText::of(&results, known).render();
        let place = if fold { same.get(&shown).copied() } else { None };
        match place.and_then(|place| texts.get_mut(place)) {
            Some((names, _)) => names.push(node),
            None => {
                if fold {
                    // Only folding merges nodes with the same text.
                    same.insert(shown.clone(), texts.len());
                }
                texts.push((vec![node], shown));
            }
        }
    }
    texts.iter().map(|(names, shown)| format!("{}:\n{shown}", head(names))).collect::<Vec<_>>().join("\n")
}

/// The header line of one or more nodes.
fn head(names: &[&str]) -> String {
    match names {
        [name] => text::single_line(name),
        _ => format!("{} ({})", text::visible(&NodeSet::from_names(names).to_string()), names.len()),
    }
}

/// The rank of a section in the order of `contrail-status`, and its title.
type StatusSection = (u8, String);

/// The text of one node.
#[derive(Default)]
struct NodeText {
    /// Lines about the node as a whole.
    lines: Vec<String>,
    /// The units of each section, by name.
    sections: BTreeMap<StatusSection, BTreeMap<String, StatusUnit>>,
    core_files: Vec<String>,
    other: Vec<String>,
}

/// A supervisord, or another service that init runs.
#[derive(Default)]
struct StatusUnit {
    /// `None` until the state is known.
    state: Option<String>,
    programs: Vec<String>,
}

impl NodeText {
    fn of(results: &[&TargetResult], facts: Option<&NodeFacts>) -> Self {
        let mut shown = Self::default();
        for result in results {
            shown.add(result);
        }
        // A supervisord that answered has a row, even if none of its programs was requested.
        for found in facts.iter().flat_map(|facts| &facts.supervisors) {
            shown.unit(&found.role, &found.name, true).state.get_or_insert_with(|| "active".to_owned());
        }
        for finding in facts.iter().flat_map(|facts| &facts.findings) {
            shown.add_finding(finding);
        }
        let all_are = |outcome| results.iter().all(|result| result.outcome == outcome);
        if all_are(Outcome::NotConfigured) && shown.sections.is_empty() {
            shown.lines.push("not configured".to_owned());
        }
        shown
    }

    fn add(&mut self, result: &TargetResult) {
        let service = result.service.as_deref();
        match (result.outcome, result.role.as_deref(), result.supervisor.as_deref(), service) {
            (Outcome::NotConfigured, ..) => {}
            // The whole node failed: report it once, not once per service.
            (Outcome::Unreachable | Outcome::Skipped, ..) | (_, _, None, None) => {
                let line = with_reason(result.outcome.as_str(), &why(result));
                if !self.lines.contains(&line) {
                    self.lines.push(line);
                }
            }
            (_, Some(role), Some(supervisor), service) => {
                // A result with the name of its supervisord concerns the instance itself.
                let is_program = service.is_some_and(|service| service != supervisor);
                let unit = self.unit(role, supervisor, true);
                if is_program && result.state.is_some() {
                    unit.programs.push(program_row(result));
                    // A program with a state proves that its supervisord answered.
                    unit.state.get_or_insert_with(|| "active".to_owned());
                } else if result.failure.is_some() || !is_program {
                    // A state that a program has already proved stays.
                    unit.state.get_or_insert_with(|| unit_state(result));
                }
            }
            // Init runs this service: it has a row like an instance.
            (_, Some(role), None, Some(service)) if result.state.is_some() => {
                let state = unit_state(result);
                self.unit(role, service, false).state = Some(state);
            }
            (_, _, _, _) => self.lines.push(program_row(result)),
        }
    }

    fn add_finding(&mut self, finding: &NodeFinding) {
        let details = finding.details.iter().map(|detail| text::single_line(detail));
        match finding.kind {
            FindingKind::CoreFiles if !finding.details.is_empty() => self.core_files.extend(details),
            FindingKind::CoreFiles
            | FindingKind::StaleSocket
            | FindingKind::UnlistedRole
            | FindingKind::NoIntrospect
            | FindingKind::NotSearched => {
                let mut line = format!("{}: {}", finding.kind, text::single_line(&finding.message));
                // Skip details that the message already contains.
                let details: Vec<String> = details.filter(|detail| !line.contains(detail.as_str())).collect();
                if !details.is_empty() {
                    line.push_str(&format!(" ({})", details.join(", ")));
                }
                self.other.push(line);
            }
        }
    }

    fn unit(&mut self, role: &str, name: &str, is_supervisor: bool) -> &mut StatusUnit {
        let section = section_of(role, name, is_supervisor);
        self.sections.entry(section).or_default().entry(name.to_owned()).or_default()
    }

    /// Adds an empty line after each section, as `contrail-status` does.
    fn render(&self) -> String {
        let mut out = String::new();
        let mut part = |title: Option<&str>, lines: &[String]| {
            if lines.is_empty() {
                return;
            }
            for line in title.into_iter().chain(lines.iter().map(String::as_str)) {
                out.push_str(line);
                out.push('\n');
            }
            out.push('\n');
        };
        part(None, &self.lines);
        for ((_, title), units) in &self.sections {
            let rows: Vec<String> = units.iter().flat_map(|(name, unit)| unit.rows(name)).collect();
            part(Some(title), &rows);
        }
        part(Some(CORE_FILES), &self.core_files);
        part(Some(OTHER_FINDINGS), &self.other);
        // The caller separates two nodes.
        out.truncate(out.trim_end_matches('\n').len());
        out.push('\n');
        out
    }
}

impl StatusUnit {
    fn rows(&self, name: &str) -> Vec<String> {
        // No result has reported a failure of it.
        let state = self.state.as_deref().unwrap_or("active");
        let row = format!("{}{state}", padded(&format!("{}:", text::single_line(name)), NAME_WIDTH));
        std::iter::once(row).chain(self.programs.iter().cloned()).collect()
    }
}

/// The section that `contrail-status` uses; an unknown role gets a section of its own.
fn section_of(role: &str, name: &str, is_supervisor: bool) -> StatusSection {
    let (place, title) = match (role, name) {
        ("compute", _) => (0, "== Contrail vRouter =="),
        ("control", _) => (1, "== Contrail Control =="),
        ("analytics", _) => (2, "== Contrail Analytics =="),
        ("config", "supervisor-support-service") => (8, "== Contrail Support Services =="),
        // Without the space, as `contrail-status` prints it.
        ("config", "contrail-database") => (4, "== Contrail Config Database=="),
        ("config", _) => (3, "== Contrail Config =="),
        ("web-ui", _) => (5, "== Contrail Web UI =="),
        ("database", _) if is_supervisor => (7, "== Contrail Supervisor Database =="),
        ("database", _) => (6, "== Contrail Database =="),
        (role, _) => return (9, format!("== Role {} ==", text::single_line(role))),
    };
    (place, title.to_owned())
}

/// The row of a program.
fn program_row(result: &TargetResult) -> String {
    let name = text::single_line(result.service.as_deref().unwrap_or("-"));
    format!("{}{}", padded(&name, NAME_WIDTH), padded(&program_state(result), STATE_WIDTH))
}

/// The state of a program in the terms of `contrail-status`.
fn program_state(result: &TargetResult) -> String {
    let Some(state) = result.state else { return with_reason(unasked(result.outcome), &why(result)) };
    let by_state = match state {
        ProcessState::Running => "active",
        ProcessState::Starting => "initializing",
        ProcessState::Stopped | ProcessState::Stopping => "inactive",
        ProcessState::Backoff | ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown => "failed",
    };
    let word = result.functional.as_ref();
    // `contrail-status` shows the functional state of a service that reports one, else that of supervisord.
    let word = word.map_or_else(|| by_state.to_owned(), |status| text::single_line(status.as_str()));
    let told = why(result);
    match state {
        // `contrail-status` has no term for these states, or the wrong one.
        ProcessState::Backoff | ProcessState::Exited | ProcessState::Stopping | ProcessState::Unknown => {
            let reason = if told.is_empty() { state.to_string() } else { format!("{state}: {told}") };
            with_reason(&word, &reason)
        }
        ProcessState::Fatal => with_reason(&word, &told),
        // The stop time is not a reason, so it is dropped.
        ProcessState::Running | ProcessState::Starting | ProcessState::Stopped => {
            // `contrail-status` runs on one node and does not know the others.
            let reason = result.functional_reason.as_deref().filter(|_| !result.stands_by_for_none());
            with_reason(&word, &text::single_line(reason.unwrap_or_default()))
        }
    }
}

/// The state of a unit that init runs.
fn unit_state(result: &TargetResult) -> String {
    match (result.failure.as_ref().map(|failure| failure.kind), result.state) {
        // `contrail-status` shows an instance that is not installed like this; it cannot give the reason.
        (Some(FailureKind::SupervisorMissing), _) => with_reason("inactive (disabled on boot)", &why(result)),
        (Some(FailureKind::SupervisorDown), _) => with_reason("inactive", &why(result)),
        (Some(_), _) => with_reason(unasked(result.outcome), &why(result)),
        (None, None | Some(ProcessState::Running)) => "active".to_owned(),
        (None, Some(ProcessState::Stopped)) => "inactive".to_owned(),
        (None, Some(state)) => with_reason("inactive", state.as_str()),
    }
}

/// The state of a target without a reading.
const fn unasked(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::TimedOut => "timeout",
        Outcome::NotConfigured
        | Outcome::Ok
        | Outcome::Changed
        | Outcome::Skipped
        | Outcome::NotStarted
        | Outcome::Unreachable
        | Outcome::Failed
        | Outcome::Unknown => "unknown",
    }
}

/// The reason for a result; empty if there is none. Safe to show.
fn why(result: &TargetResult) -> String {
    match (&result.failure, &result.functional_reason) {
        (Some(failure), _) if matches!(failure.kind, FailureKind::SupervisorDown | FailureKind::SupervisorMissing) => {
            text::single_line(&failure.message)
        }
        (Some(failure), _) => text::single_line(&format!("{}: {}", failure.kind, failure.message)),
        (None, Some(reason)) => text::single_line(reason),
        (None, None) => text::single_line(&result.message),
    }
}

fn with_reason(word: &str, reason: &str) -> String {
    if reason.is_empty() { word.to_owned() } else { format!("{word} ({reason})") }
}

/// Safe text in at least `columns` columns; a longer text gets one space after it.
fn padded(text: &str, columns: usize) -> String {
    // A long name still needs one space before its state.
    let missing = columns.saturating_sub(text::width(text));
    format!("{text}{}", " ".repeat(missing.max(usize::from(columns == NAME_WIDTH))))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, SharedWriter};
    use super::*;
    use ctl_event::{EventKind, Failure, Stage, SupervisorFacts, Via};

    fn program(node: &str, service: &str, state: ProcessState) -> TargetResult {
        TargetResult { service: Some(service.to_owned()), state: Some(state), ..fixtures::result(node, Outcome::Ok) }
    }

    fn functional(node: &str, service: &str, word: &str, reason: Option<&str>) -> TargetResult {
        TargetResult {
            functional: Some(word.into()),
            functional_reason: reason.map(str::to_owned),
            ..program(node, service, ProcessState::Running)
        }
    }

    /// A result for an instance that does not answer.
    fn instance(node: &str, role: &str, name: &str, kind: FailureKind, message: &str) -> TargetResult {
        TargetResult {
            role: Some(role.to_owned()),
            supervisor: Some(name.to_owned()),
            service: Some(name.to_owned()),
            failure: Some(Failure::new(Stage::Inspect, kind, message)),
            ..fixtures::result(node, Outcome::Failed)
        }
    }

    fn show(fold: Option<bool>, results: Vec<TargetResult>, facts: Vec<NodeFacts>) -> String {
        let mut events = fixtures::run(Some("status"), results);
        let end = events.pop().map(|event| event.kind);
        let kinds = events.into_iter().map(|event| event.kind);
        let events = fixtures::numbered(kinds.chain(facts.into_iter().map(EventKind::NodeFacts)).chain(end));
        let out = SharedWriter::default();
        fixtures::play(&mut ContrailStatusSink::new(fold, out.writer()), &events, 0);
        out.text()
    }

    /// Strips trailing spaces: they belong to the layout, but editors remove them from the expected text.
    fn seen(text: &str) -> String {
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_state_has_its_row() {
        let said = |state, service: &str, message: &str| TargetResult {
            message: message.to_owned(),
            ..program("a6s01", service, state)
        };
        let text = show(
            None,
            vec![
                functional("a6s01", "contrail-analytics-api", "active", None),
                functional(
                    "a6s01",
                    "contrail-collector",
                    "initializing",
                    Some("Database:a6s01:Global connection down"),
                ),
                functional("a6s01", "contrail-query-engine", "timeout", None),
                functional("a6s01", "contrail-schema", "backup", None),
                program("a6s01", "contrail-topology", ProcessState::Running),
                program("a6s01", "contrail-alarm-gen:0", ProcessState::Starting),
                said(ProcessState::Stopped, "contrail-broadview", "Not started"),
                said(ProcessState::Fatal, "redis-uve", "can't find command '/usr/bin/redis'"),
                said(ProcessState::Backoff, "redis-query", "Exited too quickly (process log may have details)"),
                said(ProcessState::Exited, "contrail-qe", "Mar 01 07:12 AM"),
                program("a6s01", "contrail-opserver", ProcessState::Stopping),
                program("a6s01", "contrail-analytics-of-a-very-long-name", ProcessState::Unknown),
            ],
            vec![],
        );
        insta::assert_snapshot!(seen(&text), @"
        a6s01:
        == Contrail Analytics ==
        supervisor-analytics:         active
        contrail-alarm-gen:0          initializing
        contrail-analytics-api        active
        contrail-analytics-of-a-very-long-name failed (UNKNOWN)
        contrail-broadview            inactive
        contrail-collector            initializing (Database:a6s01:Global connection down)
        contrail-opserver             inactive (STOPPING)
        contrail-qe                   failed (EXITED: Mar 01 07:12 AM)
        contrail-query-engine         timeout
        contrail-schema               backup
        contrail-topology             active
        redis-query                   failed (BACKOFF: Exited too quickly (process log may have details))
        redis-uve                     failed (can't find command '/usr/bin/redis')
        ");
        assert!(text.contains("\ncontrail-analytics-api        active              \n"), "padded as there: {text}");
    }

    #[test]
    fn sections_stand_in_the_order_of_contrail_status() {
        let of = |role: &str, supervisor: Option<&str>, service: &str| TargetResult {
            role: Some(role.to_owned()),
            supervisor: supervisor.map(str::to_owned),
            ..program("n1", service, ProcessState::Running)
        };
        let down = "supervisor-control: refused";
        let text = show(
            None,
            vec![
                of("billing", Some("supervisor-billing"), "invoicer"),
                of("database", Some("supervisor-database"), "kafka"),
                of("database", None, "contrail-database"),
                of("config", Some("supervisor-support-service"), "rabbitmq-server"),
                of("config", Some("supervisor-config"), "contrail-api:0"),
                of("compute", Some("supervisor-vrouter"), "contrail-vrouter-agent"),
                instance("n1", "control", "supervisor-control", FailureKind::SupervisorDown, down),
                instance("n1", "web-ui", "supervisor-webui", FailureKind::SupervisorMissing, "the node has none"),
                instance("n1", "analytics", "supervisor-analytics", FailureKind::Permission, "forbidden"),
            ],
            vec![],
        );
        insta::assert_snapshot!(seen(&text), @"
        n1:
        == Contrail vRouter ==
        supervisor-vrouter:           active
        contrail-vrouter-agent        active

        == Contrail Control ==
        supervisor-control:           inactive (supervisor-control: refused)

        == Contrail Analytics ==
        supervisor-analytics:         unknown (permission: forbidden)

        == Contrail Config ==
        supervisor-config:            active
        contrail-api:0                active

        == Contrail Web UI ==
        supervisor-webui:             inactive (disabled on boot) (the node has none)

        == Contrail Database ==
        contrail-database:            active

        == Contrail Supervisor Database ==
        supervisor-database:          active
        kafka                         active

        == Contrail Support Services ==
        supervisor-support-service:   active
        rabbitmq-server               active

        == Role billing ==
        supervisor-billing:           active
        invoicer                      active
        ");
    }

    #[test]
    fn facts_about_the_node_surround_its_sections() {
        let skipped = TargetResult {
            message: "disk replaced".to_owned(),
            supervisor: None,
            service: None,
            ..fixtures::result("a6s03", Outcome::Skipped)
        };
        let finding = |kind, message: &str, details: &[&str]| NodeFinding {
            kind,
            role: None,
            message: message.to_owned(),
            details: details.iter().map(|detail| (*detail).to_owned()).collect(),
            count: None,
        };
        let supervisor = SupervisorFacts {
            role: "analytics".to_owned(),
            name: "supervisor-analytics".to_owned(),
            address: None,
            via: Via::Rpc,
            version: None,
            pid: None,
        };
        let empty = TargetResult {
            service: None,
            message: "it runs no programs".to_owned(),
            ..fixtures::result("a6s01", Outcome::Ok)
        };
        let elsewhere = TargetResult { supervisor: None, ..fixtures::result("a6s04", Outcome::NotConfigured) };
        let text = show(
            None,
            vec![empty, fixtures::unknown_key("a6s02"), skipped, elsewhere],
            vec![NodeFacts {
                node: "a6s01".to_owned(),
                supervisors: vec![supervisor],
                findings: vec![
                    finding(
                        FindingKind::CoreFiles,
                        "2 core files",
                        &["/var/crashes/core.1", "/var/crashes/core.\x1b2"],
                    ),
                    finding(
                        FindingKind::StaleSocket,
                        "nothing is listening on it",
                        &["/tmp/supervisord_analytics.sock"],
                    ),
                    finding(FindingKind::NotSearched, "the node was not searched", &[]),
                ],
                ..NodeFacts::default()
            }],
        );
        insta::assert_snapshot!(seen(&text), @r"
        a6s01:
        == Contrail Analytics ==
        supervisor-analytics:         active

        ========Run time service failures=============
        /var/crashes/core.1
        /var/crashes/core.\x1b2

        ========Other findings=============
        stale_socket: nothing is listening on it (/tmp/supervisord_analytics.sock)
        not_searched: the node was not searched

        a6s02:
        unreachable (host_key_unknown: no known_hosts file holds its key)

        a6s03:
        skipped (disk replaced)

        a6s04:
        not configured
        ");
    }

    #[test]
    fn nodes_that_show_the_same_are_folded() {
        let results = |count: u32| {
            let name = |number: u32| if number == 2 { "contrail-qe" } else { "contrail-collector" };
            let row = |number| program(&format!("a6s{number:02}"), name(number), ProcessState::Running);
            (1..=count).map(row).collect::<Vec<_>>()
        };
        insta::assert_snapshot!(seen(&show(Some(true), results(3), vec![])), @"
        a6s[01,03] (2):
        == Contrail Analytics ==
        supervisor-analytics:         active
        contrail-collector            active

        a6s02:
        == Contrail Analytics ==
        supervisor-analytics:         active
        contrail-qe                   active
        ");
        let heads = |fold, count| {
            let text = show(fold, results(count), vec![]);
            text.lines().filter(|line| line.starts_with("a6s")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(heads(None, 3), ["a6s01:", "a6s02:", "a6s03:"]);
        assert_eq!(heads(None, 33), ["a6s[01,03-33] (32):", "a6s02:"]);
        assert_eq!(heads(Some(false), 33).len(), 33);
    }

    #[test]
    fn text_from_a_node_is_made_safe() {
        let text = show(
            None,
            vec![
                functional(
                    "a6s01",
                    "con\x1b[31mtrail",
                    "ini\ntializing",
                    Some("\u{202e}nwod\r\n== Contrail Config =="),
                ),
                instance("a6s01", "bil\nling", "super\tvisor", FailureKind::SupervisorDown, "\x1b[2J"),
            ],
            vec![],
        );
        assert!(text.chars().all(|char| char == '\n' || !char.is_control() && char != '\u{202e}'), "{text}");
        assert!(!text.lines().any(|line| line == "== Contrail Config =="), "{text}");
    }
}
