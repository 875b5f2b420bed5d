//! The password: sent as such, and as the answer to a question of the node.
//!
//! Invariants: a password that may have been refused is not sent to that node again for the same method, so that
//! no account is locked by us; a question that does not look like one for the password is not answered with it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use russh::client::{Handle, Handler, KeyboardInteractiveAuthResponse, Prompt};
use secrecy::{ExposeSecret, SecretString};
use tracing::debug;

use super::answer::AuthAnswer;
use super::progress::AuthProgress;
use super::verdict::PasswordOutcome;
use crate::endpoint::{AuthMethod, Endpoint};
use crate::ssh::peer_text::printable;
use crate::ssh::phase::ConnectPhase;

/// Rounds of questions that are listened to.
const ROUNDS: usize = 10;

/// Where the password went and was not accepted, or not yet.
#[derive(Default)]
pub(super) struct TriedPasswords(Mutex<HashSet<(String, u16, String, AuthMethod)>>);

impl TriedPasswords {
    /// Whether it may be sent there; from then on it may not.
    fn spend(&self, endpoint: &Endpoint, method: AuthMethod) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place(endpoint, method))
    }

    /// It was accepted, and may be sent again.
    fn accepted(&self, endpoint: &Endpoint, method: AuthMethod) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&place(endpoint, method));
    }
}

fn place(endpoint: &Endpoint, method: AuthMethod) -> (String, u16, String, AuthMethod) {
    (endpoint.host.clone(), endpoint.port, endpoint.login.user.clone(), method)
}

/// A password to be sent to one node.
pub(super) struct PasswordSender<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) password: &'a SecretString,
    pub(super) tried: &'a TriedPasswords,
    pub(super) progress: &'a AuthProgress<'a>,
}

impl PasswordSender<'_> {
    /// Sends it as such.
    pub(super) async fn send<H: Handler>(&self, handle: &mut Handle<H>) -> (AuthAnswer, Option<PasswordOutcome>) {
        // Spent before it is sent: two connections to one node must not both send a wrong password.
        if !self.tried.spend(self.endpoint, AuthMethod::Password) {
            return (AuthAnswer::NotTried, Some(PasswordOutcome::RefusedBefore));
        }
        let user = self.endpoint.login.user.clone();
        // A node that demands a new password here is not heard by the library: the time runs out.
        self.progress.phase.enter(ConnectPhase::AwaitingPassword);
        let answer = handle.authenticate_password(user, self.password.expose_secret()).await;
        // The answer is there, so a later timeout is not about the password.
        self.progress.phase.enter(ConnectPhase::Authenticating);
        let answer = AuthAnswer::new(answer);
        (answer.clone(), self.outcome(&answer, AuthMethod::Password))
    }

    fn outcome(&self, answer: &AuthAnswer, method: AuthMethod) -> Option<PasswordOutcome> {
        match answer {
            AuthAnswer::Accepted | AuthAnswer::Partial(_) => {
                self.tried.accepted(self.endpoint, method);
                // Accepted passwords may go to the same node again, for a further connection or a reconnect.
                None
            }
            // Some nodes end the connection instead of an answer.
            AuthAnswer::Refused(_) | AuthAnswer::Ended(_) => Some(PasswordOutcome::Refused),
            AuthAnswer::NotTried => None,
        }
    }

    /// Answers the node's questions with it.
    pub(super) async fn answer<H: Handler>(&self, handle: &mut Handle<H>) -> (AuthAnswer, Option<PasswordOutcome>) {
        let method = AuthMethod::KeyboardInteractive;
        let user = self.endpoint.login.user.clone();
        let mut response = handle.authenticate_keyboard_interactive_start(user, None).await;
        // Some nodes ask several rounds, so only a question for the password counts as answered.
        let mut answered = false;
        // A node that asks without end would keep the login busy until its time is over.
        for _ in 0..ROUNDS {
            let (name, instructions, prompts) = match response {
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { name, instructions, prompts }) => {
                    (name, instructions, prompts)
                }
                Ok(KeyboardInteractiveAuthResponse::Success) => {
                    return (AuthAnswer::Accepted, self.outcome(&AuthAnswer::Accepted, method));
                }
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success }) => {
                    let answer = AuthAnswer::failure(&remaining_methods, partial_success);
                    let outcome = self.outcome(&answer, method).filter(|_| answered);
                    // Without an answer of ours a refusal says nothing about the password.
                    return (answer, outcome);
                }
                Err(error) => return (AuthAnswer::Ended(error.to_string()), None),
            };
            if !instructions.trim().is_empty() {
                debug!(host = self.endpoint.host, "the node says: {}", printable(&instructions));
                *self.progress.banner.lock().unwrap_or_else(PoisonError::into_inner) = Some(printable(&instructions));
            }
            let reply = match reply(&name, &instructions, &prompts, answered) {
                // An empty round is answered with no answers (RFC 4256, section 3.4): PAM sends such rounds with
                // messages only.
                PromptReply::Nothing => Vec::new(),
                // Ending the login is safer than a wrong answer, which could lock the account.
                PromptReply::Password if !self.tried.spend(self.endpoint, method) => {
                    return (
                        AuthAnswer::Ended("it asks for the password".to_owned()),
                        Some(PasswordOutcome::RefusedBefore),
                    );
                }
                PromptReply::Password => {
                    answered = true;
                    vec![self.password.expose_secret().to_owned()]
                }
                PromptReply::None(outcome) => {
                    let asked = match &outcome {
                        PasswordOutcome::Question(question) => format!("it asks: \"{question}\""),
                        PasswordOutcome::MustChange => "it requires a new password".to_owned(),
                        PasswordOutcome::Refused | PasswordOutcome::RefusedBefore => "refused".to_owned(),
                    };
                    return (AuthAnswer::Ended(asked), Some(outcome));
                }
            };
            debug!(host = self.endpoint.host, prompts = prompts.len(), "answering a question of the node");
            response = handle.authenticate_keyboard_interactive_respond(reply).await;
        }
        (AuthAnswer::Ended("it keeps asking".to_owned()), Some(PasswordOutcome::Question("…".to_owned())))
    }
}

