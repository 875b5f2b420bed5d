//! Finds healthy targets whose uptime or version differs from that of their peers.
//!
//! Outliers are a small minority: at most a quarter of at least [`LEAST`] nodes. A cluster in the middle of a rolling
//! restart or an upgrade, where neither half is clearly the odd one, has none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nodeset::NodeSet;

use super::health::TargetHealth;
use ctl_event::{NodeFacts, ProcessState, TargetResult};

/// Minimum number of peers; fewer nodes have no outliers.
const LEAST: usize = 4;

/// An uptime differs if it is this many times longer or shorter.
const FAR: u64 = 10;

/// Minimum uptime in seconds of the peers of a younger target: below it, all of them have just started.
const SETTLED: u64 = 600;

/// Something healthy that differs from the same thing on other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlier {
    /// Services, in order; a supervisord instance; or empty for the packages of the role.
    pub what: Vec<String>,
    /// The role.
    pub role: Option<String>,
    /// The nodes.
    pub nodes: NodeSet,
    /// The difference.
    pub odd: Oddity,
}

/// The difference from the peers. Versions are untrusted text: sinks make them safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oddity {
    /// It started long after its peers.
    Younger {
        /// Its maximum uptime in seconds.
        uptime_s: u64,
        /// The uptime of most peers.
        others_s: u64,
    },
    /// It was not restarted with its peers.
    Older {
        /// Its minimum uptime in seconds.
        uptime_s: u64,
        /// The maximum uptime of its peers.
        others_s: u64,
    },
    /// Its packages, or its supervisord, have a different version from most.
    Version {
        /// Its version.
        found: String,
        /// The version of most peers.
        others: String,
    },
}

/// The uptime in seconds, and the node.
type NodeUptime<'a> = (u64, &'a str);

pub(super) fn outliers(results: &[TargetResult], facts: &[NodeFacts]) -> Vec<Outlier> {
    let mut found = of_uptimes(results);
    found.extend(of_packages(results));
    found.extend(of_supervisors(facts));
    found
}

/// Services of a role that are outliers on the same nodes become one outlier, as after a reboot.
fn of_uptimes(results: &[TargetResult]) -> Vec<Outlier> {
    let mut uptimes: BTreeMap<(Option<&str>, &str), Vec<NodeUptime<'_>>> = BTreeMap::new();
    // Unhealthy targets are reported as issues.
    for result in results.iter().filter(|result| TargetHealth::of(result) == TargetHealth::Well) {
        if let (Some(ProcessState::Running), Some(service), Some(uptime)) =
            (result.state, &result.service, result.uptime_s)
        {
            uptimes.entry((result.role.as_deref(), service)).or_default().push((uptime, &result.node));
        }
    }
    let mut order = Vec::new();
    let mut told: HashMap<_, Outlier> = HashMap::new();
    for ((role, service), mut uptimes) in uptimes {
        uptimes.sort_unstable();
        for (odd, nodes) in [younger(&uptimes), older(&uptimes)].into_iter().flatten() {
            // Services on the same nodes with the same kind of difference have one cause, so they share an outlier.
            let key = (role, matches!(odd, Oddity::Younger { .. }), nodes.iter().copied().collect::<BTreeSet<_>>());
            if let Some(known) = told.get_mut(&key) {
                known.what.push(service.to_owned());
                known.odd = both(&known.odd, odd);
                continue;
            }
            order.push(key.clone());
            let (role, nodes) = (role.map(str::to_owned), NodeSet::from_names(nodes));
            told.insert(key, Outlier { what: vec![service.to_owned()], role, nodes, odd });
        }
    }
    order.iter().filter_map(|key| told.remove(key)).collect()
}

/// Combines the differences of two services.
fn both(one: &Oddity, other: Oddity) -> Oddity {
    match (one, other) {
        (Oddity::Younger { uptime_s, others_s }, Oddity::Younger { uptime_s: more, others_s: less }) => {
            // The weaker bound holds for both services.
            Oddity::Younger { uptime_s: (*uptime_s).max(more), others_s: (*others_s).min(less) }
        }
        (Oddity::Older { uptime_s, others_s }, Oddity::Older { uptime_s: less, others_s: more }) => {
            Oddity::Older { uptime_s: (*uptime_s).min(less), others_s: (*others_s).max(more) }
        }
        (_, other) => other,
    }
}

