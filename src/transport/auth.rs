//! Logging in: which keys are offered, in which order.
//!
//! Key files named by the operator come first, then the agent's keys, then the default files; each failed key
//! counts against sshd's MaxAuthTries, so the likely ones go first. Files are read once a run. What always
//! holds: no secret is printed; what was tried is told when all fails.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_public_key, load_secret_key};
use secrecy::SecretString;
use tracing::debug;

use super::{Endpoint, TransportError};

/// What the operator can log in with: key files read so far, and the password.
#[derive(Default)]
pub(super) struct KeyRing {
    files: Mutex<HashMap<PathBuf, KeyFile>>,
    #[expect(dead_code, reason = "not sent yet")]
    password: Option<SecretString>,
}

#[derive(Clone)]
enum KeyFile {
    Usable(Arc<PrivateKey>),
    /// With the public half beside it, by which the agent's copy is known.
    Encrypted(Option<PublicKey>),
    Missing,
    Broken(String),
}

impl KeyRing {
    pub(super) fn new(password: Option<SecretString>) -> Self {
        Self { files: Mutex::default(), password }
    }

    fn file(&self, path: &Path) -> KeyFile {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(path.to_owned()).or_insert_with(|| read_key(path)).clone()
    }
}

fn read_key(path: &Path) -> KeyFile {
    match load_secret_key(path, None) {
        Ok(key) => KeyFile::Usable(Arc::new(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let mut public = path.as_os_str().to_owned();
            public.push(".pub");
            KeyFile::Encrypted(load_public_key(PathBuf::from(public)).ok())
        }
        Err(russh::keys::Error::IO(error)) if error.kind() == std::io::ErrorKind::NotFound => KeyFile::Missing,
        Err(error) => KeyFile::Broken(error.to_string()),
    }
}

/// What was tried so far, for the error.
#[derive(Default)]
struct Attempts {
    tried: Vec<String>,
    files: Vec<String>,
    agent: Option<String>,
    methods: String,
}

/// Logs in with the first key that the node takes.
pub(super) async fn authenticate<H: Handler>(
    handle: &mut Handle<H>,
    endpoint: &Endpoint,
    keys: &KeyRing,
    lost: &Mutex<Option<String>>,
) -> Result<(), TransportError> {
    let mut attempts = Attempts::default();
    let files = files_to_offer(endpoint, keys, &mut attempts);
    let order: [Source; 2] =
        if endpoint.login.identities_named { [Source::Files, Source::Agent] } else { [Source::Agent, Source::Files] };
    for source in order {
        let accepted = match source {
            Source::Files => offer_files(handle, endpoint, &files, &mut attempts).await,
            Source::Agent => offer_agent(handle, endpoint, &files, &mut attempts).await,
        };
        if accepted {
            return Ok(());
        }
        if handle.is_closed() {
            break;
        }
    }
    Err(refusal(endpoint, attempts, lost.lock().unwrap_or_else(PoisonError::into_inner).clone()))
}

#[derive(Clone, Copy)]
enum Source {
    Files,
    Agent,
}

fn files_to_offer(endpoint: &Endpoint, keys: &KeyRing, attempts: &mut Attempts) -> Vec<(PathBuf, KeyFile)> {
    let mut files = Vec::new();
    for path in &endpoint.login.identities {
        let file = keys.file(path);
        let problem = match &file {
            KeyFile::Usable(_) => None,
            KeyFile::Encrypted(_) => Some("is encrypted".to_owned()),
            KeyFile::Missing => endpoint.login.identities_named.then(|| "does not exist".to_owned()),
            KeyFile::Broken(reason) => Some(format!("cannot be read: {reason}")),
        };
        attempts.files.extend(problem.map(|problem| format!("{} {problem}", path.display())));
        files.push((path.clone(), file));
    }
    files
}

async fn offer_files<H: Handler>(
    handle: &mut Handle<H>,
    endpoint: &Endpoint,
    files: &[(PathBuf, KeyFile)],
    attempts: &mut Attempts,
) -> bool {
    for (path, file) in files {
        let KeyFile::Usable(key) = file else { continue };
        let hash = rsa_hash(handle, &key.algorithm()).await;
        attempts.tried.push(format!("{} ({})", path.display(), key.algorithm()));
        debug!(host = endpoint.host, user = endpoint.login.user, file = %path.display(), "offering a key file");
        let offered = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        match handle.authenticate_publickey(endpoint.login.user.clone(), offered).await {
            Ok(AuthResult::Success) => return true,
            Ok(AuthResult::Failure { remaining_methods, .. }) => attempts.methods = methods(&remaining_methods),
            Err(error) => {
                debug!(%error, "the offer failed");
                return false;
            }
        }
        if handle.is_closed() {
            return false;
        }
    }
    false
}

async fn offer_agent<H: Handler>(
    handle: &mut Handle<H>,
    endpoint: &Endpoint,
    files: &[(PathBuf, KeyFile)],
    attempts: &mut Attempts,
) -> bool {
    let Some(path) = &endpoint.login.agent else { return false };
    let mut agent = match AgentClient::connect_uds(path).await {
        Ok(agent) => agent,
        Err(error) => {
            attempts.agent = Some(format!("{}: {error}", path.display()));
            return false;
        }
    };
    let identities = match agent.request_identities().await {
        Ok(identities) => identities,
        Err(error) => {
            attempts.agent = Some(error.to_string());
            return false;
        }
    };
    let mut identities: Vec<_> = identities.into_iter().filter(|identity| !already_offered(identity, files)).collect();
    // The agent's copy of an encrypted file that the operator named is the likeliest.
    identities.sort_by_key(|identity| !is_encrypted_file(identity, files));
    for identity in identities {
        if offer_identity(handle, endpoint, &mut agent, &identity, attempts).await {
            return true;
        }
        if handle.is_closed() {
            return false;
        }
    }
    false
}

async fn offer_identity<H: Handler, S: AgentStream + Unpin + Send + 'static>(
    handle: &mut Handle<H>,
    endpoint: &Endpoint,
    agent: &mut AgentClient<S>,
    identity: &AgentIdentity,
    attempts: &mut Attempts,
) -> bool {
    let key = identity.public_key().into_owned();
    let hash = rsa_hash(handle, &key.algorithm()).await;
    attempts.tried.push(format!("agent key {} ({})", key.fingerprint(HashAlg::Sha256), key.algorithm()));
    debug!(
        host = endpoint.host,
        user = endpoint.login.user,
        comment = identity.comment(),
        "offering a key of the agent"
    );
    let user = endpoint.login.user.clone();
    let offered = match identity {
        AgentIdentity::PublicKey { .. } => handle.authenticate_publickey_with(user, key, hash, agent).await,
        AgentIdentity::Certificate { certificate, .. } => {
            handle.authenticate_certificate_with(user, certificate.clone(), hash, agent).await
        }
    };
    match offered {
        Ok(AuthResult::Success) => true,
        Ok(AuthResult::Failure { remaining_methods, .. }) => {
            attempts.methods = methods(&remaining_methods);
            false
        }
        Err(error) => {
            attempts.agent = Some(error.to_string());
            false
        }
    }
}

