//! Looks up the addresses of a host.
//!
//! Here live [`NameResolver`] and a [`DialRoute`], one address to try. Invariants: a lookup that hangs holds up
//! only the connects to that name, which is why it has a thread of its own: neither the runtime nor the end of the
//! program waits for it. A name is looked up by one thread at a time, however many ask.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared as SharedFuture;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::endpoint::{AllowedFamilies, Endpoint};
use crate::error::TransportError;
use ctl_local::process::file_failure;

/// The answer of the system's resolver.
type ResolverAnswer = Result<Vec<SocketAddr>, Arc<io::Error>>;
type NameLookup = SharedFuture<oneshot::Receiver<ResolverAnswer>>;
type LookupTable = Arc<Mutex<HashMap<String, NameLookup>>>;

/// The system's resolver.
#[derive(Default)]
pub(super) struct NameResolver {
    pending: LookupTable,
}

/// An address to connect to, and where to connect from if that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DialRoute {
    pub(super) to: SocketAddr,
    from: Option<SocketAddr>,
}

impl NameResolver {
    /// The addresses of a host in the order in which they are tried: as the system sorts them, but the kinds in turn,
    /// so that a network without IPv6 (or IPv4) costs one attempt and not one for each address of that kind.
    ///
    /// # Errors
    /// [`TransportError::Dns`] if there is none that the endpoint allows.
    pub(super) async fn routes(&self, endpoint: &Endpoint) -> Result<Vec<DialRoute>, TransportError> {
        let Endpoint { host, port, family, bind, .. } = endpoint;
        let no_address = |reason: String| TransportError::Dns { host: host.clone(), reason };
        let failed = |name: &str, error: &io::Error| {
            // The C library takes it for a failure of the name servers when it cannot open a socket to ask them.
            let own = TransportError::of_controller(error).or_else(|| TransportError::of_controller(&file_failure()?));
            own.unwrap_or_else(|| no_address(format!("{name}{error}")))
        };
        let addresses = self.look_up(host).await.map_err(|error| failed("", &error))?;
        let from = match bind {
            Some(bind) => self.look_up(bind).await.map_err(|error| failed(&format!("BindAddress {bind}: "), &error))?,
            None => Vec::new(),
        };
        let fits = |address: &SocketAddr| match family {
            AllowedFamilies::Any => true,
            AllowedFamilies::Inet => address.is_ipv4(),
            AllowedFamilies::Inet6 => address.is_ipv6(),
        };
        let route = |mut to: SocketAddr| {
            // The lookup was made without a port, so that all ports of a name share it.
            to.set_port(*port);
            // A socket cannot connect from one kind of address to the other, so routes of the other kind are left out.
            let from = from.iter().find(|from| from.is_ipv4() == to.is_ipv4()).copied();
            (bind.is_none() || from.is_some()).then_some(DialRoute { to, from })
        };
        let routes: Vec<DialRoute> =
            alternating(addresses.into_iter().filter(fits)).into_iter().filter_map(route).collect();
        if routes.is_empty() {
            return Err(no_address("no address of the wanted kind found".to_owned()));
        }
        Ok(routes)
    }

    async fn look_up(&self, host: &str) -> ResolverAnswer {
        // An address needs no resolver, which would only cost a thread.
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        let lookup = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            match pending.get(host) {
                Some(lookup) => lookup.clone(),
                // Started under the lock, so that two callers do not start two lookups of one name.
                None => {
                    let lookup = start(host, &self.pending).map_err(Arc::new)?;
                    pending.insert(host.to_owned(), lookup.clone());
                    lookup
                }
            }
        };
        // The sender is gone without an answer only if the thread panicked.
        lookup.await.unwrap_or_else(|_| Err(Arc::new(io::Error::other("the lookup ended without an answer"))))
    }
}

/// Not on the runtime's own threads for blocking work: a few that hang would hold up the reading of files.
fn start(host: &str, pending: &LookupTable) -> io::Result<NameLookup> {
    let (answer, lookup) = oneshot::channel();
    let (host, pending) = (host.to_owned(), Arc::clone(pending));
    std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let found = (host.as_str(), 0).to_socket_addrs().map(Iterator::collect);
        // Waits until the starter of this thread has made the entry.
        pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
        // Nobody may be waiting any more.
        drop(answer.send(found.map_err(Arc::new)));
    })?;
    Ok(lookup.shared())
}

/// Each address once, IPv6 and IPv4 in turn, beginning with the kind of the first (RFC 8305, section 4).
fn alternating(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::new();
    for address in addresses {
        // A name may list an address twice, in /etc/hosts for instance.
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let first_is_v6 = unique.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) =
        unique.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut ordered = Vec::new();
    // The longer list continues alone when the other is used up.
    loop {
        let pair = [preferred.next(), others.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

impl DialRoute {
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let Some(from) = self.from else { return TcpStream::connect(self.to).await };
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Bound before it connects, as BindAddress demands; port 0 lets the system choose.
        socket.bind(from)?;
        socket.connect(self.to).await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
mod tests {
    use super::*;
    use crate::endpoint::fixtures::loopback;

    impl DialRoute {
        pub(crate) fn direct(to: SocketAddr) -> Self {
            Self { to, from: None }
        }
    }

    #[test]
    fn kinds_alternate() {
        for (found, tried) in [
            ("", ""),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.2 10.0.0.1 10.0.0.2", "10.0.0.2 10.0.0.1"),
            ("::1 ::2 ::3 10.0.0.1", "::1 10.0.0.1 ::2 ::3"),
            ("10.0.0.1 10.0.0.2 ::1 ::2 ::3", "10.0.0.1 ::1 10.0.0.2 ::2 ::3"),
        ] {
            let parse = |text: &str| -> Vec<SocketAddr> {
                text.split_whitespace().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect()
            };
            assert_eq!(alternating(parse(found).into_iter()), parse(tried), "{found}");
        }
    }

    #[tokio::test]
    async fn addresses_that_the_endpoint_allows() {
        let resolver = NameResolver::default();
        let base = || Endpoint { host: "::1".to_owned(), ..loopback(2222) };
        let routes = resolver.routes(&base()).await.unwrap();
        assert_eq!(routes, [DialRoute::direct("[::1]:2222".parse().unwrap())]);
        let refused = [
            Endpoint { family: AllowedFamilies::Inet, ..base() },
            Endpoint { bind: Some("127.0.0.1".to_owned()), ..base() },
            Endpoint { host: "no-such-host.invalid".to_owned(), ..base() },
            Endpoint { host: "a\0b".to_owned(), ..base() },
        ];
        for endpoint in refused {
            let error = resolver.routes(&endpoint).await.unwrap_err();
            assert!(matches!(error, TransportError::Dns { .. }), "{error}");
        }
        let bound = Endpoint { bind: Some("::2".to_owned()), family: AllowedFamilies::Inet6, ..base() };
        let routes = resolver.routes(&bound).await.unwrap();
        assert_eq!(routes[0].from, Some("[::2]:0".parse().unwrap()));
        // Lookups that are over leave nothing behind.
        assert!(resolver.pending.lock().unwrap().is_empty());
    }
}
