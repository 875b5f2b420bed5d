//! The live view: a cluster on one screen, and what is typed there.
//!
//! Here live [`TopModel`], which is what the screen is about, changed by a round's results and by keys; [`draw`], which makes
//! a frame of it; and [`TopScreen`], which holds the terminal. It uses `event`, `overview`, `nodeset` and, to make text safe,
//! `sink::text`. What always holds: model and frames are pure and know no network; the model keeps one round; text of a node
//! is made safe before it is drawn; colour says nothing that a sign or a word does not say; the terminal is left as it was
//! found. Start reading at [`TopModel`].

mod map;
mod model;
mod screen;
#[cfg(test)]
mod tests;
mod view;

pub use self::model::{PendingAction, TopKey, TopModel, TopOrder, TopTarget};
pub use self::screen::{TerminalInput, TopScreen};
pub use self::view::draw;
