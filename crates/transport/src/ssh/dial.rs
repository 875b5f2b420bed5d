//! Tries the addresses of a host until one of them greets as an SSH server.
//!
//! Here live [`first_to_greet`] and [`AddressLog`], the state of each address. Invariants: an address that is
//! silent, or that accepts connections and says nothing, keeps no other from being tried; the attempts that lost are
//! dropped, and their connections with them; each address that was tried has a reason of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::resolver::DialRoute;
use crate::endpoint::Endpoint;
use crate::error::{AddressFailure, Seconds, TransportError};

/// How long one address has for itself before the next is tried as well (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How far the attempt at one address has come.
#[derive(Debug, Clone)]
enum AddressState {
    NotTried,
    Connecting,
    /// It has not greeted yet.
    Connected,
    Failed(TransportError),
}

/// The addresses of a host, each with its state. It is read when the time is over, and then the attempts are gone.
#[derive(Default)]
pub(super) struct AddressLog(Mutex<Vec<(SocketAddr, AddressState)>>);

impl AddressLog {
    fn start(&self, routes: &[DialRoute]) {
        let entries = routes.iter().map(|route| (route.to, AddressState::NotTried)).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    fn set(&self, address: SocketAddr, state: AddressState) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A lookup by address is enough: `routes` has each address once.
        if let Some(entry) = entries.iter_mut().find(|entry| entry.0 == address) {
            entry.1 = state;
        }
    }

    pub(super) fn connected(&self, address: SocketAddr) {
        self.set(address, AddressState::Connected);
    }

    /// Why none has greeted; those that still might have are taken to be out of time. None if there are no addresses.
    pub(super) fn failure(&self, endpoint: &Endpoint) -> Option<TransportError> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failures: Vec<AddressFailure> = entries
            .into_iter()
            .map(|(address, state)| AddressFailure { address: address.ip(), error: error_of(endpoint, state) })
            .collect();
        match failures.len() {
            0 => None,
            // A single address needs no list: its error stands alone.
            1 => failures.pop()?.error,
            _ => Some(TransportError::Addresses { host: endpoint.host.clone(), port: endpoint.port, failures }),
        }
    }
}

fn error_of(endpoint: &Endpoint, state: AddressState) -> Option<TransportError> {
    match state {
        AddressState::NotTried => None,
        AddressState::Connecting => Some(connect_timeout(endpoint)),
        AddressState::Connected => Some(greeting_timeout(endpoint)),
        AddressState::Failed(error) => Some(error),
    }
}

fn connect_timeout(endpoint: &Endpoint) -> TransportError {
    TransportError::Timeout {
        host: endpoint.host.clone(),
        port: endpoint.port,
        seconds: Seconds(endpoint.connect_timeout.as_millis()),
        doing: "opening the TCP connection".into(),
    }
}

/// The error for a peer that accepted the connection and is silent.
pub(super) fn greeting_timeout(endpoint: &Endpoint) -> TransportError {
    let seconds = Seconds(endpoint.connect_timeout.as_millis());
    let reason = format!("connected, but no SSH greeting came within {seconds:.1} s");
    TransportError::Banner { host: endpoint.host.clone(), port: endpoint.port, reason }
}

pub(super) fn connect_error(endpoint: &Endpoint, address: SocketAddr, error: &io::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    // The usual answer of a host without sshd, so it has a kind of its own.
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return TransportError::Refused { host, port };
    }
    // The same error says that this machine has no address to connect from: of that kind, or the one that was asked for.
    let is_setting = error.kind() == io::ErrorKind::AddrNotAvailable && (address.is_ipv6() || endpoint.bind.is_some());
    if let Some(own) = TransportError::of_controller(error).filter(|_| !is_setting) {
        return own;
    }
    TransportError::Network { host, port, reason: error.to_string() }
}

