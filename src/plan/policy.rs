//! The settings of a task: batch sizes, limits, gates. All of their defaults are here.

use std::path::PathBuf;
use std::time::Duration;

use super::amount::{BatchSizes, CapPolicy, FailureLimit};

/// Default stable time of a batched run.
const STABLE: Duration = Duration::from_secs(5);

/// Default time limit of a gate.
pub const GATE_TIMEOUT: Duration = Duration::from_secs(120);

/// The condition to start the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// Every service of the batch is RUNNING, with its pid unchanged for the stable time.
    #[default]
    Running,
    /// Also functionally active, or a standby.
    Active,
    /// None, apart from the verified restart.
    None,
}

/// The settings of a task from the command line or a rollout file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Sizes of the batches; none means all at once.
    pub serial: Option<BatchSizes>,
    /// As given; none means the default.
    pub max_failures: Option<FailureLimit>,
    /// The caps to apply.
    pub caps: CapPolicy,
    /// Pause between batches.
    pub pause: Duration,
    /// The gate as given; none means the default.
    pub gate: Option<Gate>,
    /// The stable time as given; none means the default.
    pub stable: Option<Duration>,
    /// Time limit of a gate.
    pub gate_timeout: Duration,
    /// A command that must exit 0 on each node of a batch before the next.
    pub check: Option<String>,
    /// A snapshot file: no node of the batch may be worse than in it before the next.
    pub gate_snapshot: Option<PathBuf>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            serial: None,
            max_failures: None,
            caps: CapPolicy::default(),
            pause: Duration::ZERO,
            gate: None,
            stable: None,
            gate_timeout: GATE_TIMEOUT,
            check: None,
            gate_snapshot: None,
        }
    }
}

impl Policy {
    /// The gate, or the default.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.unwrap_or_default()
    }

    /// Whether the user asked for a gate between batches.
    #[must_use]
    pub fn asks_for_gate(&self) -> bool {
        let by_gate = matches!(self.gate, Some(Gate::Running | Gate::Active));
        let by_time = self.gate() != Gate::None && self.stable.is_some_and(|stable| !stable.is_zero());
        by_gate || by_time || self.check.is_some() || self.gate_snapshot.is_some()
    }

    /// The failure limit: no failures if batched ([`Task::batched`](super::Task)), any number otherwise.
    #[must_use]
    pub fn failure_limit(&self, batched: bool) -> FailureLimit {
        let default = if batched { FailureLimit::Nodes(0) } else { FailureLimit::Unlimited };
        self.max_failures.unwrap_or(default)
    }

    /// The stable time: 5 s if batched, otherwise and without a gate 0.
    #[must_use]
    pub fn stable_time(&self, batched: bool) -> Duration {
        match (self.gate(), self.stable) {
            (Gate::None, _) => Duration::ZERO,
            (Gate::Running | Gate::Active, Some(stable)) => stable,
            (Gate::Running | Gate::Active, None) if batched => STABLE,
            (Gate::Running | Gate::Active, None) => Duration::ZERO,
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
        let gateless = Policy { gate: Some(Gate::None), stable: Some(STABLE), ..said };
        assert_eq!(gateless.stable_time(true), Duration::ZERO);
    }

    #[test]
    fn a_gate_is_asked_for_by_hand() {
        let asks = |edit: fn(&mut Policy)| {
            let mut policy = Policy::default();
            edit(&mut policy);
            policy.asks_for_gate()
        };
        assert!(!asks(|_| {}) && !asks(|policy| policy.gate = Some(Gate::None)));
        assert!(!asks(|policy| policy.stable = Some(Duration::ZERO)));
        assert!(asks(|policy| policy.gate = Some(Gate::Running)) && asks(|policy| policy.gate = Some(Gate::Active)));
        assert!(asks(|policy| policy.stable = Some(STABLE)) && asks(|policy| policy.check = Some("true".to_owned())));
        assert!(asks(|policy| policy.gate_snapshot = Some("before.json".into())));
    }
}
