//! The process that holds the connections.
//!
//! Here lives [`hold`]. It listens on the user's socket, and serves each stream in a task of its own: `login.rs` is a
//! command that is there, `table.rs` has the connections, `relay.rs` carries a channel. Invariants: only
//! processes of the same user are served; whatever a command has opened ends with the command, even if it was killed;
//! the process ends once it keeps nothing and serves nobody.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ctl_transport::{Endpoint, Session, TransportError};
use rustix::fs::Mode;
use rustix::process::{setsid, umask};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tracing::debug;

use crate::frames::{receive, send};
use crate::login::HolderClient;
use crate::place::{HolderPlace, PlaceError, check_peer};
use crate::protocol::{ChannelRequest, HolderReply, HolderRequest};
use crate::relay;
use crate::table::{ConnectionTable, KeptSession, SessionLookup};

/// How long the end of a channel may take once its connection is not used any longer.
const LAST_WORD: std::time::Duration = std::time::Duration::from_secs(5);

/// How long the holder waits for its first command, and for the next one while it keeps nothing.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// Holds connections until none is left. `started` is called once others can connect; it is not, if another process
/// holds them already.
///
/// # Errors
/// If the socket cannot be made.
pub fn hold(started: Box<dyn FnOnce()>) -> io::Result<()> {
    // Away from the terminal and its signals. It fails only where this process leads a group, so has none to leave.
    if let Err(error) = setsid() {
        debug!(%error, "still in the session of the terminal");
    }
    // The socket, and known_hosts files that are made, are for this user alone.
    umask(Mode::RWXG | Mode::RWXO);
    ctl_local::process::protect_secrets();
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        debug!(%error, "the limit on open files stays");
    }
    // One thread is enough to relay, and keeps the memory of idle connections in one heap.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let place = HolderPlace::of_user().map_err(|error: PlaceError| io::Error::other(error.to_string()))?;
    let listener = {
        let _lock = place.lock()?;
        let path = place.socket();
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Ok(());
        }
        // The remains of a holder that was killed.
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let _runtime = runtime.enter();
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener
    };
    started();
    runtime.block_on(async {
        retire_others(&place).await;
        serve(&place, listener).await
    })
}

/// Asks the holders of other versions of this program to keep nothing any longer.
async fn retire_others(place: &HolderPlace) {
    for path in place.other_sockets() {
        let retired = async {
            let mut stream = UnixStream::connect(&path).await?;
            check_peer(&stream)?;
            send(&mut stream, &HolderRequest::Retire).await
        };
        if let Err(error) = retired.await {
            debug!(path = %path.display(), %error, "no holder there");
        }
    }
}

async fn serve(place: &HolderPlace, listener: UnixListener) -> io::Result<()> {
    let holder = Arc::new(ConnectionHolder::default());
    let sweeper = tokio::spawn({
        let table = Arc::clone(&holder.table);
        async move { table.sweep_forever().await }
    });
    let mut served = holder.served.subscribe();
    loop {
        let is_idle = holder.active.load(Ordering::Relaxed) == 0 && holder.table.is_empty();
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => tokio::spawn(Arc::clone(&holder).serve(stream)),
                Err(error) => {
                    debug!(%error, "cannot accept");
                    // Out of files, most likely: what ends makes room.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = served.changed() => continue,
            () = holder.table.changed() => continue,
            () = tokio::time::sleep(LINGER), if is_idle => {
                let socket = place.clone();
                let lock = tokio::task::spawn_blocking(move || socket.lock()).await;
                // No command starts a holder now. One that has connected meanwhile waits to be accepted.
                if let Some(Ok((stream, _))) = futures_util::FutureExt::now_or_never(listener.accept()) {
                    tokio::spawn(Arc::clone(&holder).serve(stream));
                    continue;
                }
                drop(std::fs::remove_file(place.socket()));
                drop(lock);
                sweeper.abort();
                return Ok(());
            }
        };
    }
}

/// Everything that the holder has.
pub(crate) struct ConnectionHolder {
    table: Arc<ConnectionTable>,
    clients: Mutex<HashMap<u64, Arc<HolderClient>>>,
    sessions: Mutex<HashMap<u64, Arc<AttachedSession>>>,
    /// The number of the next command or connection in use.
    next: AtomicU64,
    /// Streams that are served.
    active: AtomicUsize,
    /// A stream has ended.
    served: watch::Sender<()>,
}

impl Default for ConnectionHolder {
    fn default() -> Self {
        let (served, _) = watch::channel(());
        Self {
            table: Arc::default(),
            clients: Mutex::default(),
            sessions: Mutex::default(),
            next: AtomicU64::new(1),
            active: AtomicUsize::new(0),
            served,
        }
    }
}

/// A connection in use by a command.
struct AttachedSession {
    kept: KeptSession,
    /// The channels that the node had opened before.
    opened_before: u64,
    /// Its sender is gone once the command does not use the connection any longer.
    in_use: watch::Receiver<()>,
}

