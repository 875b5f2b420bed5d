//! Bastions: one connection to each, shared by all hosts behind it.
//!
//! Here live [`BastionPool`] and a [`BastionChannel`] of one of its connections. It is handed the function that
//! connects, since a bastion is connected to as any host is. Invariants: a connection has at most [`STREAMS`]
//! streams, and a second one is made only for more; while one is being made, everything that needs it waits for that
//! one and shares its failure; a connection that was lost is made again for the next host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use russh::ChannelStream;
use russh::client::Msg;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::session::SshSession;
use crate::endpoint::Endpoint;
use crate::error::{NO_ROOM, TransportError};
use crate::session::Session;

/// Streams over one connection to a bastion. The bound of sshd is far higher (`CHANNELS_MAX_CHANNELS` in channels.h),
/// but all of them share one cipher and one window of TCP.
const STREAMS: usize = 256;

/// How long a failure holds for the next hosts: nodes that start one after the other need not each find out by
/// themselves.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// The bastions of a run.
#[derive(Default)]
pub(super) struct BastionPool {
    by_endpoint: Mutex<HashMap<Arc<Endpoint>, Arc<BastionEntry>>>,
}

#[derive(Default)]
struct BastionEntry {
    state: Mutex<BastionState>,
}

#[derive(Default)]
struct BastionState {
    connections: Vec<BastionConnection>,
    pending: Option<PendingConnection>,
    failed: Option<(Instant, TransportError)>,
}

/// A connection to a bastion.
#[derive(Clone)]
struct BastionConnection {
    session: Arc<SshSession>,
    room: Arc<Semaphore>,
}

/// A connect to a bastion, made by the function that the pool is handed.
pub(super) type ConnectFuture = BoxFuture<'static, Result<Arc<SshSession>, TransportError>>;

type PendingConnection = SharedFuture<BoxFuture<'static, Result<BastionConnection, TransportError>>>;

impl BastionPool {
    /// Reserves room for one stream through a bastion, to which `connect` makes a connection if there is none with
    /// room. It is handed the number of connections that there are already.
    ///
    /// # Errors
    /// [`TransportError::Bastion`] with the reason why no connection could be made.
    pub(super) async fn reserve(
        &self,
        endpoint: &Arc<Endpoint>,
        connect: impl Fn(&Arc<Endpoint>, usize) -> ConnectFuture,
    ) -> Result<BastionChannel, TransportError> {
        // The map is unlocked before any wait, so that one slow bastion does not hold up the others.
        let bastion = {
            let mut all = self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(Arc::clone(endpoint)).or_default())
        };
        // After a wait the room may already be gone to other hosts, so the look-up is repeated.
        loop {
            let connecting = match bastion.look_up(endpoint, &connect) {
                BastionLookup::Channel(channel) => return Ok(channel),
                BastionLookup::Failed(error) => return Err(bastion_error(endpoint, error)),
                BastionLookup::Connecting(connecting) => connecting,
            };
            connecting.await.map_err(|error| bastion_error(endpoint, error))?;
        }
    }
}

enum BastionLookup {
    Channel(BastionChannel),
    Failed(TransportError),
    Connecting(PendingConnection),
}

impl BastionEntry {
    fn look_up(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        connect: impl Fn(&Arc<Endpoint>, usize) -> ConnectFuture,
    ) -> BastionLookup {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A lost connection makes room for a new one; its streams hold it on their own until they end.
        state.connections.retain(|connection| !connection.session.is_closed());
        for connection in &state.connections {
            if let Ok(permit) = Arc::clone(&connection.room).try_acquire_owned() {
                return BastionLookup::Channel(BastionChannel {
                    connection: connection.clone(),
                    host: endpoint.host.clone(),
                    _permit: permit,
                });
            }
        }
        // Hosts that come while a connection is being made share it, and its failure.
        if let Some(connecting) = &state.pending {
            return BastionLookup::Connecting(connecting.clone());
        }
        // Checked after `pending`: a new attempt is worth more than an old failure.
        if let Some((at, error)) = &state.failed
            && at.elapsed() < FAILED_FOR
        {
            return BastionLookup::Failed(error.clone());
        }
        // Weak, so that the task does not keep the pool of a run that has ended.
        let (connecting, this) = (connect(endpoint, state.connections.len()), Arc::downgrade(self));
        // A task of its own: it continues even if every host that waits for it is given up.
        let work = tokio::spawn(async move {
            let ended =
                connecting.await.map(|session| BastionConnection { session, room: Arc::new(Semaphore::new(STREAMS)) });
            note(&this, &ended);
            ended
        });
        let connecting: PendingConnection =
            // The task fails only by a panic or with the runtime; the hosts must not wait for ever then.
            async move { work.await.unwrap_or_else(|error| Err(TransportError::Lost { reason: error.to_string() })) }
                .boxed()
                .shared();
        state.pending = Some(connecting.clone());
        BastionLookup::Connecting(connecting)
    }
}

fn note(bastion: &Weak<BastionEntry>, ended: &Result<BastionConnection, TransportError>) {
    let Some(bastion) = bastion.upgrade() else { return };
    let mut state = bastion.state.lock().unwrap_or_else(PoisonError::into_inner);
    // In the same lock as the result: no host may see neither a pending nor a finished connection.
    state.pending = None;
    match ended {
        Ok(connection) => {
            state.connections.push(connection.clone());
            state.failed = None;
        }
        Err(error) => state.failed = Some((Instant::now(), error.clone())),
    }
}

fn bastion_error(endpoint: &Endpoint, error: TransportError) -> TransportError {
    // Of several on the way, the one that failed is named alone.
    // With a chain of bastions the inner error has the name already.
    if let TransportError::Bastion { .. } = error {
        return error;
    }
    TransportError::Bastion { bastion: endpoint.host.clone(), source: Box::new(error) }
}

/// Room for one stream through a bastion. Dropping it gives the room back.
pub(super) struct BastionChannel {
    connection: BastionConnection,
    host: String,
    _permit: OwnedSemaphorePermit,
}

impl BastionChannel {
    /// The connection to the bastion.
    pub(super) fn bastion(&self) -> Arc<SshSession> {
        Arc::clone(&self.connection.session)
    }

    /// Has the bastion connect to a host, which it looks up itself.
    ///
    /// # Errors
    /// [`TransportError::Behind`] if it cannot or will not, [`TransportError::Bastion`] if it is lost.
    pub(super) async fn open(&self, host: &str, port: u16) -> Result<ChannelStream<Msg>, TransportError> {
        match self.connection.session.forward(host, port).await {
            Err(TransportError::ChannelRefused { reason, .. }) => {
                // It takes no more over this connection: the next host gets another one.
                if reason == NO_ROOM {
                    self.connection.room.close();
                }
                Err(TransportError::Behind { bastion: self.host.clone(), host: host.to_owned(), port, reason })
            }
            Err(error) => Err(TransportError::Bastion { bastion: self.host.clone(), source: Box::new(error) }),
            Ok(stream) => Ok(stream),
        }
    }
}
