//! The items of a node's sequence: which one a result is of, and how far the node has come.

use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;

/// The item of a sequence that a result is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Item"))]
pub struct ItemLabel {
    /// Its place in the sequence, from 1.
    pub item_number: u32,
    /// Its name.
    pub item: String,
}

string_enum! {
    /// What became of an item of a sequence on a node.
    ItemState {
        /// It is about to run: from here on it may have changed something.
        Started = "started",
        /// It did what it should.
        Done = "done",
        /// It did not, or nobody knows.
        Failed = "failed",
    }
}

/// A step forward in a node's sequence. It is in the journal before the item runs, so that a later controller knows what
/// may have been done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemEvent {
    /// Number of the batch.
    pub batch: u32,
    /// The node that the sequence is of.
    pub node: String,
    /// The item.
    #[serde(flatten)]
    pub label: ItemLabel,
    /// What became of it.
    pub state: ItemState,
}
