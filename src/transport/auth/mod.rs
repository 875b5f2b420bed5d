//! Logging in: with keys and certificates of files and of the agent, with answers to the node's questions, with a
//! password.
//!
//! Here live [`KeyRing`], which has everything to log in with, and [`authenticate`], which tries it. `order.rs` says what is
//! offered in which order, `signature.rs` who signs and how, `verdict.rs` what is said when nobody was let in;
//! `key_file.rs`, `certificate.rs` and `agent.rs` are where keys come from, `password.rs` is for the rest.
//!
//! What always holds: files and agents are asked once a run, and a key is decrypted once; no secret is printed; a method
//! that was not allowed is not used; each attempt and its answer is logged, and all of them are told when all fail.

mod agent;
mod certificate;
mod key_file;
mod order;
mod password;
mod pem;
mod signature;
mod verdict;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use russh::client::{Handle, Handler};
use russh::keys::Algorithm;
use secrecy::SecretString;
use tracing::debug;

pub use self::key_file::UnlockError;
pub(super) use self::verdict::{NODE_ENDED, words};

use self::agent::AgentPool;
use self::certificate::CertificateFile;
use self::key_file::{KeyFile, KeyFileProblem, with_suffix};
use self::order::{Credentials, IdentityKey, KeyOffer, UnusedKey, order};
use self::password::{PasswordSender, TriedPasswords};
use self::signature::{NodeRsa, SignError, Signer, choose};
use self::verdict::{AuthAttempts, ServerMessages, name};
use super::connect::ConnectPhase;
use super::{AuthMethod, Endpoint, ProxyRoute, TransportError};

/// Longest time that an agent may take to list its keys; one that hangs must leave time for the keys of files.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

/// Key files that are read at once.
const FILES_AT_ONCE: usize = 32;

/// How long a node may take to say which signatures it takes. It says so together with the end of the key exchange, if
/// ever.
const SIGNATURES_PATIENCE: Duration = Duration::from_millis(300);

/// What the operator can log in with.
#[derive(Default)]
pub(super) struct KeyRing {
    files: Mutex<HashMap<PathBuf, KeyFile>>,
    certificates: Mutex<HashMap<PathBuf, CertificateFile>>,
    agents: AgentPool,
    password: Option<SecretString>,
    spent: TriedPasswords,
}

