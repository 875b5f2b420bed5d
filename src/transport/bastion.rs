//! Bastions: one connection to each, shared by all hosts behind it.
//!
//! Here live [`BastionPool`] and a [`BastionChannel`] at one. What always holds: a connection has at most [`STREAMS`] streams, and a second
//! one is made only for more; while one is being made, all who need it wait for that one and share its failure; a
//! connection that was lost is made again for who comes next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use russh::ChannelStream;
use russh::client::Msg;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connect::SharedState;
use super::endpoint::Endpoint;
use super::session::SshSession;
use super::{Session, TransportError};

/// Streams over one connection to a bastion. sshd sets no bound of its own; all of them share one cipher and one window of TCP.
const STREAMS: usize = 256;

/// What a bastion says that has no room for another stream (RFC 4254, section 5.1: `SSH_OPEN_RESOURCE_SHORTAGE`).
pub(super) const NO_ROOM: &str = "ResourceShortage";

/// For so long a failure holds for others who come: nodes that are begun one after the other need not find out each by itself.
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
    lines: Vec<BastionConnection>,
    under_way: Option<PendingConnection>,
    failed: Option<(Instant, TransportError)>,
}

/// A connection to a bastion.
#[derive(Clone)]
struct BastionConnection {
    session: Arc<SshSession>,
    room: Arc<Semaphore>,
}

type PendingConnection = SharedFuture<BoxFuture<'static, Result<BastionConnection, TransportError>>>;

impl BastionPool {
    /// Room for one stream through a bastion, which is connected to if need be.
    ///
    /// # Errors
    /// [`TransportError::Bastion`] with what kept the connection from being made.
    pub(super) async fn berth(
        &self,
        shared: &Arc<SharedState>,
        endpoint: &Arc<Endpoint>,
    ) -> Result<BastionChannel, TransportError> {
        let bastion = {
            let mut all = self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(Arc::clone(endpoint)).or_default())
        };
        loop {
            let connecting = match bastion.look(shared, endpoint) {
                BastionLookup::Berth(berth) => return Ok(berth),
                BastionLookup::Failed(error) => return Err(of_bastion(endpoint, error)),
                BastionLookup::Connecting(connecting) => connecting,
            };
            connecting.await.map_err(|error| of_bastion(endpoint, error))?;
        }
    }
}

enum BastionLookup {
    Berth(BastionChannel),
    Failed(TransportError),
    Connecting(PendingConnection),
}

impl BastionEntry {
    fn look(self: &Arc<Self>, shared: &Arc<SharedState>, endpoint: &Arc<Endpoint>) -> BastionLookup {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines.retain(|line| !line.session.is_closed());
        for line in &state.lines {
            if let Ok(permit) = Arc::clone(&line.room).try_acquire_owned() {
                return BastionLookup::Berth(BastionChannel {
                    line: line.clone(),
                    host: endpoint.host.clone(),
                    _permit: permit,
                });
            }
        }
        if let Some(connecting) = &state.under_way {
            return BastionLookup::Connecting(connecting.clone());
        }
        if let Some((at, error)) = &state.failed
            && at.elapsed() < FAILED_FOR
        {
            return BastionLookup::Failed(error.clone());
        }
        let (shared, endpoint, this) = (Arc::clone(shared), Arc::clone(endpoint), Arc::downgrade(self));
        // It goes on even if everybody who waits for it is given up.
        let work = tokio::spawn(async move {
            let ended = shared.connect(&endpoint).await.map(|session| BastionConnection {
                session: Arc::new(session),
                room: Arc::new(Semaphore::new(STREAMS)),
            });
            note(&this, &ended);
            ended
        });
        let connecting: PendingConnection =
            async move { work.await.unwrap_or_else(|error| Err(TransportError::Lost { reason: error.to_string() })) }
                .boxed()
                .shared();
        state.under_way = Some(connecting.clone());
        BastionLookup::Connecting(connecting)
    }
}

fn note(bastion: &Weak<BastionEntry>, ended: &Result<BastionConnection, TransportError>) {
    let Some(bastion) = bastion.upgrade() else { return };
    let mut state = bastion.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.under_way = None;
    match ended {
        Ok(line) => {
            state.lines.push(line.clone());
            state.failed = None;
        }
        Err(error) => state.failed = Some((Instant::now(), error.clone())),
    }
}

fn of_bastion(endpoint: &Endpoint, error: TransportError) -> TransportError {
    // Of several on the way, the one that failed is named alone.
    if let TransportError::Bastion { .. } = error {
        return error;
    }
    TransportError::Bastion { bastion: endpoint.host.clone(), source: Box::new(error) }
}

/// Room for one stream through a bastion. Dropping it gives the room back.
pub(super) struct BastionChannel {
    line: BastionConnection,
    host: String,
    _permit: OwnedSemaphorePermit,
}

impl BastionChannel {
    /// Has the bastion connect to a host, which it looks up itself.
    ///
    /// # Errors
    /// [`TransportError::Behind`] if it cannot or will not, [`TransportError::Bastion`] if it is lost.
    pub(super) async fn open(&self, host: &str, port: u16) -> Result<ChannelStream<Msg>, TransportError> {
        match self.line.session.forward(host, port).await {
            Err(TransportError::ChannelRefused { reason, .. }) => {
                // It takes no more over this connection: who comes next gets another.
                if reason == NO_ROOM {
                    self.line.room.close();
                }
                Err(TransportError::Behind { bastion: self.host.clone(), host: host.to_owned(), port, reason })
            }
            Err(error) => Err(TransportError::Bastion { bastion: self.host.clone(), source: Box::new(error) }),
            Ok(stream) => Ok(stream),
        }
    }
}