/// Starts an attempt at each route, the next one as soon as one has failed and at the latest after [`HEAD_START`];
/// `attempt` ends with the greeting. The first that ends well is the result. None: all have failed, and `log` says how.
pub(super) async fn first_to_greet<T, A>(
    routes: Vec<DialRoute>,
    log: &AddressLog,
    attempt: impl Fn(usize, DialRoute) -> A,
) -> Option<T>
where
    A: Future<Output = Result<T, TransportError>>,
{
    log.start(&routes);
    // The number says whether it is an extra connection, which counts at the host (see `LoginPermit::beside`).
    let mut waiting = routes.into_iter().enumerate().peekable();
    let mut running = FuturesUnordered::new();
    loop {
        // One start in each turn: turns come with a failure or with the end of the head start.
        if let Some((number, route)) = waiting.next() {
            log.set(route.to, AddressState::Connecting);
            let attempt = attempt(number, route);
            running.push(async move { (route.to, attempt.await) });
        } else if running.is_empty() {
            // No more routes and none running: every attempt has failed.
            return None;
        }
        let next_due = Instant::now() + HEAD_START;
        tokio::select! {
            Some((address, ended)) = running.next() => match ended {
                // The others are dropped here: none of them has greeted, or it would have ended before.
                Ok(greeted) => return Some(greeted),
                Err(error) => log.set(address, AddressState::Failed(error)),
            },
            // With no route left there is nothing to start, and only an ended attempt may end the wait.
            () = tokio::time::sleep_until(next_due), if waiting.peek().is_some() => {}
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The behavior of an address, and when.
    #[derive(Clone, Copy)]
    enum DialPeer {
        Silent,
        Refuses(u64),
        Greets(u64),
    }

    /// Counts the attempts that are not over.
    struct OpenAttempts(Arc<Mutex<usize>>);

    impl Drop for OpenAttempts {
        fn drop(&mut self) {
            *self.0.lock().unwrap() -= 1;
        }
    }

    /// The address that wins and after how many milliseconds, the start of each attempt, and the log.
    async fn race(peers: &[DialPeer]) -> (Option<(usize, u64)>, Vec<u64>, AddressLog) {
        let routes = (0..peers.len())
            .map(|number| DialRoute::direct(SocketAddr::from(([127, 0, 0, u8::try_from(number).unwrap()], 22))))
            .collect();
        let (log, began, starts) = (AddressLog::default(), Instant::now(), Mutex::new(Vec::new()));
        let millis = || u64::try_from(began.elapsed().as_millis()).unwrap();
        let open = Arc::new(Mutex::new(0));
        let attempt = async |number: usize, _: DialRoute| {
            starts.lock().unwrap().push(millis());
            *open.lock().unwrap() += 1;
            let _open = OpenAttempts(Arc::clone(&open));
            match peers[number] {
                DialPeer::Silent => std::future::pending().await,
                DialPeer::Greets(after) => {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    Ok(number)
                }
                DialPeer::Refuses(after) => {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    Err(TransportError::Refused { host: "h".to_owned(), port: 22 })
                }
            }
        };
        let race = tokio::time::timeout(Duration::from_secs(5), first_to_greet(routes, &log, attempt));
        let winner = race.await.ok().flatten().map(|number| (number, millis()));
        assert_eq!(*open.lock().unwrap(), 0, "attempts that lost are over");
        (winner, starts.into_inner().unwrap(), log)
    }

    /// Peers, the one that wins and when, when each attempt starts.
    type Case = (&'static [DialPeer], Option<(usize, u64)>, &'static [u64]);

    #[tokio::test(start_paused = true)]
    async fn the_first_greeting_wins() {
        use DialPeer::{Greets, Refuses, Silent};
        let cases: [Case; 8] = [
            (&[Greets(10)], Some((0, 10)), &[0]),
            (&[Greets(200), Greets(1)], Some((0, 200)), &[0]),
            (&[Silent, Greets(10)], Some((1, 260)), &[0, 250]),
            (&[Greets(300), Greets(10)], Some((1, 260)), &[0, 250]),
            (&[Greets(300), Greets(100)], Some((0, 300)), &[0, 250]),
            (&[Refuses(30), Refuses(0), Greets(5)], Some((2, 35)), &[0, 30, 30]),
            // A failure in between starts the next at once, and gives it a head start of its own.
            (&[Silent, Refuses(100), Silent, Greets(0)], Some((3, 600)), &[0, 250, 350, 600]),
            (&[Silent, Silent, Refuses(0)], None, &[0, 250, 500]),
        ];
        for (number, (peers, winner, starts)) in cases.into_iter().enumerate() {
            let (won, started, _log) = race(peers).await;
            assert_eq!(won, winner, "case {number}");
            assert_eq!(started, starts, "case {number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_keeps_its_reason() {
        let endpoint = Endpoint { connect_timeout: Duration::from_secs(5), ..crate::endpoint::fixtures::loopback(22) };
        let (won, _, log) = race(&[DialPeer::Silent, DialPeer::Refuses(0), DialPeer::Silent]).await;
        assert_eq!(won, None);
        log.connected(SocketAddr::from(([127, 0, 0, 2], 22)));
        let failure = log.failure(&endpoint).unwrap();
        assert_eq!(
            failure.to_string(),
            "127.0.0.1 port 22: no address answers as an SSH server: 127.0.0.0: timed out; 127.0.0.1: connection \
             refused; 127.0.0.2: connected, but no SSH greeting came within 5.0 s"
        );
        // The one that came furthest says what kind of failure it is.
        assert_eq!(failure.failure().kind, ctl_event::FailureKind::Banner);
        assert!(failure.is_transient() && !failure.is_turned_away());
        // A host with one address fails as that address does.
        let (_, _, log) = race(&[DialPeer::Refuses(0)]).await;
        assert!(matches!(log.failure(&endpoint), Some(TransportError::Refused { .. })));
    }
}
