//! The policy options: each is declared once, here.
//!
//! Here live [`POLICY_OPTIONS`] and the type of its rows. The command line makes its arguments from the rows (`--max-failures`),
//! and a rollout file its keys (`max_failures`); both call the row's setter on a [`Policy`], whose defaults hold for every
//! option that is not set. Uses `policy` alone. Invariants: an option that is set twice has the later value, so
//! the `defaults` of a rollout are set before a step's own.
//!
//! To add an option: a field in [`Policy`], a row here, and the place that uses it. Both readers know the kinds of
//! values ([`PolicySetter`]), not the options. Tests hold docs/rolling.md and docs/rollout.md against the rows.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

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

/// Parses a text and puts its value into a policy. An error is the reason why it cannot, and the policy is unchanged.
pub type ParseFn = fn(&mut Policy, &str) -> Result<(), String>;

/// How the value of an option is written, with the function that puts it into a policy.
///
/// The command line and the rollout file each read every one of these in one place. A value of a new kind needs no new
/// one: it is [`PolicySetter::Parsed`].
#[derive(Debug, Clone, Copy)]
pub enum PolicySetter {
    /// A text in a form of its own.
    Parsed {
        /// Describes the value in an error.
        expected: &'static str,
        /// Parses it.
        set: ParseFn,
    },
    /// Several such texts with commas between them, or in a rollout file a list of them.
    ParsedList {
        /// Names one of them in an error.
        item: &'static str,
        /// Describes the value in an error.
        expected: &'static str,
        /// Parses one of them, and several with commas between them.
        set: ParseFn,
    },
    /// A duration above zero.
    Duration(fn(&mut Policy, Duration)),
    /// A duration, or zero.
    DurationOrZero(fn(&mut Policy, Duration)),
    /// One of several names.
    Choice(&'static [PolicyChoice]),
    /// Any text. A rollout file expands the variables in it.
    Text {
        /// Names its kind in an error.
        noun: &'static str,
        /// Takes it.
        set: fn(&mut Policy, String),
    },
    /// The path of a file; in a rollout file, `none` takes back what the `defaults` have set.
    File {
        /// Describes the value in an error.
        expected: &'static str,
        /// Takes it.
        set: fn(&mut Policy, Option<PathBuf>),
    },
}

/// One of the names that an option accepts.
#[derive(Debug)]
pub struct PolicyChoice {
    /// As typed.
    pub name: &'static str,
    /// Its meaning, in one line.
    pub help: &'static str,
    /// Puts it into a policy.
    pub set: fn(&mut Policy),
}

/// The values of `gate`.
const GATES: &[PolicyChoice] = &[
    PolicyChoice {
        name: "running",
        help: "Every changed service is RUNNING and stays RUNNING",
        set: |policy| policy.gate = Some(GateLevel::Running),
    },
    PolicyChoice {
        name: "active",
        help: "The same, and active or on standby according to its introspect port",
        set: |policy| policy.gate = Some(GateLevel::Active),
    },
    PolicyChoice {
        name: "none",
        help: "Only proof that the action took effect",
        set: |policy| policy.gate = Some(GateLevel::None),
    },
];

/// All of them, in the order in which help texts show them.
pub const POLICY_OPTIONS: &[PolicyOption] = &[
    PolicyOption {
        key: "serial",
        value_name: "LIST",
        help: "Batch sizes: 1, 25%, or a list such as 1,25%,100%; the last size repeats [default: all at once]",
        set: PolicySetter::ParsedList {
            item: "size",
            expected: "a number of nodes, a percentage, or several",
            set: |policy, typed| parsed(typed).map(|sizes| policy.serial = Some(sizes)),
        },
    },
    PolicyOption {
        key: "max_failures",
        value_name: "N|P%",
        help: "Start no further batch once more nodes than this have failed [default: 0 when batched, else unlimited]",
        set: PolicySetter::Parsed {
            expected: "a number of nodes, or a percentage",
            set: |policy, typed| parsed(typed).map(|limit| policy.max_failures = Some(limit)),
        },
    },
    PolicyOption {
        key: "max_unavailable",
        value_name: "N|P%|none",
        help: "How many nodes of a role may be down at once [default: from the inventory; database and config: 1]",
        set: PolicySetter::Parsed {
            expected: "a number of nodes, a percentage, or none",
            set: |policy, typed| parsed(typed).map(|caps| policy.caps = caps),
        },
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
        set: PolicySetter::Choice(GATES),
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
        set: PolicySetter::Duration(|policy, timeout| policy.gate_timeout = Some(timeout)),
    },
    PolicyOption {
        key: "gate_snapshot",
        value_name: "FILE",
        help: "Continue only if no node of the batch is worse than in this snapshot",
        set: PolicySetter::File {
            expected: "the file of a snapshot, or none",
            set: |policy, file| policy.gate_snapshot = file,
        },
    },
    PolicyOption {
        key: "check",
        value_name: "COMMAND",
        help: "Continue only if this command exits 0 on each node of the batch",
        set: PolicySetter::Text { noun: "command", set: |policy, command| policy.check = Some(command) },
    },
];

fn parsed<T: FromStr<Err: Display>>(typed: &str) -> Result<T, String> {
    typed.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that some option accepts.
    const EXAMPLES: [&str; 2] = ["3", "none"];

    #[test]
    fn every_option_is_documented() {
        let rolling = include_str!("../../../docs/rolling.md");
        let rollout = include_str!("../../../docs/rollout.md");
        for PolicyOption { key, .. } in POLICY_OPTIONS {
            let option = format!("--{}", key.replace('_', "-"));
            // Not as a part of a longer option.
            let is_there = [format!("`{option}`"), format!("`{option} ")].iter().any(|quoted| rolling.contains(quoted));
            assert!(is_there, "docs/rolling.md does not have {option}");
            assert!(rollout.contains(&format!("`{key}`")), "docs/rollout.md does not have `{key}`");
        }
    }

    #[test]
    fn every_option_changes_a_policy_of_its_own() {
        let mut changed: Vec<Policy> = vec![Policy::default()];
        let mut note = |key: &str, set: &dyn Fn(&mut Policy)| {
            let mut policy = Policy::default();
            set(&mut policy);
            assert!(!changed.contains(&policy), "`{key}` sets nothing, or what another option sets");
            changed.push(policy);
        };
        for PolicyOption { key, set, .. } in POLICY_OPTIONS {
            match *set {
                PolicySetter::Parsed { set, .. } | PolicySetter::ParsedList { set, .. } => note(key, &|policy| {
                    let is_set = EXAMPLES.iter().any(|typed| set(policy, typed).is_ok());
                    assert!(is_set, "EXAMPLES needs a value that `{key}` accepts");
                }),
                PolicySetter::Duration(set) | PolicySetter::DurationOrZero(set) => {
                    note(key, &|policy| set(policy, Duration::from_secs(7)));
                }
                PolicySetter::Choice(choices) => choices.iter().for_each(|choice| note(key, &choice.set)),
                PolicySetter::Text { set, .. } => note(key, &|policy| set(policy, "true".to_owned())),
                PolicySetter::File { set, .. } => note(key, &|policy| set(policy, Some("before.json".into()))),
            }
        }
    }
}
