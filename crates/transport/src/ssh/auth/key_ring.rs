//! Everything to log in with, for all connections of a run.
//!
//! Here lives [`KeyRing`]. Invariants: a file is read once, away from the runtime, and a key is decrypted once.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use secrecy::SecretString;

use super::agent::AgentPool;
use super::certificate::CertificateFile;
use super::key_file::{KeyFile, KeyFileProblem, UnlockError, with_suffix};
use super::order::{Credentials, IdentityKey};
use super::password::TriedPasswords;
use super::signature::{NodeRsa, choose};
use crate::endpoint::{AuthMethod, Endpoint, ProxyRoute};

/// Longest time that an agent may take to list its keys; one that hangs must leave time for the keys of files.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

/// Key files that are read at once.
const FILES_AT_ONCE: usize = 32;

/// The secrets that a user has given for the logins of a run.
#[derive(Debug, Default)]
pub struct LoginSecrets {
    /// The password on the nodes.
    pub password: Option<SecretString>,
    /// Key files that were encrypted, each with its key in clear, as [`SshTransport::delegated`](crate::SshTransport::delegated)
    /// takes it.
    pub keys: Vec<(PathBuf, SecretString)>,
}

/// The operator's keys, certificates, agents and password.
#[derive(Default)]
pub(in crate::ssh) struct KeyRing {
    files: Mutex<HashMap<PathBuf, KeyFile>>,
    certificates: Mutex<HashMap<PathBuf, CertificateFile>>,
    agents: AgentPool,
    /// The files whose keys were decrypted with a passphrase.
    unlocked: Mutex<HashSet<PathBuf>>,
    password: OnceLock<SecretString>,
    pub(super) tried_passwords: TriedPasswords,
}

impl KeyRing {
    pub(in crate::ssh) fn new(password: Option<SecretString>) -> Self {
        Self { password: password.map(OnceLock::from).unwrap_or_default(), ..Self::default() }
    }

    /// The password, if there is one.
    pub(super) fn password(&self) -> Option<&SecretString> {
        self.password.get()
    }

    /// Sets the password, unless there is one.
    pub(in crate::ssh) fn set_password(&self, password: SecretString) {
        // The first one was asked for; there is never a second.
        self.password.get_or_init(|| password);
    }

    /// With the secrets of another ring.
    pub(in crate::ssh) fn with_secrets(secrets: LoginSecrets) -> Self {
        let files = secrets.keys.into_iter().map(|(path, key)| (path.clone(), KeyFile::of_decrypted(path, &key)));
        Self { files: Mutex::new(files.collect()), ..Self::new(secrets.password) }
    }

    /// The password, and the keys that a passphrase was given for.
    pub(in crate::ssh) fn secrets(&self) -> LoginSecrets {
        let unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = unlocked.iter().filter_map(|path| Some((path.clone(), files.get(path)?.decrypted()?)));
        LoginSecrets { password: self.password().cloned(), keys: keys.collect() }
    }

    async fn file(&self, path: &Path) -> KeyFile {
        let unreadable =
            |error| KeyFile { path: path.to_owned(), public: None, private: Err(KeyFileProblem::Unreadable(error)) };
        once_read(&self.files, path, KeyFile::read, unreadable).await
    }

    async fn certificate(&self, path: &Path) -> CertificateFile {
        let unreadable =
            |error| CertificateFile { path: path.to_owned(), certificate: Err(KeyFileProblem::Unreadable(error)) };
        once_read(&self.certificates, path, CertificateFile::read, unreadable).await
    }

    /// Reads all key files and certificates that may be offered to these hosts and to the bastions on the route.
    pub(in crate::ssh) async fn read_files(&self, endpoints: &[&Endpoint]) {
        let mut reading = HashSet::new();
        for endpoint in endpoints {
            let mut next = *endpoint;
            loop {
                // A path may be both, so the kind is part of the entry.
                reading.extend(next.login.identities.iter().map(|path| (path, true)));
                reading.extend(next.login.certificates.iter().map(|path| (path, false)));
                // Bastions on the way log in with the same ring.
                let ProxyRoute::Jump(bastion) = &next.proxy else { break };
                next = bastion;
            }
        }
        // At once: the files of one dead mount are waited for once.
        let read = reading.into_iter().map(|(path, is_key)| async move {
            if is_key {
                self.public_certificate(path).await;
                // `Missing` is kept as well, so that no login looks for it again.
                self.certificate(&with_suffix(path, "-cert.pub")).await;
            } else {
                self.certificate(path).await;
            }
        });
        stream::iter(read).buffer_unordered(FILES_AT_ONCE).collect::<()>().await;
    }

    /// The certificate in the place of a public key: in the file itself, or in `.pub` beside it.
    async fn public_certificate(&self, path: &Path) -> Option<CertificateFile> {
        let itself = self.file(path).await.private.is_err_and(|problem| problem == KeyFileProblem::PublicOnly);
        let candidate = if itself { path.to_owned() } else { with_suffix(path, ".pub") };
        Some(self.certificate(&candidate).await).filter(|found| found.certificate.is_ok())
    }

