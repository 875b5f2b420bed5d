//! What every part of a rollout file is read with.

use ctl_inventory::Inventory;
use ctl_inventory::values::ValueReader;

/// The context for reading a part.
pub(super) struct RolloutReader<'w> {
    pub(super) reader: ValueReader<'w>,
    pub(super) text: &'w str,
    pub(super) inventory: &'w Inventory,
}
