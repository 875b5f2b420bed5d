//! The settings of a task: batch sizes, limits, gates. All of their defaults are here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;

use super::amount::{BatchSizes, CapPolicy, FailureLimit};

/// Default stable time of a batched run.
const STABLE: Duration = Duration::from_secs(5);

/// Default time limit of a gate.
const GATE_TIMEOUT: Duration = Duration::from_secs(120);

/// The value of `--gate`: which of the gates each service of a batch must meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GateLevel {
    /// RUNNING, with its pid unchanged for the stable time.
    #[default]
    Running,
    /// Also reports over its introspect port that it is active (or a standby).
    Active,
    /// None, apart from the verified restart.
    None,
}

/// A condition that each service of a batch must meet, right after the action on it, before the next batch starts.
///
/// [`Policy::service_gates`] lists those of a task; the file of the same name in `run/gate/` waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceGate {
    /// It stays RUNNING with its pid unchanged for this long.
    Stable(Duration),
    /// It reports within this time that it is active, or a standby.
    Active(Duration),
}

impl ServiceGate {
    /// The time that it adds to that of the action on a node.
    #[must_use]
    pub const fn time_in_action(&self) -> Duration {
        match self {
            Self::Stable(time) | Self::Active(time) => *time,
        }
    }
}

impl fmt::Display for ServiceGate {
    /// As a plan shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stable(time) => write!(f, "RUNNING for {}", format_duration(*time)),
            Self::Active(limit) => write!(f, "active, within {}", format_duration(*limit)),
        }
    }
}

/// A condition that each node of a batch must meet, once all its services were acted on, before the next batch starts.
///
/// [`Policy::node_gates`] lists those of a task; the file of the same name in `run/gate/` waits for it, in a time of its
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeGate {
    /// The operator's command exits 0 on it.
    Check(String),
    /// It is no worse than in the snapshot of this file, within this time.
    Snapshot(PathBuf, Duration),
}

impl fmt::Display for NodeGate {
    /// As a plan shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(command) => write!(f, "check: {command}"),
            Self::Snapshot(path, limit) => {
                write!(f, "no worse than {}, within {}", path.display(), format_duration(*limit))
            }
        }
    }
}

/// The options of a task, from the command line or a rollout file. By default none of them is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Sizes of the batches; none means all at once.
    pub serial: Option<BatchSizes>,
    /// As given; none means the default.
    pub max_failures: Option<FailureLimit>,
    /// The caps to apply.
    pub caps: CapPolicy,
    /// Pause between batches.
    pub pause: Duration,
    /// Which gates each service must meet, as said; none is the default.
    pub gate: Option<GateLevel>,
    /// As said; none is the default.
    pub stable: Option<Duration>,
    /// Time limit of a gate, as said; none is the default.
    pub gate_timeout: Option<Duration>,
    /// A command that must exit 0 on each node of a batch before the next.
    pub check: Option<String>,
    /// A snapshot file: no node of the batch may be worse than in it before the next.
    pub gate_snapshot: Option<PathBuf>,
}

impl Policy {
    /// The gates of each service, in the order in which they are met.
    #[must_use]
    pub fn service_gates(&self, batched: bool) -> Vec<ServiceGate> {
        let stable = || ServiceGate::Stable(self.stable_time(batched));
        match self.level() {
            GateLevel::None => Vec::new(),
            GateLevel::Running => vec![stable()],
            // An active service must also stay up, or the gate would accept one that restarts in a loop.
            GateLevel::Active => vec![stable(), ServiceGate::Active(self.gate_limit())],
        }
    }

    /// The gates of each node, in the order in which they are met.
    #[must_use]
    pub fn node_gates(&self) -> Vec<NodeGate> {
        let check = self.check.clone().map(NodeGate::Check);
        let snapshot = self.gate_snapshot.clone().map(|path| NodeGate::Snapshot(path, self.gate_limit()));
        [check, snapshot].into_iter().flatten().collect()
    }

    /// The time limit of a gate: 120 s by default.
    fn gate_limit(&self) -> Duration {
        self.gate_timeout.unwrap_or(GATE_TIMEOUT)
    }

    fn level(&self) -> GateLevel {
        self.gate.unwrap_or_default()
    }

