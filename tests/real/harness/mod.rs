//! Real nodes to test against: OpenSSH's sshd and supervisord, one set of namespaces a node.
//!
//! A [`Cluster`] is described by [`Cluster::builder`], runs until it is dropped, and knows the inventory, the
//! known_hosts file and the client key that a run of `ctl` needs ([`Cluster::ctl`]). A [`Node`] can be asked
//! without SSH and without `ctl` ([`Node::process`], [`Node::sh`]), so that a test never believes `ctl`'s own word.
//!
//! What always holds: nothing listens outside 127.0.0.0/8, nothing of the machine's file system is changed
//! beside the cluster's temporary directory, and every process ends with its node, even when the test binary
//! is killed (the node's pid 1 ends with its standard input).
//!
//! For what is decided before a login there are bare sshd processes without a node behind them ([`Sshds`]).
//!
//! Start reading at `cluster.rs`; `spec.rs` says what can stand on a node, `node/boot.sh` what a node is.

mod bastion;
mod cluster;
mod command;
#[path = "../../support/json_schema.rs"]
mod json_schema;
mod node;
mod rpc;
mod screen;
mod spec;
mod sshd;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use bastion::Bastion;
pub(crate) use cluster::{Cluster, HostKey};
pub(crate) use command::{Finished, Running, parsed};
pub(crate) use node::Node;
pub(crate) use rpc::Process;
pub(crate) use screen::Screen;
pub(crate) use spec::{Instance, Listen, NodeSpec, Program};
pub(crate) use sshd::{Sshd, Sshds};

/// How long a condition may take before a test fails. Generous, since builds may share the machine; no test passes by waiting it out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `condition` gives a value.
///
/// # Panics
///
/// With `what`, when that takes longer than [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    // Soon at first, then seldom: each look costs a node's supervisord, or a process.
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(80));
    }
}

/// Waits until somebody listens on a unix socket, which may be there some time before.
pub(crate) fn listening(what: &str, socket: &Path) {
    eventually(&format!("{what} to listen"), || UnixStream::connect(socket).ok());
}

/// What a supervisord says of a process, asked over any socket that leads to it.
pub(crate) fn process_over(socket: &Path, name: &str) -> Option<Process> {
    rpc::process(socket, name).ok()
}
