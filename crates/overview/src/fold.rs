//! Folds a whole status: one line per role, and the problems, worst first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use nodeset::NodeSet;

use super::health::{HealthReason, TargetHealth};
use super::issue::{ClusterIssue, what};
use super::message_template::{MessageTemplate, common};
use super::outliers::{Outlier, outliers};
use super::roles::{NodeRoles, RoleSummary, summaries};
use ctl_event::{FailureKind, FindingKind, NodeFacts, NodeFinding, Outcome, TargetResult};

/// Maximum issues for one problem with different kinds of reasons; the last one collects the remaining kinds.
const REASONS: usize = 3;

/// Maximum reasons to spell out when several share an issue.
const SPELLED_OUT: usize = 2;

/// The summary of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The roles; results without a role come last.
    pub roles: Vec<RoleSummary>,
    /// Nodes of any role.
    pub nodes: usize,
    /// Nodes without a problem.
    pub nodes_well: usize,
    /// The problems: worst first, then most frequent first; the findings follow.
    pub troubles: Vec<ClusterIssue>,
    /// Healthy targets that differ from their peers.
    pub outliers: Vec<Outlier>,
    /// Nodes that were skipped on purpose, with the reason.
    pub maintenance: Vec<ClusterIssue>,
    /// Nodes of which nothing was read because they have no role, sorted.
    pub without_role: Vec<String>,
}

impl Overview {
    /// Folds the results and facts of a status. `results` come from one round: each target once.
    #[must_use]
    pub fn of(results: &[TargetResult], facts: &[NodeFacts]) -> Self {
        Self::of_nodes(results, facts, &NodeRoles::default())
    }

    /// The same with known roles, so that an unreachable node counts in all of its roles.
    #[must_use]
    pub fn of_nodes(results: &[TargetResult], facts: &[NodeFacts], known: &NodeRoles) -> Self {
        let mut troubles = of_results(results);
        troubles.sort_by_key(|trouble| Reverse((trouble.health, trouble.nodes.len())));
        // After the sort: findings have no health and come last.
        troubles.extend(of_findings(facts));
        let asked = || results.iter().filter(|result| result.outcome != Outcome::NotConfigured);
        let nodes: BTreeSet<&str> = asked().map(|result| result.node.as_str()).collect();
        let is_left = |result: &&TargetResult| {
            TargetHealth::of(result) != TargetHealth::Well || result.outcome == Outcome::Skipped
        };
        let left: BTreeSet<&str> = asked().filter(is_left).map(|result| result.node.as_str()).collect();
        Self {
            roles: summaries(results, known),
            nodes: nodes.len(),
            nodes_well: nodes.len() - left.len(),
            troubles,
            outliers: outliers(results, facts),
            maintenance: maintenance(results),
            without_role: without_role(results, known),
        }
    }
}

/// Nodes that are known to have no role, and gave no result but that.
fn without_role(results: &[TargetResult], known: &NodeRoles) -> Vec<String> {
    let absent = results.iter().filter(|result| result.outcome == Outcome::NotConfigured && result.role.is_none());
    let nodes: BTreeSet<&str> = absent.map(|result| result.node.as_str()).collect();
    nodes.into_iter().filter(|node| known.lacks_role(node)).map(str::to_owned).collect()
}

/// One problem on one node.
struct IssueCase<'a> {
    what: &'a str,
    role: Option<&'a str>,
    node: &'a str,
    address: Option<&'a str>,
    reason: HealthReason,
}

/// Cases with the same message template.
struct SimilarCases<'a, 'b> {
    cases: Vec<&'b IssueCase<'a>>,
}

impl SimilarCases<'_, '_> {
    fn nodes(&self) -> BTreeSet<&str> {
        self.cases.iter().map(|case| case.node).collect()
    }

    fn why(&self) -> String {
        common(&self.cases.iter().map(|case| case.reason.why.as_str()).collect::<Vec<_>>())
    }
}

/// Identifies a problem, whatever its reason.
type IssueKey = (String, Option<TargetHealth>, String, Option<FailureKind>);

/// Groups cases, in the order of the first of each.
fn gathered<'a>(cases: impl Iterator<Item = (Option<TargetHealth>, IssueCase<'a>)>) -> Vec<ClusterIssue> {
    let mut order: Vec<IssueKey> = Vec::new();
    let mut groups: HashMap<IssueKey, Vec<IssueCase<'a>>> = HashMap::new();
    for (health, case) in cases {
        let same = (case.what.to_owned(), health, case.reason.word.clone(), case.reason.kind);
        if !groups.contains_key(&same) {
            order.push(same.clone());
        }
        groups.entry(same).or_default().push(case);
    }
    let each = order.iter().filter_map(|same| Some((same.1, groups.get(same)?)));
    each.flat_map(|(health, cases)| told(health, cases)).collect()
}

