//! The live view: a cluster on one screen, with keyboard input.
//!
//! Here live [`TopModel`], the state of the view, which results and keys change; [`draw`], which renders a frame; and
//! [`TopScreen`], which owns the terminal. It uses `event`, `overview`, `nodeset` and, to make text safe, `sink::text`.
//! Invariants: model and frames are pure and know no network; the model keeps one round; text from a node is made safe
//! before it is drawn; color repeats a symbol or a label; the terminal is restored at the end. Start reading at
//! [`TopModel`].

mod map;
mod model;
mod screen;
#[cfg(test)]
mod tests;
mod view;

pub use self::model::{PendingAction, TopKey, TopModel, TopOrder, TopTarget};
pub use self::screen::{TerminalInput, TopScreen};
pub use self::view::draw;
