//! The words of the command line, and what they mean.
//!
//! [`args`] has the words as typed, [`settings`] their meaning, after which no clap type exists; [`word_order`], [`habits`]
//! and [`advice`] deal with words that are typed otherwise. Connects to nothing. Invariants: what cannot be honoured is
//! refused before a node is touched.

pub mod advice;
pub mod args;
pub mod change_args;
pub mod connect_args;
pub mod connections_args;
pub mod copy_habits;
pub mod durations;
pub mod examples;
pub mod format;
mod habit_words;
pub mod habits;
pub mod live_source;
pub mod output_args;
pub mod runs_args;
pub mod selection_args;
pub mod settings;
pub mod tips;
pub mod word_order;
