//! Text that a node's commands print becomes values.
//!
//! Pure: no I/O, no session. The files use the leaf module `event` and `remote::SudoError`. Invariants: no text
//! makes a reader panic, the part that is kept is bounded, and text that is not understood is never a success. Start at
//! [`supervisorctl::parse_status`].

pub mod init;
pub mod problem;
pub mod supervisorctl;
#[cfg(test)]
mod supervisorctl_tests;
pub(crate) mod text;