impl ConnectionHolder {
    async fn serve(self: Arc<Self>, stream: UnixStream) {
        self.active.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = check_peer(&stream) {
            debug!(%error, "refused");
        } else if let Err(error) = self.answer(stream).await {
            debug!(%error, "a stream ended");
        }
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.table.look_again();
        self.served.send_replace(());
    }

    async fn answer(self: &Arc<Self>, mut stream: UnixStream) -> io::Result<()> {
        let Some(request) = receive::<HolderRequest>(&mut stream).await? else { return Ok(()) };
        match request {
            HolderRequest::Client => self.client(stream).await,
            HolderRequest::Attach { client, endpoint } => self.attach(stream, client, &endpoint).await,
            HolderRequest::Open { session, channel } => self.open(stream, session, &channel).await,
            HolderRequest::AwaitSilence { session } => {
                let Some(session) = self.session(session) else { return Ok(()) };
                let silent = session.kept.session.falls_silent();
                tokio::select! {
                    () = silent => send(&mut stream, &HolderReply::Opened).await,
                    () = closed(&mut stream) => Ok(()),
                }
            }
            HolderRequest::Kept { client, endpoints, checked } => {
                let Some(client) = self.find_client(client) else { return Ok(()) };
                let kept = self.table.kept(&client, &endpoints, checked).await;
                send(&mut stream, &HolderReply::Kept(kept)).await
            }
            HolderRequest::List => send(&mut stream, &HolderReply::Connections(self.table.list())).await,
            HolderRequest::Close { nodes } => {
                self.table.close(nodes.as_deref());
                send(&mut stream, &HolderReply::Done).await
            }
            HolderRequest::Retire => {
                self.table.retire();
                send(&mut stream, &HolderReply::Done).await
            }
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn find_client(&self, number: u64) -> Option<Arc<HolderClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    fn session(&self, number: u64) -> Option<Arc<AttachedSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    async fn client(self: &Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let number = self.number();
        let (client, served) = HolderClient::new(stream);
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&client));
        let ended = match client.send(&HolderReply::Client(number)).await {
            Ok(()) => served.run(&client).await,
            Err(error) => Err(error),
        };
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        ended
    }

    async fn attach(self: &Arc<Self>, mut stream: UnixStream, client: u64, endpoint: &Endpoint) -> io::Result<()> {
        let Some(client) = self.find_client(client) else { return Ok(()) };
        let found = tokio::select! {
            found = self.table.obtain(&client, endpoint, SessionLookup::Node) => found,
            // A command that is gone needs no connection; one that is being made for it is given up.
            () = closed(&mut stream) => return Ok(()),
        };
        let kept = match found {
            Ok(kept) => kept,
            Err(error) => return send(&mut stream, &HolderReply::Failed(error)).await,
        };
        let (session, is_reused) = (Arc::clone(&kept.session), kept.is_reused);
        let (uses, in_use) = watch::channel(());
        let attached = Arc::new(AttachedSession { opened_before: session.channels_opened(), kept, in_use });
        let number = self.number();
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&attached));
        let ended = match send(&mut stream, &HolderReply::Attached { session: number, is_reused }).await {
            Ok(()) => {
                tokio::select! {
                    () = session.ended() => send(&mut stream, &HolderReply::Failed(session.loss())).await,
                    () = attached.kept.watch(endpoint.keepalive) => {
                        send(&mut stream, &HolderReply::Failed(session.loss())).await
                    }
                    () = closed(&mut stream) => Ok(()),
                }
            }
            Err(error) => Err(error),
        };
        drop(attached);
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        // The channels of this command over the connection end with it.
        drop(uses);
        ended
    }

    async fn open(self: &Arc<Self>, mut stream: UnixStream, number: u64, channel: &ChannelRequest) -> io::Result<()> {
        let Some(attached) = self.session(number) else {
            // It ended, and the command will learn why from the stream of the connection.
            let lost = TransportError::Lost { reason: "it was closed".to_owned() };
            return send(&mut stream, &HolderReply::Failed(lost)).await;
        };
        let mut in_use = attached.in_use.clone();
        let _counted = attached.kept.count_channel();
        let session = Arc::clone(&attached.kept.session);
        let relayed = relay::channel(&session, channel, &mut stream, || {
            attached.kept.is_reused && session.is_closed() && session.channels_opened() == attached.opened_before
        });
        // Boxed, since the buffers of a relay are large.
        let mut relayed = Box::pin(relayed);
        tokio::select! {
            relayed = &mut relayed => relayed,
            _ = in_use.changed() => {
                // The command's end of the channel is closed with the rest, or the connection has died: both end the
                // channel, in good order. It is closed after a while all the same.
                drop(tokio::time::timeout(LAST_WORD, relayed).await);
                Ok(())
            }
        }
    }
}

/// Ends once the other end has closed the stream, on which it sends nothing.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut byte = [0];
    // Whatever comes is no message that is expected here, so it ends the stream like its end does.
    drop(stream.read(&mut byte).await);
}
