//! The connections that the holder keeps.
//!
//! Here lives [`ConnectionTable`]. A connection is found by everything that says where it leads and how it was made
//! ([`ConnectionKey`]). Invariants: a connection whose host keys would not be accepted now is not given out again;
//! while one is made, others that want the same wait for it; one that nobody has used for its time is closed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ctl_transport::{
    BastionSource, ConnectFurther, Endpoint, KeepSettings, Keepalive, ProxyRoute, Session, SshSession, Transport,
    TransportError,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::debug;

use crate::login::HolderClient;
use crate::protocol::KeptConnection;

/// The longest time that a connection which is there may take to answer, before another is made.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// Everything that says where a connection leads and how it was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ConnectionKey {
    digest: [u8; 32],
    /// Which connection to a bastion it is.
    number: usize,
}

impl ConnectionKey {
    fn of(endpoint: &Endpoint, number: usize) -> Option<Self> {
        let text = serde_json::to_vec(&without_patience(endpoint)).ok()?;
        Some(Self { digest: Sha256::digest(text).into(), number })
    }
}

/// The endpoint without what matters only while it is connected to.
fn without_patience(endpoint: &Endpoint) -> Endpoint {
    let proxy = match &endpoint.proxy {
        ProxyRoute::Jump(bastion) => ProxyRoute::Jump(Arc::new(without_patience(bastion))),
        other @ (ProxyRoute::Direct | ProxyRoute::Command(_)) => other.clone(),
    };
    Endpoint { proxy, connect_timeout: Duration::ZERO, retries: 0, keep: None, ..endpoint.clone() }
}

/// The endpoint as the holder connects to it: without keepalives of the connection's own, unless the user has asked for
/// them. One that nobody uses costs nothing then; one in use is watched by [`KeptSession::watch`].
fn held(endpoint: &Endpoint) -> Endpoint {
    let mut held = endpoint.clone();
    if !held.keepalive.when_idle {
        held.keepalive.interval = Duration::ZERO;
    }
    held
}

/// Why a connection is looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SessionLookup {
    Node,
    /// The connection to a bastion with this number.
    Bastion(usize),
}

/// A connection that was found or made. It is in use as long as this lasts.
pub(crate) struct KeptSession {
    pub(crate) session: Arc<SshSession>,
    /// Whether it was there already.
    pub(crate) is_reused: bool,
    entry: Arc<TableEntry>,
}

impl KeptSession {
    /// Closes the connection once its peer has died silently, and ends then.
    pub(crate) async fn watch(&self, keepalive: Keepalive) {
        let Keepalive { interval, count, when_idle } = keepalive;
        // Without an interval nobody asks, and with `when_idle` the connection does it itself.
        if interval.is_zero() || when_idle {
            return std::future::pending().await;
        }
        // It is closed after `interval` × `count`, the silence before the question included; 0 is never, as with OpenSSH.
        let patience = if count == 0 { Duration::MAX } else { interval.saturating_mul(count.saturating_sub(1).max(1)) };
        while !self.session.is_dead() {
            tokio::time::sleep(interval).await;
            self.session.check(patience).await;
        }
    }

    /// Counts a channel until the result is dropped.
    pub(crate) fn count_channel(&self) -> impl Drop + use<> {
        self.entry.channels.fetch_add(1, Ordering::Relaxed);
        CountedChannel(Arc::clone(&self.entry))
    }
}

struct CountedChannel(Arc<TableEntry>);

impl Drop for CountedChannel {
    fn drop(&mut self) {
        self.0.channels.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, or the place of one.
#[derive(Default)]
struct TableEntry {
    /// Held while it is made.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<EntryState>,
    channels: AtomicUsize,
}

#[derive(Default)]
struct EntryState {
    session: Option<Arc<SshSession>>,
    facts: Option<EntryFacts>,
    idle_since: Option<Instant>,
    /// The commands that have used it, for a further connection.
    clients: Vec<Weak<HolderClient>>,
}

struct EntryFacts {
    node: Option<String>,
    host: String,
    port: u16,
    user: String,
    made: Instant,
    keep: Duration,
}

/// All connections.
#[derive(Default)]
pub(crate) struct ConnectionTable {
    entries: Mutex<HashMap<ConnectionKey, Arc<TableEntry>>>,
    /// Something may be idle or in use now.
    look: Notify,
    /// An entry is gone.
    removed: Notify,
    is_retired: std::sync::atomic::AtomicBool,
}

impl ConnectionTable {
    /// The connection to an endpoint, made now if there is none that may be used.
    ///
    /// # Errors
    /// As [`Transport::connect`].
    pub(crate) fn obtain<'a>(
        self: &'a Arc<Self>,
        client: &'a Arc<HolderClient>,
        endpoint: &'a Endpoint,
        lookup: SessionLookup,
    ) -> BoxFuture<'a, Result<KeptSession, TransportError>> {
        // Boxed, because a bastion is obtained in the same way.
        self.obtain_now(client, endpoint, lookup).boxed()
    }

