//! Tests of the lab against clients that know nothing of it: russh's, and OpenSSH's where it matters.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it looks for")]

mod bounded;
mod client;
mod connect;
mod exec;
mod guard;
mod introspect;
mod rpc;
mod rpc_faults;
