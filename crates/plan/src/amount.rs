//! Numbers of nodes as typed: `3`, `25%`, lists of them, and failure limits.
//!
//! Invariants: a size is rounded down, but is at least one node; a failure limit is compared without rounding, since a
//! rounded 10 % of four nodes would allow a failure.

use std::fmt;
use std::str::FromStr;

use ctl_inventory::UnavailableCap;

/// A number of nodes, or a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAmount {
    /// At least 1.
    Nodes(u32),
    /// 1 to 100.
    Percent(u8),
}

/// An invalid number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{typed}` is not a valid {what}: {reason}")]
pub struct AmountError {
    /// As typed.
    typed: String,
    /// Its meaning.
    what: &'static str,
    /// The expected value.
    reason: &'static str,
}

/// The number, and whether a percent sign follows.
fn number(typed: &str) -> Option<(u32, bool)> {
    let (digits, percent) = match typed.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (typed, false),
    };
    // `parse` alone would accept a sign.
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| plain)?, percent))
}

impl NodeAmount {
    /// The number of nodes out of `nodes`: a percentage is rounded down, but is at least one.
    #[must_use]
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Nodes(count) => usize::try_from(count).unwrap_or(usize::MAX).max(1),
            // At least one: a batch of no nodes would never make progress.
            Self::Percent(percent) => (nodes.saturating_mul(usize::from(percent)) / 100).max(1),
        }
    }
}

impl FromStr for NodeAmount {
    type Err = AmountError;

    fn from_str(typed: &str) -> Result<Self, AmountError> {
        let bad = |reason| AmountError { typed: typed.to_owned(), what: "number of nodes", reason };
        match number(typed.trim()) {
            Some((0, _)) => Err(bad("it must be at least 1")),
            Some((count, false)) => Ok(Self::Nodes(count)),
            Some((percent, true)) => match u8::try_from(percent) {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                _ => Err(bad("a percentage cannot exceed 100%")),
            },
            None => Err(bad("expected a number from 1, such as 3, or a percentage from 1% to 100%")),
        }
    }
}

impl fmt::Display for NodeAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl From<UnavailableCap> for NodeAmount {
    fn from(cap: UnavailableCap) -> Self {
        match cap {
            UnavailableCap::Nodes(count) => Self::Nodes(count),
            UnavailableCap::Percent(percent) => Self::Percent(percent),
        }
    }
}

/// Sizes of batches; the last one repeats: `1,25%,100%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSizes(Vec<NodeAmount>);

impl BatchSizes {
    /// One node at a time.
    #[must_use]
    pub fn one() -> Self {
        Self(vec![NodeAmount::Nodes(1)])
    }

    /// The size of batch `index`, from 0, in a step over `nodes` nodes.
    #[must_use]
    pub fn size(&self, index: usize, nodes: usize) -> usize {
        // The last size repeats for the rest of the nodes.
        self.0.get(index).or(self.0.last()).map_or(nodes, |amount| amount.of(nodes))
    }
}

impl FromStr for BatchSizes {
    type Err = AmountError;

    fn from_str(typed: &str) -> Result<Self, AmountError> {
        typed.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for BatchSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, amount) in self.0.iter().enumerate() {
            write!(f, "{}{amount}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The number of nodes that may fail before no further batch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureLimit {
    /// A number of nodes; 0 allows no failure.
    Nodes(u32),
    /// A percentage, 0 to 100.
    Percent(u8),
    /// Any number.
    Unlimited,
}

impl FailureLimit {
    /// Whether `failed` of `nodes` nodes exceed the limit.
    #[must_use]
    pub fn is_exceeded(self, failed: usize, nodes: usize) -> bool {
        match self {
            Self::Nodes(limit) => failed > usize::try_from(limit).unwrap_or(usize::MAX),
            // Multiply both sides instead of dividing: a division would round.
            Self::Percent(percent) => failed.saturating_mul(100) > usize::from(percent).saturating_mul(nodes),
            Self::Unlimited => false,
        }
    }
}

impl FromStr for FailureLimit {
    type Err = AmountError;

    fn from_str(typed: &str) -> Result<Self, AmountError> {
        let bad = |reason| AmountError { typed: typed.to_owned(), what: "failure limit", reason };
        match number(typed.trim()) {
            // 0 is a valid limit: the first failure exceeds it.
            Some((count, false)) => Ok(Self::Nodes(count)),
            Some((percent, true)) => match u8::try_from(percent) {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                _ => Err(bad("a percentage cannot exceed 100%")),
            },
            None => Err(bad("expected a number of nodes, such as 0 or 2, or a percentage from 0% to 100%")),
        }
    }
}

impl fmt::Display for FailureLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// The caps that apply to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CapPolicy {
    /// The caps of the inventory.
    #[default]
    Inventory,
    /// One cap for every role.
    Each(NodeAmount),
    /// No cap.
    Off,
}

impl FromStr for CapPolicy {
    type Err = AmountError;

