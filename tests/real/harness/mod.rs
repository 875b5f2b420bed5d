//! Real nodes for tests: OpenSSH's sshd and supervisord, with one set of namespaces per node.
//!
//! A [`Cluster`] is described with [`Cluster::builder`], runs until it is dropped, and has the inventory, the
//! known_hosts file and the client key that a run of `ctl` needs ([`Cluster::ctl`]). A [`Node`] can be queried without
//! SSH and without `ctl` ([`Node::process`], [`Node::sh`]), so that a test need not trust the output of `ctl`.
//!
//! Invariants: nothing listens outside 127.0.0.0/8, nothing in the machine's file system is changed except the
//! cluster's temporary directory, and every process ends with its node, even if the test binary is killed (the node's
//! pid 1 ends with its standard input).
//!
//! Tests of decisions before a login use bare sshd processes without a node behind them ([`Sshds`]).
//!
//! Start reading at `cluster.rs`; `spec.rs` describes the services of a node, `node/boot.sh` builds the node.

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

/// The deadline for a condition. It is generous, because builds may share the machine; no passing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `condition` returns a value.
///
/// # Panics
///
/// With `what`, if that takes longer than [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    // The pause grows, because each check costs a query to a node's supervisord, or a process.
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(80));
    }
}

/// Waits until a unix socket has a listener. The socket file may exist some time before.
pub(crate) fn listening(what: &str, socket: &Path) {
    eventually(&format!("{what} to listen"), || UnixStream::connect(socket).ok());
}

/// The state of a process according to supervisord, through any socket that leads to it.
pub(crate) fn process_over(socket: &Path, name: &str) -> Option<Process> {
    rpc::process(socket, name).ok()
}
