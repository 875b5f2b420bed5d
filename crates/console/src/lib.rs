//! What the person at the terminal sees and answers beside the results of a command: messages, errors, secrets, signals.
//!
//! [`terminal`] holds the streams, [`error`] the form of errors, [`exit`] the exit codes, [`signals`] the ways in which a user
//! ends a command. It may use every layer whose errors it shows; only the command line and the crates of it use it.
//! Invariants: nothing from a node or a file reaches the terminal unescaped, and no secret is shown.

pub mod error;
pub mod exit;
pub mod log;
pub mod output_closed;
pub mod secret;
pub mod signals;
pub mod terminal;
pub mod trust;
pub mod waiting;
