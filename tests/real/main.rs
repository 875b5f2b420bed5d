//! Tests of the guarantees of `ctl` with real programs: OpenSSH's sshd, supervisord and its `supervisorctl`, Debian's
//! `service`, sudo, ssh-agent. One binary; `tests/run` installs them and runs it as root.
//!
//! Every test has its own cluster on its own loopback network (see `harness`), so tests run in parallel. No test
//! asserts timing, except that a run ends; tests wait for a condition, with a deadline. They read effects from the node
//! (its supervisord, its logs), never only from the output of `ctl`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "in a test, a panic is a failure and says where the logs are"
)]

mod actions;
mod addresses;
mod auth;
mod bastions;
mod campaign;
mod configuration;
mod cp;
mod criteria;
mod depth;
mod discovery;
mod evidence;
mod exec_input;
mod exec_lock;
mod executed_questions;
mod faults;
#[path = "../support/following.rs"]
mod following;
mod glance;
mod guard;
mod guard_rescue;
mod harness;
mod helpers;
mod home;
mod host_keys;
mod journal;
mod kept_connections;
mod kept_nowhere;
mod live_source;
mod logs;
mod old_nodes;
mod oneshot;
mod other_supervisords;
mod output;
mod questions;
mod reach;
mod selftest;
mod sequences;
mod shell;
mod signals;
mod snapshots;
mod standby;
mod status;
mod sudo;
mod waits;
