//! A command as the holder sees it: what it knows, and its secrets while they are needed.
//!
//! Here lives [`HolderClient`]. Invariants: secrets are asked for when a login begins, are shared by the logins
//! of the command that run at the same time, and are dropped with the last of these.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, Weak};

use ctl_transport::{BastionSource, LoginSecrets, SharedLogins, SshSession, SshTransport, TransportError};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};
use tracing::debug;

use crate::frames::{receive, send};
use crate::protocol::{ClientNotice, HolderReply, ReceivedLogin, SecretText};

/// Notices that wait to be sent.
const NOTICES: usize = 64;

/// A command that is connected.
pub(crate) struct HolderClient {
    shared: SharedLogins,
    /// The connections whose host keys were accepted for this command.
    trusted: std::sync::Mutex<HashMap<usize, Weak<SshSession>>>,
    write: Mutex<OwnedWriteHalf>,
    answers: Mutex<mpsc::Receiver<ReceivedLogin>>,
    login: Mutex<Weak<SshTransport>>,
    notices: mpsc::Sender<String>,
    /// The longest time that one of its connections is kept, for the bastions on the way.
    longest: std::sync::Mutex<std::time::Duration>,
}

/// The other half: what the command sends.
pub(crate) struct ClientStream {
    read: OwnedReadHalf,
    answers: mpsc::Sender<ReceivedLogin>,
    notices: mpsc::Receiver<String>,
}

impl HolderClient {
    pub(crate) fn new(stream: UnixStream) -> (Arc<Self>, ClientStream) {
        let (read, write) = stream.into_split();
        // One answer at a time: `login` is held while it is waited for.
        let (answered, answers) = mpsc::channel(1);
        let (notices, noticed) = mpsc::channel(NOTICES);
        let client = Self {
            shared: SharedLogins::default(),
            trusted: std::sync::Mutex::default(),
            write: Mutex::new(write),
            answers: Mutex::new(answers),
            login: Mutex::default(),
            notices,
            longest: std::sync::Mutex::default(),
        };
        (Arc::new(client), ClientStream { read, answers: answered, notices: noticed })
    }

    pub(crate) async fn send(&self, reply: &HolderReply) -> io::Result<()> {
        send(&mut *self.write.lock().await, reply).await
    }

    /// Whether the keys that a host and the bastions on the way have shown are accepted by the files that this command
    /// uses; judged once, as for a connection of its own.
    pub(crate) async fn trusts(&self, session: &Arc<SshSession>) -> bool {
        let place = Arc::as_ptr(session).addr();
        let is_known = |trusted: &HashMap<usize, Weak<SshSession>>| {
            // A session at the place of one that is gone cannot be taken for it: the `Weak` keeps the place.
            trusted.get(&place).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(session)))
        };
        if is_known(&self.trusted.lock().unwrap_or_else(PoisonError::into_inner)) {
            return true;
        }
        let is_trusted = self.shared.trust(session).await;
        if is_trusted {
            let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
            trusted.insert(place, Arc::downgrade(session));
        }
        is_trusted
    }

    /// Notes that a connection is to be kept so long; the longest time so far.
    pub(crate) fn keep(&self, time: std::time::Duration) -> std::time::Duration {
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = time.max(*longest);
        *longest
    }

    /// The transport with the command's secrets, for one login.
    ///
    /// # Errors
    /// [`TransportError::Lost`] if the command is gone.
    pub(crate) async fn transport(
        &self,
        bastions: impl FnOnce() -> Arc<dyn BastionSource>,
    ) -> Result<Arc<SshTransport>, TransportError> {
        let mut login = self.login.lock().await;
        // Logins at the same time share the keys and answers.
        if let Some(transport) = login.upgrade() {
            return Ok(transport);
        }
        let gone = || TransportError::Lost { reason: "the command that wanted the connection has ended".to_owned() };
        send(&mut *self.write.lock().await, &ClientNotice::Login).await.map_err(|_| gone())?;
        let ReceivedLogin { password, keys, environment } = self.answers.lock().await.recv().await.ok_or_else(gone)?;
        let keys = keys.into_iter().map(|(path, SecretText(key))| (path, key)).collect();
        let secrets = LoginSecrets { password: password.map(|SecretText(password)| password), keys };
        let notices = self.notices.clone();
        let transport = SshTransport::delegated(secrets, &self.shared, notices, bastions(), environment);
        let transport = Arc::new(transport);
        *login = Arc::downgrade(&transport);
        Ok(transport)
    }
}

impl ClientStream {
    /// Passes on what the command sends until it ends.
    pub(crate) async fn run(mut self, client: &Arc<HolderClient>) -> io::Result<()> {
        let noticing = tokio::spawn({
            let client = Arc::downgrade(client);
            async move {
                while let Some(notice) = self.notices.recv().await {
                    let Some(client) = client.upgrade() else { return };
                    if let Err(error) = send(&mut *client.write.lock().await, &ClientNotice::Text(notice)).await {
                        debug!(%error, "a notice is dropped");
                    }
                }
            }
        });
        let ended = loop {
            match receive::<ReceivedLogin>(&mut self.read).await {
                // An answer that was not asked for is dropped.
                Ok(Some(answer)) => drop(self.answers.try_send(answer)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        noticing.abort();
        ended
    }
}
