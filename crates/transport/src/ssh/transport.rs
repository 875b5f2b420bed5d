//! The transport of a run: everything that the rest of `ctl` asks of SSH.
//!
//! Here lives [`SshTransport`], a handle to the one [`Connector`] of the run. Invariants: known hosts and keys
//! are read once, and all connections share them, as they share the connections to bastions.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::PublicKey;
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::auth::{KeyRing, LoginSecrets, UnlockError};
use super::connect::{BastionSource, ConnectDelegate, Connector};
use super::login_throttle::LoginThrottle;
use super::proxy_command::ProxyEnvironment;
use super::session::SshSession;
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::host_keys::HostKeyStore;
use crate::session::Transport;

/// Settings of all connections of a run.
#[derive(Debug, Default)]
pub struct RunSshSettings {
    /// The operator's password on the nodes, where one was asked for.
    pub password: Option<SecretString>,
}

/// Opens SSH sessions. Files (known hosts, keys) are read once and shared by all of them, and so are the connections to
/// bastions.
#[derive(Clone)]
pub struct SshTransport {
    connector: Arc<Connector>,
}

/// What all logins for one run share, where another process makes them.
#[derive(Clone, Default)]
pub struct SharedLogins {
    host_keys: Arc<HostKeyStore>,
    throttle: Arc<LoginThrottle>,
}

impl std::fmt::Debug for SharedLogins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedLogins").finish_non_exhaustive()
    }
}

impl SharedLogins {
    /// Whether the keys that a host and the bastions on the way to it have shown would be accepted now.
    pub async fn trust(&self, session: &SshSession) -> bool {
        session.is_trusted(&self.host_keys).await
    }
}

impl std::fmt::Debug for SshTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshTransport").finish_non_exhaustive()
    }
}

/// Notices that wait to be received; beyond that they are dropped.
const NOTICES: usize = 64;

impl SshTransport {
    /// Reads nothing yet. The receiver gets the notices that concern more than one node, and so are in no result.
    #[must_use]
    pub fn new(settings: RunSshSettings) -> (Self, mpsc::Receiver<String>) {
        let (notices, receiver) = mpsc::channel(NOTICES);
        (Self { connector: Arc::new(Connector::new(settings.password, notices)) }, receiver)
    }

    /// For the logins of another process's run, with its secrets.
    #[must_use]
    pub fn delegated(
        secrets: LoginSecrets,
        shared: &SharedLogins,
        notices: mpsc::Sender<String>,
        bastions: Arc<dyn BastionSource>,
        proxy: ProxyEnvironment,
    ) -> Self {
        let SharedLogins { host_keys, throttle } = shared.clone();
        let (keys, delegate) = (KeyRing::with_secrets(secrets), ConnectDelegate { bastions, proxy });
        Self { connector: Arc::new(Connector::delegated(keys, (host_keys, throttle), notices, delegate)) }
    }

    /// Gives it the password on the nodes, once it was asked for.
    pub fn set_password(&self, password: SecretString) {
        self.connector.keys.set_password(password);
    }

    /// The secrets that this transport has to log in with.
    #[must_use]
    pub fn secrets(&self) -> LoginSecrets {
        self.connector.keys.secrets()
    }

    /// Sends a notice to the receiver of [`SshTransport::new`].
    pub fn notify(&self, notice: String) {
        self.connector.notify(notice);
    }

    /// Reads the known_hosts files and the revoked keys of all endpoints.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`], [`TransportError::RevokedKeys`] for the first that cannot be read.
    pub fn check_host_key_files<'e>(
        &self,
        endpoints: impl Iterator<Item = &'e Endpoint>,
    ) -> Result<(), TransportError> {
        let mut seen = HashSet::new();
        // Endpoints of one kind share their settings, so the same files are checked once.
        for endpoint in endpoints.filter(|endpoint| seen.insert(Arc::as_ptr(&endpoint.host_keys))) {
            self.connector.host_keys.check_files(&endpoint.host_keys)?;
        }
        Ok(())
    }

    /// Whether no known_hosts file names the host. Connects to nothing.
    #[must_use]
    pub fn has_no_known_key(&self, endpoint: &Endpoint) -> bool {
        let is_new = self.connector.host_keys.has_no_known_key(&endpoint.host_keys, &endpoint.host, endpoint.port);
        // A file that cannot be read is no proof that the host is new; the connect reports it.
        is_new.is_ok_and(|is_new| is_new)
    }

    /// Reads the key files and certificates of all endpoints and of the bastions on the route, so that no login waits
    /// for one. The logins that would need a file report that it cannot be read.
    pub async fn read_key_files(&self, endpoints: &[&Endpoint]) {
        self.connector.keys.read_files(endpoints).await;
    }

    /// The encrypted key files that would be offered to these hosts and to the bastions on the route, and whose keys no
    /// agent holds: each once, in the order of the endpoints. The operator can be asked for their passphrases now.
    pub async fn locked_identities(&self, endpoints: impl Iterator<Item = &Endpoint>) -> Vec<PathBuf> {
        self.connector.keys.locked(endpoints.collect()).await
    }

    /// Decrypts a key file for all connections of this transport. Where it fails the key is not used.
    ///
    /// # Errors
    /// [`UnlockError::WrongPassphrase`], after which it may be tried again; [`UnlockError::Unusable`].
    pub async fn unlock(&self, file: &Path, passphrase: SecretString) -> Result<(), UnlockError> {
        self.connector.keys.unlock(file, passphrase).await
    }

    /// The key that a host shows, unjudged; nothing is sent to the host but the key exchange. A host behind a bastion
    /// is reached through it, after a login there.
    ///
    /// # Errors
    /// As [`Transport::connect`].
    pub async fn probe_host_key(&self, endpoint: &Endpoint) -> Result<PublicKey, TransportError> {
        self.connector.probe_host_key(endpoint).await
    }

    /// Writes down a key of the host that the operator has confirmed, whatever the policy.
    ///
    /// # Errors
    /// [`TransportError::HostKeyChanged`], [`TransportError::HostKeyRevoked`], [`TransportError::HostKeyTooShort`],
    /// [`TransportError::HostKeyUnknown`] if there is no file to write to, [`TransportError::KnownHosts`],
    /// [`TransportError::RevokedKeys`].
    pub async fn trust(&self, endpoint: &Endpoint, key: &PublicKey) -> Result<(), TransportError> {
        self.connector.host_keys.accept(&endpoint.host_keys, &endpoint.host, endpoint.port, key).await
    }
}

impl Transport for SshTransport {
    type Session = SshSession;

    async fn connect(&self, endpoint: &Endpoint) -> Result<SshSession, TransportError> {
        self.connector.connect(endpoint).await
    }
}

#[cfg(test)]
mod tests;
