//! A change between two snapshots, and all of them with their counts.

use std::collections::BTreeSet;

use serde::Serialize;

/// Whether a change is for the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeVerdict {
    /// Something is worse than before.
    Worse,
    /// Something that was bad is better than before.
    Better,
    /// Neither.
    Different,
}

impl ChangeVerdict {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Different => "different",
        }
    }
}

/// Kind of a change. Later versions can add values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Its state, its report on its own work, or whether it can be reached.
    State,
    /// It exists now and did not before.
    Came,
    /// It existed before and does not now.
    Went,
    /// The process is a different one.
    Restarted,
    /// The version differs.
    Version,
    /// A finding on the node.
    Finding,
}

impl ChangeKind {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Came => "came",
            Self::Went => "went",
            Self::Restarted => "restarted",
            Self::Version => "version",
            Self::Finding => "finding",
        }
    }
}

/// One difference between two states of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Change"))]
pub struct NodeChange {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role, if the change belongs to one.
    pub role: Option<String>,
    /// The supervisord instance, if the change belongs to one.
    pub supervisor: Option<String>,
    /// The service; none for a whole supervisord or node.
    pub service: Option<String>,
    /// The kind of the change.
    #[serde(rename = "change")]
    pub kind: ChangeKind,
    /// Its meaning.
    pub verdict: ChangeVerdict,
    /// The value before; none if it did not exist. Untrusted text: sinks make it safe.
    pub before: Option<String>,
    /// The value after; none if it does not exist. Untrusted text: sinks make it safe.
    pub after: Option<String>,
}

impl NodeChange {
    /// Whether both belong to the same node, supervisord or service.
    fn is_of_same(&self, other: &Self) -> bool {
        self.node == other.node
            && self.role == other.role
            && self.supervisor == other.supervisor
            && self.service == other.service
    }
}

/// Changes by verdict, and nodes, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiffSummary {
    /// Changes for the worse.
    pub worse: usize,
    /// Changes for the better.
    pub better: usize,
    /// Other changes.
    pub different: usize,
    /// Nodes compared.
    pub nodes: usize,
    /// Compared nodes without a change.
    pub nodes_same: usize,
}

impl DiffSummary {
    pub(super) fn count(&mut self, changes: &[NodeChange]) {
        let count = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
        self.worse = count(ChangeVerdict::Worse);
        self.better = count(ChangeVerdict::Better);
        self.different = count(ChangeVerdict::Different);
    }
}

/// The differences between two states of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SnapshotDiff {
    /// The changes: those for the worse first, the most severe on top; the others in the order of the nodes.
    pub changes: Vec<NodeChange>,
    /// Their counts.
    pub summary: DiffSummary,
}

impl SnapshotDiff {
    /// Whether any change is for the worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.summary.worse > 0
    }

    /// Adds the changes of another diff of the same nodes, without duplicates.
    pub(super) fn with(mut self, other: Self) -> Self {
        let is_told = |change: &NodeChange| {
            let mut same = self.changes.iter().filter(|own| own.kind == change.kind && own.is_of_same(change));
            // One place may have several findings.
            same.any(|own| change.kind != ChangeKind::Finding || own == change)
        };
        let more: Vec<NodeChange> = other.changes.into_iter().filter(|change| !is_told(change)).collect();
        let changed =
            |changes: &[NodeChange]| changes.iter().map(|change| change.node.clone()).collect::<BTreeSet<_>>();
        let (old, new) = (changed(&self.changes), changed(&more));
        self.summary.nodes_same = self.summary.nodes_same.saturating_sub(new.difference(&old).count());
        self.changes.extend(more);
        self.changes.sort_by_key(|change| change.verdict);
        self.summary.count(&self.changes);
        self
    }

    /// Merges the diffs of several nodes into one.
    #[must_use]
    pub fn of_nodes(diffs: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for diff in diffs {
            all.summary.nodes += diff.summary.nodes;
            all.summary.nodes_same += diff.summary.nodes_same;
            all.changes.extend(diff.changes);
        }
        // The sort is stable, so equal verdicts keep the order of the nodes.
        all.changes.sort_by_key(|change| change.verdict);
        all.summary.count(&all.changes);
        all
    }

    /// The changes for the worse.
    pub fn worse(&self) -> impl Iterator<Item = &NodeChange> {
        self.changes.iter().filter(|change| change.verdict == ChangeVerdict::Worse)
    }
}
