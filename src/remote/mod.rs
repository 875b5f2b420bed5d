//! How something is run on a node: scripts that go over standard input, and sudo before them.
//!
//! Here live [`Sudo`] with all that its dialogue can end in ([`SudoError`], [`EnterError`]), what an executed question
//! answered ([`CommandAnswer`], [`NoAnswer`]), and what sends a script ([`script`]). The room uses `transport` and the leaf `event`; `supervisor` and `guard` use it. What always holds:
//! a password is never part of a command line, an environment, a script or a message; it is written to one
//! command's standard input, and only after that command has shown the random prompt that it was given. Start at
//! [`Sudo::ask`] and [`Sudo::enter`].

mod question;
pub mod script;
mod sudo;
mod sudo_errors;

pub use self::question::{CommandAnswer, NOT_RUN, NoAnswer, ending, last_line};
pub use self::sudo::{AskError, EnterError, ExecError, Sudo, SudoPrompt};
pub use self::sudo_errors::SudoError;
