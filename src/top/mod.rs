//! The live view: a cluster on one screen, and what is typed there.
//!
//! Here live [`Model`], which is what the screen is about, changed by a round's results and by keys; [`draw`], which makes
//! a frame of it; and [`Screen`], which holds the terminal. It uses `event`, `overview`, `nodeset` and, to make text safe,
//! `sink::text`. What always holds: model and frames are pure and know no network; the model keeps one round; text of a node
//! is made safe before it is drawn; colour says nothing that a sign or a word does not say; the terminal is left as it was
//! found. Start reading at [`Model`].

mod map;
mod model;
mod screen;
#[cfg(test)]
mod tests;
mod view;

pub use self::model::{Confirm, Key, Model, Order, Target};
pub use self::screen::{Input, Screen};
pub use self::view::draw;
