//! The attempts of a login, and the error that a login becomes when the node accepts none.
//!
//! Here lives [`AuthAttempts`]. Invariants: each attempt is reported with its answer; a node's text is
//! printable; the kind of the failure is the cause that the operator can fix.

use super::order::UnusedKey;
use crate::endpoint::{AuthMethod, Endpoint};
use crate::error::TransportError;
use crate::ssh::peer_text::NODE_ENDED;

/// Attempts that a message names; a node takes 6 by default.
const NAMED: usize = 12;

/// Why a password was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PasswordOutcome {
    Refused,
    /// It was refused by an earlier connection of the run.
    RefusedBefore,
    /// The node asks for something else; the question.
    Question(String),
    /// The node wants a new one.
    MustChange,
}

/// The attempts so far.
#[derive(Default)]
pub(super) struct AuthAttempts {
    /// Each with its answer.
    pub(super) tried: Vec<String>,
    /// Whether one of them was a key that the operator named.
    pub(super) named_refused: bool,
    pub(super) unused: Vec<UnusedKey>,
    /// Why the agent cannot be used.
    pub(super) agent: Option<String>,
    pub(super) password: Option<PasswordOutcome>,
    /// The methods that the node takes, once it has said so.
    pub(super) takes: Option<Vec<&'static str>>,
    /// Methods that the node accepted, without that being enough.
    pub(super) passed: Vec<&'static str>,
    /// Whether an RSA key was refused by a node that does not say which signatures it accepts.
    pub(super) rsa_doubt: bool,
}

/// The node's messages besides its answers.
#[derive(Default)]
pub(super) struct ServerMessages {
    /// How the connection ended, if it did.
    pub(super) lost: Option<String>,
    /// The last banner.
    pub(super) banner: Option<String>,
}

impl ServerMessages {
    /// Whether the account itself is rejected, by the text that PAM has sshd send. Of its own words, sshd sends none: it logs
    /// them and closes the connection (auth2.c, userauth_finish).
    fn closes_the_account(&self) -> bool {
        let said = self.banner.as_deref().unwrap_or_default().to_lowercase();
        // Both words, because "disabled" alone may be about something else.
        said.contains("account")
            && ["has expired", "is locked", "been locked", "disabled"].iter().any(|sign| said.contains(sign))
    }
}

/// The cause to report, with its hint.
enum AuthCause {
    Auth(String, String),
    KeyFile(String, String),
    Agent(String),
    Lost(String),
}

const NO_ACCOUNT: &str = "the node rejects this account";
const CHECK_ACCOUNT: &str =
    "check the user and the key (`user`, `identity` in the inventory, -u, --identity), and authorized_keys on the node";

impl AuthAttempts {
    /// The error for a login that failed.
    pub(super) fn verdict(self, endpoint: &Endpoint, has_password: bool, said: ServerMessages) -> TransportError {
        let (user, host) = (endpoint.login.user.clone(), endpoint.host.clone());
        // The cause is chosen before the summary, which leaves out what the cause says already.
        let cause = self.cause(&user, has_password, &said);
        let shown = match &cause {
            AuthCause::Auth(reason, _)
            | AuthCause::KeyFile(reason, _)
            | AuthCause::Agent(reason)
            | AuthCause::Lost(reason) => reason,
        };
        let tried = self.summary(&said, shown);
        match cause {
            AuthCause::Auth(reason, hint) => TransportError::Auth { user, host, reason: reason + &tried, hint },
            AuthCause::KeyFile(reason, hint) => TransportError::KeyFile { user, host, reason: reason + &tried, hint },
            AuthCause::Agent(reason) => TransportError::Agent { user, host, reason: reason + &tried },
            AuthCause::Lost(reason) => {
                // sshd closes it without a word if PAM denies the account, which no answer distinguishes from a network
                // problem.
                let denied = if self.tried.is_empty() {
                    ""
                } else {
                    "; or PAM denied the account: see the log of sshd on the node"
                };
                TransportError::Lost { reason: format!("{reason}, while logging in{denied}{tried}") }
            }
        }
    }

