//! How many logins are under way at one host: as many as it takes.
//!
//! sshd drops connections at random while many wait to log in (MaxStartups). Here live [`LoginThrottle`], which count those that are
//! under way, and let fewer in at a host once it has turned some away. What always holds: who has entered leaves when its
//! [`LoginPermit`] is dropped; a door never closes entirely.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// All hosts of a run. The ports of a host are one door: they may belong to one sshd.
#[derive(Default)]
pub(super) struct LoginThrottle {
    doors: Mutex<HashMap<String, Arc<HostLimit>>>,
}

impl LoginThrottle {
    /// Waits until there is room to log in.
    pub(super) async fn enter(&self, host: &str) -> LoginPermit {
        let door = {
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(doors.entry(host.to_owned()).or_default())
        };
        loop {
            let freed = door.freed.notified();
            tokio::pin!(freed);
            // Counted as waiting before the look, so that no word is missed.
            freed.as_mut().enable();
            if door.try_enter() {
                return LoginPermit { door: Arc::clone(&door) };
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
    /// None: it has turned nobody away yet.
    limit: Option<usize>,
}

impl HostLimit {
    fn try_enter(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let free = state.limit.is_none_or(|limit| state.inside < limit);
        state.inside += usize::from(free);
        free
    }
}

/// Room to log in at a host. Dropping it lets the next one in.
pub(super) struct LoginPermit {
    door: Arc<HostLimit>,
}

impl LoginPermit {
    /// Counts one more connection to the host. It does not wait: it belongs to a login that has entered already.
    pub(super) fn beside(&self) -> Self {
        self.door.state.lock().unwrap_or_else(PoisonError::into_inner).inside += 1;
        Self { door: Arc::clone(&self.door) }
    }

    /// Notes that this one was turned away: half as many may be under way from now on, if that is news. The new number,
    /// where it is lower than before.
    pub(super) fn turned_away(&self) -> Option<usize> {
        let mut state = self.door.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fewer = (state.inside / 2).max(1);
        // Those that were under way with this one are turned away for the same reason.
        let is_news = state.limit.is_none_or(|limit| state.inside <= limit && fewer < limit);
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
        let mut state = self.door.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.inside = state.inside.saturating_sub(1);
        drop(state);
        self.door.freed.notify_waiters();
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
        let doors = LoginThrottle::default();
        let mut places = Vec::new();
        for _ in 0..8 {
            places.push(doors.enter("b").await);
        }
        assert_eq!(places[7].turned_away(), Some(4));
        places.truncate(7);
        // Others of the same burst are no news.
        assert_eq!(places[6].turned_away(), None);
        places.truncate(6);
        // Six are left: nobody enters before three more have left.
        let mut next = std::pin::pin!(doors.enter("b"));
        assert!(waits(next.as_mut()));
        places.truncate(4);
        assert!(waits(next.as_mut()));
        places.truncate(3);
        assert!(!waits(next.as_mut()));
        // Another host has its own door.
        assert!(!waits(std::pin::pin!(doors.enter("c"))));
    }

    #[tokio::test]
    async fn a_second_connection_of_a_login_counts() {
        let doors = LoginThrottle::default();
        let first = doors.enter("b").await;
        let second = doors.enter("b").await;
        assert_eq!(second.turned_away(), Some(1));
        drop(second);
        let beside = first.beside();
        drop(first);
        let mut next = std::pin::pin!(doors.enter("b"));
        assert!(waits(next.as_mut()));
        drop(beside);
        assert!(!waits(next.as_mut()));
    }

    #[tokio::test]
    async fn one_always_may() {
        let doors = LoginThrottle::default();
        for _ in 0..3 {
            let place = doors.enter("b").await;
            place.turned_away();
        }
        assert!(!waits(std::pin::pin!(doors.enter("b"))));
    }
}