    async fn obtain_now(
        self: &Arc<Self>,
        client: &Arc<HolderClient>,
        endpoint: &Endpoint,
        lookup: SessionLookup,
    ) -> Result<KeptSession, TransportError> {
        // Before the bastions on the way are obtained, which are kept as long.
        client.keep(endpoint.keep.as_ref().map_or(Duration::ZERO, |keep| keep.idle));
        let number = match lookup {
            SessionLookup::Node => 0,
            SessionLookup::Bastion(number) => number + 1,
        };
        let Some(key) = ConnectionKey::of(endpoint, number) else {
            let reason = "a path in its settings is not UTF-8, so it cannot be kept".to_owned();
            return Err(TransportError::Lost { reason });
        };
        let entry = Arc::clone(self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let turn = entry.turn.lock().await;
        if let Some(session) = self.usable(client, &entry).await {
            self.check_in_passing(&session, endpoint.connect_timeout);
            entry.note_use(client, endpoint, lookup, false);
            drop(turn);
            return Ok(KeptSession { session, is_reused: true, entry });
        }
        let bastions = || -> Arc<dyn BastionSource> {
            Arc::new(KeptBastions { table: Arc::downgrade(self), client: Arc::downgrade(client) })
        };
        let held = held(endpoint);
        let connected = async { client.transport(bastions).await?.connect(&held).await }.await;
        let session = match connected {
            Ok(session) => session,
            Err(error) => {
                drop(turn);
                self.look_again();
                return Err(error);
            }
        };
        let further = further_connection(self, &entry, endpoint);
        let session = Arc::new(session.with_reconnect(endpoint.host.clone(), further));
        entry.state.lock().unwrap_or_else(PoisonError::into_inner).session = Some(Arc::clone(&session));
        entry.note_use(client, endpoint, lookup, true);
        let (table, ended) = (Arc::downgrade(self), session.ended());
        tokio::spawn(async move {
            ended.await;
            if let Some(table) = table.upgrade() {
                table.look_again();
            }
        });
        // It may have been swept meanwhile as one that leads nowhere.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&entry));
        drop(turn);
        Ok(KeptSession { session, is_reused: false, entry })
    }

    /// Asks a connection that was idle for a sign of life, without waiting for it: what uses the connection meanwhile
    /// fails when none comes, and then another is made.
    fn check_in_passing(self: &Arc<Self>, session: &Arc<SshSession>, patience: Duration) {
        let (table, session) = (Arc::clone(self), Arc::clone(session));
        tokio::spawn(async move {
            session.check(patience.min(LONGEST_SILENCE)).await;
            // Not before: as long as this task has it, it looks as if it were in use.
            drop(session);
            table.look_again();
        });
    }

    /// The connection of an entry, if it lives and its host keys would be accepted now.
    async fn usable(&self, client: &HolderClient, entry: &TableEntry) -> Option<Arc<SshSession>> {
        let session = entry.session()?;
        if session.is_dead() {
            // Others that use it find it closed, which it as good as is.
            session.hang_up();
        } else if client.trusts(&session).await {
            return Some(session);
        }
        entry.state.lock().unwrap_or_else(PoisonError::into_inner).session = None;
        None
    }

    /// Which endpoints have a connection that would be used.
    pub(crate) async fn kept(&self, client: &HolderClient, endpoints: &[Endpoint], checked: bool) -> Vec<bool> {
        let looks = endpoints.iter().map(|endpoint| async move {
            let key = ConnectionKey::of(endpoint, 0)?;
            let entry = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()?;
            let session = self.usable(client, &entry).await?;
            if checked {
                session.check(LONGEST_SILENCE.min(endpoint.connect_timeout)).await;
            }
            (!session.is_dead()).then_some(())
        });
        futures_util::future::join_all(looks).await.into_iter().map(|kept| kept.is_some()).collect()
    }

    /// Has the sweep look for connections that are not used any longer.
    pub(crate) fn look_again(&self) {
        self.look.notify_one();
    }

    /// Ends when a connection was removed.
    pub(crate) async fn changed(&self) {
        self.removed.notified().await;
    }

    /// Whether nothing is kept, or is being made.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Closes connections when their time is over.
    pub(crate) async fn sweep_forever(&self) {
        loop {
            let due = self.sweep();
            let waiting = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.look.notified() => {}
                () = waiting => {}
            }
        }
    }