/// Splits one problem into an issue for each kind of reason, most nodes first, up to [`REASONS`] of them.
fn told(health: Option<TargetHealth>, cases: &[IssueCase<'_>]) -> Vec<ClusterIssue> {
    let mut kinds: Vec<SimilarCases<'_, '_>> = Vec::new();
    let mut places: HashMap<MessageTemplate, usize> = HashMap::new();
    for case in cases {
        let names: Vec<&str> = [Some(case.node), case.address].into_iter().flatten().collect();
        let place = *places.entry(MessageTemplate::of(&case.reason.why, &names)).or_insert(kinds.len());
        match kinds.get_mut(place) {
            Some(alike) => alike.cases.push(case),
            None => kinds.push(SimilarCases { cases: vec![case] }),
        }
    }
    // The most frequent reasons get issues of their own; the rest share the last one, so that one broken service with
    // many different messages cannot fill the screen.
    kinds.sort_by_key(|alike| Reverse(alike.nodes().len()));
    let own = if kinds.len() > REASONS { REASONS - 1 } else { kinds.len() };
    let rest = kinds.split_off(own.min(kinds.len()));
    let mut troubles: Vec<ClusterIssue> =
        kinds.iter().filter_map(|alike| trouble(health, &alike.cases, &alike.why())).collect();
    let spelled: Vec<String> =
        rest.iter().take(SPELLED_OUT).map(SimilarCases::why).filter(|why| !why.is_empty()).collect();
    let more = match rest.len() - spelled.len() {
        0 => String::new(),
        1 => "; and another reason".to_owned(),
        more => format!("; and {more} other reasons"),
    };
    let cases: Vec<&IssueCase<'_>> = rest.into_iter().flat_map(|alike| alike.cases).collect();
    troubles.extend(trouble(health, &cases, &format!("{}{more}", spelled.join("; "))));
    troubles
}

/// `None` without any case.
fn trouble(health: Option<TargetHealth>, cases: &[&IssueCase<'_>], why: &str) -> Option<ClusterIssue> {
    let first = cases.first()?;
    Some(ClusterIssue {
        health,
        what: first.what.to_owned(),
        // Services of several roles can share a name; then the issue has no role.
        role: first.role.filter(|role| cases.iter().all(|case| case.role == Some(role))).map(str::to_owned),
        nodes: NodeSet::from_names(cases.iter().map(|case| case.node)),
        reason: first.reason.with(why),
        count: cases.len(),
    })
}

fn of_results(results: &[TargetResult]) -> Vec<ClusterIssue> {
    let unwell = results
        .iter()
        .map(|result| (TargetHealth::of(result), result))
        .filter(|(health, _)| *health != TargetHealth::Well);
    gathered(unwell.map(|(health, result)| (Some(health), case(result, HealthReason::of(result)))))
}

fn case(result: &TargetResult, reason: HealthReason) -> IssueCase<'_> {
    IssueCase {
        what: what(result),
        role: result.role.as_deref(),
        node: &result.node,
        address: result.address.as_deref(),
        reason,
    }
}

fn maintenance(results: &[TargetResult]) -> Vec<ClusterIssue> {
    let skipped = results.iter().filter(|result| result.outcome == Outcome::Skipped);
    let reason = |result: &TargetResult| {
        let why = result.message.strip_prefix("maintenance").unwrap_or(&result.message);
        HealthReason { word: "maintenance".to_owned(), kind: None, why: why.trim_start_matches([':', ' ']).to_owned() }
    };
    gathered(skipped.map(|result| (None, case(result, reason(result)))))
}

fn of_findings(facts: &[NodeFacts]) -> Vec<ClusterIssue> {
    let mut found: BTreeMap<FindingKind, Vec<(Option<TargetHealth>, IssueCase<'_>)>> = BTreeMap::new();
    for facts in facts {
        for finding in &facts.findings {
            let (what, why) = match finding.kind {
                FindingKind::CoreFiles => ("core files", core_files(finding)),
                FindingKind::StaleSocket => ("stale socket", finding.message.clone()),
                FindingKind::UnlistedRole => ("unlisted role", finding.message.clone()),
                FindingKind::NoIntrospect | FindingKind::NotSearched => (ClusterIssue::NODE, finding.message.clone()),
            };
            let reason = HealthReason { word: String::new(), kind: None, why };
            let case = IssueCase { what, role: finding.role.as_deref(), node: &facts.node, address: None, reason };
            found.entry(finding.kind).or_default().push((None, case));
        }
    }
    gathered(found.into_values().flatten())
}

/// The programs that left core files, and the place: a file is named `core.PROGRAM.PID…`.
fn core_files(finding: &NodeFinding) -> String {
    let place = finding.message.strip_prefix("core files ").unwrap_or(&finding.message);
    let program = |path: &'_ String| -> Option<String> {
        let name = path.rsplit('/').next()?.strip_prefix("core.")?;
        let words: Vec<&str> = name.split('.').take_while(|word| word.parse::<u64>().is_err()).collect();
        (!words.is_empty()).then(|| words.join("."))
    };
    let programs: BTreeSet<String> = finding.details.iter().filter_map(program).collect();
    match programs.into_iter().collect::<Vec<_>>().as_slice() {
        [] => place.to_owned(),
        programs => format!("{} {place}", programs.join(", ")),
    }
}