/// Targets with less than a tenth of the median uptime. `uptimes` is sorted.
fn younger<'a>(uptimes: &[NodeUptime<'a>]) -> Option<(Oddity, Vec<&'a str>)> {
    let (middle, _) = *uptimes.get(uptimes.len() / 2)?;
    // `uptimes` is sorted, so the young ones are a prefix.
    let few = uptimes.iter().take_while(|(uptime, _)| uptime.saturating_mul(FAR) < middle).count();
    let (young, _) = uptimes.split_at_checked(few)?;
    let (uptime_s, _) = *young.last()?;
    let is_odd = middle > SETTLED && are_few(few, uptimes.len());
    is_odd.then(|| (Oddity::Younger { uptime_s, others_s: middle }, young.iter().map(|(_, node)| *node).collect()))
}

/// Targets with more than ten times the uptime of all others, which started together.
fn older<'a>(uptimes: &[NodeUptime<'a>]) -> Option<(Oddity, Vec<&'a str>)> {
    // The first large gap between neighbors separates the restarted ones from those that were left out.
    let far = |(one, other): (&NodeUptime<'_>, &NodeUptime<'_>)| other.0 > one.0.saturating_mul(FAR).max(SETTLED);
    let at = uptimes.iter().zip(uptimes.iter().skip(1)).position(far)? + 1;
    let (others, old) = uptimes.split_at_checked(at)?;
    let ((others_s, _), (uptime_s, _)) = (*others.last()?, *old.first()?);
    let is_odd = are_few(old.len(), uptimes.len());
    is_odd.then(|| (Oddity::Older { uptime_s, others_s }, old.iter().map(|(_, node)| *node).collect()))
}

fn are_few(few: usize, all: usize) -> bool {
    few > 0 && all >= LEAST && few * 4 <= all
}

/// Outliers among the package versions of a role; any service of a node has them.
fn of_packages(results: &[TargetResult]) -> Vec<Outlier> {
    let told = results
        .iter()
        .filter_map(|result| Some(((result.role.as_deref()?, None), result.node.as_str(), result.version.as_deref()?)));
    of_versions(told)
}

fn of_supervisors(facts: &[NodeFacts]) -> Vec<Outlier> {
    let all = facts.iter().flat_map(|facts| facts.supervisors.iter().map(move |supervisor| (facts, supervisor)));
    of_versions(all.filter_map(|(facts, supervisor)| {
        let kind = (supervisor.role.as_str(), Some(supervisor.name.as_str()));
        Some((kind, facts.node.as_str(), supervisor.version.as_deref()?))
    }))
}

/// A role, and one of its instances.
type PeerGroup<'a> = (&'a str, Option<&'a str>);

