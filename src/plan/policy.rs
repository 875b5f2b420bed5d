//! How carefully a task goes: batch sizes, limits, gates. What was not said has its default here and nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use super::amount::{BatchSizes, CapPolicy, FailureLimit};

/// Time that a service has to stay up where nothing else was said and the run is batched.
const STABLE: Duration = Duration::from_secs(5);

/// Time that a gate may take where nothing else was said.
pub const GATE_TIMEOUT: Duration = Duration::from_secs(120);

/// When a batch is well enough for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// Every service it touched is RUNNING, with its pid unchanged for the stable time.
    #[default]
    Running,
    /// And says of itself that it is active (or a standby).
    Active,
    /// As soon as the restart is proved.
    None,
}

/// What is said of a task on the command line or in a rollout file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Sizes of the batches; none is all at once.
    pub serial: Option<BatchSizes>,
    /// As said; none is the default.
    pub max_failures: Option<FailureLimit>,
    /// Which caps hold.
    pub caps: CapPolicy,
    /// Between batches.
    pub pause: Duration,
    /// What ends a batch, as said; none is the default.
    pub gate: Option<Gate>,
    /// As said; none is the default.
    pub stable: Option<Duration>,
    /// How long a gate may take.
    pub gate_timeout: Duration,
    /// A command that must exit 0 on each node of a batch before the next.
    pub check: Option<String>,
    /// The file of a snapshot than which no node of the batch may be worse before the next.
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
    /// What ends a batch.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.unwrap_or_default()
    }

    /// Whether the operator asked for something that a batch must pass before the next.
    #[must_use]
    pub fn asks_for_gate(&self) -> bool {
        let by_gate = matches!(self.gate, Some(Gate::Running | Gate::Active));
        let by_time = self.gate() != Gate::None && self.stable.is_some_and(|stable| !stable.is_zero());
        by_gate || by_time || self.check.is_some() || self.gate_snapshot.is_some()
    }

    /// Nodes that may fail: none when batched ([`Task::batched`](super::Task)), any number otherwise.
    #[must_use]
    pub fn failure_limit(&self, batched: bool) -> FailureLimit {
        let default = if batched { FailureLimit::Nodes(0) } else { FailureLimit::Unlimited };
        self.max_failures.unwrap_or(default)
    }

    /// Time for which a service has to stay up: 5 s when batched, none otherwise, and none without a gate.
    #[must_use]
    pub fn stable_time(&self, batched: bool) -> Duration {
        match (self.gate(), self.stable) {
            (Gate::None, _) => Duration::ZERO,
            (Gate::Running | Gate::Active, Some(stable)) => stable,
            (Gate::Running | Gate::Active, None) if batched => STABLE,
            (Gate::Running | Gate::Active, None) => Duration::ZERO,
        }
    }

    /// The size of batch `index`, from 0, of a step over `nodes` nodes.
    #[must_use]
    pub fn batch_size(&self, index: usize, nodes: usize) -> usize {
        self.serial.as_ref().map_or(nodes, |serial| serial.size(index, nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_depends_on_batches() {
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
