//! Cases written by hand.
use super::compare::Case;
pub(crate) const CONTRACT: &[&str] = &[];
pub(crate) fn cases() -> Vec<Case> { vec![Case::new("User x\n", "h")] }
