//! One login: the method and the key to try next, after each answer.
//!
//! Here lives [`authenticate`]. Invariants: a method that was not allowed is not used; a key that was refused is
//! not offered again on this connection; each attempt is recorded with its answer.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use russh::client::{Handle, Handler};
use russh::keys::Algorithm;
use tracing::debug;

use super::answer::AuthAnswer;
use super::key_file::KeyFileProblem;
use super::key_ring::KeyRing;
use super::order::{KeyOffer, UnusedKey, order};
use super::password::PasswordSender;
use super::progress::AuthProgress;
use super::signature::{NodeRsa, SignError, Signer, choose};
use super::verdict::{AuthAttempts, ServerMessages, name};
use crate::endpoint::{AuthMethod, Endpoint};
use crate::error::TransportError;
use crate::ssh::phase::ConnectPhase;

/// How long a node may take to say which signatures it takes. It says so together with the end of the key exchange, if
/// ever.
const SIGNATURES_PATIENCE: Duration = Duration::from_millis(300);

/// Logs in with the first method and key that the node accepts.
///
/// # Errors
/// [`TransportError::Auth`], [`TransportError::KeyFile`], [`TransportError::Agent`]; [`TransportError::Lost`] if the
/// connection ended before anything was tried.
pub(in crate::ssh) async fn authenticate<H: Handler>(
    handle: &mut Handle<H>,
    endpoint: &Endpoint,
    keys: &KeyRing,
    progress: &AuthProgress<'_>,
) -> Result<(), TransportError> {
    let mut attempts = AuthAttempts::default();
    let mut offers = VecDeque::new();
    // Without this method no agent is asked and no file is read.
    if endpoint.login.methods.contains(&AuthMethod::PublicKey) {
        progress.phase.enter(ConnectPhase::AskingAgent);
        let (credentials, failure) = keys.credentials(endpoint).await;
        // Back before anything else can time out, or the agent would be blamed for it.
        progress.phase.enter(ConnectPhase::Authenticating);
        attempts.agent = failure;
        let (ordered, unused) = order(&credentials);
        offers.extend(ordered);
        attempts.unused = unused;
    }
    let mut login =
        LoginAttempt { handle, endpoint, keys, progress, attempts, offers, node_rsa: None, asked: Vec::new() };
    if login.run().await {
        return Ok(());
    }
    // After the login has failed, because the reason of a closed connection arrives late.
    let messages = login.server_messages().await;
    let has_password = keys.password().is_some();
    Err(login.attempts.verdict(endpoint, has_password, messages))
}

/// The error for a login whose time ended while it waited for the agent.
pub(in crate::ssh) fn agent_timeout(endpoint: &Endpoint) -> TransportError {
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
    progress: &'a AuthProgress<'a>,
    attempts: AuthAttempts,
    offers: VecDeque<KeyOffer>,
    node_rsa: Option<NodeRsa>,
    /// Methods that need no key and were tried.
    asked: Vec<AuthMethod>,
}