    /// Removes expired connections. Returns when to look again.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let retired = self.is_retired.load(Ordering::Relaxed);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut due: Option<Instant> = None;
            let before = entries.len();
            entries.retain(|_, entry| {
                // Somebody waits for it, or makes it.
                if Arc::strong_count(entry) > 1 && entry.turn.try_lock().is_err() {
                    return true;
                }
                let ends = entry.ends(now, retired);
                due = [due, ends.flatten()].into_iter().flatten().min();
                ends.is_some()
            });
            // A bastion may be idle only now that the nodes behind it are gone.
            if entries.len() == before {
                return due;
            }
            self.removed.notify_one();
        }
    }

    /// The connections that live.
    pub(crate) fn list(&self) -> Vec<KeptConnection> {
        let now = Instant::now();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed: Vec<KeptConnection> = entries.values().filter_map(|entry| entry.listed(now)).collect();
        drop(entries);
        listed.sort_by(|one, other| (&one.node, &one.host, one.port).cmp(&(&other.node, &other.host, other.port)));
        listed
    }

    /// Closes the connections of these nodes, else all; those in use once they are not used any longer.
    pub(crate) fn close(&self, nodes: Option<&[String]>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| {
            let state = entry.state.lock().unwrap_or_else(PoisonError::into_inner);
            let node = state.facts.as_ref().and_then(|facts| facts.node.as_ref());
            let is_meant = nodes.is_none_or(|nodes| node.is_some_and(|node| nodes.contains(node)));
            // The connection ends with the last that uses it.
            !is_meant
        });
        drop(entries);
        self.removed.notify_one();
        self.look_again();
    }

    /// Keeps nothing any longer.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
        self.look_again();
    }
}

impl TableEntry {
    fn session(&self) -> Option<Arc<SshSession>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).session.clone()
    }

    fn note_use(&self, client: &Arc<HolderClient>, endpoint: &Endpoint, lookup: SessionLookup, is_new: bool) {
        let node = match (&endpoint.keep, lookup) {
            (Some(KeepSettings { name, .. }), SessionLookup::Node) => Some(name.clone()),
            _ => None,
        };
        let keep = endpoint.keep.as_ref().map_or_else(|| client.keep(Duration::ZERO), |own| own.idle);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let made = state.facts.as_ref().filter(|_| !is_new).map_or_else(Instant::now, |facts| facts.made);
        let (host, port, user) = (endpoint.host.clone(), endpoint.port, endpoint.login.user.clone());
        state.facts = Some(EntryFacts { node, host, port, user, made, keep });
        state.idle_since = None;
        state.clients.retain(|client| client.strong_count() > 0);
        state.clients.push(Arc::downgrade(client));
    }

    /// A command that uses it and is there.
    fn client(&self) -> Option<Arc<HolderClient>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clients.iter().find_map(Weak::upgrade)
    }

    /// None: it is over. Otherwise when it will be, if that is known.
    fn ends(&self, now: Instant, retired: bool) -> Option<Option<Instant>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let session = state.session.as_ref().filter(|session| !session.is_closed())?;
        // This table is not the only one that has it: a command, or a connection through it.
        if Arc::strong_count(session) > 1 {
            state.idle_since = None;
            return Some(None);
        }
        let since = *state.idle_since.get_or_insert(now);
        let keep = state.facts.as_ref().map_or(Duration::ZERO, |facts| facts.keep);
        let end = since + keep;
        (!retired && end > now).then_some(Some(end))
    }

    fn listed(&self, now: Instant) -> Option<KeptConnection> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = state.session.as_ref().is_some_and(|session| !session.is_closed());
        let EntryFacts { node, host, port, user, made, keep } = state.facts.as_ref().filter(|_| is_open)?;
        Some(KeptConnection {
            node: node.clone(),
            host: host.clone(),
            port: *port,
            user: user.clone(),
            age: now.saturating_duration_since(*made),
            idle: state.idle_since.map(|since| now.saturating_duration_since(since)),
            keep: *keep,
            channels: self.channels.load(Ordering::Relaxed),
        })
    }
}

/// The function that makes a further connection to the same node, with the secrets of a command that uses it.
fn further_connection(table: &Arc<ConnectionTable>, entry: &Arc<TableEntry>, endpoint: &Endpoint) -> ConnectFurther {
    let (table, entry, endpoint) = (Arc::downgrade(table), Arc::downgrade(entry), Arc::new(held(endpoint)));
    Box::new(move || {
        let (client, table, endpoint) = (entry.upgrade()?.client()?, table.clone(), Arc::clone(&endpoint));
        let connecting = async move {
            let bastions =
                || -> Arc<dyn BastionSource> { Arc::new(KeptBastions { table, client: Arc::downgrade(&client) }) };
            client.transport(bastions).await?.connect(&endpoint).await
        };
        Some(connecting.boxed())
    })
}

/// The bastions of a command's connections are kept as those are.
struct KeptBastions {
    table: Weak<ConnectionTable>,
    client: Weak<HolderClient>,
}

impl BastionSource for KeptBastions {
    fn connect(
        &self,
        bastion: &Arc<Endpoint>,
        number: usize,
    ) -> BoxFuture<'static, Result<Arc<SshSession>, TransportError>> {
        let (table, client, bastion) = (self.table.upgrade(), self.client.upgrade(), Arc::clone(bastion));
        async move {
            let (Some(table), Some(client)) = (table, client) else {
                let reason = "the command that wanted the connection has ended".to_owned();
                return Err(TransportError::Lost { reason });
            };
            let kept = table.obtain(&client, &bastion, SessionLookup::Bastion(number)).await?;
            debug!(host = bastion.host, is_reused = kept.is_reused, "a connection to a bastion");
            Ok(kept.session)
        }
        .boxed()
    }
}