    /// Everything for one endpoint, and why its agent cannot be used, if it cannot.
    pub(super) async fn credentials(&self, endpoint: &Endpoint) -> (Credentials, Option<String>) {
        let login = &endpoint.login;
        let (agent, failure) = match &login.agent {
            Some(socket) => {
                let agent = self.agents.at(socket);
                // Half of the time at most: a silent agent must leave some for keys from files.
                match agent.keys(AGENT_PATIENCE.min(endpoint.connect_timeout / 2)).await {
                    Ok(keys) => (Some((agent, keys)), None),
                    Err(error) => (None, Some(error)),
                }
            }
            None => (None, None),
        };
        // As with OpenSSH, certificates that were named leave out those that lie beside keys.
        let beside = login.certificates.is_empty();
        let mut certificates = Vec::new();
        for path in &login.certificates {
            certificates.push(self.certificate(path).await);
        }
        let mut identities = Vec::new();
        for path in &login.identities {
            let file = self.file(path).await;
            let public = self.public_certificate(path).await;
            let beside = if beside { Some(self.certificate(&with_suffix(path, "-cert.pub")).await) } else { None };
            identities.push(IdentityKey { file, public, beside });
        }
        let credentials = Credentials {
            certificates,
            identities,
            identities_named: login.identities_named,
            identities_only: login.identities_only,
            agent,
        };
        (credentials, failure)
    }

    /// As [`SshTransport::locked_identities`](crate::SshTransport::locked_identities).
    pub(in crate::ssh) async fn locked(&self, endpoints: Vec<&Endpoint>) -> Vec<PathBuf> {
        let mut locked = Vec::new();
        for endpoint in endpoints {
            let mut route = vec![endpoint];
            while let Some(ProxyRoute::Jump(bastion)) = route.last().map(|last| &last.proxy) {
                route.push(bastion);
            }
            // Without this method no key is offered, so nobody need unlock one.
            for endpoint in route.into_iter().filter(|endpoint| endpoint.login.methods.contains(&AuthMethod::PublicKey))
            {
                let (credentials, _) = self.credentials(endpoint).await;
                let held = credentials.agent.map(|(_, keys)| keys).unwrap_or_default();
                let accepted = endpoint.algorithms.accepted.as_deref();
                for IdentityKey { file, .. } in credentials.identities {
                    // The RSA signatures that the node accepts are not known yet.
                    let offered = file.public.as_ref().is_none_or(|key| {
                        !held.iter().any(|held| held.key == *key)
                            // A key that the agent holds needs no passphrase, and one that no signature may be made
                            // with is of no use.
                            && [false, true].iter().any(|&certified| {
                                choose(&key.algorithm(), certified, accepted, NodeRsa::Silent).is_ok()
                            })
                    });
                    if file.is_locked() && offered && !locked.contains(&file.path) {
                        locked.push(file.path);
                    }
                }
            }
        }
        locked
    }

    /// As [`SshTransport::unlock`](crate::SshTransport::unlock).
    pub(in crate::ssh) async fn unlock(&self, path: &Path, passphrase: SecretString) -> Result<(), UnlockError> {
        let file = self.file(path).await;
        let known = file.clone();
        // The passphrase is stretched for a good part of a second.
        let unlocked = tokio::task::spawn_blocking(move || known.unlocked(&passphrase)).await;
        let unlocked = unlocked
            .unwrap_or_else(|error| Err(UnlockError::Unusable { file: path.to_owned(), reason: error.to_string() }));
        let (file, result) = match unlocked {
            Ok(unlocked) => (unlocked, Ok(())),
            // Noted as wrong, so that the error of a login can say so.
            Err(error @ UnlockError::WrongPassphrase { .. }) => (file.still_locked(), Err(error)),
            Err(error @ UnlockError::Unusable { .. }) => (file, Err(error)),
        };
        if result.is_ok() {
            self.unlocked.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file);
        result
    }
}

/// The value that was read from a file before, else the one that is read now, away from the runtime; `unreadable` makes
/// the value for a file that could not even be read so.
async fn once_read<T: Clone + Send + 'static>(
    files: &Mutex<HashMap<PathBuf, T>>,
    path: &Path,
    read: fn(&Path) -> T,
    unreadable: impl FnOnce(String) -> T,
) -> T {
    // Not locked while reading: one slow file must not hold up the others.
    let known = files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    if let Some(known) = known {
        return known;
    }
    let file = path.to_owned();
    let value = match tokio::task::spawn_blocking(move || read(&file)).await {
        Ok(value) => value,
        // Not kept: the read never ran to its end.
        Err(error) => return unreadable(error.to_string()),
    };
    // Of two that read it at once, the first holds: it may have been unlocked meanwhile.
    files.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_insert(value).clone()
}