    fn cause(&self, user: &str, has_password: bool, said: &ServerMessages) -> AuthCause {
        let auth = |reason: &str, hint: &str| AuthCause::Auth(reason.to_owned(), hint.to_owned());
        let ended = said.lost.as_deref().unwrap_or_default();
        // A banner counts only with a refusal: a message of the day may speak of accounts too.
        let turned_down = said.lost.is_some() || self.password == Some(PasswordOutcome::Refused);
        if turned_down && said.closes_the_account() {
            let hint = format!(
                "the account on the node may have expired or be locked: `chage -l {user}` and `passwd -S {user}` there"
            );
            return auth(NO_ACCOUNT, &hint);
        }
        // A connection that the library closed, or that ended before the first attempt, is a network problem and no
        // refusal.
        if said.lost.is_some() && (self.tried.is_empty() || !ended.starts_with(NODE_ENDED)) {
            return AuthCause::Lost(ended.to_owned());
        }
        // The password before the keys: the operator gave it for this very run.
        if let Some(cause) = self.cause_of_password() {
            return cause;
        }
        // The text of OpenSSH's auth.c (auth_maxtries_exceeded), as the peer sends it.
        if ended.to_lowercase().contains("too many authentication failures") {
            return auth(
                "too many keys were refused, and the node closed the connection",
                "name the right key with --identity and leave out the agent's other keys (`IdentitiesOnly yes` in ssh_config)",
            );
        }
        // One method has passed, so the keys are fine and something else is missing.
        if !self.passed.is_empty() {
            return self.refusal(has_password);
        }
        // A key that was named and cannot be used is the first thing to fix.
        if let Some(unused) = self.unused.iter().find(|unused| unused.meant) {
            return AuthCause::KeyFile(format!("{} {}", unused.name, unused.problem), unused.hint.clone());
        }
        // If a named key was refused, that is the cause, and the agent is only a remark.
        if let Some(agent) = self.agent.as_ref().filter(|_| !self.named_refused) {
            return AuthCause::Agent(agent.clone());
        }
        if !self.tried.is_empty() {
            return self.refusal(has_password);
        }
        // Nothing was tried: the first file that cannot be used explains it best.
        if let Some(unused) = self.unused.first() {
            return AuthCause::KeyFile(format!("{} {}", unused.name, unused.problem), unused.hint.clone());
        }
        let asks = [AuthMethod::Password, AuthMethod::KeyboardInteractive].map(name);
        let takes_password = self.takes.as_ref().is_some_and(|takes| takes.iter().any(|method| asks.contains(method)));
        // The node takes passwords, so one would help.
        if takes_password && !has_password {
            return auth(
                "no key to offer, and no password was given",
                "provide a key with --identity or the agent, or a password with --ask-pass",
            );
        }
        AuthCause::KeyFile(
            "no key to offer: no key file exists and no agent has one".to_owned(),
            "name a readable key with --identity, or load it into the agent with `ssh-add`".to_owned(),
        )
    }

    /// Why the password did not help, if one was needed and did not.
    fn cause_of_password(&self) -> Option<AuthCause> {
        let (reason, hint) = match self.password.as_ref()? {
            PasswordOutcome::Refused => (
                "the node refused the password".to_owned(),
                "try again; check that it is the user's password on this node, and that its sshd accepts passwords for that user (PermitRootLogin)",
            ),
            PasswordOutcome::RefusedBefore => (
                "the password was rejected before, and is not sent again".to_owned(),
                "run it again with the right password; a node may lock an account after several wrong ones",
            ),
            PasswordOutcome::Question(question) => (
                format!("the node asks: \"{question}\", which ctl cannot answer"),
                "use a key, or another method (PreferredAuthentications in ssh_config)",
            ),
            PasswordOutcome::MustChange => {
                ("the node requires a new password".to_owned(), "log in with ssh once and change it")
            }
        };
        Some(AuthCause::Auth(reason, hint.to_owned()))
    }

    fn refusal(&self, has_password: bool) -> AuthCause {
        let reason = if self.passed.is_empty() {
            "permission denied".to_owned()
        } else {
            format!("permission denied: the node requires more than {}", self.passed.join(" and "))
        };
        let hint = if !self.passed.is_empty() && !has_password {
            "provide the password with --ask-pass".to_owned()
        } else if !self.passed.is_empty() {
            "check whether a key is missing, or a method is not allowed (PreferredAuthentications in ssh_config)"
                .to_owned()
        } else if self.rsa_doubt {
            // Only where nothing passed: SHA-1 is a guess, and comes with the usual advice.
            format!(
                "an old node may support RSA keys with SHA-1 only: use another type of key, or allow that (PubkeyAcceptedAlgorithms +ssh-rsa); otherwise {CHECK_ACCOUNT}"
            )
        } else if let Some(unused) = self.unused.first() {
            format!("{} {}: {}; otherwise {CHECK_ACCOUNT}", unused.name, unused.problem, unused.hint)
        } else {
            CHECK_ACCOUNT.to_owned()
        };
        AuthCause::Auth(reason, hint)
    }

    /// Everything that is known besides `shown`, ready to be added to it.
    fn summary(&self, said: &ServerMessages, shown: &str) -> String {
        let mut parts = Vec::new();
        if !self.tried.is_empty() {
            let more = self.tried.len().saturating_sub(NAMED);
            let mut tried = self.tried.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            if more > 0 {
                tried.push_str(&format!(" and {more} more"));
            }
            parts.push(format!("tried {tried}"));
        }
        if let Some(takes) = self.takes.as_ref().filter(|takes| !takes.is_empty()) {
            parts.push(format!("the node accepts {}", takes.join(",")));
        }
        let unused = self.unused.iter().map(|unused| format!("{} {}", unused.name, unused.problem));
        // The cause may name one of them already.
        let unused: Vec<_> = unused.filter(|unused| unused != shown).take(NAMED).collect();
        if !unused.is_empty() {
            parts.push(format!("not used: {}", unused.join(", ")));
        }
        parts.extend(
            self.agent.as_ref().filter(|agent| *agent != shown).map(|agent| format!("the agent failed: {agent}")),
        );
        parts.extend(said.banner.as_ref().map(|banner| format!("the node says: \"{banner}\"")));
        parts.extend(
            said.lost.as_ref().filter(|lost| *lost != shown).map(|lost| format!("then the connection closed: {lost}")),
        );
        parts.into_iter().map(|part| format!("; {part}")).collect()
    }
}

/// A method as the protocol names it.
pub(super) fn name(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::PublicKey => "publickey",
        AuthMethod::KeyboardInteractive => "keyboard-interactive",
        AuthMethod::Password => "password",
    }
}