/// The reply to a round of questions.
#[derive(Debug, PartialEq, Eq)]
enum PromptReply {
    /// There was no question.
    Nothing,
    Password,
    /// No answer; why.
    None(PasswordOutcome),
}

fn reply(name: &str, instructions: &str, prompts: &[Prompt], answered: bool) -> PromptReply {
    let (first, more) = match prompts {
        [] => return PromptReply::Nothing,
        [first, more @ ..] => (first, more),
    };
    // A demand for a new password may stand in the name or the instructions, above a plain question.
    let said = format!("{name} {instructions} {}", first.prompt).to_lowercase();
    let wants_new = ["new password", "current password", "(current)", "change your password", "password has expired"];
    // An answer would take part in a change of the password, which the operator did not ask for.
    if wants_new.iter().any(|sign| said.contains(sign)) {
        return PromptReply::None(PasswordOutcome::MustChange);
    }
    // An echoed answer is no secret, and more than one question is not a plain password.
    if more.is_empty() && !first.echo && asks_for_password(&first.prompt) {
        // Asked again after an answer: the node refused it, and will not take the same one.
        return if answered { PromptReply::None(PasswordOutcome::Refused) } else { PromptReply::Password };
    }
    let questions: Vec<&str> = prompts.iter().map(|prompt| prompt.prompt.trim()).collect();
    PromptReply::None(PasswordOutcome::Question(printable(&questions.join(" / "))))
}

/// A password given to another question would be a wrong answer, and readers of the node's logs would see it.
fn asks_for_password(prompt: &str) -> bool {
    let prompt = prompt.trim().to_lowercase();
    // A prompt may put the user and the host first, as OpenSSH's client shows it, and their names may hold any word.
    let question = prompt.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(&*prompt, |(_, rest)| rest);
    // Only the text behind "user@host's" is the question.
    let question = question.rsplit_once("'s ").map_or(question, |(_, rest)| rest);
    // A one-time password is another secret, though its prompt has the word.
    let other = ["one-time", "one time", "onetime", "otp"];
    ["password", "passwd"].iter().any(|word| question.contains(word))
        && !other.iter().any(|word| question.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prompts: &[(&str, bool)], answered: bool) -> PromptReply {
        let prompts: Vec<_> =
            prompts.iter().map(|&(prompt, echo)| Prompt { prompt: prompt.to_owned(), echo }).collect();
        reply("", "", &prompts, answered)
    }

    #[test]
    fn only_a_question_for_the_password_is_answered() {
        assert_eq!(ask(&[], false), PromptReply::Nothing);
        assert_eq!(ask(&[("Password: ", false)], false), PromptReply::Password);
        assert_eq!(ask(&[("(root@otp1) Password: ", false)], false), PromptReply::Password);
        assert_eq!(ask(&[("root@otp1's password: ", false)], false), PromptReply::Password);
        assert_eq!(ask(&[("Password: ", false)], true), PromptReply::None(PasswordOutcome::Refused));
        let question = |text: &str| PromptReply::None(PasswordOutcome::Question(text.to_owned()));
        assert_eq!(ask(&[("Password: ", true)], false), question("Password:"));
        assert_eq!(ask(&[("Verification code: ", false)], false), question("Verification code:"));
        assert_eq!(ask(&[("One-time password (OATH): ", false)], false), question("One-time password (OATH):"));
        assert_eq!(ask(&[("Password: ", false), ("Code: ", false)], false), question("Password: / Code:"));
        assert_eq!(ask(&[("\u{1b}[2Jname?", true)], false), question("\\u{1b}[2Jname?"));
        for prompt in ["New password: ", "Current password: ", "(current) UNIX password: "] {
            assert_eq!(ask(&[(prompt, false)], true), PromptReply::None(PasswordOutcome::MustChange), "{prompt}");
        }
    }
}
