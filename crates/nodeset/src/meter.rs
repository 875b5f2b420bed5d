//! Limits on what an expression may cost.
//!
//! What lives here: [`CostMeter`], which every operation that can grow reports to, with its two kinds:
//! [`ExpressionBudget`] for text that somebody typed and [`Unmetered`] for sets that already exist. What it may
//! use: nothing. Invariants: with `Unmetered` an operation cannot fail, and the types say so.
//! Where to start reading: [`ExpressionBudget`].

use std::convert::Infallible;

/// Watches over the cost of an operation and may stop it.
pub(crate) trait CostMeter {
    /// Why the operation was stopped.
    type Stop;

    /// Reports `units` of work, one being a few nanoseconds or some 16 bytes.
    fn work(&mut self, units: u64) -> Result<(), Self::Stop>;

    /// Reports a set of several axes: how many boxes it falls into, and how many names it holds.
    fn shape(&mut self, boxes: u64, names: u128) -> Result<(), Self::Stop>;
}

/// No limits.
pub(crate) struct Unmetered;

impl CostMeter for Unmetered {
    type Stop = Infallible;

    fn work(&mut self, _units: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn shape(&mut self, _boxes: u64, _names: u128) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What stopped an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// Working it out would take too long or too much memory.
    Work,
    /// The set falls into too many separate boxes.
    Boxes,
    /// The set holds more than 2^64 − 1 names.
    Names,
}

/// The limits for one expression: work (growing with the length of the text), boxes and names.
pub(crate) struct ExpressionBudget {
    left: u64,
}

impl ExpressionBudget {
    /// Work allowed whatever the length of the text: about a second.
    const BASE: u64 = 1 << 28;
    /// Work allowed for each byte of text besides.
    const PER_BYTE: u64 = 64;
    /// Boxes a set of several axes may fall into.
    const BOXES: u64 = 1 << 22;

    /// The limits for an expression of `bytes` bytes.
    pub(crate) fn for_text(bytes: usize) -> Self {
        let extra = u64::try_from(bytes).unwrap_or(u64::MAX);
        // Saturates: a long text must get a large budget, not wrap around to a small one.
        Self { left: Self::BASE.saturating_add(extra.saturating_mul(Self::PER_BYTE)) }
    }
}

impl CostMeter for ExpressionBudget {
    type Stop = Exhausted;

    fn work(&mut self, units: u64) -> Result<(), Exhausted> {
        // A failed subtraction leaves the rest as it is; the expression ends with the error anyway.
        self.left = self.left.checked_sub(units).ok_or(Exhausted::Work)?;
        Ok(())
    }

    fn shape(&mut self, boxes: u64, names: u128) -> Result<(), Exhausted> {
        if boxes > Self::BOXES {
            Err(Exhausted::Boxes)
            // The length of a set is a `u64`.
        } else if names > u128::from(u64::MAX) {
            Err(Exhausted::Names)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_end() {
        let mut budget = ExpressionBudget::for_text(1);
        assert_eq!(budget.work(ExpressionBudget::BASE), Ok(()));
        assert_eq!(budget.work(ExpressionBudget::PER_BYTE + 1), Err(Exhausted::Work));
        assert_eq!(budget.work(ExpressionBudget::PER_BYTE), Ok(()));
        assert_eq!(budget.shape(ExpressionBudget::BOXES, u64::MAX.into()), Ok(()));
        assert_eq!(budget.shape(ExpressionBudget::BOXES + 1, 1), Err(Exhausted::Boxes));
        assert_eq!(budget.shape(1, u128::from(u64::MAX) + 1), Err(Exhausted::Names));
    }
}