fn already_offered(identity: &AgentIdentity, files: &[(PathBuf, KeyFile)]) -> bool {
    let key = identity.public_key();
    matches!(identity, AgentIdentity::PublicKey { .. })
        && files
            .iter()
            .any(|(_, file)| matches!(file, KeyFile::Usable(own) if own.public_key().key_data() == key.key_data()))
}

fn is_encrypted_file(identity: &AgentIdentity, files: &[(PathBuf, KeyFile)]) -> bool {
    let key = identity.public_key();
    files
        .iter()
        .any(|(_, file)| matches!(file, KeyFile::Encrypted(Some(public)) if public.key_data() == key.key_data()))
}

/// The hash for an RSA signature: SHA-1, the library's default, is refused by every sshd since 8.8.
async fn rsa_hash<H: Handler>(handle: &Handle<H>, algorithm: &Algorithm) -> Option<HashAlg> {
    if !matches!(algorithm, Algorithm::Rsa { .. }) {
        return None;
    }
    match handle.best_supported_rsa_hash().await {
        Ok(Some(hash)) => hash,
        Ok(None) | Err(_) => Some(HashAlg::Sha512),
    }
}

fn methods(remaining: &russh::MethodSet) -> String {
    remaining.iter().map(<&'static str>::from).collect::<Vec<_>>().join(", ")
}

fn refusal(endpoint: &Endpoint, attempts: Attempts, lost: Option<String>) -> TransportError {
    let (user, host) = (endpoint.login.user.clone(), endpoint.host.clone());
    if attempts.tried.is_empty() {
        if let Some(reason) = attempts.agent {
            return TransportError::Agent { user, host, reason };
        }
        if !attempts.files.is_empty() {
            return TransportError::KeyFile { user, host, reason: attempts.files.join("; ") };
        }
        if let Some(reason) = lost {
            return TransportError::Lost { reason };
        }
        return TransportError::KeyFile {
            user,
            host,
            reason: "no key file is there and no agent is running".to_owned(),
        };
    }
    let mut tried = attempts.tried.join(", ");
    if !attempts.methods.is_empty() {
        tried = format!("{tried}; the node takes {}", attempts.methods);
    }
    if !attempts.files.is_empty() {
        tried = format!("{tried}; not usable: {}", attempts.files.join("; "));
    }
    if let Some(reason) = lost {
        tried = format!("{tried}; then the connection ended: {reason}");
    }
    TransportError::Auth { user, host, tried }
}
