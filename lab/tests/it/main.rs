//! Tests of the lab with independent clients: russh's, and OpenSSH's where it matters.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is a failure")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names only the variants that it expects")]

mod bounded;
mod client;
mod connect;
mod exec;
mod guard;
mod introspect;
mod rpc;
mod rpc_faults;
