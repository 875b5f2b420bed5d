//! The state that all parts of a node share: its description, faults, counters and live connections.
//!
//! Invariants: no lock of this module is held while another one is taken, or across an await.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::conn::{CutKind, Switch};
use crate::fault::{Fault, FaultSet, Moment};
use crate::spec::{NodeSpec, Timing};
use crate::util::{Clock, lock};

/// One XML-RPC call that a node received over a forwarded connection.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcCall {
    /// The instance, `supervisor-analytics`.
    pub instance: String,
    /// The method, `supervisor.startProcess`.
    pub method: String,
    /// Its parameters, as XML-RPC values in readable form: `"contrail-collector"`, `true`.
    pub args: Vec<String>,
}

/// The connections and requests that one node has received since the lab started. Each list stops growing at 10,000
/// entries.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// TCP connections accepted.
    pub connections: u64,
    /// Successful logins.
    pub logins: u64,
    /// Connections open now.
    pub open: u64,
    /// The most connections that were open at once.
    pub max_open: u64,
    /// The commands of all exec requests, as received.
    pub execs: Vec<String>,
    /// The calls received by supervisords over forwarded connections.
    pub rpc_calls: Vec<RpcCall>,
    /// Paths of the requested unix sockets, granted or not.
    pub streamlocal_opens: Vec<String>,
    /// Targets (`host:port`) of the requested TCP forwards, granted or not.
    pub tcpip_opens: Vec<String>,
}

const LIST_LIMIT: usize = 10_000;

/// Appends, unless the list is full.
pub(crate) fn note<T>(list: &mut Vec<T>, item: T) {
    if list.len() < LIST_LIMIT {
        list.push(item);
    }
}

/// See the module's head.
pub(crate) struct Shared {
    pub(crate) spec: NodeSpec,
    pub(crate) timing: Timing,
    /// How long a guard waits for a line.
    pub(crate) guard_silence: Duration,
    pub(crate) clock: Clock,
    pub(crate) runtime: tokio::runtime::Handle,
    faults: Mutex<FaultSet>,
    counters: Mutex<Counters>,
    connections: Mutex<Vec<Arc<Switch>>>,
    next_pid: AtomicU32,
    /// Changes with every change of the faults.
    pub(crate) faults_changed: watch::Sender<u64>,
    /// True once the lab is being dropped.
    pub(crate) closing: watch::Sender<bool>,
    /// The last change of the faults that the listener reflects.
    pub(crate) listening: watch::Sender<Option<u64>>,
}

impl Shared {
    pub(crate) fn new(
        spec: NodeSpec,
        timing: Timing,
        guard_silence: Duration,
        clock: Clock,
        runtime: tokio::runtime::Handle,
        first_pid: u32,
    ) -> Self {
        let faults = FaultSet::new(spec.faults.clone());
        Self {
            spec,
            timing,
            guard_silence,
            clock,
            runtime,
            faults: Mutex::new(faults),
            counters: Mutex::new(Counters::default()),
            connections: Mutex::new(Vec::new()),
            next_pid: AtomicU32::new(first_pid),
            faults_changed: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            listening: watch::Sender::new(None),
        }
    }

    pub(crate) fn next_pid(&self) -> u32 {
        // Real pids are not consecutive, because other processes start in between.
        self.next_pid.fetch_add(3, Ordering::Relaxed)
    }

    pub(crate) fn has(&self, fault: &Fault) -> bool {
        lock(&self.faults).has(fault)
    }

    /// The text of [`Fault::Says`].
    pub(crate) fn says(&self) -> Option<String> {
        lock(&self.faults).says()
    }

    pub(crate) fn faults(&self) -> FaultSet {
        lock(&self.faults).clone()
    }

    pub(crate) fn edit_faults(&self, edit: impl FnOnce(&mut FaultSet)) {
        edit(&mut lock(&self.faults));
        self.faults_changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn count<R>(&self, edit: impl FnOnce(&mut Counters) -> R) -> R {
        edit(&mut lock(&self.counters))
    }

    /// Registers a new connection.
    pub(crate) fn opened(&self) -> Arc<Switch> {
        let switch = Arc::new(Switch::default());
        if self.has(&Fault::Freeze) {
            switch.turn(CutKind::Frozen);
        }
        {
            let mut all = lock(&self.connections);
            all.retain(|s| Arc::strong_count(s) > 1);
            all.push(Arc::clone(&switch));
        }
        self.count(|c| {
            c.connections += 1;
            c.open += 1;
            c.max_open = c.max_open.max(c.open);
        });
        switch
    }

    /// Registers the end of a connection.
    pub(crate) fn closed(&self) {
        self.count(|c| c.open = c.open.saturating_sub(1));
    }

    /// Cuts or freezes every live connection.
    pub(crate) fn cut_all(&self, kind: CutKind) {
        let all = lock(&self.connections).clone();
        for switch in all {
            switch.turn(kind);
        }
    }

    /// Removes [`Fault::Freeze`]: held bytes move again.
    pub(crate) fn thaw(&self) {
        self.edit_faults(|f| f.remove(&Fault::Freeze));
        self.cut_all(CutKind::Live);
    }

    /// Called in the middle of an action. Cuts the node's connections if a fault requires it.
    pub(crate) fn mid_action(&self, moment: Moment) {
        let Some(come_back) = lock(&self.faults).take_drop(moment) else {
            return;
        };
        if !come_back {
            self.edit_faults(|f| f.add(Fault::Refused));
        }
        self.cut_all(CutKind::Reset);
    }

    /// Resolves when the listener reflects the current faults.
    pub(crate) async fn until_settled(&self) {
        let wanted = *self.faults_changed.borrow();
        let mut listening = self.listening.subscribe();
        let settled = listening.wait_for(|now| now.is_some_and(|now| now >= wanted));
        tokio::select! {
            // The sender lives as long as `self`.
            end = settled => drop(end),
            () = self.until_closing() => {}
        }
    }

    /// Resolves when the lab is dropped.
    pub(crate) async fn until_closing(&self) {
        let mut closing = self.closing.subscribe();
        // An error means that the sender was dropped, which also means that the lab is closing.
        while !*closing.borrow_and_update() {
            if closing.changed().await.is_err() {
                return;
            }
        }
    }
}
