//! Whole runs whose nodes all fail at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::engine::dispatcher_tests::plan_of;
use crate::engine::pool::{RunSetup, run};
use crate::{JournalAck, LockPolicy, NodeAccess};
use ctl_event::{EventKind, Ledger, RunHead, RunScope};
use ctl_guard::LockHolder;
use ctl_plan::Action;
use ctl_plan::policy::Policy;
use ctl_remote::Sudo;
use ctl_transport::{
    AllowedFamilies, Endpoint, HostKeyPolicy, HostKeySettings, Keepalive, LoginSettings, ProxyRoute, SshSession,
    Transport, TransportError,
};

/// Reaches no node.
struct Nowhere;

impl Transport for Nowhere {
    type Session = SshSession;

    async fn connect(&self, endpoint: &Endpoint) -> Result<SshSession, TransportError> {
        Err(TransportError::Refused { host: endpoint.host.clone(), port: endpoint.port })
    }
}

fn access(nodes: usize) -> Vec<NodeAccess> {
    let endpoint = Arc::new(Endpoint {
        host: "127.0.0.1".to_owned(),
        port: 22,
        family: AllowedFamilies::Any,
        bind: None,
        proxy: ProxyRoute::Direct,
        login: LoginSettings {
            user: "root".to_owned(),
            identities: Vec::new(),
            identities_named: false,
            certificates: Vec::new(),
            identities_only: false,
            agent: None,
            methods: Vec::new(),
        },
        host_keys: Arc::new(HostKeySettings {
            user_files: Vec::new(),
            global_files: Vec::new(),
            revoked: Vec::new(),
            alias: None,
            policy: HostKeyPolicy::Strict,
            hash_names: false,
            min_rsa_bits: 1024,
        }),
        algorithms: Arc::default(),
        keepalive: Keepalive { interval: Duration::from_secs(10), count: 3, when_idle: false },
        connect_timeout: Duration::from_secs(5),
        retries: 0,
        keep: None,
    });
    let one =
        NodeAccess { endpoint, sudo: Sudo::No, via: None, timeout: Duration::from_secs(60), passwords: Arc::default() };
    vec![one; nodes]
}

/// Each call of the observer is a wait for the disk.
#[tokio::test]
async fn what_ends_together_is_recorded_together() {
    let nodes = 50;
    let plan = Arc::new(plan_of(nodes, 0, &[("analytics", (0..nodes).collect())], Action::Restart, Policy::default()));
    let (_none, notices) = mpsc::channel(1);
    let (_quiet, signals) = mpsc::channel(1);
    let head = RunHead {
        run: "20260301-080000-abcd".to_owned(),
        command: "service".to_owned(),
        action: Some("restart".to_owned()),
        services: vec!["x".to_owned()],
        started: jiff::Timestamp::UNIX_EPOCH,
        nodes: 50,
        selection: RunScope::default(),
        input: None,
    };
    let setup = RunSetup {
        plan: Arc::clone(&plan),
        head,
        access: access(nodes),
        forks: nodes,
        hangs_up: false,
        transport: Arc::new(Nowhere),
        notices,
        guarding: LockPolicy::new(LockHolder::default(), Duration::ZERO, true, &plan),
        first_seq: 0,
        first_batch: 1,
    };
    let (mut ledger, mut calls) = (Ledger::default(), 0);
    let cancel = run(setup, signals, |events| {
        // Progress is shown and forgotten.
        calls += usize::from(events.iter().any(|event| !matches!(event.kind, EventKind::Progress { .. })));
        for event in events {
            ledger.apply(event).expect("an event that fits");
        }
        JournalAck::Yes
    })
    .await;
    assert_eq!((cancel, ledger.result_count()), (None, 50));
    assert!(calls < 20, "{calls} waits for the disk");
}