impl<H: Handler> LoginAttempt<'_, H> {
    /// Tries method after method; whether the node accepted the user.
    async fn run(&mut self) -> bool {
        if self.next_method() != Some(AuthMethod::PublicKey) {
            // Costs a round trip, and spares a node methods that it does not have: a password has few tries.
            let answer = AuthAnswer::new(self.handle.authenticate_none(self.endpoint.login.user.clone()).await);
            if answer == AuthAnswer::Accepted {
                debug!(host = self.endpoint.host, "accepted without any proof");
                return true;
            }
            // The node accepted nothing, but its answer lists its methods; only an end of the connection matters.
            if !self.record("none", &answer) {
                return false;
            }
        }
        // Chosen anew after each answer: a node may accept other methods once one has passed.
        while let Some(method) = self.next_method() {
            let answer = match method {
                AuthMethod::PublicKey => self.offer().await,
                AuthMethod::KeyboardInteractive | AuthMethod::Password => self.send_password(method).await,
            };
            if answer == AuthAnswer::Accepted {
                debug!(host = self.endpoint.host, user = self.endpoint.login.user, "accepted");
                return true;
            }
            if !self.record(name(method), &answer) {
                return false;
            }
        }
        false
    }

    /// The first method that is allowed, that the node accepts, and for which something is left to try.
    fn next_method(&self) -> Option<AuthMethod> {
        // Before the first answer every method may be accepted.
        let takes = |method: AuthMethod| self.attempts.takes.as_ref().is_none_or(|takes| takes.contains(&name(method)));
        let left = |method: AuthMethod| match method {
            AuthMethod::PublicKey => !self.offers.is_empty(),
            AuthMethod::KeyboardInteractive | AuthMethod::Password => {
                // The password goes once to each method; a second try would be the same answer.
                self.keys.password().is_some() && !self.asked.contains(&method)
            }
        };
        self.endpoint.login.methods.iter().copied().find(|&method| takes(method) && left(method))
    }

    /// Records an answer; whether the login continues.
    fn record(&mut self, method: &'static str, answer: &AuthAnswer) -> bool {
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
        // Some nodes close the connection right after a refusal, without a reason.
        !self.handle.is_closed()
    }

    async fn offer(&mut self) -> AuthAnswer {
        let Some(offer) = self.offers.pop_front() else { return AuthAnswer::NotTried };
        let Endpoint { host, login, algorithms, .. } = self.endpoint;
        let algorithm = offer.algorithm();
        let is_rsa = matches!(algorithm, Algorithm::Rsa { .. });
        // Only RSA keys have a choice of signatures, so others need not wait for the extension.
        let node = if is_rsa { self.node_rsa().await } else { NodeRsa::Silent };
        let hash = match choose(&algorithm, offer.certificate.is_some(), algorithms.accepted.as_deref(), node) {
            Ok(hash) => hash,
            // Not offered, so it does not count against MaxAuthTries.
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
        // The agent may hold keys that are restricted to hosts; it needs the session to know which host this is.
        let binding = self.handle.agent_session_binding().cloned();
        let mut signer = Signer { source: &offer.source, binding, phase: self.progress.phase };
        let user = login.user.clone();
        let answer = match &offer.certificate {
            Some(certificate) => {
                let certificate = certificate.as_ref().clone();
                self.handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await
            }
            None => self.handle.authenticate_publickey_with(user, offer.key.clone().into(), hash, &mut signer).await,
        };
        let answer = match answer {
            // The key would have been taken; the next one may be.
            Err(error @ (SignError::Agent(_) | SignError::Key(_))) => {
                debug!(host, user = login.user, "accepted, but {error}");
                self.attempts.tried.push(format!("{described}: {error}"));
                if let SignError::Agent(reason) = error {
                    // The agent failed for a key that the node accepts, so it becomes the likely cause.
                    self.attempts.agent = Some(format!("{reason} ({described})"));
                }
                return AuthAnswer::NotTried;
            }
            answer => AuthAnswer::new(answer),
        };
        match &answer {
            AuthAnswer::Accepted | AuthAnswer::NotTried => {}
            AuthAnswer::Partial(_) => self.attempts.tried.push(format!("{described}: accepted")),
            AuthAnswer::Refused(takes) if !takes.contains(&name(AuthMethod::PublicKey)) => {
                // Not the key was refused: the node wants something else first.
                let before = format!("{described}: not yet, the node requires {} first", takes.join(","));
                self.attempts.tried.push(before);
                // It keeps its place for the time after the other method.
                self.offers.push_front(offer);
            }
            AuthAnswer::Refused(_) | AuthAnswer::Ended(_) => {
                self.attempts.tried.push(format!("{described}: refused"));
                self.attempts.named_refused |= offer.named;
                // The node did not say which signatures it knows, so a refusal may be about SHA-2 and not about the
                // key.
                self.attempts.rsa_doubt |= node == NodeRsa::Silent && hash.is_some();
            }
        }
        answer
    }

    /// The signatures by RSA keys that the node accepts; asked once.
    async fn node_rsa(&mut self) -> NodeRsa {
        if let Some(known) = self.node_rsa {
            return known;
        }
        let asked = tokio::time::timeout(SIGNATURES_PATIENCE, self.handle.best_supported_rsa_hash()).await;
        let said = match asked {
            Ok(Ok(Some(Some(hash)))) => NodeRsa::Sha2(hash),
            Ok(Ok(Some(None))) => NodeRsa::Sha1,
            // A node before OpenSSH 7.2 sends no `server-sig-algs` (RFC 8308), and then the wait ends without an
            // answer.
            Ok(Ok(None) | Err(_)) | Err(_) => NodeRsa::Silent,
        };
        self.node_rsa = Some(said);
        said
    }

    async fn send_password(&mut self, method: AuthMethod) -> AuthAnswer {
        // Noted even if nothing is sent, so that the method is not chosen again.
        self.asked.push(method);
        let Some(password) = self.keys.password() else { return AuthAnswer::NotTried };
        let Endpoint { host, login, .. } = self.endpoint;
        debug!(host, user = login.user, "offering the password ({})", name(method));
        let sender = PasswordSender {
            endpoint: self.endpoint,
            password,
            tried: &self.keys.tried_passwords,
            progress: self.progress,
        };
        let (answer, outcome) = match method {
            AuthMethod::KeyboardInteractive => sender.answer(self.handle).await,
            AuthMethod::Password | AuthMethod::PublicKey => sender.send(self.handle).await,
        };
        let shown = match &answer {
            AuthAnswer::Accepted => None,
            AuthAnswer::Partial(_) => Some("accepted"),
            AuthAnswer::Refused(_) => Some("refused"),
            AuthAnswer::Ended(why) => Some(why.as_str()),
            AuthAnswer::NotTried => Some("not sent again"),
        };
        self.attempts.tried.extend(shown.map(|shown| format!("{}: {shown}", name(method))));
        // A later method without an outcome must not hide the outcome of an earlier one.
        self.attempts.password = outcome.or(self.attempts.password.take());
        answer
    }

    /// The node's messages besides its answers. How a connection ended is known a moment after it has.
    async fn server_messages(&self) -> ServerMessages {
        let lost = || self.progress.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The library's callback runs in its own task; 100 ms are enough for one that is already due.
        for _ in 0..20 {
            if !self.handle.is_closed() || lost().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let banner = self.progress.banner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ServerMessages { lost: lost(), banner }
    }
}
