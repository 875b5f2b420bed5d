//! Hosts as users name them: `user@host:port`, and node-set patterns of such.
//!
//! Pure. Invariants: a host that is accepted is valid in an inventory, so that nothing of it is ever an option or a
//! shell's; the number of hosts is bounded. Start at [`parse_hosts`].

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use nodeset::{NodeSet, expand_in_order};

use ctl_inventory::{check_host, check_user};

/// Most hosts at once: as many as an inventory may have.
const MAX_HOSTS: u64 = 100_000;

/// A host as it was named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostSpec {
    /// Name or address.
    pub host: String,
    /// User to log in as.
    pub user: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
}

/// A host with its name in the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHost {
    /// Its name.
    pub name: String,
    /// Its address, if that is not the name.
    pub address: Option<String>,
    /// User to log in as.
    pub user: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
}

/// Why text names no hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostListError {
    /// It is not valid.
    #[error("'{text}' is not a valid host: {why}")]
    Invalid {
        /// The text.
        text: String,
        /// Such as `it contains a space`.
        why: String,
    },
    /// A host was named with two users.
    #[error("{host} is named with different users ({users})")]
    TwoUsers {
        /// The host.
        host: String,
        /// Both.
        users: String,
    },
}

/// The hosts of `[user@]host[:port]`, whose host may be a pattern: `ops@c[1-3]:2222`.
///
/// # Errors
/// [`HostListError::Invalid`].
pub fn parse_hosts(text: &str) -> Result<Vec<HostSpec>, HostListError> {
    let invalid = |why: String| HostListError::Invalid { text: text.to_owned(), why };
    // The last `@`: a user name may contain one.
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, text),
    };
    if let Some(user) = user {
        check_user(user).map_err(|error| invalid(format!("in the user name, {}", error.why)))?;
    }
    let (pattern, port) = split_port(rest);
    let port = match port {
        None => None,
        Some(port) => {
            let number = port.parse::<u16>().ok().filter(|number| *number > 0);
            Some(number.ok_or_else(|| invalid("the port must be a number from 1 to 65535".to_owned()))?)
        }
    };
    let names = if pattern.contains(['[', ']', ',']) {
        let set = NodeSet::parse(pattern).map_err(|error| invalid(error.message().to_owned()))?;
        if set.len() > MAX_HOSTS {
            return Err(invalid(format!("it names more than {MAX_HOSTS} hosts")));
        }
        expand_in_order(pattern).map_err(|error| invalid(error.message().to_owned()))?
    } else {
        vec![pattern.to_owned()]
    };
    let host = |host: String| {
        check_host(&host, false).map_err(|error| invalid(error.why))?;
        Ok(HostSpec { host, user: user.map(str::to_owned), port })
    };
    names.into_iter().map(host).collect()
}

/// The host, and the port behind its last colon. An IPv6 address with a port stands in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((inside, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && inside.parse::<Ipv6Addr>().is_ok()
    {
        return (inside, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Gives each host a name, the first one of each kept. The same host on several ports has its port in its name.
///
/// # Errors
/// [`HostListError::TwoUsers`].
pub fn name_hosts(specs: &[HostSpec]) -> Result<Vec<NamedHost>, HostListError> {
    let mut ports: BTreeMap<String, Vec<Option<u16>>> = BTreeMap::new();
    let mut users: BTreeMap<(String, Option<u16>), &Option<String>> = BTreeMap::new();
    let mut kept = Vec::new();
    for spec in specs {
        let host = spec.host.to_ascii_lowercase();
        match users.get(&(host.clone(), spec.port)) {
            // Named twice: in a file, and on the command line.
            Some(user) if *user == &spec.user => continue,
            Some(user) => {
                let name = |user: &Option<String>| user.clone().unwrap_or_else(|| "none".to_owned());
                let users = format!("{}, {}", name(user), name(&spec.user));
                return Err(HostListError::TwoUsers { host: spec.host.clone(), users });
            }
            None => {}
        }
        users.insert((host.clone(), spec.port), &spec.user);
        ports.entry(host).or_default().push(spec.port);
        kept.push(spec);
    }
    let is_alone = |host: &str| ports.get(&host.to_ascii_lowercase()).is_none_or(|ports| ports.len() == 1);
    let named = kept.into_iter().map(|HostSpec { host, user, port }| {
        let (name, address) = match port {
            Some(port) if !is_alone(host) => (format!("{}-{port}", host.replace(':', "-")), Some(host.clone())),
            _ => (host.clone(), None),
        };
        NamedHost { name, address, user: user.clone(), port: *port }
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let specs = parse_hosts(text).map_err(|error| error.to_string())?;
        let show = |spec: HostSpec| {
            format!("{} {} {}", spec.user.unwrap_or_default(), spec.host, spec.port.unwrap_or_default())
        };
        Ok(specs.into_iter().map(show).collect())
    }

    #[test]
    fn hosts_are_read() {
        for (text, hosts) in [
            ("a6s01", &[" a6s01 0"][..]),
            ("ops@a6s01:2222", &["ops a6s01 2222"]),
            ("c[1-2]", &[" c1 0", " c2 0"]),
            ("ops@c[1-2]:22", &["ops c1 22", "ops c2 22"]),
            ("a,b", &[" a 0", " b 0"]),
            ("10.0.0.[1-2]", &[" 10.0.0.1 0", " 10.0.0.2 0"]),
            ("::1", &[" ::1 0"]),
            ("[::1]:22", &[" ::1 22"]),
            ("me@corp@h", &["me@corp h 0"]),
        ] {
            assert_eq!(
                shown(text).as_deref(),
                Ok(&*hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (text, why) in [
            ("", "it is empty"),
            ("a b", "it contains a space"),
            ("-oProxyCommand=x", "it begins with `-`"),
            ("a;b@h", "in the user name, it contains `;`"),
            ("h:0", "the port must be a number from 1 to 65535"),
            ("h:ssh", "the port must be a number from 1 to 65535"),
            ("c[1-999999]", "it names more than 100000 hosts"),
        ] {
            assert_eq!(shown(text), Err(format!("'{text}' is not a valid host: {why}")));
        }
        assert!(shown("c[1-").is_err() && shown("c*").is_err() && shown("@rack1").is_err());
    }

    #[test]
    fn a_host_on_several_ports_is_several_nodes() {
        let all = ["h:2201", "h:2202", "ops@g:2201", "h:2201", "f"].map(|text| parse_hosts(text).expect(text)).concat();
        let named = name_hosts(&all).expect("names");
        let names: Vec<_> = named.iter().map(|host| (host.name.as_str(), host.address.as_deref(), host.port)).collect();
        assert_eq!(
            names,
            [
                ("h-2201", Some("h"), Some(2201)),
                ("h-2202", Some("h"), Some(2202)),
                ("g", None, Some(2201)),
                ("f", None, None)
            ]
        );
        let two = ["a@h", "b@h"].map(|text| parse_hosts(text).expect(text)).concat();
        assert_eq!(name_hosts(&two).expect_err("two").to_string(), "h is named with different users (a, b)");
    }

    proptest! {
        #[test]
        fn an_accepted_host_is_valid(text in "(\\PC{0,6}|[a-c0-9.:@,-]{0,8}|\\[[0-9,-]{0,5}\\]){0,3}") {
            for spec in parse_hosts(&text).unwrap_or_default().into_iter().take(50) {
                prop_assert!(check_host(&spec.host, false).is_ok());
            }
        }
    }
}
