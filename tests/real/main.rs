//! The promises of `ctl` kept against the real parts: OpenSSH's sshd, supervisord and its `supervisorctl`, Debian's
//! `service`, sudo, ssh-agent. One binary; `tests/run` installs the parts and runs it as root.
//!
//! Every test has a cluster of its own on its own loopback network (see `harness`), so tests run side by side. A
//! timing is never asserted, beyond that a run ends; waiting is for a condition, with a deadline. What a node did is
//! read from the node (its supervisord, its logs), never from `ctl`'s word alone.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on ends, and says where the logs are"
)]

mod actions;
mod addresses;
mod auth;
mod bastions;
mod campaign;
mod configuration;
mod criteria;
mod depth;
mod evidence;
mod exec_input;
mod executed_questions;
mod faults;
#[path = "../support/following.rs"]
mod following;
mod glance;
mod guard;
mod guard_rescue;
mod harness;
mod home;
mod host_keys;
mod journal;
mod kept_nowhere;
mod logs;
mod old_nodes;
mod oneshot;
mod other_supervisords;
mod output;
mod questions;
mod reach;
mod selftest;
mod shell;
mod signals;
mod snapshots;
mod standby;
mod status;
mod sudo;
mod waits;
