//! The label and the symbol of a health in the report.

use ctl_overview::TargetHealth;

/// A health with a label and a symbol to search for. The stylesheet picks the color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HealthMark {
    pub(super) word: &'static str,
    pub(super) sign: &'static str,
}

/// The mark of a target unlike the others.
pub(super) const UNLIKE: HealthMark = HealthMark { word: "different", sign: "≠" };
/// The mark of a node in maintenance.
pub(super) const LEFT_OUT: HealthMark = HealthMark { word: "maintenance", sign: "–" };

impl HealthMark {
    /// The mark of a health; a finding has no health.
    pub(super) fn of(health: Option<TargetHealth>) -> Self {
        let Some(health) = health else { return Self { word: "finding", sign: "!" } };
        let sign = match health {
            TargetHealth::Well => "✓",
            TargetHealth::Initializing => "…",
            TargetHealth::Inactive => "■",
            TargetHealth::Timeout => "~",
            TargetHealth::Failed => "✗",
            TargetHealth::Down => "▼",
            TargetHealth::Unreachable => "?",
        };
        Self { word: health.as_str(), sign }
    }
}
