//! How many logins are pending at one host: as many as it accepts.
//!
//! sshd drops connections at random while many wait to log in (MaxStartups). Here lives [`LoginThrottle`], which counts
//! the pending ones, and allows fewer at a host once it has rejected some. Invariants: a login is counted until
//! its [`LoginPermit`] is dropped; one login at a host is always allowed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// All hosts of a run. The ports of a host share one limit: they may belong to one sshd.
#[derive(Default)]
pub(super) struct LoginThrottle {
    hosts: Mutex<HashMap<String, Arc<HostLimit>>>,
}

impl LoginThrottle {
    /// Waits until there is room to log in.
    pub(super) async fn enter(&self, name: &str) -> LoginPermit {
        let host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(name.to_owned()).or_default())
        };
        loop {
            let freed = host.freed.notified();
            tokio::pin!(freed);
            // Registered as waiting before the check, so that no notification is missed.
            freed.as_mut().enable();
            if host.try_enter() {
                return LoginPermit { host: Arc::clone(&host) };
            }
            freed.await;
        }
    }
}

#[derive(Default)]
struct HostLimit {
    state: Mutex<LimitState>,
    freed: Notify,
}

#[derive(Default)]
struct LimitState {
    inside: usize,
    /// None: it has rejected none yet.
    limit: Option<usize>,
}

impl HostLimit {
    fn try_enter(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Until a host rejects one there is no limit: most have room for all.
        let free = state.limit.is_none_or(|limit| state.inside < limit);
        state.inside += usize::from(free);
        free
    }
}

/// Room to log in at a host. Dropping it lets the next one in.
pub(super) struct LoginPermit {
    host: Arc<HostLimit>,
}

impl LoginPermit {
    /// Counts one more connection to the host. It does not wait: it belongs to a login that is counted already.
    pub(super) fn beside(&self) -> Self {
        self.host.state.lock().unwrap_or_else(PoisonError::into_inner).inside += 1;
        Self { host: Arc::clone(&self.host) }
    }

    /// Notes that this one was rejected: half as many may be pending from now on, if that is news. The new number,
    /// where it is lower than before.
    pub(super) fn turned_away(&self) -> Option<usize> {
        let mut state = self.host.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Never 0: at least one login must be possible.
        let fewer = (state.inside / 2).max(1);
        // Those that were pending with this one are rejected for the same reason.
        let is_news = state.limit.is_none_or(|limit| state.inside <= limit && fewer < limit);
        // A single login that was rejected says nothing about a number.
        if is_news && state.inside > 1 {
            state.limit = Some(fewer);
            Some(fewer)
        } else {
            None
        }
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let mut state = self.host.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Saturating, because a wrong count must not panic while a permit is dropped.
        state.inside = state.inside.saturating_sub(1);
        drop(state);
        // All are woken, since a limit may leave room for more than one; who finds none waits again.
        self.host.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(future: std::pin::Pin<&mut impl Future>) -> bool {
        futures_util::FutureExt::now_or_never(future).is_none()
    }

    #[tokio::test]
    async fn fewer_enter_once_some_were_turned_away() {
        let logins = LoginThrottle::default();
        let mut permits = Vec::new();
        for _ in 0..8 {
            permits.push(logins.enter("b").await);
        }
        assert_eq!(permits[7].turned_away(), Some(4));
        permits.truncate(7);
        // Others of the same burst change nothing.
        assert_eq!(permits[6].turned_away(), None);
        permits.truncate(6);
        // Six are left: none enters before three more have left.
        let mut next = std::pin::pin!(logins.enter("b"));
        assert!(waits(next.as_mut()));
        permits.truncate(4);
        assert!(waits(next.as_mut()));
        permits.truncate(3);
        assert!(!waits(next.as_mut()));
        // Another host has its own limit.
        assert!(!waits(std::pin::pin!(logins.enter("c"))));
    }

    #[tokio::test]
    async fn a_second_connection_of_a_login_counts() {
        let logins = LoginThrottle::default();
        let first = logins.enter("b").await;
        let second = logins.enter("b").await;
        assert_eq!(second.turned_away(), Some(1));
        drop(second);
        let beside = first.beside();
        drop(first);
        let mut next = std::pin::pin!(logins.enter("b"));
        assert!(waits(next.as_mut()));
        drop(beside);
        assert!(!waits(next.as_mut()));
    }

    #[tokio::test]
    async fn one_always_may() {
        let logins = LoginThrottle::default();
        for _ in 0..3 {
            let permit = logins.enter("b").await;
            permit.turned_away();
        }
        assert!(!waits(std::pin::pin!(logins.enter("b"))));
    }
}
