//! Runs commands on a node: scripts over standard input, with or without sudo.
//!
//! Here live [`Sudo`] with the outcomes of its dialogue ([`SudoError`], [`EnterError`]), the answer of a command
//! ([`CommandAnswer`], [`NoAnswer`]), and the encoding of scripts ([`script`]). The module uses `transport` and the
//! leaf `event`; `supervisor` and `guard` use it. Invariants: a password is never part of a command line, an
//! environment, a script or a message; it is written to the standard input of one command, and only after that command
//! has printed its own random prompt. Start at [`Sudo::ask`] and [`Sudo::enter`].

mod question;
pub mod script;
mod sudo;
mod sudo_errors;

pub use self::question::{CommandAnswer, NOT_RUN, NoAnswer, ending, last_line};
pub use self::sudo::{AskError, EnterError, ExecError, Sudo, SudoPrompt};
pub use self::sudo_errors::SudoError;
