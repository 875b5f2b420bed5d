//! The items of a node's sequence: which one a result is of, and how far the node has come.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;

/// The item of a sequence that a result is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Item"))]
pub struct ItemLabel {
    /// Whether the result is of its undo.
    pub undo: bool,
    /// Its place in the sequence, from 1.
    pub item_number: u32,
    /// Its name.
    pub item: String,
    /// The other node that it runs on; none on the node itself, and on the controller.
    #[serde(default)]
    pub on: Option<String>,
}

impl ItemLabel {
    /// Its name for people; an undo has that of its item, and says so.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, str> {
        if self.undo { format!("{} (undo)", self.item).into() } else { self.item.as_str().into() }
    }
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
        /// It is about to run, and will have to be taken back: its scope is open.
        Opened = "opened",
        /// It is taken back.
        Undone = "undone",
        /// It could not be taken back.
        UndoFailed = "undo_failed",
        /// It stays as it is on purpose.
        Kept = "kept",
    }
}

/// A step forward in a node's sequence. It is in the journal before the item runs, so that a later controller knows what
/// may have been done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemEvent {
    /// Number of the batch.
    pub batch: u32,
    /// Index of the step in the plan.
    pub step: u32,
    /// The node that the sequence is of.
    pub node: String,
    /// The item.
    #[serde(flatten)]
    pub label: ItemLabel,
    /// What became of it.
    pub state: ItemState,
}

string_enum! {
    /// Why the scope of an item was not taken back.
    KeptReason {
        /// On purpose: it is not to be taken back on this end of the sequence.
        Kept = "kept",
        /// Its undo failed.
        UndoFailed = "undo_failed",
        /// The run ended before it could be: the guard of its node does it, or nobody.
        Open = "open",
    }
}

/// An item that was not taken back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptItem {
    /// The node.
    pub node: String,
    /// Its place in the sequence, from 1.
    pub item_number: u32,
    /// Its name.
    pub item: String,
    /// The other node that it ran on; none on the node itself, and on the controller.
    pub on: Option<String>,
    /// Why.
    pub reason: KeptReason,
}

/// The scopes of a run's items, as far as its events say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemScopes(BTreeMap<(u32, String, u32), ItemEvent>);

impl ItemScopes {
    /// Takes in an event; one that is not about a scope changes nothing.
    pub fn note(&mut self, event: &ItemEvent) {
        match event.state {
            ItemState::Started | ItemState::Done | ItemState::Failed => {}
            ItemState::Opened | ItemState::Undone | ItemState::UndoFailed | ItemState::Kept => {
                self.0.insert((event.step, event.node.clone(), event.label.item_number), event.clone());
            }
        }
    }

    /// The last event of each scope.
    pub fn last(&self) -> impl Iterator<Item = &ItemEvent> {
        self.0.values()
    }

    /// The items that were not taken back; none if no scope was ever open.
    #[must_use]
    pub fn kept(&self) -> Option<Vec<KeptItem>> {
        let kept = self.0.values().filter_map(|event| {
            let reason = match event.state {
                ItemState::Kept => KeptReason::Kept,
                ItemState::UndoFailed => KeptReason::UndoFailed,
                ItemState::Opened => KeptReason::Open,
                ItemState::Undone | ItemState::Started | ItemState::Done | ItemState::Failed => return None,
            };
            let ItemLabel { item_number, item, on, .. } = event.label.clone();
            Some(KeptItem { node: event.node.clone(), item_number, item, on, reason })
        });
        (!self.0.is_empty()).then(|| kept.collect())
    }
}