fn of_versions<'a>(told: impl Iterator<Item = (PeerGroup<'a>, &'a str, &'a str)>) -> Vec<Outlier> {
    let mut versions: BTreeMap<PeerGroup<'a>, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for (kind, node, version) in told {
        versions.entry(kind).or_default().entry(version).or_default().insert(node);
    }
    let mut found = Vec::new();
    for ((role, instance), versions) in versions {
        let all: usize = versions.values().map(BTreeSet::len).sum();
        let Some((most, with)) = versions.iter().max_by_key(|(_, nodes)| nodes.len()) else { continue };
        if !are_few(all - with.len(), all) {
            continue;
        }
        found.extend(versions.iter().filter(|(version, _)| *version != most).map(|(version, nodes)| Outlier {
            what: instance.map(str::to_owned).into_iter().collect(),
            role: Some(role.to_owned()),
            nodes: NodeSet::from_names(nodes),
            odd: Oddity::Version { found: (*version).to_owned(), others: (*most).to_owned() },
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::{Outcome, SupervisorFacts, Via};

    fn up(node: &str, service: &str, uptime: u64) -> TargetResult {
        TargetResult {
            role: Some("analytics".to_owned()),
            service: Some(service.to_owned()),
            state: Some(ProcessState::Running),
            uptime_s: Some(uptime),
            ..TargetResult::new(node, Outcome::Ok)
        }
    }

    fn service(uptimes: &[u64]) -> Vec<TargetResult> {
        let node = |(place, uptime): (usize, &u64)| up(&format!("a{}", place + 1), "collector", *uptime);
        uptimes.iter().enumerate().map(node).collect()
    }

    /// `WHAT on NODES: HOW` for each.
    fn told(results: &[TargetResult], facts: &[NodeFacts]) -> Vec<String> {
        let line = |outlier: Outlier| {
            let how = match outlier.odd {
                Oddity::Younger { uptime_s, others_s } => format!("{uptime_s} << {others_s}"),
                Oddity::Older { uptime_s, others_s } => format!("{uptime_s} >> {others_s}"),
                Oddity::Version { found, others } => format!("{found}, others {others}"),
            };
            format!("{} on {}: {how}", outlier.what.join("+"), outlier.nodes)
        };
        outliers(results, facts).into_iter().map(line).collect()
    }

    #[test]
    fn few_that_are_far_from_most() {
        let table: [(&[u64], &[&str]); 14] = [
            (&[], &[]),
            (&[9000, 10], &[]),
            (&[9000, 9000, 10], &[]),
            (&[9000, 9100, 10, 9200], &["collector on a3: 10 << 9100"]),
            // The difference is too small.
            (&[9000, 9100, 1000, 9200], &[]),
            // All have just started.
            (&[500, 500, 10, 500], &[]),
            // Half of the nodes: neither half is clearly the odd one.
            (&[9000, 9000, 10, 10], &[]),
            (&[9000, 9000, 9000, 9000, 9000, 20, 9000, 10], &["collector on a[6,8]: 20 << 9000"]),
            // A rolling restart in progress has no outlier.
            (&[9000, 9000, 9000, 9000, 30, 20, 10, 9000], &[]),
            // The node that the restart skipped.
            (&[9000, 60, 50, 70], &["collector on a1: 9000 >> 70"]),
            (&[601, 50, 50, 50], &["collector on a1: 601 >> 50"]),
            (&[590, 50, 50, 50], &[]),
            // In the middle of a restart the others differ in age.
            (&[90_000, 8000, 50, 7000], &["collector on a3: 50 << 8000"]),
            (&[u64::MAX, u64::MAX, u64::MAX, 0], &["collector on a4: 0 << 18446744073709551615"]),
        ];
        for (uptimes, wanted) in table {
            assert_eq!(told(&service(uptimes), &[]), wanted, "{uptimes:?}");
        }
    }

    #[test]
    fn a_node_that_was_rebooted_is_one() {
        let nodes = ["a1", "a2", "a3", "a4"];
        let mut results: Vec<TargetResult> = nodes.iter().map(|node| up(node, "api", 8000)).collect();
        results.extend(nodes.iter().map(|node| up(node, "collector", 9000)));
        for (place, uptime) in [(1, 30), (5, 40)] {
            results[place].uptime_s = Some(uptime);
        }
        assert_eq!(told(&results, &[]), ["api+collector on a2: 40 << 8000"]);
        // A process that is not running has no uptime.
        results[1].state = Some(ProcessState::Starting);
        assert_eq!(told(&results, &[]), ["collector on a2: 40 << 9000"]);
    }

    #[test]
    fn versions_other_than_the_majoritys() {
        let versions = |found: &[&str]| -> (Vec<TargetResult>, Vec<NodeFacts>) {
            let node = |place: usize| format!("a{}", place + 1);
            let result = |(place, version): (usize, &&str)| TargetResult {
                version: Some((*version).to_owned()),
                ..up(&node(place), "collector", 9000)
            };
            let supervisor = |version: &str| SupervisorFacts {
                role: "analytics".to_owned(),
                name: "supervisor-analytics".to_owned(),
                address: None,
                via: Via::Rpc,
                version: Some(version.to_owned()),
                pid: None,
            };
            let facts = |(place, version): (usize, &&str)| NodeFacts {
                node: node(place),
                supervisors: vec![supervisor(version)],
                ..NodeFacts::default()
            };
            (found.iter().enumerate().map(result).collect(), found.iter().enumerate().map(facts).collect())
        };
        let (results, facts) = versions(&["3.2", "3.2", "3.1", "3.2"]);
        let wanted = [" on a3: 3.1, others 3.2", "supervisor-analytics on a3: 3.1, others 3.2"];
        assert_eq!(told(&results, &facts), wanted);
        for same in [&["3.2"; 4][..], &["3.2", "3.2", "3.1"], &["3.2", "3.2", "3.1", "3.1"], &[]] {
            let (results, facts) = versions(same);
            assert_eq!(told(&results, &facts), Vec::<String>::new(), "{same:?}");
        }
        let (results, _) = versions(&["3.2", "3.2", "3.0", "3.2", "3.1", "3.2", "3.2", "3.2"]);
        assert_eq!(told(&results, &[]), [" on a3: 3.0, others 3.2", " on a5: 3.1, others 3.2"]);
    }
}
