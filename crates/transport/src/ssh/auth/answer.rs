//! A node's answer to one attempt to log in.
//!
//! Here lives [`AuthAnswer`], which the results of the library become.

use russh::MethodSet;
use russh::client::AuthResult;

/// A node's answer to an attempt; the methods are those that it accepts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AuthAnswer {
    Accepted,
    /// It was right, but the node requires more.
    Partial(Vec<&'static str>),
    Refused(Vec<&'static str>),
    /// The login cannot continue; why.
    Ended(String),
    /// Nothing was sent.
    NotTried,
}

impl AuthAnswer {
    /// The answer that the library reports.
    pub(super) fn new(answer: Result<AuthResult, impl std::fmt::Display>) -> Self {
        match answer {
            Ok(AuthResult::Success) => Self::Accepted,
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                Self::failure(&remaining_methods, partial_success)
            }
            Err(error) => Self::Ended(error.to_string()),
        }
    }

    /// A refusal. Without a method that is left the connection has ended, or is about to.
    pub(super) fn failure(remaining: &MethodSet, partial: bool) -> Self {
        let methods: Vec<&'static str> = remaining.iter().map(<&'static str>::from).collect();
        // An empty list means that no method may continue (RFC 4252, section 5.1).
        if methods.is_empty() {
            Self::Ended("refused".to_owned())
        } else if partial {
            Self::Partial(methods)
        } else {
            Self::Refused(methods)
        }
    }
}