    fn from_str(typed: &str) -> Result<Self, AmountError> {
        match typed.trim() {
            "none" => Ok(Self::Off),
            amount => amount.parse().map(Self::Each).map_err(|error: AmountError| AmountError {
                what: "cap",
                reason: "expected a number of nodes from 1, a percentage from 1% to 100%, or none",
                ..error
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_rounded_down_and_never_zero() {
        let of = |typed: &str, nodes| typed.parse::<NodeAmount>().expect("an amount").of(nodes);
        let table =
            [("2", 10, 2), ("20%", 3, 1), ("20%", 11, 2), ("20%", 22, 4), ("100%", 7, 7), ("1%", 7, 1), ("50%", 3, 1)];
        for (typed, nodes, expected) in table {
            assert_eq!(of(typed, nodes), expected, "{typed} of {nodes}");
        }
    }

    #[test]
    fn invalid_amounts_are_rejected() {
        for typed in ["0", "0%", "-1", "101%", "abc", "", "1.5", "+1", "%", "1,,2", "1,", "99999999999", "300%"] {
            assert!(typed.parse::<BatchSizes>().is_err(), "{typed}");
        }
        for typed in ["-1", "101%", "abc", "", "%"] {
            assert!(typed.parse::<FailureLimit>().is_err(), "{typed}");
        }
        assert_eq!("none".parse(), Ok(CapPolicy::Off));
        assert_eq!("25%".parse(), Ok(CapPolicy::Each(NodeAmount::Percent(25))));
        assert!("0".parse::<CapPolicy>().is_err());
    }

    #[test]
    fn the_last_size_repeats() {
        let serial: BatchSizes = "1,2,3".parse().expect("a list");
        assert_eq!((0..5).map(|index| serial.size(index, 10)).collect::<Vec<_>>(), [1, 2, 3, 3, 3]);
        assert_eq!(serial.to_string(), "1,2,3");
    }

    #[test]
    fn failures_are_compared_unrounded() {
        let limit = |typed: &str| typed.parse::<FailureLimit>().expect("a limit");
        assert!(!limit("50%").is_exceeded(2, 4));
        assert!(limit("49%").is_exceeded(2, 4));
        assert!(!limit("100%").is_exceeded(1, 1));
        assert!(limit("10%").is_exceeded(1, 4));
        assert!(limit("0").is_exceeded(1, 100) && !limit("0").is_exceeded(0, 100));
        assert!(limit("0%").is_exceeded(1, 100) && !limit("0%").is_exceeded(0, 100));
        assert!(!FailureLimit::Unlimited.is_exceeded(9, 9));
    }

    proptest! {
        #[test]
        fn a_size_is_between_one_and_all(percent in 1_u8..=100, nodes in 1_usize..5000) {
            let size = NodeAmount::Percent(percent).of(nodes);
            prop_assert!((1..=nodes).contains(&size));
            prop_assert!(size == 1 || size * 100 <= nodes * usize::from(percent));
        }

        #[test]
        fn amounts_round_trip(typed in "[1-9][0-9]{0,2}(,[1-9][0-9]?%){0,3}") {
            let serial: BatchSizes = typed.parse().expect("a list");
            prop_assert_eq!(serial.to_string(), typed);
        }
    }
}
