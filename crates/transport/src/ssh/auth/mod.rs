//! Logging in: with keys and certificates of files and of the agent, with answers to the node's questions, with a
//! password.
//!
//! Here live [`KeyRing`], which has everything to log in with, and [`authenticate`], which tries it. `order.rs` says
//! which keys are offered in which order, `signature.rs` who signs and how, `verdict.rs` which error a failed login
//! becomes; `key_file.rs`, `certificate.rs` and `agent.rs` are where keys come from, `password.rs` is for the rest.
//!
//! Invariants: files and agents are asked once a run, and a key is decrypted once; no secret is printed; a
//! method that was not allowed is not used; each attempt and its answer is logged, and the error names all of them when
//! all fail. Start at [`authenticate`].

mod agent;
mod answer;
mod certificate;
mod key_file;
mod key_ring;
mod login;
mod order;
mod password;
mod pem;
mod progress;
mod signature;
mod verdict;

pub use self::key_file::UnlockError;
pub(super) use self::key_ring::KeyRing;
pub use self::key_ring::LoginSecrets;
pub(super) use self::login::{agent_timeout, authenticate};
pub(super) use self::progress::AuthProgress;