    /// Whether the user asked for a gate between batches.
    #[must_use]
    pub fn asks_for_gate(&self) -> bool {
        let by_gate = matches!(self.gate, Some(GateLevel::Running | GateLevel::Active));
        let by_time = self.level() != GateLevel::None && self.stable.is_some_and(|stable| !stable.is_zero());
        by_gate || by_time || !self.node_gates().is_empty()
    }

    /// The failure limit: no failures if batched ([`Task::batched`](super::Task)), any number otherwise.
    #[must_use]
    pub fn failure_limit(&self, batched: bool) -> FailureLimit {
        // Batches exist to limit the damage, so the first failure ends a batched run.
        let default = if batched { FailureLimit::Nodes(0) } else { FailureLimit::Unlimited };
        self.max_failures.unwrap_or(default)
    }

    /// The stable time: 5 s if batched, otherwise and without a gate 0.
    #[must_use]
    pub fn stable_time(&self, batched: bool) -> Duration {
        match (self.level(), self.stable) {
            // Without a gate, nothing waits for stability, whatever `stable` says.
            (GateLevel::None, _) => Duration::ZERO,
            (GateLevel::Running | GateLevel::Active, Some(stable)) => stable,
            // A single batch has no successor that a late crash could endanger.
            (GateLevel::Running | GateLevel::Active, None) if batched => STABLE,
            (GateLevel::Running | GateLevel::Active, None) => Duration::ZERO,
        }
    }

    /// The size of batch `index`, from 0, in a step over `nodes` nodes.
    #[must_use]
    pub fn batch_size(&self, index: usize, nodes: usize) -> usize {
        self.serial.as_ref().map_or(nodes, |serial| serial.size(index, nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_depend_on_batches() {
        let all_at_once = Policy::default();
        assert_eq!(all_at_once.failure_limit(false), FailureLimit::Unlimited);
        assert_eq!((all_at_once.stable_time(false), all_at_once.batch_size(0, 9)), (Duration::ZERO, 9));
        let rolling = Policy { serial: Some(BatchSizes::one()), ..Policy::default() };
        assert_eq!(rolling.failure_limit(true), FailureLimit::Nodes(0));
        assert_eq!((rolling.stable_time(true), rolling.batch_size(3, 9)), (STABLE, 1));
        let said = Policy { stable: Some(Duration::ZERO), max_failures: Some(FailureLimit::Percent(50)), ..rolling };
        assert_eq!((said.stable_time(true), said.failure_limit(true)), (Duration::ZERO, FailureLimit::Percent(50)));
        let gateless = Policy { gate: Some(GateLevel::None), stable: Some(STABLE), ..said };
        assert_eq!(gateless.stable_time(true), Duration::ZERO);
    }

    #[test]
    fn a_gate_is_asked_for_by_hand() {
        let asks = |edit: fn(&mut Policy)| {
            let mut policy = Policy::default();
            edit(&mut policy);
            policy.asks_for_gate()
        };
        assert!(!asks(|_| {}) && !asks(|policy| policy.gate = Some(GateLevel::None)));
        assert!(!asks(|policy| policy.stable = Some(Duration::ZERO)));
        assert!(
            asks(|policy| policy.gate = Some(GateLevel::Running))
                && asks(|policy| policy.gate = Some(GateLevel::Active))
        );
        assert!(asks(|policy| policy.stable = Some(STABLE)) && asks(|policy| policy.check = Some("true".to_owned())));
        assert!(asks(|policy| policy.gate_snapshot = Some("before.json".into())));
    }

    #[test]
    fn gates_are_listed_in_the_order_in_which_they_are_met() {
        let of_service =
            |policy: &Policy| policy.service_gates(true).iter().map(ToString::to_string).collect::<Vec<_>>();
        let of_node = |policy: &Policy| policy.node_gates().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of_service(&Policy::default()), ["RUNNING for 5s"]);
        assert!(of_node(&Policy::default()).is_empty());
        let all = Policy {
            gate: Some(GateLevel::Active),
            check: Some("true".to_owned()),
            gate_snapshot: Some("before.json".into()),
            ..Policy::default()
        };
        assert_eq!(of_service(&all), ["RUNNING for 5s", "active, within 2m"]);
        assert_eq!(of_node(&all), ["check: true", "no worse than before.json, within 2m"]);
        let gateless = Policy { gate: Some(GateLevel::None), ..Policy::default() };
        assert!(of_service(&gateless).is_empty() && of_node(&gateless).is_empty());
    }
}
