//! The policy options: each is declared once, here.
//!
//! Here live [`POLICY_OPTIONS`] and the type of its rows. The command line makes its arguments from the rows (`--max-failures`),
//! and a rollout file its keys (`max_failures`); both call the row's setter on a [`Policy`], whose defaults hold for every
//! option that is not set. Uses `policy` and `amount`. What always holds: an option that is set twice has the later value, so
//! the `defaults` of a rollout are set before a step's own.
//!
//! To add an option: a field in [`Policy`], a row here, and the place that uses it; tests hold docs/rolling.md and
//! docs/rollout.md against the rows.

use std::path::PathBuf;
use std::time::Duration;

use super::amount::{BatchSizes, CapPolicy, FailureLimit};
use super::policy::{GateLevel, Policy};

/// One option that says how carefully nodes are changed.
#[derive(Debug)]
pub struct PolicyOption {
    /// The key in a rollout file; on the command line `-` stands for each `_`.
    pub key: &'static str,
    /// Stands for the value in help texts.
    pub value_name: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// How its value is written, and where it goes.
    pub set: PolicySetter,
}

/// How the value of an option is written, with the function that puts it into a policy.
#[derive(Debug, Clone, Copy)]
pub enum PolicySetter {
    /// `1`, `25%`, or a list of such.
    BatchSizes(fn(&mut Policy, BatchSizes)),
    /// `N` or `P%`.
    FailureLimit(fn(&mut Policy, FailureLimit)),
    /// `N`, `P%` or `none`.
    Cap(fn(&mut Policy, CapPolicy)),
    /// A duration above zero.
    Duration(fn(&mut Policy, Duration)),
    /// A duration, or zero.
    DurationOrZero(fn(&mut Policy, Duration)),
    /// One of [`GATES`].
    Gate(fn(&mut Policy, GateLevel)),
    /// A command for the login shell of a node.
    Command(fn(&mut Policy, String)),
    /// The file of a snapshot; in a rollout file, `none` takes back what the `defaults` have set.
    Snapshot(fn(&mut Policy, Option<PathBuf>)),
}

/// The gates by their names, each with its meaning in one line.
pub const GATES: [(&str, GateLevel, &str); 3] = [
    ("running", GateLevel::Running, "Every changed service is RUNNING and stays RUNNING"),
    ("active", GateLevel::Active, "The same, and active or on standby according to its introspect port"),
    ("none", GateLevel::None, "Only proof that the action took effect"),
];

/// All of them, in the order in which help texts show them.
pub const POLICY_OPTIONS: &[PolicyOption] = &[
    PolicyOption {
        key: "serial",
        value_name: "LIST",
        help: "Batch sizes: 1, 25%, or a list such as 1,25%,100%; the last size repeats [default: all at once]",
        set: PolicySetter::BatchSizes(|policy, sizes| policy.serial = Some(sizes)),
    },
    PolicyOption {
        key: "max_failures",
        value_name: "N|P%",
        help: "Start no further batch once more nodes than this have failed [default: 0 when batched, else unlimited]",
        set: PolicySetter::FailureLimit(|policy, limit| policy.max_failures = Some(limit)),
    },
    PolicyOption {
        key: "max_unavailable",
        value_name: "N|P%|none",
        help: "How many nodes of a role may be down at once [default: from the inventory; database and config: 1]",
        set: PolicySetter::Cap(|policy, caps| policy.caps = caps),
    },
    PolicyOption {
        key: "pause",
        value_name: "DURATION",
        help: "Pause between batches",
        set: PolicySetter::DurationOrZero(|policy, pause| policy.pause = pause),
    },
    PolicyOption {
        key: "gate",
        value_name: "GATE",
        help: "Condition that ends a batch",
        set: PolicySetter::Gate(|policy, gate| policy.gate = Some(gate)),
    },
    PolicyOption {
        key: "stable",
        value_name: "DURATION",
        help: "How long a service must stay RUNNING with the same pid [default: 5s when batched, else 0s]",
        set: PolicySetter::DurationOrZero(|policy, stable| policy.stable = Some(stable)),
    },
    PolicyOption {
        key: "gate_timeout",
        value_name: "DURATION",
        help: "Time limit for a gate [default: 120s]",
        set: PolicySetter::Duration(|policy, timeout| policy.gate_timeout = timeout),
    },
    PolicyOption {
        key: "gate_snapshot",
        value_name: "FILE",
        help: "Continue only if no node of the batch is worse than in this snapshot",
        set: PolicySetter::Snapshot(|policy, file| policy.gate_snapshot = file),
    },
    PolicyOption {
        key: "check",
        value_name: "COMMAND",
        help: "Continue only if this command exits 0 on each node of the batch",
        set: PolicySetter::Command(|policy, command| policy.check = Some(command)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_documented() {
        let rolling = include_str!("../../../docs/rolling.md");
        let rollout = include_str!("../../../docs/rollout.md");
        for PolicyOption { key, .. } in POLICY_OPTIONS {
            let option = format!("--{}", key.replace('_', "-"));
            assert!(rolling.contains(&option), "docs/rolling.md does not have {option}");
            assert!(rollout.contains(&format!("`{key}`")), "docs/rollout.md does not have `{key}`");
        }
    }

    #[test]
    fn every_option_changes_a_policy_of_its_own() {
        let mut changed: Vec<Policy> = vec![Policy::default()];
        for option in POLICY_OPTIONS {
            let mut policy = Policy::default();
            match option.set {
                PolicySetter::BatchSizes(set) => set(&mut policy, BatchSizes::one()),
                PolicySetter::FailureLimit(set) => set(&mut policy, FailureLimit::Nodes(3)),
                PolicySetter::Cap(set) => set(&mut policy, "none".parse().expect("a cap")),
                PolicySetter::Duration(set) | PolicySetter::DurationOrZero(set) => {
                    set(&mut policy, Duration::from_secs(7));
                }
                PolicySetter::Gate(set) => set(&mut policy, GateLevel::Active),
                PolicySetter::Command(set) => set(&mut policy, "true".to_owned()),
                PolicySetter::Snapshot(set) => set(&mut policy, Some("before.json".into())),
            }
            assert!(!changed.contains(&policy), "`{}` sets nothing, or what another option sets", option.key);
            changed.push(policy);
        }
    }
}