impl KeyRing {
    pub(super) fn new(password: Option<SecretString>) -> Self {
        Self { password, ..Self::default() }
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

    /// Reads all key files and certificates that may be offered to these hosts and to the bastions on the way.
    pub(super) async fn read_files(&self, endpoints: &[&Endpoint]) {
        let mut reading = HashSet::new();
        for endpoint in endpoints {
            let mut next = *endpoint;
            loop {
                reading.extend(next.login.identities.iter().map(|path| (path, true)));
                reading.extend(next.login.certificates.iter().map(|path| (path, false)));
                let ProxyRoute::Jump(bastion) = &next.proxy else { break };
                next = bastion;
            }
        }
        // At once: the files of one dead mount are waited for once.
        let read = reading.into_iter().map(|(path, is_key)| async move {
            if is_key {
                self.public_certificate(path).await;
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

    /// Everything for one endpoint, and why its agent is of no use.
    async fn materials(&self, endpoint: &Endpoint) -> (Credentials, Option<String>) {
        let login = &endpoint.login;
        let (agent, failure) = match &login.agent {
            Some(socket) => {
                let agent = self.agents.at(socket);
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
        let materials = Credentials {
            certificates,
            identities,
            identities_named: login.identities_named,
            identities_only: login.identities_only,
            agent,
        };
        (materials, failure)
    }

    /// As [`super::SshTransport::locked_identities`].
    pub(super) async fn locked(&self, endpoints: Vec<&Endpoint>) -> Vec<PathBuf> {
        let mut locked = Vec::new();
        for endpoint in endpoints {
            let mut way = vec![endpoint];
            while let Some(ProxyRoute::Jump(bastion)) = way.last().map(|last| &last.proxy) {
                way.push(bastion);
            }
            for endpoint in way.into_iter().filter(|endpoint| endpoint.login.methods.contains(&AuthMethod::PublicKey)) {
                let (materials, _) = self.materials(endpoint).await;
                let held = materials.agent.map(|(_, keys)| keys).unwrap_or_default();
                let accepted = endpoint.algorithms.accepted.as_deref();
                for IdentityKey { file, .. } in materials.identities {
                    // What the node says of RSA keys is not known yet.
                    let offered = file.public.as_ref().is_none_or(|key| {
                        !held.iter().any(|held| held.key == *key)
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

    /// As [`super::SshTransport::unlock`].
    pub(super) async fn unlock(&self, path: &Path, passphrase: SecretString) -> Result<(), UnlockError> {
        let file = self.file(path).await;
        let known = file.clone();
        // The passphrase is stretched for a good part of a second.
        let unlocked = tokio::task::spawn_blocking(move || known.unlocked(&passphrase)).await;
        let unlocked = unlocked
            .unwrap_or_else(|error| Err(UnlockError::Unusable { file: path.to_owned(), reason: error.to_string() }));
        let (file, result) = match unlocked {
            Ok(unlocked) => (unlocked, Ok(())),
            Err(error @ UnlockError::WrongPassphrase { .. }) => (file.still_locked(), Err(error)),
            Err(error @ UnlockError::Unusable { .. }) => (file, Err(error)),
        };
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file);
        result
    }
}

/// What was read of a file before, else what is read of it now, away from the runtime; `unreadable` is what there is
/// when not even that can be done.
async fn once_read<T: Clone + Send + 'static>(
    files: &Mutex<HashMap<PathBuf, T>>,
    path: &Path,
    read: fn(&Path) -> T,
    unreadable: impl FnOnce(String) -> T,
) -> T {
    let known = files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    if let Some(known) = known {
        return known;
    }
    let file = path.to_owned();
    let value = match tokio::task::spawn_blocking(move || read(&file)).await {
        Ok(value) => value,
        Err(error) => return unreadable(error.to_string()),
    };
    // Of two that read it at once, the first is believed: it may have been unlocked meanwhile.
    files.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_insert(value).clone()
}

/// What is known of a connection besides the answers to what it was asked.
pub(super) struct AuthProgress<'a> {
    /// What is being waited for.
    pub(super) step: &'a AtomicU8,
    /// How it ended.
    pub(super) lost: &'a Mutex<Option<String>>,
    /// What the node says to whoever logs in.
    pub(super) banner: &'a Mutex<Option<String>>,
}

/// What a node answered to an attempt; the methods are those that it takes now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AuthAnswer {
    Accepted,
    /// It was right, and not enough.
    Partial(Vec<&'static str>),
    Refused(Vec<&'static str>),
    /// The connection is of no use any more; why.
    Ended(String),
    /// Nothing was asked.
    NotTried,
}

/// Logs in with the first that the node takes.
///
/// # Errors
/// [`TransportError::Auth`], [`TransportError::KeyFile`], [`TransportError::Agent`]; [`TransportError::Lost`] if the
/// connection ended before anything was tried.
pub(super) async fn authenticate<H: Handler>(
    handle: &mut Handle<H>,
    endpoint: &Endpoint,
    keys: &KeyRing,
    heard: &AuthProgress<'_>,
) -> Result<(), TransportError> {
    let mut attempts = AuthAttempts::default();
    let mut offers = VecDeque::new();
    if endpoint.login.methods.contains(&AuthMethod::PublicKey) {
        heard.step.store(ConnectPhase::AskingAgent as u8, Ordering::Relaxed);
        let (materials, failure) = keys.materials(endpoint).await;
        heard.step.store(ConnectPhase::Authenticating as u8, Ordering::Relaxed);
        attempts.agent = failure;
        let (ordered, unused) = order(&materials);
        offers.extend(ordered);
        attempts.unused = unused;
    }
    let mut login = LoginAttempt { handle, endpoint, keys, heard, attempts, offers, node_rsa: None, asked: Vec::new() };
    if login.run().await {
        return Ok(());
    }
    let said = login.said().await;
    let has_password = keys.password.is_some();
    Err(login.attempts.verdict(endpoint, has_password, said))
}

/// The error for a login whose time ended while it waited for the agent.
pub(super) fn agent_timeout(endpoint: &Endpoint) -> TransportError {
    let socket = endpoint.login.agent.as_deref().unwrap_or(Path::new("its socket"));
    TransportError::Agent {
        user: endpoint.login.user.clone(),
        host: endpoint.host.clone(),
        reason: format!("no answer from {} before the connect timeout", socket.display()),
    }
}

/// One login.
struct LoginAttempt<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    endpoint: &'a Endpoint,
    keys: &'a KeyRing,
    heard: &'a AuthProgress<'a>,
    attempts: AuthAttempts,
    offers: VecDeque<KeyOffer>,
    node_rsa: Option<NodeRsa>,
    /// Methods that need no key and were tried.
    asked: Vec<AuthMethod>,
}

impl<H: Handler> LoginAttempt<'_, H> {
    /// Whether the node let us in.
    async fn run(&mut self) -> bool {
        if self.next_method() != Some(AuthMethod::PublicKey) {
            // Costs a round trip, and spares a node methods that it does not have: a password has few tries.
            let answer = AuthAnswer::of(self.handle.authenticate_none(self.endpoint.login.user.clone()).await);
            if answer == AuthAnswer::Accepted {
                debug!(host = self.endpoint.host, "accepted without any proof");
                return true;
            }
            if !self.listen("none", &answer) {
                return false;
            }
        }
        while let Some(method) = self.next_method() {
            let answer = match method {
                AuthMethod::PublicKey => self.offer().await,
                AuthMethod::KeyboardInteractive | AuthMethod::Password => self.send_password(method).await,
            };
            if answer == AuthAnswer::Accepted {
                debug!(host = self.endpoint.host, user = self.endpoint.login.user, "accepted");
                return true;
            }
            if !self.listen(name(method), &answer) {
                return false;
            }
        }
        false
    }

    /// The first method that is allowed, that the node takes, and for which something is left to be tried.
    fn next_method(&self) -> Option<AuthMethod> {
        let takes = |method: AuthMethod| self.attempts.takes.as_ref().is_none_or(|takes| takes.contains(&name(method)));
        let left = |method: AuthMethod| match method {
            AuthMethod::PublicKey => !self.offers.is_empty(),
            AuthMethod::KeyboardInteractive | AuthMethod::Password => {
                self.keys.password.is_some() && !self.asked.contains(&method)
            }
        };
        self.endpoint.login.methods.iter().copied().find(|&method| takes(method) && left(method))
    }

    /// Takes in an answer; whether the login goes on.
    fn listen(&mut self, method: &'static str, answer: &AuthAnswer) -> bool {
        let Endpoint { host, login, .. } = self.endpoint;
        match answer {
            AuthAnswer::Accepted | AuthAnswer::NotTried => {}
            AuthAnswer::Partial(takes) => {
                debug!(host, user = login.user, "accepted, but the node also requires {}", takes.join(","));
                self.attempts.passed.push(method);
                self.attempts.takes = Some(takes.clone());
            }
            AuthAnswer::Refused(takes) => {
                debug!(host, user = login.user, "refused; the node accepts {}", takes.join(","));
                self.attempts.takes = Some(takes.clone());
            }
            AuthAnswer::Ended(why) => {
                debug!(host, user = login.user, why, "the login ended");
                return false;
            }
        }
        !self.handle.is_closed()
    }

    async fn offer(&mut self) -> AuthAnswer {
        let Some(offer) = self.offers.pop_front() else { return AuthAnswer::NotTried };
        let Endpoint { host, login, algorithms, .. } = self.endpoint;
        let algorithm = offer.algorithm();
        let is_rsa = matches!(algorithm, Algorithm::Rsa { .. });
        let node = if is_rsa { self.node_rsa().await } else { NodeRsa::Silent };
        let hash = match choose(&algorithm, offer.certificate.is_some(), algorithms.accepted.as_deref(), node) {
            Ok(hash) => hash,
            Err(reason) => {
                debug!(host, "not offering {}: it {reason}", offer.describe());
                let hint = "see PubkeyAcceptedAlgorithms in ssh_config, or use another type of key".to_owned();
                let problem = KeyFileProblem::Unknown(reason.to_owned());
                self.attempts.unused.push(UnusedKey { name: offer.name, problem, meant: offer.named, hint });
                return AuthAnswer::NotTried;
            }
        };
        let described = offer.describe();
        match hash {
            Some(hash) => debug!(host, user = login.user, "offering {described}, signed with {hash}"),
            None => debug!(host, user = login.user, "offering {described}"),
        }
        let binding = self.handle.agent_session_binding().cloned();
        let mut hand = Signer { holder: &offer.holder, binding, step: self.heard.step };
        let user = login.user.clone();
        let answer = match &offer.certificate {
            Some(certificate) => {
                let certificate = certificate.as_ref().clone();
                self.handle.authenticate_certificate_with(user, certificate, hash, &mut hand).await
            }
            None => self.handle.authenticate_publickey_with(user, offer.key.clone().into(), hash, &mut hand).await,
        };
        let answer = match answer {
            // The key would have been taken; the next one may be.
            Err(error @ (SignError::Agent(_) | SignError::Key(_))) => {
                debug!(host, user = login.user, "accepted, but {error}");
                self.attempts.tried.push(format!("{described}: {error}"));
                if let SignError::Agent(reason) = error {
                    self.attempts.agent = Some(format!("{reason} ({described})"));
                }
                return AuthAnswer::NotTried;
            }
            answer => AuthAnswer::of(answer),
        };
        match &answer {
            AuthAnswer::Accepted | AuthAnswer::NotTried => {}
            AuthAnswer::Partial(_) => self.attempts.tried.push(format!("{described}: accepted")),
            AuthAnswer::Refused(takes) if !takes.contains(&name(AuthMethod::PublicKey)) => {
                // Not the key was refused: the node wants something else first.
                let before = format!("{described}: not yet, the node requires {} first", takes.join(","));
                self.attempts.tried.push(before);
                self.offers.push_front(offer);
            }
            AuthAnswer::Refused(_) | AuthAnswer::Ended(_) => {
                self.attempts.tried.push(format!("{described}: refused"));
                self.attempts.named_refused |= offer.named;
                self.attempts.rsa_doubt |= node == NodeRsa::Silent && hash.is_some();
            }
        }
        answer
    }

    /// What the node says of RSA keys; asked once.
    async fn node_rsa(&mut self) -> NodeRsa {
        if let Some(known) = self.node_rsa {
            return known;
        }
        let asked = tokio::time::timeout(SIGNATURES_PATIENCE, self.handle.best_supported_rsa_hash()).await;
        let said = match asked {
            Ok(Ok(Some(Some(hash)))) => NodeRsa::Sha2(hash),
            Ok(Ok(Some(None))) => NodeRsa::Sha1,
            Ok(Ok(None) | Err(_)) | Err(_) => NodeRsa::Silent,
        };
        self.node_rsa = Some(said);
        said
    }

    async fn send_password(&mut self, method: AuthMethod) -> AuthAnswer {
        self.asked.push(method);
        let Some(password) = &self.keys.password else { return AuthAnswer::NotTried };
        let Endpoint { host, login, .. } = self.endpoint;
        debug!(host, user = login.user, "offering the password ({})", name(method));
        let courier = PasswordSender { endpoint: self.endpoint, password, spent: &self.keys.spent, heard: self.heard };
        let (answer, fate) = match method {
            AuthMethod::KeyboardInteractive => courier.answer(self.handle).await,
            AuthMethod::Password | AuthMethod::PublicKey => courier.send(self.handle).await,
        };
        let told = match &answer {
            AuthAnswer::Accepted => None,
            AuthAnswer::Partial(_) => Some("accepted"),
            AuthAnswer::Refused(_) => Some("refused"),
            AuthAnswer::Ended(why) => Some(why.as_str()),
            AuthAnswer::NotTried => Some("not sent again"),
        };
        self.attempts.tried.extend(told.map(|told| format!("{}: {told}", name(method))));
        self.attempts.password = fate.or(self.attempts.password.take());
        answer
    }

    /// What the node said besides answers. How a connection ended is known a moment after it has.
    async fn said(&self) -> ServerMessages {
        let lost = || self.heard.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for _ in 0..20 {
            if !self.handle.is_closed() || lost().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let banner = self.heard.banner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ServerMessages { lost: lost(), banner }
    }
}
